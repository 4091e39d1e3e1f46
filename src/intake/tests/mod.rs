//! An intake without a process around it, on a journal whose disk answers when it is told to.

mod rates;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tillwatch_journal::{Journal, Position, RealDisk, Record, Sink};
use tillwatch_model::{Catalogue, FirstResult, KeyId, Outcomes, Reason, Source};

use crate::clock::Clock;
use crate::intake::counters::Counters;
use crate::intake::keys::{self, Key, KeySource, OnDisk};
use crate::intake::laps::Laps;
use crate::intake::offer::{Field, Mark, Number, Sample};
use crate::intake::session::{self, Pseudonyms};
use crate::intake::{
    Books, Dedup, HeldBack, Intake, Keys, Offer, Offers, Parts, Receipt, Refusal, Settings, Shares,
    Who, dedup, shares,
};
use crate::room::{Held, Room};

/// A disk that answers when it is told to.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    hangs: Mutex<bool>,
    answers: Condvar,
}

impl Disk {
    pub(crate) fn hang(&self) {
        *self.hangs.lock().unwrap() = true;
    }

    pub(crate) fn answer(&self) {
        *self.hangs.lock().unwrap() = false;
        self.answers.notify_all();
    }
}

/// Holds up the journal's thread before it tells anybody that a group is durable.
struct Behind(Arc<Disk>);

