//! How the state file keeps unsigned numbers.

/// SQLite's integers are signed; the sums and hashes here are kept by their bits.
pub(super) fn signed(value: u64) -> i64 {
    value.cast_signed()
}

/// The number that [`signed`] kept.
pub(super) fn unsigned(value: i64) -> u64 {
    value.cast_unsigned()
}
