//! Verdicts on rollouts: gathers what ClickHouse holds about the stores of a release and the others, has
//! [`rollout`](crate::rollout) judge it, and keeps every word that was said.
//!
//! **Promises**
//! 1. A verdict is judged on data at rest alone: what had arrived when the look was due is shipped and confirmed first, so
//!    that the same look can be judged again on the same rows.
//! 2. An hour of a store is read from one table, the hourly rollups or the minutes: nothing counts twice.
//! 3. Memory does not grow with the fleet's history: stores are read some at a time, and hours are merged in ClickHouse.
//! 4. A word that was said stays in the state file as it was said. What late data change is another row.
//!
//! | file | what |
//! |---|---|
//! | `at_rest.rs` | up to which hour data are at rest, and which rows are read from which table |
//! | `statement.rs` | the SQL, and its answers |
//! | `ran.rs` | which terminal ran which release, hour by hour |
//! | `situation.rs` | what is compared with what: the step, its beginning, the groups |
//! | `evidence.rs` | the numbers of all stores |
//! | `judged.rs` | one verdict with all that is kept of it |
//! | `verdict_answer.rs` | one verdict as JSON |
//! | `answer.rs` | what stands of a release's verdicts as JSON |
//! | `check.rs` | what a release would meet with on this fleet, before it comes |
//! | `kept.rs` | what stands of the verdicts in the state file |
//! | `request.rs` | reads and checks what was asked |

pub mod answer;
mod at_rest;
pub mod check;
mod evidence;
mod judged;
pub mod kept;
mod ran;
pub mod request;
pub mod situation;
mod statement;
pub mod verdict_answer;

pub use at_rest::passed_hour;
pub use judged::{Judge, Judged};
pub use situation::{Asked, Situation};
