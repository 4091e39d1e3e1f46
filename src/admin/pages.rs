//! The pages that Prometheus scrapes: when they are rendered, where, and how they are packed.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, VARY,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use metrics::gauge;
use tillwatch_model::metric::to_float;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::time::Instant;

use crate::export::negotiate;
use crate::self_metrics as names;
use crate::tasks::Tasks;

/// Pages rendered at once; a large one takes as many megabytes as it has.
static RENDERS: Semaphore = Semaphore::const_new(4);
/// How long a page waits for its turn.
const RENDER_WAIT_MAX: Duration = Duration::from_secs(10);

/// Tells which page is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// The page on which the collector tells about itself.
    Own,
    /// The page of what the terminals of the fleet measured.
    Fleet,
}

impl Page {
    fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Fleet => "fleet",
        }
    }
}

/// A page as it is sent, but for its compression.
#[derive(Debug)]
pub struct Rendered {
    /// The page's content type.
    pub content_type: &'static str,
    /// The page's bytes, uncompressed.
    pub body: Vec<u8>,
}

/// Who can render the pages: whoever knows all stages.
pub trait Renders: Send + Sync + 'static {
    /// Waits, for a moment at most, until the page can show what was acknowledged before the request came.
    fn catch_up(&self, page: Page) -> impl Future<Output = ()> + Send;

    /// Renders the page for a client that accepts these content types. Takes as long as it takes.
    fn render(&self, page: Page, accept: Option<&str>) -> Option<Rendered>;
}

/// Renders on a thread of its own: those of the runtime that may block are few, and while the disk
/// hangs all of them may wait for it.
pub(super) async fn page<R: Renders>(
    page: Page,
    renders: Arc<R>,
    tasks: Tasks,
    headers: HeaderMap,
) -> Response {
    renders.catch_up(page).await;
    let Ok(Ok(permit)) = tokio::time::timeout(RENDER_WAIT_MAX, RENDERS.acquire()).await else {
        let text = "too many pages at once; scrape them less often\n";
        let headers = AppendHeaders([(RETRY_AFTER, RENDER_WAIT_MAX.as_secs())]);
        return (StatusCode::SERVICE_UNAVAILABLE, headers, text).into_response();
    };
    let started = Instant::now();
    let rendered = on_a_thread(&tasks, permit, move || {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let Rendered { content_type, body } = renders.render(page, text(ACCEPT))?;
        metrics::histogram!(names::PAGE_SECONDS, "page" => page.name()).record(started.elapsed());
        gauge!(names::PAGE_BYTES, "page" => page.name()).set(to_float(body.len() as u64));
        let is_gzip = negotiate::takes_gzip(text(ACCEPT_ENCODING));
        let body = if is_gzip {
            negotiate::gzip(&body)
        } else {
            body
        };
        Some((content_type, is_gzip, body))
    });
    match rendered.await {
        Some((content_type, is_gzip, body)) => {
            let encoding = is_gzip.then_some((CONTENT_ENCODING, "gzip"));
            let headers = [
                (CONTENT_TYPE, content_type),
                (VARY, "accept, accept-encoding"),
            ];
            (AppendHeaders(encoding), headers, body).into_response()
        }
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn on_a_thread<T: Send + 'static>(
    tasks: &Tasks,
    permit: SemaphorePermit<'static>,
    work: impl FnOnce() -> Option<T> + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    let render = move || {
        let outcome = work();
        drop(permit);
        // Whoever asked may have gone.
        let _gone = sender.send(outcome);
    };
    tasks.thread_for_client("page", render).ok()?;
    receiver.await.ok().flatten()
}
