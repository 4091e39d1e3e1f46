//! Runs the front: opens the engine, accepts connections, and ends in time.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, IsTerminal, Read, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use super::answer::{self, Answer};
use super::session::Sessions;
use super::shared::{Front, FrontSettings};
use super::{pulse, statement};
use crate::engine::{Engine, EngineSettings};
use crate::error::{EngineError, FrontError};
use crate::names::Names;

/// Connections at once. The collector keeps a handful, Grafana a few per panel.
const CONNECTION_COUNT_MAX: usize = 256;

/// The longest head of a request: a statement in the URL is longer than usual headers.
const HEAD_BYTES_MAX: usize = 256 * 1024;

/// How long running statements may go on once the process is told to stop.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// How long cancelled statements and the engine itself get after that, before the process ends
/// without them. Nothing acknowledged is lost: the engine's files survive a kill at any time.
const END_TIME: Duration = Duration::from_secs(4);

/// How often sessions are looked over.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);

/// How often freed memory is given back, in sweeps.
const RELEASE_SWEEPS: u64 = 5;

/// For how long after the last statement that goes on, in sweeps: merges follow inserts.
const RELEASE_SWEEPS_AFTER_USE: u64 = 120;

/// Runs the engine and its HTTP front until `shutdown` completes, then finishes within nine
/// seconds: five for running statements, four for the engine. If that is not enough, the process
/// kills itself.
///
/// Prints the announcement with `http://ADDRESS` on standard output once it listens.
pub async fn run(
    settings: FrontSettings,
    shutdown: impl Future<Output = ()>,
) -> Result<(), FrontError> {
    let mut shutdown = pin!(shutdown);
    if !settings.listen.ip().is_loopback() && settings.password.is_none() {
        return Err(FrontError::OpenToTheWorld {
            address: settings.listen,
            password_variable: settings.engine.names.password_variable,
        });
    }
    let names = settings.engine.names;
    // Before the engine: a port in use should not cost the time to open it.
    let listener = listen(settings.listen).await?;
    let address = listener.local_addr()?;
    let opening = open_on_a_thread(settings.engine.clone())?;
    let engine = tokio::select! {
        opened = opening => opened.map_err(|_gone| io::Error::other("the engine's thread ended"))??,
        () = &mut shutdown => return Ok(()),
    };
    let front = Arc::new(Front {
        engine: Arc::new(engine),
        sessions: Sessions::default(),
        turns: Arc::new(Semaphore::new(settings.statement_count_max)),
        pulse: Arc::new(Semaphore::new(1)),
        sweeps: AtomicU64::new(0),
        last_used_sweep: AtomicU64::new(0),
        settings,
    });
    announce(names, address)?;
    let mut connections = JoinSet::new();
    let graceful = GracefulShutdown::new();
    accept(&front, &listener, &mut connections, &graceful, shutdown).await;
    drop(listener);

    end_after(DRAIN_TIME + END_TIME)?;
    if tokio::time::timeout(DRAIN_TIME, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("cancelled the statements that still ran");
    }
    // Dropping a connection cancels its statement; a statement gives its permit back at its end.
    connections.shutdown().await;
    let all = u32::try_from(front.settings.statement_count_max).unwrap_or(u32::MAX);
    let turns = Arc::clone(&front.turns).acquire_many_owned(all).await;
    // Closing connections and the engine blocks, and must not be left to a runtime that ends.
    let closing = tokio::task::spawn_blocking(move || {
        drop(front.sessions.take_all());
        drop(front);
        drop(turns);
    });
    closing.await.map_err(io::Error::other)?;
    Ok(())
}

/// Completes at SIGTERM or SIGINT, and at the end of standard input if `exit_on_stdin_eof`.
///
/// By hand the end of standard input means nothing (`< /dev/null`, a service manager). Under a
/// supervisor it means that the supervisor died, however it died.
pub async fn until_told_to_stop(exit_on_stdin_eof: bool) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, stdin_ended) = oneshot::channel();
    // Kept alive in the other case, so that its branch never completes.
    let mut sender = Some(sender);
    if exit_on_stdin_eof && let Some(sender) = sender.take() {
        thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(move || {
                let mut stdin = io::stdin();
                let mut buffer = [0; 64];
                if stdin.is_terminal() {
                    tracing::warn!("watching a terminal for its end");
                }
                while matches!(stdin.read(&mut buffer), Ok(count) if count > 0) {}
                let _ = sender.send(());
            })?;
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = stdin_ended => {}
    }
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<TcpListener, FrontError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => FrontError::AddressInUse { address },
            _ => FrontError::Listen { address, source },
        })
}

