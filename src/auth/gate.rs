//! From the head of a request to its bearer.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use moka::sync::Cache;
use sha2::{Digest, Sha256};
use tillwatch_token::{KeySet, TOKEN_BYTES_MAX};

use crate::auth::bearer::Bearer;
use crate::auth::denied::Denied;

/// Whether credentials are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nobody is asked for a credential.
    Off,
    /// Whoever posts shows a token.
    Required,
}

/// Tokens that are remembered, so that a terminal's signature is checked once and not with every batch. One takes
/// about 300 bytes. Unit: tokens.
const REMEMBERED_MAX: u64 = 50_000;

/// Lets in whoever shows a good credential.
pub struct Gate {
    mode: Mode,
    keys: ArcSwap<KeySet>,
    /// Bearers of tokens whose signature was checked, by the digest of the token: no token stays in memory. Their
    /// times are judged each time.
    remembered: Cache<[u8; 32], Remembered, foldhash::quality::RandomState>,
}

/// A token whose signature was checked.
#[derive(Clone)]
struct Remembered {
    bearer: Arc<Bearer>,
    /// The keys by which it was good.
    keys: Arc<KeySet>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = &self.mode;
        formatter
            .debug_struct("Gate")
            .field("mode", mode)
            .finish_non_exhaustive()
    }
}

impl Gate {
    /// A gate that knows no key yet.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            keys: ArcSwap::default(),
            remembered: Cache::builder()
                .max_capacity(REMEMBERED_MAX)
                .build_with_hasher(foldhash::quality::RandomState::default()),
        }
    }

    /// Whether credentials are asked for.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Takes other keys from now on: tokens of a key that is gone are refused from the next request on.
    pub fn set_keys(&self, keys: KeySet) {
        self.keys.store(Arc::new(keys));
    }

    /// How many keys there are.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.load().len()
    }

    /// Tells who shows these `Authorization` headers; `None`: nobody is asked. Without `now_ms` the clock cannot be
    /// trusted, and no token is too old or too young.
    ///
    /// # Errors
    /// Says why the request is refused.
    pub fn admit<'h>(
        &self,
        mut headers: impl Iterator<Item = &'h [u8]>,
        now_ms: Option<i64>,
    ) -> Result<Option<Arc<Bearer>>, Denied> {
        if self.mode == Mode::Off {
            return Ok(None);
        }
        let header = headers.next().ok_or(Denied::NoCredential)?;
        if headers.next().is_some() {
            return Err(Denied::Header);
        }
        let bearer = self.bearer(token_of(header).ok_or(Denied::Header)?)?;
        if let Some(now_ms) = now_ms {
            if now_ms < bearer.from_ms {
                return Err(Denied::NotYet);
            }
            if now_ms >= bearer.until_ms {
                return Err(Denied::Expired);
            }
        }
        Ok(Some(bearer))
    }

    fn bearer(&self, token: &str) -> Result<Arc<Bearer>, Denied> {
        let keys = self.keys.load();
        let digest: [u8; 32] = Sha256::digest(token).into();
        if let Some(remembered) = self.remembered.get(&digest)
            && Arc::ptr_eq(&remembered.keys, &keys)
        {
            return Ok(remembered.bearer);
        }
        let bearer = Arc::new(Bearer::new(&keys.verify(token)?));
        let remembered = Remembered {
            bearer: Arc::clone(&bearer),
            keys: Arc::clone(&keys),
        };
        self.remembered.insert(digest, remembered);
        Ok(bearer)
    }
}

/// The token in a header's value.
fn token_of(header: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(header).ok()?;
    let (scheme, token) = text.trim().split_once(' ')?;
    let token = token.trim();
    // One that is too long is for the key set to refuse.
    let is_one_word = !token.is_empty() && !token.contains(char::is_whitespace);
    (scheme.eq_ignore_ascii_case("bearer") && is_one_word).then_some(token)
}

const _: () = assert!(
    TOKEN_BYTES_MAX < 16 * 1024,
    "a token fits the head of a request"
);

#[cfg(test)]
mod tests {
    use tillwatch_token::{AUDIENCE, Claims, Invalid, SigningKey};

