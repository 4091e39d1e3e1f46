//! The backups that a schedule makes of one collector, in a folder that it may share with others.
//!
//! A backup gets its name, the time at which it was made, only after it was read back as it was written. What is not a
//! backup yet, or not any more, has a name that begins with a dot and bears the collector's id: whatever a kill leaves
//! is found again, and nobody else's is touched.

use std::fs;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::chance::Chance;
use crate::clock::STEP_MS_MAX;
use crate::persist::backup::error::{BackupError, io_error};
use crate::persist::backup::{Manifest, STATE_FILE, create, glance, sync_parent, verify};

/// What a backup leaves free on the disk at the least: a twentieth of it, and no more than this. The folder may lie
/// on the disk that the journal needs. Unit: bytes.
const SPARED_BYTES_MAX: u64 = 1 << 30;

/// The form of a name, in which `d` is a digit: UTC, so that names sort as the backups were made.
const NAME_FORM: &str = "dddd-dd-ddTdd-dd-ddZ";

/// The backups that a schedule makes of one collector.
#[derive(Debug)]
pub struct Kept {
    dir: PathBuf,
    collector_id: Uuid,
}

/// A backup that has not been read back yet.
#[derive(Debug)]
pub struct Unverified {
    folder: PathBuf,
    target: PathBuf,
}

impl Kept {
    /// Those of this collector in `dir`, which must exist: a disk that is not mounted is not taken for an empty one.
    #[must_use]
    pub fn new(dir: PathBuf, collector_id: Uuid) -> Self {
        Self { dir, collector_id }
    }

    /// The newest backup. One from the future was made while the clock was ahead, and says nothing about its age.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn newest(&self, now_ms: i64) -> Result<Option<Manifest>, BackupError> {
        let manifests = self.all()?.into_iter().map(|(_, manifest)| manifest);
        Ok(manifests
            .filter(|manifest| manifest.created_at_ms <= now_ms.saturating_add(STEP_MS_MAX))
            .max_by_key(|manifest| manifest.created_at_ms))
    }

    /// Makes a backup of the state file in `data_dir` that has no name yet, after whatever an earlier one has left
    /// behind is removed.
    ///
    /// # Errors
    /// When there is not enough room, or a file cannot be read or written.
    pub fn make(
        &self,
        data_dir: &Path,
        now_ms: i64,
        chance: &Chance,
    ) -> Result<Unverified, BackupError> {
        self.clear()?;
        self.check_room(data_dir)?;
        let folder = self.hidden("unverified");
        create(
            data_dir,
            (&folder, None),
            now_ms,
            chance,
            &mut |_done, _all| {},
        )?;
        Ok(Unverified {
            folder,
            target: self.dir.join(name_of(now_ms)),
        })
    }

    /// Removes all but the newest `keep` backups, and says how many.
    ///
    /// # Errors
    /// When the folder cannot be read or a backup cannot be removed.
    pub fn remove_beyond(&self, keep: usize) -> Result<usize, BackupError> {
        let all = self.all()?;
        let beyond = all.len().saturating_sub(keep);
        for (folder, _) in all.iter().take(beyond) {
            // Under another name first: half a backup must not look like one.
            let removed = self.hidden("removed");
            fs::rename(folder, &removed).map_err(io_error("remove", folder))?;
            fs::remove_dir_all(&removed).map_err(io_error("remove", &removed))?;
        }
        Ok(beyond)
    }

    /// Every backup with its folder, the one that holds least first. Their order does not depend on a clock, which may
    /// have been wrong: a collector's positions only rise.
    fn all(&self) -> Result<Vec<(PathBuf, Manifest)>, BackupError> {
        let mut all = Vec::new();
        for (name, folder) in self.folders()? {
            // Somebody else's folder may look like anything.
            let manifest = is_name(&name).then(|| glance(&folder).ok()).flatten();
            if let Some(manifest) = manifest
                && manifest.collector_id == self.collector_id
            {
                all.push((folder, manifest));
            }
        }
        all.sort_by_key(|(_, of)| (of.applied_position, of.last_epoch, of.created_at_ms));
        Ok(all)
    }

    /// Removes what is no backup yet, or not any more.
    fn clear(&self) -> Result<(), BackupError> {
        let mark = self.collector_id.to_string();
        for (name, folder) in self.folders()? {
            if name.starts_with('.') && name.contains(&mark) {
                fs::remove_dir_all(&folder).map_err(io_error("remove", &folder))?;
            }
        }
        Ok(())
    }

    /// The folders in the folder, by name.
    fn folders(&self) -> Result<Vec<(String, PathBuf)>, BackupError> {
        let entries = fs::read_dir(&self.dir).map_err(io_error("look into", &self.dir))?;
        let mut folders = Vec::new();
        for entry in entries {
            let entry = entry.map_err(io_error("look into", &self.dir))?;
            // Not through a link: it may lead anywhere.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let name = entry.file_name().to_string_lossy().into_owned();
                folders.push((name, entry.path()));
            }
        }
        Ok(folders)
    }

    fn check_room(&self, data_dir: &Path) -> Result<(), BackupError> {
        let disk = rustix::fs::statvfs(&self.dir)
            .map_err(|error| io_error("look into", &self.dir)(error.into()))?;
        let bytes_of = |name: &str| fs::metadata(data_dir.join(name)).map_or(0, |file| file.len());
        let state = bytes_of(STATE_FILE) + bytes_of(&format!("{STATE_FILE}-wal"));
        let size = disk.f_blocks.saturating_mul(disk.f_frsize);
        let needed = state + (size / 20).min(SPARED_BYTES_MAX);
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free >= needed {
            return Ok(());
        }
        Err(BackupError::NoRoom {
            folder: self.dir.clone(),
            free,
            needed,
        })
    }

    fn hidden(&self, what: &str) -> PathBuf {
        self.dir.join(format!(".{what}-{}", self.collector_id))
    }
}

