//! A key that signs, and its form in a file.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};

use crate::claims::Claims;
use crate::verifying::VerifyingKey;

/// What an Ed25519 key is made of. Unit: bytes.
pub const SEED_BYTES: usize = 32;

/// The head of an Ed25519 private key in PKCS #8 (RFC 8410): the seed follows.
const PKCS8_HEAD: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is no key.
    #[error("this is no signing key of tillwatch: {0}")]
    Malformed(&'static str),
    /// Signing failed.
    #[error("the token could not be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

/// A key in a file: a JSON Web Key (RFC 7517, RFC 8037) with its private part, and when it was made.
#[derive(Serialize, Deserialize)]
struct KeyFile {
    kty: String,
    crv: String,
    alg: String,
    kid: String,
    x: String,
    d: String,
    created_at_ms: i64,
}

/// An Ed25519 key that signs tokens.
#[derive(Clone)]
pub struct SigningKey {
    kid: String,
    created_at_ms: i64,
    seed: [u8; SEED_BYTES],
    public: String,
    encoding: EncodingKey,
}

/// Without the private part.
impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Makes a key of a random seed, under this name.
    ///
    /// # Errors
    /// When the library refuses the seed.
    pub fn new(kid: String, seed: [u8; SEED_BYTES], created_at_ms: i64) -> Result<Self, KeyError> {
        let der: Vec<u8> = PKCS8_HEAD.into_iter().chain(seed).collect();
        let encoding = EncodingKey::from_ed_der(&der);
        let jwk = Jwk::from_encoding_key(&encoding, Algorithm::EdDSA);
        let public = match jwk.map(|jwk| jwk.algorithm) {
            Ok(AlgorithmParameters::OctetKeyPair(pair)) => pair.x,
            _ => return Err(KeyError::Malformed("its seed is no Ed25519 key")),
        };
        Ok(Self {
            kid,
            created_at_ms,
            seed,
            public,
            encoding,
        })
    }

    /// The key's name, which its tokens bear.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public part, as base64url.
    pub(crate) fn public(&self) -> &str {
        &self.public
    }

    /// When the key was made, Unix ms.
    #[must_use]
    pub fn created_at_ms(&self) -> i64 {
        self.created_at_ms
    }

    /// Signs a token.
    ///
    /// # Errors
    /// When the library fails.
    pub fn sign(&self, claims: &Claims) -> Result<String, KeyError> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.encoding).map_err(KeyError::Sign)
    }

    /// The key that verifies what this one signs.
    ///
    /// # Errors
    /// When the library refuses its own public key.
    pub fn verifying(&self) -> Result<VerifyingKey, KeyError> {
        VerifyingKey::of_ed25519(&self.public)
            .map_err(|_unfit| KeyError::Malformed("its public part"))
    }

    /// The key as it lies in a file. It is a secret.
    #[must_use]
    pub fn to_json(&self) -> String {
        let file = KeyFile {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            alg: "EdDSA".to_owned(),
            kid: self.kid.clone(),
            x: self.public.clone(),
            d: URL_SAFE_NO_PAD.encode(self.seed),
            created_at_ms: self.created_at_ms,
        };
        // Texts and a number can always be written.
        serde_json::to_string(&file).unwrap_or_default()
    }

    /// Reads what [`SigningKey::to_json`] gave.
    ///
    /// # Errors
    /// When the text is no such key. The error says nothing of what it holds.
    pub fn from_json(text: &str) -> Result<Self, KeyError> {
        let malformed = |what| KeyError::Malformed(what);
        let Ok(file) = serde_json::from_str::<KeyFile>(text) else {
            return Err(malformed("not the JSON of a key"));
        };
        if (file.kty.as_str(), file.crv.as_str()) != ("OKP", "Ed25519") {
            return Err(malformed("not an Ed25519 key"));
        }
        let seed = URL_SAFE_NO_PAD.decode(&file.d).ok();
        let seed: Option<[u8; SEED_BYTES]> = seed.and_then(|seed| seed.try_into().ok());
        let seed = seed.ok_or(malformed("its private part is not 32 bytes"))?;
        let key = Self::new(file.kid, seed, file.created_at_ms)?;
        if key.public != file.x {
            return Err(malformed("its public part is not that of its private part"));
        }
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seed and the public key of RFC 8032, section 7.1, test 1.
    const SEED: [u8; SEED_BYTES] = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c,
        0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae,
        0x7f, 0x60,
    ];
    const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    #[test]
    fn a_key_has_the_public_part_of_the_rfc_and_reads_back_from_its_file() {
        let key = SigningKey::new("k1".to_owned(), SEED, 7).unwrap();
        assert_eq!(key.public, PUBLIC);
        let text = key.to_json();
        let read = SigningKey::from_json(&text).unwrap();
        assert_eq!((read.kid(), read.created_at_ms()), ("k1", 7));
        assert_eq!(read.seed, key.seed);
        assert!(!format!("{key:?}").contains(&URL_SAFE_NO_PAD.encode(SEED)));
    }

    #[test]
    fn what_is_no_key_is_refused_without_saying_what_it_holds() {
        let key = SigningKey::new("k1".to_owned(), SEED, 7).unwrap();
        let text = key.to_json();
        let other = text.replace(PUBLIC, "AAAYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        for text in [
            "",
            "{}",
            &text.replace("Ed25519", "P-256"),
            &text.replace("\"d\":\"", "\"d\":\"A"),
            &other,
        ] {
            let error = SigningKey::from_json(text).unwrap_err().to_string();
            assert!(!error.contains("nWGxne"), "{error}");
        }
    }
}
