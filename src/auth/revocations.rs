//! Tokens that were ended before their time.
//!
//! Three words are enough: a family (the one token and all that are made of it by renewal), and all tokens of a store
//! or a terminal that were issued before a time. Each is asked for with every request, so that it counts from the next
//! one on.

use std::collections::{HashMap, HashSet};

use tillwatch_token::{RENEWAL_GRACE_S, VALID_S_MAX};

use crate::auth::bearer::Bearer;

/// How many revocations are kept. Whoever needs more revokes stores instead of families.
pub const REVOCATIONS_MAX: usize = 100_000;

/// How long a revocation is kept: no token that it could end is valid, or can be renewed, for longer. Unit: ms.
pub const KEPT_MS: i64 = (VALID_S_MAX + RENEWAL_GRACE_S) * 1_000;

/// Which tokens are ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Revoked {
    /// All tokens of this family; or the one token of this name.
    Family(Box<str>),
    /// All of a store.
    Store(Box<str>),
    /// All of a terminal, and not those of its whole store.
    Terminal(Box<str>, Box<str>),
}

/// An end of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Which tokens.
    pub revoked: Revoked,
    /// Of a store or a terminal: only those that were issued before this time, Unix ms.
    pub before_ms: i64,
}

/// The revocations that count, each findable by what a request has at hand: nothing is copied to look.
#[derive(Debug, Default)]
pub struct Revocations {
    families: HashSet<Box<str>>,
    /// By store: before when.
    stores: HashMap<Box<str>, i64>,
    /// By store and terminal: before when.
    terminals: HashMap<Box<str>, HashMap<Box<str>, i64>>,
}

impl Revocations {
    /// The revocations; of two of the same store the later time counts.
    #[must_use]
    pub fn new(all: impl IntoIterator<Item = Revocation>) -> Self {
        let mut revocations = Self::default();
        for Revocation { revoked, before_ms } in all {
            let before = match revoked {
                Revoked::Family(family) => {
                    revocations.families.insert(family);
                    continue;
                }
                Revoked::Store(store_id) => revocations.stores.entry(store_id),
                Revoked::Terminal(store_id, terminal_id) => {
                    let of_store = revocations.terminals.entry(store_id).or_default();
                    of_store.entry(terminal_id)
                }
            };
            let before = before.or_insert(before_ms);
            *before = before_ms.max(*before);
        }
        revocations
    }

    /// Whether a bearer's token was ended.
    pub(super) fn end(&self, bearer: &Bearer) -> bool {
        let is_before = |before_ms: Option<&i64>| {
            before_ms.is_some_and(|before_ms| bearer.issued_ms < *before_ms)
        };
        let of_terminal = || {
            let of_store = self.terminals.get(&bearer.store_id)?;
            of_store.get(bearer.terminal_id.as_deref()?)
        };
        self.families.contains(&bearer.family)
            || self.families.contains(&bearer.name)
            || is_before(self.stores.get(&bearer.store_id))
            || is_before(of_terminal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(terminal_id: Option<&str>, issued_ms: i64) -> Bearer {
        Bearer {
            store_id: "store-1".into(),
            terminal_id: terminal_id.map(Into::into),
            family: "family-1".into(),
            name: "token-1".into(),
            issued_ms,
            from_ms: i64::MIN,
            until_ms: i64::MAX,
        }
    }

    #[test]
    fn what_was_revoked_is_ended_and_nothing_else() {
        let revoke = |revoked, before_ms| Revocation { revoked, before_ms };
        let of_terminal = Revoked::Terminal("store-1".into(), "till-1".into());
        let of_till = Revocations::new([revoke(of_terminal, 1_000)]);
        assert!(of_till.end(&bearer(Some("till-1"), 999)));
        assert!(!of_till.end(&bearer(Some("till-1"), 1_000)));
        assert!(!of_till.end(&bearer(Some("till-2"), 0)));
        assert!(
            !of_till.end(&bearer(None, 0)),
            "one of the whole store is not the till's"
        );
        let of_store = Revoked::Store("store-1".into());
        let of_store = Revocations::new([
            revoke(of_store.clone(), 2_000),
            revoke(of_store, 1_000),
            revoke(Revoked::Store("store-2".into()), 9_000),
        ]);
        assert!(of_store.end(&bearer(Some("till-1"), 1_999)));
        assert!(of_store.end(&bearer(None, 1_999)));
        assert!(!of_store.end(&bearer(None, 2_000)));
        let of_family = Revocations::new([revoke(Revoked::Family("family-1".into()), 0)]);
        assert!(of_family.end(&bearer(None, i64::MAX)));
        let of_token = Revocations::new([revoke(Revoked::Family("token-1".into()), 0)]);
        assert!(of_token.end(&bearer(None, i64::MAX)));
        assert!(!Revocations::default().end(&bearer(None, 0)));
    }
}
