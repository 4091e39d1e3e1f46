//! Inserts that stream: from the client into the engine.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::answer::Answer;
use super::body::BodyReader;
use super::context::{Context, whole_answer};
use super::job::{Job, Outcome, outcome_of};
use crate::connection::Connection;
use crate::engine::Canceller;
use crate::error::{Exception, code};
use crate::sql::Insert;

/// Pieces of an insert between the socket and the engine; the engine queues 16 more of its own.
const INSERT_PIECES_MAX: usize = 2;

/// One piece of an insert. Larger ones are cut, so that the engine's queue stays below 16 MiB.
const INSERT_PIECE_BYTES_MAX: usize = 1024 * 1024;

/// How much of a refused insert is still read, so that its client can read why.
const DRAIN_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What the socket hands to an insert's thread.
enum InsertPiece {
    Data(Bytes),
    End,
}

/// Streams a request's data into the engine.
pub(super) async fn insert_answer(
    context: &Context,
    (job, _canceller): (Job, Canceller),
    insert: Insert,
    text: Bytes,
    mut body: BodyReader,
) -> Result<Answer, Exception> {
    let first = text.slice(insert.data_start.min(text.len())..);
    let format = job.format.clone();
    let (sender, pieces) = mpsc::channel(INSERT_PIECES_MAX);
    let mut receiver = job.spawn(move |connection, details| {
        run_insert(connection, &insert, &details.parameters, pieces)
    })?;
    let fed = tokio::select! {
        biased;
        fed = feed(&mut body, first, sender) => fed,
        outcome = &mut receiver => {
            // Over before all was sent: the engine refused the statement or its data.
            body.drain(DRAIN_BYTES_MAX).await;
            let outcome = outcome.unwrap_or_else(|_gone| Err(broken_off()));
            return Err(outcome.err().unwrap_or_else(broken_off));
        }
    };
    match fed {
        Ok(()) => {}
        // The sender is dropped: the thread cancels the insert, then the client learns why.
        Err(exception) => {
            let outcome = outcome_of(receiver).await;
            let engine_says = outcome
                .err()
                .filter(|own| own.code != code::QUERY_WAS_CANCELLED);
            body.drain(DRAIN_BYTES_MAX).await;
            return Err(engine_says.unwrap_or(exception));
        }
    }
    let (_, counts) = outcome_of(receiver).await?;
    whole_answer(context, &format, Bytes::new(), &counts)
}

/// Hands the data over piece by piece. Only a body that came to its end is ended for the engine.
async fn feed(
    body: &mut BodyReader,
    first: Bytes,
    sender: mpsc::Sender<InsertPiece>,
) -> Result<(), Exception> {
    let mut next = Some(first);
    while let Some(mut piece) = next {
        while !piece.is_empty() {
            let part = piece.split_to(piece.len().min(INSERT_PIECE_BYTES_MAX));
            sender
                .send(InsertPiece::Data(part))
                .await
                .map_err(|_gone| broken_off())?;
        }
        next = body.next_piece().await?;
    }
    sender
        .send(InsertPiece::End)
        .await
        .map_err(|_gone| broken_off())
}

fn run_insert(
    connection: &mut Connection,
    insert: &Insert,
    parameters: &[(String, String)],
    mut pieces: mpsc::Receiver<InsertPiece>,
) -> Outcome {
    let mut open = connection.insert(insert, parameters)?;
    loop {
        match pieces.blocking_recv() {
            Some(InsertPiece::Data(data)) => open.append(&data)?,
            Some(InsertPiece::End) => return Ok((Vec::new(), open.finish()?)),
            None => {
                open.cancel();
                return Err(broken_off());
            }
        }
    }
}

fn broken_off() -> Exception {
    Exception::new(
        code::QUERY_WAS_CANCELLED,
        "QUERY_WAS_CANCELLED",
        "The insert was cancelled: its data did not come to an end",
    )
}
