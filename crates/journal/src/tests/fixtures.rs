//! Journals written by released versions are read by every later one.
//!
//! The files under `fixtures/` are never edited, only added to.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::support::{open, pair, small};
use crate::format::{Kind, RecordHeader, SegmentHeader, push_record};
use crate::{Disk, RealDisk, Record, recovery, verify};

const V1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/v1");

/// What the fixture holds; the third payload needs padding, the last is empty.
const PAYLOADS: [&[u8]; 4] = [b"first record", b"second, of the same append", b"x", b""];

#[test]
fn the_journal_of_version_1_is_read() {
    // Opening changes a folder, and fixtures stay as they are.
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("journal")).unwrap();
    for entry in fs::read_dir(V1).unwrap() {
        let entry = entry.unwrap();
        fs::copy(
            entry.path(),
            dir.path().join("journal").join(entry.file_name()),
        )
        .unwrap();
    }
    let mut replayed = Vec::new();
    let opened = recovery::open(
        &small(dir.path().join("journal")),
        &RealDisk,
        0,
        &mut |record: Record| {
            replayed.push(pair(&record));
            ControlFlow::Continue(())
        },
    );
    let opened = opened.unwrap();
    let expected: Vec<_> = (1..).zip(PAYLOADS.map(<[u8]>::to_vec)).collect();
    assert_eq!(replayed, expected);
    assert_eq!(
        opened.recovery.journal_id,
        0x0123_4567_89ab_cdef_0123_4567_89ab_cdef
    );
    assert!(
        verify(&RealDisk, &dir.path().join("journal"), None)
            .unwrap()
            .is_intact()
    );
}

/// The bytes of the fixture, made again from the tables in `format.rs`.
#[test]
fn the_bytes_of_version_1_have_not_changed() {
    let header = SegmentHeader {
        journal_id: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
        sequence: 1,
        first_position: 1,
        segment_bytes: 8192,
    };
    let mut bytes = header.encode().to_vec();
    bytes.resize(4096, 0);
    for (position, (durable_upto, payload)) in (1..).zip([0, 0, 2, 3].into_iter().zip(PAYLOADS)) {
        let payload_bytes = payload.len();
        let header = RecordHeader {
            position,
            sequence: 1,
            durable_upto,
            kind: Kind::Data,
            payload_bytes,
        };
        push_record(&mut bytes, &header, payload);
    }
    let mark = RecordHeader {
        position: 4,
        sequence: 1,
        durable_upto: 4,
        kind: Kind::Mark,
        payload_bytes: 0,
    };
    push_record(&mut bytes, &mark, &[]);
    bytes.resize(8192, 0);
    let path = Path::new(V1).join("j-0000000000000001.seg");
    assert!(
        fs::read(path).unwrap() == bytes,
        "the format changed: that needs a new version"
    );
}

#[test]
fn a_newer_version_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut page = fs::read(Path::new(V1).join("j-0000000000000001.seg")).unwrap();
    page[8] = 2;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&page[0..12]), &page[16..64]);
    page[12..16].copy_from_slice(&checksum.to_le_bytes());
    fs::create_dir(dir.path().join("journal")).unwrap();
    let path = dir.path().join("journal/j-0000000000000001.seg");
    fs::write(&path, &page).unwrap();
    let refused = open(&small(dir.path().join("journal")), &disk, 0)
        .err()
        .unwrap();
    assert!(matches!(
        refused,
        crate::OpenError::Version {
            version: 2,
            supported: 1,
            ..
        }
    ));
    assert!(fs::read(&path).unwrap() == page);
}
