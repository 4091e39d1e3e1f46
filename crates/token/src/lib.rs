//! Terminal tokens: what one says, and the keys that sign and verify them. No I/O, no clock, no chance.
//!
//! A token is a JSON Web Token (RFC 7519) that a terminal sends with each request. It says of which store, and of
//! which terminal, its bearer may post. The collector signs tokens with keys of its own, and verifies those of other
//! issuers, such as the shop's backend, by their public keys.
//!
//! **Promises**
//! 1. Each key has one algorithm, an asymmetric one, which its kind decides and its token cannot choose.
//! 2. A token is refused unless its signature, its audience and every claim are as they must be. What it costs to
//!    find out is bounded by its length.
//! 3. No bytes of a token or of a key set bring the program down, and a key of another issuer never takes the place of
//!    an own one.
//! 4. A private key is never printed: not in an error, and not for debugging.
//!
//! | file | what |
//! |---|---|
//! | `claims.rs` | what a token says |
//! | `renewal.rs` | the next token of a family |
//! | `jwks.rs` | public keys of an issuer, from its key set |
//! | `signing.rs` | a key that signs, and its form in a file |
//! | `retired.rs` | the public part of a key that signs no more |
//! | `verifying.rs` | keys that verify |

mod claims;
mod renewal;
mod retired;
pub mod jwks;
mod signing;
mod verifying;

pub use claims::{AUDIENCE, Claims, VALID_S_MAX};
pub use jwks::{JWKS_BYTES_MAX, JwksError, KeyFault, PublicKeys, Unusable};
pub use renewal::{NotRenewed, RENEWAL_GRACE_S, renew};
pub use retired::RetiredKey;
pub use signing::{KeyError, SEED_BYTES, SigningKey};
pub use verifying::{Invalid, KeySet, TOKEN_BYTES_MAX, Unfit, Verified, VerifyingKey};
