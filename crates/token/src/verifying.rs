//! Keys that verify.

use std::collections::HashMap;
use std::fmt;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};

use crate::claims::{AUDIENCE, Claims};

/// The longest token that is looked at. Unit: bytes.
pub const TOKEN_BYTES_MAX: usize = 4_096;
/// Why a token is refused. Nothing of the token is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The token is over [`TOKEN_BYTES_MAX`].
    #[error("the token is over 4,096 bytes")]
    TooLong,
    /// The text is no token, or lacks what a token must say.
    #[error("this is not a token, or it lacks a claim")]
    Malformed,
    /// The token names no key, or one that is not known.
    #[error("the token is signed with a key that is not known")]
    UnknownKey,
    /// The token asks for another algorithm than its key has.
    #[error("the token is signed by another algorithm than its key's")]
    Algorithm,
    /// The signature is not that of the key.
    #[error("the signature of the token is wrong")]
    Signature,
    /// The token is for another service.
    #[error("the token is for another audience; its aud must be \"tillwatch\"")]
    Audience,
}

/// A key that verifies tokens by one algorithm.
#[derive(Clone)]
pub struct VerifyingKey {
    key: DecodingKey,
    validation: Validation,
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms = &self.validation.algorithms;
        write!(formatter, "VerifyingKey({algorithms:?})")
    }
}

impl VerifyingKey {
    fn new(key: DecodingKey, algorithm: Algorithm) -> Self {
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "aud"]);
        // Times are judged by the collector's clock, and only while that can be trusted.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self { key, validation }
    }

    pub(crate) fn of_ed25519(x: &str) -> Option<Self> {
        let key = DecodingKey::from_ed_components(x).ok()?;
        Some(Self::new(key, Algorithm::EdDSA))
    }
}

/// What a token that is verified says, and the key that signed it. Its times are not judged yet.
#[derive(Debug, Clone)]
pub struct Verified {
    /// What the token says.
    pub claims: Claims,
    /// The name of the key.
    pub kid: String,
}

/// Keys by name.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: HashMap<String, VerifyingKey>,
}

impl KeySet {
    /// Adds a key; one of the same name makes room for it.
    pub fn insert(&mut self, kid: String, key: VerifyingKey) {
        self.keys.insert(kid, key);
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Verifies a token's signature, audience and form.
    ///
    /// # Errors
    /// Says why the token is refused.
    pub fn verify(&self, token: &str) -> Result<Verified, Invalid> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Invalid::TooLong);
        }
        let header =
            jsonwebtoken::decode_header(token).map_err(|_unreadable| Invalid::Malformed)?;
        let kid = header.kid.ok_or(Invalid::UnknownKey)?;
        let key = self.keys.get(&kid).ok_or(Invalid::UnknownKey)?;
        let decoded = jsonwebtoken::decode::<Claims>(token, &key.key, &key.validation);
        let claims = decoded.map_err(|error| reason(error.kind()))?.claims;
        if !claims.are_well_formed() {
            return Err(Invalid::Malformed);
        }
        Ok(Verified { claims, kid })
    }
}

