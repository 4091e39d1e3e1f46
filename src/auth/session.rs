//! Sign-ins of a person at the console: what a browser holds in a cookie instead of a key.
//!
//! A session is written `<id of the key>.<until, Unix s>.<HMAC-SHA-256>`. Nothing is kept of it: whoever has a session has
//! shown the key, and it ends with its key, or after a week. The secret lies in the data folder and in no backup.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How long a session is good. Unit: s.
pub const SESSION_S: i64 = 7 * 86_400;
/// What every message begins with, so that no other use of the secret could have written it.
const PURPOSE: &[u8] = b"tillwatch console session 1\0";

/// Writes and reads sessions.
pub struct SessionKey([u8; 32]);

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SessionKey")
    }
}

impl SessionKey {
    /// Sessions under a secret.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    fn mac(&self, text: &str) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(PURPOSE);
        mac.update(text.as_bytes());
        Some(mac)
    }

    /// Writes the session of a key.
    #[must_use]
    pub fn write(&self, key_id: &str, until_s: i64) -> Option<String> {
        let text = format!("{key_id}.{until_s}");
        let mac = self.mac(&text)?.finalize().into_bytes();
        Some(format!("{text}.{}", hex::encode(mac)))
    }

    /// The id of the key whose session this is, and until when; `None`: it is none, or over.
    #[must_use]
    pub fn read<'t>(&self, session: &'t str, now_s: i64) -> Option<(&'t str, i64)> {
        let (text, mac) = session.rsplit_once('.')?;
        let mac = hex::decode(mac).ok()?;
        self.mac(text)?.verify_slice(&mac).ok()?;
        let (key_id, until_s) = text.split_once('.')?;
        let until_s: i64 = until_s.parse().ok()?;
        (now_s < until_s).then_some((key_id, until_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_good_as_it_was_written_until_it_ends() {
        let key = SessionKey::new([7; 32]);
        let session = key.write("0a1b", 2_000).unwrap();
        assert_eq!(key.read(&session, 1_999), Some(("0a1b", 2_000)));
        assert_eq!(key.read(&session, 2_000), None);
        assert_eq!(SessionKey::new([8; 32]).read(&session, 0), None);
        for wrong in [
            "",
            "0a1b",
            "0a1b.2000",
            "0a1b.2000.",
            &session.replace("0a1b", "0a1c"),
            &session.replace("2000", "9000"),
            &format!("{session}00"),
        ] {
            assert_eq!(key.read(wrong, 0), None, "{wrong}");
        }
    }
}
