//! Ties the stages together: start order, seals, shipping, shutdown order. No other module knows all stages.
//!
//! | file | what |
//! |---|---|
//! | `serve.rs` | starts everything, and waits |
//! | `stop.rs` | stops everything, in time |
//! | `setup.rs` | sockets, limits, session keys, housekeeping |
//! | `start.rs` | state, journal, replay: from disk to a running aggregate |
//! | `folder.rs` | makes the data folder, holds it against other processes, sees whether its contents belong together |
//! | `modes.rs` | who may read the data folder |
//! | `parted.rs` | how to continue although state file and journal do not belong together |
//! | `apply.rs` | durable records into the aggregate, in order |
//! | `clock.rs` | watches the clock, and corrects times that were noted while it was wrong |
//! | `seal.rs` | when a seal is due, and the seal |
//! | `ship.rs` | keeps shipping |
//! | `rebuild.rs` | keeps the hourly rollups up to date |
//! | `engine.rs` | the embedded engine, or the server that is configured |
//! | `replay.rs` | a journal's records into a database made for it |
//! | `admin.rs` | what an operator's commands ask of a running collector |
//! | `reload.rs` | settings that change without a restart |
//! | `guard.rs` | whether a request was meant for the admin listener |
//! | `pages.rs` | `/metrics` and `/metrics/fleet` |
//! | `disk.rs` | numbers that only the disk can tell, and whether the disk answers |
//! | `process.rs` | what the process and its disk take |
//! | `error.rs` | why `serve` could not start or had to end |

mod admin;
mod apply;
mod clock;
mod disk;
mod engine;
mod error;
mod folder;
mod guard;
mod modes;
mod pages;
mod parted;
mod process;
mod rebuild;
mod reload;
mod replay;
mod seal;
mod serve;
mod setup;
mod ship;
mod start;
mod stop;

pub use engine::{ENGINE_NAMES, OpenDatabase, open_database, read_endpoint_file};
pub use error::ServeError;
pub use folder::{
    DataDirLock, check_belonging, journal_dir, lock_data_dir, make_data_dir, open_state,
};
pub use modes::keep_to_oneself;
pub use parted::{Abandoned, Adopted, abandon, adopt, pass_over_sealed};
pub use rebuild::{Next, Rebuilder};
pub use reload::Load;
pub use replay::{ReplaySummary, replay, unsealed_records};
pub use serve::serve;
