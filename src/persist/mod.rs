//! Stage 4 stores rollups: it seals them into one SQLite file, ships them to ClickHouse, reads them back and
//! confirms them.
//!
//! **Promises**
//! 1. A seal is one transaction: rows to ship, ledger, sequence windows, live series, applied
//!    position. After a crash either all of it is there or none.
//! 2. An epoch is confirmed only after ClickHouse was asked for its rows and has every one of them.
//! 3. Epochs are confirmed in order; nothing unconfirmed is ever deleted.
//! 4. An epoch number is never used for other rows: if ClickHouse knows a higher epoch of this collector
//!    than the state file does, shipping stops, and the log says how to continue.
//!
//! | file | what |
//! |---|---|
//! | `rows.rs` | `RowBinary` of `rollup_1m`, written and read |
//! | `side_tables.rs` | the tables beside it, by terminal, by session and by event: their `RowBinary`, read |
//! | `side_encode.rs` | the same, written |
//! | `side_decode.rs` | `summary_1m` and `loss`, read |
//! | `side_outbox.rs` | an epoch's rows of those tables, in the outbox and the ledger |
//! | `state.rs` | the SQLite file: how it is opened, and the numbers it goes by |
//! | `seal.rs` | what a seal writes in one transaction, and what a start reads back |
//! | `renew.rs` | a new collector id for a file that is an older copy of itself |
//! | `signed.rs` | how the file keeps unsigned numbers |
//! | `epoch.rs` | what the ledger knows of one epoch |
//! | `identity.rs` | which journal the file goes with |
//! | `losses.rs` | what was found missing from the journal |
//! | `credentials.rs` | static keys and revoked tokens |
//! | `own_metrics.rs` | metrics of a shop's own, as they were first used |
//! | `changes.rs` | what changed in the fleet, for people |
//! | `verdicts.rs` | verdicts on rollouts, none of which is written over |
//! | `session_keys.rs` | the daily keys of session pseudonyms, and their destruction |
//! | `sealing.rs` | a cut, encoded and on its way into the file |
//! | `layout.rs` | the layout of the SQLite file, and how an earlier one is brought forward |
//! | `tables.rs` | the rows of the SQLite file, written and read |
//! | `keys.rs` | idempotency keys: written, looked up, forgotten |
//! | `outbox.rs` | what is sealed and not confirmed, and the ledger of epochs |
//! | `marks.rs` | which hours an epoch has rows of, and how they are marked |
//! | `hours.rs` | which hours of which stores `rollup_1h` does not hold in full |
//! | `clickhouse.rs` | where ClickHouse is, and talking to it |
//! | `https.rs` | the connections to a server that speaks HTTPS |
//! | `migrate.rs` | applies `migrations/` |
//! | `budget.rs` | the disk that the tables may take, and what gives way |
//! | `by_epoch.rs` | which epochs the tables hold rows of, without reading the rows |
//! | `ship.rs` | outbox to ClickHouse, read back, confirm |
//! | `rebuild.rs` | sums hours up anew in `rollup_1h`, reads back |
//! | `audit.rs` | the ledger against what ClickHouse holds |
//! | `deep.rs` | compares every part and row in ClickHouse with checksums and hashes |
//! | `backup/` | a copy of the state file with checksums, and what a restore takes |
//! | `repair.rs` | rows that ClickHouse has lost, sent again |
//! | `expiry.rs` | the end of rows in the embedded engine, by a clock that is trusted |
//! | `set_right.rs` | times noted while the clock was ahead |
//! | `error.rs` | what can go wrong, by what must be done about it |

pub mod audit;
pub mod backup;
pub mod budget;
pub mod by_epoch;
pub mod changes;
pub mod clickhouse;
pub mod credentials;
pub mod deep;
pub mod epoch;
pub mod error;
pub mod expiry;
pub mod hours;
pub mod identity;
mod https;
mod keys;
mod layout;
pub mod losses;
mod marks;
pub mod migrate;
pub mod outbox;
mod own_metrics;
pub mod rebuild;
pub mod repair;
mod renew;
pub mod rows;
pub mod session_keys;
mod seal;
mod sealing;
mod set_right;
pub mod ship;
mod side_decode;
mod side_encode;
pub mod side_outbox;
pub mod side_tables;
mod signed;
pub mod state;
mod tables;
pub mod verdicts;

pub use clickhouse::{ClickHouse, Endpoint};
pub use epoch::EpochInfo;
pub use error::{ClickHouseError, StateError};
pub use losses::{JournalLoss, LossKind};
pub use own_metrics::Changed;
pub use seal::SealedEpoch;
pub use sealing::Sealing;
pub use side_tables::SideTable;
pub use state::State;
