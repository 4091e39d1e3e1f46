//! Says who posts, as far as that is known before a batch is looked at.

use crate::intake::offer::Offer;

/// Who posts, known before a batch's rates and identity are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Nobody was asked for a credential: a batch is believed about its store and terminal.
    Unproven,
}

impl Who {
    /// Gives the store that an offer of this sender belongs to, and its terminal, as they are written.
    pub(super) fn names<'r>(self, offer: &Offer<'r>) -> Names<'r> {
        match self {
            Self::Unproven => Names {
                store_id: offer.store_id,
                terminal_id: offer.terminal_id,
            },
        }
    }
}

/// A store and a terminal, as they are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'r> {
    pub(super) store_id: Option<&'r str>,
    pub(super) terminal_id: Option<&'r str>,
}
