//! Each sample counts once.
//!
//! | file | what |
//! |---|---|
//! | `resend.rs` | a batch is sent again after a restart, a kill, a seal |
//! | `shipping.rs` | sending again, shared connections, reading back by sums |
//! | `older_copy.rs` | the state is put back from an older copy |
//! | `audit.rs` | what `audit` finds |
//! | `reading.rs` | queries while epochs move to ClickHouse |
//! | `migrations.rs` | the database's tables, their TTL, and what SQL and Rust must agree on |
//! | `determinism.rs` | the same journal gives the same rows, wherever it is sealed |
//! | `holdings.rs` | the rule of reading, against a model |
//! | `hours.rs` | reading by the hour and by the minute, against a model, while everything moves |
//! | `rollback.rs` | a release is rolled back, and forward again |
//! | `fleet.rs` | a simulated fleet with every bad habit |

mod audit;
mod determinism;
mod fleet;
mod holdings;
mod hours;
mod migrations;
mod older_copy;
mod reading;
mod resend;
mod rollback;
mod shipping;
