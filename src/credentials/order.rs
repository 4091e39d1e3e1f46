//! What can be ordered, and what is answered. Both travel as JSON over the socket in the data folder.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is to be done about credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Make a key that signs tokens from now on.
    NewSigningKey,
    /// Let a key sign no more; what it has signed stays valid.
    RetireSigningKey {
        /// The key.
        kid: String,
    },
    /// Take a key away; what it has signed ends.
    RemoveSigningKey {
        /// The key.
        kid: String,
    },
    /// Sign a token.
    Issue {
        /// The store of which the bearer may post.
        store: String,
        /// The terminal of which the bearer may post; none: all of the store.
        terminal: Option<String>,
        /// How long the token is valid. Unit: s.
        valid_s: i64,
    },
    /// End a token and all that were made of it.
    RevokeFamily {
        /// The name of the token, or of its family.
        family: String,
    },
    /// End the tokens of a store, or of a terminal.
    RevokeBefore {
        /// The store.
        store: String,
        /// The terminal; none: all of the store.
        terminal: Option<String>,
        /// Only tokens that were issued before this time, Unix ms; none: before now.
        before_ms: Option<i64>,
    },
    /// Make a static key.
    NewKey {
        /// What the key is good for, by name.
        scopes: Vec<String>,
        /// The stores that the key may post for; none: all.
        stores: Vec<String>,
        /// What the key is for.
        name: String,
    },
    /// Take a static key away.
    RemoveKey {
        /// The key's id.
        id: String,
    },
    /// List everything.
    List,
}

impl Order {
    /// Whether its names are written as they must be.
    ///
    /// # Errors
    /// Says what must be; nothing of what stood there, which may be a secret.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let is_hex =
            |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_kid = |text: &str| {
            (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let is_family = |text: &str| {
            (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        match self {
            Self::RetireSigningKey { kid } | Self::RemoveSigningKey { kid } if !is_kid(kid) => Err(
                "the name of a key that signs has letters and digits; `tillwatch token key list` gives it",
            ),
            Self::RemoveKey { id } if !is_hex(id) => {
                Err("the id of a key has 12 hexadecimal digits; `tillwatch key list` gives it")
            }
            Self::RevokeFamily { family } if !is_family(family) => Err(
                "the name of a token's family has 1 to 64 visible characters; `tillwatch token inspect` gives it",
            ),
            _ => Ok(()),
        }
    }
}

/// What is answered. A credential that was made stands in it once.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// The id of what was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The credential that was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// From when on tokens count again that are issued anew, Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_ms: Option<i64>,
    /// Keys that sign or have signed tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signing_keys: Vec<ListedSigningKey>,
    /// Static keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<ListedKey>,
    /// Tokens that were ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revocations: Vec<ListedRevocation>,
}

/// Without the secret.
impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Answer")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A key that signs or has signed tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedSigningKey {
    /// Its name.
    pub kid: String,
    /// When it was made, Unix ms.
    pub created_at_ms: i64,
    /// When it was retired, Unix ms; none: it can sign.
    pub retired_at_ms: Option<i64>,
}

/// A static key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedKey {
    /// Its id.
    pub id: String,
    /// What it is good for.
    pub scopes: Vec<String>,
    /// The stores that it may post for; none: all.
    pub stores: Vec<String>,
    /// What it is for.
    pub name: String,
    /// When it was made, Unix ms.
    pub created_at_ms: i64,
}

/// Tokens that were ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedRevocation {
    /// `family`, `store` or `terminal`.
    pub kind: String,
    /// The family or the store.
    pub name: String,
    /// The terminal, of a terminal.
    pub terminal: Option<String>,
    /// Of a store or a terminal: tokens issued before this time, Unix ms.
    pub before_ms: i64,
}