impl Unverified {
    /// Reads the backup back and gives it its name; removes it if it is not as it was written.
    ///
    /// # Errors
    /// When it is not, or cannot be read or renamed.
    pub fn finish(self) -> Result<Manifest, BackupError> {
        let finished = verify(&self.folder).and_then(|manifest| {
            fs::rename(&self.folder, &self.target)
                .map_err(io_error("rename the backup to", &self.target))?;
            sync_parent(&self.target)?;
            Ok(manifest)
        });
        if finished.is_err() {
            // What is left is removed before the next one is made.
            let _ignored = fs::remove_dir_all(&self.folder);
        }
        finished
    }
}

fn name_of(at_ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H-%M-%SZ").to_string()
}

fn is_name(name: &str) -> bool {
    let has_form = |(found, wanted): (u8, u8)| match wanted {
        b'd' => found.is_ascii_digit(),
        other => found == other,
    };
    name.len() == NAME_FORM.len() && name.bytes().zip(NAME_FORM.bytes()).all(has_form)
}

#[cfg(test)]
mod tests {
    use tillwatch_model::time::{DAY_MS, HOUR_MS};

    use super::*;
    use crate::persist::State;
    use crate::persist::backup::{MANIFEST_FILE, SUMS_FILE};
    use crate::world::World;

    /// 2026-11-30, 01:00 UTC.
    const NOW_MS: i64 = 1_795_996_800_000 + HOUR_MS;

    struct Collector {
        folder: tempfile::TempDir,
        state: State,
    }

