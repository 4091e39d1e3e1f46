//! Files that are gone, emptied, cut, renamed or copied over one another: whatever one damage does, what
//! is lost by it is counted and told.

use std::ops::ControlFlow;

use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::{Config, TestCaseError};

use super::damage::{noted, noted_journal_of};
use super::simulated::{Image, SimulatedDisk};
use super::support::{Pairs, open, pair, payload, small};
use crate::{
    Disk, Loss, Position, Record, Recovery, Replay, Settings, note_path, recovery, verify,
};

const DIR: &str = "/journal";
/// So many records fill six segments.
const RECORDS: u64 = 120;

/// What an opening tells.
#[derive(Default)]
struct Told {
    records: Pairs,
    losses: Vec<Loss>,
}

impl Replay for Told {
    fn record(&mut self, record: Record) -> ControlFlow<()> {
        self.records.push(pair(&record));
        ControlFlow::Continue(())
    }

    fn lost(&mut self, loss: &Loss) -> ControlFlow<()> {
        self.losses.push(*loss);
        ControlFlow::Continue(())
    }
}

fn recover(settings: &Settings, disk: &SimulatedDisk, applied: u64) -> (Told, Recovery) {
    let mut told = Told::default();
    let opened = recovery::open(settings, disk, applied, &mut told).unwrap();
    (told, opened.recovery)
}

/// The note as it was when the last segment was begun: further it need not be after a power cut.
fn let_note_lag(image: &mut Image, settings: &Settings) {
    let segment = image.segments().pop().unwrap();
    let header = crate::SegmentHeader::decode(image.file(&segment)).unwrap();
    let mut lagging = noted(&*SimulatedDisk::new(image.clone()), settings);
    lagging.durable = Position(header.first_position - 1);
    let disk = SimulatedDisk::new(image.clone());
    disk.remove(&note_path(&settings.dir)).unwrap();
    crate::note::Note::open(&*disk, settings, lagging).unwrap();
    *image = disk.now();
}

#[test]
fn missing_last_segments_are_counted_by_the_note() {
    let settings = small(DIR);
    let whole = noted_journal_of(&settings, RECORDS);
    for missing in 1..whole.segments().len() {
        let mut image = whole.clone();
        for path in whole.segments().iter().rev().take(missing) {
            image.names.remove(path);
        }
        let disk = SimulatedDisk::new(image);
        let verified = verify(&*disk, &settings.dir, Some(Position(0))).unwrap();
        let (told, found) = recover(&settings, &disk, 0);
        let left = told.records.len() as u64;
        assert_eq!(found.damaged.records, RECORDS - left);
        assert_eq!(found.missing_segments, missing as u64);
        assert!(!verified.is_intact());
        assert_eq!(
            (verified.damaged, verified.missing_segments),
            (found.damaged, found.missing_segments)
        );
        let lost = (Position(left + 1), Position(RECORDS));
        assert_eq!(told.losses.len(), 1);
        assert_eq!(told.losses[0].positions, Some(lost));
        // Told again until it is applied, in the same words, and never after.
        let (again, _) = recover(&settings, &disk, 0);
        assert_eq!(again.records, told.records);
        assert_eq!(again.losses.len(), 1);
        assert_eq!(again.losses[0].positions, Some(lost));
        let (after, found) = recover(&settings, &disk, RECORDS);
        assert_eq!((after.losses.len(), found.damaged.records), (0, 0));
    }
}

#[test]
fn what_follows_a_missing_end_is_kept_and_its_numbers_are_new() {
    let settings = small(DIR);
    let mut image = noted_journal_of(&settings, RECORDS);
    let last = image.segments().pop().unwrap();
    image.names.remove(&last);
    let disk = SimulatedDisk::new(image);
    let as_disk: std::sync::Arc<dyn Disk> = disk.clone();
    let opened = open(&settings, &as_disk, 0).unwrap();
    assert_eq!(opened.append(b"after the loss"), Ok(RECORDS + 1));
    opened.journal.shutdown().unwrap();
    assert!(
        !disk.now().names.contains_key(&last),
        "a sequence is never used twice"
    );
    let (told, _) = recover(&settings, &disk, RECORDS);
    assert_eq!(told.records, [(RECORDS + 1, b"after the loss".to_vec())]);
    assert!(told.losses.is_empty());
}

