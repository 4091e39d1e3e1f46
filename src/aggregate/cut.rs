//! What a seal takes out of the aggregate, and what a start puts back.

use tillwatch_model::{FirstResult, KeyId, SeqWindow, StoreKeys};

use crate::aggregate::event_groups::{EventNames, TakenEventGroups};
use crate::aggregate::known_errors::KnownErrors;
use crate::aggregate::losses::OpenLosses;
use crate::aggregate::name_rules::SavedAges;
use crate::aggregate::open::{Tables, Taken};
use crate::aggregate::proposals::Proposals;
use crate::aggregate::saved::{SavedSeries, SavedTerminal};
use crate::aggregate::sessions::TakenSessions;
use crate::aggregate::summaries::OpenSummaries;
use crate::aggregate::terminal_hours::TakenTerminalHours;
use crate::aggregate::terminals::{TerminalChange, TerminalKey};

/// Sums over everything ever applied, durable with the seal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Totals {
    /// Records.
    pub records: u64,
    /// Samples accepted; a histogram weighs its counts.
    pub accepted: u64,
    /// Samples rejected, as the records say.
    pub rejected: u64,
    /// Records that a second copy of their batch had gone before; not counted again.
    pub repeated: u64,
    /// Records that could not be read.
    pub unreadable: u64,
    /// Acts of a kind that this release does not know: passed over.
    #[serde(default)]
    pub unknown_acts: u64,
    /// Batches that never came, of queues that are forgotten.
    #[serde(default)]
    pub lost_batches: u64,
    /// Samples of metrics that only a later release knows: kept as `__unknown__`.
    pub unknown: u64,
    /// Samples with a label that only a later release knows: kept as `__unknown__`.
    #[serde(default)]
    pub unknown_labels: u64,
    /// Samples with a connection that only a later release knows: kept as `__unknown__`.
    #[serde(default)]
    pub unknown_connections: u64,
    /// Samples of a source that only a later release knows: kept as `__unknown__`.
    #[serde(default)]
    pub unknown_sources: u64,
    /// Entries of a kind that only a later release knows: passed over.
    #[serde(default)]
    pub unknown_entries: u64,
    /// Batches whose store or release became `__overflow__`.
    pub overflowed: u64,
    /// Batches with a key whose terminal found no place.
    #[serde(default)]
    pub terminals_overflowed: u64,
}

impl Totals {
    /// What of the records only a later release knows, by name.
    #[must_use]
    pub fn later(&self) -> [(&'static str, u64); 6] {
        [
            ("unknown_acts", self.unknown_acts),
            ("unknown_metrics", self.unknown),
            ("unknown_labels", self.unknown_labels),
            ("unknown_connections", self.unknown_connections),
            ("unknown_sources", self.unknown_sources),
            ("unknown_entries", self.unknown_entries),
        ]
    }
}

/// What a state file keeps of stores and releases beside their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct NameAges {
    /// Of the stores.
    pub stores: SavedAges,
    /// Of the releases.
    pub releases: SavedAges,
    /// New releases, and who has brought them.
    pub proposals: Proposals,
    /// Names of custom events.
    #[serde(skip_serializing_if = "EventNames::is_empty")]
    pub event_names: EventNames,
    /// Errors that are known.
    #[serde(skip_serializing_if = "KnownErrors::is_empty")]
    pub known_errors: KnownErrors,
}

/// What a state file holds for the aggregate.
#[derive(Debug, Default)]
pub struct Restored {
    /// Position of the last record that was sealed.
    pub applied: u64,
    /// Sums over everything sealed.
    pub totals: Totals,
    /// The latest time of a record, Unix ms.
    pub journal_ms: i64,
    /// Stores and when they were last seen.
    pub stores: Vec<(String, i64)>,
    /// Releases and when they were last seen.
    pub releases: Vec<(String, i64)>,
    /// How old stores and releases are.
    pub name_ages: NameAges,
    /// Series by store.
    pub store_series: Vec<(String, SavedSeries)>,
    /// Series by release.
    pub release_series: Vec<(String, SavedSeries)>,
    /// Queues by terminal.
    pub queues: Vec<(TerminalKey, [u8; 16], SeqWindow)>,
    /// Last states by terminal.
    pub terminals: Vec<(TerminalKey, SavedTerminal)>,
}

/// Everything that one seal makes durable together.
#[derive(Debug)]
pub struct Cut {
    /// Position of the last record in the cut.
    pub applied: u64,
    /// Sums over everything up to that record.
    pub totals: Totals,
    /// The latest time of a record, Unix ms.
    pub journal_ms: i64,
    /// Samples in the cut's windows.
    pub samples: u64,
    /// The cut's windows.
    pub windows: Taken,
    /// What the cut holds by terminal and hour.
    pub terminal_hours: TakenTerminalHours,
    /// What the cut holds by session and day.
    pub sessions: TakenSessions,
    /// What the cut holds by event and hour.
    pub event_groups: TakenEventGroups,
    /// What the cut holds of reports that pages have made themselves.
    pub summaries: OpenSummaries,
    /// What the cut holds of losses, and of what was missing and has come.
    pub losses: OpenLosses,
    /// What resolves the numbers of stores and releases.
    pub tables: Tables,
    /// Stores and when they were last seen.
    pub stores: Vec<(String, i64)>,
    /// Releases and when they were last seen.
    pub releases: Vec<(String, i64)>,
    /// How old stores and releases are.
    pub name_ages: NameAges,
    /// Stores and releases that have left their sets: their saved series go before the changed ones come.
    pub dropped: (Vec<String>, Vec<String>),
    /// Series of the stores that have changed.
    pub store_series: Vec<(String, SavedSeries)>,
    /// Series of the releases that have changed.
    pub release_series: Vec<(String, SavedSeries)>,
    /// Idempotency keys of the cut's batches, ascending.
    pub keys: Vec<(KeyId, FirstResult)>,
    /// How many of these keys each store has, by hour.
    pub keys_by_store: Vec<StoreKeys>,
    /// Terminals that have changed, each with its last state.
    pub terminals: Vec<(TerminalChange, SavedTerminal)>,
}
