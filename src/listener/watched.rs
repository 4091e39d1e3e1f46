//! Wraps the stream of a connection for hyper: the bytes that pass tell the state of the connection, and
//! some of them hyper must not see.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::task::unconstrained;

use crate::listener::accept::Stream;
use crate::listener::status::{Phase, Status};

/// Says whether this byte ends a line.
pub(super) fn is_line_end(byte: u8) -> bool {
    byte == b'\r' || byte == b'\n'
}

/// Notes when a request begins and when an answer moves. Reads and writes are of one task.
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) status: Arc<Status>,
    /// What was read of a request before there was a hyper to read it.
    pub(super) before: Bytes,
    /// Whether the client has closed its side, or the connection broke.
    pub(super) has_ended: bool,
    /// Whether the connection broke before it had a request: a handshake may have, and have said so.
    pub(super) is_broken: bool,
    /// Whether an end was kept from hyper once, while the last of a body was on its way to the handler.
    was_end_held: bool,
    /// Whether an end is kept from hyper until the answer is out.
    is_end_kept: bool,
}

impl<S: Stream> Watched<S> {
    pub(super) fn new(stream: S, status: Arc<Status>) -> Self {
        Self {
            stream,
            status,
            before: Bytes::new(),
            has_ended: false,
            is_broken: false,
            was_end_held: false,
            is_end_kept: false,
        }
    }

    /// Says something behind hyper's back, if there is room for it at once.
    pub(super) fn say(&mut self, bytes: &[u8]) {
        let stream = &mut self.stream;
        let saying = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        // To a client that has left it cannot be said. Without the runtime's limit of steps in one turn: this
        // is not tried again.
        let _ignored = unconstrained(saying).now_or_never();
    }

    /// Closes this side, as far as that needs no waiting: TLS has a word for it.
    pub(super) fn close(&mut self) {
        let _ignored = unconstrained(self.stream.shutdown()).now_or_never();
    }

    /// Whether hyper hears that the client has closed its side. While a request of his is worked on or its
    /// answer is on the way it does not: it would drop them, and a client may close its side and wait for
    /// the answer.
    fn end(&mut self, context: &Context<'_>) -> Poll<io::Result<()>> {
        match self.status.phase() {
            Phase::Work => self.status.enter(Phase::Left),
            Phase::Left | Phase::Answer => {}
            // Whether the body is whole is known when the handler has had what came before the end.
            Phase::Body if !self.was_end_held => {
                self.was_end_held = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            _ => return Poll::Ready(Ok(())),
        }
        self.is_end_kept = true;
        Poll::Pending
    }

    /// Notes whether a parked connection shakes hands: that may take as long as a head. When it has done so, it
    /// is idle from then on.
    fn shakes_hands(&self) {
        match (self.status.phase(), self.stream.is_shaking_hands()) {
            (Phase::Parked, true) => self.status.enter(Phase::Head),
            (Phase::Head, false) => self.status.enter(Phase::Parked),
            _ => {}
        }
    }

    /// Reads what comes to a parked connection. `false`: its client has left.
    pub(super) fn poll_first(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        // On the stack: a parked connection has no room of its own. As much as hyper reads first, because its
        // limit of a head counts whole reads.
        let mut first = [0_u8; 8 * 1024];
        let mut first = ReadBuf::new(&mut first);
        let result = Pin::new(&mut self.stream).poll_read(context, &mut first);
        self.shakes_hands();
        let result = ready!(result);
        self.is_broken = result.is_err();
        self.has_ended = result.is_err() || first.filled().is_empty();
        self.status.rests(Phase::Parked, Phase::Idle);
        self.received(first.filled());
        self.before = Bytes::copy_from_slice(first.filled());
        Poll::Ready(!self.has_ended)
    }

    fn received(&self, bytes: &[u8]) {
        // Empty lines between two requests begin no request.
        if self.status.phase() == Phase::Idle && bytes.iter().any(|byte| !is_line_end(*byte)) {
            self.status.enter(Phase::Head);
        }
    }

    fn written(&self, result: &Poll<io::Result<usize>>) {
        match self.status.phase() {
            // A part of the answer is out; until its client has read that, hyper reads nothing of it.
            Phase::Answer if result.is_ready() => self.status.enter(Phase::Answer),
            // The next part is made.
            Phase::Idle => self.status.enter(Phase::Answer),
            _ => {}
        }
    }
}

impl<S: Stream> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.before.is_empty() {
            let length = self.before.len().min(buffer.remaining());
            buffer.put_slice(&self.before.split_to(length));
            return Poll::Ready(Ok(()));
        }
        if self.has_ended {
            return self.end(context);
        }
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        let bytes = buffer.filled().get(before..).unwrap_or_default();
        if result.is_err() {
            self.has_ended = true;
        } else if bytes.is_empty() {
            self.has_ended = true;
            return self.end(context);
        } else {
            self.received(bytes);
        }
        Poll::Ready(result)
    }
}

impl<S: Stream> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(&result);
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // TLS has a buffer of its own. A connection that is parked before that is out would never send it.
        let result = ready!(Pin::new(&mut self.stream).poll_flush(context));
        // Everything is out: hyper flushes when its own buffer is empty.
        if self.status.phase() == Phase::Answer {
            self.status.enter(Phase::Idle);
            if std::mem::take(&mut self.is_end_kept) {
                context.waker().wake_by_ref();
            }
        }
        Poll::Ready(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(&result);
        result
    }
}
