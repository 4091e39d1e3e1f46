//! Accepts connections and serves a router on them, with the time-outs that `axum::serve` has not.
//!
//! A connection is idle (between requests), sending a request's head, or busy. Each has its time
//! limit, and one sweep a second closes what is over it: no timer is armed on the path of a request.
//! At the limit of connections the longest idle one makes room for a new one, so that half-open
//! connections cannot lock terminals out. A request's body has its own deadline where it is read.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tower_service::Service;

use crate::request_id::{Answered, RequestId};
use crate::self_metrics as names;
use crate::throttle::Throttle;

/// Limits of one listener.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// What it is called in metrics.
    pub name: &'static str,
    /// Connections open at once. Unit: connections.
    pub connections_max: usize,
    /// From the first byte of a request to the end of its head. Unit: whole seconds.
    pub head_s_max: u32,
    /// Between two requests, and while a client does not read its answer. Unit: whole seconds.
    pub idle_s_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "admin",
            connections_max: 25_000,
            head_s_max: 5,
            idle_s_max: 120,
        }
    }
}

/// What is counted of a listener.
#[derive(Debug, Clone)]
struct Counts {
    open: metrics::Gauge,
    accepted: metrics::Counter,
    errors: metrics::Counter,
    no_room: metrics::Counter,
    made_room: metrics::Counter,
    head_timeout: metrics::Counter,
    idle_timeout: metrics::Counter,
}

impl Counts {
    fn new(settings: Settings) -> Self {
        let name = settings.name;
        let closed = |reason: &'static str| metrics::counter!(names::CONNECTIONS_CLOSED, "listener" => name, "reason" => reason);
        let limit = u32::try_from(settings.connections_max).unwrap_or(u32::MAX);
        metrics::gauge!(names::CONNECTIONS_MAX, "listener" => name).set(limit);
        Self {
            open: metrics::gauge!(names::CONNECTIONS, "listener" => name),
            accepted: metrics::counter!(names::CONNECTIONS_ACCEPTED, "listener" => name),
            errors: metrics::counter!(names::ACCEPT_ERRORS, "listener" => name),
            no_room: closed("no_room"),
            made_room: closed("made_room"),
            head_timeout: closed("head_timeout"),
            idle_timeout: closed("idle_timeout"),
        }
    }
}

/// Counts a connection as open until it is dropped, however it ends.
struct Open(metrics::Gauge);

