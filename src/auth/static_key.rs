//! Keys that do not expire: of servers that post, of whoever scrapes, asks or operates, and of browser applications.
//!
//! A key is written `tw_<id>_<secret>`. Only the SHA-256 of the whole is kept: a secret of 256 random bits cannot be
//! guessed from it, so no slower digest is needed.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::listed::listed;

/// What every key begins with.
const PREFIX: &str = "tw_";
/// Random bytes of an id: so few that two keys could not have the same one only because it is looked up.
pub const ID_BYTES: usize = 6;
/// Random bytes of a secret.
pub const SECRET_BYTES: usize = 32;
/// How many keys there may be.
pub const STATIC_KEYS_MAX: usize = 10_000;
/// How many stores a key may name.
pub const STORES_MAX: usize = 1_000;

listed! {
    /// What a key is good for.
    pub enum Scope {
        /// To post for the stores that the key names, or for all.
        Post = "post",
        /// To scrape `/metrics` and `/metrics/fleet`.
        Metrics = "metrics",
        /// To ask about stores, terminals and sessions.
        Read = "read",
        /// To act: retire a store, seal, accept the clock.
        Operate = "operate",
        /// To post as a browser application, whose key everybody can read.
        App = "app",
    }
}

impl Scope {
    /// The scope of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// A key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticKey {
    /// Names the key in lists and in the audit log.
    pub id: Box<str>,
    /// The SHA-256 of the whole key.
    pub digest: [u8; 32],
    /// What the key is good for.
    pub scopes: Vec<Scope>,
    /// The stores that the key may post for; `None`: all.
    pub stores: Option<Vec<Box<str>>>,
    /// What the key is for, as its maker calls it; of a browser application, the application's name.
    pub name: Box<str>,
    /// When the key was made, Unix ms.
    pub created_at_ms: i64,
}

/// A key as it is shown once, to whoever made it.
pub struct Secret(String);

impl Secret {
    /// Writes a key of random bytes.
    #[must_use]
    pub fn new(id: [u8; ID_BYTES], secret: [u8; SECRET_BYTES]) -> Self {
        Self(format!(
            "{PREFIX}{}_{}",
            hex::encode(id),
            hex::encode(secret)
        ))
    }

    /// The key's id.
    #[must_use]
    pub fn id(&self) -> &str {
        parts(&self.0).map_or("", |(id, _)| id)
    }

    /// What is kept of the key.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }

    /// The key. Whoever has it may do all that it is good for.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

/// The id and the secret of a text that is written as a key.
fn parts(text: &str) -> Option<(&str, &str)> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let is_hex = |text: &str, bytes: usize| {
        text.len() == 2 * bytes && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    (is_hex(id, ID_BYTES) && is_hex(secret, SECRET_BYTES)).then_some((id, secret))
}

/// Whether a credential is meant as a static key, and not as a token.
pub(super) fn is_static(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// The keys that count.
#[derive(Debug, Default)]
pub struct StaticKeys(HashMap<Box<str>, Arc<StaticKey>>);

impl StaticKeys {
    /// The keys, by id.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = StaticKey>) -> Self {
        let keys = keys.into_iter();
        Self(keys.map(|key| (key.id.clone(), Arc::new(key))).collect())
    }

    /// The key that this text is, if it counts. Takes as long for a wrong secret as for a right one.
    pub(super) fn of_id(&self, id: &str) -> Option<&Arc<StaticKey>> {
        self.0.get(id)
    }

    pub(super) fn find(&self, text: &str) -> Option<&Arc<StaticKey>> {
        let (id, _) = parts(text)?;
        let key = self.0.get(id)?;
        let digest: [u8; 32] = Sha256::digest(text).into();
        bool::from(digest.ct_eq(&key.digest)).then_some(key)
    }
}

impl StaticKey {
    /// Whether the key is good for this.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether the key may post for this store.
    #[must_use]
    pub fn may_post_for(&self, store_id: &str) -> bool {
        self.stores
            .as_ref()
            .is_none_or(|stores| stores.iter().any(|store| **store == *store_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &Secret) -> StaticKey {
        StaticKey {
            id: secret.id().into(),
            digest: secret.digest(),
            scopes: vec![Scope::Read],
            stores: Some(vec!["store-1".into()]),
            name: "a test".into(),
            created_at_ms: 0,
        }
    }

    #[test]
    fn a_key_is_found_by_all_of_its_text_alone() {
        let secret = Secret::new([1; ID_BYTES], [2; SECRET_BYTES]);
        let keys = StaticKeys::new([key(&secret)]);
        let text = secret.reveal();
        assert_eq!(text.len(), 3 + 12 + 1 + 64);
        assert_eq!(&*keys.find(text).unwrap().id, "010101010101");
        let other = Secret::new([1; ID_BYTES], [3; SECRET_BYTES]);
        let unknown = Secret::new([3; ID_BYTES], [2; SECRET_BYTES]);
        for wrong in [
            other.reveal(),
            unknown.reveal(),
            "tw_",
            "tw__",
            &text.to_uppercase(),
            &text.replace("02", "0z"),
            text.strip_suffix('2').unwrap(),
            &format!("{text}0"),
        ] {
            assert!(keys.find(wrong).is_none(), "{wrong}");
        }
        assert!(!format!("{secret:?}").contains("02"));
    }

    #[test]
    fn a_key_is_good_for_what_it_says_and_no_more() {
        let one = key(&Secret::new([1; ID_BYTES], [2; SECRET_BYTES]));
        assert!(one.may(Scope::Read) && !one.may(Scope::Operate));
        assert!(one.may_post_for("store-1") && !one.may_post_for("store-2"));
        let all = StaticKey {
            stores: None,
            ..one
        };
        assert!(all.may_post_for("store-2"));
        for scope in Scope::ALL {
            assert_eq!(Scope::of_name(scope.name()), Some(scope));
        }
    }
}
