//! Appending, replaying, releasing, refusing: on the real disk.

use std::sync::Arc;

use super::support::{open, payload, small};
use crate::{AppendError, Disk, OpenError, Payloads, Position, RealDisk, inspect, verify};

fn real() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

#[test]
fn what_was_appended_is_replayed_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let settings = small(dir.path().join("journal"));
    let opened = open(&settings, &real(), 0).unwrap();
    let mut expected = Vec::new();
    for number in 1..=200 {
        assert_eq!(opened.append(&payload(number)), Ok(number));
        expected.push((number, payload(number)));
    }
    assert_eq!(*opened.memory.records.lock().unwrap(), expected);
    assert_eq!(opened.journal.durable(), Position(200));
    assert!(opened.journal.stats().live_segments > 3);
    opened.journal.shutdown().unwrap();

    let again = open(&settings, &real(), 0).unwrap();
    assert_eq!(again.replayed, expected);
    assert_eq!(again.recovery.replayed, 200);
    assert_eq!(
        (again.recovery.torn.records, again.recovery.damaged.records),
        (0, 0)
    );
    again.journal.shutdown().unwrap();

    let later = open(&settings, &real(), 150).unwrap();
    assert_eq!(later.replayed, expected[150..]);
    assert_eq!(later.append(b"next"), Ok(201));
    later.journal.shutdown().unwrap();

    let report = verify(&RealDisk, &dir.path().join("journal"), None).unwrap();
    assert!(report.is_intact(), "{report:?}");
    let reports: Result<Vec<_>, _> = inspect(&RealDisk, &dir.path().join("journal"))
        .unwrap()
        .collect();
    assert_eq!(reports.unwrap().len() as u64, report.segments);
}

#[test]
fn a_second_opener_is_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let settings = small(dir.path().join("journal"));
    let first = open(&settings, &real(), 0).unwrap();
    match open(&settings, &real(), 0).err() {
        Some(OpenError::InUse { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    first.journal.shutdown().unwrap();
    open(&settings, &real(), 0).unwrap();
}

#[test]
fn what_can_never_be_written_is_refused_and_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&small(dir.path().join("journal")), &real(), 0).unwrap();
    assert_eq!(opened.append_all(Payloads::new()), Err(AppendError::Empty));
    let too_large = opened.append(&vec![1; 4096]).unwrap_err();
    assert_eq!(
        too_large,
        AppendError::TooLarge {
            append_bytes: 4136,
            append_bytes_max: 4096
        }
    );
    assert!(!too_large.is_deferred());
    assert_eq!(opened.append(&vec![1; 4096 - 40]), Ok(1));
    opened.journal.clone().shutdown().unwrap();
    assert_eq!(opened.append(b"late"), Err(AppendError::Closed));
}
