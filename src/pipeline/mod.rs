//! Ties the stages together: start order, seals, shipping, shutdown order. The only module that knows
//! them all.
//!
//! | file | what |
//! |---|---|
//! | `serve.rs` | starts everything, waits, stops everything |
//! | `setup.rs` | sockets, limits, session keys, housekeeping |
//! | `start.rs` | state, journal, replay: from disk to a running aggregate |
//! | `apply.rs` | durable records into the aggregate, in order |
//! | `seal.rs` | when a seal is due, and the seal |
//! | `ship.rs` | keeps shipping |
//! | `rebuild.rs` | keeps the hourly rollups up to date |
//! | `engine.rs` | the embedded engine, or the server that is configured |
//! | `pages.rs` | `/metrics` and `/metrics/fleet` |
//! | `error.rs` | why `serve` could not start or had to end |

mod apply;
mod engine;
mod error;
mod pages;
mod rebuild;
mod seal;
mod serve;
mod setup;
mod ship;
mod start;

pub use engine::{OpenDatabase, open_database, read_endpoint_file};
pub use error::ServeError;
pub use rebuild::{Next, Rebuilder};
pub use serve::serve;
pub use start::open_state;
