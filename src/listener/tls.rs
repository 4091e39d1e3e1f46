//! TLS in front of a listener, or none: connections of one type either way.
//!
//! A connection shakes hands when it is first read, on its own task: `accept` waits for nobody. Until its first
//! byte has come a connection has no more of TLS than a pointer.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::task::unconstrained;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{FallibleAccept, TlsAcceptor};

use crate::listed::listed;
use crate::listener::accept::{Accept, Stream};
use crate::listener::certificate::Tls;
use crate::listener::refused::HTTPS_ONLY;
use crate::self_metrics as names;
use crate::throttle::Throttle;

/// What waits inside TLS for a client that does not read: one record of the greatest length. Unit: bytes.
const UNSENT_BYTES_MAX: usize = 16 * 1024;

listed! {
    /// How a handshake ended.
    enum Handshake {
        /// The connection is open.
        Done = "ok",
        /// The client speaks HTTP without TLS.
        PlainHttp = "plain_http",
        /// The client took too long.
        TimedOut = "timed_out",
        /// The client left, or the two sides do not understand each other.
        Failed = "failed",
    }
}

/// A throttle for each result, so that a flood of one does not hide another.
static THROTTLES: [Throttle; Handshake::ALL.len()] =
    [const { Throttle::new("handshakes that came to nothing") }; Handshake::ALL.len()];

/// The certificate of one listener, and what became of handshakes with it.
#[derive(Debug)]
struct Handshakes {
    tls: Arc<Tls>,
    listener: &'static str,
    counters: [metrics::Counter; Handshake::ALL.len()],
}

impl Handshakes {
    /// Its counters by result. They are there before the first handshake, and where there will be none: what is not
    /// there has no rise.
    fn counters(listener: &'static str) -> [metrics::Counter; Handshake::ALL.len()] {
        Handshake::ALL.map(|result| {
            let result = result.name();
            let counter = metrics::counter!(names::TLS_HANDSHAKES, "listener" => listener, "result" => result);
            counter.increment(0);
            counter
        })
    }

    fn count(&self, result: Handshake) {
        if let Some(counter) = self.counters.get(result as usize) {
            counter.increment(1);
        }
    }

    /// Counts a handshake that came to nothing, and says why.
    fn failed(&self, result: Handshake, why: &dyn fmt::Display) {
        self.count(result);
        if let Some(suppressed) = THROTTLES.get(result as usize).and_then(Throttle::pass) {
            // Without where it came from: that may be a person's.
            tracing::warn!(
                listener = self.listener,
                result = result.name(),
                suppressed,
                "no TLS handshake: {why}"
            );
        }
    }
}

/// A listener whose connections are encrypted if there is a certificate.
#[derive(Debug)]
pub struct Secured<A> {
    listener: A,
    handshakes: Option<Arc<Handshakes>>,
}

impl<A: Accept> Secured<A> {
    /// Puts TLS in front of a listener of this name, or lets its connections through as they are.
    pub fn new(listener: A, tls: Option<Arc<Tls>>, name: &'static str) -> Self {
        let counters = Handshakes::counters(name);
        let handshakes = tls.map(|tls| {
            Arc::new(Handshakes {
                tls,
                listener: name,
                counters,
            })
        });
        Self {
            listener,
            handshakes,
        }
    }
}

impl<A: Accept> Accept for Secured<A> {
    type Stream = Channel<A::Stream>;

    async fn accept(&mut self) -> io::Result<(Self::Stream, SocketAddr)> {
        let (stream, peer) = self.listener.accept().await?;
        let state = match &self.handshakes {
            None => State::Plain(stream),
            Some(handshakes) => State::Silent(stream, Arc::clone(handshakes)),
        };
        Ok((Channel(state), peer))
    }
}

/// A connection that is encrypted, or not.
pub struct Channel<S>(State<S>);

/// How far a connection is. What is large is boxed, so that a connection without TLS is not the larger for it.
enum State<S> {
    /// There is no TLS.
    Plain(S),
    /// Nothing has come yet.
    Silent(S, Arc<Handshakes>),
    /// The client has begun.
    Shaking(Box<FallibleAccept<Begun<S>>>, Arc<Handshakes>),
    /// Both sides have the keys.
    Open(Box<TlsStream<Begun<S>>>),
    /// The handshake has failed, and the client was told.
    Failed(S),
    /// The state is being changed.
    Changing,
}

