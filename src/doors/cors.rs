//! Answers CORS by exact origins. CORS does not tell who posts; it only limits the scripts of other pages.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::Request;
use axum::http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, DATE, ORIGIN, RETRY_AFTER,
};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method};
use axum::response::Response;
use futures_util::future::{Either, Ready, ready};
use tillwatch_model::Outcomes;
use tower_http::cors::{AllowCredentials, AllowOrigin, AllowPrivateNetwork, Cors, CorsLayer};
use tower_layer::Layer;
use tower_service::Service;

use crate::auth::Denied;
use crate::doors::admission;
use crate::doors::answer;
use crate::doors::faro;
use crate::doors::hall::Hall;
use crate::doors::idempotency;
use crate::doors::refusal::Refusal;
use crate::request_id;

/// How long a browser may remember a preflight's answer: a day, of which browsers take what they think right.
const PREFLIGHT_AGE: Duration = Duration::from_secs(86_400);

/// What tracing libraries add to every request of a page. A request with a header that is not allowed never
/// leaves the browser, so the batch would be lost for a header that nobody reads here.
const TRACING: [HeaderName; 4] = [
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
    HeaderName::from_static("sentry-trace"),
];

/// What Grafana Faro's Web SDK adds, beside what other clients do; the second is of those who post through Grafana.
const FARO: [HeaderName; 2] = [faro::SESSION_ID, HeaderName::from_static("x-scope-orgid")];

/// The origins whose pages may post; they can be replaced while requests come in.
#[derive(Debug, Default)]
pub struct Origins(ArcSwap<Vec<HeaderValue>>);

impl Origins {
    /// Takes these origins in place of all others.
    pub fn set(&self, origins: &[String]) {
        let origins = origins
            .iter()
            .filter_map(|origin| HeaderValue::from_str(origin).ok());
        self.0.store(Arc::new(origins.collect()));
    }

    pub(super) fn contains(&self, origin: &HeaderValue) -> bool {
        self.0.load().contains(origin)
    }

    fn is_empty(&self) -> bool {
        self.0.load().is_empty()
    }
}

/// Lets pages of the hall's origins post. While there is no such origin, requests do not meet CORS at all.
pub fn allow(router: Router, hall: Arc<Hall>) -> Router {
    router.layer(SwitchLayer(hall))
}

fn cors(origins: Arc<Origins>) -> CorsLayer {
    let is_allowed = move |origin: &HeaderValue, _: &Parts| origins.contains(origin);
    let own = [
        AUTHORIZATION,
        CONTENT_TYPE,
        CONTENT_ENCODING,
        idempotency::KEY,
        admission::API_KEY,
        request_id::HEADER,
    ];
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(is_allowed.clone()))
        // `sendBeacon` always asks with credentials, and a proxy before the collector may log in by cookie.
        .allow_credentials(AllowCredentials::predicate(is_allowed.clone()))
        // A page from the internet may post to a collector in the shop's own network.
        .allow_private_network(AllowPrivateNetwork::predicate(is_allowed))
        .allow_methods([Method::POST])
        .allow_headers(
            own.into_iter()
                .chain(TRACING)
                .chain(FARO)
                .collect::<Vec<_>>(),
        )
        .expose_headers([
            RETRY_AFTER,
            DATE,
            idempotency::REPLAYED,
            request_id::HEADER,
            faro::SESSION_STATUS,
        ])
        .max_age(PREFLIGHT_AGE)
}

#[derive(Clone)]
struct SwitchLayer(Arc<Hall>);

impl<S: Clone> Layer<S> for SwitchLayer {
    type Service = Switch<S>;

    fn layer(&self, inner: S) -> Switch<S> {
        Switch {
            plain: inner.clone(),
            cors: cors(Arc::clone(&self.0.origins)).layer(inner),
            hall: Arc::clone(&self.0),
        }
    }
}

/// Answers with CORS or without, as the origins are at that moment.
#[derive(Clone)]
struct Switch<S> {
    plain: S,
    cors: Cors<S>,
    hall: Arc<Hall>,
}

type Plain<S> = <S as Service<Request>>::Future;
type WithCors<S> = <Cors<S> as Service<Request>>::Future;

impl<S> Service<Request> for Switch<S>
where
    S: Service<Request, Response = Response>,
    Cors<S>: Service<Request, Response = Response, Error = S::Error>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<Either<Plain<S>, WithCors<S>>, Ready<Result<Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match self.plain.poll_ready(context) {
            Poll::Ready(Ok(())) => self.cors.poll_ready(context),
            other => other,
        }
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if self.hall.origins.is_empty() {
            return Either::Left(Either::Left(self.plain.call(request)));
        }
        if request.method() == Method::OPTIONS
            && let Err(refusal) = preflight(&self.hall, &request)
        {
            return Either::Right(ready(Ok(refuse(&self.hall, &request, &refusal))));
        }
        Either::Left(Either::Right(self.cors.call(request)))
    }
}

/// Whether a browser may ask for leave to post: a preflight is answered before any door, so it is limited here.
fn preflight(hall: &Hall, request: &Request) -> Result<(), Refusal> {
    hall.pass_address(request.extensions(), request.headers())?;
    match request.headers().get(ORIGIN) {
        Some(origin) if !hall.origins.contains(origin) => Err(Refusal::Denied(Denied::Origin)),
        _ => Ok(()),
    }
}

fn refuse(hall: &Hall, request: &Request, refusal: &Refusal) -> Response {
    let trace = hall.trace("other", request);
    let response = answer::refused(refusal, &hall.chance);
    let code = refusal.verdict().code;
    trace.finish(response.status(), Some(code), Outcomes::default());
    response
}
