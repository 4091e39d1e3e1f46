//! The bytes promised to others: each format, its version, its fixture.
//!
//! | file | who writes it | who reads it |
//! |---|---|---|
//! | `terminal_v1.rs` | terminals, the simulator | `ingest` |
//! | `terminal_v1/tolerant.rs` | | `ingest`, when one sample is broken and the rest is not |
//! | `journal_record_v1.rs` | `ingest` | `aggregate`, also after a restart by a later version |
//! | `journal_act_v1.rs` | `serve`, for an operator | `aggregate` |

pub mod journal_act_v1;
pub mod journal_record_v1;
pub mod terminal_v1;
