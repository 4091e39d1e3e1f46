//! The admin listener: every address that operators, dashboards and Prometheus ask.
//!
//! | request | what it calls |
//! |---|---|
//! | `GET /healthz`, `/readyz` | `health.rs`, by any name of the host |
//! | `GET /metrics`, `/metrics/fleet` | [`Renders`], which the pipeline is |
//! | `GET /api/v1/percentiles`, `/stores`, `/terminals`, `/terminals/silent`, `/losses`, `/errors`, `/errors/{fingerprint}`, `/rollouts/{release}`, `/rollout_check`, `/summaries`, `/sessions/{pseudonym}`, `/metrics` | [`Query`] |
//! | `GET /api/v1/fleet`, `/stores/{store_id}/now`, `/changes`, `/pipeline`, `/live` | [`Live`] |
//! | `GET /` and the other views, and their files | the console |
//! | `GET /api/v1/explain/…` | [`Explainer`] |
//! | `GET /api/v1/openapi.json` | the description of all `/api/v1` |
//! | `GET /api/v1/tap` | [`Tap`] |
//! | `GET /api/v1/settings` | the settings as they are in force |
//! | `GET /api/v1/about`, `POST` and `DELETE /api/v1/session` | whoever signs in at the console |
//! | `GET /runbooks/{name}` | the runbooks of alerts, which need no key either |
//! | `GET /api/v1/clock`, `POST /api/v1/clock/accept` | the clock |
//! | `POST /api/v1/stores/{store_id}/retire`, `POST /api/v1/stores/{store_id}/terminals/{terminal_id}/retire`, `POST /api/v1/seal` | [`Acts`] |
//!
//! **Promises**
//! 1. But for health, only requests that were meant for this listener are answered (`guard.rs`).
//! 2. With `admin_auth`, whoever asks shows a key: scope `metrics` for the pages that Prometheus scrapes, `read` for
//!    questions, `operate` for acts.
//! 3. A page of another site can cause nothing: an act needs JSON, which such a page cannot send unasked.
//!
//! | file | what |
//! |---|---|
//! | `guard.rs` | whether a request was meant for this listener |
//! | `access.rs` | whether whoever asks has a key with the right scope |
//! | `queries.rs` | questions: parameters in, JSON out |
//! | `explain.rs` | what became of one batch |
//! | `live.rs` | the fleet while it happens |
//! | `session.rs` | signs a person in |
//! | `settings.rs` | the settings as they are in force |
//! | `tap.rs` | what arrives, while it happens |
//! | `acts.rs` | what an operator tells a running collector to do |
//! | `acts_answer.rs` | what they are answered with |
//! | `openapi/` | the description of all this for programs |
//! | `pages.rs` | the pages that Prometheus scrapes |
//! | `console.rs` | the files of the console, which tell nothing that is anybody's and need no key |

mod access;
mod acts;
mod acts_answer;
mod console;
mod explain;
mod guard;
mod live;
pub mod openapi;
mod pages;
mod queries;
mod session;
mod settings;
mod tap;

use std::sync::Arc;

use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;

use crate::audit_log::AuditLog;
use crate::auth::{Gate, Scope};
use crate::clock::Clock;
use crate::health::{self, Health};
use crate::live::Live;
use crate::query::Query;
use crate::query::explain::Explainer;
use crate::tap::Tap;
use crate::tasks::Tasks;

use access::Access;

pub use acts::Acts;
pub use guard::AdminHosts;
pub use pages::{Page, Rendered, Renders};
pub use session::About;
pub use settings::InForce;

/// What the admin listener calls.
#[derive(Debug)]
pub struct Admin<R> {
    /// Answers questions.
    pub query: Arc<Query>,
    /// Takes acts.
    pub acts: Arc<Acts>,
    /// Renders pages.
    pub renders: Arc<R>,
    /// The threads where pages are rendered.
    pub tasks: Tasks,
    /// Says whether the collector is ready.
    pub health: Arc<Health>,
    /// Who may ask.
    pub gate: Arc<Gate>,
    /// Where acts and refused credentials are written down.
    pub audit_log: AuditLog,
    /// Explains what became of a batch.
    pub explainer: Arc<Explainer>,
    /// The fleet while it happens.
    pub live: Arc<Live>,
    /// Where everything passes that arrives.
    pub tap: Arc<Tap>,
    /// The names that the listener answers to.
    pub hosts: Arc<AdminHosts>,
    /// The time.
    pub clock: Clock,
    /// What the console needs to know before it asks for anything.
    pub about: About,
    /// The settings.
    pub in_force: InForce,
}

