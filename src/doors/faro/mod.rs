//! The door of Grafana Faro's Web SDK, as it comes: `POST /collect`.
//!
//! A payload is one page's: a `meta` that says who it is, and lists of measurements, events, exceptions, logs and traces.
//! Each number of a measurement is a sample, each event a custom event, each exception an error. Logs are passed over or
//! counted as events by setting; traces are passed over. `docs/doors.md` names every field and what becomes of it.
//!
//! Web vitals are reported again whenever they change. Of the reports of one page visit in a request the last counts; what
//! an earlier request has brought cannot be taken back, so a later report is a duplicate.
//!
//! | file | what |
//! |---|---|
//! | `door.rs` | the paths, and the steps in order |
//! | `read.rs` | a payload's lists, and who posts; the entry, `read` |
//! | `measurements.rs` | from a measurement to samples |
//! | `events.rs` | from events, exceptions and logs to events |
//! | `visits.rs` | which web vitals of which page visits have been counted |
//! | `answer.rs` | what the page is told |

mod answer;
mod door;
mod events;
mod measurements;
mod read;
#[cfg(test)]
mod tests;
mod visits;

pub use read::{Limits, Payload, batches, read};
pub use visits::Visits;

pub(super) use answer::SESSION_STATUS;
pub(super) use door::{SESSION_ID, routes};