fn reason(kind: &ErrorKind) -> Invalid {
    match kind {
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => Invalid::Algorithm,
        ErrorKind::InvalidSignature => Invalid::Signature,
        ErrorKind::InvalidAudience => Invalid::Audience,
        _ => Invalid::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;
    use crate::claims::VALID_S_MAX;
    use crate::signing::SigningKey;

    fn key(number: u8) -> SigningKey {
        SigningKey::new(format!("k{number}"), [number; 32], 0).unwrap()
    }

    fn claims() -> Claims {
        Claims {
            aud: AUDIENCE.to_owned(),
            store: "store-1".to_owned(),
            terminal: Some("till-1".to_owned()),
            cohort: None,
            jti: "t1".to_owned(),
            fam: None,
            iat: 1_000,
            auth_time: None,
            nbf: None,
            exp: 2_000,
        }
    }

    fn set(signing: &SigningKey) -> KeySet {
        let mut keys = KeySet::default();
        keys.insert(signing.kid().to_owned(), signing.verifying().unwrap());
        keys
    }

    fn part(json: &str) -> String {
        URL_SAFE_NO_PAD.encode(json)
    }

    #[test]
    fn a_token_says_what_was_signed() {
        let token = key(1).sign(&claims()).unwrap();
        let verified = set(&key(1)).verify(&token).unwrap();
        assert_eq!((verified.claims, verified.kid.as_str()), (claims(), "k1"));
    }

    #[test]
    fn a_token_of_another_key_audience_or_algorithm_is_refused() {
        let keys = set(&key(1));
        let token = key(1).sign(&claims()).unwrap();
        assert_eq!(
            keys.verify(&key(2).sign(&claims()).unwrap()).unwrap_err(),
            Invalid::UnknownKey
        );
        let forger = SigningKey::new("k1".to_owned(), [2; 32], 0).unwrap();
        assert_eq!(
            keys.verify(&forger.sign(&claims()).unwrap()).unwrap_err(),
            Invalid::Signature
        );
        let other = Claims {
            aud: "another".to_owned(),
            ..claims()
        };
        assert_eq!(
            keys.verify(&key(1).sign(&other).unwrap()).unwrap_err(),
            Invalid::Audience
        );
        let (_, rest) = token.split_once('.').unwrap();
        // A public key as the secret of HS256, no algorithm at all, and a key that is not named.
        for (header, expected) in [
            (r#"{"alg":"HS256","kid":"k1"}"#, Invalid::Algorithm),
            (r#"{"alg":"RS256","kid":"k1"}"#, Invalid::Algorithm),
            (r#"{"alg":"none","kid":"k1"}"#, Invalid::Malformed),
            (r#"{"alg":"EdDSA"}"#, Invalid::UnknownKey),
        ] {
            let token = format!("{}.{rest}", part(header));
            assert_eq!(keys.verify(&token).unwrap_err(), expected, "{header}");
        }
        assert_eq!(
            keys.verify(&"a".repeat(TOKEN_BYTES_MAX + 1)).unwrap_err(),
            Invalid::TooLong
        );
    }

    #[test]
    fn a_terminal_that_is_null_is_not_all_terminals() {
        let text = r#"{"aud":"tillwatch","store":"s","terminal":null,"jti":"t","iat":1,"exp":2}"#;
        assert!(serde_json::from_str::<Claims>(text).is_err());
        let absent = text.replace("\"terminal\":null,", "");
        assert_eq!(
            serde_json::from_str::<Claims>(&absent).unwrap().terminal,
            None
        );
    }

    #[test]
    fn claims_that_cannot_be_right_are_refused_although_they_are_signed() {
        let keys = set(&key(1));
        let wrong = [
            Claims {
                store: "two words".to_owned(),
                ..claims()
            },
            Claims {
                terminal: Some(String::new()),
                ..claims()
            },
            Claims {
                jti: String::new(),
                ..claims()
            },
            Claims {
                jti: "j".repeat(65),
                ..claims()
            },
            Claims {
                exp: 1_000,
                ..claims()
            },
            Claims {
                auth_time: Some(1_001),
                ..claims()
            },
            Claims {
                exp: 1_001 + VALID_S_MAX,
                ..claims()
            },
        ];
        for claims in wrong {
            let token = key(1).sign(&claims).unwrap();
            assert_eq!(
                keys.verify(&token).unwrap_err(),
                Invalid::Malformed,
                "{claims:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_refused_or_is_what_was_signed(at in 0_usize..400, byte in any::<u8>(), text in ".{0,200}") {
            let keys = set(&key(1));
            prop_assert!(keys.verify(&text).is_err());
            let token = key(1).sign(&claims()).unwrap();
            let mut changed = token.clone().into_bytes();
            let at = at % changed.len();
            changed[at] = byte;
            if let Ok(changed) = String::from_utf8(changed) {
                match keys.verify(&changed) {
                    Ok(verified) => prop_assert_eq!(verified.claims, claims()),
                    Err(_) => prop_assert_ne!(changed, token),
                }
            }
        }
    }
}
