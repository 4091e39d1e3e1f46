//! What a request asks for: its URL parameters, headers and form fields, sorted by meaning.

use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::encode::Coding;
use crate::confine;
use crate::engine::Engine;
use crate::error::{Exception, code};

/// Clients write credentials with padding at their end and without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The only user there is.
pub(super) const USER: &str = "default";

/// How long a session stays without a request, unless it says so itself; as in ClickHouse.
const SESSION_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// The longest time that a session may ask for; as in ClickHouse.
const SESSION_TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// The session that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SessionRequest {
    pub(super) id: String,
    pub(super) timeout: Duration,
    /// `session_check=1`: the session must be there already.
    pub(super) must_exist: bool,
}

/// A request, read.
#[derive(Debug, Clone, Default)]
pub(super) struct Call {
    /// The statement, or its beginning, from the URL.
    pub(super) query: String,
    pub(super) database: Option<String>,
    pub(super) default_format: Option<String>,
    pub(super) settings: Vec<(String, String)>,
    /// `param_*`, without the prefix.
    pub(super) parameters: Vec<(String, String)>,
    pub(super) query_id: Option<String>,
    pub(super) session: Option<SessionRequest>,
    /// `compress=1`.
    pub(super) wants_blocks: bool,
    /// `decompress=1`.
    pub(super) has_blocks: bool,
    pub(super) wait_end_of_query: bool,
    pub(super) is_get: bool,
    /// `Priority: u=7` (RFC 9218): the statement makes way for everything else on these processors.
    pub(super) is_background: bool,
    user: Option<String>,
    password: Option<String>,
    wants_http_compression: Option<bool>,
    session_timeout: Option<String>,
    session_must_exist: bool,
    session_id: Option<String>,
}

impl Call {
    /// Reads the URL and the headers.
    pub(super) fn from_parts(parts: &Parts, engine: &Engine) -> Result<Self, Exception> {
        let mut call = Self {
            is_get: parts.method == Method::GET,
            ..Self::default()
        };
        let header = |name| header_text(&parts.headers, name);
        call.database = header("x-clickhouse-database");
        call.default_format = header("x-clickhouse-format");
        call.is_background = header("priority").is_some_and(|text| is_background(&text));
        let query = parts.uri.query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        call.add(pairs, engine)?;
        // Headers win over the URL, as in ClickHouse.
        if let Some((user, password)) = basic_credentials(&parts.headers) {
            (call.user, call.password) = (Some(user), Some(password));
        }
        if let Some(user) = header("x-clickhouse-user") {
            (call.user, call.password) = (Some(user), header("x-clickhouse-key"));
        } else if let Some(key) = header("x-clickhouse-key") {
            call.password = Some(key);
        }
        Ok(call)
    }

    /// Adds parameters from the URL or a form.
    pub(super) fn add(
        &mut self,
        pairs: Vec<(String, String)>,
        engine: &Engine,
    ) -> Result<(), Exception> {
        for (name, value) in pairs {
            self.add_one(name, value, engine)?;
        }
        self.session = self.session_request()?;
        Ok(())
    }

    fn add_one(&mut self, name: String, value: String, engine: &Engine) -> Result<(), Exception> {
        match name.as_str() {
            "query" => self.query = value,
            "database" => self.database = Some(value).filter(|name| !name.is_empty()),
            "default_format" => self.default_format = Some(value),
            "user" => self.user = Some(value),
            "password" => self.password = Some(value),
            "query_id" => self.query_id = Some(value).filter(|id| !id.is_empty()),
            "compress" => self.wants_blocks = is_set(&value),
            "decompress" => self.has_blocks = is_set(&value),
            "wait_end_of_query" => self.wait_end_of_query = is_set(&value),
            "enable_http_compression" => self.wants_http_compression = Some(is_set(&value)),
            "session_id" => self.session_id = Some(value),
            "session_timeout" => self.session_timeout = Some(value),
            "session_check" => self.session_must_exist = is_set(&value),
            // How the server buffers and what it prints: no meaning here, or always so.
            "buffer_size"
            | "http_response_buffer_size"
            | "quota_key"
            | "stacktrace"
            | "close_session"
            | "client_protocol_version"
            | "framing" => {}
            "role" => {
                return Err(Exception::new(
                    511,
                    "UNKNOWN_ROLE",
                    format!("There is no role `{value}`"),
                ));
            }
            _ => {
                if let Some(parameter) = name.strip_prefix("param_") {
                    self.parameters.push((parameter.to_owned(), value));
                } else if confine::FIXED_SETTINGS.contains(&name.as_str()) {
                    // A connection is made with its settings, and the engine checks only those that
                    // a statement sets.
                    return Err(Exception::new(
                        code::SETTING_CONSTRAINT_VIOLATION,
                        "SETTING_CONSTRAINT_VIOLATION",
                        format!("Setting {name} should not be changed"),
                    ));
                } else if engine.knows_setting(&name) {
                    self.settings.push((name, value));
                } else {
                    return Err(Exception::new(
                        code::UNKNOWN_SETTING,
                        "UNKNOWN_SETTING",
                        format!("Setting {name} is neither a builtin setting nor a parameter"),
                    ));
                }
            }
        }
        Ok(())
    }