impl Open {
    fn new(gauge: metrics::Gauge) -> Self {
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

static NO_ROOM: Throttle = Throttle::new("connections refused");
static NOT_ACCEPTED: Throttle = Throttle::new("connections not accepted");

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;

/// Bytes of a request's head: room for forty headers of ordinary size.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What the sweep knows of a connection.
#[derive(Debug)]
struct Phase {
    phase: AtomicU8,
    /// Tick at which it began.
    since_tick: AtomicU32,
    /// Seconds since the listener started, advanced by the sweep.
    tick: Arc<AtomicU32>,
}

impl Phase {
    fn enter(&self, phase: u8) {
        self.since_tick
            .store(self.tick.load(Ordering::Relaxed), Ordering::Relaxed);
        self.phase.store(phase, Ordering::Relaxed);
    }

    fn is(&self, phase: u8) -> bool {
        self.phase.load(Ordering::Relaxed) == phase
    }

    fn age_s(&self) -> u32 {
        let now = self.tick.load(Ordering::Relaxed);
        now.saturating_sub(self.since_tick.load(Ordering::Relaxed))
    }
}

type Connections = Arc<Mutex<Vec<(Arc<Phase>, AbortHandle)>>>;

/// Serves `router` on `listener` until `shutdown` turns true, then lets requests under way finish for
/// at most `grace`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: Settings,
    mut shutdown: watch::Receiver<bool>,
    grace: Duration,
) {
    let tick = Arc::new(AtomicU32::new(0));
    let connections: Connections = Connections::default();
    let counts = Counts::new(settings);
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    let (closing, closed) = watch::channel(false);
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .max_buf_size(HEAD_BYTES_MAX)
        .half_close(false)
        .pipeline_flush(true);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                // Where it comes from is not logged: an address may be a person's.
                Ok((stream, _peer)) => {
                    if !has_room(&connections, settings.connections_max, &counts) {
                        counts.no_room.increment(1);
                        if let Some(suppressed) = NO_ROOM.pass() {
                            tracing::warn!(listener = settings.name, suppressed, "connection refused: too many are open, and none is idle");
                        }
                        continue;
                    }
                    counts.accepted.increment(1);
                    let phase = Arc::new(Phase {
                        phase: AtomicU8::new(IDLE),
                        since_tick: AtomicU32::new(tick.load(Ordering::Relaxed)),
                        tick: Arc::clone(&tick),
                    });
                    let work = connection(stream, router.clone(), Arc::clone(&phase), (builder.clone(), closed.clone()));
                    let open = Open::new(counts.open.clone());
                    let task = tokio::spawn(async move {
                        let _open = open;
                        work.await;
                    });
                    lock(&connections).push((phase, task.abort_handle()));
                }
                // Out of file descriptors, or the peer is gone already: go on a little later.
                Err(error) => {
                    counts.errors.increment(1);
                    if let Some(suppressed) = NOT_ACCEPTED.pass() {
                        tracing::warn!(listener = settings.name, %error, suppressed, "could not accept a connection");
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            _ = every_second.tick() => {
                tick.fetch_add(1, Ordering::Relaxed);
                sweep(&connections, settings, &counts);
            }
            // An error means that nobody can ask for a shutdown any more.
            () = async { let _asked = shutdown.wait_for(|is_asked| *is_asked).await.is_ok(); } => break,
        }
    }
    drop(listener);
    let _receivers = closing.send(true);
    let deadline = tokio::time::Instant::now() + grace;
    while tokio::time::Instant::now() < deadline {
        sweep(&connections, settings, &counts);
        if lock(&connections).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (_, task) in lock(&connections).drain(..) {
        task.abort();
    }
}

fn lock(connections: &Connections) -> std::sync::MutexGuard<'_, Vec<(Arc<Phase>, AbortHandle)>> {
    connections.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Closes what has been in its phase for too long and forgets what has ended.
fn sweep(connections: &Connections, settings: Settings, counts: &Counts) {
    lock(connections).retain(|(phase, task)| {
        if task.is_finished() {
            return false;
        }
        let over = if phase.is(IDLE) && phase.age_s() > settings.idle_s_max {
            &counts.idle_timeout
        } else if phase.is(HEAD) && phase.age_s() > settings.head_s_max {
            &counts.head_timeout
        } else {
            return true;
        };
        over.increment(1);
        task.abort();
        false
    });
}

/// Whether one more connection may be open; the longest idle one is closed if need be.
fn has_room(connections: &Connections, connections_max: usize, counts: &Counts) -> bool {
    let mut open = lock(connections);
    if open.len() < connections_max {
        return true;
    }
    open.retain(|(_, task)| !task.is_finished());
    if open.len() < connections_max {
        return true;
    }
    let idle = open
        .iter()
        .enumerate()
        .filter(|(_, (phase, _))| phase.is(IDLE));
    let Some((index, _)) = idle.max_by_key(|(_, (phase, _))| phase.age_s()) else {
        return false;
    };
    let (_, task) = open.swap_remove(index);
    task.abort();
    counts.made_room.increment(1);
    true
}

async fn connection(
    stream: TcpStream,
    router: Router,
    phase: Arc<Phase>,
    (builder, mut closed): (hyper::server::conn::http1::Builder, watch::Receiver<bool>),
) {
    // Answers are small: waiting to fill a packet would only delay them.
    let _ignored = stream.set_nodelay(true);
    let io = TokioIo::new(Watched {
        stream,
        phase: Arc::clone(&phase),
    });
    let service = TowerToHyperService::new(Noting { router, phase });
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    tokio::select! {
        // A client that goes away in the middle is its own affair.
        _ = connection.as_mut() => {}
        () = async { let _closing = closed.wait_for(|is_closing| *is_closing).await.is_ok(); } => {
            connection.as_mut().graceful_shutdown();
            let _ended = connection.await;
        }
    }
}

/// Notes when a request's head is complete, and names the request.
#[derive(Clone)]
struct Noting {
    router: Router,
    phase: Arc<Phase>,
}

impl Service<hyper::Request<hyper::body::Incoming>> for Noting {
    type Response = <Router as Service<hyper::Request<hyper::body::Incoming>>>::Response;
    type Error = <Router as Service<hyper::Request<hyper::body::Incoming>>>::Error;
    type Future = Answered<<Router as Service<hyper::Request<hyper::body::Incoming>>>::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: hyper::Request<hyper::body::Incoming>) -> Self::Future {
        self.phase.enter(BUSY);
        let id = RequestId::of(request.headers());
        request.extensions_mut().insert(id.clone());
        Answered::new(self.router.call(request), id)
    }
}

/// Notes when a request begins and when an answer moves.
struct Watched {
    stream: TcpStream,
    phase: Arc<Phase>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before && self.phase.is(IDLE) {
            self.phase.enter(HEAD);
        }
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        if result.is_ready() && !is_interim(bytes) {
            self.phase.enter(IDLE);
        }
        result
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
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        if result.is_ready() && !slices.first().is_some_and(|first| is_interim(first)) {
            self.phase.enter(IDLE);
        }
        result
    }
}

/// Whether this is `100 Continue`: the request's body is still to come, and has its own deadline.
fn is_interim(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HTTP/1.1 100")
}

/// The most connections this process may hold beside its files, given what was asked for.
#[must_use]
pub fn connections_allowed(asked: usize) -> usize {
    /// Journal segments, the state file, ClickHouse, the listeners themselves.
    const OTHER_FILES: u64 = 256;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let free = limit.map_or(u64::MAX, |limit| limit.saturating_sub(OTHER_FILES).max(64));
    asked.min(usize::try_from(free).unwrap_or(usize::MAX))
}
