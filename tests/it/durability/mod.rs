//! What was acknowledged is there, whatever happens to the process, the disk or the database.
//!
//! | file | what happens |
//! |---|---|
//! | `kill.rs` | kill -9 of the collector, of its engine; SIGTERM under load |
//! | `away.rs` | ClickHouse is away, or its answers are lost |
//! | `disk_full.rs` | there is no room |
//! | `hung.rs`, `hang.c` | the disk or the engine hangs |
//! | `parted.rs` | files of the data folder are deleted, emptied, swapped, older |
//! | `seal_fails.rs` | the state file cannot be written |
//! | `damage.rs` | the journal's bytes change while nobody looks |

mod away;
mod damage;
mod disk_full;
mod hung;
mod kill;
mod parted;
mod seal_fails;
