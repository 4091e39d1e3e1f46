//! One connection, from its first byte to its end.
//!
//! hyper speaks HTTP. This file tells the listener the state of the connection ([`Phase`]), and does what
//! hyper leaves open:
//!
//! - The connection reads nothing from a client that does not read its answers.
//! - A client that has closed its side is still answered.
//! - Bytes that were no request are answered and counted.
//! - The connection is not reset behind an answer, because the answer would be lost.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1::Builder;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, ReadBuf};
use tower_service::Service as _;

use crate::chance::Chance;
use crate::listener::ListenerSettings;
use crate::listener::accept::Stream;
use crate::listener::refused::{BAD_REQUEST, REQUEST_TIMEOUT, Refusals, Refused};
use crate::listener::status::{Order, Phase, Status};
use crate::listener::watched::{Watched, is_line_end};
use crate::peer::Peer;
use crate::request_id::{Answered, RequestId};
use crate::surface::Surface;

/// Bytes of a request's head: room for forty headers of ordinary size.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long bytes are read off behind the last answer, at most.
const LINGER_MAX: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How connections of one listener are served.
pub(super) struct Speech {
    builder: Builder,
    router: Router,
    refusals: Refusals,
    chance: Chance,
    surface: Surface,
}

impl Speech {
    /// Large answers go out from where they are; small ones are copied behind their heads, into one
    /// write.
    pub(super) fn new(
        router: Router,
        settings: ListenerSettings,
        refusals: Refusals,
        chance: Chance,
    ) -> Self {
        let mut builder = Builder::new();
        // Not `pipeline_flush`: with it nothing goes out while a byte of the next request is there, and
        // answers that nobody reads pile up without end.
        builder
            .max_buf_size(HEAD_BYTES_MAX)
            .half_close(false)
            .writev(settings.has_large_answers);
        Self {
            builder,
            router,
            refusals,
            chance,
            surface: settings.surface,
        }
    }
}

/// How hyper's part ended.
enum End {
    ByItself(hyper::Result<()>),
    Told(Order),
}

/// Serves one connection to its end. While it waits for a request it is parked: there is no more of it than its
/// stream and this.
pub(super) async fn serve(
    stream: impl Stream,
    peer: Peer,
    speech: Arc<Speech>,
    status: Arc<Status>,
) {
    let mut watched = Watched::new(stream, Arc::clone(&status));
    status.rests(Phase::Idle, Phase::Parked);
    poll_fn(|context| {
        status.wakes(context.waker());
        Poll::Ready(())
    })
    .await;
    while poll_fn(|context| comes(&mut watched, context)).await {
        // The future is boxed, so that a parked connection is not the larger for it.
        match Box::pin(speak(watched, peer, &speech)).await {
            Some(parked) => watched = parked,
            None => return,
        }
    }
    if watched.is_broken {
        // What says why a handshake failed must not be lost.
        status.enter(Phase::Closing);
        Box::pin(linger(watched.stream)).await;
    } else if !watched.has_ended {
        watched.close();
    }
}

/// Waits for the first bytes of a request. `false`: the client has left, or the listener wants the connection closed.
fn comes(watched: &mut Watched<impl Stream>, context: &mut Context<'_>) -> Poll<bool> {
    // Bytes are looked at first: what has come in the meantime overtakes an order to close.
    if !watched.before.is_empty() {
        watched.status.rests(Phase::Parked, Phase::Idle);
        return Poll::Ready(true);
    }
    if let Poll::Ready(is_there) = watched.poll_first(context) {
        return Poll::Ready(is_there);
    }
    let is_shaking = watched.stream.is_shaking_hands();
    match watched.status.order() {
        Order::GoOn | Order::Park => Poll::Pending,
        // The request may come with the end of the handshake.
        Order::Stop if is_shaking => Poll::Pending,
        Order::TimeOut if is_shaking => {
            watched.stream.takes_too_long();
            Poll::Ready(false)
        }
        Order::Stop | Order::TimeOut | Order::Leave => Poll::Ready(false),
    }
}

/// Speaks HTTP until the connection ends, or is parked: a parked one is given back.
async fn speak<S: Stream>(watched: Watched<S>, peer: Peer, speech: &Speech) -> Option<Watched<S>> {
    let status = Arc::clone(&watched.status);
    let noting = Noting {
        router: speech.router.clone(),
        chance: speech.chance.clone(),
        peer,
        surface: speech.surface,
        status: Arc::clone(&status),
    };
    let mut connection = speech
        .builder
        .serve_connection(TokioIo::new(watched), noting);
    let (mut is_stopping, mut was_idle) = (false, false);
    let end = poll_fn(|context| {
        // hyper is asked first: what has come in the meantime overtakes an order to close.
        if let Poll::Ready(result) = Pin::new(&mut connection).poll(context) {
            return Poll::Ready(End::ByItself(result));
        }
        match status.order() {
            Order::GoOn => Poll::Pending,
            Order::Stop if is_stopping => Poll::Pending,
            Order::Stop => {
                is_stopping = true;
                was_idle = status.phase() == Phase::Idle;
                Pin::new(&mut connection).graceful_shutdown();
                Pin::new(&mut connection).poll(context).map(End::ByItself)
            }
            Order::Park if !status.may_park() => Poll::Pending,
            order => Poll::Ready(End::Told(order)),
        }
    })
    .await;
    // hyper drops the answer with the rest.
    let was_answering = status.is_answering();
    let parts = connection.into_parts();
    let mut watched = parts.io.into_inner();
    let lingers = match end {
        End::Told(Order::Park) => {
            status.rests(Phase::Idle, Phase::Parked);
            status.has_parked();
            // Empty lines begin no request.
            if parts.read_buf.iter().any(|byte| !is_line_end(*byte)) {
                watched.before = parts.read_buf;
            }
            return Some(watched);
        }
        End::Told(order) => close(&mut watched, &parts.read_buf, order, &speech.refusals),
        End::ByItself(Ok(())) => !was_idle,
        // A client that leaves in the middle of an answer, such as a page that is closed, has sent its request.
        End::ByItself(Err(error)) if was_answering && error.is_incomplete_message() => false,
        End::ByItself(Err(error)) => {
            refuse(&mut watched, &parts.read_buf, &error, &speech.refusals)
        }
    };
    if lingers && !watched.has_ended {
        status.enter(Phase::Closing);
        // The future is boxed, so that a connection that goes on is not the larger for it.
        Box::pin(linger(watched.stream)).await;
    }
    None
}