    use super::*;

    const NOW_MS: i64 = 1_795_900_000_000;

    fn gate(key: &SigningKey) -> Gate {
        let gate = Gate::new(Mode::Required);
        let mut keys = KeySet::default();
        keys.insert(key.kid().to_owned(), key.verifying().unwrap());
        gate.set_keys(keys);
        gate
    }

    fn key(number: u8) -> SigningKey {
        SigningKey::new(format!("k{number}"), [number; 32], 0).unwrap()
    }

    /// A token that is valid from some seconds after now until some seconds after now.
    fn token(key: &SigningKey, from_s: i64, until_s: i64) -> String {
        let now_s = NOW_MS / 1_000;
        let claims = Claims {
            aud: AUDIENCE.to_owned(),
            store: "store-1".to_owned(),
            terminal: None,
            cohort: None,
            jti: "t".to_owned(),
            fam: None,
            iat: now_s - 100_000,
            auth_time: None,
            nbf: Some(now_s + from_s),
            exp: now_s + until_s,
        };
        key.sign(&claims).unwrap()
    }

    fn admit(
        gate: &Gate,
        headers: &[&str],
        now_ms: Option<i64>,
    ) -> Result<Option<Arc<Bearer>>, Denied> {
        gate.admit(headers.iter().map(|header| header.as_bytes()), now_ms)
    }

    #[test]
    fn a_bearer_is_let_in_while_the_token_is_valid() {
        let gate = gate(&key(1));
        let shown = |from_s, until_s, now_ms| {
            let header = format!("Bearer {}", token(&key(1), from_s, until_s));
            admit(&gate, &[&header], now_ms).map(|bearer| bearer.unwrap().store_id.clone())
        };
        assert_eq!(shown(-10, 10, Some(NOW_MS)).as_deref(), Ok("store-1"));
        assert_eq!(shown(-10, 0, Some(NOW_MS)), Err(Denied::Expired));
        assert_eq!(
            shown(59, 100, Some(NOW_MS)).as_deref(),
            Ok("store-1"),
            "within the leeway"
        );
        assert_eq!(shown(61, 100, Some(NOW_MS)), Err(Denied::NotYet));
        // Nothing is judged by a clock that may be wrong.
        assert_eq!(shown(-10, -5, None).as_deref(), Ok("store-1"));
        // A token that was good once is not good for ever.
        let header = format!("bearer  {}", token(&key(1), -10, 10));
        assert!(admit(&gate, &[&header], Some(NOW_MS)).is_ok());
        let later = Some(NOW_MS + 10_000);
        assert_eq!(admit(&gate, &[&header], later), Err(Denied::Expired));
    }

    #[test]
    fn whoever_shows_nothing_or_too_much_is_refused() {
        let gate = gate(&key(1));
        let good = format!("Bearer {}", token(&key(1), -10, 10));
        let cases: [(&[&str], Denied); 7] = [
            (&[], Denied::NoCredential),
            (&[&good, &good], Denied::Header),
            (&["Basic dXNlcjpwYXNz"], Denied::Header),
            (&["Bearer"], Denied::Header),
            (&["Bearer a b"], Denied::Header),
            (&["Bearer a.b.c"], Denied::Invalid(Invalid::Malformed)),
            (&[""], Denied::Header),
        ];
        for (headers, expected) in cases {
            assert_eq!(
                admit(&gate, headers, Some(NOW_MS)),
                Err(expected),
                "{headers:?}"
            );
        }
        let off = Gate::new(Mode::Off);
        assert_eq!(admit(&off, &[], Some(NOW_MS)), Ok(None));
    }

    #[test]
    fn the_tokens_of_a_key_that_is_taken_away_are_refused_at_the_next_request() {
        let gate = gate(&key(1));
        let header = format!("Bearer {}", token(&key(1), -10, 10));
        assert!(admit(&gate, &[&header], Some(NOW_MS)).is_ok());
        gate.set_keys(KeySet::default());
        let refused = admit(&gate, &[&header], Some(NOW_MS));
        assert_eq!(refused, Err(Denied::Invalid(Invalid::UnknownKey)));
    }
}
