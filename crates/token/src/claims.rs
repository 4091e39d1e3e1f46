//! What a terminal token says.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use tillwatch_model::dimension::is_identifier;

/// The audience of every token: one that was made for another service is refused.
pub const AUDIENCE: &str = "tillwatch";

/// What a token says. Times are Unix seconds, as RFC 7519 has them; issuers may write parts of a second, which are let
/// go of. Claims that are not named here are let go of, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Whom the token is for: [`AUDIENCE`]. An issuer may write a list that names it among others.
    #[serde(deserialize_with = "audience")]
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
    #[serde(deserialize_with = "time")]
    pub iat: i64,
    /// When the first token of the family was issued. Absent: `iat`.
    #[serde(
        default,
        deserialize_with = "optional_time",
        skip_serializing_if = "Option::is_none"
    )]
    pub auth_time: Option<i64>,
    /// Before this time the token is not valid yet.
    #[serde(
        default,
        deserialize_with = "optional_time",
        skip_serializing_if = "Option::is_none"
    )]
    pub nbf: Option<i64>,
    /// From this time on the token is not valid any more.
    #[serde(deserialize_with = "time")]
    pub exp: i64,
}

fn present<'de, D: Deserializer<'de>>(source: D) -> Result<Option<String>, D::Error> {
    String::deserialize(source).map(Some)
}

fn audience<'de, D: Deserializer<'de>>(source: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Audience::deserialize(source)? {
        Audience::One(name) => name,
        Audience::Many(names) => {
            // Of a list that does not name this service any name will do: it is refused.
            let own = names.iter().position(|name| name == AUDIENCE);
            names.into_iter().nth(own.unwrap_or(0)).unwrap_or_default()
        }
    })
}

fn time<'de, D: Deserializer<'de>>(source: D) -> Result<i64, D::Error> {
    NumericDate::deserialize(source).map(|date| date.0)
}

fn optional_time<'de, D: Deserializer<'de>>(source: D) -> Result<Option<i64>, D::Error> {
    let date = Option::<NumericDate>::deserialize(source)?;
    Ok(date.map(|date| date.0))
}

/// A time of RFC 7519: seconds, and perhaps parts of one.
struct NumericDate(i64);

/// Beyond this a float has no whole seconds any more. Unit: s.
const DATE_MAX_S: f64 = 9_007_199_254_740_992.0;

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_i64(DateVisitor)
    }
}

struct DateVisitor;

impl Visitor<'_> for DateVisitor {
    type Value = NumericDate;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a time in Unix seconds")
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<NumericDate, E> {
        Ok(NumericDate(seconds))
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<NumericDate, E> {
        i64::try_from(seconds).map(NumericDate).map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<NumericDate, E> {
        if !(-DATE_MAX_S..=DATE_MAX_S).contains(&seconds) {
            return Err(E::custom("a time far from now"));
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is whole and within the range of i64"
        )]
        let whole = seconds.floor() as i64;
        Ok(NumericDate(whole))
    }
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
