//! Public keys of the shop's own backend, from its key set: a file, or a URL that is asked again and again.
//!
//! **Promises**
//! 1. While a set cannot be had, the keys of the last good one count, for `stale_max` and not longer; also after a
//!    restart, because that set is kept in the data folder.
//! 2. Nobody but the server of the URL is asked: no proxy, no other host, and no port that a redirect names.
//! 3. What it answers costs a bounded time and a bounded memory, and nothing of it is believed but public keys.
//! 4. No error, no log line and no file holds the query of the URL, which may be a secret.
//!
//! | file | what |
//! |---|---|
//! | `fetch.rs` | the bytes of a set, from a URL |
//! | `cache.rs` | the last good set, kept over restarts |
//! | `schedule.rs` | when a URL is asked again |

mod cache;
mod fetch;
mod schedule;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tillwatch_token::{JWKS_BYTES_MAX, JwksError, KeyFault, VerifyingKey, jwks};

use crate::auth::jwks::cache::Cache;
use crate::auth::jwks::schedule::Schedule;

pub use cache::CacheError;
pub use fetch::{FetchError, check_url};

/// Where a key set comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum JwksSource {
    /// A file, which is read again when it changes.
    File(PathBuf),
    /// A URL that [`check_url`] has nothing against.
    Url(String),
}

/// Without the query of the URL.
impl fmt::Display for JwksSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(formatter),
            Self::Url(url) => fetch::shown(url).fmt(formatter),
        }
    }
}

/// Without the query of the URL.
impl fmt::Debug for JwksSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "JwksSource({self})")
    }
}

/// Where a key set comes from, and for how long it is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwksSettings {
    /// Where it comes from.
    pub source: JwksSource,
    /// How often a URL is asked.
    pub refresh: Duration,
    /// For how long the last good set counts while no other can be had.
    pub stale_max: Duration,
    /// Certificates (PEM) of authorities that are trusted beside those of the system.
    pub extra_roots: Option<PathBuf>,
}

/// Why a look brought no key set.
#[derive(Debug, thiserror::Error)]
pub enum JwksLookError {
    /// The file cannot be read.
    #[error("the key set {path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The URL does not give it.
    #[error("the key set cannot be had from {from}")]
    Fetch {
        /// The URL without its query.
        from: String,
        /// Why.
        #[source]
        source: FetchError,
    },
    /// What came is no key set.
    #[error("what {from} holds cannot be used")]
    Set {
        /// The file, or the URL without its query.
        from: String,
        /// Why.
        #[source]
        source: JwksError,
    },
    /// The last good set is too old, and its keys are gone.
    #[error(
        "no good key set came from {from} for {}: its keys are dropped, and their tokens refused until one comes",
        humantime::format_duration(*.stale_max)
    )]
    Dropped {
        /// The file, or the URL without its query.
        from: String,
        /// For how long a set counts.
        stale_max: Duration,
        /// Why this look brought none; absent if there was nothing to do yet.
        #[source]
        last: Option<Box<JwksLookError>>,
    },
}

/// What keeps nothing from working, and should be told.
#[derive(Debug, thiserror::Error)]
pub enum JwksFault {
    /// A key of the set is left out.
    #[error("{from}: {fault}")]
    Key {
        /// The file, or the URL without its query.
        from: String,
        /// Which key, and why.
        fault: KeyFault,
    },
    /// The set cannot be kept over a restart, or what was kept cannot be used.
    #[error("the last good key set in {path}")]
    Cache {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: CacheError,
    },
}

/// What a look came to.
#[derive(Debug, Default)]
pub struct JwksLooked {
    /// Whether a key has come, gone or changed.
    pub has_changed: bool,
    /// What should be told. Each fault of a key is told of when it comes or changes.
    pub faults: Vec<JwksFault>,
    /// Why there is no new set, if one was looked for in vain.
    pub error: Option<JwksLookError>,
}

/// The keys of one source, as they were last found.
#[derive(Debug)]
pub struct Jwks {
    settings: JwksSettings,
    cache: Cache,
    schedule: Schedule,
    file: Option<KnownFile>,
    keys: BTreeMap<String, VerifyingKey>,
    /// When the source was last seen to hold the keys, Unix ms. `None`: there are no keys.
    good_at_ms: Option<i64>,
    told: Vec<KeyFault>,
}