type Opened = Result<Engine, EngineError>;

/// Opening waits for the path's lock; on a plain thread it cannot hold up the end of the runtime.
fn open_on_a_thread(settings: EngineSettings) -> io::Result<oneshot::Receiver<Opened>> {
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new()
        .name("ch-open".to_owned())
        .spawn(move || {
            let _ = sender.send(Engine::open(&settings));
        })?;
    Ok(receiver)
}

fn announce(names: &Names, address: SocketAddr) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}http://{address}", names.announcement)?;
    stdout.flush()
}

/// Accepts until told to stop.
async fn accept(
    front: &Arc<Front>,
    listener: &TcpListener,
    connections: &mut JoinSet<()>,
    graceful: &GracefulShutdown,
    mut shutdown: std::pin::Pin<&mut impl Future<Output = ()>>,
) {
    let slots = Arc::new(Semaphore::new(CONNECTION_COUNT_MAX));
    let mut sweep = tokio::time::interval(SWEEP_PERIOD);
    loop {
        let permit = tokio::select! {
            () = &mut shutdown => return,
            _ = sweep.tick() => {
                tidy(front);
                continue;
            }
            permit = Arc::clone(&slots).acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            () = &mut shutdown => return,
            _ = sweep.tick() => {
                tidy(front);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _peer)) => {
                let connection = serve_connection(Arc::clone(front), stream, graceful);
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of descriptors, or a client that was gone already: neither is for ever.
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Closes expired sessions and gives memory back. Both block, so not here.
fn tidy(front: &Arc<Front>) {
    let sweep = front.sweeps.fetch_add(1, Ordering::Relaxed) + 1;
    let idle = sweep.saturating_sub(front.last_used_sweep.load(Ordering::Relaxed));
    let is_release_due = sweep.is_multiple_of(RELEASE_SWEEPS) && idle <= RELEASE_SWEEPS_AFTER_USE;
    let expired = front.sessions.take_expired(Instant::now());
    if expired.is_empty() && !is_release_due {
        return;
    }
    let engine = Arc::clone(&front.engine);
    tokio::task::spawn_blocking(move || {
        drop(expired);
        if is_release_due {
            engine.release_memory();
        }
    });
}

fn serve_connection(
    front: Arc<Front>,
    stream: TcpStream,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + 'static {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not switch off Nagle's algorithm");
    }
    let header_timeout = front.settings.header_timeout;
    let service = service_fn(move |request| {
        let front = Arc::clone(&front);
        async move { Ok::<_, Infallible>(route(front, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let watched = graceful.watch(connection);
    async move {
        if let Err(error) = watched.await {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

async fn route(front: Arc<Front>, request: Request<Incoming>) -> Answer {
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/ping" | "/replicas_status") => {
            answer::text(StatusCode::OK, "Ok.\n")
        }
        (&Method::GET, crate::pulse::PATH) => {
            let (parts, _nothing) = request.into_parts();
            pulse::answer(&front, &parts).await
        }
        (&Method::GET | &Method::POST, "/") => statement::answer(front, request).await,
        (_, "/") => answer::text(StatusCode::METHOD_NOT_ALLOWED, "Use GET or POST.\n"),
        _ => answer::text(
            StatusCode::NOT_FOUND,
            "There is no such path. Use / or /ping, or read about ClickHouse's HTTP interface.\n",
        ),
    }
}

/// Ends the process when it has not ended by itself: a supervisor waits for it, and the next one
/// waits for its lock.
fn end_after(limit: Duration) -> io::Result<()> {
    thread::Builder::new()
        .name("ch-end".to_owned())
        .spawn(move || {
            thread::sleep(limit);
            tracing::error!("did not stop in time; killing this process");
            // Not `exit`: what hangs may be among the functions that run at exit.
            if let Err(error) = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            ) {
                tracing::error!(%error, "could not kill this process");
            }
        })?;
    Ok(())
}
