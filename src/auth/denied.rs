//! Why somebody is not let in.

use tillwatch_token::{Invalid, NotRenewed};

use crate::auth::static_key::Scope;

/// Why a request's credential is not good enough. Nothing of the credential is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The request shows no credential.
    #[error("send a credential: Authorization: Bearer TOKEN")]
    NoCredential,
    /// The header is not one that could hold a token.
    #[error("send one Authorization header, with \"Bearer\" and a token or a key")]
    Header,
    /// The token is none, or not signed by a key that counts here.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The token is not valid yet.
    #[error("the token is not valid yet; is the clock of whoever issued it right?")]
    NotYet,
    /// The token is not valid any more.
    #[error("the token has expired; renew it (POST /v1/token) and send the batch again")]
    Expired,
    /// The token was ended before its time.
    #[error("the token was revoked; issue another one")]
    Revoked,
    /// The token's chain of renewals is over.
    #[error(transparent)]
    NotRenewed(#[from] NotRenewed),
    /// The token was signed by the shop's own backend.
    #[error("the token was signed elsewhere: whoever signed it renews it")]
    NotOurs,
    /// There is no key that could sign another token.
    #[error("the collector has no key that signs tokens now")]
    NoSigner,
    /// The text is written as a static key, and none that counts here.
    #[error("this is no key that counts here")]
    UnknownStaticKey,
    /// The key is good for other things.
    #[error("the key has not the scope {}", .0.name())]
    Scope(Scope),
    /// Browser applications may not post here.
    #[error("browser applications may not post here: the setting browser_app_keys is off")]
    NoApps,
    /// The application's page is not of a listed origin.
    #[error("a browser application may post only from an origin of cors_origins")]
    Origin,
}
