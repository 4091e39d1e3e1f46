//! The door of reports that the first generation of tills makes: of each metric how many values there were, their extremes,
//! their average and their percentiles, as the page has worked them out.
//!
//! Counts can be added and extremes compared, so they are. The percentiles of two pages cannot be merged, so they are kept
//! beside, report by report, and never become a percentile of tillwatch (`summary_1m`, `/api/v1/summaries`).
//!
//! | file | what |
//! |---|---|
//! | `door.rs` | `POST /pdc_pos_offline/metrics`: the steps in order, and the answer |
//! | `read.rs` | from the JSON of a report to a batch |

mod door;
mod read;

pub(super) use door::{batches, routes};
