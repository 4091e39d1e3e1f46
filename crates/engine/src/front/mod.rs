//! ClickHouse's HTTP interface over the engine, as far as its clients need it.
//!
//! | file | what |
//! |---|---|
//! | `serve.rs` | runs the front: accepts connections, keeps order, ends in time |
//! | `shared.rs` | what all requests share, and the settings |
//! | `request.rs` | what a request asks for: URL, headers, credentials |
//! | `multipart.rs` | parameters in a form |
//! | `body.rs` | a request's body, unpacked piece by piece |
//! | `unpack.rs` | what `Content-Encoding` names, in bounded steps |
//! | `statement.rs` | from a request to an answer: the path of a statement |
//! | `context.rs` | what a request carries to its answer, and a whole answer |
//! | `job.rs` | its turn, its thread, its outcome |
//! | `read.rs` | answers that stream |
//! | `insert.rs` | inserts that stream |
//! | `session.rs` | connections that outlive their request |
//! | `pulse.rs` | whether the engine answers, for a supervisor |
//! | `encode.rs` | how an answer is packed |
//! | `answer.rs` | headers, statuses, the text of an exception |

mod answer;
mod body;
mod context;
mod encode;
mod insert;
mod job;
mod multipart;
mod pulse;
mod read;
mod request;
mod serve;
mod session;
mod shared;
mod statement;
mod unpack;

pub use serve::{run, until_told_to_stop};
pub use shared::FrontSettings;
