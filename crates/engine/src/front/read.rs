//! Answers that stream: from the engine through a pipe to the client.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use super::answer::{self, Answer, AnswerBody};
use super::context::{Context, whole_answer};
use super::encode::Encoder;
use super::job::{Job, Outcome, no_resource, outcome_of};
use crate::engine::{Canceller, Engine, answer_pipe};
use crate::error::Exception;
use crate::libchdb::Counts;
use crate::sql::Read;

/// How long an answer is held back once its first bytes are there. A short one is then sent as a
/// whole, with its length, its summary and, if it fails, the right status; a long one begins soon.
const HOLD_TIME: Duration = Duration::from_millis(10);

/// How much of an answer is held back at most.
const HELD_BYTES_MAX: usize = 1024 * 1024;

/// How much of an answer is held back at most with `wait_end_of_query=1`. A longer answer begins to stream;
/// ClickHouse would put it on disk.
const HELD_TO_END_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One read from the engine's pipe; a pipe of Linux holds as much.
const PIPE_READ_BYTES: usize = 64 * 1024;

/// Pieces of an answer between the pipe and the socket. Two, so that one can be packed while the
/// other is sent.
const ANSWER_PIECES_MAX: usize = 2;

/// Streams an answer from the engine's pipe.
pub(super) async fn read_answer(
    context: &Context,
    (job, mut canceller): (Job, Canceller),
    read: Read,
) -> Result<Answer, Exception> {
    let format = read.format.clone().unwrap_or_else(|| job.format.clone());
    let (reader, writer) = answer_pipe().map_err(|error| no_resource(&error))?;
    canceller.keep_answer(reader.try_clone().map_err(|error| no_resource(&error))?);
    let mut pipe = pipe::Receiver::from_owned_fd(reader.into()).map_err(|e| no_resource(&e))?;
    let outcome = job.spawn(move |connection, details| {
        let counts = connection.read(&read, &details.format, &details.parameters, &writer)?;
        Ok((Vec::new(), counts))
    })?;
    let held = match hold(&mut pipe, context.wait_end)
        .await
        .map_err(|e| no_resource(&e))?
    {
        Held::Whole(bytes) => {
            let (_, counts) = outcome_of(outcome).await?;
            return whole_answer(context, &format, bytes, &counts);
        }
        Held::Beginning(bytes) => bytes,
    };
    let tag = format!("{:016x}", uuid::Uuid::new_v4().as_u64_pair().1);
    let engine = &context.front.engine;
    let mut builder = answer::builder(engine, &context.query_id)
        .header("Content-Type", answer::content_type(&format))
        .header("X-ClickHouse-Format", &format)
        .header(
            "X-ClickHouse-Summary",
            answer::summary(&Counts::default(), 0),
        )
        .header("X-ClickHouse-Exception-Tag", &tag);
    if let Some(coding) = context.coding.header() {
        builder = builder.header("Content-Encoding", coding);
    }
    let encoder = Encoder::new(context.coding).map_err(|error| no_resource(&error))?;
    let (sender, receiver) = mpsc::channel(ANSWER_PIECES_MAX);
    let pump = Pump {
        pipe,
        sender,
        encoder,
        canceller,
        outcome,
        tag,
    };
    tokio::spawn(pump.run(held, Arc::clone(engine)));
    Ok(answer::finish(builder, AnswerBody::Streamed(receiver)))
}

/// What was held back of an answer.
enum Held {
    Whole(Bytes),
    Beginning(Bytes),
}

async fn hold(pipe: &mut pipe::Receiver, wait_end: bool) -> io::Result<Held> {
    let limit = if wait_end {
        HELD_TO_END_BYTES_MAX
    } else {
        HELD_BYTES_MAX
    };
    let mut held = BytesMut::new();
    let mut deadline = None;
    while held.len() < limit {
        held.reserve(PIPE_READ_BYTES);
        let count = match deadline {
            Some(deadline) if !wait_end => {
                match tokio::time::timeout_at(deadline, pipe.read_buf(&mut held)).await {
                    Ok(count) => count?,
                    Err(_elapsed) => break,
                }
            }
            _ => pipe.read_buf(&mut held).await?,
        };
        if count == 0 {
            return Ok(Held::Whole(held.freeze()));
        }
        deadline.get_or_insert_with(|| tokio::time::Instant::now() + HOLD_TIME);
    }
    Ok(Held::Beginning(held.freeze()))
}

/// Carries an answer from the pipe to the client. Dropping it cancels the statement.
struct Pump {
    pipe: pipe::Receiver,
    sender: mpsc::Sender<Bytes>,
    encoder: Encoder,
    canceller: Canceller,
    outcome: oneshot::Receiver<Outcome>,
    tag: String,
}

impl Pump {
    async fn run(self, held: Bytes, engine: Arc<Engine>) {
        let Self {
            mut pipe,
            sender,
            mut encoder,
            canceller,
            outcome,
            tag,
        } = self;
        let mut piece = held;
        loop {
            let packed = match encoder.push(piece) {
                Ok(packed) => packed,
                Err(error) => {
                    tracing::warn!(%error, "an answer could not be packed");
                    return;
                }
            };
            if sender.send(packed).await.is_err() {
                return;
            }
            let mut buffer = BytesMut::with_capacity(PIPE_READ_BYTES);
            let count = tokio::select! {
                count = pipe.read_buf(&mut buffer) => count,
                () = sender.closed() => return,
            };
            match count {
                Ok(0) => break,
                Ok(_) => piece = buffer.freeze(),
                Err(error) => {
                    tracing::warn!(%error, "an answer's pipe broke");
                    return;
                }
            }
        }
        if let Err(exception) = outcome_of(outcome).await
            && let Ok(packed) = encoder.push(answer::exception_block(&engine, &tag, &exception))
            && sender.send(packed).await.is_err()
        {
            return;
        }
        drop(canceller);
        if let Ok(rest) = encoder.finish()
            && !rest.is_empty()
        {
            // The client may have gone; the statement has ended anyway.
            let _ = sender.send(rest).await;
        }
    }
}
