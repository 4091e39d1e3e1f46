//! Public keys of an issuer, from its JSON Web Key Set (RFC 7517).
//!
//! The bytes come from a file that an operator wrote or from another server, so all of them are doubted. A key that
//! cannot be used is left out and named, and the others count all the same: an issuer may publish keys that are for
//! somebody else.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::verifying::{Unfit, VerifyingKey};

/// The longest set that is read. Unit: bytes.
pub const JWKS_BYTES_MAX: usize = 256 * 1024;
/// The most keys that a set may hold, whatever they are.
pub const JWKS_KEYS_MAX: usize = 100;
/// The longest name of a key. Unit: bytes.
const KID_BYTES_MAX: usize = 128;

/// The members that only a private key has (RFC 7518, RFC 8037).
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

/// Why a set cannot be used at all. Nothing of what it holds is told but names of keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// The set is over [`JWKS_BYTES_MAX`].
    #[error("the key set is over 256 KiB")]
    TooLong,
    /// The bytes are no set.
    #[error("this is no JSON Web Key Set: a JSON object with a list \"keys\"")]
    Malformed,
    /// The set holds over [`JWKS_KEYS_MAX`] keys.
    #[error("the key set holds over 100 keys")]
    TooMany,
    /// No key of the set can be used.
    #[error("the key set holds no key that can be used{}", first(.0))]
    NoneUsable(Vec<KeyFault>),
}

fn first(faults: &[KeyFault]) -> String {
    let first = faults.first().map(|fault| format!("; {fault}"));
    first.unwrap_or_default()
}

/// Why one key of a set is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is not an object.
    #[error("it is no JSON object")]
    NotAnObject,
    /// It has no name that a token could bear.
    #[error("it has no kid of 1 to 128 visible ASCII characters")]
    Kid,
    /// A key before it has its name.
    #[error("a key before it has the same kid")]
    Duplicate,
    /// Whoever can read it can sign.
    #[error("it has a private part, so that whoever can read the set can sign tokens")]
    Private,
    /// Whoever can verify by it can sign.
    #[error("it is symmetric, so that whoever can read the set can sign tokens")]
    Symmetric,
    /// It is for something else than signatures.
    #[error("its use is not \"sig\"")]
    Use,
    /// It is for something else than verifying.
    #[error("its key_ops do not name \"verify\"")]
    KeyOps,
    /// It is of a kind that is not known here.
    #[error("it is neither OKP with Ed25519, nor EC with P-256, nor RSA")]
    Kind,
    /// It names another algorithm than its kind has.
    #[error("its alg is not that of its kind (EdDSA for Ed25519, ES256 for P-256, RS256 for RSA)")]
    Algorithm,
    /// What it is made of is no key.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

/// A key that is left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFault {
    /// Which key of the set it is, from 1.
    pub number: usize,
    /// Its name, if that is plain text.
    pub kid: Option<String>,
    /// Why it is left out.
    pub why: Unusable,
}

impl fmt::Display for KeyFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "key {}", self.number)?;
        if let Some(kid) = &self.kid {
            write!(formatter, " ({kid:?})")?;
        }
        write!(formatter, " is left out: {}", self.why)
    }
}

/// What a set came to.
#[derive(Debug, Clone)]
pub struct PublicKeys {
    /// The keys that can be used, by name; never none.
    pub keys: BTreeMap<String, VerifyingKey>,
    /// Those that cannot.
    pub faults: Vec<KeyFault>,
}

#[derive(Deserialize)]
struct SetForm {
    keys: Vec<Value>,
}

