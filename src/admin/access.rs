//! Asks whoever comes to the admin listener for a key with the right scope.

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use serde_json::json;

use crate::admin::refused;
use crate::audit_log::{AuditLog, Entry, Outcome};
use crate::auth::{Denied, Gate, Scope, StaticKey};
use crate::clock::Clock;
use crate::self_metrics as names;
use crate::throttle::Throttle;

/// How a browser or a scraper may show its key.
const SCHEMES: HeaderValue = HeaderValue::from_static("Basic realm=\"tillwatch\", Bearer");

/// Who acts, for the audit log.
#[derive(Debug, Clone)]
pub(super) struct Actor(pub(super) String);

/// What a route asks for.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) gate: Arc<Gate>,
    pub(super) audit_log: AuditLog,
    pub(super) clock: Clock,
}

#[derive(Debug, Clone)]
struct Needed {
    access: Access,
    scope: Scope,
}

impl Access {
    /// Makes every count before the first refusal, so that it starts at 0.
    pub(super) fn start_counts() {
        let codes = ["no_credential", "invalid_token", "scope"];
        names::start(names::AUTH_REFUSED, "code", codes, &[]);
    }

    /// Lets in whoever may do this: by a key, or by a session of one.
    pub(super) fn admit(
        &self,
        headers: &HeaderMap,
        scope: Scope,
    ) -> Result<Option<Arc<StaticKey>>, Denied> {
        if let Some((key, _)) = self.session(headers) {
            return if key.may(scope) {
                Ok(Some(key))
            } else {
                Err(Denied::Scope(scope))
            };
        }
        let shown = headers.get_all(AUTHORIZATION).iter();
        self.gate
            .admit_admin(shown.map(HeaderValue::as_bytes), scope)
    }

    /// Unix s.
    pub(super) fn now_s(&self) -> i64 {
        self.clock.now_ms().div_euclid(1_000)
    }

    /// Lets only whoever has this scope come to the router's routes.
    pub(super) fn need(&self, scope: Scope, router: Router) -> Router {
        let needed = Needed {
            access: self.clone(),
            scope,
        };
        router.route_layer(from_fn_with_state(needed, check))
    }
}

async fn check(State(needed): State<Needed>, mut request: Request, next: Next) -> Response {
    let Needed { access, scope } = needed;
    match access.admit(request.headers(), scope) {
        Ok(key) => {
            let actor = key.map_or_else(|| "anybody".to_owned(), |key| format!("key {}", key.id));
            request.extensions_mut().insert(Actor(actor));
            next.run(request).await
        }
        Err(denied) => {
            // The route, and not the path: a stranger can write anything into that.
            let route = request.extensions().get::<MatchedPath>();
            refuse(&access, route.map_or("", MatchedPath::as_str), denied)
        }
    }
}

static DENIED: Throttle =
    Throttle::new("refused credentials of the admin listener in the audit log");

pub(super) fn refuse(access: &Access, route: &str, denied: Denied) -> Response {
    let (status, code) = match denied {
        Denied::NoCredential => (StatusCode::UNAUTHORIZED, "no_credential"),
        Denied::Scope(_) => (StatusCode::FORBIDDEN, "scope"),
        _ => (StatusCode::UNAUTHORIZED, "invalid_token"),
    };
    metrics::counter!(names::AUTH_REFUSED, "code" => code).increment(1);
    if let Some(suppressed) = DENIED.pass() {
        access.audit_log.note(&Entry {
            act: "admin",
            by: "unknown",
            about: json!({"code": code, "route": route, "suppressed": suppressed}),
            outcome: Outcome::Refused,
        });
    }
    let message = match denied {
        Denied::NoCredential => {
            "send a key: Authorization: Bearer KEY, or basic authentication with its id as user. `tillwatch key new` makes one"
                .to_owned()
        }
        denied => denied.to_string(),
    };
    let mut response = refused(status, code, &message);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, SCHEMES);
    }
    response
}
