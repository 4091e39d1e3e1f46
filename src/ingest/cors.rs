//! CORS by exact origins. Not a way of knowing who posts: only what other pages' scripts may do.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long a browser may remember a preflight's answer.
const PREFLIGHT_AGE: Duration = Duration::from_secs(7_200);

/// The origins whose pages may post; they can be replaced while requests come in.
#[derive(Debug, Default)]
pub struct Origins(ArcSwap<Vec<HeaderValue>>);

impl Origins {
    /// Takes these in place of all others.
    pub fn set(&self, origins: &[String]) {
        let origins = origins
            .iter()
            .filter_map(|origin| HeaderValue::from_str(origin).ok());
        self.0.store(Arc::new(origins.collect()));
    }

    fn contains(&self, origin: &HeaderValue) -> bool {
        self.0.load().contains(origin)
    }
}

/// Lets pages of these origins post.
pub fn allow(router: Router, origins: Arc<Origins>) -> Router {
    let is_allowed =
        move |origin: &HeaderValue, _: &axum::http::request::Parts| origins.contains(origin);
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(is_allowed))
        .allow_methods([Method::POST])
        .allow_headers([AUTHORIZATION, CONTENT_TYPE, CONTENT_ENCODING])
        .expose_headers([RETRY_AFTER])
        .max_age(PREFLIGHT_AGE);
    router.layer(layer)
}
