//! Lets a request in by its head: the address, the credential, what the address of the request says, the sender's limits.

use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, ORIGIN};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use crate::audit_log::{Entry, Outcome};
use crate::auth::{Denied, Mode, Shown, Who};
use crate::doors::hall::Hall;
use crate::doors::refusal::Refusal;
use crate::intake::limits::Class;
use crate::peer::Peer;
use crate::throttle::Throttle;

/// The header that bears the key of a browser application.
pub(super) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// How long the body may be that bears its own credential: what a beacon can carry. Unit: bytes.
pub(super) const BEACON_BYTES_MAX: usize = 64 * 1024;

/// What a request's address says beside its path.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    store: Option<String>,
    class: Option<Class>,
}

impl Said {
    /// Reads `store` and `class`; what else stands there means nothing.
    fn of(query: Option<&str>) -> Self {
        let mut said = Self::default();
        let pairs = query.into_iter().flat_map(|query| query.split('&'));
        for (name, value) in pairs.filter_map(|pair| pair.split_once('=')) {
            match name {
                // The names of stores need no escape but for the colon.
                "store" => said.store = Some(value.replace("%3A", ":").replace("%3a", ":")),
                "class" if value == "backlog" => said.class = Some(Class::Backlog),
                _ => {}
            }
        }
        said
    }
}

/// Whoever was let in.
#[derive(Debug)]
pub(super) struct Admission {
    /// `None`: the body bears the credential.
    pub(super) who: Option<Who>,
    pub(super) class: Class,
    /// The store that the address names.
    store: Option<String>,
}

impl Hall {
    /// Takes a place of the request's address.
    ///
    /// # Errors
    /// When the address has none.
    pub(super) fn pass_address(
        &self,
        extensions: &Extensions,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        let Some(peer) = extensions.get::<Peer>() else {
            return Ok(());
        };
        match self.networks.load().counted(*peer, headers) {
            None => Ok(()),
            Some(address) => Ok(self.intake.limits().pass_address(address)?),
        }
    }

    /// Lets a request in by its head.
    ///
    /// # Errors
    /// Says why it is refused.
    pub(super) fn admit(
        &self,
        parts: &Parts,
        received_at_ms: i64,
        announced: Option<usize>,
    ) -> Result<Admission, Refusal> {
        let headers = &parts.headers;
        if self.gate.settings().posting == Mode::Off && parts.uri.query().is_none() {
            return Ok(Admission {
                who: Some(Who::Anybody),
                class: Class::Live,
                store: None,
            });
        }
        let shown = Shown {
            authorization: headers
                .get_all(AUTHORIZATION)
                .iter()
                .map(HeaderValue::as_bytes),
            api_key: headers.get_all(API_KEY).iter().map(HeaderValue::as_bytes),
        };
        let said = match parts.uri.query() {
            None => Said::default(),
            query => Said::of(query),
        };
        let admission = |who| Admission {
            who,
            class: said.class.unwrap_or(Class::Live),
            store: said.store,
        };
        match self.gate.admit(shown, Some(received_at_ms)) {
            Ok(who) => {
                let admission = admission(Some(who));
                self.check(&admission, headers)?;
                Ok(admission)
            }
            Err(Denied::NoCredential) if may_bear_its_own(headers, announced) => {
                Ok(admission(None))
            }
            Err(denied) => Err(self.deny(denied)),
        }
    }

    /// Lets a request in by the credential in its body.
    ///
    /// # Errors
    /// Says why it is refused.
    pub(super) fn admit_body(
        &self,
        mut admission: Admission,
        headers: &HeaderMap,
        body: &[u8],
        now_ms: i64,
    ) -> Result<Who, Refusal> {
        let token = token_in(body).ok_or(Denied::NoCredential);
        let who = token.and_then(|token| self.gate.admit_text(token, Some(now_ms)));
        admission.who = Some(who.map_err(|denied| self.deny(denied))?);
        self.check(&admission, headers)?;
        admission.who.ok_or_else(|| self.deny(Denied::NoCredential))
    }

    /// Checks what was said against the credential, and takes a place of its bearer. A server is charged when its body
    /// is read: only then it is known for whom it posts.
    fn check(&self, admission: &Admission, headers: &HeaderMap) -> Result<(), Refusal> {
        let store = admission.store.as_deref();
        match &admission.who {
            None | Some(Who::Anybody) => Ok(()),
            Some(Who::Bearer(bearer)) => {
                if store.is_some_and(|store| *store != *bearer.store_id) {
                    return Err(Refusal::StoreMismatch);
                }
                let terminal_id = bearer.terminal_id.as_deref();
                Ok(self
                    .intake
                    .pass(&bearer.store_id, terminal_id, admission.class)?)
            }
            Some(Who::Server(key)) => {
                if store.is_some_and(|store| !key.may_post_for(store)) {
                    return Err(Refusal::StoreMismatch);
                }
                Ok(())
            }
            Some(Who::App(key)) => {
                let origin = headers.get(ORIGIN);
                if !origin.is_some_and(|origin| self.origins.contains(origin)) {
                    return Err(self.deny(Denied::Origin));
                }
                Ok(self.intake.limits().pass_app(&key.name)?)
            }
        }
    }

    /// Writes a refused credential down, if there are not too many.
    #[cold]
    pub(super) fn deny(&self, denied: Denied) -> Refusal {
        let refusal = Refusal::Denied(denied);
        if let Some(suppressed) = DENIED.pass() {
            self.audit_log.note(&Entry {
                act: "post",
                by: "unknown",
                about: json!({"code": refusal.verdict().code, "suppressed": suppressed}),
                outcome: Outcome::Refused,
            });
        }
        refusal
    }
}

static DENIED: Throttle = Throttle::new("refused credentials in the audit log");

/// Whether a request without a credential in its head may have one in its body: only that of a beacon, which can set no
/// header, and only one that is short.
fn may_bear_its_own(headers: &HeaderMap, announced: Option<usize>) -> bool {
    let is_short = announced.is_some_and(|bytes| (1..=BEACON_BYTES_MAX).contains(&bytes));
    is_short && !headers.contains_key(CONTENT_ENCODING)
}

/// The value of `token`, if that is the first key of a JSON object, without escapes.
fn token_in(body: &[u8]) -> Option<&str> {
    let rest = body.trim_ascii_start().strip_prefix(b"{")?;
    let rest = rest.trim_ascii_start().strip_prefix(b"\"token\"")?;
    let rest = rest.trim_ascii_start().strip_prefix(b":")?;
    let rest = rest.trim_ascii_start().strip_prefix(b"\"")?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    let token = std::str::from_utf8(rest.get(..end)?).ok()?;
    (!token.contains('\\')).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beacon_s_token_is_its_first_key_or_none() {
        for (body, expected) in [
            (r#"{"token":"a.b.c","v":1}"#, Some("a.b.c")),
            (" { \"token\" : \"a\"}", Some("a")),
            (r#"{"v":1,"token":"a"}"#, None),
            (r#"{"token":"a\"b"}"#, None),
            (r#"{"token":"a"#, None),
            (r#"{"token":1}"#, None),
            (r#"["token"]"#, None),
            ("", None),
        ] {
            assert_eq!(token_in(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn an_address_names_a_store_and_a_class() {
        let backlog = Said::of(Some("store=a%3Ab&class=backlog&x=y&z"));
        assert_eq!(backlog.store.as_deref(), Some("a:b"));
        assert_eq!(backlog.class, Some(Class::Backlog));
        let live = Said::of(Some("class=live"));
        assert_eq!(live, Said::default());
    }
}
