//! Says who posts, as far as that is known before a batch is looked at.

use std::sync::Arc;

use tillwatch_model::Reason;

use crate::auth::Bearer;
use crate::intake::offer::Offer;

/// Who posts, known before a batch's rates and identity are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Nobody was asked for a credential: a batch is believed about its store and terminal.
    Unproven,
    /// The bearer of a token: a batch may repeat what the token says, and say nothing else.
    Bearer(Arc<Bearer>),
}

impl Who {
    /// Gives the store that an offer of this sender belongs to, and its terminal, as they are written.
    ///
    /// # Errors
    /// When the offer names others than the token.
    pub(super) fn names<'r>(&'r self, offer: &Offer<'r>) -> Result<Names<'r>, Reason> {
        let Self::Bearer(bearer) = self else {
            return Ok(Names {
                store_id: offer.store_id,
                terminal_id: offer.terminal_id,
            });
        };
        let store_id = &*bearer.store_id;
        if offer.store_id.is_some_and(|written| written != store_id) {
            return Err(Reason::StoreMismatch);
        }
        let terminal_id = match bearer.terminal_id.as_deref() {
            None => offer.terminal_id,
            Some(proven) => {
                if offer.terminal_id.is_some_and(|written| written != proven) {
                    return Err(Reason::TerminalMismatch);
                }
                Some(proven)
            }
        };
        Ok(Names {
            store_id: Some(store_id),
            terminal_id,
        })
    }

    /// The store that is proven, whatever a batch says.
    pub(super) fn proven_store(&self) -> Option<&str> {
        match self {
            Self::Unproven => None,
            Self::Bearer(bearer) => Some(&bearer.store_id),
        }
    }
}

/// A store and a terminal, as they are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'r> {
    pub(super) store_id: Option<&'r str>,
    pub(super) terminal_id: Option<&'r str>,
}
