//! A journal with a sink that remembers, and completions that can be waited for.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::{
    AppendError, Completion, Disk, HaltCause, Journal, OpenError, Payloads, Position, Record,
    Recovery, Settings, Sink,
};

/// Tells a waiting test.
pub(super) struct Told(pub(super) SyncSender<Result<Position, AppendError>>);

impl Completion for Told {
    fn complete(self, result: Result<Position, AppendError>) {
        // A test that no longer waits does not care.
        let _ = self.0.send(result);
    }
}

/// Positions with their payloads.
pub(super) type Pairs = Vec<(u64, Vec<u8>)>;

/// Remembers what became durable.
#[derive(Clone, Default)]
pub(super) struct Memory {
    pub(super) records: Arc<Mutex<Pairs>>,
    pub(super) halts: Arc<Mutex<Vec<String>>>,
}

impl Sink for Memory {
    fn durable(&mut self, records: Vec<Record>) {
        self.records
            .lock()
            .unwrap()
            .extend(records.iter().map(pair));
    }

    fn halted(&mut self, cause: &HaltCause) {
        self.halts.lock().unwrap().push(cause.to_string());
    }
}

pub(super) fn pair(record: &Record) -> (u64, Vec<u8>) {
    (record.position.0, record.payload.to_vec())
}

/// Small segments, so that a short test fills many.
pub(super) fn small(dir: impl Into<PathBuf>) -> Settings {
    Settings {
        segment_bytes: 8192,
        budget_bytes: 20 * 8192,
        idle_mark: Duration::ZERO,
        note_every: Duration::ZERO,
        retry_min: Duration::from_millis(1),
        retry_max: Duration::from_millis(2),
        ..Settings::new(dir, 7)
    }
}

/// A journal, what it replayed, and what its sink got.
pub(super) struct Opened {
    pub(super) journal: Journal<Told>,
    pub(super) recovery: Recovery,
    pub(super) replayed: Pairs,
    pub(super) memory: Memory,
}

pub(super) fn open(
    settings: &Settings,
    disk: &Arc<dyn Disk>,
    applied: u64,
) -> Result<Opened, OpenError> {
    let memory = Memory::default();
    let mut replayed = Vec::new();
    let (journal, recovery) = Journal::open(
        settings.clone(),
        Arc::clone(disk),
        Position(applied),
        &mut |record: Record| {
            replayed.push(pair(&record));
            ControlFlow::Continue(())
        },
        memory.clone(),
    )?;
    Ok(Opened {
        journal,
        recovery,
        replayed,
        memory,
    })
}

impl Opened {
    /// Appends and gives the means to wait.
    pub(super) fn send(
        &self,
        payloads: Payloads,
    ) -> Result<Receiver<Result<Position, AppendError>>, AppendError> {
        let (sender, receiver) = sync_channel(1);
        self.journal
            .append(payloads, Told(sender))
            .map_err(|(error, _)| error)?;
        Ok(receiver)
    }

    /// Appends one payload and waits for its end.
    pub(super) fn append(&self, payload: &[u8]) -> Result<u64, AppendError> {
        self.append_all(Payloads::one(payload))
    }

    pub(super) fn append_all(&self, payloads: Payloads) -> Result<u64, AppendError> {
        let told = self
            .send(payloads)?
            .recv_timeout(Duration::from_secs(30))
            .expect("every append that is taken in is completed");
        told.map(|position| position.0)
    }
}

/// A payload that differs from others in content and length.
pub(super) fn payload(number: u64) -> Vec<u8> {
    let length = usize::try_from(number * 37 % 300).unwrap();
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(8 + length, u8::try_from(number % 251).unwrap());
    bytes
}
