//! Damage to bytes and files: told from a torn tail, counted exactly, set aside, never followed by
//! a panic.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::crashes::recover;
use super::simulated::{Faults, Image, SimulatedDisk};
use super::support::{open, payload, small};
use crate::{Disk, Noted, Position, Settings, Tally, note_path, outline, verify};

const DIR: &str = "/journal";

/// A journal whose records were each a group of their own, as it was while open: no closing mark. Without
/// its note, as a release that kept none has left it, and as far as a note may lag.
fn journal_of(settings: &Settings, count: u64) -> Image {
    let mut image = noted_journal_of(settings, count);
    image.names.remove(&note_path(&settings.dir)).unwrap();
    image
}

/// Makes a journal as [`journal_of`] does, with the note of every position.
pub(super) fn noted_journal_of(settings: &Settings, count: u64) -> Image {
    let disk = SimulatedDisk::new(Image::default());
    let as_disk: Arc<dyn Disk> = disk.clone();
    let opened = open(settings, &as_disk, 0).unwrap();
    for number in 1..=count {
        opened.append(&payload(number)).unwrap();
    }
    while opened.journal.stats().ready_segments < settings.reserve_segments as u64 {
        std::thread::yield_now();
    }
    // The note is written after the answer.
    while noted(&*disk, settings).durable.0 < count {
        std::thread::yield_now();
    }
    let image = disk.now();
    opened.journal.shutdown().unwrap();
    image
}

/// What the note says.
pub(super) fn noted(disk: &dyn Disk, settings: &Settings) -> Noted {
    outline(disk, &settings.dir).unwrap().noted.unwrap()
}

/// Offsets of the records in a segment, and the end of the last.
fn bounds(image: &mut Image, path: &Path) -> Vec<usize> {
    let scan = crate::reader::scan(image.file(path));
    let mut bounds = vec![4096];
    for item in scan.items {
        if let crate::reader::Item::Record { offset, header } = item {
            bounds.push((offset + 40 + header.payload_bytes).next_multiple_of(8));
        }
    }
    bounds
}

#[test]
fn every_flipped_bit_of_three_records_is_classified_exactly() {
    let settings = small(DIR);
    let mut image = journal_of(&settings, 3);
    let path = image.segments()[0].clone();
    let bounds = bounds(&mut image, &path);
    assert_eq!(bounds.len(), 4);
    for bit in 4096 * 8..bounds[3] * 8 {
        let mut flipped = image.clone();
        flipped.file(&path)[bit / 8] ^= 1 << (bit % 8);
        let hit = bounds[1..].iter().position(|end| bit / 8 < *end).unwrap() as u64 + 1;
        let disk = SimulatedDisk::new(flipped);
        let verified = verify(&*disk, &settings.dir, Some(Position(0))).unwrap();
        let (replayed, found) = recover(&settings, &disk, 0);
        let positions: Vec<_> = replayed.iter().map(|(position, _)| *position).collect();
        let expected: Vec<_> = (1..=3).filter(|position| *position != hit).collect();
        assert_eq!(positions, expected, "bit {bit}");
        for (position, bytes) in &replayed {
            assert_eq!(*bytes, payload(*position));
        }
        let (damaged, torn) = if hit == 3 { (0, 1) } else { (1, 0) };
        assert_eq!(
            (found.damaged.records, found.torn.records),
            (damaged, torn),
            "bit {bit}"
        );
        assert_eq!(found.quarantined.len() as u64, damaged, "bit {bit}");
        assert_eq!(
            (verified.damaged, verified.torn),
            (found.damaged, found.torn),
            "bit {bit}"
        );
        assert_eq!(verified.records, found.replayed);
        if damaged == 1 {
            let hit = usize::try_from(hit).unwrap();
            assert_eq!(
                found.damaged.bytes,
                (bounds[hit] - bounds[hit - 1]) as u64,
                "bit {bit}"
            );
        }
    }
}

#[test]
fn every_flipped_bit_of_the_header_costs_no_record() {
    let settings = small(DIR);
    let image = journal_of(&settings, 3);
    let path = image.segments()[0].clone();
    for bit in 0..64 * 8 {
        let mut flipped = image.clone();
        flipped.file(&path)[bit / 8] ^= 1 << (bit % 8);
        let disk = SimulatedDisk::new(flipped);
        let (replayed, found) = recover(&settings, &disk, 0);
        assert_eq!(replayed.len(), 3, "bit {bit}");
        assert_eq!(
            (found.damaged_headers, found.damaged.records),
            (1, 0),
            "bit {bit}"
        );
        assert_eq!(found.quarantined.len(), 1);
    }
}

