//! Signs a person in at the console: a key is shown once, and a cookie stands for it from then on.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::header::{AUTHORIZATION, COOKIE, ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::access::{Access, refuse};
use crate::admin::refused;
use crate::auth::{Mode, SESSION_S, Scope, StaticKey};

/// The name of the cookie.
pub(super) const SESSION_COOKIE: &str = "tillwatch_session";

/// A key to sign in with.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "KeyShown")]
pub(super) struct Shown {
    /// The whole key.
    key: String,
}

/// What the console needs to know before it asks for anything.
#[derive(Debug)]
pub struct About {
    /// When this process started, Unix ms.
    pub started_ms: i64,
    /// Where Grafana is, if somebody has said so.
    pub grafana_url: Option<String>,
}

/// The answer to `GET /api/v1/about`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AboutAnswer<'a> {
    /// The version of the collector; `null`: a key is required and none was shown.
    version: Option<&'static str>,
    /// When this process started, Unix ms; `null` likewise.
    started_at: Option<i64>,
    /// Whether a key must be shown: `required` or `off`.
    auth: &'static str,
    /// Where Grafana is; `null`: nobody has said so, or as above.
    grafana_url: Option<&'a str>,
    /// Who is signed in by a cookie.
    signed_in: Option<SignedIn<'a>>,
}

/// Who is signed in.
#[derive(Debug, Serialize, JsonSchema)]
struct SignedIn<'a> {
    /// The id of the key.
    key: &'a str,
    /// What the key is for, as its maker calls it.
    name: &'a str,
    /// What the key is good for.
    scopes: Vec<&'static str>,
    /// Until when, Unix ms.
    until: i64,
}

/// Tells what a page needs to know, also whoever has shown nothing.
pub(super) async fn about(
    State((access, about)): State<(Access, Arc<About>)>,
    headers: HeaderMap,
) -> Response {
    let session = access.session(&headers);
    let is_let_in = access.gate.settings().admin == Mode::Off
        || session.is_some()
        || access.admit(&headers, Scope::Read).is_ok();
    let signed_in = session.as_ref().map(|(key, until_s)| SignedIn {
        key: &key.id,
        name: &key.name,
        scopes: key.scopes.iter().map(|scope| scope.name()).collect(),
        until: until_s * 1_000,
    });
    let answer = AboutAnswer {
        version: is_let_in.then_some(env!("CARGO_PKG_VERSION")),
        started_at: is_let_in.then_some(about.started_ms),
        auth: match access.gate.settings().admin {
            Mode::Off => "off",
            Mode::Required => "required",
        },
        grafana_url: about.grafana_url.as_deref().filter(|_| is_let_in),
        signed_in,
    };
    Json(answer).into_response()
}

/// Takes a key and gives a cookie. A page of another site cannot send JSON unasked, and whoever has signed in so cannot be
/// made to by one: the cookie is for pages of this site alone.
pub(super) async fn sign_in(
    State((access, _)): State<(Access, Arc<About>)>,
    headers: HeaderMap,
    shown: Result<Json<Shown>, JsonRejection>,
) -> Response {
    let Ok(Json(Shown { key })) = shown else {
        let message = "send {\"key\": \"tw_…\"} as application/json";
        return refused(StatusCode::BAD_REQUEST, "bad_parameter", message);
    };
    if access.gate.settings().admin == Mode::Off {
        return StatusCode::NO_CONTENT.into_response();
    }
    let header = format!("Bearer {}", key.trim());
    let admitted = access
        .gate
        .admit_admin([header.as_bytes()].into_iter(), Scope::Read);
    let key: Arc<StaticKey> = match admitted {
        Ok(Some(key)) => key,
        Ok(None) => return StatusCode::NO_CONTENT.into_response(),
        Err(denied) => return refuse(&access, "/api/v1/session", denied),
    };
    let until_s = access.now_s() + SESSION_S;
    let Some(session) = access.gate.session_of(&key, until_s) else {
        let message = "no secret for sessions could be read or made; the log says why";
        return refused(
            StatusCode::SERVICE_UNAVAILABLE,
            "state_unavailable",
            message,
        );
    };
    with_cookie(&session, SESSION_S, &headers)
}

/// Takes the cookie back.
pub(super) async fn sign_out(headers: HeaderMap) -> Response {
    with_cookie("", 0, &headers)
}

fn with_cookie(value: &str, seconds: i64, headers: &HeaderMap) -> Response {
    // A browser says by which scheme its page came.
    let origin = headers.get(ORIGIN).map(HeaderValue::as_bytes);
    let is_https = origin.is_some_and(|origin| origin.starts_with(b"https:"));
    let secure = if is_https { "; Secure" } else { "" };
    let cookie = format!(
        "{SESSION_COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
    );
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

impl Access {
    /// The key whose session a request's cookie is, and until when. A request that shows a key itself is judged by that.
    pub(super) fn session(&self, headers: &HeaderMap) -> Option<(Arc<StaticKey>, i64)> {
        if headers.contains_key(AUTHORIZATION) {
            return None;
        }
        let cookies = headers.get_all(COOKIE).iter();
        let mut cookies = cookies.filter_map(|value| value.to_str().ok());
        cookies.find_map(|cookies| {
            let mut pairs = cookies
                .split(';')
                .filter_map(|pair| pair.trim().split_once('='));
            let (_, session) = pairs.find(|(name, _)| *name == SESSION_COOKIE)?;
            self.gate.key_of_session(session, self.now_s())
        })
    }
}
