//! Released records that stay for a while, and the search for them.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::support::{Opened, Pairs, open, payload, small};
use crate::{Disk, Position, RealDisk, Settings, search};

const HOUR: Duration = Duration::from_secs(3_600);

/// All records that a search comes by, in the order of their positions.
fn found(settings: &Settings) -> Pairs {
    let mut pairs = Pairs::new();
    search(&RealDisk, &settings.dir, &mut |position, payload| {
        pairs.push((position.0, payload.to_vec()));
        ControlFlow::Continue(())
    })
    .unwrap();
    pairs.sort();
    pairs
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn filled(settings: &Settings, numbers: std::ops::Range<u64>) -> Opened {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let opened = open(settings, &disk, 0).unwrap();
    for number in numbers {
        opened.append(&payload(number)).unwrap();
    }
    opened
}

#[test]
fn released_records_are_found_until_their_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        keep: HOUR,
        ..small(folder.path().join("journal"))
    };
    // Three segments or so, of twenty that there may be.
    let opened = filled(&settings, 1..101);
    opened.journal.release(Position(100));
    let all: Pairs = (1..101).map(|number| (number, payload(number))).collect();
    assert_eq!(found(&settings), all);
    // The newest come first, and who has seen enough is shown no more.
    let mut first = None;
    search(&RealDisk, &settings.dir, &mut |position, _| {
        first = Some(position.0);
        ControlFlow::Break(())
    })
    .unwrap();
    assert!(first > Some(50), "{first:?}");
    opened.journal.shutdown().unwrap();

    // A start takes them as applied, and they stay; with another setting they go at once.
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let again = open(&settings, &disk, 100).unwrap();
    assert_eq!(
        (again.replayed.len(), again.recovery.damaged.records),
        (0, 0)
    );
    assert_eq!(found(&settings), all);
    again.journal.shutdown().unwrap();
    let at_once = Settings {
        keep: Duration::ZERO,
        ..settings.clone()
    };
    let last = open(&at_once, &disk, 100).unwrap();
    wait_for("released segments go", || found(&at_once).is_empty());
    last.journal.shutdown().unwrap();
}

#[test]
fn a_segment_goes_when_its_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        keep: Duration::from_millis(200),
        ..small(folder.path().join("journal"))
    };
    let opened = filled(&settings, 1..101);
    let released = Instant::now();
    opened.journal.release(Position(100));
    wait_for("old segments go by themselves", || {
        found(&settings)
            .first()
            .is_some_and(|(first, _)| *first > 1)
    });
    assert!(released.elapsed() < Duration::from_secs(20));
    opened.journal.shutdown().unwrap();
}

#[test]
fn no_append_is_refused_for_what_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        keep: HOUR,
        ..small(folder.path().join("journal"))
    };
    let opened = filled(&settings, 1..2);
    // Several times what the budget holds, released as a seal does it.
    for number in 2..2_500 {
        opened.append(&payload(number)).unwrap();
        if number % 50 == 0 {
            opened.journal.release(Position(number));
        }
    }
    let stats = opened.journal.stats();
    assert!(stats.live_segments <= 12, "{stats:?}");
    let kept = found(&settings);
    assert!(
        kept.len() > 100,
        "half of the budget is kept: {}",
        kept.len()
    );
    opened.journal.shutdown().unwrap();
}
