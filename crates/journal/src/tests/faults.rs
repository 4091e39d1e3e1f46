//! Failing syncs and writes, full disks, used-up budgets: on the simulated disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::crashes::recover;
use super::simulated::{Faults, Image, Loss, SimulatedDisk};
use super::support::{Opened, open, payload, small};
use crate::{AppendError, Disk, Journal, Payloads, Position, Settings, Tally};

const DIR: &str = "/journal";

fn start(settings: &Settings) -> (Arc<SimulatedDisk>, Opened) {
    let disk = SimulatedDisk::new(Image::default());
    let as_disk: Arc<dyn Disk> = disk.clone();
    let opened = open(settings, &as_disk, 0).unwrap();
    (disk, opened)
}

/// Appends until the first refusal; the numbers of what was acknowledged, and the refusal.
fn append_until_refused(opened: &Opened, first: u64) -> (Vec<u64>, AppendError) {
    let mut acknowledged = Vec::new();
    for number in first..first + 10_000 {
        match opened.append(&payload(number)) {
            Ok(_) => acknowledged.push(number),
            Err(error) => return (acknowledged, error),
        }
    }
    panic!("never refused");
}

/// The trap: the sync that failed once would succeed if asked again, without the data.
#[test]
fn after_a_failed_sync_or_write_nothing_is_acknowledged() {
    let settings = small(DIR);
    for count in 1..=40 {
        for faults in [
            Faults {
                sync_fails_in: Some(count),
                ..Faults::default()
            },
            Faults {
                write_fails_in: Some(count),
                ..Faults::default()
            },
        ] {
            let (disk, opened) = start(&settings);
            // Two segments are prepared beside the appends; a fault may also hit that, which is no
            // reason to halt.
            wait_for_reserve(&opened.journal, &settings);
            disk.set_faults(faults);
            let (acknowledged, error) = append_until_refused_or_many(&opened);
            let Some(error) = error else {
                // The fault hit the preparing of a segment, or a note that may lag.
                assert!(
                    opened.journal.stats().segment_failures + opened.journal.stats().note_failures
                        > 0,
                    "{faults:?} was overlooked"
                );
                let image = disk.crash(disk.log().len(), Loss::All);
                let (replayed, found) = recover(&settings, &SimulatedDisk::new(image), 0);
                let numbers: Vec<_> = replayed.iter().map(|(position, _)| *position).collect();
                assert_eq!(numbers, acknowledged);
                assert_eq!(
                    (found.damaged, found.torn),
                    (Tally::default(), Tally::default())
                );
                continue;
            };
            assert_eq!(error, AppendError::Halted);
            assert_eq!(opened.append(b"later"), Err(AppendError::Halted));
            assert!(opened.journal.is_halted() && opened.journal.stats().is_halted);
            let handed_on = opened.memory.records.lock().unwrap().len();
            assert_eq!(
                handed_on,
                acknowledged.len(),
                "the sink got what is not durable"
            );
            assert_eq!(opened.journal.clone().shutdown(), Err(AppendError::Halted));
            assert_eq!(opened.memory.halts.lock().unwrap().len(), 1);
            drop(opened);

            // The next process still reads what memory holds of the failed group. Whatever it
            // replays must be on disk from then on.
            let (replayed, found) = recover(&settings, &disk, 0);
            let numbers: Vec<_> = replayed.iter().map(|(position, _)| *position).collect();
            assert!(numbers.starts_with(&acknowledged), "{faults:?}");
            assert_eq!(found.damaged.records, 0);
            let after = SimulatedDisk::new(disk.crash(disk.log().len(), Loss::All));
            let (replayed_again, _) = recover(&settings, &after, 0);
            assert_eq!(replayed_again, replayed, "{faults:?}");
        }
    }
}

fn wait_for_reserve(journal: &Journal<super::support::Told>, settings: &Settings) {
    while journal.stats().ready_segments < settings.reserve_segments as u64 {
        std::thread::yield_now();
    }
}

fn append_until_refused_or_many(opened: &Opened) -> (Vec<u64>, Option<AppendError>) {
    let mut acknowledged = Vec::new();
    for number in 1..=60 {
        match opened.append(&payload(number)) {
            Ok(position) => acknowledged.push(position),
            Err(error) => return (acknowledged, Some(error)),
        }
    }
    (acknowledged, None)
}

#[test]
fn everyone_waiting_when_a_sync_fails_is_told_once() {
    let settings = small(DIR);
    let (disk, opened) = start(&settings);
    wait_for_reserve(&opened.journal, &settings);
    disk.set_faults(Faults {
        sync_fails_in: Some(1),
        ..Faults::default()
    });
    let waiting: Vec<_> = (1..=50)
        .map(|number| opened.send(Payloads::one(&payload(number))))
        .collect();
    for receiver in waiting.into_iter().flatten() {
        assert_eq!(receiver.recv(), Ok(Err(AppendError::Halted)));
        assert!(receiver.recv().is_err(), "told twice");
    }
}