/// Reads a key set.
///
/// # Errors
/// When the bytes are no set, or one without a key that can be used.
pub fn read(bytes: &[u8]) -> Result<PublicKeys, JwksError> {
    if bytes.len() > JWKS_BYTES_MAX {
        return Err(JwksError::TooLong);
    }
    let form: SetForm =
        serde_json::from_slice(bytes).map_err(|_unreadable| JwksError::Malformed)?;
    if form.keys.len() > JWKS_KEYS_MAX {
        return Err(JwksError::TooMany);
    }
    let mut keys = BTreeMap::new();
    let mut faults = Vec::new();
    for (number, key) in (1..).zip(&form.keys) {
        let kid = kid_of(key);
        let usable = match &kid {
            Some(kid) if keys.contains_key(kid) => Err(Unusable::Duplicate),
            _ => usable(key),
        };
        match (usable, kid) {
            (Ok(key), Some(kid)) => {
                keys.insert(kid, key);
            }
            (usable, kid) => {
                let why = usable.err().unwrap_or(Unusable::Kid);
                faults.push(KeyFault { number, kid, why });
            }
        }
    }
    if keys.is_empty() {
        return Err(JwksError::NoneUsable(faults));
    }
    Ok(PublicKeys { keys, faults })
}

fn kid_of(key: &Value) -> Option<String> {
    let kid = key.get("kid")?.as_str()?;
    let is_plain = kid.bytes().all(|byte| byte.is_ascii_graphic());
    let is_kid = is_plain && (1..=KID_BYTES_MAX).contains(&kid.len());
    is_kid.then(|| kid.to_owned())
}

fn usable(key: &Value) -> Result<VerifyingKey, Unusable> {
    let members = key.as_object().ok_or(Unusable::NotAnObject)?;
    // What endangers the issuer is said first, whatever else may be wrong.
    if PRIVATE.iter().any(|name| members.contains_key(*name)) {
        return Err(Unusable::Private);
    }
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let kty = text("kty").ok_or(Unusable::Kind)?;
    if kty == "oct" {
        return Err(Unusable::Symmetric);
    }
    if members.contains_key("use") && text("use") != Some("sig") {
        return Err(Unusable::Use);
    }
    if members.get("key_ops").is_some_and(|ops| !names_verify(ops)) {
        return Err(Unusable::KeyOps);
    }
    let part = |name: &str| text(name).unwrap_or_default();
    match (kty, text("crv")) {
        ("OKP", Some("Ed25519")) => {
            must_be(members, "EdDSA")?;
            Ok(VerifyingKey::of_ed25519(part("x"))?)
        }
        ("EC", Some("P-256")) => {
            must_be(members, "ES256")?;
            Ok(VerifyingKey::of_p256(part("x"), part("y"))?)
        }
        ("RSA", _) => {
            must_be(members, "RS256")?;
            Ok(VerifyingKey::of_rsa(part("n"), part("e"))?)
        }
        _ => Err(Unusable::Kind),
    }
}

fn names_verify(ops: &Value) -> bool {
    let mut ops = ops.as_array().into_iter().flatten();
    ops.any(|op| op.as_str() == Some("verify"))
}

