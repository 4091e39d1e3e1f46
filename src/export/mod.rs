//! Stage 5b renders the page for Prometheus: what terminals measured (`pos_*`), at each scrape from the
//! live series. `self_metrics.rs` declares what tillwatch reports about itself (`tillwatch_*`).
//!
//! | file | what |
//! |---|---|
//! | `snapshot.rs` | copies what a page needs out of the aggregate |
//! | `page.rs` | the page: the catalogue's metrics |
//! | `families.rs` | the page: freshness, terminals, coverage, clocks |
//! | `lines.rs` | lines that both of them write |
//! | `negotiate.rs` | in which format it is sent |
//!
//! A store that falls silent keeps its counters and its time of last report, while its window gauges and
//! last values vanish. No series has a label for a terminal, a session or a URL.

pub mod families;
mod lines;
pub mod negotiate;
pub mod page;
pub mod snapshot;

pub use negotiate::Format;
pub use page::render;
pub use snapshot::{Snapshot, Taking};
