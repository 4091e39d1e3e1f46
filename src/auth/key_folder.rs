//! The collector's own keys, on disk: one file a key, which only its owner can read.
//!
//! The newest key signs, and all verify. A key that is retired leaves its public part, which verifies on; a key of
//! which no file is left verifies nothing. Whoever makes or retires a key beside a running collector changes files, and
//! the collector looks for changes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tillwatch_token::{KeyError, KeySet, RetiredKey, SEED_BYTES, SigningKey};

use crate::auth::key_folder_error::KeyFolderError;

/// The folder in the data folder.
const FOLDER: &str = "token_keys";
/// How the name of a key's file ends.
const SUFFIX: &str = ".json";
/// How the name of a retired key's file ends.
const RETIRED_SUFFIX: &str = ".retired.json";
/// What a key's file may be long. Unit: bytes.
const FILE_BYTES_MAX: u64 = 4_096;
/// How many keys there may be.
const KEYS_MAX: usize = 100;

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
    key: Option<FoundKey>,
}

/// A key, as its file has it.
#[derive(Debug)]
enum FoundKey {
    Signing(Box<SigningKey>),
    Retired(RetiredKey),
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
        let key = SigningKey::new(kid, seed, now_ms).map_err(|source| unusable(&path, source))?;
        self.write(&path, &key.to_json())
            .map_err(|source| failed(&path, source))?;
        Ok((key, path))
    }

    /// Lets a key sign no more. What it has signed stays valid.
    ///
    /// # Errors
    /// When there is no such key, or the folder cannot be written.
    pub fn retire(&self, kid: &str, now_ms: i64) -> Result<(), KeyFolderError> {
        let path = self.file_of(kid, SUFFIX)?;
        let key = read_key(&path)?;
        let retired = self.0.join(format!("{kid}{RETIRED_SUFFIX}"));
        // The public part is durable before the private one goes: else its tokens would end.
        // It may be there: whoever retired the key was killed between the two.
        if !retired.is_file() {
            self.write(&retired, &RetiredKey::of(&key, now_ms).to_json())
                .map_err(|source| failed(&retired, source))?;
        }
        self.take_away(&path)
    }

    /// Takes a key away, with all that it has signed.
    ///
    /// # Errors
    /// When there is no such key, or the folder cannot be written.
    pub fn remove(&self, kid: &str) -> Result<(), KeyFolderError> {
        let files = [SUFFIX, RETIRED_SUFFIX].map(|suffix| self.file_of(kid, suffix));
        let mut found = files.into_iter().filter_map(Result::ok).peekable();
        if found.peek().is_none() {
            return Err(self.unknown(kid));
        }
        found.try_for_each(|path| self.take_away(&path))
    }

    /// Takes away what a process that was killed left half written: a private key may be in it.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn tidy(&self) -> Result<(), KeyFolderError> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(&self.0, error)),
        };
        for entry in entries {
            let path = entry.map_err(|source| failed(&self.0, source))?.path();
            if path.extension().is_some_and(|extension| extension == "new") {
                remove_if_there(&path).map_err(|source| failed(&path, source))?;
            }
        }
        Ok(())
    }

    fn unknown(&self, kid: &str) -> KeyFolderError {
        KeyFolderError::Unknown {
            path: self.0.clone(),
            kid: kid.to_owned(),
        }
    }

    /// The file of a key, if it is there. A name that could lead elsewhere names none.
    fn file_of(&self, kid: &str, suffix: &str) -> Result<PathBuf, KeyFolderError> {
        let path = self.0.join(format!("{kid}{suffix}"));
        let is_plain = kid.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_plain && path.is_file() {
            Ok(path)
        } else {
            Err(self.unknown(kid))
        }
    }

    fn take_away(&self, path: &Path) -> Result<(), KeyFolderError> {
        fs::remove_file(path).map_err(|source| failed(path, source))?;
        let synced = fs::File::open(&self.0).and_then(|folder| folder.sync_all());
        synced.map_err(|source| failed(&self.0, source))
    }

    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        let mut folder = fs::DirBuilder::new();
        folder.recursive(true).mode(0o700);
        folder.create(&self.0)?;
        // A reader never sees half a key, and no key takes another's place: the file gets its name, which must be
        // free, when it is whole and durable.
        let unfinished = path.with_extension("new");
        remove_if_there(&unfinished)?;
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
            let key = match read_any(&self.folder.0.join(&name)) {
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

    /// The keys that sign, the newest last: that one does.
    #[must_use]
    pub fn all(&self) -> Vec<&SigningKey> {
        let mut keys: Vec<&SigningKey> = self
            .found()
            .filter_map(|key| match key {
                FoundKey::Signing(key) => Some(&**key),
                FoundKey::Retired(_) => None,
            })
            .collect();
        keys.sort_by_key(|key| key.created_at_ms());
        keys
    }

    /// The keys that sign no more and verify on.
    #[must_use]
    pub fn retired(&self) -> Vec<&RetiredKey> {
        let retired = self.found().filter_map(|key| match key {
            FoundKey::Signing(_) => None,
            FoundKey::Retired(key) => Some(key),
        });
        retired.collect()
    }

    fn found(&self) -> impl Iterator<Item = &FoundKey> {
        self.files.values().filter_map(|file| file.key.as_ref())
    }

    /// What verifies the tokens of these keys.
    #[must_use]
    pub fn verifying(&self) -> KeySet {
        let mut set = KeySet::default();
        for key in self.found() {
            let (kid, verifying) = match key {
                FoundKey::Signing(key) => (key.kid(), key.verifying()),
                FoundKey::Retired(key) => (key.kid(), key.verifying()),
            };
            if let Ok(verifying) = verifying {
                set.insert(kid.to_owned(), verifying);
            }
        }
        set
    }
}

