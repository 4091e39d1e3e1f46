//! Serves the console. Its files tell nothing that is anybody's; what they show they ask for, as anybody does.

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::console::{CONSOLE, DOCUMENT, File, RUNBOOKS};
use crate::export::negotiate::takes;

/// What the document may load: scripts and styles from here alone, and nothing that was put into it as text. The one policy
/// for trusted types lets it start its own worker, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types tillwatch";
const FOREVER: &str = "public, max-age=31536000, immutable";
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Every view and every file.
pub(super) fn router() -> Router {
    let (views, files) = &*CONSOLE;
    let mut router = Router::new();
    for file in files {
        let serve = move |headers: HeaderMap| async move { answer(file, &headers) };
        if file.name == DOCUMENT {
            for view in views {
                router = router.route(&format!("/{view}"), get(serve));
            }
        } else {
            router = router.route(&format!("/{}", file.name), get(serve));
        }
    }
    router.route("/runbooks/{name}", get(runbook))
}

async fn runbook(path: Result<Path<String>, PathRejection>) -> axum::response::Response {
    let name = path.map_or_else(|_rejected| String::new(), |Path(name)| name);
    match RUNBOOKS.get_file(&name) {
        Some(file) => {
            let types = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
            (types, file.contents()).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn answer(file: &'static File, headers: &HeaderMap) -> Response<Body> {
    let accepted = headers.get(ACCEPT_ENCODING);
    let accepted = accepted.and_then(|value| value.to_str().ok());
    let (coding, at) = if takes(accepted, "br") {
        (Some("br"), 2)
    } else if takes(accepted, "gzip") {
        (Some("gzip"), 1)
    } else {
        (None, 0)
    };
    let [plain, gzipped, brotli] = &file.bytes;
    let bytes = match at {
        2 => brotli,
        1 => gzipped,
        _ => plain,
    };
    let mut response = Response::new(Body::from(*bytes));
    let headers = response.headers_mut();
    if let Ok(content_type) = HeaderValue::from_str(&file.content_type) {
        headers.insert(CONTENT_TYPE, content_type);
    }
    if let Some(coding) = coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    if file.is_immutable {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(FOREVER));
    }
    response
}
