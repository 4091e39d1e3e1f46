//! Random histories against a model, arbitrary bytes, many threads.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use proptest::prelude::{
    Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use proptest::test_runner::{Config, TestCaseError};

use super::simulated::{Image, Loss, SimulatedDisk};
use super::support::{Memory, Told, open, payload, small};
use crate::reader::{Item, scan, scan_as};
use crate::{Disk, Journal, Payloads, Position, RealDisk, Record, SegmentHeader, Sink};

#[derive(Clone, Debug)]
enum Step {
    Append { count: u64, length: usize },
    Release { share: u64 },
    Restart,
    PowerCut { seed: u64, sector_bytes: usize },
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (1_u64..4, 0_usize..900).prop_map(|(count, length)| Step::Append { count, length }),
        3 => (0_u64..=100).prop_map(|share| Step::Release { share }),
        1 => Just(Step::Restart),
        2 => (any::<u64>(), prop_oneof![Just(512_usize), Just(4096)])
            .prop_map(|(seed, sector_bytes)| Step::PowerCut { seed, sector_bytes }),
        1 => Just(Step::Kill),
    ]
}

/// Appends, releases, clean restarts, kills and power cuts in any order: each reopening replays
/// exactly what was acknowledged and not applied.
fn follow(steps: &[Step]) -> Result<(), TestCaseError> {
    let settings = small("/journal");
    let mut disk = SimulatedDisk::new(Image::default());
    let mut model: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let mut applied = 0;
    let mut highest = 0;
    let as_disk: Arc<dyn Disk> = disk.clone();
    let mut opened = open(&settings, &as_disk, 0).unwrap();
    for (index, step) in steps.iter().enumerate() {
        let image = match step {
            Step::Append { count, length } => {
                let mut payloads = Payloads::new();
                let bytes = vec![u8::try_from(index % 256).unwrap(); *length];
                (0..*count).for_each(|_| payloads.push(&bytes));
                if let Ok(last) = opened.append_all(payloads) {
                    prop_assert!(last - count >= highest, "a position was used twice");
                    highest = last;
                    model.extend(
                        (last + 1 - count..=last).map(|position| (position, bytes.clone())),
                    );
                }
                continue;
            }
            Step::Release { share } => {
                applied = applied.max(highest * share / 100);
                opened.journal.release(Position(applied));
                continue;
            }
            Step::Restart => {
                opened.journal.clone().shutdown().unwrap();
                disk.now()
            }
            Step::PowerCut { seed, sector_bytes } => disk.crash(
                disk.log().len(),
                Loss::Torn {
                    seed: *seed,
                    sector_bytes: *sector_bytes,
                },
            ),
            Step::Kill => disk.now(),
        };
        disk = SimulatedDisk::new(image);
        let as_disk: Arc<dyn Disk> = disk.clone();
        opened = open(&settings, &as_disk, applied).unwrap();
        let expected: Vec<_> = model
            .range(applied + 1..)
            .map(|(position, bytes)| (*position, bytes.clone()))
            .collect();
        prop_assert_eq!(&opened.replayed, &expected);
        prop_assert_eq!(opened.recovery.damaged.records, 0);
        prop_assert!(opened.recovery.quarantined.is_empty());
    }
    Ok(())
}

/// Bytes that are mostly a segment: the search for records gets further than with pure noise.
fn nearly_a_segment() -> impl Strategy<Value = Vec<u8>> {
    let patches = prop::collection::vec((0_usize..6000, any::<u8>()), 0..20);
    (
        patches,
        0_usize..6000,
        prop::collection::vec(any::<u8>(), 0..200),
    )
        .prop_map(|(patches, length, noise)| {
            let header = SegmentHeader {
                journal_id: 1,
                sequence: 3,
                first_position: 1,
                segment_bytes: 8192,
            };
            let mut bytes = header.encode().to_vec();
            bytes.resize(4096, 0);
            for position in 1..=5 {
                let header = crate::RecordHeader {
                    position,
                    sequence: 3,
                    durable_upto: position - 1,
                    kind: crate::Kind::Data,
                    payload_bytes: noise.len(),
                };
                crate::format::push_record(&mut bytes, &header, &noise);
            }
            bytes.resize(6000, 0);
            for (offset, byte) in patches {
                bytes[offset] ^= byte;
            }
            bytes.truncate(length);
            bytes
        })
}

fn check_scan(bytes: &[u8]) -> Result<(), TestCaseError> {
    for found in [scan(bytes), scan_as(bytes, 3)] {
        let mut end = 0;
        let mut last_position = 0;
        for item in found.items {
            let (offset, length) = match item {
                Item::Record { offset, header } => {
                    prop_assert!(header.position >= last_position);
                    last_position = header.position;
                    (offset, 40 + header.payload_bytes)
                }
                Item::Unreadable { offset, bytes, .. } => (offset, bytes),
            };
            prop_assert!(offset >= end && offset + length <= bytes.len());
            end = offset + length;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(Config { cases: 200, ..Config::default() })]

    #[test]
    fn any_history_replays_what_was_acknowledged(steps in prop::collection::vec(step(), 1..60)) {
        follow(&steps)?;
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..9000)) {
        check_scan(&bytes)?;
    }

    #[test]
    fn almost_right_bytes_never_panic(bytes in nearly_a_segment()) {
        check_scan(&bytes)?;
    }
}

