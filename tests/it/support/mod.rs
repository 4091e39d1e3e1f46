//! What every integration test needs: the running program, batches to post, sockets to abuse.
//!
//! | file | what |
//! |---|---|
//! | `server.rs` | starts `tillwatch serve`, talks to it, stops or kills it |
//! | `openapi.rs` | holds every answer of the admin listener against the document that describes it |
//! | `batch.rs` | builds batches as terminals write them |
//! | `exposition.rs` | reads Prometheus text |
//! | `ledger.rs` | what terminals were told is on disk, compared with what is found |
//! | `engine.rs` | a ClickHouse that a test can stop and start |
//! | `proxy.rs` | a network that does what networks do |
//! | `program.rs` | other commands, processes, signals |
//! | `records.rs` | random journal records |
//! | `raw.rs` | a socket that says exactly what it is told |

mod batch;
mod engine;
mod exposition;
mod ledger;
pub mod openapi;
mod program;
mod proxy;
mod raw;
pub mod records;
mod server;

pub use batch::{Batch, in_the_middle_of_a_minute, many, now_ms};
pub use engine::Engine;
pub use exposition::Exposition;
pub use ledger::{
    CELLS, Terminal, assert_exactly, assert_query_api, found_samples, wait_drained, wait_sealed,
};
pub use program::{
    audit, audit_is_clean, children, copy, data, hangup, is_alive, kill, run, run_with_input, said,
    sql, terminate, wait_until,
};
pub use proxy::{Proxy, Weather};
pub use raw::Raw;
pub use server::{Reply, Server};
#[expect(unused_imports, reason = "for tests that start the program themselves")]
pub use server::{library, wait_for};
