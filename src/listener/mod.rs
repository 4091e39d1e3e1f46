//! Accepts connections and serves a router on them, with the limits that `axum::serve` lacks.
//!
//! **Promises**
//! 1. Everything that arrives is answered. A handler answers a request, whatever bytes follow the request
//!    in the same packet or a later one. Bytes that are no request get a bare 400, 408 or 431, a count and
//!    a line in the log. So does HTTP where TLS is spoken; any other handshake that fails ends with TLS's own
//!    word for why.
//! 2. No client holds a connection for ever. A connection is in one state at a time (`status.rs`), and each
//!    state that waits for the client has a limit; a handshake has that of a request's head. While the server works on a request (a batch waits for
//!    the disk), the connection is left alone.
//! 3. No client locks others out. At the limit of connections an open connection makes room for a new one,
//!    first the one whose client loses nothing (`crowd.rs`), unless all are worked on.
//! 4. The memory of a connection is bounded: nothing is read from a client that does not read its answers.
//!    A connection that waits for its next request is parked after a second, and takes about two
//!    kilobytes then in place of twenty; with TLS, about eight more.
//! 5. A new certificate is shown to the next connection, and those that are open go on. Files that cannot be
//!    used change nothing.
//!
//! | file | what |
//! |---|---|
//! | `accept.rs` | where connections come from: sockets, or what a test puts in their place |
//! | `status.rs` | the state of a connection, since when, and what the connection is told to do |
//! | `connection.rs` | one connection, from its first byte to its end |
//! | `watched.rs` | the stream of a connection as hyper sees it |
//! | `tls.rs` | TLS in front of any of this, or none |
//! | `certificate.rs` | the certificate and its key, and what happens when their files are replaced |
//! | `crowd.rs` | all connections: which are over their time, which make room |
//! | `refused.rs` | what never became a request |
//! | `counts.rs` | what is counted |
//! | `files.rs` | the limit of open files, and how the listeners share it |
//!
//! One sweep a second closes connections that are over their time, so that no timer is armed on the path of
//! a request. The body of a request has its own deadline where it is read.

mod accept;
mod certificate;
mod connection;
mod counts;
mod crowd;
mod files;
mod refused;
mod status;
mod tls;
mod watched;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustix::io::Errno;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::listener::connection::Speech;
use crate::listener::counts::Counts;
use crate::listener::crowd::Crowd;
use crate::listener::refused::Refusals;
use crate::listener::status::Ticks;
use crate::peer::Peer;
use crate::surface::Surface;
use crate::throttle::Throttle;
use crate::world::World;

pub use crate::listener::accept::{Accept, Stream};
pub use crate::listener::certificate::{CertificateFiles, Tls, TlsError};
pub use crate::listener::files::{connections_allowed, raise_open_files};
pub use crate::listener::tls::{Channel, Secured};

/// How long a body may be incomplete: longer than any `body_timeout`, which cuts it before.
const BODY_MS_MAX: u64 = 11 * 60 * 1_000;
/// How long an answer may wait for a client that reads nothing of it.
const UNREAD_MS_MAX: u64 = 30_000;
/// How long a client that has closed its side may wait for its answer.
const LEFT_MS_MAX: u64 = 5_000;
/// How long a connection may take to close: longer than what is left to be done takes.
const CLOSING_MS_MAX: u64 = 5_000;
/// The clock that phases are measured by goes in steps of this, or finer when connections come.
const CLOCK_STEP: Duration = Duration::from_millis(100);

/// Limits of one listener.
#[derive(Debug, Clone, Copy)]
pub struct ListenerSettings {
    /// The name of the listener in metrics.
    pub name: &'static str,
    /// How many connections may be open at once. Unit: connections.
    pub connections_max: usize,
    /// How long the head of a request may take from its first byte to its end. Unit: whole seconds.
    pub head_s_max: u32,
    /// How long a connection may be idle between two requests. Unit: whole seconds.
    pub idle_s_max: u32,
    /// Whether answers may be large: they are not copied then.
    pub has_large_answers: bool,
    /// The headers that answers bear.
    pub surface: Surface,
}

/// What tests take; `serve` has its limits from the settings.
#[cfg(test)]
impl Default for ListenerSettings {
    fn default() -> Self {
        Self {
            name: "admin",
            connections_max: 25_000,
            head_s_max: 5,
            idle_s_max: 120,
            has_large_answers: true,
            surface: Surface {
                has_tls: false,
                is_private: true,
            },
        }
    }
}

/// How long the end of a listener may take.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    /// How long what a client still has to do may take: send a body, read an answer.
    pub clients: Duration,
    /// How long all of it may take, the server's own work included.
    pub all: Duration,
}

static NO_ROOM: Throttle = Throttle::new("connections refused");
static NOT_ACCEPTED: Throttle = Throttle::new("connections not accepted");

/// Serves `router` on what `listener` accepts, until `shutdown` turns true, then lets requests under way finish, within
/// the limits of `drain`.
pub async fn serve(
    mut listener: impl Accept,
    router: Router,
    settings: ListenerSettings,
    mut shutdown: watch::Receiver<bool>,
    drain: Drain,
    world: World,
) {
    let ticks = Ticks::new();
    let counts = Counts::new(settings);
    let errors = counts.errors.clone();
    let refusals = Refusals::new(settings.name);
    let speech = Arc::new(Speech::new(router, settings, refusals, world.chance));
    let mut crowd = Crowd::new(settings, counts, ticks.clone());
    let mut every_step = tokio::time::interval(CLOCK_STEP);
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                // The peer's address is not logged, because it may be a person's.
                Ok((stream, peer)) => {
                    ticks.advance();
                    if crowd.has_room() {
                        let (status, open) = crowd.enters();
                        let work = connection::serve(stream, Peer(peer.ip()), Arc::clone(&speech), status.clone());
                        let task = world.tasks.spawn_for_client(async move {
                            let _open = open;
                            work.await;
                        });
                        crowd.push(status, task.abort_handle());
                    } else if let Some(suppressed) = NO_ROOM.pass() {
                        tracing::warn!(listener = settings.name, suppressed, "connection refused: too many are open, and all are worked on");
                    }
                }
                Err(error) => {
                    errors.increment(1);
                    if let Some(suppressed) = NOT_ACCEPTED.pass() {
                        tracing::warn!(listener = settings.name, %error, suppressed, "could not accept a connection");
                    }
                    // For any other error the peer is gone already, and the next one waits.
                    if is_exhausted(&error) {
                        crowd.make_room();
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            },
            _ = every_step.tick() => ticks.advance(),
            _ = every_second.tick() => crowd.sweep(),
            // An error means that nobody can ask for a shutdown any more.
            () = async { let _asked = shutdown.wait_for(|is_asked| *is_asked).await.is_ok(); } => break,
        }
    }
    drop(listener);
    end(crowd, drain).await;
}

/// Whether there are too few files, or too little memory, for another connection.
fn is_exhausted(error: &io::Error) -> bool {
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| exhausted.contains(&errno))
}

async fn end(mut crowd: Crowd, drain: Drain) {
    const LOOK_EVERY: Duration = Duration::from_millis(20);
    crowd.stop();
    let began = Instant::now();
    while began.elapsed() < drain.all {
        let is_over = if began.elapsed() < drain.clients {
            crowd.is_empty()
        } else {
            crowd.only_work()
        };
        if is_over {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    crowd.end();
}