/// The algorithm is that of the key's kind, and the key may say so, but not choose another.
fn must_be(members: &Map<String, Value>, algorithm: &str) -> Result<(), Unusable> {
    match members.get("alg") {
        Some(named) if named.as_str() != Some(algorithm) => Err(Unusable::Algorithm),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const GOOD: &[u8] = include_bytes!("../fixtures/jwks.json");
    const WITH_FAULTS: &[u8] = include_bytes!("../fixtures/jwks_with_faults.json");

    /// The key of the good set that has this place, changed.
    fn changed(place: usize, change: impl FnOnce(&mut Map<String, Value>)) -> Value {
        let mut set: Value = serde_json::from_slice(GOOD).unwrap();
        let mut key = set["keys"][place].take();
        change(key.as_object_mut().unwrap());
        key
    }

    fn why(key: &Value) -> Option<Unusable> {
        let set = json!({ "keys": [key] }).to_string();
        match read(set.as_bytes()) {
            Ok(_) => None,
            Err(JwksError::NoneUsable(faults)) => Some(faults[0].why),
            Err(error) => panic!("{error}"),
        }
    }

    fn put(name: &'static str, value: Value) -> impl FnOnce(&mut Map<String, Value>) {
        move |key| {
            key.insert(name.to_owned(), value);
        }
    }

    #[test]
    fn a_set_is_read_and_what_cannot_be_used_is_left_out_and_named() {
        let good = read(GOOD).unwrap();
        assert_eq!(good.faults, []);
        let kids: Vec<&str> = good.keys.keys().map(String::as_str).collect();
        assert_eq!(kids, ["ec-1", "ed-1", "rsa-1"]);
        let read = read(WITH_FAULTS).unwrap();
        assert_eq!(read.keys, good.keys);
        let faults: Vec<(usize, &str, Unusable)> = read
            .faults
            .iter()
            .map(|fault| (fault.number, fault.kid.as_deref().unwrap(), fault.why))
            .collect();
        let expected = [
            (4, "shared", Unusable::Symmetric),
            (5, "short", Unusable::Unfit(Unfit::RsaBits)),
            (6, "cut", Unusable::Unfit(Unfit::Ed25519)),
            (7, "private", Unusable::Private),
            (8, "ec-1", Unusable::Duplicate),
        ];
        assert_eq!(faults, expected);
        let told = format!("{:?}", read.faults);
        for secret in ["c2VjcmV0", "nWGxne", "11qYAY"] {
            assert!(!told.contains(secret), "{told}");
        }
        let first = read.faults[0].to_string();
        assert!(first.starts_with("key 4 (\"shared\") is left out: it is symmetric"));
    }

    #[test]
    fn each_key_is_judged_by_its_name_its_purpose_and_its_algorithm() {
        for (place, change, expected) in [
            (0, put("kid", json!("")), Unusable::Kid),
            (0, put("kid", json!("two words")), Unusable::Kid),
            (0, put("kid", json!(7)), Unusable::Kid),
            (0, put("kid", json!("k".repeat(129))), Unusable::Kid),
            (0, put("use", json!("enc")), Unusable::Use),
            (0, put("key_ops", json!(["sign"])), Unusable::KeyOps),
            (0, put("key_ops", json!("verify")), Unusable::KeyOps),
            (0, put("alg", json!("ES256")), Unusable::Algorithm),
            (1, put("alg", json!("ES384")), Unusable::Algorithm),
            (2, put("alg", json!("PS256")), Unusable::Algorithm),
            (2, put("alg", json!("HS256")), Unusable::Algorithm),
            (0, put("crv", json!("X25519")), Unusable::Kind),
            (1, put("crv", json!("P-384")), Unusable::Kind),
            (0, put("kty", json!("AKP")), Unusable::Kind),
            (2, put("dq", json!("AQ")), Unusable::Private),
        ] {
            let key = changed(place, change);
            assert_eq!(why(&key), Some(expected), "{key}");
        }
        let named = changed(0, put("kid", json!("k".repeat(128))));
        assert_eq!(why(&named), None);
        assert_eq!(why(&json!("a key")), Some(Unusable::NotAnObject));
    }

    #[test]
    fn what_is_no_point_or_no_modulus_is_no_key() {
        let of_bits = |bits: usize| {
            let mut modulus = vec![0xff_u8; bits.div_ceil(8)];
            modulus[0] >>= bits.div_ceil(8) * 8 - bits;
            base64_of(&modulus)
        };
        for (place, change, expected) in [
            (0, put("x", json!("A".repeat(42))), Some(Unfit::Ed25519)),
            (0, put("x", json!("A".repeat(44))), Some(Unfit::Ed25519)),
            // Its y would be the square root of what has none.
            (
                0,
                put("x", json!(base64_of(&[2; 32]))),
                Some(Unfit::Ed25519),
            ),
            (1, put("x", json!("A".repeat(43))), Some(Unfit::P256)),
            (1, put("y", json!("cwKN")), Some(Unfit::P256)),
            (
                1,
                put("x", json!(base64_of(&[0xff; 32]))),
                Some(Unfit::P256),
            ),
            (2, put("n", json!(of_bits(2_047))), Some(Unfit::RsaBits)),
            (2, put("n", json!(of_bits(2_048))), None),
            (2, put("n", json!(of_bits(8_192))), None),
            (2, put("n", json!(of_bits(8_193))), Some(Unfit::RsaBits)),
            (2, put("n", json!("no base64url!")), Some(Unfit::Rsa)),
            (
                2,
                put("n", json!(base64_of(&[0xfe; 256]))),
                Some(Unfit::Rsa),
            ),
            (2, put("e", json!("")), Some(Unfit::RsaExponent)),
            (2, put("e", json!("AQ")), Some(Unfit::RsaExponent)),
            (2, put("e", json!("Aw")), None),
            (2, put("e", json!("AAAAAAAAAAAAAw")), None),
            (2, put("e", json!("BA")), Some(Unfit::RsaExponent)),
            (
                2,
                put("e", json!(base64_of(&[1, 0xff, 0xff, 0xff, 0xff]))),
                None,
            ),
            (
                2,
                put("e", json!(base64_of(&[2, 0, 0, 0, 1]))),
                Some(Unfit::RsaExponent),
            ),
            (
                2,
                put("e", json!(base64_of(&[1; 9]))),
                Some(Unfit::RsaExponent),
            ),
        ] {
            let key = changed(place, change);
            assert_eq!(why(&key), expected.map(Unusable::Unfit), "{key}");
        }
    }

    fn base64_of(bytes: &[u8]) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    }

    #[test]
    fn what_is_no_set_or_too_large_is_refused() {
        let keys = |count: usize| {
            let named = |number: usize| changed(0, put("kid", json!(number.to_string())));
            let keys: Vec<Value> = (0..count).map(named).collect();
            json!({ "keys": keys }).to_string().into_bytes()
        };
        assert_eq!(read(&keys(100)).unwrap().keys.len(), 100);
        let mut padded = GOOD.to_vec();
        padded.resize(JWKS_BYTES_MAX, b' ');
        assert!(read(&padded).is_ok());
        padded.push(b' ');
        for (bytes, expected) in [
            (padded, JwksError::TooLong),
            (keys(101), JwksError::TooMany),
            (b"{\"keys\":[]}".to_vec(), JwksError::NoneUsable(vec![])),
            (b"{}".to_vec(), JwksError::Malformed),
            (b"[]".to_vec(), JwksError::Malformed),
            (b"{\"keys\":{}}".to_vec(), JwksError::Malformed),
            (b"<html>".to_vec(), JwksError::Malformed),
            (vec![b'['; 100_000], JwksError::Malformed),
        ] {
            assert_eq!(read(&bytes).unwrap_err(), expected);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_bring_it_down(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(read(&bytes).is_err());
        }

        #[test]
        fn no_change_of_a_set_brings_it_down_nor_the_keys_that_come_of_it(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = WITH_FAULTS.to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Ok(read) = read(&bytes) {
                let mut keys = crate::KeySet::default();
                for (kid, key) in read.keys {
                    keys.insert_foreign(kid, key);
                }
                for token in [include_str!("../fixtures/es256.jwt"), include_str!("../fixtures/rs256.jwt")] {
                    let _either = keys.verify(token.trim());
                }
            }
        }

        #[test]
        fn no_values_bring_it_down(
            name in prop::sample::select(vec!["kty", "crv", "kid", "use", "alg", "x", "y", "n", "e", "key_ops"]),
            place in 0_usize..3, bytes in prop::collection::vec(any::<u8>(), 0..80), text in ".{0,40}",
        ) {
            for value in [json!(base64_of(&bytes)), json!(text), json!([text]), json!(bytes)] {
                let _either = why(&changed(place, put(name, value)));
            }
        }
    }
}
