//! Stage 1 without a process around it.
//!
//! | file | what |
//! |---|---|
//! | `bodies.rs` | bodies in all their forms, taken apart and written as records |
//! | `arriving.rs` | bodies that take their time |
//! | `waiting.rs` | requests that wait for a disk that hangs |

mod arriving;
mod bodies;
mod waiting;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::Body;
use axum::http::Request;
use tempfile::TempDir;
use tillwatch_journal::{Journal, Position, RealDisk, Record, Sink};
use tillwatch_model::{Catalogue, FirstResult, KeyId};
use tower_service::Service;

use crate::chance::Chance;
use crate::clock::Clock;
use crate::ingest::admission::Admission;
use crate::ingest::counters::Counters;
use crate::ingest::keys::{self, KeySource};
use crate::ingest::routes::{Ingest, router};
use crate::ingest::session::{self, Pseudonyms};
use crate::ingest::{Dedup, Keys, Settings, dedup};

/// A disk that answers when it is told to.
#[derive(Debug, Default)]
struct Disk {
    hangs: Mutex<bool>,
    answers: Condvar,
}

impl Disk {
    fn hang(&self) {
        *self.hangs.lock().unwrap() = true;
    }

    fn answer(&self) {
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

/// Stage 1 on a journal of its own.
struct Collector {
    ingest: Arc<Ingest>,
    disk: Arc<Disk>,
    _folder: TempDir,
}

impl Drop for Collector {
    fn drop(&mut self) {
        // The journal's thread ends with it.
        self.disk.answer();
    }
}

impl Collector {
    fn start(settings: Settings) -> Self {
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
        let ingest = Arc::new(Ingest {
            clock: Clock::of_machine(),
            chance: Chance::seeded(1),
            admission: Admission::new(settings.admission),
            settings: ArcSwap::from_pointee(settings),
            catalogue: Arc::new(Catalogue::default()),
            dedup: Dedup::new(dedup::Settings::default()),
            keys: Keys::new(keys_settings, Arc::new(Nowhere), (0, Vec::new()), none),
            journal,
            pseudonyms: Pseudonyms::new(Box::new(Nowhere)),
            counters: Arc::new(Counters::default()),
            is_outbox_full: Arc::new(AtomicBool::new(false)),
            is_stopping: Arc::new(AtomicBool::new(false)),
        });
        Self {
            ingest,
            disk,
            _folder: folder,
        }
    }

    /// Posts a body; its status, and what was answered.
    fn post(
        &self,
        body: Body,
        headers: &[(&str, &str)],
    ) -> impl Future<Output = (u16, String)> + Send + 'static {
        let mut request = Request::post("/v1/batches");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).unwrap();
        let mut router = router(Arc::clone(&self.ingest));
        async move {
            let response = router.call(request).await.unwrap();
            let status = response.status().as_u16();
            let body = axum::body::to_bytes(response.into_body(), 100_000).await;
            (status, String::from_utf8(body.unwrap().to_vec()).unwrap())
        }
    }

    /// Memory set aside for requests.
    fn set_aside(&self) -> usize {
        self.ingest.admission.in_flight_bytes().0
    }
}

/// A batch with these samples, as JSON.
fn batch(terminal: &str, samples: &str) -> String {
    format!(
        r#"{{"v":1,"store_id":"s","terminal_id":"{terminal}","queue":"5f0c6a52-6f3f-4c0e-8f43-2a6b2f1f8f10","seq":1,"consent":true,"samples":[{samples}]}}"#
    )
}

/// Waits until it is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let so = tokio::time::timeout(Duration::from_secs(10), waiting).await;
    assert!(so.is_ok(), "never so: {what}");
}
