//! Stage 4: rollups at rest. Sealed into one SQLite file, shipped to ClickHouse, read back, confirmed.
//!
//! **Promises**
//! 1. A seal is one transaction: rows to ship, ledger, sequence windows, live series, applied
//!    position. After a crash either all of it is there or none.
//! 2. An epoch is confirmed only after ClickHouse was asked for its rows and has every one of them.
//! 3. Epochs are confirmed in order; nothing unconfirmed is ever deleted.
//! 4. An epoch number is never used for other rows: if ClickHouse knows a higher one of this
//!    collector than the state file does, shipping stops and says how to go on.
//!
//! | file | what |
//! |---|---|
//! | `rows.rs` | `RowBinary` of `rollup_1m`, written and read |
//! | `side_tables.rs` | `RowBinary` of the tables beside it: by terminal, by session |
//! | `side_outbox.rs` | an epoch's rows of those tables, in the outbox and the ledger |
//! | `state.rs` | the SQLite file: seal, restore, confirm |
//! | `session_keys.rs` | the daily keys of session pseudonyms, and their end |
//! | `tables.rs` | its tables: layout, rows written and read |
//! | `outbox.rs` | what is sealed and not confirmed, and the ledger of epochs |
//! | `clickhouse.rs` | where ClickHouse is, and talking to it |
//! | `migrate.rs` | applies `migrations/` |
//! | `ship.rs` | outbox to ClickHouse, read back, confirm |
//! | `audit.rs` | the ledger against what ClickHouse holds |
//! | `error.rs` | what can go wrong, by what must be done about it |

pub mod audit;
pub mod clickhouse;
pub mod error;
pub mod migrate;
pub mod outbox;
pub mod rows;
pub mod session_keys;
pub mod ship;
pub mod side_outbox;
pub mod side_tables;
pub mod state;
mod tables;

pub use clickhouse::{ClickHouse, Endpoint};
pub use error::{ClickHouseError, StateError};
pub use outbox::EpochInfo;
pub use side_tables::SideTable;
pub use state::{SealedEpoch, State};
