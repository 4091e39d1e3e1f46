//! Why somebody is not let in.

use tillwatch_token::Invalid;

/// Why a request's credential is not good enough. Nothing of the credential is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The request shows no credential.
    #[error("send the terminal's token: Authorization: Bearer TOKEN")]
    NoCredential,
    /// The header is not one that could hold a token.
    #[error("send one Authorization header, with \"Bearer\" and a token")]
    Header,
    /// The token is none, or not signed by a key that counts here.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The token is not valid yet.
    #[error("the token is not valid yet; is the clock of whoever issued it right?")]
    NotYet,
    /// The token is not valid any more.
    #[error("the token has expired; get another one and send the batch again")]
    Expired,
}
