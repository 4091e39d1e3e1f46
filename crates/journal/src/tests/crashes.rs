//! The power is cut after every single operation of a run, with every kind of loss, also during
//! the recovery from an earlier cut.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::simulated::{Event, Image, Loss, SimulatedDisk};
use super::support::{Opened, Pairs, open, pair, payload, small};
use crate::{Disk, Payloads, Position, Record, Recovery, Settings, recovery};

const DIR: &str = "/journal";

/// What a run did: positions and payloads as its sink got them.
pub(super) struct Run {
    pub(super) disk: Arc<SimulatedDisk>,
    pub(super) appended: BTreeMap<u64, Vec<u8>>,
}

/// Appends alone and in pairs, alone and several at once, and releases now and then.
pub(super) fn run(settings: &Settings, image: Image) -> Run {
    let disk = SimulatedDisk::new(image);
    let as_disk: Arc<dyn Disk> = disk.clone();
    let opened = open(settings, &as_disk, 0).unwrap();
    let mut number = 0;
    for round in 0..30_u64 {
        let mut waiting = Vec::new();
        for _ in 0..=round % 3 {
            let mut payloads = Payloads::new();
            for _ in 0..=(number % 2) {
                number += 1;
                payloads.push(&payload(number));
            }
            waiting.push((payloads.count(), opened.send(payloads).unwrap()));
        }
        for (count, receiver) in waiting {
            let last = receiver.recv().unwrap().unwrap().0;
            for position in last + 1 - count..=last {
                disk.note(Event::Acknowledged(position));
            }
        }
        if round % 7 == 6 {
            let applied = opened.journal.durable().0 - 5;
            disk.note(Event::Applied(applied));
            opened.journal.release(Position(applied));
        }
    }
    let Opened {
        journal, memory, ..
    } = opened;
    journal.shutdown().unwrap();
    let appended = memory.records.lock().unwrap().iter().cloned().collect();
    Run { disk, appended }
}

/// Recovers without threads; returns what was replayed.
pub(super) fn recover(
    settings: &Settings,
    disk: &SimulatedDisk,
    applied: u64,
) -> (Pairs, Recovery) {
    let mut replayed = Vec::new();
    let opened = recovery::open(settings, disk, applied, &mut |record: Record| {
        replayed.push(pair(&record));
        ControlFlow::Continue(())
    });
    (replayed, opened.unwrap().recovery)
}

/// Every acknowledged record above `applied`, in order, none invented, none twice, no false alarm.
fn check(run: &Run, events: &[Event], applied: u64, replayed: &[(u64, Vec<u8>)], found: &Recovery) {
    assert!(
        replayed.windows(2).all(|pair| pair[0].0 < pair[1].0),
        "order"
    );
    for (position, bytes) in replayed {
        assert!(*position > applied);
        assert_eq!(
            run.appended.get(position),
            Some(bytes),
            "invented or changed at {position}"
        );
    }
    for event in events {
        if let Event::Acknowledged(position) = event {
            let is_there = replayed
                .binary_search_by_key(position, |(position, _)| *position)
                .is_ok();
            assert!(
                is_there || *position <= applied,
                "acknowledged record {position} is lost"
            );
            assert!(
                found.durable.0 >= *position,
                "a position could be used twice"
            );
        }
    }
    assert_eq!(
        (found.damaged.records, found.damaged.bytes),
        (0, 0),
        "{found:?}"
    );
    assert_eq!(
        (found.damaged_headers, found.missing_segments),
        (0, 0),
        "{found:?}"
    );
    assert_eq!(found.damaged_applied_records, 0, "{found:?}");
    assert!(found.quarantined.is_empty());
}

fn losses() -> Vec<Loss> {
    let mut losses = vec![Loss::All, Loss::Nothing];
    for seed in 0..4 {
        losses.push(Loss::Some { seed });
        losses.push(Loss::Torn {
            seed,
            sector_bytes: 512,
        });
        losses.push(Loss::Torn {
            seed,
            sector_bytes: 4096,
        });
    }
    losses
}

fn applied_in(events: &[Event]) -> u64 {
    let applied = events.iter().filter_map(|event| match event {
        Event::Applied(applied) => Some(*applied),
        _ => None,
    });
    applied.max().unwrap_or(0)
}

#[test]
fn a_power_cut_after_any_operation_loses_nothing_acknowledged() {
    let settings = small(DIR);
    let run = run(&settings, Image::default());
    let log = run.disk.log();
    assert!(log.len() > 200, "{}", log.len());
    for events in 0..=log.len() {
        let applied = applied_in(&log[..events]);
        for loss in losses() {
            let disk = SimulatedDisk::new(run.disk.crash(events, loss));
            let (replayed, found) = recover(&settings, &disk, applied);
            check(&run, &log[..events], applied, &replayed, &found);

            // What was replayed now counts: it must outlast a power cut right away.
            let after = SimulatedDisk::new(disk.crash(disk.log().len(), Loss::All));
            let (replayed_again, _) = recover(&settings, &after, applied);
            assert_eq!(replayed_again, replayed, "after {events} events, {loss:?}");
        }
    }
}

#[test]
fn a_power_cut_during_recovery_loses_nothing_either() {
    let settings = small(DIR);
    let run = run(&settings, Image::default());
    let log = run.disk.log();
    for events in (0..=log.len()).step_by(7).chain([log.len()]) {
        let applied = applied_in(&log[..events]);
        for loss in [
            Loss::All,
            Loss::Nothing,
            Loss::Torn {
                seed: 1,
                sector_bytes: 512,
            },
        ] {
            let disk = SimulatedDisk::new(run.disk.crash(events, loss));
            recover(&settings, &disk, applied);
            for recovery_events in 0..=disk.log().len() {
                for recovery_loss in [Loss::All, Loss::Nothing, Loss::Some { seed: 2 }] {
                    let again = SimulatedDisk::new(disk.crash(recovery_events, recovery_loss));
                    let (replayed, found) = recover(&settings, &again, applied);
                    check(&run, &log[..events], applied, &replayed, &found);
                }
            }
        }
    }
}

#[test]
fn bytes_of_an_earlier_use_of_a_file_are_never_replayed() {
    let settings = small(DIR);
    let disk = SimulatedDisk::new(Image::default());
    let as_disk: Arc<dyn Disk> = disk.clone();
    let opened = open(&settings, &as_disk, 0).unwrap();
    (1..=5).for_each(|_| assert!(opened.append(&payload(9)).is_ok()));
    opened.journal.shutdown().unwrap();
    // All segments gone, and the only prepared file is full of their records: the next segment is
    // written over records of the same positions and the same length.
    let mut image = disk.now();
    let file = image.names.remove(&image.segments()[0]).unwrap();
    image.names.clear();
    image
        .names
        .insert(settings.dir.join(format!("ready-{:016x}.seg", 1)), file);
    let disk = SimulatedDisk::new(image);
    let as_disk: Arc<dyn Disk> = disk.clone();
    let opened = open(&settings, &as_disk, 0).unwrap();
    assert!(opened.replayed.is_empty());
    assert_eq!(opened.append(&payload(9)), Ok(1));
    let killed = SimulatedDisk::new(disk.now());
    let (replayed, found) = recover(&settings, &killed, 0);
    assert_eq!(replayed, [(1, payload(9))]);
    assert_eq!((found.damaged.records, found.torn.records), (0, 0));
}