#[test]
fn a_missing_segment_is_told_even_if_nobody_knows_what_was_in_it() {
    let settings = small(DIR);
    let mut image = noted_journal_of(&settings, RECORDS);
    let_note_lag(&mut image, &settings);
    let last = image.segments().pop().unwrap();
    let mut gone = image.clone();
    gone.names.remove(&last);
    let mut empty = image.clone();
    empty.file(&last).clear();
    let mut zeroed = image.clone();
    zeroed.file(&last).fill(0);
    for image in [gone, empty, zeroed] {
        let disk = SimulatedDisk::new(image);
        let verified = verify(&*disk, &settings.dir, Some(Position(0))).unwrap();
        assert!(!verified.is_intact(), "{verified:?}");
        let (told, found) = recover(&settings, &disk, 0);
        assert_eq!(found.damaged_segments(), 1, "{found:?}");
        assert_eq!(told.losses.len(), 1);
        assert_eq!(
            (told.losses[0].positions, told.losses[0].records),
            (None, 0)
        );
    }
}

#[test]
fn a_journal_of_which_nothing_is_left_is_counted_whole() {
    let settings = small(DIR);
    let mut image = noted_journal_of(&settings, RECORDS);
    image.names.retain(|path, _| !path.starts_with(DIR));
    let (told, found) = recover(&settings, &SimulatedDisk::new(image), 7);
    assert_eq!(found.damaged.records, RECORDS - 7);
    let all = Some((Position(8), Position(RECORDS)));
    assert_eq!(told.losses.len(), 1);
    assert_eq!(told.losses[0].positions, all);
}

#[test]
fn swapped_segments_are_read_in_their_order_and_go_their_way() {
    let settings = small(DIR);
    let whole = noted_journal_of(&settings, RECORDS);
    let segments = whole.segments();
    for (left, right) in [(0, 1), (1, 4), (segments.len() - 2, segments.len() - 1)] {
        let mut image = whole.clone();
        let (at_left, at_right) = (image.names[&segments[left]], image.names[&segments[right]]);
        image.names.insert(segments[left].clone(), at_right);
        image.names.insert(segments[right].clone(), at_left);
        let disk = SimulatedDisk::new(image);
        let (told, found) = recover(&settings, &disk, 0);
        assert_eq!(told.records.len() as u64, RECORDS);
        assert_eq!((found.damaged.records, found.damaged_headers), (0, 2));
        assert!(told.losses.is_empty());
        // Released, they are reused under whatever name they lie.
        let as_disk: std::sync::Arc<dyn Disk> = disk.clone();
        let opened = open(&settings, &as_disk, 0).unwrap();
        opened.journal.release(opened.journal.durable());
        while disk.now().segments().len() > 1 {
            std::thread::yield_now();
        }
        assert_eq!(opened.append(b"next"), Ok(RECORDS + 1));
    }
}

#[test]
fn a_note_that_cannot_be_read_is_said_and_costs_nothing() {
    let settings = small(DIR);
    let mut image = noted_journal_of(&settings, RECORDS);
    image.file(&note_path(&settings.dir)).fill(0x5a);
    let disk = SimulatedDisk::new(image);
    let verified = verify(&*disk, &settings.dir, Some(Position(0))).unwrap();
    assert!(verified.is_note_unusable && !verified.is_intact());
    let (told, found) = recover(&settings, &disk, 0);
    assert!(found.is_note_unusable);
    assert_eq!(told.records.len() as u64, RECORDS);
    assert!(told.losses.is_empty());
    // The unusable note is written anew.
    assert_eq!(noted(&*disk, &settings).durable, Position(RECORDS));
    assert!(!recover(&settings, &disk, 0).1.is_note_unusable);
}

#[test]
fn the_note_follows_records_and_releases_also_after_the_end() {
    let settings = small(DIR);
    let disk = SimulatedDisk::new(Image::default());
    let as_disk: std::sync::Arc<dyn Disk> = disk.clone();
    let opened = open(&settings, &as_disk, 0).unwrap();
    for number in 1..=3 {
        opened.append(&payload(number)).unwrap();
    }
    opened.journal.release(Position(2));
    while noted(&*disk, &settings).released != Position(2) {
        std::thread::yield_now();
    }
    opened.journal.clone().shutdown().unwrap();
    assert_eq!(noted(&*disk, &settings).durable, Position(3));
    opened.journal.release(Position(3));
    assert_eq!(noted(&*disk, &settings).released, Position(3));
}

