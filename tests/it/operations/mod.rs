//! What an operator does.
//!
//! | file | what |
//! |---|---|
//! | `fences.rs` | who may ask the admin listener, what SQL reaches, who may read the data folder |
//! | `backup.rs` | backup, restore, whose journal and state belong together |
//! | `budget.rs` | which days give way when the tables take too much disk |
//! | `deep.rs` | what ClickHouse holds is damaged, dropped or gone |
//! | `retire.rs` | a store's series end |
//! | `reload.rs` | settings change without a restart |
//! | `repair.rs` | rows that ClickHouse has lost are sent again |
//! | `replay.rs` | a journal is looked at in a database of its own |
//! | `scheduled.rs` | backups that `serve` makes by itself |
//! | `seeing.rs` | what arrives, what became of it, and what would |
//! | `terminal.rs` | what is drawn and completed in a shell |

mod backup;
mod budget;
mod fences;
mod deep;
mod reload;
mod repair;
mod replay;
mod retire;
mod scheduled;
mod seeing;
mod terminal;
