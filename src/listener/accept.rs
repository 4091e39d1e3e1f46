//! Where a listener's connections come from.
//!
//! The rest of the listener knows no socket: it has bytes both ways, and a way to throw away what cannot
//! be delivered. A listener with TLS is another [`Accept`], whose stream shakes hands when it is first read
//! or written. It must not do so in `accept`: one slow client would hold up all that wait behind it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// Takes in connections, one after the other.
pub trait Accept: Send + 'static {
    /// What a connection's bytes come and go through.
    type Stream: Stream;

    /// Gives the next connection, and where it comes from. The future may be dropped before it is ready:
    /// then no connection has been taken.
    ///
    /// # Errors
    /// When there is a connection that cannot be had, or one that has gone again.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

/// A connection's bytes, both ways. An end of what is read means that the client has closed its side; it
/// may still wait for its answer.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// What has been written and not delivered is thrown away when this is dropped. Else the kernel keeps
    /// it for minutes for a client that does not read.
    fn give_up_unsent(&self);

    /// Says whether the client has begun a handshake that is not done.
    fn is_shaking_hands(&self) -> bool {
        false
    }

    /// Notes that a handshake ends because it took too long.
    fn takes_too_long(&self) {}
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = Self::accept(self).await?;
        // Answers are small: waiting to fill a packet would only delay them.
        let _ignored = stream.set_nodelay(true);
        Ok((stream, peer))
    }
}

impl Stream for TcpStream {
    fn give_up_unsent(&self) {
        let _ignored = self.set_zero_linger();
    }
}
