//! The doors without a process around them.
//!
//! | file | what |
//! |---|---|
//! | `bodies.rs` | bodies in all their forms, taken apart and written as records |
//! | `arriving.rs` | bodies that take their time |
//! | `waiting.rs` | requests that wait for a disk that hangs |

mod arriving;
mod bodies;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use tower_service::Service;

use crate::audit_log::AuditLog;
use crate::auth::{Gate, GateSettings, Mode};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::doors::foreign::Rules;
use crate::doors::{Hall, Limits, Parts, router};
use crate::intake::Settings;
use crate::intake::tests::Stage;
use crate::peer::Networks;
use crate::room::Room;

/// The doors before an intake on a journal of its own.
struct Collector {
    hall: Arc<Hall>,
    room: Arc<Room>,
    stage: Stage,
}

impl Collector {
    fn start(limits: Limits, settings: Settings) -> Self {
        let stage = Stage::start(settings);
        let room = Room::new(256 * 1024 * 1024);
        let is_stopping = Arc::new(AtomicBool::new(false));
        let intake = Arc::clone(&stage.intake);
        Self {
            hall: Hall::new(
                limits,
                Parts {
                    gate: Arc::new(Gate::new(GateSettings {
                        posting: Mode::Off,
                        admin: Mode::Off,
                        are_apps_let_in: false,
                        family_s_max: 0,
                    })),
                    networks: Networks::default(),
                    origins: Arc::default(),
                    audit_log: AuditLog::nowhere(Clock::of_machine()),
                    room: Arc::clone(&room),
                    intake,
                    clock: Clock::of_machine(),
                    chance: Chance::seeded(1),
                    rules: Rules::default(),
                    tap: Arc::default(),
                    is_stopping,
                },
            ),
            room,
            stage,
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
        let mut router = router(Arc::clone(&self.hall));
        async move {
            let response = router.call(request).await.unwrap();
            let status = response.status().as_u16();
            let body = axum::body::to_bytes(response.into_body(), 100_000).await;
            (status, String::from_utf8(body.unwrap().to_vec()).unwrap())
        }
    }

    /// Memory set aside for requests.
    fn set_aside(&self) -> usize {
        self.room.used().0
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
