//! Tokens of the fleet's terminals, signed with a key that the collector knows.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tillwatch_model::time::wall_ms;
use tillwatch_token::{AUDIENCE, Claims, KeyError, SigningKey};

/// How long a token is valid. Unit: s.
const VALID_S: i64 = 30 * 86_400;

/// Why there are no tokens.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The key cannot be read.
    #[error("could not read the key {}", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// The file is no key.
    #[error("{} cannot be used", .0.display())]
    Key(PathBuf, #[source] KeyError),
}

/// A token for each terminal, signed when it first posts.
#[derive(Debug)]
pub struct Tokens {
    key: SigningKey,
    signed: Mutex<HashMap<(String, String), Arc<str>>>,
}

impl Tokens {
    /// Takes the key in a file.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub fn open(path: &Path) -> Result<Self, TokensError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| TokensError::Read(path.to_owned(), source))?;
        let key = SigningKey::from_json(&text)
            .map_err(|source| TokensError::Key(path.to_owned(), source))?;
        Ok(Self {
            key,
            signed: Mutex::default(),
        })
    }

    /// The token of a terminal. None if signing fails: then the collector refuses the terminal, and the report says so.
    pub fn of(&self, store: &str, terminal: &str) -> Option<Arc<str>> {
        let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (store.to_owned(), terminal.to_owned());
        if let Some(token) = signed.get(&name) {
            return Some(Arc::clone(token));
        }
        let now_s = wall_ms() / 1_000;
        let claims = Claims {
            aud: AUDIENCE.to_owned(),
            store: store.to_owned(),
            terminal: Some(terminal.to_owned()),
            cohort: None,
            jti: uuid::Uuid::new_v4().simple().to_string(),
            fam: None,
            iat: now_s,
            auth_time: None,
            nbf: None,
            exp: now_s + VALID_S,
        };
        let token: Arc<str> = self.key.sign(&claims).ok()?.into();
        signed.insert(name, Arc::clone(&token));
        Some(token)
    }
}
