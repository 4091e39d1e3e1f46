//! What a batch may say of its store and terminal, by who posts it.

use tillwatch_model::{Reason, Source};

use crate::auth::Who;
use crate::intake::offer::Offer;

/// A store and a terminal, as they are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'r> {
    pub(super) store_id: Option<&'r str>,
    pub(super) terminal_id: Option<&'r str>,
}

/// Gives the store that an offer of this sender belongs to, and its terminal, as they are written.
///
/// # Errors
/// When the offer names others than the credential.
pub(super) fn names<'r>(who: &'r Who, offer: &Offer<'r>) -> Result<Names<'r>, Reason> {
    let (store_id, terminal_id) = (offer.store_id, offer.terminal_id);
    match who {
        Who::Anybody => Ok(Names {
            store_id,
            terminal_id,
        }),
        Who::Server(key) => {
            if store_id.is_some_and(|written| !key.may_post_for(written)) {
                return Err(Reason::StoreMismatch);
            }
            Ok(Names {
                store_id,
                terminal_id,
            })
        }
        // Everybody can read the key: what came with it is never taken for what a till has sent.
        Who::App(key) => {
            if store_id.is_some_and(|written| !key.may_post_for(written)) {
                return Err(Reason::StoreMismatch);
            }
            Ok(Names {
                store_id,
                terminal_id: Some(&key.name),
            })
        }
        Who::Bearer(bearer) => {
            let proven = &*bearer.store_id;
            if store_id.is_some_and(|written| written != proven) {
                return Err(Reason::StoreMismatch);
            }
            let terminal_id = match bearer.terminal_id.as_deref() {
                None => terminal_id,
                Some(proven) => {
                    if terminal_id.is_some_and(|written| written != proven) {
                        return Err(Reason::TerminalMismatch);
                    }
                    Some(proven)
                }
            };
            Ok(Names {
                store_id: Some(proven),
                terminal_id,
            })
        }
    }
}

/// The source of what this sender brings. Whatever anybody can send feeds no series that pages.
pub(super) fn source(who: &Who, offer: &Offer<'_>) -> Source {
    match who {
        Who::App(_) => Source::Synthetic,
        Who::Anybody | Who::Bearer(_) | Who::Server(_) => offer.source,
    }
}

/// Who votes about the collector's clock: a terminal, if it has proven which one it is, else its store as a whole. A
/// store's token could invent terminals until they outvote all others.
pub(super) fn voter<'r>(who: &Who, names: Names<'r>) -> Option<(&'r str, &'r str)> {
    let (store_id, terminal_id) = (names.store_id?, names.terminal_id?);
    match who {
        Who::Anybody => Some((store_id, terminal_id)),
        Who::Bearer(bearer) if bearer.terminal_id.is_some() => Some((store_id, terminal_id)),
        Who::Bearer(_) | Who::Server(_) => Some((store_id, "")),
        Who::App(_) => None,
    }
}