/// What a file holds: a key that signs, or what is left of one.
fn read_any(path: &Path) -> Result<FoundKey, KeyFolderError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Some(kid) = name.strip_suffix(RETIRED_SUFFIX) else {
        return read_key(path).map(|key| FoundKey::Signing(Box::new(key)));
    };
    let key = RetiredKey::from_json(&read(path)?);
    let key = key.map_err(|source| unusable(path, source))?;
    if key.kid() != kid {
        let fault = KeyError::Malformed("the file is not named after it");
        return Err(unusable(path, fault));
    }
    Ok(FoundKey::Retired(key))
}

fn unusable(path: &Path, source: KeyError) -> KeyFolderError {
    KeyFolderError::Key {
        path: path.to_owned(),
        source,
    }
}

/// The key in a file, which must be named after it and be its owner's alone.
fn read_key(path: &Path) -> Result<SigningKey, KeyFolderError> {
    let key = SigningKey::from_json(&read(path)?);
    let key = key.map_err(|source| unusable(path, source))?;
    if path.file_stem().is_none_or(|stem| stem != key.kid()) {
        let fault = KeyError::Malformed("the file is not named after it");
        return Err(unusable(path, fault));
    }
    Ok(key)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
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
    fn a_key_is_retired_whatever_was_left_half_done() {
        let data = tempfile::tempdir().unwrap();
        let folder = KeyFolder::of(data.path());
        folder.add([1; 32], "a".to_owned(), 100).unwrap();
        let (key, _) = folder.add([2; 32], "b".to_owned(), 200).unwrap();
        // Killed before the name, and killed before the private part went.
        fs::write(folder.path().join("a.retired.new"), "half").unwrap();
        folder
            .write(
                &folder.path().join("b.retired.json"),
                &RetiredKey::of(&key, 250).to_json(),
            )
            .unwrap();
        folder.retire("a", 300).unwrap();
        folder.retire("b", 300).unwrap();
        let mut keys = folder.keys();
        let looked = keys.look().unwrap();
        assert!(looked.faults.is_empty(), "{looked:?}");
        assert_eq!(
            (
                kids(&keys).len(),
                keys.retired().len(),
                keys.verifying().len()
            ),
            (0, 2, 2)
        );
        fs::write(folder.path().join("c.new"), "half").unwrap();
        folder.tidy().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
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