impl<S: Stream> Channel<S> {
    /// Takes the handshake as far as it goes. `Ok`: the connection is open, or the client closed it without a word.
    fn poll_shake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let State::Silent(stream, _) = &mut self.0 {
            // On the stack: a connection that says nothing has no room of its own.
            let mut first = [0_u8; 4 * 1024];
            let mut first = ReadBuf::new(&mut first);
            ready!(Pin::new(stream).poll_read(context, &mut first))?;
            if first.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.begin(first.filled())?;
        }
        let State::Shaking(accept, _) = &mut self.0 else {
            return Poll::Ready(Ok(()));
        };
        let result = ready!(Pin::new(accept).poll(context));
        let State::Shaking(_, handshakes) = std::mem::replace(&mut self.0, State::Changing) else {
            return Poll::Ready(Ok(()));
        };
        Poll::Ready(match result {
            Ok(stream) => {
                handshakes.count(Handshake::Done);
                self.0 = State::Open(Box::new(stream));
                Ok(())
            }
            // rustls has sent its alert.
            Err((error, begun)) => {
                handshakes.failed(Handshake::Failed, &error);
                self.0 = State::Failed(begun.stream);
                Err(error)
            }
        })
    }

    /// Begins the handshake with the client's first bytes, with the certificate that there is now.
    fn begin(&mut self, first: &[u8]) -> io::Result<()> {
        let State::Silent(mut stream, handshakes) = std::mem::replace(&mut self.0, State::Changing)
        else {
            return Ok(());
        };
        // No record of TLS begins with a letter, and every request does.
        if first.first().is_some_and(u8::is_ascii_alphabetic) {
            handshakes.failed(
                Handshake::PlainHttp,
                &"plain HTTP, or a PROXY line of a balancer, answered 400; use https://",
            );
            // There is room for it: it is the first that is written. Without the runtime's limit of steps in one
            // turn: this is not tried again.
            let _ignored = unconstrained(stream.write_all(HTTPS_ONLY)).now_or_never();
            self.0 = State::Failed(stream);
            return Err(io::Error::new(io::ErrorKind::InvalidData, "plain HTTP"));
        }
        let begun = Begun {
            stream,
            before: Bytes::copy_from_slice(first),
        };
        let acceptor = TlsAcceptor::from(handshakes.tls.config());
        let accept = acceptor.accept_with(begun, |connection| {
            connection.set_buffer_limit(Some(UNSENT_BYTES_MAX));
        });
        self.0 = State::Shaking(Box::new(accept.into_fallible()), handshakes);
        Ok(())
    }

    /// Reads a connection with TLS.
    fn poll_read_secured(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let State::Failed(stream) = &mut self.0 {
            let before = buffer.filled().len();
            ready!(Pin::new(stream).poll_read(context, buffer))?;
            // It is only read off: nobody is to take it for something that came by TLS.
            if let Some(bytes) = buffer.filled_mut().get_mut(before..) {
                bytes.fill(0);
            }
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_shake(context))?;
        let State::Open(stream) = &mut self.0 else {
            return Poll::Ready(Ok(()));
        };
        match ready!(Pin::new(stream).poll_read(context, buffer)) {
            // The client has closed its side without the word for it. Where a request ends is said by HTTP.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }

    /// Gives what a connection with TLS is written to, once it is open.
    fn poll_open(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Pin<&mut TlsStream<Begun<S>>>>> {
        ready!(self.poll_shake(context))?;
        Poll::Ready(match &mut self.0 {
            State::Open(stream) => Ok(Pin::new(stream)),
            _ => Err(io::ErrorKind::NotConnected.into()),
        })
    }
}

impl<S: Stream> Stream for Channel<S> {
    fn give_up_unsent(&self) {
        match &self.0 {
            State::Plain(stream) | State::Silent(stream, _) | State::Failed(stream) => {
                stream.give_up_unsent();
            }
            State::Open(stream) => stream.get_ref().0.stream.give_up_unsent(),
            // No answer is on its way yet, and what is of the handshake is small.
            State::Shaking(..) | State::Changing => {}
        }
    }

    fn is_shaking_hands(&self) -> bool {
        matches!(self.0, State::Shaking(..))
    }

    fn takes_too_long(&self) {
        if let State::Shaking(_, handshakes) = &self.0 {
            handshakes.failed(Handshake::TimedOut, &"it was not done within head_timeout");
        }
    }
}

impl<S: Stream> AsyncRead for Channel<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            _ => self.poll_read_secured(context, buffer),
        }
    }
}

impl<S: Stream> AsyncWrite for Channel<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            State::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            _ => ready!(self.poll_open(context))?.poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Plain(stream) | State::Failed(stream) => Pin::new(stream).poll_flush(context),
            State::Open(stream) => Pin::new(stream).poll_flush(context),
            // Nothing has been written.
            State::Silent(..) | State::Shaking(..) | State::Changing => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Plain(stream) | State::Silent(stream, _) | State::Failed(stream) => {
                Pin::new(stream).poll_shutdown(context)
            }
            State::Open(stream) => Pin::new(stream).poll_shutdown(context),
            // There is no way to the socket, and nothing to be said: it is closed when this is dropped.
            State::Shaking(..) | State::Changing => Poll::Ready(Ok(())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            State::Plain(stream) => stream.is_write_vectored(),
            _ => true,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            State::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            _ => ready!(self.poll_open(context))?.poll_write_vectored(context, slices),
        }
    }
}

/// The bytes below TLS: what was read before there was a TLS to read it, then the rest.
struct Begun<S> {
    stream: S,
    before: Bytes,
}

impl<S: Stream> AsyncRead for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.before.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.before.len().min(buffer.remaining());
        buffer.put_slice(&self.before.split_to(length));
        if self.before.is_empty() {
            // What was read is given back.
            self.before = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for Begun<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
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
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}
