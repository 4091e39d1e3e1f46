//! Stage 5a reads percentiles, terminals and sessions from ClickHouse, the outbox and the open windows together.
//!
//! **Promises**
//! 1. Every sample that was acknowledged before a query began is in the answer exactly once.
//! 2. Percentiles are those of the merged histograms, never averages of percentiles.
//! 3. The texts of a request go to ClickHouse as parameters, never as part of a statement.
//!
//! | file | what |
//! |---|---|
//! | `answers.rs` | what can be asked, and how many questions at once |
//! | `parameters.rs` | a request's parameters: known, each once, none empty |
//! | `request.rs` | reads and checks what was asked |
//! | `percentiles.rs` | merges rows in ClickHouse with those that are not there yet |
//! | `at_rest.rs` | what ClickHouse holds |
//! | `ranking.rs` | the first series of many, by their order |
//! | `elsewhere.rs` | reads the rows that are not there yet |
//! | `plan.rs` | which hours are read from the hourly rollups |
//! | `catalogue.rs` | the catalogue of metrics |
//! | `stores.rs` | the stores, by name, some at a time |
//! | `silent.rs` | terminals that should report and do not |
//! | `terminals.rs` | the terminals of a store, the worst first |
//! | `terminals_request.rs` | reads and checks a request for a store's terminals |
//! | `terminal_metrics.rs` | what terminals measured over some hours |
//! | `errors.rs` | groups of errors: what, since when, where, how often |
//! | `errors_request.rs` | reads and checks a request for groups of errors |
//! | `errors_at_rest.rs` | what of them lies in ClickHouse, and what does not yet |
//! | `losses.rs` | what is missing, what has come, what is lost |
//! | `losses_request.rs` | reads and checks a request for that |
//! | `losses_open.rs` | what is missing still, as the queues know it |
//! | `losses_at_rest.rs` | what has ended, as ClickHouse has it |
//! | `sessions.rs` | one session, by store and day |
//! | `summaries.rs` | what pages have summed up themselves |
//! | `explain.rs` | what became of one batch |
//! | `explain_answer.rs` | the same as JSON |
//! | `rollout/` | verdicts on rollouts: gathered, judged and kept |
//! | `statement.rs` | the SQL |
//! | `words.rs` | the words that answers may have |
//! | `error.rs` | why a query was not answered |

pub mod answers;
mod at_rest;
pub mod catalogue;
mod elsewhere;
pub mod error;
pub mod errors;
mod errors_at_rest;
pub mod errors_request;
pub mod explain;
pub mod explain_answer;
pub mod losses;
mod losses_at_rest;
mod losses_open;
pub mod losses_request;
pub mod parameters;
pub mod percentiles;
pub mod plan;
mod ranking;
pub mod request;
pub mod rollout;
pub mod sessions;
pub mod silent;
pub mod statement;
pub mod stores;
pub mod summaries;
pub mod terminal_metrics;
pub mod terminals;
pub mod terminals_request;
pub mod words;

pub use answers::{Json, Query, jobs};
pub use error::{ErrorCode, QueryError, RETRY_AFTER_S};
pub use parameters::Parameters;