#[test]
fn a_full_disk_uses_the_reserve_then_refuses_and_recovers_by_itself() {
    let settings = Settings {
        budget_bytes: 1000 * 8192,
        ..small(DIR)
    };
    let (disk, opened) = start(&settings);
    wait_for_reserve(&opened.journal, &settings);
    disk.set_faults(Faults {
        capacity_bytes: Some(0),
        ..Faults::default()
    });
    let (acknowledged, error) = append_until_refused(&opened, 1);
    assert_eq!(error, AppendError::DiskFull);
    assert!(error.is_deferred());
    assert_eq!(
        opened.journal.stats().live_segments,
        3,
        "the reserve was not used"
    );
    assert!(opened.journal.stats().is_full && !opened.journal.is_halted());

    disk.set_faults(Faults::default());
    let mut first_free = None;
    while first_free.is_none() {
        first_free = opened.append(b"there is room again").ok();
    }
    assert_eq!(first_free, Some(acknowledged.len() as u64 + 1));
    opened.journal.shutdown().unwrap();
    let (replayed, found) = recover(&settings, &disk, 0);
    assert_eq!(replayed.len(), acknowledged.len() + 1);
    assert_eq!(found.damaged.records, 0);
}

#[test]
fn on_a_full_disk_a_release_makes_room_whatever_is_kept() {
    for keep in [Duration::ZERO, Duration::from_secs(3_600)] {
        let settings = Settings {
            budget_bytes: 1000 * 8192,
            keep,
            ..small(DIR)
        };
        let (disk, opened) = start(&settings);
        wait_for_reserve(&opened.journal, &settings);
        disk.set_faults(Faults {
            capacity_bytes: Some(0),
            ..Faults::default()
        });
        append_until_refused(&opened, 1);
        opened.journal.release(opened.journal.durable());
        let started = Instant::now();
        while opened.append(b"there is room again").is_err() {
            let waited = started.elapsed();
            assert!(waited.as_secs() < 30, "what is kept is in the way");
        }
        assert!(!opened.journal.stats().is_full);
    }
}

#[test]
fn a_used_up_budget_refuses_until_records_are_released() {
    let settings = Settings {
        budget_bytes: 6 * 8192,
        ..small(DIR)
    };
    let (disk, opened) = start(&settings);
    let (acknowledged, error) = append_until_refused(&opened, 1);
    assert_eq!(
        error,
        AppendError::Full {
            used_bytes: 4 * 8192,
            budget_bytes: 6 * 8192
        }
    );
    let total: usize = {
        let now = disk.now();
        let inside = now.names.iter().filter(|(path, _)| path.starts_with(DIR));
        inside.map(|(_, file)| now.contents[*file].len()).sum()
    };
    assert!(total as u64 <= settings.budget_bytes, "{total}");

    let applied = opened.journal.durable();
    opened.journal.release(applied);
    let mut more = None;
    while more.is_none() {
        more = opened.append(b"accepted again").ok();
    }
    assert_eq!(more, Some(acknowledged.len() as u64 + 1));
    opened.journal.shutdown().unwrap();
    let (replayed, _) = recover(&settings, &disk, applied.0);
    assert_eq!(replayed, [(applied.0 + 1, b"accepted again".to_vec())]);
}

#[test]
fn a_release_recycles_whole_segments_and_nothing_above_it() {
    let settings = small(DIR);
    let (disk, opened) = start(&settings);
    for number in 1..=150 {
        opened.append(&payload(number)).unwrap();
    }
    let before = disk.now().segments().len();
    let applied = 70;
    opened.journal.release(Position(applied));
    while disk.now().segments().len() == before || opened.journal.stats().unreleased_bytes == 0 {
        std::thread::yield_now();
    }
    opened.journal.release(Position(1));
    opened.journal.shutdown().unwrap();
    let (replayed, found) = recover(&settings, &disk, applied);
    let numbers: Vec<_> = replayed.iter().map(|(position, _)| *position).collect();
    assert_eq!(numbers, (applied + 1..=150).collect::<Vec<_>>());
    assert_eq!(found.damaged.records, 0);
}

#[test]
fn a_release_ahead_of_what_is_durable_frees_nothing_unapplied() {
    let settings = small(DIR);
    let (disk, opened) = start(&settings);
    opened.journal.release(Position(u64::MAX));
    for number in 1..=100 {
        opened.append(&payload(number)).unwrap();
    }
    opened.journal.shutdown().unwrap();
    assert_eq!(recover(&settings, &disk, 0).0.len(), 100);
}
