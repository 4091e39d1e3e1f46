//! Why maps were not added or taken away.

use std::io;
use std::path::{Path, PathBuf};

/// Why maps were not added or taken away.
#[derive(Debug, thiserror::Error)]
pub enum SourceMapsError {
    /// The release cannot have maps.
    #[error(
        "{0:?} cannot be a release with source maps: it has 1 to 64 of A-Z a-z 0-9 _ . : + @ - and begins with no dot"
    )]
    BadRelease(String),
    /// The release has no maps.
    #[error("{0:?} has no source maps; `tillwatch sourcemaps list` names the releases that have")]
    None(String),
    /// The folder of the build has no maps.
    #[error(
        "{}: no source map that can be used among {looked_at} files; build with source maps, and name the folder that has the *.js.map files", folder.display()
    )]
    NoMaps {
        /// The folder.
        folder: PathBuf,
        /// How many files were looked at.
        looked_at: usize,
    },
    /// There are too many files.
    #[error("{}: more than {max} files; name the folder of the build alone", folder.display())]
    TooMany {
        /// The folder.
        folder: PathBuf,
        /// How many there may be.
        max: usize,
    },
    /// A file or a folder cannot be used.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

pub(super) fn failed(
    what: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> SourceMapsError + use<> {
    let path = path.to_owned();
    move |source| SourceMapsError::Io { what, path, source }
}

pub(super) fn cannot(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
