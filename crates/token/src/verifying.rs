//! Keys that verify.

use std::collections::HashMap;
use std::fmt;
use std::ops::{Range, RangeInclusive};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Validation};

use crate::claims::{AUDIENCE, Claims};

/// The longest token that is looked at. Unit: bytes.
pub const TOKEN_BYTES_MAX: usize = 4_096;

/// What a public Ed25519 key, and a coordinate of a P-256 key, is long. Unit: bytes.
const COORDINATE_BYTES: usize = 32;
/// The sizes of RSA keys that are strong enough and cost no more than milliseconds. Unit: bits.
const RSA_BITS: RangeInclusive<usize> = 2_048..=8_192;
/// The exponents of RSA keys that the library takes.
const RSA_EXPONENTS: Range<u64> = 3..1 << 33;

/// Why a token is refused. Nothing of the token is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The token is over [`TOKEN_BYTES_MAX`].
    #[error("the token is over 4,096 bytes")]
    TooLong,
    /// The text is no token, or lacks what a token must say.
    #[error(
        "this is not a token, or a claim is wrong or missing: aud, store, jti, iat and exp must be there"
    )]
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

/// Why something is no public key that is good enough. Nothing of it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is no Ed25519 key.
    #[error("its x is no public key of Ed25519")]
    Ed25519,
    /// It is no P-256 key.
    #[error("its x and y are no point of P-256")]
    P256,
    /// It is no RSA key.
    #[error("its n and e are no public key of RSA")]
    Rsa,
    /// The RSA key is too short or too long.
    #[error("its modulus has not 2,048 to 8,192 bits")]
    RsaBits,
    /// The exponent of the RSA key is not one that RSA can have, or too dear.
    #[error("its exponent is not an odd number from 3 to 2^33")]
    RsaExponent,
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

    /// Makes an Ed25519 key, which verifies by `EdDSA`, of its public part in base64url.
    ///
    /// # Errors
    /// When that is no such key.
    pub fn of_ed25519(x: &str) -> Result<Self, Unfit> {
        // The library would read past the end of a shorter one.
        if !is_coordinate(x) {
            return Err(Unfit::Ed25519);
        }
        let key = DecodingKey::from_ed_components(x).ok();
        let key = key.and_then(|key| Self::checked(key, Algorithm::EdDSA));
        key.ok_or(Unfit::Ed25519)
    }

    /// Makes a P-256 key, which verifies by `ES256`, of its coordinates in base64url.
    ///
    /// # Errors
    /// When they are no point of the curve.
    pub fn of_p256(x: &str, y: &str) -> Result<Self, Unfit> {
        if !is_coordinate(x) || !is_coordinate(y) {
            return Err(Unfit::P256);
        }
        let key = DecodingKey::from_ec_components(x, y).ok();
        let key = key.and_then(|key| Self::checked(key, Algorithm::ES256));
        key.ok_or(Unfit::P256)
    }

    /// Makes an RSA key, which verifies by `RS256`, of its modulus and its exponent in base64url.
    ///
    /// # Errors
    /// When they are no key, or one that is too weak or too dear.
    pub fn of_rsa(modulus: &str, exponent: &str) -> Result<Self, Unfit> {
        let modulus = decoded(modulus).ok_or(Unfit::Rsa)?;
        let modulus = without_leading_zeros(&modulus);
        if !RSA_BITS.contains(&bits(modulus)) {
            return Err(Unfit::RsaBits);
        }
        let exponent = decoded(exponent).ok_or(Unfit::Rsa)?;
        let exponent = without_leading_zeros(&exponent);
        if exponent.len() > 8 {
            return Err(Unfit::RsaExponent);
        }
        let value = exponent
            .iter()
            .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        if !RSA_EXPONENTS.contains(&value) || value % 2 == 0 {
            return Err(Unfit::RsaExponent);
        }
        if modulus.last().is_none_or(|byte| byte % 2 == 0) {
            return Err(Unfit::Rsa);
        }
        let key = DecodingKey::from_rsa_raw_components(modulus, exponent);
        Self::checked(key, Algorithm::RS256).ok_or(Unfit::Rsa)
    }

    /// Makes the library build the key once: what it refuses now it would refuse with each token.
    fn checked(key: DecodingKey, algorithm: Algorithm) -> Option<Self> {
        jsonwebtoken::crypto::verify("", b"", &key, algorithm).ok()?;
        Some(Self::new(key, algorithm))
    }
}

/// Keys are the same when they verify the same.
impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        use DecodingKeyKind::{RsaModulusExponent, SecretOrDer};
        let is_same = match (self.key.kind(), other.key.kind()) {
            (SecretOrDer(one), SecretOrDer(other)) => one == other,
            (RsaModulusExponent { n, e }, RsaModulusExponent { n: n2, e: e2 }) => {
                (n, e) == (n2, e2)
            }
            _ => false,
        };
        is_same && self.validation.algorithms == other.validation.algorithms
    }
}

impl Eq for VerifyingKey {}

fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn is_coordinate(text: &str) -> bool {
    decoded(text).is_some_and(|bytes| bytes.len() == COORDINATE_BYTES)
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// How many bits a number has that has no leading zero bytes.
fn bits(number: &[u8]) -> usize {
    let unset = number.first().map_or(0, |byte| byte.leading_zeros());
    number.len() * 8 - usize::try_from(unset).unwrap_or(0)
}

/// What a token that is verified says, and the key that signed it. Its times are not judged yet.
#[derive(Debug, Clone)]
pub struct Verified {
    /// What the token says.
    pub claims: Claims,
    /// The name of the key.
    pub kid: String,
    /// Whether the key is one of the collector's own.
    pub is_own: bool,
}

/// Keys by name: the collector's own, and those of other issuers.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    own: HashMap<String, VerifyingKey>,
    foreign: HashMap<String, VerifyingKey>,
}

impl KeySet {
    /// Adds a key of the collector's own; an own one of the same name makes room for it.
    pub fn insert(&mut self, kid: String, key: VerifyingKey) {
        self.own.insert(kid, key);
    }

    /// Adds a key of another issuer; a foreign one of the same name makes room for it. While there is an own key of
    /// this name, that one counts: no issuer takes the place of the collector.
    pub fn insert_foreign(&mut self, kid: String, key: VerifyingKey) {
        self.foreign.insert(kid, key);
    }

    /// How many keys there are that count.
    #[must_use]
    pub fn len(&self) -> usize {
        let foreign = self.foreign.keys();
        self.own.len() + foreign.filter(|kid| !self.own.contains_key(*kid)).count()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.foreign.is_empty()
    }

    /// The key of this name, and whether it is an own one.
    fn key(&self, kid: &str) -> Option<(&VerifyingKey, bool)> {
        let own = self.own.get(kid).map(|key| (key, true));
        own.or_else(|| self.foreign.get(kid).map(|key| (key, false)))
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
        let (key, is_own) = self.key(&kid).ok_or(Invalid::UnknownKey)?;
        let decoded = jsonwebtoken::decode::<Claims>(token, &key.key, &key.validation);
        let claims = decoded.map_err(|error| reason(error.kind()))?.claims;
        if !claims.are_well_formed() {
            return Err(Invalid::Malformed);
        }
        Ok(Verified {
            claims,
            kid,
            is_own,
        })
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
    use base64::engine::general_purpose::STANDARD;
    use jsonwebtoken::{EncodingKey, Header};
    use proptest::prelude::*;
    use serde_json::{Value, json};

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
        assert_eq!((verified.kid.as_str(), verified.is_own), ("k1", true));
        assert_eq!(verified.claims, claims());
    }

