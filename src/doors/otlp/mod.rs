//! The door of OpenTelemetry's exporters: metrics by OTLP/HTTP, `POST /v1/metrics`, in protobuf and in JSON.
//!
//! Format: <https://opentelemetry.io/docs/specs/otlp/>. A payload is read data point by data point, in place, and each
//! point becomes a sample or a histogram at once. The types of the crate `opentelemetry-proto` are not used for that:
//! a body of 2 MiB may hold a million empty points, which take 2 bytes each as sent and about a hundred as one of
//! its types, all before the first can be counted; and the crate brings OpenTelemetry's SDK with it. It writes the
//! bodies that the tests here read.
//!
//! | file | what |
//! |---|---|
//! | `door.rs` | the steps from a request to its answer |
//! | `wire.rs` | protobuf's wire format |
//! | `protobuf.rs`, `json.rs` | the messages of OTLP in both encodings |
//! | `loose.rs` | values of JSON, however they are written |
//! | `point.rs` | what both encodings say: instruments and their points |
//! | `gather.rs` | from points to batches, by whom they name |
//! | `numbers.rs` | gauges, sums and summaries |
//! | `histograms.rs` | histograms, in our buckets |
//! | `window.rs` | which minutes a histogram is counted in |
//! | `answer.rs` | the answer, in the encoding of the request |

mod answer;
mod door;
mod gather;
mod histograms;
mod json;
mod loose;
mod numbers;
mod point;
mod protobuf;
#[cfg(test)]
mod tests;
mod window;
mod wire;

pub use door::{Encoding, points};
pub(super) use door::{batches, routes};
