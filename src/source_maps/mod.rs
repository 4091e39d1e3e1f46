//! Source maps: what a minified frame of an error was in the sources of its release.
//!
//! They lie in the data folder, a folder for each release, and are read when somebody asks for an error: a release
//! whose maps come later than its errors is understood all the same, and no collector is told. Texts of sources are not
//! kept, only what leads to them. Of a script that lies beside its map the text is kept, because only there stand the
//! minified names of functions.
//!
//! | file | what |
//! |---|---|
//! | `add.rs` | the maps in the folder of a build |
//! | `original.rs` | frames, looked up |
//! | `error.rs` | why maps were not added or taken away |

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use tillwatch_model::dimension::is_release;
use tillwatch_model::time::millis;

mod add;
mod error;
mod original;

pub use add::{Added, LeftOut};
pub use error::SourceMapsError;
pub use original::{Original, original_frames};

use error::{cannot, failed};

/// The folder in the data folder.
const FOLDER: &str = "source_maps";
/// How the name of a map's file ends. Before it stands the name of the script.
const SUFFIX: &str = ".map";
/// What a map may be long once the texts of its sources are left out, and a script beside one. Read, a map takes ten
/// times as much memory. Unit: bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Releases with maps; whoever adds one more takes the oldest away.
const RELEASES_MAX: usize = 100;

/// The folder with the source maps of all releases.
#[derive(Debug, Clone)]
pub struct SourceMaps(PathBuf);

/// The maps of one release.
#[derive(Debug)]
pub struct Release {
    /// The release.
    pub name: String,
    /// How many maps there are.
    pub maps: usize,
    /// What they and their scripts take. Unit: bytes.
    pub bytes: u64,
    /// When the last one was added. Unit: Unix ms.
    pub added_ms: i64,
}

impl SourceMaps {
    /// The maps in a data folder. There need not be any.
    #[must_use]
    pub fn of(data_dir: &Path) -> Self {
        Self(data_dir.join(FOLDER))
    }

    /// Where the maps of a release lie, if it can have any: the name of a release becomes that of a folder.
    fn folder_of(&self, release: &str) -> Option<PathBuf> {
        let is_name = is_release(release) && !release.starts_with('.');
        is_name.then(|| self.0.join(release))
    }

    /// The releases that have maps, the last added first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> Result<Vec<Release>, SourceMapsError> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed("read", &self.0))?,
        };
        let mut releases = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed("read", &self.0))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if let Some(name) = name
                && path.is_dir()
            {
                releases.push(Release::read(name, &path)?);
            }
        }
        releases.sort_by_key(|release| std::cmp::Reverse(release.added_ms));
        Ok(releases)
    }

    /// Takes away the maps of a release.
    ///
    /// # Errors
    /// When the release has none, or they cannot be taken away.
    pub fn remove(&self, release: &str) -> Result<(), SourceMapsError> {
        let folder = self.folder_of(release).filter(|folder| folder.is_dir());
        let folder = folder.ok_or_else(|| SourceMapsError::None(release.to_owned()))?;
        fs::remove_dir_all(&folder).map_err(failed("remove", &folder))
    }
}

impl Release {
    fn read(name: &str, path: &Path) -> Result<Self, SourceMapsError> {
        let metadata = fs::metadata(path).and_then(|metadata| metadata.modified());
        let added = metadata.map_err(failed("read", path))?;
        let mut release = Self {
            name: name.to_owned(),
            maps: 0,
            bytes: 0,
            added_ms: added.duration_since(UNIX_EPOCH).map_or(0, millis),
        };
        for entry in fs::read_dir(path).map_err(failed("read", path))? {
            let entry = entry.map_err(failed("read", path))?;
            let file = entry.metadata().map_err(failed("read", &entry.path()))?;
            release.bytes += file.len();
            let name = entry.file_name();
            release.maps += usize::from(name.to_string_lossy().ends_with(SUFFIX));
        }
        Ok(release)
    }
}

/// Reads a file that is no longer than that.
fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    use io::Read as _;
    let mut bytes = Vec::new();
    let file = fs::File::open(path)?;
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(cannot(&format!("longer than {} MiB", bytes_max >> 20)));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
