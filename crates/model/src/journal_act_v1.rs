//! An operator's act as a journal record: it takes effect at its place among the batches, in a replay too.
//!
//! Byte table: `docs/formats/journal_record_v1.md`. A batch's record begins with another first byte, so one look at it
//! tells them apart.

use crate::journal_record_v1::RecordError;

/// The first byte of every act.
const VERSION: u8 = 2;
const RETIRE_STORE: u8 = 1;
const CLOCK: u8 = 2;
const RETIRE_TERMINAL: u8 = 3;

/// What an operator did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act<'a> {
    /// The store's series end; what it posts later begins anew.
    RetireStore {
        /// The shop.
        store_id: &'a str,
        /// When the store was retired, Unix ms.
        at_ms: i64,
    },
    /// The terminal is gone: nothing is expected of it, until it posts again.
    RetireTerminal {
        /// The shop.
        store_id: &'a str,
        /// The terminal in the store.
        terminal_id: &'a str,
        /// When the terminal was retired, Unix ms.
        at_ms: i64,
    },
    /// The clock was trusted: later times that are noted anywhere were noted when it was wrong.
    Clock {
        /// What it said, Unix ms.
        at_ms: i64,
        /// Whether what is too old by it may be forgotten.
        is_settled: bool,
    },
    /// An act of a kind that only a later release knows. Every kind has the same head, so its time is known.
    Unknown {
        /// The number of the kind.
        kind: u8,
        /// When the act was taken, Unix ms.
        at_ms: i64,
        /// What the act says, undecoded.
        body: &'a [u8],
    },
}

impl Act<'_> {
    /// When the act was done, Unix ms.
    #[must_use]
    pub fn at_ms(&self) -> i64 {
        match self {
            Self::RetireStore { at_ms, .. }
            | Self::RetireTerminal { at_ms, .. }
            | Self::Clock { at_ms, .. }
            | Self::Unknown { at_ms, .. } => *at_ms,
        }
    }
}

/// Whether a record is an act, and not a batch.
#[must_use]
pub fn is_act(payload: &[u8]) -> bool {
    payload.first() == Some(&VERSION)
}

/// Writes an act.
#[must_use]
pub fn encode(act: &Act<'_>) -> Vec<u8> {
    let of_terminal;
    let (kind, body): (u8, &[u8]) = match act {
        Act::RetireStore { store_id, .. } => (RETIRE_STORE, store_id.as_bytes()),
        Act::RetireTerminal {
            store_id,
            terminal_id,
            ..
        } => {
            // No name has it in it.
            of_terminal = format!("{store_id}\0{terminal_id}");
            (RETIRE_TERMINAL, of_terminal.as_bytes())
        }
        Act::Clock { is_settled, .. } => (CLOCK, if *is_settled { &[1] } else { &[0] }),
        Act::Unknown { kind, body, .. } => (*kind, body),
    };
    let mut bytes = vec![VERSION, kind];
    bytes.extend_from_slice(&act.at_ms().to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Reads an act. One of an unknown kind is read as such, so that it can be counted and passed over.
///
/// # Errors
/// When it ends early, or is not as its kind has it.
pub fn decode(payload: &[u8]) -> Result<Act<'_>, RecordError> {
    let (&[version, kind], rest) = payload
        .split_first_chunk::<2>()
        .ok_or(RecordError::Field("act"))?;
    if version != VERSION {
        return Err(RecordError::Version(version));
    }
    let (at_ms, body) = rest
        .split_first_chunk::<8>()
        .ok_or(RecordError::Field("time"))?;
    let at_ms = i64::from_le_bytes(*at_ms);
    match kind {
        RETIRE_STORE => {
            let store_id = std::str::from_utf8(body);
            let store_id = store_id.map_err(|_not_utf8| RecordError::Field("store_id"))?;
            Ok(Act::RetireStore { store_id, at_ms })
        }
        RETIRE_TERMINAL => {
            let names = std::str::from_utf8(body).ok();
            let names = names.and_then(|names| names.split_once('\0'));
            let (store_id, terminal_id) = names.ok_or(RecordError::Field("terminal"))?;
            Ok(Act::RetireTerminal {
                store_id,
                terminal_id,
                at_ms,
            })
        }
        CLOCK => {
            let [settled] = *body else {
                return Err(RecordError::Field("settled"));
            };
            Ok(Act::Clock {
                at_ms,
                is_settled: settled != 0,
            })
        }
        _ => Ok(Act::Unknown { kind, at_ms, body }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_act_reads_as_it_was_written_and_is_no_batch() {
        let act = Act::RetireStore {
            store_id: "store-017",
            at_ms: 1_763_683_200_123,
        };
        let bytes = encode(&act);
        // These bytes lie in journals.
        let mut expected = vec![2, 1];
        expected.extend_from_slice(&1_763_683_200_123_i64.to_le_bytes());
        expected.extend_from_slice(b"store-017");
        assert_eq!(bytes, expected);
        assert!(is_act(&bytes));
        assert_eq!(decode(&bytes), Ok(act));
        assert!(crate::journal_record_v1::decode(&bytes).is_err());
        for end in 0..10 {
            assert!(decode(&bytes[..end]).is_err(), "{end} bytes");
        }
        let act = Act::RetireTerminal {
            store_id: "store-017",
            terminal_id: "till-3",
            at_ms: 1_763_683_200_123,
        };
        let bytes = encode(&act);
        let mut expected = vec![2, 3];
        expected.extend_from_slice(&1_763_683_200_123_i64.to_le_bytes());
        expected.extend_from_slice(b"store-017\0till-3");
        assert_eq!(bytes, expected);
        assert_eq!(decode(&bytes), Ok(act));
        assert!(decode(&bytes[..19]).is_err());
        let act = Act::Clock {
            at_ms: 1_763_683_200_123,
            is_settled: true,
        };
        let bytes = encode(&act);
        let mut expected = vec![2, 2];
        expected.extend_from_slice(&1_763_683_200_123_i64.to_le_bytes());
        expected.push(1);
        assert_eq!(bytes, expected);
        assert_eq!(decode(&bytes), Ok(act));
        assert!(decode(&bytes[..10]).is_err());
    }

    #[test]
    fn an_act_of_a_later_release_keeps_its_bytes_and_its_time() {
        let bytes = [2, 9, 5, 0, 0, 0, 0, 0, 0, 0, b'a', 0xff];
        let act = decode(&bytes).unwrap();
        assert_eq!(
            act,
            Act::Unknown {
                kind: 9,
                at_ms: 5,
                body: &[b'a', 0xff]
            }
        );
        assert_eq!(act.at_ms(), 5);
        assert_eq!(encode(&act), bytes);
        assert!(decode(&bytes[..9]).is_err());
        assert_eq!(decode(&[3, 1]), Err(RecordError::Version(3)));
    }
}
