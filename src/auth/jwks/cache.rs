//! The last good set of a URL, kept in the data folder, so that a restart while the issuer is down refuses nobody.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tillwatch_token::JWKS_BYTES_MAX;

use crate::auth::jwks::read_at_most;

/// The file in the data folder.
const FILE: &str = "jwks_cache.json";
/// A set in a file is at most twice as long, with its quotes and line ends escaped. Unit: bytes.
const FILE_BYTES_MAX: usize = 2 * JWKS_BYTES_MAX + 4_096;

/// Why a set is not kept, or what was kept is not used. Nothing of what it holds is told.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The file fails.
    #[error("the file fails")]
    Io(#[from] io::Error),
    /// Others could have put keys of their own into it.
    #[error("others than its owner can write it, so that it is not used (chmod 600)")]
    Exposed,
    /// The file does not hold what was written to it.
    #[error("it is damaged, and is not used; it is written anew with the next good key set")]
    Damaged,
}

/// A set, where it came from and when.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The SHA-256 of the URL, which itself may be a secret.
    url_sha256: String,
    /// When the set was fetched, Unix ms.
    pub(super) fetched_at_ms: i64,
    /// The SHA-256 of the set: a key with one wrong bit is a key, too.
    jwks_sha256: String,
    /// The set as it was fetched.
    pub(super) jwks: String,
}

/// The file with the last good set.
#[derive(Debug)]
pub(super) struct Cache(PathBuf);

impl Cache {
    pub(super) fn of(data_dir: &Path) -> Self {
        Self(data_dir.join(FILE))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Keeps a set that is good. Whoever reads meanwhile finds the one before it.
    pub(super) fn keep(&self, url: &str, jwks: &[u8], now_ms: i64) -> Result<(), CacheError> {
        let kept = Kept {
            url_sha256: digest(url.as_bytes()),
            fetched_at_ms: now_ms,
            jwks_sha256: digest(jwks),
            jwks: String::from_utf8_lossy(jwks).into_owned(),
        };
        let text = serde_json::to_vec(&kept).map_err(io::Error::from)?;
        let unfinished = self.0.with_extension("new");
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut options = fs::OpenOptions::new();
        // Made anew, so that no other mode and no link from before counts.
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&unfinished)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&unfinished, &self.0)?;
        if let Some(folder) = self.0.parent() {
            fs::File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    /// What was kept of this URL.
    pub(super) fn recall(&self, url: &str) -> Result<Option<Kept>, CacheError> {
        let about = match fs::metadata(&self.0) {
            Ok(about) => about,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if !about.is_file() {
            return Err(CacheError::Damaged);
        }
        if about.mode() & 0o022 != 0 {
            return Err(CacheError::Exposed);
        }
        let text = read_at_most(&self.0, FILE_BYTES_MAX)?;
        let kept: Kept =
            serde_json::from_slice(&text).map_err(|_unreadable| CacheError::Damaged)?;
        if kept.jwks_sha256 != digest(kept.jwks.as_bytes()) {
            return Err(CacheError::Damaged);
        }
        Ok((kept.url_sha256 == digest(url.as_bytes())).then_some(kept))
    }
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
