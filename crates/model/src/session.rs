//! A session's pseudonym, and what is kept of a session on a day.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What stands for a session id: the first 16 bytes of its HMAC-SHA-256 under a day's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pseudonym(pub [u8; 16]);

impl Pseudonym {
    /// Reads 32 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

/// A day's key, ready to make pseudonyms.
#[derive(Clone)]
pub struct SessionKey(Hmac<Sha256>);

impl fmt::Debug for SessionKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SessionKey")
    }
}

impl SessionKey {
    /// The key of these bytes.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        // An HMAC takes a key of any length.
        Self(Hmac::new_from_slice(key).expect("32 bytes are a key"))
    }

    /// The pseudonym of a session on this key's day.
    #[must_use]
    pub fn pseudonym(&self, session_id: &str) -> Pseudonym {
        let mut mac = self.0.clone();
        mac.update(session_id.as_bytes());
        let digest: [u8; 32] = mac.finalize().into_bytes().into();
        let (first, _) = digest.as_chunks::<16>();
        Pseudonym(first.first().copied().unwrap_or_default())
    }
}

/// What a session's row is told apart by, beside the collector and the epoch it came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionDayKey {
    /// The session that the sums are of.
    pub session: Pseudonym,
    /// The shop.
    pub store_id: Arc<str>,
    /// The day of the samples (days since 1970-01-01, UTC).
    pub day: u16,
}

/// Values of one metric: how many, their sum, the greatest; recording unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Values {
    /// How many values there are.
    pub count: u64,
    /// The sum of the values.
    pub sum: u64,
    /// The greatest of the values.
    pub max: u64,
}

impl Values {
    /// Adds what another holds.
    pub fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// The mean of the values; none without values.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        use crate::metric::to_float;
        (self.count > 0).then(|| to_float(self.sum) / to_float(self.count))
    }
}

/// Sums, counts and maxima of a session on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionSums {
    /// Time of the earliest sample, Unix ms.
    pub first_ms: i64,
    /// Time of the latest sample, Unix ms.
    pub last_ms: i64,
    /// Samples of any metric; a histogram weighs its counts.
    pub samples: u64,
    /// `lcp_ms`.
    pub lcp: Values,
    /// `offline_login_duration_ms`.
    pub offline_login: Values,
    /// `sync_duration_ms`.
    pub sync: Values,
    /// Sum of `sync_attempts`.
    pub sync_attempts: u64,
    /// How many of the sync attempts failed.
    pub sync_failures: u64,
    /// Greatest `db_size_mb`, bytes.
    pub db_size_max: u64,
    /// Sum of `errors`.
    pub errors: u64,
}

impl Default for SessionSums {
    fn default() -> Self {
        Self {
            first_ms: i64::MAX,
            last_ms: i64::MIN,
            samples: 0,
            lcp: Values::default(),
            offline_login: Values::default(),
            sync: Values::default(),
            sync_attempts: 0,
            sync_failures: 0,
            db_size_max: 0,
            errors: 0,
        }
    }
}

impl SessionSums {
    /// Adds what another holds.
    pub fn merge(&mut self, other: &Self) {
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
        self.samples = self.samples.saturating_add(other.samples);
        self.lcp.merge(&other.lcp);
        self.offline_login.merge(&other.offline_login);
        self.sync.merge(&other.sync);
        self.sync_attempts = self.sync_attempts.saturating_add(other.sync_attempts);
        self.sync_failures = self.sync_failures.saturating_add(other.sync_failures);
        self.db_size_max = self.db_size_max.max(other.db_size_max);
        self.errors = self.errors.saturating_add(other.errors);
    }

    /// Errors for each sample; none without samples.
    #[must_use]
    pub fn error_ratio(&self) -> Option<f64> {
        use crate::metric::to_float;
        (self.samples > 0).then(|| to_float(self.errors) / to_float(self.samples))
    }
}

/// One row at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionDay {
    /// What the row is told apart by.
    pub key: SessionDayKey,
    /// What the row says.
    pub sums: SessionSums,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_is_thirty_two_digits_and_reads_back() {
        let pseudonym = SessionKey::new(&[7; 32]).pseudonym("cashier-4711");
        let text = pseudonym.to_string();
        assert_eq!(text.len(), 32);
        assert_eq!(Pseudonym::parse(&text), Some(pseudonym));
        assert_eq!(
            Pseudonym::parse(&text.to_ascii_uppercase()),
            Some(pseudonym)
        );
        for wrong in [
            "",
            "cashier-4711",
            &"0".repeat(31),
            &format!("{text}0"),
            &"é".repeat(16),
        ] {
            assert_eq!(Pseudonym::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn it_is_the_beginning_of_the_hmac() {
        // As OpenSSL computes it.
        let key = *b"0123456789abcdef0123456789abcdef";
        let pseudonym = SessionKey::new(&key).pseudonym("s-1");
        assert_eq!(pseudonym.to_string(), "4e8b5904bc1546a061a7bda2360ba71b");
        assert_ne!(SessionKey::new(&key).pseudonym("s-2"), pseudonym);
        assert_ne!(SessionKey::new(&[0; 32]).pseudonym("s-1"), pseudonym);
    }
}