#[test]
fn a_segment_cut_at_any_length_keeps_what_is_whole() {
    let settings = small(DIR);
    let mut image = journal_of(&settings, 3);
    let path = image.segments()[0].clone();
    let bounds = bounds(&mut image, &path);
    for length in 0..=bounds[3] {
        let mut short = image.clone();
        short.file(&path).truncate(length);
        let disk = SimulatedDisk::new(short);
        let (replayed, found) = recover(&settings, &disk, 0);
        let whole = bounds[1..].iter().filter(|end| **end <= length).count();
        assert_eq!(replayed.len(), whole, "length {length}");
        assert_eq!(
            found.damaged.records, 0,
            "nothing proves that the rest was durable"
        );
        let (again, _) = recover(&settings, &disk, 0);
        assert_eq!(again, replayed);
    }
}

#[test]
fn damage_to_an_earlier_segment_is_counted_and_reading_goes_on() {
    let settings = small(DIR);
    let mut image = journal_of(&settings, 120);
    let segments = image.segments();
    assert!(segments.len() > 4);
    let bounds = bounds(&mut image, &segments[1]);
    // The last record of a full segment: only the next header says that it was durable.
    let last = bounds[bounds.len() - 2];
    image.file(&segments[1])[last + 41] ^= 1;
    let damaged_file = image.file(&segments[1]).clone();
    let disk = SimulatedDisk::new(image);
    let (replayed, found) = recover(&settings, &disk, 0);
    assert_eq!(
        (replayed.len(), found.damaged.records, found.torn.records),
        (119, 1, 0)
    );
    assert_eq!(found.quarantined.len(), 1);
    assert_eq!(*disk.now().file(&found.quarantined[0]), damaged_file);

    // Opened again, the same damage is the same copy.
    let (_, again) = recover(&settings, &disk, 0);
    assert_eq!(
        (again.damaged.records, again.quarantined),
        (1, found.quarantined)
    );
}

#[test]
fn unreadable_but_applied_records_are_not_lost() {
    let settings = small(DIR);
    let mut image = journal_of(&settings, 3);
    let path = image.segments()[0].clone();
    let bounds = bounds(&mut image, &path);
    image.file(&path)[bounds[1] + 50] ^= 1;
    let disk = SimulatedDisk::new(image);
    let (replayed, found) = recover(&settings, &disk, 2);
    assert_eq!(replayed, [(3, payload(3))]);
    assert_eq!(
        (found.damaged.records, found.damaged_applied_records),
        (0, 1)
    );
}

#[test]
fn a_bad_last_record_that_was_applied_does_not_come_back_as_torn() {
    let settings = small(DIR);
    let mut image = journal_of(&settings, 3);
    let path = image.segments()[0].clone();
    let bounds = bounds(&mut image, &path);
    image.file(&path)[bounds[2] + 50] ^= 1;
    let disk = SimulatedDisk::new(image);
    let as_disk: Arc<dyn Disk> = disk.clone();
    let opened = open(&settings, &as_disk, 3).unwrap();
    assert_eq!(
        (
            opened.recovery.torn.records,
            opened.recovery.damaged_applied_records
        ),
        (0, 1)
    );
    assert_eq!(opened.append(b"next"), Ok(4));
}

#[test]
fn a_torn_group_is_cut_at_the_first_bad_record_and_its_positions_are_not_used_again() {
    let settings = small(DIR);
    let disk = SimulatedDisk::new(Image::default());
    let as_disk: Arc<dyn Disk> = disk.clone();
    let opened = open(&settings, &as_disk, 0).unwrap();
    opened
        .append_all(vec![payload(1), payload(2), payload(3)].into())
        .unwrap();
    let mut image = disk.now();
    image.names.remove(&note_path(&settings.dir)).unwrap();
    let path = image.segments()[0].clone();
    let bounds = bounds(&mut image, &path);
    image.file(&path)[bounds[1] + 50] ^= 1;
    let as_disk: Arc<dyn Disk> = SimulatedDisk::new(image);
    let again = open(&settings, &as_disk, 0).unwrap();
    assert_eq!(again.replayed, [(1, payload(1))]);
    let torn = Tally {
        records: 2,
        bytes: (bounds[3] - bounds[1]) as u64,
    };
    assert_eq!(
        (again.recovery.torn, again.recovery.damaged),
        (torn, Tally::default())
    );
    assert_eq!(again.append(b"next"), Ok(4));

    // The gap that this leaves is no damage, now or once the old segment is gone.
    drop(again);
    let last = open(&settings, &as_disk, 0).unwrap();
    assert_eq!(last.replayed, [(1, payload(1)), (4, b"next".to_vec())]);
    assert_eq!(
        (last.recovery.torn, last.recovery.damaged),
        (Tally::default(), Tally::default())
    );
}

