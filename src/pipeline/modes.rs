//! Lets only this user read the data folder, because the state file holds the keys that make session ids
//! into pseudonyms, the journal and the engine hold what terminals measured, and a small file holds the
//! engine's password.
//!
//! The process's mask protects new files. A start closes files that an earlier release or a person has left
//! open. The data folder itself stays readable if its maker wanted it so, because it shows only names.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

/// What nobody else may do with a file or a folder.
const OTHERS: u32 = 0o077;
/// What nobody else may do with the data folder: put other files in the place of ours.
const OTHERS_WRITE: u32 = 0o022;

/// How many names a line of the log has; the number in the line is complete.
const NAMES_MAX: usize = 5;

/// Files and folders that this process and its children make are for this user alone. For the whole
/// process: call it before there is a second thread.
pub fn keep_to_oneself() {
    let _before = rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// What was open to others.
#[derive(Debug, Default)]
struct Found {
    closed: Vec<PathBuf>,
    open: Vec<(PathBuf, io::Error)>,
}

/// Closes what others could read, and says so.
pub(super) fn close(data_dir: &Path) {
    let mut found = Found::default();
    found.look(data_dir, OTHERS_WRITE);
    found.look_into(data_dir);
    // The engine has many files, of which closing the folder is enough.
    for folder in ["journal", "clickhouse"].map(|name| data_dir.join(name)) {
        if folder.is_dir() {
            found.look(&folder, OTHERS);
        }
    }
    for folder in ["journal", "journal/quarantine"] {
        found.look_into(&data_dir.join(folder));
    }
    found.tell(data_dir);
}

impl Found {
    /// Looks at the files of a folder. What cannot be listed holds nothing that could be closed.
    fn look_into(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            // The mode is not set through a link: others may have made it.
            if entry
                .file_type()
                .is_ok_and(|kind| !kind.is_symlink() && (kind.is_file() || kind.is_dir()))
            {
                self.look(&entry.path(), OTHERS);
            }
        }
    }

    fn look(&mut self, path: &Path, forbidden: u32) {
        let Ok(mode) = mode_of(path) else { return };
        if mode & forbidden == 0 {
            return;
        }
        let changed = fs::set_permissions(path, Permissions::from_mode(mode & !forbidden));
        // Some file systems take a mode and change nothing.
        let is_open = |mode: u32| mode & forbidden != 0;
        match changed.and_then(|()| mode_of(path)) {
            Ok(mode) if is_open(mode) => {
                let cause = io::Error::other("this file system keeps no modes");
                self.open.push((path.to_owned(), cause));
            }
            Ok(_) => self.closed.push(path.to_owned()),
            Err(error) => self.open.push((path.to_owned(), error)),
        }
    }

    fn tell(&self, data_dir: &Path) {
        if !self.closed.is_empty() {
            tracing::warn!(
                number = self.closed.len(),
                names = ?names(data_dir, self.closed.iter()),
                "others could read or change what is in the data folder; now only this user can"
            );
        }
        if let Some((_, error)) = self.open.first() {
            tracing::error!(
                number = self.open.len(),
                names = ?names(data_dir, self.open.iter().map(|(path, _)| path)),
                %error,
                "others can read or change what is in the data folder, session keys among it, and this could not be \
                 stopped: make this user its owner, or give the folder mode 0700"
            );
        }
    }
}

fn mode_of(path: &Path) -> io::Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o7777)
}

fn names<'a>(data_dir: &Path, paths: impl Iterator<Item = &'a PathBuf>) -> Vec<String> {
    let name = |path: &'a PathBuf| {
        path.strip_prefix(data_dir)
            .unwrap_or(path)
            .display()
            .to_string()
    };
    paths
        .map(name)
        .map(|name| {
            if name.is_empty() {
                ".".to_owned()
            } else {
                name
            }
        })
        .take(NAMES_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_could_read_is_closed_and_the_folder_itself_only_to_their_changes() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir_all(data.join("journal/quarantine")).unwrap();
        fs::create_dir_all(data.join("clickhouse/store")).unwrap();
        let files = [
            "state.sqlite",
            "journal/j-1.seg",
            "journal/quarantine/j-0.seg",
        ];
        for file in files {
            fs::write(data.join(file), "").unwrap();
            fs::set_permissions(data.join(file), Permissions::from_mode(0o644)).unwrap();
        }
        let elsewhere = folder.path().join("elsewhere");
        fs::write(&elsewhere, "").unwrap();
        fs::set_permissions(&elsewhere, Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(&elsewhere, data.join("link")).unwrap();
        for (path, mode) in [("", 0o777), ("journal", 0o755), ("clickhouse", 0o755)] {
            fs::set_permissions(data.join(path), Permissions::from_mode(mode)).unwrap();
        }
        close(&data);
        for file in files {
            assert_eq!(mode_of(&data.join(file)).unwrap(), 0o600, "{file}");
        }
        let modes = ["", "journal", "journal/quarantine", "clickhouse", "link"];
        let modes = modes.map(|path| mode_of(&data.join(path)).unwrap());
        assert_eq!(modes, [0o755, 0o700, 0o700, 0o700, 0o644]);
    }
}
