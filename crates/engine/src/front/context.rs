//! What one request carries to its answer, and the answer that is known as a whole.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::answer::{self, Answer, AnswerBody};
use super::encode::{Coding, Encoder};
use super::job::no_resource;
use super::shared::Front;
use crate::error::Exception;
use crate::libchdb::Counts;

/// What one request is answered with.
pub(super) struct Context {
    pub(super) front: Arc<Front>,
    pub(super) query_id: String,
    pub(super) coding: Coding,
    pub(super) wait_end: bool,
    pub(super) started: Instant,
}

/// An answer that is known as a whole, with what the statement did.
pub(super) fn whole_answer(
    context: &Context,
    format: &str,
    bytes: Bytes,
    counts: &Counts,
) -> Result<Answer, Exception> {
    let mut builder = answer::builder(&context.front.engine, &context.query_id)
        .header("Content-Type", answer::content_type(format))
        .header("X-ClickHouse-Format", format)
        .header(
            "X-ClickHouse-Summary",
            answer::summary(counts, context.started.elapsed().as_nanos()),
        );
    let packed = if bytes.is_empty() {
        bytes
    } else {
        if let Some(coding) = context.coding.header() {
            builder = builder.header("Content-Encoding", coding);
        }
        pack(context.coding, bytes).map_err(|error| no_resource(&error))?
    };
    let body = AnswerBody::Whole(Some(packed).filter(|bytes| !bytes.is_empty()));
    Ok(answer::finish(builder, body))
}

fn pack(coding: Coding, bytes: Bytes) -> io::Result<Bytes> {
    let mut encoder = Encoder::new(coding)?;
    let packed = encoder.push(bytes)?;
    let rest = encoder.finish()?;
    if rest.is_empty() {
        return Ok(packed);
    }
    Ok([packed, rest].concat().into())
}
