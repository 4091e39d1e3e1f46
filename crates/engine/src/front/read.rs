//! Answers that stream: from the engine through a pipe to the client.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use super::answer::{self, Answer, AnswerBody, AnswerPiece};
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
    sender: mpsc::Sender<AnswerPiece>,
    encoder: Encoder,
    canceller: Canceller,
    outcome: oneshot::Receiver<Outcome>,
    tag: String,
}

impl Pump {
    /// Only an answer that came to its end, or to the exception that ended it, is ended for the client.
    async fn run(self, held: Bytes, engine: Arc<Engine>) {
        let Self {
            mut pipe,
            sender,
            mut encoder,
            canceller,
            outcome,
            tag,
        } = self;
        let carried = async {
            carry(&mut pipe, &mut encoder, &sender, held).await?;
            if let Err(exception) = outcome_of(outcome).await {
                let block = answer::exception_block(&engine, &tag, &exception);
                send(&sender, encoder.push(block)?).await?;
            }
            drop(canceller);
            send(&sender, encoder.finish()?).await?;
            sender
                .send(AnswerPiece::End)
                .await
                .map_err(|_gone| Stop::Gone)
        };
        if let Err(Stop::Broken(error)) = carried.await {
            tracing::warn!(%error, "an answer broke off");
        }
    }
}

/// Why an answer is not carried to its end.
#[derive(Debug)]
enum Stop {
    /// The client has gone.
    Gone,
    /// The pipe broke, or a piece could not be packed.
    Broken(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// Carries what was held back, and then all that comes through the pipe.
async fn carry(
    pipe: &mut (impl AsyncRead + Unpin),
    encoder: &mut Encoder,
    sender: &mpsc::Sender<AnswerPiece>,
    held: Bytes,
) -> Result<(), Stop> {
    let mut piece = held;
    loop {
        send(sender, encoder.push(piece)?).await?;
        let mut buffer = BytesMut::with_capacity(PIPE_READ_BYTES);
        let count = tokio::select! {
            count = pipe.read_buf(&mut buffer) => count?,
            () = sender.closed() => return Err(Stop::Gone),
        };
        if count == 0 {
            return Ok(());
        }
        piece = buffer.freeze();
    }
}

async fn send(sender: &mpsc::Sender<AnswerPiece>, packed: Bytes) -> Result<(), Stop> {
    if packed.is_empty() {
        return Ok(());
    }
    let sent = sender.send(AnswerPiece::Data(packed)).await;
    sent.map_err(|_gone| Stop::Gone)
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{self, Poll};

    use http_body_util::BodyExt;
    use tokio::io::ReadBuf;

    use super::*;
    use crate::front::encode::Coding;

    /// Gives a piece, and then the end or an error: a real pipe breaks too seldom.
    struct Pipe {
        piece: Option<&'static [u8]>,
        breaks: bool,
    }

    impl AsyncRead for Pipe {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _context: &mut task::Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            match self.piece.take() {
                Some(piece) => buffer.put_slice(piece),
                None if self.breaks => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                None => {}
            }
            Poll::Ready(Ok(()))
        }
    }

    /// What a client gets of an answer through such a pipe.
    async fn answer_through(breaks: bool) -> Option<Vec<u8>> {
        let (sender, receiver) = mpsc::channel(ANSWER_PIECES_MAX);
        let pump = async move {
            let mut pipe = Pipe {
                piece: Some(b" and the rest"),
                breaks,
            };
            let mut encoder = Encoder::new(Coding::Identity).unwrap();
            let held = Bytes::from_static(b"the beginning");
            let carried = carry(&mut pipe, &mut encoder, &sender, held).await;
            assert_eq!(matches!(carried, Err(Stop::Broken(_))), breaks);
            if carried.is_ok() {
                sender.send(AnswerPiece::End).await.unwrap();
            }
        };
        let body = AnswerBody::Streamed(receiver).collect();
        let ((), body) = tokio::join!(pump, body);
        body.ok().map(|whole| whole.to_bytes().to_vec())
    }

    #[tokio::test]
    async fn an_answer_whose_pipe_broke_is_not_ended_as_if_it_were_whole() {
        assert_eq!(answer_through(true).await, None);
        let whole = answer_through(false).await;
        assert_eq!(whole.unwrap(), b"the beginning and the rest");
    }
}