impl Sink for Behind {
    fn durable(&mut self, _: Vec<Record>) {
        let hangs = self.0.hangs.lock().unwrap();
        let waited = self.0.answers.wait_while(hangs, |hangs| *hangs);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

struct Nowhere;

impl KeySource for Nowhere {
    fn find(&self, _: &[KeyId]) -> Option<Vec<(KeyId, FirstResult)>> {
        Some(Vec::new())
    }

    fn forget(&self, _: i64, _: usize) -> usize {
        0
    }
}

impl session::KeySource for Nowhere {
    fn session_key(&self, _: i32) -> Option<[u8; 32]> {
        Some([7; 32])
    }
}

/// An intake on a journal of its own.
pub(crate) struct Stage {
    pub(crate) intake: Arc<Intake>,
    pub(crate) disk: Arc<Disk>,
    _folder: TempDir,
}

impl Drop for Stage {
    fn drop(&mut self) {
        // The journal's thread ends with it.
        self.disk.answer();
    }
}

/// A disk that gives a day's key when it is told to.
struct Busy {
    asked: tokio::sync::mpsc::Sender<i32>,
    answers: Mutex<mpsc::Receiver<Option<[u8; 32]>>>,
}

impl session::KeySource for Busy {
    fn session_key(&self, day: i32) -> Option<[u8; 32]> {
        self.asked.try_send(day).unwrap();
        let answers = self.answers.lock().unwrap();
        answers.recv_timeout(Duration::from_secs(10)).ok().flatten()
    }
}

impl Stage {
    pub(crate) fn start(settings: Settings) -> Self {
        Self::start_with(settings, Box::new(Nowhere))
    }

    fn start_with(settings: Settings, session_keys: Box<dyn session::KeySource>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(Disk::default());
        let journal_settings = tillwatch_journal::Settings {
            segment_bytes: 4 * 1024 * 1024,
            budget_bytes: 64 * 1024 * 1024,
            ..tillwatch_journal::Settings::new(folder.path(), 1)
        };
        let (journal, _) = Journal::open(
            journal_settings,
            Arc::new(RealDisk),
            Position(0),
            &mut |_| std::ops::ControlFlow::Continue(()),
            Behind(Arc::clone(&disk)),
        )
        .unwrap();
        let keys_settings = keys::Settings {
            keys_max: 1_000,
            cached_max: 1_000,
        };
        let none = std::iter::empty();
        let shares = Shares::new(&shares::Settings::default());
        let (nowhere, on_disk) = (Arc::new(Nowhere), OnDisk::default());
        let books = Books {
            dedup: Dedup::new(dedup::Settings::default(), Arc::clone(&shares)),
            keys: Keys::new(keys_settings, nowhere, on_disk, none, shares),
            held_back: HeldBack::default(),
            counters: Counters::default(),
        };
        let parts = Parts {
            clock: Clock::of_machine(),
            catalogue: Arc::new(Catalogue::default()),
            books,
            journal,
            pseudonyms: Pseudonyms::new(session_keys),
            is_outbox_full: Arc::new(AtomicBool::new(false)),
        };
        Self {
            intake: Arc::new(Intake::new(settings, parts)),
            disk,
            _folder: folder,
        }
    }

    /// Appends that wait for the disk.
    pub(crate) fn queued(&self) -> usize {
        self.intake.journal.stats().queued_appends
    }

    /// Posts that wait for another post of their batch.
    pub(crate) fn waiting(&self) -> usize {
        let books = &self.intake.books;
        books.dedup.waiting() + books.keys.waiting()
    }
}

const NOW_MS: i64 = 1_763_683_200_000;

/// Submits one batch of one good sample and one that its door could not read.
async fn submit(
    stage: &Stage,
    mark: Result<Mark<'_>, Reason>,
    terminal_id: &str,
) -> Result<Receipt, Refusal> {
    submit_of(stage, mark, terminal_id, Field::Absent).await
}

async fn submit_of(
    stage: &Stage,
    mark: Result<Mark<'_>, Reason>,
    terminal_id: &str,
    session_id: Field<&str>,
) -> Result<Receipt, Refusal> {
    let good = Sample {
        metric: Field::Is("lcp_ms".into()),
        t: Field::Is(Number::Float(1_763_683_200_000.0)),
        v: Field::Is(Number::Unsigned(17)),
        ..Sample::default()
    };
    let malformed = Sample {
        refused: Some(Reason::MalformedSample),
        ..Sample::default()
    };
    let offer = Offer {
        unreadable: None,
        store_id: Some("store-1"),
        terminal_id: Some(terminal_id),
        mark,
        release: Field::Absent,
        source: Source::Rum,
        has_consent: true,
        session_id,
        samples: &[good, malformed],
        histograms: &[],
        events: &[],
        drops: &[],
        summaries: &[],
    };
    let offers = Offers {
        received_at_ms: NOW_MS,
        sent_at_ms: Field::Absent,
        class: crate::intake::limits::Class::Live,
        browser: None,
        batches: &[offer],
        watched: None,
    };
    let room = Room::new(1 << 20);
    let held = Held::new(&room, 100).unwrap();
    let mut laps = Laps::begin(Instant::now());
    let submitted = stage.intake.submit(&Who::Anybody, &offers, held, &mut laps);
    submitted.await?.durable(&mut laps).await
}

fn counts(receipt: &Receipt) -> (u64, u64, u64) {
    let Outcomes {
        accepted,
        duplicate,
        rejected,
    } = receipt.outcomes;
    (accepted, duplicate, rejected)
}

fn settings() -> Settings {
    Settings {
        acknowledge_max: Duration::from_secs(60),
        ..Settings::default()
    }
}

#[tokio::test]
async fn a_batch_is_known_again_by_whatever_its_door_has_to_tell_it_by() {
    let stage = Stage::start(settings());
    let number = |content| {
        Ok(Mark::Number {
            queue: [1; 16],
            seq: 1,
            content,
        })
    };
    let first = submit(&stage, number(1), "t").await.unwrap();
    assert_eq!((counts(&first), first.report.conflicting()), ((1, 0, 1), 0));
    let remarks = first.report.remarks();
    assert_eq!(remarks.len(), 1, "{remarks:?}");
    assert_eq!(remarks[0].reason, Reason::MalformedSample.name());
    assert_eq!(
        (remarks[0].place.batch, remarks[0].place.part),
        (0, super::report::Part::Sample(1))
    );
    let again = submit(&stage, number(1), "t").await.unwrap();
    assert_eq!((counts(&again), again.report.conflicting()), ((0, 2, 0), 0));
    let other = submit(&stage, number(2), "t").await.unwrap();
    assert_eq!((counts(&other), other.report.conflicting()), ((0, 2, 0), 1));

    let key = Key::new(b"k").unwrap();
    for mark in [
        Mark::Key { key, place: 0 },
        Mark::Key { key, place: 1 },
        Mark::Content(b"k"),
        Mark::Content(b"l"),
    ] {
        for terminal_id in ["t", "u"] {
            let first = submit(&stage, Ok(mark), terminal_id).await.unwrap();
            assert_eq!((counts(&first), first.is_replayed), ((1, 0, 1), false));
            let again = submit(&stage, Ok(mark), terminal_id).await.unwrap();
            assert_eq!((counts(&again), again.is_replayed), ((1, 0, 1), true));
        }
    }
}

#[tokio::test]
async fn a_batch_without_a_mark_is_rejected_for_its_reason_and_never_written() {
    let stage = Stage::start(settings());
    let before = stage.intake.journal.durable();
    let receipt = submit(&stage, Err(Reason::InvalidSeq), "t").await.unwrap();
    assert_eq!(counts(&receipt), (0, 0, 2));
    assert_eq!(receipt.refused, Some(Reason::InvalidSeq));
    let receipt = submit(&stage, Err(Reason::InvalidSeq), "no id")
        .await
        .unwrap();
    assert_eq!(receipt.refused, Some(Reason::InvalidTerminalId));
    assert_eq!(stage.intake.journal.durable(), before);
}

#[tokio::test]
async fn while_the_disk_looks_for_the_key_of_a_day_the_others_are_answered() {
    let (asked, mut questions) = tokio::sync::mpsc::channel(8);
    let (answer, answers) = mpsc::sync_channel(8);
    let answers = Mutex::new(answers);
    let stage = Stage::start_with(settings(), Box::new(Busy { asked, answers }));
    let stage = Arc::new(stage);
    let post = |terminal_id: &'static str| {
        let stage = Arc::clone(&stage);
        tokio::spawn(async move {
            let mark = Mark::Number {
                queue: [1; 16],
                seq: 1,
                content: 1,
            };
            submit_of(&stage, Ok(mark), terminal_id, Field::Is("s")).await
        })
    };
    // One thread serves all of them, and the key's disk does not answer.
    let (first, second) = (post("t"), post("u"));
    questions.recv().await.unwrap();
    let key = Key::new(b"k").unwrap();
    let other = submit(&stage, Ok(Mark::Key { key, place: 0 }), "v").await;
    assert_eq!(counts(&other.unwrap()), (1, 0, 1));
    questions
        .try_recv()
        .expect_err("one of them asks at a time");

    // Without a key nothing is written, and the batch is as good as new when it comes again.
    answer.send(None).unwrap();
    assert!(matches!(first.await.unwrap(), Err(Refusal::Internal)));
    questions.recv().await.unwrap();
    answer.send(Some([7; 32])).unwrap();
    assert_eq!(counts(&second.await.unwrap().unwrap()), (1, 0, 1));
    assert_eq!(counts(&post("t").await.unwrap().unwrap()), (1, 0, 1));
    questions
        .try_recv()
        .expect_err("what was brought serves all");
}
