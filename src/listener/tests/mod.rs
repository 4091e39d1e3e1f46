//! A listener with real sockets, and clients that do what they should not; one without any socket.

mod tls;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::world::World;

use super::connection::{self, Speech};
use super::refused::Refusals;
use super::status::{Order, Phase, Status, Ticks};
use crate::peer::Peer;

use super::{Accept, Drain, ListenerSettings, Secured, Stream, Tls, serve};

const SOON: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(10);
const GET: &str = "GET /ok HTTP/1.1\r\nHost: t\r\n\r\n";
const WAIT: &str = "GET /wait HTTP/1.1\r\nHost: t\r\n\r\n";
const HALF_BODY: &str = "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n{";

fn settings(connections_max: usize) -> ListenerSettings {
    ListenerSettings {
        name: "test",
        connections_max,
        head_s_max: 1,
        idle_s_max: 2,
        has_large_answers: false,
        ..ListenerSettings::default()
    }
}

/// What the handlers do and see.
struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    /// `/wait` answers when there is a permit.
    permits: Arc<Semaphore>,
    /// Requests that came to a handler.
    handled: Arc<AtomicUsize>,
    /// Requests to `/wait` whose handler is not done.
    waiting: Arc<AtomicUsize>,
}

/// Counts down when it is dropped, however the handler ends.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Server {
    async fn start(connections_max: usize) -> Self {
        Self::start_with(settings(connections_max)).await
    }

    async fn start_with(settings: ListenerSettings) -> Self {
        Self::start_secured(settings, None).await
    }

    async fn start_secured(settings: ListenerSettings, tls: Option<Arc<Tls>>) -> Self {
        let (permits, handled, waiting) = (
            Arc::new(Semaphore::new(0)),
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicUsize::new(0)),
        );
        let count = Arc::clone(&handled);
        let handler = (Arc::clone(&permits), Arc::clone(&waiting));
        let wait = get(async move || {
            let (permits, waiting) = handler;
            waiting.fetch_add(1, Ordering::Relaxed);
            let _waiting = Waiting(waiting);
            permits.acquire().await.unwrap().forget();
            "done"
        });
        let router = Router::new()
            .route("/ok", get(async || "ok"))
            .route("/large", get(async || "x".repeat(1 << 20)))
            .route("/wait", wait)
            .route("/echo", post(async |body: String| body))
            .route("/unread", post(async || StatusCode::NO_CONTENT))
            .layer(axum::middleware::map_request(
                move |request: axum::extract::Request| {
                    count.fetch_add(1, Ordering::Relaxed);
                    std::future::ready(request)
                },
            ));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let drain = Drain {
            clients: Duration::from_millis(500),
            all: Duration::from_secs(3),
        };
        let task = tokio::spawn(serve(
            Secured::new(listener, tls, settings.name),
            router,
            settings,
            stopping,
            drain,
            World::of_machine(),
        ));
        Self {
            address,
            stop,
            task,
            permits,
            handled,
            waiting,
        }
    }

    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    /// A connection that has said this.
    async fn said(&self, bytes: impl AsRef<[u8]>) -> Client {
        let mut client = self.connect().await;
        client.say(bytes).await;
        client
    }

    async fn wait_for(&self, waiting: usize) {
        let all = async {
            while self.waiting.load(Ordering::Relaxed) != waiting {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, all).await.expect("handlers in time");
    }

    async fn stop(self) -> Duration {
        let began = Instant::now();
        self.stop.send(true).unwrap();
        timeout(PATIENCE, self.task).await.unwrap().unwrap();
        began.elapsed()
    }
}

struct Client(TcpStream);

impl Client {
    async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// What it hears until it has heard this.
    async fn hears(&mut self, end: &str) -> String {
        let mut heard = Vec::new();
        let hearing = async {
            while !String::from_utf8_lossy(&heard).ends_with(end) {
                let read = self.0.read_buf(&mut heard).await.expect("no reset");
                assert!(
                    read > 0,
                    "closed after {:?}",
                    String::from_utf8_lossy(&heard)
                );
            }
        };
        let is_late = timeout(SOON, hearing).await.is_err();
        let heard = String::from_utf8_lossy(&heard).into_owned();
        assert!(!is_late, "only heard {heard:?}");
        heard
    }

