//! What every integration test needs: the running program, batches to post, sockets to abuse.
//!
//! | file | what |
//! |---|---|
//! | `server.rs` | starts `tillwatch serve`, talks to it, stops or kills it |
//! | `batch.rs` | builds batches as terminals write them |
//! | `exposition.rs` | reads Prometheus text |
//! | `raw.rs` | a socket that says exactly what it is told |

#![expect(dead_code, reason = "not every test uses every helper")]

mod batch;
mod exposition;
mod raw;
mod server;

pub use batch::{Batch, in_the_middle_of_a_minute, many, now_ms};
pub use exposition::Exposition;
pub use raw::Raw;
pub use server::{Reply, Server};
#[expect(unused_imports, reason = "for tests that start the program themselves")]
pub use server::{library, wait_for};