#[test]
fn a_missing_segment_is_counted() {
    let settings = small(DIR);
    let image = journal_of(&settings, 120);
    let segments = image.segments();
    for missing in 0..segments.len() {
        let mut short = image.clone();
        short.names.remove(&segments[missing]);
        let disk = SimulatedDisk::new(short);
        let (replayed, found) = recover(&settings, &disk, 0);
        if missing + 1 == segments.len() {
            // Nothing later says that it was there.
            assert_eq!(found.damaged.records, 0);
        } else {
            assert_eq!(replayed.len() as u64 + found.damaged.records, 120);
            assert!(found.damaged.records > 0);
            assert_eq!(found.missing_segments, u64::from(missing > 0));
        }
    }
}

#[test]
fn a_segment_of_another_journal_is_set_aside() {
    let settings = small(DIR);
    let mut image = journal_of(&settings, 60);
    let other = Settings {
        new_journal_id: 8,
        ..settings.clone()
    };
    let mut foreign = journal_of(&other, 60);
    let path = image.segments()[0].clone();
    *image.file(&path) = foreign.file(&path).clone();
    let disk = SimulatedDisk::new(image);
    let (replayed, found) = recover(&settings, &disk, 0);
    assert_eq!(found.damaged_headers, 1);
    assert_eq!(replayed.len() as u64 + found.damaged.records, 60);
    assert_eq!(found.quarantined.len(), 1);
}

#[test]
fn a_damaged_segment_that_could_not_be_copied_is_moved_instead_of_reused() {
    let settings = small(DIR);
    let mut image = journal_of(&settings, 60);
    let path = image.segments()[0].clone();
    image.file(&path)[4096 + 50] ^= 1;
    let content = image.file(&path).clone();
    let disk = SimulatedDisk::new(image);
    disk.set_faults(Faults {
        capacity_bytes: Some(0),
        ..Faults::default()
    });
    let as_disk: Arc<dyn Disk> = disk.clone();
    let opened = open(&settings, &as_disk, 0).unwrap();
    assert_eq!(
        (
            opened.recovery.damaged.records,
            opened.recovery.quarantine_failures
        ),
        (1, 1)
    );
    assert_eq!(opened.replayed.len(), 59);
    opened.journal.release(opened.journal.durable());
    while disk.now().segments().len() > 1 {
        std::thread::yield_now();
    }
    let set_aside = settings.dir.join("quarantine/j-0000000000000001-8.seg");
    assert_eq!(*disk.now().file(&set_aside), content);
}

#[test]
fn an_idle_journal_marks_its_last_group_as_durable() {
    let settings = Settings {
        idle_mark: Duration::from_millis(1),
        ..small(DIR)
    };
    let disk = SimulatedDisk::new(Image::default());
    let as_disk: Arc<dyn Disk> = disk.clone();
    let opened = open(&settings, &as_disk, 0).unwrap();
    opened.append(&payload(1)).unwrap();
    let path = disk.now().segments()[0].clone();
    while bounds(&mut disk.now(), &path).len() < 3 {
        std::thread::yield_now();
    }
    let mut image = disk.now();
    image.file(&path)[4096 + 50] ^= 1;
    let (_, found) = recover(&settings, &SimulatedDisk::new(image), 0);
    assert_eq!((found.damaged.records, found.torn.records), (1, 0));
}

#[test]
fn a_mark_tells_damage_to_the_last_group_from_a_torn_tail() {
    let settings = small(DIR);
    let disk = SimulatedDisk::new(Image::default());
    let as_disk: Arc<dyn Disk> = disk.clone();
    let opened = open(&settings, &as_disk, 0).unwrap();
    for number in 1..=3 {
        opened.append(&payload(number)).unwrap();
    }
    opened.journal.shutdown().unwrap();
    let mut image = disk.now();
    let path = image.segments()[0].clone();
    let bounds = bounds(&mut image, &path);
    assert_eq!(bounds.len(), 5, "three records and a mark");
    image.file(&path)[bounds[2] + 50] ^= 1;
    let (replayed, found) = recover(&settings, &SimulatedDisk::new(image), 0);
    assert_eq!(replayed.len(), 2);
    let bytes = (bounds[3] - bounds[2]) as u64;
    assert_eq!(
        (found.damaged, found.torn),
        (Tally { records: 1, bytes }, Tally::default())
    );
}
