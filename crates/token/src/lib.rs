//! Terminal tokens: what one says, and the keys that sign and verify them. No I/O, no clock, no chance.
//!
//! A token is a JSON Web Token (RFC 7519) that a terminal sends with each request. It says of which store, and of
//! which terminal, its bearer may post. The collector signs tokens with keys of its own.
//!
//! **Promises**
//! 1. Each key has one algorithm (Ed25519, an asymmetric one), which its token cannot choose.
//! 2. A token is refused unless its signature, its audience and every claim are as they must be. What it costs to
//!    find out is bounded by its length.
//! 3. A private key is never printed: not in an error, and not for debugging.
//!
//! | file | what |
//! |---|---|
//! | `claims.rs` | what a token says |
//! | `signing.rs` | a key that signs, and its form in a file |
//! | `verifying.rs` | keys that verify |

mod claims;
mod signing;
mod verifying;

pub use claims::{AUDIENCE, Claims, VALID_S_MAX};
pub use signing::{KeyError, SEED_BYTES, SigningKey};
pub use verifying::{Invalid, KeySet, TOKEN_BYTES_MAX, Verified, VerifyingKey};
