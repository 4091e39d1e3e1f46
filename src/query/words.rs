//! Lists the words that answers may have, for their schemas.

use tillwatch_model::{Connection, Source, Unit};

/// The units that values of an answer may have.
#[must_use]
pub fn units() -> [&'static str; 6] {
    [
        Unit::Milliseconds,
        Unit::Score,
        Unit::Ratio,
        Unit::Bytes,
        Unit::Megabytes,
        Unit::Count,
    ]
    .map(Unit::name)
}

/// The connections that samples may have, and what stands for those of a later release.
#[must_use]
pub fn connections() -> Vec<&'static str> {
    let all = Connection::ALL.iter().copied();
    all.chain([Connection::Later])
        .map(Connection::name)
        .collect()
}

/// Who may have measured, and what stands for those of a later release.
#[must_use]
pub fn sources() -> Vec<&'static str> {
    let all = Source::ALL.iter().copied();
    all.chain([Source::Later]).map(Source::name).collect()
}
