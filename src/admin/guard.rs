//! Asks before every handler of the admin listener whether the request was meant for it; see `hosts.rs`.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;

use crate::admin::refused;
use crate::hosts::{self, Schemes, Stranger};
use crate::self_metrics as names;
use crate::throttle::Throttle;

/// The names that the admin listener answers to, beside addresses and `localhost`. A reload may
/// replace them.
#[derive(Debug)]
pub struct AdminHosts {
    names: ArcSwap<Vec<String>>,
    schemes: Schemes,
}

impl AdminHosts {
    /// No names yet, for a listener that is asked by these schemes.
    #[must_use]
    pub fn new(schemes: Schemes) -> Self {
        Self {
            names: ArcSwap::default(),
            schemes,
        }
    }

    /// Takes these names in place of all others.
    pub fn set(&self, names: &[String]) {
        let names = names.iter();
        let lower = names.map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        self.names.store(Arc::new(lower.collect()));
    }
}

static STRANGERS: Throttle = Throttle::new("requests that were not meant for the admin listener");

/// Lets only requests that were meant for this listener come to the router.
pub(super) fn guard(router: Router, hosts: Arc<AdminHosts>) -> Router {
    let reasons = Stranger::ALL.map(Stranger::name);
    names::start(names::ADMIN_REFUSED, "reason", reasons, &[]);
    router.layer(from_fn_with_state(hosts, check))
}

async fn check(State(known): State<Arc<AdminHosts>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let names = known.names.load();
    match hosts::check(
        request.version(),
        request.uri(),
        headers,
        &names,
        known.schemes,
    ) {
        Ok(()) => next.run(request).await,
        Err(stranger) => refuse(&request, stranger),
    }
}

fn refuse(request: &Request, stranger: Stranger) -> Response {
    let code = stranger.name();
    let (status, message) = match stranger {
        Stranger::InvalidHost => (
            StatusCode::BAD_REQUEST,
            "send one Host header, with a name or an address",
        ),
        Stranger::UnknownHost => (
            StatusCode::MISDIRECTED_REQUEST,
            "ask by an address or by localhost, or add the name in Host to the setting admin_hosts",
        ),
        Stranger::ForeignOrigin => (
            StatusCode::FORBIDDEN,
            "pages of other origins may not ask; a client that is no page sends no Origin header, and a \
             proxy in front passes on the Host that it was asked for",
        ),
    };
    metrics::counter!(names::ADMIN_REFUSED, "reason" => code).increment(1);
    if let Some(suppressed) = STRANGERS.pass() {
        let host = hosts::shown(request.uri(), request.headers());
        tracing::warn!(
            code,
            host,
            suppressed,
            "refused a request to the admin listener"
        );
    }
    refused(status, code, message)
}
