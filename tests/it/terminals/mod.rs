//! Depth below the store: what each terminal and each session measured, kept once, wherever it is.

mod bounds;
mod browser;
mod claims;
mod continuity;
mod cost;
mod events;
mod fleet;
mod losses;
mod names;
mod outbox;
mod pseudonyms;
mod rows;
mod silence;
mod stuck_week;
mod through;
mod troubled_week;
mod troubles;