    fn session_request(&self) -> Result<Option<SessionRequest>, Exception> {
        let Some(id) = self.session_id.clone().filter(|id| !id.is_empty()) else {
            return Ok(None);
        };
        let timeout = match &self.session_timeout {
            None => SESSION_TIMEOUT_DEFAULT,
            Some(text) => text
                .parse()
                .map(Duration::from_secs)
                .ok()
                .filter(|timeout| *timeout <= SESSION_TIMEOUT_MAX)
                .ok_or_else(|| {
                    Exception::new(
                        code::INVALID_SESSION_TIMEOUT,
                        "INVALID_SESSION_TIMEOUT",
                        format!("Invalid session timeout: '{text}'"),
                    )
                })?,
        };
        Ok(Some(SessionRequest {
            id,
            timeout,
            must_exist: self.session_must_exist,
        }))
    }

    /// Checks user and password.
    pub(super) fn authenticate(&self, password: Option<&str>) -> Result<(), Exception> {
        let user = self
            .user
            .as_deref()
            .filter(|user| !user.is_empty())
            .unwrap_or(USER);
        let given = self.password.as_deref().unwrap_or_default();
        if user == USER && password.is_none_or(|expected| is_same_secret(expected, given)) {
            return Ok(());
        }
        Err(Exception::new(
            code::AUTHENTICATION_FAILED,
            "AUTHENTICATION_FAILED",
            format!(
                "{user}: Authentication failed: password is incorrect, or there is no user with \
                 such name"
            ),
        ))
    }

    /// How the answer is to be packed.
    pub(super) fn coding(&self, headers: &HeaderMap) -> Coding {
        if self.wants_blocks {
            return Coding::ClickHouseBlocks;
        }
        if self.wants_http_compression == Some(false) {
            return Coding::Identity;
        }
        header_text(headers, "accept-encoding").map_or(Coding::Identity, |value| {
            Coding::from_accept_encoding(&value)
        })
    }
}

/// Whether a `Priority` header asks for the least urgency there is, 7.
fn is_background(text: &str) -> bool {
    text.split(',').any(|member| member.trim() == "u=7")
}

/// A header's value, if it is text.
pub(super) fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

fn is_set(value: &str) -> bool {
    value == "1" || value.eq_ignore_ascii_case("true")
}

/// Compares digests, so that the time taken tells nothing about the secret or its length.
fn is_same_secret(expected: &str, given: &str) -> bool {
    let expected = Sha256::digest(expected.as_bytes());
    let given = Sha256::digest(given.as_bytes());
    expected.as_slice().ct_eq(given.as_slice()).into()
}

fn basic_credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = header_text(headers, "authorization")?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(BASE64.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_with_and_without_padding() {
        let given = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", text.parse().unwrap());
            basic_credentials(&headers)
        };
        let expected = Some(("default".to_owned(), "päss!".to_owned()));
        assert_eq!(given("Basic ZGVmYXVsdDpww6RzcyE="), expected);
        assert_eq!(given("basic ZGVmYXVsdDpww6RzcyE"), expected);
        for other in [
            "Basic ",
            "Basic a*",
            "Basic ZGVmYXVsdA==",
            "Bearer ZGVmYXVsdDpww6RzcyE=",
        ] {
            assert_eq!(given(other), None, "{other}");
        }
    }

    #[test]
    fn secrets_are_compared_whole() {
        assert!(is_same_secret("abc", "abc"));
        assert!(!is_same_secret("abc", "abcd"));
        assert!(!is_same_secret("abc", ""));
    }
}
