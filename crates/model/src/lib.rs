//! The vocabulary: plain types, no I/O, no async, and no clock but the one that `time.rs` reads. Every other module
//! speaks in these.
//!
//! | file | what |
//! |---|---|
//! | `metric.rs` | the catalogue's types: kind, unit, label, live rule |
//! | `catalogue.rs` | every metric terminals measure, declared once |
//! | `own_metric.rs` | metrics that a shop declares itself |
//! | `histogram.rs` | HdrHistogram's bucket layout, sparse; quantiles by integer rank |
//! | `quantile.rs` | a quantile as an exact decimal fraction, and its rank |
//! | `dimension.rs` | identifiers, connection and source: what rollups are told apart by |
//! | `batch.rs` | what one terminal posts at once, after validation |
//! | `error_event/` | what is kept of an error: scrubbed texts and a fingerprint |
//! | `habit.rs` | which hours of the week a terminal is used to report in |
//! | `event.rs` | events and drops: what a terminal reports beside what it measures |
//! | `keyed.rs` | batches with an idempotency key in place of a sequence number |
//! | `outcome.rs` | what became of each sample; each gets exactly one |
//! | `rollup.rs` | the mergeable summary of one metric in one window |
//! | `hours.rs` | hours of stores, and which of them are dirty |
//! | `terminal_hour.rs` | what one terminal said of one metric in one hour |
//! | `session.rs` | a session's pseudonym, and what is kept of a session on a day |
//! | `summary.rs` | reports with percentiles that a page has made itself |
//! | `loss.rs` | what has become of batches that were missing |
//! | `share.rs` | who gets another of the places that all stores share |
//! | `sequence/` | which sequence numbers of a queue have been seen |
//! | `journal_record_v1/` | a batch as it lies in the journal: written before it is acknowledged, read by later versions, too |
//! | `journal_act_v1.rs` | an operator's act, or the clock's, as it lies in the journal |
//! | `time.rs` | Unix milliseconds, windows, and the one place that reads the wall clock |

pub mod batch;
pub mod browser;
pub mod catalogue;
pub mod dimension;
pub mod error_event;
pub mod event;
pub mod habit;
pub mod histogram;
pub mod hours;
pub mod journal_act_v1;
pub mod journal_record_v1;
pub mod keyed;
pub mod loss;
pub mod metric;
pub mod outcome;
pub mod own_metric;
pub mod quantile;
pub mod rollup;
pub mod sequence;
pub mod session;
pub mod share;
pub mod summary;
pub mod terminal_hour;
pub mod time;

pub use batch::{BatchHeader, Entry, HistogramReading, QueueKey, Reading};
pub use browser::Browser;
pub use catalogue::Catalogue;
pub use dimension::{Connection, Source};
pub use event::{EventGroup, EventGroupKey, EventKind, EventSums};
pub use habit::Habit;
pub use histogram::SparseHistogram;
pub use hours::{DirtyHours, StoreHour};
pub use keyed::{FirstResult, KeyId, StoreKeys};
pub use loss::{BatchSize, LossRow, LossState};
pub use metric::{Kind, Live, Metric, Unit};
pub use outcome::{Outcomes, Reason};
pub use own_metric::OwnMetric;
pub use quantile::Quantile;
pub use rollup::{Rollup, RollupKey, Summary};
pub use sequence::{Seen, SeqWindow};
pub use session::{Pseudonym, SessionDay, SessionDayKey, SessionKey, SessionSums};
pub use share::ShareRule;
pub use terminal_hour::{Scalars, TerminalHour, TerminalHourKey};
