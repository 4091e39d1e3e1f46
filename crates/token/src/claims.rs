//! What a terminal token says.

use serde::{Deserialize, Serialize};
use tillwatch_model::dimension::is_identifier;

/// The audience of every token: one that was made for another service is refused.
pub const AUDIENCE: &str = "tillwatch";

/// What a token says. Times are Unix seconds, as RFC 7519 has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Whom the token is for: [`AUDIENCE`].
    pub aud: String,
    /// The store of which the bearer may post.
    pub store: String,
    /// The terminal of which the bearer may post; absent: all terminals of the store.
    ///
    /// It may be absent, but not null: an issuer that does not know the terminal must not give rights to all.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub terminal: Option<String>,
    /// The group of terminals that the shop counts the terminal to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cohort: Option<String>,
    /// Tells the token from all others.
    pub jti: String,
    /// The family of the token: a renewed token stays in that of the one before it. Absent: the token's own `jti`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fam: Option<String>,
    /// When the token was issued.
    pub iat: i64,
    /// When the first token of the family was issued. Absent: `iat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// Before this time the token is not valid yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// From this time on the token is not valid any more.
    pub exp: i64,
}

fn present<'de, D: serde::Deserializer<'de>>(source: D) -> Result<Option<String>, D::Error> {
    String::deserialize(source).map(Some)
}

/// The longest that a token may be valid, from its issue on. Whatever ends tokens before they expire need not be
/// remembered for longer. Unit: s.
pub const VALID_S_MAX: i64 = 400 * 86_400;

/// The longest name of a token or a family. Unit: bytes.
const NAME_BYTES_MAX: usize = 64;

impl Claims {
    /// The family of the token.
    #[must_use]
    pub fn family(&self) -> &str {
        self.fam.as_deref().unwrap_or(&self.jti)
    }

    /// When the first token of the family was issued, Unix s.
    #[must_use]
    pub fn authenticated_at(&self) -> i64 {
        self.auth_time.unwrap_or(self.iat)
    }

    /// Whether every claim can be right by itself; the signature says nothing about that.
    pub(crate) fn are_well_formed(&self) -> bool {
        let is_name = |name: &str| {
            let is_plain = |byte: &u8| byte.is_ascii_graphic();
            (1..=NAME_BYTES_MAX).contains(&name.len()) && name.as_bytes().iter().all(is_plain)
        };
        let terminal = self.terminal.as_deref();
        let cohort = self.cohort.as_deref();
        self.aud == AUDIENCE
            && is_identifier(&self.store)
            && terminal.is_none_or(is_identifier)
            && cohort.is_none_or(is_identifier)
            && is_name(&self.jti)
            && is_name(self.family())
            && self.iat > 0
            && self.authenticated_at() <= self.iat
            && self.exp > self.iat
            && self.exp - self.iat <= VALID_S_MAX
    }
}
