//! Stage 5a: reading percentiles, from ClickHouse, the outbox and the open windows together.
//!
//! **Promises**
//! 1. What was acknowledged before a query began is in its answer, once.
//! 2. Percentiles are those of the merged histograms, never averages of percentiles.
//! 3. The texts of a request go to ClickHouse as parameters, never as part of a statement.
//!
//! | file | what |
//! |---|---|
//! | `routes.rs` | `GET /api/v1/percentiles`, `/stores`, `/metrics` |
//! | `request.rs` | reads and checks what was asked |
//! | `percentiles.rs` | merges what is at rest with what is not |
//! | `plan.rs` | which hours are read from the hourly rollups |
//! | `statement.rs` | the SQL |
//! | `error.rs` | why a query was not answered |

pub mod error;
pub mod percentiles;
pub mod plan;
pub mod request;
pub mod routes;
pub mod statement;

pub use routes::{Query, router};
