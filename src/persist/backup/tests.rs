//! Tests of backups.

use super::*;
use crate::chance::Chance;
use crate::persist::State;
use crate::world::World;

fn backed_up(folder: &Path) -> (PathBuf, Manifest) {
    let data = folder.join("data");
    std::fs::create_dir_all(&data).unwrap();
    let state = State::open(&data, &World::of_machine()).unwrap();
    let target = folder.join("backup");
    let mut seen = 0;
    let manifest = create(
        &data,
        (&target, None),
        5,
        &Chance::seeded(1),
        &mut |done, all| {
            assert!(done <= all);
            seen = done;
        },
    );
    let manifest = manifest.unwrap();
    assert_eq!(manifest.collector_id, state.collector_id());
    assert_eq!(seen, manifest.state_bytes);
    (target, manifest)
}

#[test]
fn a_backup_is_whole_or_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let (target, manifest) = backed_up(folder.path());
    assert_eq!(verify(&target).unwrap(), manifest);
    let again = create(
        &folder.path().join("data"),
        (&target, None),
        6,
        &Chance::seeded(1),
        &mut |_, _| {},
    );
    assert!(matches!(again, Err(BackupError::NotEmpty(_))), "{again:?}");
    let nothing = create(
        &folder.path().join("none"),
        (&folder.path().join("b"), None),
        6,
        &Chance::seeded(1),
        &mut |_, _| {},
    );
    assert!(matches!(nothing, Err(BackupError::NoState(_))));
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn any_byte_that_is_changed_or_cut_off_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (target, _) = backed_up(folder.path());
    for name in [MANIFEST_FILE, SUMS_FILE, STATE_FILE] {
        let path = target.join(name);
        let good = std::fs::read(&path).unwrap();
        // Every byte of the small files; of the large one its ends and every 499th.
        let step = if good.len() > 4_096 { 499 } else { 1 };
        let chosen = (0..good.len()).step_by(step).chain([good.len() - 1]);
        for at in chosen {
            let mut bad = good.clone();
            bad[at] ^= [1_u8, 0x20, 0x80][at % 3];
            std::fs::write(&path, &bad).unwrap();
            let error = verify(&target).unwrap_err();
            assert!(
                matches!(&error, BackupError::Corrupt { .. }),
                "{name} byte {at}: {error}"
            );
        }
        for bad in [&good[..good.len() - 1], &[&good[..], b"\n"].concat()] {
            std::fs::write(&path, bad).unwrap();
            assert!(
                matches!(verify(&target), Err(BackupError::Corrupt { .. })),
                "{name}"
            );
        }
        std::fs::remove_file(&path).unwrap();
        assert!(
            matches!(verify(&target), Err(BackupError::NotABackup { .. })),
            "{name}"
        );
        std::fs::write(&path, &good).unwrap();
        verify(&target).unwrap();
    }
}

#[test]
fn the_damaged_file_is_named_with_what_was_expected_and_found() {
    let folder = tempfile::tempdir().unwrap();
    let (target, _) = backed_up(folder.path());
    for name in [MANIFEST_FILE, STATE_FILE] {
        let path = target.join(name);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&good[..], b" "].concat()).unwrap();
        let found = checksum(&path).unwrap().0;
        std::fs::write(&path, &good).unwrap();
        let expected = checksum(&path).unwrap().0;
        std::fs::write(&path, [&good[..], b" "].concat()).unwrap();
        let said = verify(&target).unwrap_err().to_string();
        for word in [name, &expected, &found] {
            assert!(said.contains(word), "{word}: {said}");
        }
        std::fs::write(&path, &good).unwrap();
    }
}

#[test]
fn the_state_file_of_another_collector_is_refused_though_every_checksum_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let (target, manifest) = backed_up(folder.path());
    let other = tempfile::tempdir().unwrap();
    let (other_target, other_manifest) = backed_up(other.path());
    std::fs::copy(other_target.join(STATE_FILE), target.join(STATE_FILE)).unwrap();
    let sums = [MANIFEST_FILE, STATE_FILE].map(|name| checksum(&target.join(name)).unwrap().0);
    std::fs::write(target.join(SUMS_FILE), sums_text(&sums[0], &sums[1])).unwrap();
    let error = verify(&target).unwrap_err();
    assert!(
        matches!(
            &error,
            BackupError::Mismatch {
                what: "collector",
                ..
            }
        ),
        "{error}"
    );
    for id in [manifest.collector_id, other_manifest.collector_id] {
        assert!(error.to_string().contains(&id.to_string()), "{error}");
    }
    let nowhere = folder.path().join("restored");
    assert!(restore(&target, &nowhere).is_err());
    assert!(!nowhere.exists(), "nothing was begun");
}