/// Every route of the admin listener.
pub fn router<R: Renders>(admin: Admin<R>) -> Router {
    queries::start_counts();
    let asked = Router::new()
        .route("/api/v1/percentiles", get(queries::percentiles))
        .route("/api/v1/stores", get(queries::stores))
        .route("/api/v1/terminals", get(queries::terminals))
        .route("/api/v1/terminals/silent", get(queries::silent))
        .route("/api/v1/losses", get(queries::losses))
        .route("/api/v1/errors", get(queries::errors))
        .route("/api/v1/errors/{fingerprint}", get(queries::error))
        .route("/api/v1/rollouts/{release}", get(queries::rollout))
        .route("/api/v1/rollout_check", get(queries::rollout_check))
        .route("/api/v1/summaries", get(queries::summaries))
        .with_state(Arc::clone(&admin.query));
    Access::start_counts();
    let access = Access {
        gate: admin.gate,
        audit_log: admin.audit_log,
        clock: admin.clock,
    };
    let sessions = Router::new()
        .route("/api/v1/about", get(session::about))
        .route(
            "/api/v1/session",
            post(session::sign_in).delete(session::sign_out),
        )
        .with_state((access.clone(), Arc::new(admin.about)));
    let settings = Router::new()
        .route("/api/v1/settings", get(settings::settings))
        .with_state(admin.in_force);
    let named = Router::new()
        .route("/api/v1/sessions/{pseudonym}", get(queries::session))
        .route("/api/v1/metrics", get(queries::metrics))
        .with_state(admin.query);
    let read = Router::new()
        .route("/api/v1/clock", get(acts::clock))
        .route("/api/v1/openapi.json", get(openapi::serve))
        .with_state(Arc::clone(&admin.acts));
    let explained = Router::new()
        .route(
            "/api/v1/explain/{store_id}/{terminal_id}/{queue}/{seq}",
            get(explain::batch),
        )
        .route(
            "/api/v1/explain/{store_id}/{terminal_id}/{key}",
            get(explain::key),
        )
        .route("/api/v1/explain/{request_id}", get(explain::request))
        .with_state(admin.explainer);
    let told = Router::new()
        .route("/api/v1/stores/{store_id}/retire", post(acts::retire))
        .route(
            "/api/v1/stores/{store_id}/terminals/{terminal_id}/retire",
            post(acts::retire_terminal),
        )
        .route("/api/v1/seal", post(acts::seal))
        .route("/api/v1/clock/accept", post(acts::accept_clock))
        .with_state(admin.acts);
    let watched = Router::new()
        .route("/api/v1/tap", get(tap::tap))
        .with_state((admin.tap, Arc::clone(&admin.health)));
    let (streamed, now) = live_routes(admin.live);
    let asked = access.need(
        Scope::Read,
        asked.merge(watched).merge(streamed).merge(bare(
            named
                .merge(read)
                .merge(explained)
                .merge(now)
                .merge(settings),
        )),
    );
    let told = access.need(Scope::Operate, bare(told));
    let scraped = |which: Page| {
        let (renders, tasks) = (Arc::clone(&admin.renders), admin.tasks.clone());
        get(move |headers| pages::page(which, Arc::clone(&renders), tasks.clone(), headers))
    };
    let pages = Router::new()
        .route("/metrics", scraped(Page::Own))
        .route("/metrics/fleet", scraped(Page::Fleet));
    let pages = access.need(Scope::Metrics, pages);
    let all = asked.merge(told).merge(pages).merge(bare(sessions));
    let guarded = guard::guard(all.merge(console::router()), admin.hosts);
    // Whoever probes may do so by any name, because health tells nothing that is anybody's.
    health::router(admin.health).fallback_service(guarded)
}

/// The fleet while it happens: what takes parameters, and what takes none.
fn live_routes(live: Arc<Live>) -> (Router, Router) {
    let streamed = Router::new()
        .route("/api/v1/changes", get(live::changes))
        .route("/api/v1/live", get(live::live))
        .with_state(Arc::clone(&live));
    let now = Router::new()
        .route("/api/v1/fleet", get(live::fleet))
        .route("/api/v1/pipeline", get(live::pipeline))
        .route("/api/v1/stores/{store_id}/now", get(live::store))
        .with_state(live);
    (streamed, now)
}

/// Routes that take no parameters.
fn bare(router: Router) -> Router {
    router.route_layer(from_fn(queries::without_parameters))
}

/// A refusal as every route says it.
fn refused(status: StatusCode, code: &str, message: &str) -> Response {
    let body = json!({"error": {"code": code, "message": message}});
    (status, Json(body)).into_response()
}
