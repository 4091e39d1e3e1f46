//! The real ClickHouse engine in a process of its own, for when no ClickHouse server is configured.
//!
//! One process loads the shared library libchdb and speaks ClickHouse's HTTP interface on a loopback
//! address ([`run`]); another starts that process and keeps it alive ([`Supervisor`]). Whoever stores
//! or reads rows uses the same client, SQL and migrations as with a server.
//!
//! # Promises
//!
//! 1. **What a server's client sends works here**: `?query=` and body, `param_*` (also as a form),
//!    settings, sessions, `compress`, `decompress`, exception headers. What does not is refused in
//!    words; `docs/embedded_engine.md` lists it.
//! 2. **Requests do not touch each other**: settings, database and temporary tables end with their
//!    request, or stay in their session.
//! 3. **Memory is bounded**: inserts and answers stream, every queue has a limit, the engine has one.
//! 4. **A client that goes away takes its statement with it**, within about a second.
//! 5. **An insert that did not come to its end is not ended for the engine**: its last block is
//!    dropped.
//! 6. **No orphan**: the process ends when its supervisor does, however that died; and it never hangs
//!    at its end.
//! 7. **One process per path**: a second one waits ten seconds and then names the first.
//! 8. **A statement reaches tables, and nothing else of the machine**: no file, address or program.
//! 9. **An engine that hangs is started again**: a supervisor asks it, and waits half a minute.
//!
//! # On disk
//!
//! The storage path belongs to the engine (`data/`, `metadata/`, `store/`); `PROGRAM.lock` beside
//! them holds the pid of the process that has it open.
//!
//! # Files
//!
//! | file | what |
//! |---|---|
//! | `names.rs` | what the program around the engine calls things |
//! | `locate.rs` | finds libchdb |
//! | `libchdb.rs` | its C functions; the only `unsafe` in the tree |
//! | `lock.rs` | one process per path |
//! | `confine.rs` | what statements may reach |
//! | `engine.rs` | opens the engine and its connections; threads and cancelling |
//! | `connection.rs` | statements and inserts on a connection; safe Rust |
//! | `sql.rs` | reads as much of a statement as must be known to run it |
//! | `frames.rs` | ClickHouse's compressed blocks |
//! | `front/` | ClickHouse's HTTP interface |
//! | `supervise.rs` | starts, watches and restarts the process |
//! | `pulse.rs` | whether the process answers |
//! | `error.rs` | what can go wrong |
//!
//! # Words
//!
//! - **engine**: ClickHouse as libchdb has it. **front**: the HTTP interface before it.
//! - **statement**: one SQL statement; it runs on a thread and a connection of its own.
//! - **mark**: the text by which a running statement is found again to be cancelled.
//!
//! # Not here
//!
//! No TLS, users, roles, clusters or native protocol: the front is for loopback. Nothing here knows
//! what is stored; tables and migrations are the business of those who ship and read.

mod confine;
mod connection;
mod engine;
mod error;
mod frames;
mod front;
mod libchdb;
mod locate;
mod lock;
mod names;
mod pulse;
mod sql;
mod supervise;

pub use confine::{Confinement, confine};
pub use engine::{Engine, EngineSettings};
pub use error::{EngineError, Exception, FrontError};
pub use front::{FrontSettings, run, until_told_to_stop};
pub use locate::locate;
pub use names::Names;
pub use pulse::PulseSettings;
pub use supervise::{Endpoint, Ends, EngineState, SuperviseError, Supervisor, SupervisorSettings};
