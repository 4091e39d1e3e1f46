//! The public part of a key that signs no more: it goes on to verify what it has signed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::signing::{KeyError, SEED_BYTES, SigningKey};
use crate::verifying::VerifyingKey;

/// A retired key in a file: a JSON Web Key (RFC 7517, RFC 8037) without a private part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetiredKey {
    kty: String,
    crv: String,
    alg: String,
    kid: String,
    x: String,
    created_at_ms: i64,
    retired_at_ms: i64,
}

impl RetiredKey {
    /// What is left of a key from this time on, Unix ms.
    #[must_use]
    pub fn of(key: &SigningKey, retired_at_ms: i64) -> Self {
        Self {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            alg: "EdDSA".to_owned(),
            kid: key.kid().to_owned(),
            x: key.public().to_owned(),
            created_at_ms: key.created_at_ms(),
            retired_at_ms,
        }
    }

    /// The key's name, which its tokens bear.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// When the key was made, Unix ms.
    #[must_use]
    pub fn created_at_ms(&self) -> i64 {
        self.created_at_ms
    }

    /// When the key signed no more, Unix ms.
    #[must_use]
    pub fn retired_at_ms(&self) -> i64 {
        self.retired_at_ms
    }

    /// The key that verifies what it signed.
    ///
    /// # Errors
    /// When the library refuses it.
    pub fn verifying(&self) -> Result<VerifyingKey, KeyError> {
        VerifyingKey::of_ed25519(&self.x).map_err(|_unfit| KeyError::Malformed("its public part"))
    }

    /// The key as it lies in a file.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Texts and numbers can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what [`RetiredKey::to_json`] gave.
    ///
    /// # Errors
    /// When the text is no such key.
    pub fn from_json(text: &str) -> Result<Self, KeyError> {
        let Ok(key) = serde_json::from_str::<Self>(text) else {
            return Err(KeyError::Malformed("not the JSON of a retired key"));
        };
        if (key.kty.as_str(), key.crv.as_str()) != ("OKP", "Ed25519") {
            return Err(KeyError::Malformed("not an Ed25519 key"));
        }
        // The library's verifier expects the whole of it.
        let x = URL_SAFE_NO_PAD.decode(&key.x).unwrap_or_default();
        if x.len() != SEED_BYTES {
            return Err(KeyError::Malformed("its public part is not 32 bytes"));
        }
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retired_key_reads_back_verifies_and_holds_no_secret() {
        let key = SigningKey::new("k1".to_owned(), [7; SEED_BYTES], 1).unwrap();
        let retired = RetiredKey::of(&key, 2);
        let text = retired.to_json();
        assert!(!text.contains("\"d\"") && !text.contains(&URL_SAFE_NO_PAD.encode([7; 32])));
        assert_eq!(RetiredKey::from_json(&text).unwrap(), retired);
        assert!(retired.verifying().is_ok());
        for wrong in [
            "",
            "{}",
            &key.to_json(),
            &text.replace("Ed25519", "X25519"),
            &text.replace("\"x\":\"", "\"x\":\"AA"),
            &text.replace(key.public(), "AAAA"),
        ] {
            assert!(RetiredKey::from_json(wrong).is_err(), "{wrong}");
        }
    }
}
