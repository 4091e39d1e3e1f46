//! The collector's own keys, on disk: one file a key, which only its owner can read.
//!
//! The newest key signs, and all verify. A file that is taken away ends the tokens of its key. Whoever makes a key
//! beside a running collector writes a file, and the collector looks for new ones.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tillwatch_token::{KeyError, KeySet, SEED_BYTES, SigningKey};

/// The folder in the data folder.
const FOLDER: &str = "token_keys";
/// How the name of a key's file ends.
const SUFFIX: &str = ".json";
/// What a key's file may be long. Unit: bytes.
const FILE_BYTES_MAX: u64 = 4_096;
/// How many keys there may be.
const KEYS_MAX: usize = 100;

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
    /// There are too many files.
    #[error(
        "{path} holds over 100 keys: take away those that have signed no token that is still valid"
    )]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
}

/// The folder with the keys.
#[derive(Debug, Clone)]
pub struct KeyFolder(PathBuf);

/// What tells a file from another that has its name.
type FileMark = (u64, u64, Option<SystemTime>);

/// What is known of one file.
#[derive(Debug)]
struct KnownFile {
    mark: FileMark,
    /// The key, once it could be read. It stays while a file of this name is there and cannot be read.
    key: Option<SigningKey>,
}

/// The keys as they were last found.
#[derive(Debug)]
pub struct Keys {
    folder: KeyFolder,
    files: BTreeMap<String, KnownFile>,
}

/// What a look at the folder came to.
#[derive(Debug)]
pub struct Looked {
    /// Whether a key has come or gone.
    pub has_changed: bool,
    /// Files that cannot be used. Each is told of when it comes or changes.
    pub faults: Vec<KeyFolderError>,
}

impl KeyFolder {
    /// The folder of the keys in a data folder. It need not be there.
    #[must_use]
    pub fn of(data_dir: &Path) -> Self {
        Self(data_dir.join(FOLDER))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The keys in it, of which none is known yet.
    #[must_use]
    pub fn keys(&self) -> Keys {
        Keys {
            folder: self.clone(),
            files: BTreeMap::new(),
        }
    }

    /// Writes a new key of a random seed; gives it, and where it lies.
    ///
    /// # Errors
    /// When the key cannot be made or written, or there is one of this name.
    pub fn add(
        &self,
        seed: [u8; SEED_BYTES],
        kid: String,
        now_ms: i64,
    ) -> Result<(SigningKey, PathBuf), KeyFolderError> {
        let path = self.0.join(format!("{kid}{SUFFIX}"));
        let key = SigningKey::new(kid, seed, now_ms).map_err(|source| KeyFolderError::Key {
            path: path.clone(),
            source,
        })?;
        self.write(&path, &key.to_json())
            .map_err(|source| failed(&path, source))?;
        Ok((key, path))
    }

    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        let mut folder = fs::DirBuilder::new();
        folder.recursive(true).mode(0o700);
        folder.create(&self.0)?;
        // A reader never sees half a key, and no key takes another's place: the file gets its name, which must be
        // free, when it is whole and durable.
        let unfinished = path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        let linked = fs::hard_link(&unfinished, path);
        fs::remove_file(&unfinished)?;
        linked?;
        fs::File::open(&self.0)?.sync_all()?;
        // The folder may be new, too.
        match self.0.parent() {
            Some(data_dir) => fs::File::open(data_dir)?.sync_all(),
            None => Ok(()),
        }
    }

    /// The files of keys, with what tells each from another of its name.
    fn files(&self) -> Result<BTreeMap<String, FileMark>, KeyFolderError> {
        let here = |source| failed(&self.0, source);
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(here(error)),
        };
        let mut files = BTreeMap::new();
        for entry in entries {
            let entry = entry.map_err(here)?;
            let about = entry.metadata().map_err(here)?;
            if let Ok(name) = entry.file_name().into_string()
                && name.ends_with(SUFFIX)
                && about.is_file()
            {
                let mark = (about.ino(), about.len(), about.modified().ok());
                files.insert(name, mark);
            }
            if files.len() > KEYS_MAX {
                return Err(KeyFolderError::TooMany {
                    path: self.0.clone(),
                });
            }
        }
        Ok(files)
    }
}

impl Keys {
    /// Looks at the folder again. A key whose file is gone is gone; one whose file cannot be read any more stays.
    ///
    /// # Errors
    /// When the folder cannot be read. All keys stay then.
    pub fn look(&mut self) -> Result<Looked, KeyFolderError> {
        let found = self.folder.files()?;
        let before = self.files.len();
        self.files.retain(|name, _| found.contains_key(name));
        let mut looked = Looked {
            has_changed: self.files.len() != before,
            faults: Vec::new(),
        };
        for (name, mark) in found {
            let known = self.files.get(&name);
            if known.is_some_and(|known| known.mark == mark) {
                continue;
            }
            let key = match read_key(&self.folder.0.join(&name)) {
                Ok(key) => {
                    looked.has_changed = true;
                    Some(key)
                }
                Err(fault) => {
                    looked.faults.push(fault);
                    self.files.remove(&name).and_then(|known| known.key)
                }
            };
            self.files.insert(name, KnownFile { mark, key });
        }
        Ok(looked)
    }

