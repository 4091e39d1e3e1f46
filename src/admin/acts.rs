//! What an operator tells a running collector to do. Each act is asked for by `POST` with JSON.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};
use tillwatch_model::journal_act_v1::Act;
use tokio::sync::{Notify, watch};

use crate::admin::access::Actor;
use crate::admin::acts_answer::{ClockAnswer, FleetClock, Sealed, StoreRetired, TerminalRetired};
use crate::admin::refused;
use crate::aggregate::Aggregator;
use crate::aggregate::terminals::StoreTerminals;
use crate::audit_log::{AuditLog, Entry, Outcome};
use crate::clock::Clock;
use crate::holdings::Holdings;
use crate::intake::Desk;

/// How long an act waits for the aggregate, or a seal for the disk.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What the acts need.
#[derive(Debug)]
pub struct Acts {
    /// Takes acts in, as batches are.
    pub desk: Desk,
    /// What the collector holds: the aggregate, and what has been sealed.
    pub holdings: Arc<Holdings>,
    /// Where acts are written down.
    pub audit_log: AuditLog,
    /// What time it is.
    pub clock: Clock,
    /// Told that a seal is wanted.
    pub seal_wanted: Arc<Notify>,
    /// Position of the last seal.
    pub sealed: watch::Receiver<u64>,
}

/// Refuses what a page of another site could send without asking first: such a request has no JSON.
fn without_json(headers: &HeaderMap) -> Option<Response> {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if content_type.is_some_and(|text| text.starts_with("application/json")) {
        return None;
    }
    Some(refused(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "send Content-Type: application/json",
    ))
}

