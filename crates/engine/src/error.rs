//! What can go wrong before the engine runs, and what the engine says of a statement.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::names::Names;

/// Why the engine could not be opened. None of these heals by itself except `Locked`.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no libchdb. The operator installs it, names it, or does without it.
    #[error(
        "the ClickHouse engine (libchdb) was not found{}; run `npm ci` in the project folder, \
         or set {} to the file libchdb.so, or {}",
        looked_at(.searched), .names.library_variable, .names.without_library
    )]
    LibraryMissing {
        /// The places where the library was looked for.
        searched: Vec<PathBuf>,
        /// What the ways out are called.
        names: &'static Names,
    },

    /// The file is there and is not a libchdb that this program understands.
    #[error("{} could not be loaded as libchdb", .file.display())]
    LibraryUnloadable {
        /// The file that was tried.
        file: PathBuf,
        /// What the loader said.
        #[source]
        source: libloading::Error,
    },

    /// Another process has the path open. Stop it, or choose another path.
    #[error(
        "{} is in use by {}; waited {waited_secs} s",
        .path.display(),
        holder(*.pid)
    )]
    Locked {
        /// The storage path.
        path: PathBuf,
        /// The process that holds the storage path, if its id could be read.
        pid: Option<u32>,
        /// How long the lock was waited for.
        waited_secs: u64,
    },

    /// The storage path cannot be used.
    #[error("storage path {} cannot be used", .path.display())]
    Path {
        /// The storage path.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },

    /// libchdb refused to open the path; it prints its reason on standard error.
    #[error("the ClickHouse engine could not open {}", .path.display())]
    Refused {
        /// The storage path.
        path: PathBuf,
    },

    /// The engine opened and could not answer the first questions.
    #[error("the ClickHouse engine opened {} and does not answer", .path.display())]
    Unwell {
        /// The storage path.
        path: PathBuf,
        /// What the engine said.
        #[source]
        source: Exception,
    },
}

fn looked_at(searched: &[PathBuf]) -> String {
    let places: Vec<String> = searched
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    if places.is_empty() {
        return String::new();
    }
    format!(" (looked at {})", places.join(", "))
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(
        || "another process".to_owned(),
        |pid| format!("process {pid}"),
    )
}

/// Why the HTTP front ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// The engine could not be opened.
    #[error("the embedded ClickHouse engine could not be opened")]
    Engine(#[from] EngineError),

    /// The address is taken. Stop the other process, or choose another address.
    #[error("{address} is already in use; choose another address with --listen")]
    AddressInUse {
        /// The address asked for.
        address: SocketAddr,
    },

    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },

    /// The address is reachable by others and there is no password.
    #[error(
        "{address} can be reached from other machines: set {password_variable}, \
         or listen on 127.0.0.1"
    )]
    OpenToTheWorld {
        /// The address asked for.
        address: SocketAddr,
        /// The variable that carries the password.
        password_variable: &'static str,
    },

    /// A thread or a pipe could not be made.
    #[error("the process is short of a system resource")]
    System(#[from] io::Error),
}

/// An exception of ClickHouse: the engine's own, or the front's in the same words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Code: {code}. DB::Exception: {message}")]
pub struct Exception {
    /// ClickHouse's error code.
    pub code: u32,
    /// What follows `DB::Exception: `, with the name of the code in brackets at its end.
    pub message: String,
}

/// The codes that the front itself raises, as ClickHouse numbers them.
pub(super) mod code {
    pub(crate) const BAD_ARGUMENTS: u32 = 36;
    pub(crate) const CHECKSUM_DOESNT_MATCH: u32 = 40;
    pub(crate) const NOT_IMPLEMENTED: u32 = 48;
    pub(crate) const SYNTAX_ERROR: u32 = 62;
    pub(crate) const TOO_LARGE_SIZE_COMPRESSED: u32 = 12;
    pub(crate) const UNKNOWN_SETTING: u32 = 115;
    pub(crate) const READONLY: u32 = 164;
    pub(crate) const TOO_MANY_SIMULTANEOUS_QUERIES: u32 = 202;
    pub(crate) const SOCKET_TIMEOUT: u32 = 209;
    pub(crate) const NETWORK_ERROR: u32 = 210;
    pub(crate) const INVALID_SESSION_TIMEOUT: u32 = 374;
    pub(crate) const CANNOT_DECOMPRESS: u32 = 271;
    pub(crate) const QUERY_IS_TOO_LARGE: u32 = 280;
    pub(crate) const SESSION_NOT_FOUND: u32 = 372;
    pub(crate) const SESSION_IS_LOCKED: u32 = 373;
    pub(crate) const QUERY_WAS_CANCELLED: u32 = 394;
    pub(crate) const AUTHENTICATION_FAILED: u32 = 516;
    pub(crate) const SETTING_CONSTRAINT_VIOLATION: u32 = 452;
    pub(crate) const UNKNOWN_EXCEPTION: u32 = 1002;
}

impl Exception {
    /// An exception of the front's own; `name` is ClickHouse's name of the code.
    pub(super) fn new(code: u32, name: &str, sentence: impl AsRef<str>) -> Self {
        Self {
            code,
            message: format!("{} ({name})", sentence.as_ref()),
        }
    }

    /// Reads the text that libchdb gives for a failed statement.
    pub(super) fn from_engine(text: &str) -> Self {
        let text = text.trim_end();
        let parsed = text.strip_prefix("Code: ").and_then(|rest| {
            let (number, message) = rest.split_once(". DB::Exception: ")?;
            Some(Self {
                code: number.parse().ok()?,
                message: message.to_owned(),
            })
        });
        parsed.unwrap_or_else(|| Self {
            code: code::UNKNOWN_EXCEPTION,
            message: text.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_texts_are_taken_apart() {
        let exception = Exception::from_engine("Code: 60. DB::Exception: No t. (UNKNOWN_TABLE)");
        assert_eq!(exception.code, 60);
        assert_eq!(
            exception.to_string(),
            "Code: 60. DB::Exception: No t. (UNKNOWN_TABLE)"
        );
        let other = Exception::from_engine("Cannot run a query");
        assert_eq!(other.code, code::UNKNOWN_EXCEPTION);
        assert_eq!(other.message, "Cannot run a query");
    }

    #[test]
    fn a_missing_library_names_the_ways_out() {
        let text = EngineError::LibraryMissing {
            searched: vec!["/nowhere".into()],
            names: Names::TEST,
        }
        .to_string();
        for part in ["npm ci", "PROGRAM_LIBRARY", "or use a server", "/nowhere"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
