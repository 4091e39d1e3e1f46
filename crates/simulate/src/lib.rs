//! A fleet of simulated terminals that speaks only the wire format.
//!
//! Each terminal measures, keeps what it measured in a queue of its own until a collector has
//! acknowledged it, and sends it again when it has not. What was made and what was acknowledged is
//! kept exactly, so that the percentiles read back through the query API can be compared with the true
//! ones. The simulator leans on nothing of the server it tests but the catalogue of metrics.
//!
//! **Promises**
//! 1. A batch never changes after its first attempt: every attempt carries the same identity and content,
//!    and only the request's `sent_at_ms` is stamped anew.
//! 2. A terminal drops a batch only when it was acknowledged or refused for good; refused batches are
//!    reported.
//! 3. The same seed makes the same fleet, schedule and values, whatever the collector answers; only
//!    times and queues differ.
//! 4. Memory is bounded: queued batches, and exact values kept for the comparison.
//!
//! | file | what |
//! |---|---|
//! | `options.rs`, `faults.rs` | the command's options, and which of them make no sense |
//! | `preset.rs` | the options that a scenario sets |
//! | `pace.rs` | simulated time: how fast it passes, and when stores are open |
//! | `queues.rs` | the terminals' queues, kept from run to run |
//! | `random.rs` | chance: seeds, the normal distribution, jitter |
//! | `archive.rs` | LCP of real page views, as the RUM archive has it |
//! | `recipes.rs` | what each metric's values look like, and how often they occur |
//! | `values.rs` | drawing values, and which metric a sample is of, from the recipes |
//! | `trouble.rs` | what is wrong in a store: which values it makes worse, and from when on |
//! | `rollout.rs` | which stores run the canary release, and from when on |
//! | `fleet.rs` | stores and terminals, and how they differ from each other |
//! | `app_errors.rs` | errors that terminals report as events: the known ones, and a new one |
//! | `batch.rs` | a batch: its identity, its content on the wire, its readings |
//! | `world.rs` | what all terminals share: what there is to measure, and when |
//! | `measure/` | one terminal at work: connection, samples, counters |
//! | `history.rs` | what a terminal kept while it was offline: histograms and sums by span |
//! | `terminal/` | one terminal's queue: what to send, what an answer means, when to try again |
//! | `client.rs` | one request over HTTP, and its answer |
//! | `ledger.rs` | exact: every value acknowledged, by metric and store |
//! | `tokens.rs` | tokens of the terminals, if the collector asks for them |
//! | `tally.rs` | counts and answer times of a run |
//! | `clock.rs` | wall time of a run |
//! | `muster.rs` | the terminals as they stand when a run begins |
//! | `driver.rs` | the loop of a run: who is due, who waits for a connection, when it ends |
//! | `progress.rs` | how far a run has come, for whoever shows it |
//! | `query.rs` | the query API, as far as it is needed |
//! | `compare.rs`, `compare_text.rs` | reads percentiles back and compares them with the ledger |
//! | `truth.rs` | what really happened: dead and stuck tills, losses, new errors |
//! | `claims/` | what the collector claims of that: right, false, or missed |
//! | `report.rs`, `table.rs` | what to tell: tables for people, JSON for machines |
//! | `campaign.rs` | one fleet at one collector: what a plain run and every scenario are made of |
//! | `scenario/` | stories with a fleet in them, and what the collector must make of them |
//! | `run.rs` | one run, from its options to its report |
//!
//! Words: a **trip** is one request under way. An **echo** is a batch that is sent once more although it was
//! acknowledged, as a proxy might do. **History** is what a terminal measured before the run began.

mod options;
mod preset;
mod faults;
mod pace;
mod queues;
mod random;
mod archive;
mod recipes;
mod values;
mod trouble;
mod rollout;
mod fleet;
mod app_errors;
mod batch;
mod world;
mod measure;
mod history;
mod terminal;
mod tokens;
mod client;
mod ledger;
mod tally;
mod clock;
mod muster;
mod driver;
mod progress;
mod query;
mod compare;
mod compare_text;
mod truth;
mod claims;
mod report;
mod table;
mod campaign;
mod scenario;
mod run;

pub use campaign::SimulateError;
pub use options::Options;
pub use progress::Display;
pub use report::Report;
pub use run::{run, run_until};

#[cfg(test)]
mod tests;
