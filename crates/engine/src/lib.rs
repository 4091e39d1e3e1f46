//! Runs the real ClickHouse engine in a process of its own, for when no ClickHouse server is configured.
//!
//! One process loads the shared library libchdb and speaks ClickHouse's HTTP interface on a loopback
//! address ([`run`]); another starts that process and keeps it alive ([`Supervisor`]). The code that stores
//! and reads rows uses the same client, SQL and migrations as with a server.
//!
//! # Promises
//!
//! 1. **Clients of a server work here**: `?query=` and body, `param_*` (also as a form), settings,
//!    sessions, `compress`, `decompress`, exception headers. Everything else is refused with a message;
//!    `docs/embedded_engine.md` lists it.
//! 2. **Requests do not influence each other**: settings, database and temporary tables end with their
//!    request, or stay in their session.
//! 3. **Memory is bounded**: inserts and answers stream, and every queue and the engine have a limit.
//! 4. **A statement ends within about a second after its client has gone.**
//! 5. **The engine never takes a broken-off insert for a whole one**: the last block of such an insert
//!    is dropped.
//! 6. **No process is left behind**: the process ends when its supervisor does, however the supervisor
//!    died, and never hangs at its end.
//! 7. **One process uses a path**: a second process waits ten seconds and then names the first.
//! 8. **A statement reaches tables and nothing else of the machine**: no file, address or program.
//! 9. **An engine that hangs is started again**: the supervisor asks the engine, and waits half a minute.
//!
//! # On disk
//!
//! The storage path belongs to the engine (`data/`, `metadata/`, `store/`). `PROGRAM.lock` beside these
//! folders holds the pid of the process that has the path open.
//!
//! # Files
//!
//! | file | what |
//! |---|---|
//! | `names.rs` | what the program around the engine calls things |
//! | `locate.rs` | finds libchdb |
//! | `libchdb.rs` | the C functions of libchdb; the only `unsafe` in the tree |
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
//! - An **engine** is ClickHouse as libchdb has it, and the **front** is the HTTP interface before it.
//! - A **statement** is one SQL statement; it runs on a thread and a connection of its own.
//! - A **mark** is the text by which a running statement is found again to be cancelled.
//!
//! # Not here
//!
//! The front has no TLS, users, roles, clusters or native protocol, because it is for loopback only. The
//! engine does not know what is stored; `persist` and `query` know tables and migrations.

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