    /// The keys, the newest last. It signs.
    #[must_use]
    pub fn all(&self) -> Vec<&SigningKey> {
        let mut keys: Vec<&SigningKey> = self
            .files
            .values()
            .filter_map(|file| file.key.as_ref())
            .collect();
        keys.sort_by_key(|key| key.created_at_ms());
        keys
    }

    /// What verifies the tokens of these keys.
    #[must_use]
    pub fn verifying(&self) -> KeySet {
        let mut set = KeySet::default();
        for key in self.all() {
            if let Ok(verifying) = key.verifying() {
                set.insert(key.kid().to_owned(), verifying);
            }
        }
        set
    }
}

/// The key in a file, which must be named after it and be its owner's alone.
fn read_key(path: &Path) -> Result<SigningKey, KeyFolderError> {
    let text = read(path)?;
    let unusable = |source| KeyFolderError::Key {
        path: path.to_owned(),
        source,
    };
    let key = SigningKey::from_json(&text).map_err(unusable)?;
    if path.file_stem().is_none_or(|stem| stem != key.kid()) {
        return Err(unusable(KeyError::Malformed(
            "the file is not named after it",
        )));
    }
    Ok(key)
}

fn failed(path: &Path, source: io::Error) -> KeyFolderError {
    KeyFolderError::Io {
        path: path.to_owned(),
        source,
    }
}

fn read(path: &Path) -> Result<String, KeyFolderError> {
    use std::io::Read as _;
    let file = fs::File::open(path).map_err(|source| failed(path, source))?;
    let about = file.metadata().map_err(|source| failed(path, source))?;
    if about.permissions().mode() & 0o077 != 0 {
        return Err(KeyFolderError::Exposed {
            path: path.to_owned(),
        });
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|source| failed(path, source))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kids(keys: &Keys) -> Vec<&str> {
        keys.all().into_iter().map(SigningKey::kid).collect()
    }

    #[test]
    fn keys_are_found_again_the_newest_last() {
        let data = tempfile::tempdir().unwrap();
        let folder = KeyFolder::of(data.path());
        let mut keys = folder.keys();
        assert!(!keys.look().unwrap().has_changed, "there is no folder yet");
        folder.add([2; 32], "b".to_owned(), 200).unwrap();
        folder.add([1; 32], "a".to_owned(), 300).unwrap();
        assert!(
            folder.add([3; 32], "a".to_owned(), 400).is_err(),
            "the name is taken"
        );
        let looked = keys.look().unwrap();
        assert!(looked.has_changed && looked.faults.is_empty(), "{looked:?}");
        assert_eq!(kids(&keys), ["b", "a"]);
        assert_eq!(keys.verifying().len(), 2);
        assert!(!keys.look().unwrap().has_changed);
    }

    #[test]
    fn a_file_that_goes_takes_its_key_along_and_one_that_cannot_be_read_does_not() {
        let data = tempfile::tempdir().unwrap();
        let folder = KeyFolder::of(data.path());
        let (_, stolen) = folder.add([1; 32], "a".to_owned(), 100).unwrap();
        let (_, open) = folder.add([2; 32], "b".to_owned(), 200).unwrap();
        let mode = fs::metadata(&open).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut keys = folder.keys();
        keys.look().unwrap();
        // One file is damaged and one is open to others; meanwhile a stolen key must go all the same.
        fs::write(&open, "damaged").unwrap();
        fs::write(folder.path().join("c.json"), "{}").unwrap();
        fs::remove_file(&stolen).unwrap();
        let looked = keys.look().unwrap();
        assert!(looked.has_changed && looked.faults.len() == 2, "{looked:?}");
        assert_eq!(kids(&keys), ["b"]);
        assert!(
            keys.look().unwrap().faults.is_empty(),
            "each is told of once"
        );
        // A start knows nothing from before.
        let mut fresh = folder.keys();
        assert_eq!(fresh.look().unwrap().faults.len(), 2);
        assert!(fresh.verifying().is_empty());
    }

    #[test]
    fn a_key_under_another_name_or_that_others_can_read_is_none() {
        let data = tempfile::tempdir().unwrap();
        let folder = KeyFolder::of(data.path());
        let (_, path) = folder.add([1; 32], "a".to_owned(), 100).unwrap();
        fs::copy(&path, folder.path().join("copy.json")).unwrap();
        let (_, open) = folder.add([2; 32], "b".to_owned(), 200).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o640)).unwrap();
        let mut keys = folder.keys();
        let faults = keys.look().unwrap().faults;
        assert!(
            matches!(faults[0], KeyFolderError::Exposed { .. }),
            "{faults:?}"
        );
        assert!(
            matches!(faults[1], KeyFolderError::Key { .. }),
            "{faults:?}"
        );
        assert_eq!(kids(&keys), ["a"]);
    }
}
