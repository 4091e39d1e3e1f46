//! Tells who a batch is: two posts of one batch have the same identity, and no other batch has it.

use tillwatch_model::dimension::{APP_PREFIX, is_identifier};
use tillwatch_model::{KeyId, QueueKey, Reason};

use crate::auth::Who;
use crate::intake::keys::Key;
use crate::intake::offer::{Mark, Offer};
use crate::intake::who::{Names, names};

/// A batch's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity<'r> {
    /// The batch's terminal numbers its batches.
    Numbered(Numbered<'r>),
    /// The batch's sender does not number them: a digest stands for the batch.
    Keyed(Keyed<'r>),
}

/// A batch that is known by its number in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbered<'r> {
    /// The shop.
    pub store_id: &'r str,
    /// The terminal.
    pub terminal_id: &'r str,
    /// The queue's UUID.
    pub queue: [u8; 16],
    /// The batch's number in the queue.
    pub seq: u64,
    /// Stands for what the batch holds: no part of its identity, but two of one number should agree.
    pub content: u32,
}

/// A batch that is known by its sender's key, or by what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyed<'r> {
    /// The shop.
    pub store_id: &'r str,
    /// The terminal.
    pub terminal_id: &'r str,
    /// The digest that stands for the batch.
    pub id: KeyId,
}

impl<'r> Identity<'r> {
    /// Tells who an offered batch is, of a sender that is known.
    ///
    /// # Errors
    /// The reason for refusing the batch whole.
    pub fn of(who: &'r Who, offer: &Offer<'r>) -> Result<Self, Reason> {
        let (store_id, terminal_id) = sender(who, offer)?;
        let keyed = |id| {
            Self::Keyed(Keyed {
                store_id,
                terminal_id,
                id,
            })
        };
        Ok(match offer.mark? {
            // The numbers of queues that anybody could have named mean nothing, but for a resend.
            Mark::Number { queue, seq, .. } if matches!(who, Who::App(_)) => {
                let mut number = [0; 24];
                number[..16].copy_from_slice(&queue);
                number[16..].copy_from_slice(&seq.to_le_bytes());
                keyed(Key::id_of_content(store_id, terminal_id, &number))
            }
            Mark::Number {
                queue,
                seq,
                content,
            } => Self::Numbered(Numbered {
                store_id,
                terminal_id,
                queue,
                seq,
                content,
            }),
            Mark::Key { key, place } => keyed(key.id(store_id, terminal_id, place)),
            Mark::Content(content) => keyed(Key::id_of_content(store_id, terminal_id, content)),
        })
    }

    /// The store and the terminal.
    pub(super) fn sender(&self) -> (&'r str, &'r str) {
        match self {
            Self::Numbered(numbered) => (numbered.store_id, numbered.terminal_id),
            Self::Keyed(keyed) => (keyed.store_id, keyed.terminal_id),
        }
    }

    /// The digest, of a batch that is known by one.
    pub(super) fn key_id(&self) -> Option<KeyId> {
        match self {
            Self::Numbered(_) => None,
            Self::Keyed(keyed) => Some(keyed.id),
        }
    }
}

/// The store and the terminal of an offer, if they are written as they must be.
fn sender<'r>(who: &'r Who, offer: &Offer<'r>) -> Result<(&'r str, &'r str), Reason> {
    if let Some(reason) = offer.unreadable {
        return Err(reason);
    }
    let identifier =
        |text: Option<&'r str>, reason| text.filter(|text| is_identifier(text)).ok_or(reason);
    let Names {
        store_id,
        terminal_id,
    } = names(who, offer)?;
    let store_id = identifier(store_id, Reason::InvalidStoreId)?;
    let terminal_id = identifier(terminal_id, Reason::InvalidTerminalId)?;
    // The names of applications are nobody else's.
    if terminal_id.starts_with(APP_PREFIX) && !matches!(who, Who::App(_)) {
        return Err(Reason::InvalidTerminalId);
    }
    Ok((store_id, terminal_id))
}

/// The store whose bucket a batch is charged to; `None`: the batch has no identity. Makes no digest, so that it
/// can be asked before anything is done for the batch.
pub(super) fn payer<'r>(who: &'r Who, offer: &Offer<'r>) -> Option<(&'r str, &'r str)> {
    let sender = sender(who, offer).ok()?;
    offer.mark.is_ok().then_some(sender)
}

impl Numbered<'_> {
    /// Copies the queue's key and the number out of the request.
    #[must_use]
    pub fn to_owned(self) -> (QueueKey, u64) {
        let key = QueueKey {
            store_id: self.store_id.into(),
            terminal_id: self.terminal_id.into(),
            queue: self.queue,
        };
        (key, self.seq)
    }
}
