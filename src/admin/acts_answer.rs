//! What acts, and the question about the clock, are answered with.

use schemars::JsonSchema;
use serde::Serialize;

/// A store was retired.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StoreRetired {
    /// That it was.
    #[schemars(extend("const" = true))]
    pub(super) retired: bool,
    /// The store.
    pub(super) store_id: String,
    /// How many of its terminals were active.
    pub(super) terminals: usize,
}

/// A terminal was retired.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TerminalRetired {
    /// That it was.
    #[schemars(extend("const" = true))]
    pub(super) retired: bool,
    /// The store.
    pub(super) store_id: String,
    /// The terminal.
    pub(super) terminal_id: String,
}

/// What was open is sealed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Sealed {
    /// Up to which position of the journal.
    pub(super) sealed_position: u64,
}

/// How things stand with the clock.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ClockAnswer {
    /// What the system's clock shows, Unix ms.
    pub(super) clock_ms: i64,
    /// Why the clock is in doubt, so that nothing is taken in; `null`: it is not.
    pub(super) doubt: Option<String>,
    /// How the terminals' clocks stand to it; `null`: no terminal says.
    pub(super) fleet: Option<FleetClock>,
    /// Whether what is too old by this clock may be destroyed.
    pub(super) is_settled: bool,
    /// The best that is known of the time, Unix ms.
    pub(super) now_ms: i64,
}

/// How the terminals' clocks stand to the collector's.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FleetClock {
    /// By how much they are ahead at their median, ms; negative: behind.
    pub(super) ahead_ms: i64,
    /// How many terminals say so.
    pub(super) terminals: usize,
}