    /// What it hears until the other side closes, which must be no reset.
    async fn hears_the_end(&mut self) -> String {
        let mut heard = Vec::new();
        let all = timeout(PATIENCE, self.0.read_to_end(&mut heard)).await;
        all.expect("closed in time").expect("no reset");
        String::from_utf8_lossy(&heard).into_owned()
    }

    /// Whether it is closed within this time, in whatever way.
    async fn is_closed_within(&mut self, patience: Duration) -> bool {
        let mut waste = vec![0; 65_536];
        let reading = async { while self.0.read(&mut waste).await.is_ok_and(|read| read > 0) {} };
        timeout(patience, reading).await.is_ok()
    }

    /// Whether a request on it is answered.
    async fn is_served(&mut self) -> bool {
        let mut heard = [0; 1024];
        let asking = async {
            self.0.write_all(GET.as_bytes()).await?;
            self.0.read(&mut heard).await
        };
        let read = timeout(PATIENCE, asking).await;
        read.is_ok_and(|read| read.is_ok()) && heard.starts_with(b"HTTP/1.1 200")
    }
}

#[tokio::test]
async fn what_stands_behind_a_request_does_not_hold_up_its_answer() {
    let server = Server::start(100).await;
    let echo = "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody";
    let chunked = "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
    let closing = "GET /ok HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    for (request, answer) in [
        (GET, "ok"),
        (echo, "body"),
        (chunked, "body"),
        (closing, "ok"),
    ] {
        for tail in [
            "\r\n",
            "\n",
            "\r\n\r\n",
            "P",
            "POST /ec",
            "GET /ok HTTP/1.1\r\nHost: t",
        ] {
            let mut client = server.said(format!("{request}{tail}")).await;
            let heard = client.hears(answer).await;
            assert!(
                heard.starts_with("HTTP/1.1 200 OK\r\n"),
                "{tail:?}: {heard}"
            );
            // The tail comes in a packet of its own, while the request is worked on.
            let mut client = server.said(format!("{WAIT}{tail}")).await;
            server.wait_for(1).await;
            client.say(tail).await;
            server.permits.add_permits(1);
            client.hears("done").await;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_request_is_answered_and_the_connection_closed() {
    let server = Server::start(100).await;
    let cookies = "Cookie: ".to_owned() + &"x".repeat(8_000) + "\r\n";
    let large = |pairs: usize| format!("GET /ok HTTP/1.1\r\n{}\r\n", cookies.repeat(pairs));
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("too large", large(3).into(), "431"),
        // More than the kernel's buffers hold: the answer must not be lost behind what is unread.
        ("far too large", large(800).into(), "431"),
        (
            "too many fields",
            format!("GET /ok HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(101)).into(),
            "431",
        ),
        ("words", "hello\r\n\r\n".into(), "400"),
        ("HTTP/0.9", "GET /ok\r\n".into(), "400"),
        (
            "HTTP/2",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".into(),
            "400",
        ),
        (
            "TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20),
            "400",
        ),
        (
            "PROXY",
            "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET /ok HTTP/1.1\r\n\r\n".into(),
            "400",
        ),
        (
            "PROXY 2",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec(),
            "400",
        ),
        (
            "two lengths",
            "POST /echo HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello".into(),
            "400",
        ),
        (
            "half a head, timed out",
            "GET /ok HTTP/1.1\r\nHo".into(),
            "408",
        ),
    ];
    for (name, bytes, status) in cases {
        // Alone, and behind a request in the same packet.
        for before in ["", GET] {
            let mut client = server.connect().await;
            let all = [before.as_bytes(), &bytes].concat();
            let (mut reading, mut writing) = client.0.split();
            let mut heard = Vec::new();
            let (read, written) = timeout(PATIENCE, async {
                tokio::join!(reading.read_to_end(&mut heard), writing.write_all(&all))
            })
            .await
            .unwrap_or_else(|_| panic!("{name}: not closed"));
            read.unwrap_or_else(|error| panic!("{name}: {error}"));
            // Some clients that cannot send the rest do not look for an answer.
            written.unwrap_or_else(|error| panic!("{name}: {error}"));
            let heard = String::from_utf8_lossy(&heard).into_owned();
            let last = heard.rfind("HTTP/1.1").and_then(|at| heard.get(at..));
            let is_said = last.is_some_and(|last| last.starts_with(&format!("HTTP/1.1 {status}")));
            assert!(is_said, "{name}: {heard:?}");
            assert_eq!(
                heard.matches("HTTP/1.1 200").count(),
                usize::from(!before.is_empty())
            );
        }
    }
    // Byte by byte.
    let mut client = server.connect().await;
    for byte in "hello there\r\n\r\n".bytes() {
        client.say([byte]).await;
        sleep(Duration::from_millis(2)).await;
    }
    assert!(client.hears_the_end().await.starts_with("HTTP/1.1 400"));
    server.stop().await;
}

/// One connection that is parked when a test wants it.
async fn parking() -> (Client, Arc<Status>, Arc<Semaphore>) {
    let permits = Arc::new(Semaphore::new(0));
    let part = Arc::clone(&permits);
    let parts = get(async move || {
        // A part, and the other when there is a permit.
        let other = async move {
            part.acquire().await.unwrap().forget();
            Ok::<_, Infallible>(Bytes::from_static(b"two"))
        };
        let first = futures_util::stream::iter([Ok(Bytes::from_static(b"one"))]);
        axum::body::Body::from_stream(first.chain(futures_util::stream::once(other)))
    });
    let router = Router::new()
        .route("/ok", get(async || "ok"))
        .route("/parts", parts);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(client, listener.accept());
    let status = Arc::new(Status::new(&Ticks::new()));
    let speech = Speech::new(
        router,
        ListenerSettings {
            has_large_answers: false,
            ..ListenerSettings::default()
        },
        Refusals::new("test"),
        crate::chance::Chance::seeded(1),
    );
    let (stream, _peer) = accepted.unwrap();
    tokio::spawn(connection::serve(
        stream,
        Peer(std::net::Ipv4Addr::LOCALHOST.into()),
        Arc::new(speech),
        Arc::clone(&status),
    ));
    (Client(client.unwrap()), status, permits)
}

async fn comes_to(status: &Status, phase: Phase) {
    let all = async {
        while status.phase() != phase {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, all).await.expect("the phase in time");
}

#[tokio::test]
async fn a_parked_connection_goes_on_as_if_nothing_had_been() {
    let (mut client, status, _permits) = parking().await;
    comes_to(&status, Phase::Parked).await;
    for _ in 0..3 {
        assert!(client.is_served().await);
        comes_to(&status, Phase::Idle).await;
        status.tell(Order::Park, status.state());
        comes_to(&status, Phase::Parked).await;
        assert_eq!(status.order(), Order::GoOn);
    }
    // The next request has begun in the packet of the one before.
    let (begun, rest) = GET.split_at(9);
    client.say([GET, begun].concat()).await;
    client.hears("ok").await;
    comes_to(&status, Phase::Idle).await;
    status.tell(Order::Park, status.state());
    client.say(rest).await;
    client.hears("ok").await;
    comes_to(&status, Phase::Idle).await;
    status.tell(Order::Park, status.state());
    comes_to(&status, Phase::Parked).await;
    // The parked connection's client leaves.
    drop(client);
    let all = async {
        while Arc::strong_count(&status) > 1 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, all).await.expect("the connection ends");
}

#[tokio::test]
async fn what_a_parked_connection_is_told_is_done() {
    for order in [Order::Stop, Order::TimeOut, Order::Leave] {
        let (mut client, status, _permits) = parking().await;
        comes_to(&status, Phase::Parked).await;
        status.tell(order, status.state());
        assert_eq!(client.hears_the_end().await, "");
    }
}

#[tokio::test]
async fn nothing_is_parked_between_two_parts_of_an_answer() {
    let (mut client, status, permits) = parking().await;
    client.say("GET /parts HTTP/1.1\r\nHost: t\r\n\r\n").await;
    client.hears("one\r\n").await;
    comes_to(&status, Phase::Idle).await;
    assert!(!status.may_park());
    status.tell(Order::Park, status.state());
    permits.add_permits(1);
    client.hears("two\r\n0\r\n\r\n").await;
    assert!(client.is_served().await);
}

#[tokio::test]
async fn empty_lines_between_requests_begin_none() {
    let server = Server::start_with(ListenerSettings {
        idle_s_max: 60,
        ..settings(100)
    })
    .await;
    let mut client = server.said(GET).await;
    client.hears("ok").await;
    client.say("\r\n").await;
    // Longer than a head may take.
    sleep(Duration::from_millis(2_200)).await;
    assert!(client.is_served().await);
    server.stop().await;
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_cut_off_at_its_time() {
    let server = Server::start(100).await;
    for before in ["", GET] {
        let mut client = server.said(before).await;
        if !before.is_empty() {
            client.hears("ok").await;
        }
        let began = Instant::now();
        let (mut reading, mut writing) = client.0.split();
        let dripping = async {
            for byte in GET
                .bytes()
                .cycle()
                .filter(|byte| byte.is_ascii_alphabetic())
            {
                if writing.write_all(&[byte]).await.is_err() {
                    return;
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        let mut heard = [0; 12];
        tokio::select! {
            () = dripping => {}
            read = reading.read_exact(&mut heard) => { read.unwrap(); }
        }
        assert_eq!(&heard, b"HTTP/1.1 408");
        let took = began.elapsed();
        assert!(
            (Duration::from_millis(900)..PATIENCE / 2).contains(&took),
            "{took:?}"
        );
    }
    server.stop().await;
}

/// A client that asks and asks, so many times at once, and never reads.
async fn never_reads(server: &Server, request: &str, at_once: usize) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8_192).unwrap();
    let mut client = Client(socket.connect(server.address).await.unwrap());
    client.0.set_nodelay(true).unwrap();
    let many = request.repeat(at_once);
    let began = Instant::now();
    let sending = async {
        while client.0.write_all(many.as_bytes()).await.is_ok() {
            // Each of them in a packet of its own.
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, sending)
        .await
        .expect("closed, for it reads nothing");
    assert!(
        began.elapsed() > Duration::from_secs(1),
        "it had time to read"
    );
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_read_from_and_closed() {
    let try_all = async |has_large_answers| {
        let server = Server::start_with(ListenerSettings {
            // The listener's clock may be behind on a busy machine: twice what the client is to have.
            idle_s_max: 2,
            has_large_answers,
            ..settings(10)
        })
        .await;
        // The answer has no body, and is made before that of the request has been read.
        let unread = "POST /unread HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nx";
        tokio::join!(
            never_reads(&server, GET, 1_000),
            never_reads(&server, "GET /large HTTP/1.1\r\nHost: t\r\n\r\n", 1_000),
            never_reads(&server, unread, 1_000),
            never_reads(&server, unread, 1),
        );
        assert!(server.connect().await.is_served().await);
        server.stop().await;
    };
    tokio::join!(try_all(false), try_all(true));
}

#[tokio::test]
async fn a_client_that_reads_late_has_all_its_answers() {
    let server = Server::start(10).await;
    let mut client = server
        .said("GET /large HTTP/1.1\r\nHost: t\r\n\r\n".repeat(20))
        .await;
    sleep(Duration::from_millis(500)).await;
    assert!(
        server.handled.load(Ordering::Relaxed) < 20,
        "it reads nothing yet"
    );
    client.0.shutdown().await.unwrap();
    let heard = client.hears_the_end().await;
    assert_eq!(heard.matches("HTTP/1.1 200 OK").count(), 20);
    assert_eq!(heard.matches(&"x".repeat(1 << 20)).count(), 20);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_has_closed_its_side_is_answered() {
    let server = Server::start(10).await;
    let body = "x".repeat(100_000);
    let length = format!(
        "POST /echo HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let chunked = format!(
        "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    for request in [
        GET,
        &length,
        &chunked,
        "GET /ok HTTP/1.0\r\n\r\n",
        "POST /unread HTTP/1.1\r\nContent-Length: 1\r\n\r\nx",
    ] {
        let mut client = server.said(request).await;
        client.0.shutdown().await.unwrap();
        let heard = client.hears_the_end().await;
        let begin = request.lines().nth(1).unwrap_or_default();
        assert!(heard.get(8..11) == Some(" 20"), "{begin:?}: {heard:?}");
        assert_eq!(heard.matches("HTTP/1.").count(), 1, "{begin:?}");
    }
    // While it is worked on.
    let mut client = server.said(WAIT).await;
    server.wait_for(1).await;
    client.0.shutdown().await.unwrap();
    sleep(Duration::from_millis(300)).await;
    server.permits.add_permits(1);
    assert!(client.hears_the_end().await.ends_with("done"));
    // In the middle: of a head, of a body.
    for (half, status) in [("GET /ok HT", "400"), (HALF_BODY, "400")] {
        let mut client = server.said(half).await;
        client.0.shutdown().await.unwrap();
        let heard = client.hears_the_end().await;
        assert!(
            heard.starts_with(&format!("HTTP/1.1 {status}")),
            "{half:?}: {heard:?}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn nothing_is_worked_on_for_long_for_a_client_that_has_left() {
    let server = Server::start(10).await;
    let client = server.said(WAIT).await;
    server.wait_for(1).await;
    drop(client);
    server.wait_for(0).await;
    server.stop().await;
}

#[tokio::test]
async fn whoever_waits_for_nothing_but_the_server_is_kept_and_the_others_make_room() {
    let server = Server::start(8).await;
    let mut busy = server.said(WAIT).await;
    server.wait_for(1).await;
    for crowd in ["", "GET /ok HTTP/1.1\r\n", HALF_BODY, &format!("{GET}G")] {
        let mut clients = Vec::new();
        for _ in 0..20 {
            clients.push(server.said(crowd).await);
        }
        for _ in 0..5 {
            assert!(server.connect().await.is_served().await, "behind {crowd:?}");
        }
    }
    // All are worked on: there is no room, and nobody is cut off.
    let mut all = Vec::new();
    while server.waiting.load(Ordering::Relaxed) < 8 {
        all.push(server.said(WAIT).await);
        sleep(Duration::from_millis(20)).await;
        assert!(all.len() < 50);
    }
    assert!(server.connect().await.is_closed_within(PATIENCE).await);
    server.wait_for(8).await;
    server.permits.add_permits(8);
    busy.hears("done").await;
    assert!(server.connect().await.is_served().await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_new_connections_does_not_keep_a_request_out() {
    let server = Server::start(64).await;
    let address = server.address;
    let flood = tokio::spawn(async move {
        let mut clients = std::collections::VecDeque::new();
        loop {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // Half a head, a whole request and a byte, half a body, nothing.
            let bytes = ["GET /ok HTTP/1.1\r\n", &format!("{GET}G"), HALF_BODY, ""]
                [clients.len() % 4]
                .to_owned();
            let _ignored = stream.write_all(bytes.as_bytes()).await;
            clients.push_back(stream);
            if clients.len() > 300 {
                clients.pop_front();
            }
        }
    });
    sleep(Duration::from_millis(500)).await;
    for turn in 0..100 {
        assert!(server.connect().await.is_served().await, "turn {turn}");
    }
    flood.abort();
    server.stop().await;
}

#[tokio::test]
async fn slow_clients_do_not_hold_up_the_end_and_work_is_finished() {
    let server = Server::start(100).await;
    let mut idle = server.said(GET).await;
    idle.hears("ok").await;
    let mut kept = Vec::new();
    for bytes in [
        "",
        "GET /ok HT",
        HALF_BODY,
        &"GET /large HTTP/1.1\r\n\r\n".repeat(50),
    ] {
        kept.push(server.said(bytes).await);
    }
    let mut busy = server.said(WAIT).await;
    server.wait_for(1).await;
    let mut dripping = server.said(HALF_BODY).await;
    let drip = tokio::spawn(async move {
        while dripping.0.write_all(b" ").await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    });
    let permits = Arc::clone(&server.permits);
    let work = tokio::spawn(async move {
        // After slow clients were cut off.
        sleep(Duration::from_secs(1)).await;
        permits.add_permits(1);
        busy.hears_the_end().await
    });
    let took = server.stop().await;
    assert!(work.await.unwrap().ends_with("done"));
    assert!(took < Duration::from_millis(2_500), "{took:?}");
    drip.await.unwrap();

    // Without work it ends when clients have had their time.
    let server = Server::start(100).await;
    let _half = server.said(HALF_BODY).await;
    let took = server.stop().await;
    assert!(took < Duration::from_millis(1_500), "{took:?}");
}

/// A connection in memory, that says whether it was told to give up what has not been read.
struct InMemory(DuplexStream, Arc<AtomicBool>);

impl Stream for InMemory {
    fn give_up_unsent(&self) {
        self.1.store(true, Ordering::Relaxed);
    }
}

impl tokio::io::AsyncRead for InMemory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl tokio::io::AsyncWrite for InMemory {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

struct Connections(mpsc::Receiver<InMemory>);

impl Accept for Connections {
    type Stream = InMemory;

    async fn accept(&mut self) -> io::Result<(InMemory, SocketAddr)> {
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        let stream = self.0.recv().await.ok_or_else(gone)?;
        Ok((stream, SocketAddr::from(([127, 0, 0, 1], 1))))
    }
}

#[tokio::test]
async fn a_connection_needs_no_socket() {
    let (connections, accepted) = mpsc::channel(1);
    let (stop, stopping) = watch::channel(false);
    let router = Router::new()
        .route("/ok", get(async || "ok"))
        .route("/large", get(async || "x".repeat(1 << 20)));
    let drain = Drain {
        clients: Duration::from_millis(200),
        all: Duration::from_secs(3),
    };
    let task = tokio::spawn(serve(
        Connections(accepted),
        router,
        ListenerSettings {
            idle_s_max: 1,
            ..settings(10)
        },
        stopping,
        drain,
        World::of_machine(),
    ));
    let connect = async || {
        let (client, server) = duplex(4_096);
        let is_given_up = Arc::new(AtomicBool::new(false));
        let stream = InMemory(server, Arc::clone(&is_given_up));
        connections.send(stream).await.unwrap();
        (client, is_given_up)
    };
    let hears_all = async |client: &mut DuplexStream| {
        let mut heard = String::new();
        let hearing = client.read_to_string(&mut heard);
        timeout(PATIENCE, hearing).await.unwrap().unwrap();
        heard
    };

    // Answered; what is no request behind it, refused; and closed.
    let (mut client, is_given_up) = connect().await;
    client.write_all(GET.as_bytes()).await.unwrap();
    client.write_all(b"hello\r\n\r\n").await.unwrap();
    client.shutdown().await.unwrap();
    let heard = hears_all(&mut client).await;
    assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{heard}");
    assert!(heard.contains("HTTP/1.1 400 "), "{heard}");
    assert!(!is_given_up.load(Ordering::Relaxed));

    // Half a head is answered by the listener itself when its time is over.
    let (mut client, _) = connect().await;
    client.write_all(b"GET /ok HT").await.unwrap();
    let heard = hears_all(&mut client).await;
    assert!(heard.starts_with("HTTP/1.1 408 "), "{heard}");

    // Of a client that does not read, the rest of the answer is given up.
    let (mut client, is_given_up) = connect().await;
    let large = "GET /large HTTP/1.1\r\nHost: t\r\n\r\n";
    client.write_all(large.as_bytes()).await.unwrap();
    let given_up = async {
        while !is_given_up.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, given_up).await.unwrap();

    stop.send(true).unwrap();
    timeout(PATIENCE, task).await.unwrap().unwrap();
}