    impl Collector {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("data")).unwrap();
            let state = State::open(&folder.path().join("data"), &World::of_machine()).unwrap();
            Self { folder, state }
        }

        fn kept(&self, dir: &Path) -> Kept {
            Kept::new(dir.to_owned(), self.state.collector_id())
        }

        fn make(&self, kept: &Kept, now_ms: i64) -> Result<Unverified, BackupError> {
            let data_dir = self.folder.path().join("data");
            kept.make(&data_dir, now_ms, &Chance::seeded(1))
        }

        fn add(&self, kept: &Kept, now_ms: i64) -> Manifest {
            self.make(kept, now_ms).unwrap().finish().unwrap()
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.unwrap().file_name().into_string().unwrap()
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn names_are_times_that_sort() {
        assert_eq!(name_of(NOW_MS), "2026-11-30T01-00-00Z");
        assert!(is_name(&name_of(NOW_MS)));
        for other in ["2026-11-30", "2026-11-30T01-00-00z", "2026-11-30T01:00:00Z"] {
            assert!(!is_name(other), "{other}");
        }
    }

    #[test]
    fn the_oldest_go_and_nothing_of_anybody_else() {
        let (dir, ours, other) = (
            tempfile::tempdir().unwrap(),
            Collector::new(),
            Collector::new(),
        );
        let kept = ours.kept(dir.path());
        assert_eq!(kept.newest(NOW_MS).unwrap(), None);
        other.add(&other.kept(dir.path()), NOW_MS - 9 * DAY_MS);
        // By hand, and what is no backup though its name says so.
        let by_hand = dir.path().join("2026-11-01");
        let data_dir = ours.folder.path().join("data");
        let hand = (by_hand.as_path(), None);
        create(&data_dir, hand, NOW_MS, &Chance::seeded(2), &mut |_, _| {}).unwrap();
        fs::create_dir(dir.path().join("2020-01-01T00-00-00Z")).unwrap();
        fs::write(dir.path().join("2020-01-02T00-00-00Z"), "a file").unwrap();
        std::os::unix::fs::symlink(&by_hand, dir.path().join("2020-01-03T00-00-00Z")).unwrap();
        let before = names(dir.path());
        for day in 0..4 {
            ours.add(&kept, NOW_MS + day * DAY_MS);
        }
        assert_eq!(kept.remove_beyond(4).unwrap(), 0);
        assert_eq!(kept.remove_beyond(2).unwrap(), 2);
        let mut expected = before;
        expected.extend([2, 3].map(|day| name_of(NOW_MS + day * DAY_MS)));
        expected.sort();
        assert_eq!(names(dir.path()), expected);
        let newest = kept.newest(NOW_MS + 3 * DAY_MS).unwrap().unwrap();
        assert_eq!(newest.created_at_ms, NOW_MS + 3 * DAY_MS);
    }

    #[test]
    fn a_backup_that_is_not_as_it_was_written_never_has_a_name() {
        let (dir, ours) = (tempfile::tempdir().unwrap(), Collector::new());
        let kept = ours.kept(dir.path());
        ours.add(&kept, NOW_MS);
        let unverified = ours.make(&kept, NOW_MS + DAY_MS).unwrap();
        let copy = unverified.folder.join(STATE_FILE);
        let mut bytes = fs::read(&copy).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&copy, bytes).unwrap();
        let error = unverified.finish().unwrap_err();
        assert!(
            matches!(
                error,
                BackupError::Corrupt {
                    file: STATE_FILE,
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(names(dir.path()), [name_of(NOW_MS)]);
    }

    #[test]
    fn what_a_kill_leaves_is_no_backup_and_is_gone_with_the_next() {
        let (dir, ours, other) = (
            tempfile::tempdir().unwrap(),
            Collector::new(),
            Collector::new(),
        );
        let kept = ours.kept(dir.path());
        // Killed before it was read back, while it was copied, while it was removed; and another's, which goes on.
        drop(ours.make(&kept, NOW_MS).unwrap());
        let (id, theirs) = (ours.state.collector_id(), other.state.collector_id());
        for name in [
            format!("..unverified-{id}.unfinished-00000000000000000000000000000000"),
            format!(".removed-{id}"),
            format!("..unverified-{theirs}.unfinished-0"),
        ] {
            fs::create_dir(dir.path().join(&name)).unwrap();
            fs::write(dir.path().join(name).join(STATE_FILE), "half").unwrap();
        }
        assert_eq!(kept.newest(NOW_MS).unwrap(), None);
        ours.add(&kept, NOW_MS);
        let left = [
            format!("..unverified-{theirs}.unfinished-0"),
            name_of(NOW_MS),
        ];
        assert_eq!(names(dir.path()), left);
    }

    #[test]
    fn a_backup_from_the_future_is_not_the_newest_and_half_a_backup_is_none() {
        let (dir, ours) = (tempfile::tempdir().unwrap(), Collector::new());
        let kept = ours.kept(dir.path());
        ours.add(&kept, NOW_MS);
        ours.add(&kept, NOW_MS + 300 * DAY_MS);
        let newest = || kept.newest(NOW_MS + 1).unwrap();
        assert_eq!(newest().unwrap().created_at_ms, NOW_MS);
        let named = dir.path().join(name_of(NOW_MS));
        let state = fs::read(named.join(STATE_FILE)).unwrap();
        fs::write(named.join(STATE_FILE), &state[..state.len() - 1]).unwrap();
        assert_eq!(newest(), None);
        fs::write(named.join(STATE_FILE), &state).unwrap();
        assert!(newest().is_some());
        for name in [MANIFEST_FILE, SUMS_FILE, STATE_FILE] {
            fs::rename(named.join(name), named.join("away")).unwrap();
            assert_eq!(newest(), None, "{name}");
            fs::rename(named.join("away"), named.join(name)).unwrap();
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_not_made() {
        let (dir, ours) = (tempfile::tempdir().unwrap(), Collector::new());
        let nowhere = dir.path().join("not mounted");
        let kept = ours.kept(&nowhere);
        assert!(kept.newest(NOW_MS).is_err());
        assert!(ours.make(&kept, NOW_MS).is_err());
        assert!(!nowhere.exists());
    }
}