    #[test]
    fn what_the_collector_signs_has_the_bytes_that_it_always_had() {
        let token = key(1).sign(&claims()).unwrap();
        let (header, rest) = token.split_once('.').unwrap();
        let (payload, _) = rest.split_once('.').unwrap();
        assert_eq!(header, part(r#"{"typ":"JWT","alg":"EdDSA","kid":"k1"}"#));
        let expected = r#"{"aud":"tillwatch","store":"store-1","terminal":"till-1","jti":"t1","iat":1000,"exp":2000}"#;
        assert_eq!(payload, part(expected));
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

    const NOW_S: i64 = 1_795_900_000;

    fn foreign() -> KeySet {
        let set = include_bytes!("../fixtures/jwks.json");
        let mut keys = KeySet::default();
        for (kid, key) in crate::jwks::read(set).unwrap().keys {
            keys.insert_foreign(kid, key);
        }
        keys
    }

    /// A key as OpenSSL wrote it, that signs for another issuer.
    fn issuer(algorithm: Algorithm) -> (Header, EncodingKey) {
        let (kid, text) = match algorithm {
            Algorithm::ES256 => ("ec-1", include_str!("../fixtures/ec_p256.pkcs8.b64")),
            _ => ("rsa-1", include_str!("../fixtures/rsa_2048.pkcs1.b64")),
        };
        let der = STANDARD.decode(text.trim()).unwrap();
        let key = match algorithm {
            Algorithm::ES256 => EncodingKey::from_ec_der(&der),
            _ => EncodingKey::from_rsa_der(&der),
        };
        let mut header = Header::new(algorithm);
        header.kid = Some(kid.to_owned());
        (header, key)
    }

    fn signed(algorithm: Algorithm, claims: &Value) -> String {
        let (header, key) = issuer(algorithm);
        jsonwebtoken::encode(&header, claims, &key).unwrap()
    }

    #[test]
    fn tokens_that_openssl_signed_are_good_and_say_that_they_are_foreign() {
        for (token, kid) in [
            (include_str!("../fixtures/es256.jwt"), "ec-1"),
            (include_str!("../fixtures/rs256.jwt"), "rsa-1"),
        ] {
            let verified = foreign().verify(token.trim()).unwrap();
            assert_eq!((verified.kid.as_str(), verified.is_own), (kid, false));
            let expected = Claims {
                jti: "f1".to_owned(),
                iat: NOW_S,
                auth_time: Some(NOW_S - 1),
                exp: NOW_S + 86_400,
                ..claims()
            };
            // The list of its audience and the parts of its seconds are let go of.
            assert_eq!(verified.claims, expected);
        }
    }

    #[test]
    fn tokens_of_issuers_may_differ_in_form_but_not_in_what_they_must_say() {
        let good = json!({
            "aud": "tillwatch", "store": "s", "jti": "j", "iat": 1_000.9, "exp": 2e3, "nbf": 999.5, "sub": "x",
        });
        let verify = |claims: &Value| foreign().verify(&signed(Algorithm::ES256, claims));
        let read = verify(&good).unwrap().claims;
        assert_eq!((read.iat, read.exp, read.nbf), (1_000, 2_000, Some(999)));
        let with = |name: &str, value: Value| {
            let mut claims = good.clone();
            claims[name] = value;
            claims
        };
        let without = |name: &str| {
            let mut claims = good.clone();
            claims.as_object_mut().unwrap().remove(name);
            claims
        };
        assert!(verify(&with("aud", json!(["a", "tillwatch"]))).is_ok());
        for aud in [json!(["a", "b"]), json!([]), json!("a")] {
            let refused = verify(&with("aud", aud)).unwrap_err();
            assert_eq!(refused, Invalid::Audience);
        }
        for name in ["aud", "store", "jti", "iat", "exp"] {
            let refused = verify(&without(name)).unwrap_err();
            assert_eq!(refused, Invalid::Malformed, "without {name}");
            assert!(refused.to_string().contains(name));
        }
        for (name, value) in [
            ("aud", json!(["tillwatch", 1])),
            ("terminal", json!(null)),
            ("iat", json!("1000")),
            ("iat", json!(1e300)),
            ("iat", json!(-1)),
            ("exp", json!(null)),
            ("exp", json!(1e16)),
            ("exp", json!(u64::MAX)),
        ] {
            let refused = verify(&with(name, value.clone())).unwrap_err();
            assert_eq!(refused, Invalid::Malformed, "{name} is {value}");
        }
    }

    #[test]
    fn the_kind_of_a_foreign_key_decides_its_algorithm() {
        let es256 = include_str!("../fixtures/es256.jwt").trim();
        let (_, rest) = es256.split_once('.').unwrap();
        for (header, expected) in [
            (r#"{"alg":"HS256","kid":"rsa-1"}"#, Invalid::Algorithm),
            (r#"{"alg":"RS512","kid":"rsa-1"}"#, Invalid::Algorithm),
            (r#"{"alg":"PS256","kid":"rsa-1"}"#, Invalid::Algorithm),
            (r#"{"alg":"ES384","kid":"ec-1"}"#, Invalid::Algorithm),
            (r#"{"alg":"ES256","kid":"ed-1"}"#, Invalid::Algorithm),
            (r#"{"alg":"RS256","kid":"rsa-1"}"#, Invalid::Signature),
            (r#"{"alg":"ES256","kid":"ec-1"}"#, Invalid::Signature),
        ] {
            let token = format!("{}.{rest}", part(header));
            let refused = foreign().verify(&token).unwrap_err();
            assert_eq!(refused, expected, "{header}");
        }
    }

    #[test]
    fn an_own_key_wins_over_a_foreign_one_of_its_name() {
        let (own, other) = (
            key(1),
            SigningKey::new("k1".to_owned(), [2; 32], 0).unwrap(),
        );
        let mut keys = set(&own);
        keys.insert_foreign("k1".to_owned(), other.verifying().unwrap());
        assert_eq!(keys.len(), 1);
        assert!(keys.verify(&own.sign(&claims()).unwrap()).unwrap().is_own);
        let refused = keys.verify(&other.sign(&claims()).unwrap()).unwrap_err();
        assert_eq!(refused, Invalid::Signature);
    }

    proptest! {
        #[test]
        fn no_token_brings_the_keys_of_an_issuer_down(
            kid in prop::sample::select(vec!["ed-1", "ec-1", "rsa-1"]),
            alg in prop::sample::select(vec!["EdDSA", "ES256", "RS256", "none"]),
            claims in prop::collection::vec(any::<u8>(), 0..200),
            signature in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let header = part(&json!({ "alg": alg, "kid": kid }).to_string());
            let (claims, signature) = (URL_SAFE_NO_PAD.encode(claims), URL_SAFE_NO_PAD.encode(signature));
            let token = format!("{header}.{claims}.{signature}");
            prop_assert!(foreign().verify(&token).is_err());
        }

        #[test]
        fn no_claims_bring_it_down_although_they_are_signed(
            name in prop::sample::select(vec!["aud", "store", "jti", "iat", "exp", "nbf", "auth_time", "fam"]),
            number in any::<f64>(), whole in any::<i64>(), text in ".{0,70}", which in 0..4_u8,
        ) {
            let mut claims = json!({ "aud": "tillwatch", "store": "s", "jti": "j", "iat": 1, "exp": 2 });
            claims[name] = match which {
                0 => json!(number),
                1 => json!(whole),
                2 => json!(text),
                _ => json!([text, whole]),
            };
            if let Ok(verified) = foreign().verify(&signed(Algorithm::ES256, &claims)) {
                prop_assert!(verified.claims.are_well_formed());
            }
        }

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
