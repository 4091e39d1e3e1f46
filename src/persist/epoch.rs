//! What the ledger knows of one epoch.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::persist::rows::DayLedger;
use crate::persist::side_tables::SideTable;

/// What the ledger knows of an epoch's rows, by table and day (days since 1970).
pub type SideDays = BTreeMap<SideTable, BTreeMap<u32, DayLedger>>;

/// One epoch in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochInfo {
    /// The epoch's number.
    pub epoch: u64,
    /// The collector id that the epoch's rows bear.
    pub collector_id: Uuid,
    /// When the epoch was sealed, Unix ms.
    pub sealed_at_ms: i64,
    /// When ClickHouse was found to hold all of the epoch, Unix ms.
    pub confirmed_at_ms: Option<i64>,
    /// The epoch's rows of `rollup_1m` by day (days since 1970).
    pub days: BTreeMap<u32, DayLedger>,
    /// The epoch's rows of the other tables.
    pub sides: SideDays,
}

impl EpochInfo {
    /// How many rows of `rollup_1m` the epoch has.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.days.values().map(|day| day.rows).sum()
    }

    /// How many rows of the other tables the epoch has.
    #[must_use]
    pub fn side_rows(&self) -> u64 {
        let days = self.sides.values().flat_map(BTreeMap::values);
        days.map(|day| day.rows).sum()
    }

    /// Samples in the epoch.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.days.values().map(|day| day.samples).sum()
    }
}
