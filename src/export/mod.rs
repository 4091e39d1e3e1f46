//! Stage 5b: Prometheus. What terminals measured (`pos_*`), rendered at each scrape from the live
//! series. What tillwatch says of itself (`tillwatch_*`) is in `self_metrics.rs`.
//!
//! | file | what |
//! |---|---|
//! | `snapshot.rs` | copies what a page needs out of the aggregate |
//! | `page.rs` | the page: the catalogue's metrics |
//! | `families.rs` | the page: freshness, terminals, coverage, clocks |
//! | `negotiate.rs` | in which format it is sent |
//!
//! A store that falls silent keeps its counters and its time of last report; its window gauges and
//! last values vanish. There is never a label by terminal, session or URL.

pub mod families;
pub mod negotiate;
pub mod page;
pub mod snapshot;

pub use negotiate::Format;
pub use page::render;
pub use snapshot::{Snapshot, Taking};
