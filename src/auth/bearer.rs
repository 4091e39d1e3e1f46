//! Who may post, as a token says.

use tillwatch_token::Verified;

/// The bearer of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// The store of which the bearer may post.
    pub store_id: Box<str>,
    /// The terminal of which the bearer may post; `None`: all terminals of the store.
    pub terminal_id: Option<Box<str>>,
    /// The family of the token.
    pub(super) family: Box<str>,
    /// The name of the token.
    pub(super) name: Box<str>,
    /// When the token was issued, Unix ms; one that was renewed counts with the first of its family.
    pub(super) issued_ms: i64,
    /// Before this time the token is not valid yet, Unix ms.
    pub(super) from_ms: i64,
    /// From this time on the token is not valid any more, Unix ms.
    pub(super) until_ms: i64,
}

/// A token's times are whole seconds, and the clocks of whoever issued it may differ from this one. Unit: ms.
const LEEWAY_MS: i64 = 60_000;

impl Bearer {
    /// The family of the token, for the audit log.
    #[must_use]
    pub fn family(&self) -> &str {
        &self.family
    }

    /// Takes what a verified token says.
    #[must_use]
    pub fn new(verified: &Verified) -> Self {
        let claims = &verified.claims;
        let ms = |seconds: i64| seconds.saturating_mul(1_000);
        Self {
            store_id: claims.store.as_str().into(),
            terminal_id: claims.terminal.as_deref().map(Into::into),
            family: claims.family().into(),
            name: claims.jti.as_str().into(),
            // Another issuer's `auth_time` says when a person logged in.
            issued_ms: ms(if verified.is_own {
                claims.authenticated_at()
            } else {
                claims.iat
            }),
            from_ms: ms(claims.nbf.unwrap_or(i64::MIN).max(claims.iat)).saturating_sub(LEEWAY_MS),
            until_ms: ms(claims.exp),
        }
    }
}
