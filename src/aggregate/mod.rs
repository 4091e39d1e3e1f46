//! Stage 3 adds durable batches to open windows and live series.
//!
//! **Promises**
//! 1. The aggregate is deterministic: the same records in the same order give the same rollups, series
//!    and sets, live or replayed. The aggregate uses no clock and no I/O; time is what the records say.
//! 2. Nothing is rejected: a store or release that gets no place is counted as `__overflow__`, and a release that
//!    only one terminal has reported as `__new__`.
//! 3. A cut ([`Aggregator::take`]) holds exactly the records up to its position: rollups, terminals'
//!    hours, sessions, sequence windows and live counters belong together.
//!
//! | file | what |
//! |---|---|
//! | `apply.rs` | applies one record |
//! | `brought.rs` | what a reading brings: a value or a histogram |
//! | `aggregator.rs` | the whole aggregate; takes the cut of a seal |
//! | `cut.rs` | what a seal takes out and a start puts back |
//! | `entries.rs` | what is taken of a batch's entries |
//! | `cells.rs` | cells by key, of which a reader can keep what they were |
//! | `kept.rs` | what a reader keeps of what is open |
//! | `open.rs` | windows that are still filling |
//! | `terminal_hours.rs` | scalars by terminal and hour that are still filling |
//! | `sessions.rs` | sums by session and day that are still filling |
//! | `acts.rs` | what an operator's act or the clock's changes |
//! | `terminals_end.rs` | how what is known of terminals ends |
//! | `known_errors.rs` | which errors have been seen on which release |
//! | `losses.rs` | what has become of batches that were missing, and of samples that were dropped |
//! | `summaries.rs` | reports that pages have made themselves, by metric and minute |
//! | `event_groups.rs` | events by what happened and hour that are still filling; names of custom events |
//! | `terminal.rs` | one terminal: its sequence windows and last values |
//! | `store_terminals.rs` | the terminals of one store |
//! | `terminals.rs` | the terminals of all stores, bounded and counted |
//! | `exponential.rs` | exponential buckets, for native histograms |
//! | `layout.rs` | where each metric's live series stand |
//! | `live.rs` | cumulative and window series for Prometheus |
//! | `minutes.rs` | the last minutes of every metric in every store, for window gauges |
//! | `saved.rs` | live series as the state file keeps them |
//! | `name_rules.rs` | what holds for a set of names |
//! | `names.rs` | the capped, durable sets of stores and releases |
//! | `proposals.rs` | new releases that wait for a name |
//! | `row_quota.rs` | how many rows a store has made in the hour, and who has made too many |
//!
//! **Not here**: `intake` recognises duplicates before the journal. The aggregate keeps sequence windows
//! only for the state file, so that they agree with the applied position.

pub mod aggregator;
mod apply;
pub mod brought;
pub mod cells;
pub mod cut;
mod entries;
pub mod event_groups;
pub mod exponential;
pub mod kept;
pub mod layout;
pub mod live;
pub mod minutes;
pub mod name_rules;
pub mod names;
pub mod open;
pub mod proposals;
pub mod row_quota;
pub mod saved;
pub mod sessions;
mod acts;
mod terminals_end;
pub mod known_errors;
pub mod losses;
pub mod summaries;
pub mod terminal_hours;
pub mod store_terminals;
pub mod terminal;
pub mod terminals;

pub use aggregator::{Aggregator, Caps};
pub use cut::{Cut, NameAges, Restored, Totals};
pub use kept::Filter;