#[derive(Clone, Debug)]
enum Damage {
    Delete(usize),
    Empty(usize),
    Truncate(usize, usize),
    Zero(usize, usize, usize),
    Flip(usize, usize),
    Swap(usize, usize),
    CopyOver(usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let (file, offset) = (0_usize..100, 0_usize..8192);
    prop_oneof![
        file.clone().prop_map(Damage::Delete),
        file.clone().prop_map(Damage::Empty),
        (file.clone(), offset.clone()).prop_map(|(file, length)| Damage::Truncate(file, length)),
        (file.clone(), offset.clone(), offset.clone())
            .prop_map(|(file, from, length)| Damage::Zero(file, from, length)),
        (file.clone(), 0_usize..8192 * 8).prop_map(|(file, bit)| Damage::Flip(file, bit)),
        (file.clone(), file.clone()).prop_map(|(left, right)| Damage::Swap(left, right)),
        (file.clone(), file).prop_map(|(from, to)| Damage::CopyOver(from, to)),
    ]
}

/// Does it; whether it can have taken the end of the last segment without a trace beside the note.
fn inflict(image: &mut Image, damage: &Damage) -> bool {
    let segments = image.segments();
    let last = segments.len() - 1;
    let pick = |number: &usize| number % segments.len();
    match damage {
        Damage::Delete(file) => {
            image.names.remove(&segments[pick(file)]);
            false
        }
        Damage::Empty(file) => {
            image.file(&segments[pick(file)]).clear();
            false
        }
        Damage::Truncate(file, length) => {
            image.file(&segments[pick(file)]).truncate(*length);
            false
        }
        Damage::Zero(file, from, length) => {
            let bytes = image.file(&segments[pick(file)]);
            let end = (from + length).min(bytes.len());
            bytes[*from..end].fill(0);
            pick(file) == last
        }
        Damage::Flip(file, bit) => {
            image.file(&segments[pick(file)])[bit / 8] ^= 1 << (bit % 8);
            pick(file) == last
        }
        Damage::Swap(left, right) => {
            let (left, right) = (&segments[pick(left)], &segments[pick(right)]);
            let (at_left, at_right) = (image.names[left], image.names[right]);
            image.names.insert(left.clone(), at_right);
            image.names.insert(right.clone(), at_left);
            false
        }
        Damage::CopyOver(from, to) => {
            let bytes = image.file(&segments[pick(from)]).clone();
            *image.file(&segments[pick(to)]) = bytes;
            false
        }
    }
}

/// One damage, whatever it is: all is there, or what is not is counted, told and found by `verify`.
fn never_silent(damage: &Damage, applied: u64, lags: bool) -> Result<(), TestCaseError> {
    let settings = small(DIR);
    let mut image = noted_journal_of(&settings, RECORDS);
    if lags {
        let_note_lag(&mut image, &settings);
    }
    let may_be_silent = inflict(&mut image, damage) && lags;
    let disk = SimulatedDisk::new(image);
    let verified = verify(&*disk, &settings.dir, Some(Position(applied))).unwrap();
    let (told, found) = recover(&settings, &disk, applied);
    let positions: Vec<u64> = told.records.iter().map(|(position, _)| *position).collect();
    prop_assert!(positions.windows(2).all(|pair| pair[0] < pair[1]));
    for (position, bytes) in &told.records {
        prop_assert!(*position > applied);
        prop_assert_eq!(bytes, &payload(*position));
    }
    let missing = RECORDS - applied - told.records.len() as u64;
    let lost: u64 = told.losses.iter().map(|loss| loss.records).sum();
    prop_assert_eq!(lost, found.damaged.records);
    prop_assert_eq!(verified.damaged.records, found.damaged.records);
    prop_assert_eq!(verified.records, found.replayed);
    if lags {
        prop_assert!(found.damaged.records <= missing);
        let is_told = !told.losses.is_empty() || found.damaged_segments() > 0;
        prop_assert!(missing == 0 || may_be_silent || is_told, "{:?}", found);
        prop_assert!(missing == 0 || may_be_silent || !verified.is_intact());
    } else {
        prop_assert_eq!(found.damaged.records, missing, "{:?}", found);
        prop_assert!(missing == 0 || !verified.is_intact());
    }
    let (again, _) = recover(&settings, &disk, applied);
    prop_assert_eq!(again.records, told.records);
    Ok(())
}

proptest! {
    #![proptest_config(Config { cases: 300, ..Config::default() })]

    #[test]
    fn no_single_damage_loses_anything_in_silence(damage in damage(), applied in 0..=RECORDS) {
        never_silent(&damage, applied, false)?;
    }

    #[test]
    fn with_a_lagging_note_only_the_end_of_the_last_file_can_be_lost_in_silence(damage in damage(), applied in 0..=RECORDS) {
        never_silent(&damage, applied, true)?;
    }
}
