//! Ties the stages together: start order, seals, shipping, shutdown order. No other module knows all stages.
//!
//! | file | what |
//! |---|---|
//! | `serve.rs` | starts everything, and waits |
//! | `stop.rs` | stops everything, in time |
//! | `running.rs` | everything that runs, built from what a start leaves |
//! | `setup.rs` | sockets, doors and intake, what is held; housekeeping |
//! | `limits.rs` | the settings as each stage takes them |
//! | `catalogue.rs` | the metrics of this release and those of the settings |
//! | `state_keys.rs` | the state file as the intake asks it for keys |
//! | `certificates.rs` | the certificates of the listeners, also when they are replaced |
//! | `credentials.rs` | keeps the gate up to date about keys, tokens and revocations |
//! | `socket.rs` | the socket in the data folder, for orders about credentials |
//! | `start.rs` | state, journal, replay: from disk to a running aggregate |
//! | `folder.rs` | makes the data folder, holds it against other processes, sees whether its contents belong together |
//! | `modes.rs` | who may read the data folder |
//! | `parted.rs` | how to continue although state file and journal do not belong together |
//! | `apply.rs` | durable records into the aggregate, in order |
//! | `clock.rs` | watches the clock, and corrects times that were noted while it was wrong |
//! | `seal.rs` | when a seal is due, and the seal |
//! | `ship.rs` | keeps shipping |
//! | `readiness.rs` | notes when the collector is ready |
//! | `rebuild.rs` | keeps the hourly rollups up to date |
//! | `rollouts.rs`, `rollout_series.rs` | judges rollouts when a look is due, and shows what stands |
//! | `backups.rs` | makes backups by itself, verifies them, removes the oldest |
//! | `upkeep.rs` | looks after the tables in the background: the projection by epoch, the disk budget |
//! | `engine.rs` | the embedded engine, or the server that is configured |
//! | `replay.rs` | a journal's records into a database made for it |
//! | `find.rs` | looks for the records of a batch in the journal |
//! | `reload.rs` | settings that change without a restart |
//! | `pages.rs` | what `/metrics` and `/metrics/fleet` show |
//! | `disk.rs` | numbers that only the disk can tell, and whether the disk answers |
//! | `process.rs` | what the process and its disk take |
//! | `live.rs` | drives what people see while it happens |
//! | `error.rs` | why `serve` could not start or had to end |

mod apply;
mod backups;
mod catalogue;
mod certificates;
mod clock;
mod credentials;
mod disk;
mod engine;
mod error;
mod find;
mod folder;
mod modes;
mod limits;
mod live;
mod pages;
mod parted;
mod process;
mod readiness;
mod rebuild;
mod reload;
mod replay;
mod rollout_series;
mod rollouts;
mod running;
mod seal;
mod serve;
mod setup;
mod ship;
mod socket;
mod start;
mod state_keys;
mod stop;
mod upkeep;

pub use engine::{ENGINE_NAMES, OpenDatabase, open_database, read_endpoint_file};
pub use error::ServeError;
pub use folder::{
    DataDirLock, check_belonging, journal_dir, lock_data_dir, make_data_dir, open_state,
};
pub use limits::{aggregate_settings, door_limits, door_rules};
pub use modes::keep_to_oneself;
pub use parted::{Abandoned, Adopted, abandon, adopt, pass_over_sealed};
pub use rebuild::{Next, Rebuilder};
pub use reload::Load;
pub use replay::{ReplaySummary, replay, unsealed_records};
pub use rollouts::plan_of;
pub use serve::serve;
pub use socket::{ORDERS, Reached, reach};
pub use upkeep::{Standing, Upkeep};
