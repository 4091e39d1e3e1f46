//! Defines the bytes that are promised to others: each format has a version and a fixture.
//!
//! | file | who writes it | who reads it |
//! |---|---|---|
//! | `terminal_v1.rs` | terminals, the simulator | `ingest` |
//! | `terminal_v1/tolerant.rs` | | `ingest`, when one sample is broken and the rest is not |

pub mod terminal_v1;