/// What tells a file from another that has its name.
type FileMark = (u64, u64, Option<SystemTime>);

/// The file as it was last read.
#[derive(Debug)]
struct KnownFile {
    mark: FileMark,
    was_good: bool,
}

impl Jwks {
    /// The keys of a source, of which none is known yet. The last good set is kept in `data_dir`.
    #[must_use]
    pub fn new(settings: JwksSettings, data_dir: &Path) -> Self {
        Self {
            cache: Cache::of(data_dir),
            settings,
            schedule: Schedule::default(),
            file: None,
            keys: BTreeMap::new(),
            good_at_ms: None,
            told: Vec::new(),
        }
    }

    /// The keys that count now, by name.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &VerifyingKey)> {
        self.keys.iter().map(|(kid, key)| (kid.as_str(), key))
    }

    /// When the source was last seen to hold the keys, Unix ms; `None`: there are no keys.
    #[must_use]
    pub fn good_at_ms(&self) -> Option<i64> {
        self.good_at_ms
    }

    /// Takes what is at hand without asking a server: the file, or the set that was kept of the URL. Call it at the
    /// start, so that nobody waits for an issuer that is down.
    pub fn recall(&mut self, now_ms: i64) -> JwksLooked {
        let mut looked = JwksLooked::default();
        match self.settings.source.clone() {
            JwksSource::File(path) => self.look_at_file(&path, now_ms, &mut looked),
            JwksSource::Url(url) => self.look_at_cache(&url, now_ms, &mut looked),
        }
        self.drop_stale(now_ms, &mut looked);
        looked
    }

    /// Looks whether there is something to do, and does it: reads a file that has changed; asks a URL when `refresh`
    /// is over, when `wants_early` (a token of an unknown key came) and it was not asked for a minute, or when a
    /// failure is long enough ago. `draw` is any number drawn at random: pauses after failures spread by it.
    ///
    /// A look lasts up to 10 s and also reads and writes small files: let it run where it may block.
    pub async fn look(&mut self, now_ms: i64, wants_early: bool, draw: u64) -> JwksLooked {
        let mut looked = JwksLooked::default();
        match self.settings.source.clone() {
            JwksSource::File(path) => self.look_at_file(&path, now_ms, &mut looked),
            JwksSource::Url(url) if self.schedule.is_due(now_ms, wants_early) => {
                self.ask(&url, now_ms, draw, &mut looked).await;
            }
            JwksSource::Url(_) => {}
        }
        self.drop_stale(now_ms, &mut looked);
        looked
    }

    async fn ask(&mut self, url: &str, now_ms: i64, draw: u64, looked: &mut JwksLooked) {
        // Counts as a failure from now on: a look that is given up was an attempt, too.
        self.schedule.failed(now_ms, self.settings.refresh, draw);
        let extra_roots = self.settings.extra_roots.as_deref();
        let bytes = match fetch::fetch(url, extra_roots, fetch::FETCH_MAX).await {
            Ok(bytes) => bytes,
            Err(source) => {
                let from = self.settings.source.to_string();
                looked.error = Some(JwksLookError::Fetch { from, source });
                return;
            }
        };
        if !self.take(&bytes, now_ms, looked) {
            return;
        }
        self.schedule.succeeded(now_ms, self.settings.refresh);
        if let Err(source) = self.cache.keep(url, &self.public_part(&bytes), now_ms) {
            looked.faults.push(self.cache_fault(source));
        }
    }

    fn look_at_cache(&mut self, url: &str, now_ms: i64, looked: &mut JwksLooked) {
        match self.cache.recall(url) {
            Ok(None) => {}
            Ok(Some(kept)) => {
                // A time that is still to come was noted by a clock that was wrong, or is wrong now.
                let fetched_at_ms = kept.fetched_at_ms.min(now_ms);
                self.take(kept.jwks.as_bytes(), fetched_at_ms, looked);
            }
            Err(source) => looked.faults.push(self.cache_fault(source)),
        }
    }

    fn look_at_file(&mut self, path: &Path, now_ms: i64, looked: &mut JwksLooked) {
        let read = |source| JwksLookError::Read {
            path: path.to_owned(),
            source,
        };
        let mark = match mark_of(path) {
            Ok(mark) => mark,
            Err(source) => {
                self.file = None;
                looked.error = Some(read(source));
                return;
            }
        };
        if let Some(known) = self.file.as_ref().filter(|known| known.mark == mark) {
            // What is wrong with it was told when it was read.
            if known.was_good {
                self.good_at_ms = Some(now_ms);
            }
            return;
        }
        let was_good = match read_at_most(path, JWKS_BYTES_MAX + 1) {
            Ok(bytes) => self.take(&bytes, now_ms, looked),
            Err(source) => {
                self.file = None;
                looked.error = Some(read(source));
                return;
            }
        };
        self.file = Some(KnownFile { mark, was_good });
    }

    /// Takes a set, and says whether it was good.
    fn take(&mut self, bytes: &[u8], good_at_ms: i64, looked: &mut JwksLooked) -> bool {
        let from = self.settings.source.to_string();
        match jwks::read(bytes) {
            Ok(set) => {
                looked.has_changed |= set.keys != self.keys;
                self.keys = set.keys;
                self.good_at_ms = Some(good_at_ms);
                if self.told != set.faults {
                    let told = set.faults.iter().cloned();
                    looked.faults.extend(told.map(|fault| JwksFault::Key {
                        from: from.clone(),
                        fault,
                    }));
                    self.told = set.faults;
                }
                true
            }
            Err(source) => {
                looked.error = Some(JwksLookError::Set { from, source });
                false
            }
        }
    }

    /// Lets go of keys that were not seen at their source for too long.
    fn drop_stale(&mut self, now_ms: i64, looked: &mut JwksLooked) {
        let stale_max = self.settings.stale_max;
        let is_stale = |good_at_ms: i64| age(good_at_ms, now_ms) > stale_max;
        if !self.good_at_ms.is_some_and(is_stale) {
            return;
        }
        self.good_at_ms = None;
        self.keys.clear();
        self.told.clear();
        looked.has_changed = true;
        let last = looked.error.take().map(Box::new);
        looked.error = Some(JwksLookError::Dropped {
            from: self.settings.source.to_string(),
            stale_max,
            last,
        });
    }

    /// Of a set only the keys that count, without what must not be public: an issuer that is mistaken must not have its
    /// secrets kept here.
    fn public_part(&self, bytes: &[u8]) -> Vec<u8> {
        const PUBLIC: [&str; 9] = ["kty", "crv", "x", "y", "n", "e", "kid", "use", "alg"];
        let set: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
        let keys = set.get("keys").and_then(serde_json::Value::as_array);
        let counts = |key: &&serde_json::Value| {
            let kid = key.get("kid").and_then(serde_json::Value::as_str);
            kid.is_some_and(|kid| self.keys.contains_key(kid)) && key.get("d").is_none()
        };
        let keys = keys.into_iter().flatten().filter(counts).filter_map(|key| {
            let members = key.as_object()?.iter();
            let members = members.filter(|(name, _)| PUBLIC.contains(&name.as_str()));
            let members = members.map(|(name, value)| (name.clone(), value.clone()));
            Some(serde_json::Value::Object(members.collect()))
        });
        let keys: Vec<serde_json::Value> = keys.collect();
        serde_json::json!({"keys": keys}).to_string().into_bytes()
    }

    fn cache_fault(&self, source: CacheError) -> JwksFault {
        JwksFault::Cache {
            path: self.cache.path().to_owned(),
            source,
        }
    }
}

/// How long ago something was; a clock that was set back makes it now.
fn age(then_ms: i64, now_ms: i64) -> Duration {
    let age_ms = now_ms.saturating_sub(then_ms);
    Duration::from_millis(u64::try_from(age_ms).unwrap_or(0))
}

fn mark_of(path: &Path) -> io::Result<FileMark> {
    let about = fs::metadata(path)?;
    if !about.is_file() {
        // Opening a pipe would wait for a writer.
        return Err(io::Error::other("it is no regular file"));
    }
    Ok((about.ino(), about.len(), about.modified().ok()))
}

fn read_at_most(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