/// Ends a connection as the listener wants it, and says whether an answer must not be lost.
fn close(
    watched: &mut Watched<impl Stream>,
    rest: &[u8],
    order: Order,
    refusals: &Refusals,
) -> bool {
    let phase = watched.status.phase();
    if phase == Phase::Answer {
        watched.stream.give_up_unsent();
    }
    // The next head may have begun in the packet of the last request.
    let has_begun = match phase {
        Phase::Head => true,
        Phase::Idle => rest.iter().any(|byte| !is_line_end(*byte)),
        _ => false,
    };
    if has_begun && order == Order::TimeOut {
        refusals.note(Refused::TimedOut);
    }
    let is_answered = order == Order::TimeOut && (has_begun || phase == Phase::Body);
    if is_answered {
        watched.say(REQUEST_TIMEOUT);
    }
    is_answered
}

/// Counts what was no request, answers it if hyper has not, and says whether there was an answer.
fn refuse(
    watched: &mut Watched<impl Stream>,
    rest: &[u8],
    error: &hyper::Error,
    refusals: &Refusals,
) -> bool {
    let Some(refused) = Refused::of(error, rest) else {
        // The connection broke. If a request was under way, whoever works on it sees that.
        if watched.status.phase() == Phase::Head {
            refusals.note(Refused::Incomplete);
        }
        return false;
    };
    refusals.note(refused);
    if !refused.is_answered_by_hyper(error) {
        watched.say(BAD_REQUEST);
    }
    true
}

/// Closes this side, and reads off what the client still sends: a connection that is closed with bytes
/// unread is reset, and the client may lose the answer that says why.
async fn linger(mut stream: impl Stream) {
    let reading = async {
        let _ignored = stream.shutdown().await;
        let mut left = LINGER_BYTES_MAX;
        while left > 0 {
            match poll_fn(|context| read_off(&mut stream, context)).await {
                Ok(0) | Err(_) => return,
                Ok(bytes) => left = left.saturating_sub(bytes),
            }
        }
    };
    // A client that is slower than this loses its answer.
    let _is_slow = tokio::time::timeout(LINGER_MAX, reading).await.is_err();
}

/// Reads into room on the stack, so that no connection that lingers has room of its own.
fn read_off(stream: &mut impl Stream, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut waste = [0_u8; 8 * 1024];
    let mut waste = ReadBuf::new(&mut waste);
    ready!(Pin::new(stream).poll_read(context, &mut waste))?;
    Poll::Ready(Ok(waste.filled().len()))
}

/// Notes when a request's head is complete, and names the request.
struct Noting {
    router: Router,
    chance: Chance,
    peer: Peer,
    surface: Surface,
    status: Arc<Status>,
}

impl hyper::service::Service<Request<Incoming>> for Noting {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, mut request: Request<Incoming>) -> Answering {
        let is_whole = request.body().is_end_stream();
        self.status
            .enter(if is_whole { Phase::Work } else { Phase::Body });
        let id = RequestId::of(request.headers(), &self.chance);
        request.extensions_mut().insert(id.clone());
        request.extensions_mut().insert(self.peer);
        let request = request.map(|body| Arriving {
            body,
            status: Arc::clone(&self.status),
        });
        Answering {
            answered: Answered::new(self.router.clone().call(request), id),
            surface: self.surface,
            status: Arc::clone(&self.status),
        }
    }
}

type Routed = <Router as tower_service::Service<Request<Arriving>>>::Future;

/// Notes when the answer is made.
struct Answering {
    answered: Answered<Routed>,
    surface: Surface,
    status: Arc<Status>,
}

impl Future for Answering {
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = ready!(Pin::new(&mut self.answered).poll(context))?;
        self.surface.put_on(response.headers_mut());
        self.status.enter(Phase::Answer);
        self.status.answers(true);
        let status = Arc::clone(&self.status);
        Poll::Ready(Ok(response.map(|body| Answer { body, status })))
    }
}

/// An answer's body; notes when hyper has had all of it.
struct Answer {
    body: axum::body::Body,
    status: Arc<Status>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.status.answers(false);
    }
}

/// A request's body; notes when it is whole, or no longer wanted.
struct Arriving {
    body: Incoming,
    status: Arc<Status>,
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) || self.body.is_end_stream() {
            self.status.turn(Phase::Body, Phase::Work);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.status.turn(Phase::Body, Phase::Work);
    }
}