#[test]
fn appends_of_many_threads_keep_their_payloads_together() {
    let dir = tempfile::tempdir().unwrap();
    let settings = crate::Settings {
        budget_bytes: 1 << 30,
        segment_bytes: 65_536,
        ..small(dir.path().join("journal"))
    };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let opened = open(&settings, &disk, 0).unwrap();
    let results: Vec<(u64, u64, u64)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4_u64)
            .map(|thread| {
                let opened = &opened;
                scope.spawn(move || {
                    let mut results = Vec::new();
                    for round in 0..100 {
                        let count = round % 4 + 1;
                        let mut payloads = Payloads::new();
                        (0..count).for_each(|part| {
                            payloads.push(&payload(thread * 1000 + round * 10 + part))
                        });
                        let last = opened.append_all(payloads).unwrap();
                        results.push((thread * 1000 + round * 10, count, last));
                    }
                    results
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    let records: BTreeMap<_, _> = opened
        .memory
        .records
        .lock()
        .unwrap()
        .iter()
        .cloned()
        .collect();
    assert_eq!(records.len(), 1000);
    for (first_number, count, last) in results {
        for part in 0..count {
            assert_eq!(
                records[&(last + 1 - count + part)],
                payload(first_number + part)
            );
        }
    }
    let stats = opened.journal.stats();
    assert_eq!(
        (
            stats.records,
            stats.appends,
            stats.queued_appends,
            stats.queued_bytes
        ),
        (1000, 400, 0, 0)
    );
    opened.journal.shutdown().unwrap();
    let again = open(&settings, &disk, 0).unwrap();
    assert_eq!(
        again.replayed.into_iter().collect::<BTreeMap<_, _>>(),
        records
    );
}

/// Holds the journal's thread until it is told to go on.
struct Gate(std::sync::mpsc::Receiver<()>, Memory);

impl Sink for Gate {
    fn durable(&mut self, records: Vec<Record>) {
        let _ = self.0.recv();
        self.1.durable(records);
    }
}

#[test]
fn a_blocked_sink_fills_the_queue_and_what_is_over_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let settings = crate::Settings {
        queue_appends_max: 10,
        ..small(dir.path().join("journal"))
    };
    let (go, gate) = std::sync::mpsc::sync_channel(100);
    let memory = Memory::default();
    let sink = Gate(gate, memory.clone());
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let (journal, _) = Journal::<Told>::open(
        settings,
        disk,
        Position(0),
        &mut |_: Record| ControlFlow::Continue(()),
        sink,
    )
    .unwrap();
    let mut waiting = Vec::new();
    let mut refused = 0;
    for number in 0..15 {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        match journal.append(Payloads::one(&payload(number)), Told(sender)) {
            Ok(()) => waiting.push(receiver),
            Err((error, _completion)) => {
                assert!(matches!(
                    error,
                    crate::AppendError::QueueFull {
                        queued_appends: 10,
                        ..
                    }
                ));
                refused += 1;
            }
        }
    }
    assert_eq!((waiting.len(), refused), (10, 5));
    (0..50).for_each(|_| go.send(()).unwrap());
    for receiver in waiting {
        assert!(receiver.recv().unwrap().is_ok());
    }
    drop(journal);
    assert_eq!(memory.records.lock().unwrap().len(), 10);
}

#[test]
fn a_replay_that_is_stopped_can_be_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let settings = small(dir.path().join("journal"));
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let opened = open(&settings, &disk, 0).unwrap();
    (1..=5).for_each(|number| assert!(opened.append(&payload(number)).is_ok()));
    drop(opened);
    let stopped = Journal::<Told>::open(
        settings.clone(),
        Arc::clone(&disk),
        Position(0),
        &mut |record: Record| {
            if record.position.0 == 3 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
        Memory::default(),
    );
    assert!(matches!(
        stopped,
        Err(crate::OpenError::ReplayStopped {
            position: Position(3)
        })
    ));
    assert_eq!(open(&settings, &disk, 0).unwrap().replayed.len(), 5);
}

struct Panics;

impl Sink for Panics {
    fn durable(&mut self, _records: Vec<Record>) {
        panic!("a fault of the receiver");
    }
}

#[test]
fn a_panic_of_the_sink_halts_and_nobody_waits_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let replay = &mut |_: Record| ControlFlow::Continue(());
    let (journal, _) = Journal::<Told>::open(
        small(dir.path().join("journal")),
        disk,
        Position(0),
        replay,
        Panics,
    )
    .unwrap();
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    assert!(journal.append(Payloads::one(b"x"), Told(sender)).is_ok());
    // Dropped, not acknowledged.
    assert!(receiver.recv().is_err());
    assert_eq!(journal.clone().shutdown(), Err(crate::AppendError::Halted));
    assert!(journal.is_halted());
}
