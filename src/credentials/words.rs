//! How keys and revocations are listed, and what the audit log says of an order.

use serde_json::{Value, json};

use crate::auth::{Revocation, Revoked, StaticKey};
use crate::credentials::order::{Answer, ListedKey, ListedRevocation, Order};

pub(super) fn listed_key(key: StaticKey) -> ListedKey {
    let stores = key.stores.unwrap_or_default();
    ListedKey {
        id: key.id.into(),
        scopes: key
            .scopes
            .iter()
            .map(|scope| scope.name().to_owned())
            .collect(),
        stores: stores.into_iter().map(String::from).collect(),
        name: key.name.into(),
        created_at_ms: key.created_at_ms,
    }
}

pub(super) fn listed_revocation(Revocation { revoked, before_ms }: Revocation) -> ListedRevocation {
    let (kind, name, terminal) = match revoked {
        Revoked::Family(name) => ("family", name, None),
        Revoked::Store(name) => ("store", name, None),
        Revoked::Terminal(name, terminal) => ("terminal", name, Some(terminal)),
    };
    ListedRevocation {
        kind: kind.to_owned(),
        name: name.into(),
        terminal: terminal.map(String::from),
        before_ms,
    }
}

/// What the audit log says of an order; nothing of one that changes nothing.
pub(super) fn words(order: &Order, answer: Option<&Answer>) -> Option<(&'static str, Value)> {
    let id = answer.and_then(|answer| answer.id.as_deref());
    Some(match order {
        Order::List => return None,
        Order::NewSigningKey => ("signing_key.new", json!({"kid": id})),
        Order::RetireSigningKey { kid } => ("signing_key.retire", json!({"kid": kid})),
        Order::RemoveSigningKey { kid } => ("signing_key.remove", json!({"kid": kid})),
        Order::Issue {
            store,
            terminal,
            valid_s,
        } => {
            let about =
                json!({"store": store, "terminal": terminal, "valid_s": valid_s, "token": id});
            ("token.issue", about)
        }
        Order::RevokeFamily { family } => ("token.revoke", json!({"family": family})),
        Order::RevokeBefore {
            store,
            terminal,
            before_ms,
        } => {
            let before_ms = answer.and_then(|answer| answer.before_ms).or(*before_ms);
            let about = json!({"store": store, "terminal": terminal, "before_ms": before_ms});
            ("token.revoke", about)
        }
        Order::NewKey {
            scopes,
            stores,
            name,
        } => {
            let about = json!({"id": id, "scopes": scopes, "stores": stores, "name": name});
            ("key.new", about)
        }
        Order::RemoveKey { id } => ("key.remove", json!({"id": id})),
    })
}
