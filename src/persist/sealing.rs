//! Holds a cut on its way into the state file: encoded, and readable for queries while it is written.

use std::collections::BTreeMap;

use tillwatch_model::{FirstResult, KeyId, StoreHour, StoreKeys};

use crate::aggregate::saved::SavedSeries;
use crate::aggregate::terminals::TerminalChange;
use crate::aggregate::{Cut, Totals};
use crate::persist::epoch::SideDays;
use crate::persist::error::StateError;
use crate::persist::marks::hours_of;
use crate::persist::rows::{self, EncodedRows, RowOrigin};
use crate::persist::side_outbox::{self, Beside, SideBlob};
use crate::persist::side_tables::SideTable;
use crate::persist::state::State;

/// A cut that has been encoded and waits to be written.
#[derive(Debug)]
pub struct Sealing {
    pub(super) epoch: u64,
    pub(super) cut: CutState,
    pub(super) encoded: EncodedRows,
    pub(super) blob: Vec<u8>,
    pub(super) hours: Vec<StoreHour>,
    pub(super) sides: Vec<SideBlob>,
}

/// The parts of a cut beside its rows.
#[derive(Debug)]
pub(super) struct CutState {
    pub(super) applied: u64,
    pub(super) totals: Totals,
    pub(super) journal_ms: i64,
    pub(super) stores: Vec<(String, i64)>,
    pub(super) releases: Vec<(String, i64)>,
    /// JSON.
    pub(super) name_ages: String,
    pub(super) dropped: (Vec<String>, Vec<String>),
    pub(super) store_series: Vec<(String, String)>,
    pub(super) release_series: Vec<(String, String)>,
    pub(super) terminals: Vec<(TerminalChange, String)>,
    pub(super) keys: Vec<(KeyId, FirstResult)>,
    pub(super) keys_by_store: Vec<StoreKeys>,
}

impl Sealing {
    /// The epoch's number.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The position up to which the epoch goes.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.cut.applied
    }

    /// The epoch's rows by day.
    #[must_use]
    pub fn days(&self) -> &BTreeMap<u32, rows::DayLedger> {
        &self.encoded.days
    }

    /// Idempotency keys of the epoch's batches.
    #[must_use]
    pub fn keys(&self) -> &[(KeyId, FirstResult)] {
        &self.cut.keys
    }

    /// The hours of stores that the epoch's rows are of.
    #[must_use]
    pub fn hours(&self) -> &[StoreHour] {
        &self.hours
    }

    /// The epoch's rows in the tables beside `rollup_1m`, by day.
    #[must_use]
    pub fn side_days(&self) -> SideDays {
        side_outbox::days_of(&self.sides)
    }

    /// The epoch's rows in such a table, as bytes.
    #[must_use]
    pub fn side_bytes(&self, table: SideTable) -> &[u8] {
        let side = self.sides.iter().find(|side| side.table == table);
        side.map_or(&[], |side| &side.encoded.bytes)
    }

    /// The rows of `rollup_1m` as bytes, for readers while the transaction is under way.
    #[must_use]
    pub fn row_bytes(&self) -> &[u8] {
        &self.encoded.bytes
    }
}

impl State {
    /// Encodes a cut as the epoch with this number. Takes no lock: the rows may be many.
    ///
    /// # Errors
    /// When the rows cannot be compressed.
    pub fn encode(&self, cut: Cut, epoch: u64) -> Result<Sealing, StateError> {
        let origin = RowOrigin {
            collector_id: self.collector_id(),
            epoch,
            received_at_ms: cut.journal_ms,
        };
        let terminal_hours = cut.terminal_hours.into_rows(&cut.tables);
        let sessions = cut.sessions.into_rows(&cut.tables);
        let event_groups = cut.event_groups.into_rows(&cut.tables);
        let summaries = cut.summaries.into_rows(&cut.tables);
        let losses = cut.losses.into_rows();
        let beside = Beside {
            hours: &terminal_hours,
            sessions: &sessions,
            event_groups: &event_groups,
            summaries: &summaries,
            losses: &losses,
        };
        let sides = side_outbox::encode(beside, origin)?;
        let rows = cut.windows.into_rows(&cut.tables);
        let hours = hours_of(&rows);
        let encoded = rows::encode(rows, origin);
        let blob = zstd::bulk::compress(&encoded.bytes, 1).map_err(StateError::Blob)?;
        let json = |series: Vec<(String, SavedSeries)>| {
            let line = |(name, saved)| Ok((name, serde_json::to_string(&saved)?));
            series
                .into_iter()
                .map(line)
                .collect::<Result<Vec<_>, StateError>>()
        };
        let terminal = |(change, saved)| Ok((change, serde_json::to_string(&saved)?));
        let terminals: Result<Vec<_>, StateError> =
            cut.terminals.into_iter().map(terminal).collect();
        Ok(Sealing {
            epoch,
            encoded,
            blob,
            hours,
            sides,
            cut: CutState {
                applied: cut.applied,
                totals: cut.totals,
                journal_ms: cut.journal_ms,
                stores: cut.stores,
                releases: cut.releases,
                name_ages: serde_json::to_string(&cut.name_ages)?,
                dropped: cut.dropped,
                store_series: json(cut.store_series)?,
                release_series: json(cut.release_series)?,
                terminals: terminals?,
                keys: cut.keys,
                keys_by_store: cut.keys_by_store,
            },
        })
    }
}
