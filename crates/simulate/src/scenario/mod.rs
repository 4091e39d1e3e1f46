//! Stories with a fleet in them: what happens, and what the collector must make of it.
//!
//! A scenario is a row of a table: the options it sets, the collector it needs, the trouble it makes and
//! what is expected. Running it is the same for all of them, the ramp apart, which is a row of runs.
//!
//! | file | what |
//! |---|---|
//! | `list.rs` | the scenarios |
//! | `play.rs` | runs one: collector, fleet, trouble, expectations |
//! | `collector.rs` | a collector of its own: `serve` as a child, in a scratch folder |
//! | `proxy.rs` | the network between that collector and ClickHouse, which can be slow or away |
//! | `hostile.rs` | a terminal that means harm, and what each of its requests must be answered |
//! | `vitals.rs` | memory, processor time, disk and `fdatasync` while a scenario runs |
//! | `exposition.rs` | reads `/metrics` and `/metrics/fleet` |
//! | `finding.rs` | what was seen of a run, and what was found there |
//! | `expect.rs`, `windows.rs` | the expectations, and how each is checked |
//! | `measured.rs` | what a report shows beside that |
//! | `ramp.rs` | doubles the load until it is too much, and says what was |
//! | `sizes.rs` | bytes on disk of a simulated day |
//! | `page.rs` | a scenario's section of a Markdown page |

mod list;
mod play;
mod collector;
mod proxy;
mod hostile;
mod vitals;
mod exposition;
mod finding;
mod expect;
mod windows;
mod measured;
mod ramp;
mod sizes;
mod page;

pub use collector::CollectorError;
pub use exposition::Page;
pub use finding::Finding;
#[cfg(test)]
pub use list::SCENARIOS;
pub use list::{find, names};
pub use page::PageError;
pub use play::play;
