//! An operator's act as a journal record: it takes effect at its place among the batches, in a replay too.
//!
//! Byte table: `docs/formats.md`. A batch's record begins with another first byte, so one look at it
//! tells them apart.

use crate::wire::journal_record_v1::RecordError;

/// The first byte of every act.
const VERSION: u8 = 2;
const RETIRE_STORE: u8 = 1;

/// What an operator did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act<'a> {
    /// The store's series end; what it posts later begins anew.
    RetireStore {
        /// The shop.
        store_id: &'a str,
        /// When, Unix ms.
        at_ms: i64,
    },
}

/// Whether a record is an act, and not a batch.
#[must_use]
pub fn is_act(payload: &[u8]) -> bool {
    payload.first() == Some(&VERSION)
}

/// Writes an act.
#[must_use]
pub fn encode(act: &Act<'_>) -> Vec<u8> {
    let Act::RetireStore { store_id, at_ms } = act;
    let mut bytes = vec![VERSION, RETIRE_STORE];
    bytes.extend_from_slice(&at_ms.to_le_bytes());
    bytes.extend_from_slice(store_id.as_bytes());
    bytes
}

/// Reads an act.
///
/// # Errors
/// When it is none that this release knows.
pub fn decode(payload: &[u8]) -> Result<Act<'_>, RecordError> {
    let (head, rest) = payload
        .split_first_chunk::<2>()
        .ok_or(RecordError::Field("act"))?;
    if head != &[VERSION, RETIRE_STORE] {
        return Err(RecordError::Field("act"));
    }
    let (at_ms, store_id) = rest
        .split_first_chunk::<8>()
        .ok_or(RecordError::Field("time"))?;
    let store_id =
        std::str::from_utf8(store_id).map_err(|_not_utf8| RecordError::Field("store_id"))?;
    Ok(Act::RetireStore {
        store_id,
        at_ms: i64::from_le_bytes(*at_ms),
    })
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
        assert!(crate::wire::journal_record_v1::decode(&bytes).is_err());
        for end in 0..10 {
            assert!(decode(&bytes[..end]).is_err(), "{end} bytes");
        }
        assert!(decode(&[2, 9, 0, 0, 0, 0, 0, 0, 0, 0, b'a']).is_err());
    }
}
