//! Why the collector's own keys cannot be read or written.

use std::io;
use std::path::PathBuf;

use tillwatch_token::KeyError;

/// Why the keys cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyFolderError {
    /// A file or the folder fails.
    #[error("{path}")]
    Io {
        /// What failed.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is no key.
    #[error("{path} cannot be used")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// A file of a key can be read by others.
    #[error(
        "{path} can be read by others than its owner, and whoever read it can sign tokens: make a new key, take this one away, and keep the folder to yourself (chmod 600)"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// There is no key of this name that signs.
    #[error("no key in {path} is called {kid}; `tillwatch token key list` names them")]
    Unknown {
        /// The folder.
        path: PathBuf,
        /// The name.
        kid: String,
    },
    /// There are too many files.
    #[error(
        "{path} holds over 100 keys: take away those that have signed no token that is still valid"
    )]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
}