/// Ends a store's series. The act is durable when the request is answered.
pub(super) async fn retire(
    State(acts): State<Arc<Acts>>,
    Extension(actor): Extension<Actor>,
    Path(store_id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Some(response) = without_json(&headers) {
        return response;
    }
    let retired = acts.retire(&store_id).await;
    if !matches!(retired, Err(NotRetired::Unknown)) {
        acts.note(
            "store.retire",
            &actor,
            json!({"store": store_id}),
            retired.is_ok(),
        );
    }
    match retired {
        Ok(terminals) => Json(StoreRetired {
            retired: true,
            store_id,
            terminals,
        })
        .into_response(),
        Err(why) => why.response(
            "unknown_store",
            "no store of this name has series; GET /api/v1/stores lists those that have",
        ),
    }
}

/// Ends what is expected of a terminal. The act is durable when the request is answered.
pub(super) async fn retire_terminal(
    State(acts): State<Arc<Acts>>,
    Extension(actor): Extension<Actor>,
    Path((store_id, terminal_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if let Some(response) = without_json(&headers) {
        return response;
    }
    let retired = acts.retire_terminal(&store_id, &terminal_id).await;
    if !matches!(retired, Err(NotRetired::Unknown)) {
        let about = json!({"store": store_id, "terminal": terminal_id});
        acts.note("terminal.retire", &actor, about, retired.is_ok());
    }
    match retired {
        Ok(()) => Json(TerminalRetired {
            retired: true,
            store_id,
            terminal_id,
        })
        .into_response(),
        Err(why) => why.response(
            "unknown_terminal",
            "the store has no terminal of this name, or it is retired; GET /api/v1/terminals?store_id= lists them",
        ),
    }
}

/// Seals what is open now, so that a backup holds it.
pub(super) async fn seal(
    State(acts): State<Arc<Acts>>,
    Extension(actor): Extension<Actor>,
    headers: HeaderMap,
) -> Response {
    if let Some(response) = without_json(&headers) {
        return response;
    }
    let sealed = acts.seal().await;
    acts.note("seal", &actor, json!({}), sealed.is_some());
    match sealed {
        Some(sealed_position) => Json(Sealed { sealed_position }).into_response(),
        None => refused(
            StatusCode::SERVICE_UNAVAILABLE,
            "seal_unavailable",
            "the seal did not end in time; look at the collector's log",
        ),
    }
}

/// Says how things stand with the clock.
pub(super) async fn clock(State(acts): State<Arc<Acts>>) -> Response {
    let status = acts.clock.status();
    Json(ClockAnswer {
        clock_ms: status.wall_ms,
        doubt: status.doubt.map(|doubt| doubt.to_string()),
        fleet: status.fleet.map(|(ahead_ms, terminals)| FleetClock {
            ahead_ms,
            terminals,
        }),
        is_settled: status.is_settled,
        now_ms: status.now_ms,
    })
    .into_response()
}

/// Notes that an operator says the clock is right.
pub(super) async fn accept_clock(
    State(acts): State<Arc<Acts>>,
    Extension(actor): Extension<Actor>,
    headers: HeaderMap,
) -> Response {
    if let Some(response) = without_json(&headers) {
        return response;
    }
    let accepted = acts.clock.accept();
    acts.note("clock.accept", &actor, json!({}), accepted.is_ok());
    match accepted {
        Ok(()) => clock(State(acts)).await,
        Err(doubt) => {
            let message = format!("{}: set the clock right first", doubt);
            refused(StatusCode::CONFLICT, "clock_impossible", &message)
        }
    }
}

/// Why a store or a terminal was not retired.
enum NotRetired {
    /// There is none of this name that is not retired.
    Unknown,
    /// The journal did not take the act.
    NotTaken,
}

impl NotRetired {
    fn response(self, code: &str, message: &str) -> Response {
        match self {
            Self::Unknown => refused(StatusCode::NOT_FOUND, code, message),
            Self::NotTaken => refused(
                StatusCode::SERVICE_UNAVAILABLE,
                "journal_unavailable",
                "the journal did not take it; look at the collector's log, and try again",
            ),
        }
    }
}

impl Acts {
    fn note(&self, act: &str, Actor(by): &Actor, about: Value, is_done: bool) {
        let outcome = if is_done {
            Outcome::Done
        } else {
            Outcome::Failed
        };
        self.audit_log.note(&Entry {
            act,
            by,
            about,
            outcome,
        });
    }

    /// Ends a store's series, and says how many active terminals it had.
    async fn retire(&self, store_id: &str) -> Result<usize, NotRetired> {
        // The wait lets what was acknowledged before belong to the series that end.
        let is_applied = self.wait_applied(self.desk.durable().0).await;
        let name = store_id.to_owned();
        let look = move |aggregator: &Aggregator| {
            let of_store = aggregator.terminals().of_store(&name);
            (
                aggregator.names().0.find(&name).is_some(),
                of_store.map_or(0, StoreTerminals::active),
            )
        };
        let (is_known, terminals) = self.holdings.ask(|holdings| holdings.read(look)).await;
        if is_applied && !is_known && terminals == 0 {
            return Err(NotRetired::Unknown);
        }
        let at_ms = self.clock.now_ms();
        self.take(&Act::RetireStore { store_id, at_ms }).await?;
        tracing::info!(store_id, terminals, "retired a store");
        Ok(terminals)
    }

    /// Ends what is expected of a terminal.
    async fn retire_terminal(&self, store_id: &str, terminal_id: &str) -> Result<(), NotRetired> {
        let is_applied = self.wait_applied(self.desk.durable().0).await;
        let (store, name) = (store_id.to_owned(), terminal_id.to_owned());
        let look = move |aggregator: &Aggregator| {
            let of_store = aggregator.terminals().of_store(&store)?;
            of_store.get(&name).filter(|one| !one.is_retired).map(drop)
        };
        let is_known = self.holdings.ask(|holdings| holdings.read(look)).await;
        if is_applied && is_known.is_none() {
            return Err(NotRetired::Unknown);
        }
        let act = Act::RetireTerminal {
            store_id,
            terminal_id,
            at_ms: self.clock.now_ms(),
        };
        self.take(&act).await?;
        tracing::info!(store_id, terminal_id, "retired a terminal");
        Ok(())
    }

    /// Has an act taken in, and waits until it shows.
    async fn take(&self, act: &Act<'_>) -> Result<(), NotRetired> {
        match self.desk.act(act).await {
            Ok(position) => {
                // After this wait the next scrape knows of it.
                let _is_late = self.wait_applied(position.0).await;
                Ok(())
            }
            Err(error) => {
                tracing::warn!(?act, %error, "the journal did not take an act");
                Err(NotRetired::NotTaken)
            }
        }
    }

    /// Seals what is open, and says up to which position; `None` if the seal does not end in time.
    pub async fn seal(&self) -> Option<u64> {
        let sealed = async {
            let durable = self.desk.durable().0;
            self.holdings.wait_applied(durable).await;
            let applied = |holdings: &Holdings| holdings.read(Aggregator::applied);
            let position = self.holdings.ask(applied).await;
            let mut sealed = self.sealed.clone();
            self.seal_wanted.notify_one();
            let is_sealed = sealed.wait_for(|sealed| *sealed >= position).await.is_ok();
            is_sealed.then_some(position)
        };
        tokio::time::timeout(WAIT_MAX, sealed).await.ok().flatten()
    }

    /// Whether everything up to `position` was applied in time.
    async fn wait_applied(&self, position: u64) -> bool {
        let applied = self.holdings.wait_applied(position);
        tokio::time::timeout(WAIT_MAX, applied).await.is_ok()
    }
}
