//! One thread on epoll that keeps connections busy, or posts at fixed times.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::child::Child;

/// What one run measured.
pub struct Measured {
    pub requests_per_s: f64,
    pub cpu_us: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub rss_mb: f64,
}

/// One connection of one terminal. Its request is kept whole; only the number in its queue changes.
struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    seq_at: usize,
    seq: u64,
    written: usize,
    answer: Vec<u8>,
    sent: Instant,
    is_busy: bool,
    status: u16,
}

/// Twelve digits, so that the number can be written in place.
const FIRST_SEQ: u64 = 100_000_000_000;

/// How a batch is told from others.
#[derive(Clone, Copy, PartialEq)]
pub enum Identity {
    /// By its number in the terminal's queue.
    Queue,
    /// By a key of its own in the head.
    Key,
}

/// A terminal's batch of forty samples, as JSON.
pub fn body(terminal: usize, now_ms: u128, identity: Identity) -> String {
    let metrics = [
        ("lcp_ms", 2, ""),
        ("inp_ms", 10, ""),
        ("cls_score", 2, ""),
        ("offline_login_duration_ms", 1, ""),
        ("sync_duration_ms", 4, ""),
        ("sync_items_count", 4, ""),
        ("sync_payload_bytes", 4, ""),
        ("cache_requests", 4, ",\"label\":\"hit\""),
        ("memory_used_mb", 4, ""),
        ("idb_write_ms", 2, ""),
        ("pending_transactions", 2, ""),
        ("errors", 1, ",\"label\":\"sync\""),
    ];
    let mut samples = Vec::new();
    for (metric, count, label) in metrics {
        for index in 0..count {
            let value = if metric == "cls_score" {
                0.05
            } else {
                10.0 + f64::from(index) * 7.5 + (terminal % 97) as f64
            };
            let t = now_ms - 30_000 + u128::from(index as u32) * 500;
            samples.push(format!(
                "{{\"m\":\"{metric}\",\"t\":{t},\"v\":{value}{label},\"connection\":\"online\"}}"
            ));
        }
    }
    assert_eq!(samples.len(), 40);
    let place = match identity {
        Identity::Queue => format!(
            "\"queue\":\"{}\",\"seq\":{FIRST_SEQ},",
            uuid::Uuid::new_v4()
        ),
        Identity::Key => String::new(),
    };
    format!(
        "{{\"v\":1,\"sent_at_ms\":{now_ms},\"store_id\":\"store-{:03}\",\"terminal_id\":\"till-{terminal}\",\
         {place}\"release\":\"2.4.1\",\"session_id\":\"cashier-{terminal}\",\
         \"consent\":true,\"source\":\"rum\",\"samples\":[{}]}}",
        terminal % 50,
        samples.join(",")
    )
}

/// What the requests of a run have in common.
#[derive(Clone)]
pub struct Shape {
    pub identity: Identity,
    /// Further lines of the head, by terminal, each with its end.
    pub head: fn(usize) -> String,
    /// How each is answered.
    pub status: u16,
}

impl Shape {
    pub fn plain(identity: Identity) -> Self {
        Self {
            identity,
            head: |_| String::new(),
            status: 202,
        }
    }
}

fn connect(server: &Child, count: usize, shape: &Shape, poll: &Poll) -> Vec<Connection> {
    let identity = shape.identity;
    let now_ms = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("a clock")
        .as_millis();
    (0..count)
        .map(|terminal| {
            let body = body(terminal, now_ms, identity);
            let key = match identity {
                Identity::Queue => String::new(),
                Identity::Key => format!("idempotency-key: {}-{FIRST_SEQ}\r\n", uuid::Uuid::new_v4()),
            };
            let head = format!(
                "POST /v1/batches HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n{key}{}content-length: {}\r\n\r\n",
                server.address,
                (shape.head)(terminal),
                body.len()
            );
            let request = [head.as_bytes(), body.as_bytes()].concat();
            let digits = FIRST_SEQ.to_string();
            let seq_at = request.windows(12).position(|window| window == digits.as_bytes()).expect("the number");
            let mut stream = TcpStream::connect(server.address.parse().expect("an address")).expect("a connection");
            poll.registry()
                .register(&mut stream, Token(terminal), Interest::READABLE | Interest::WRITABLE)
                .expect("epoll");
            stream.set_nodelay(true).expect("an option");
            Connection {
                stream,
                request,
                seq_at,
                seq: FIRST_SEQ,
                written: 0,
                answer: Vec::new(),
                sent: Instant::now(),
                is_busy: false,
                status: shape.status,
            }
        })
        .collect()
}

impl Connection {
    fn begin(&mut self, at: Instant) {
        self.seq += 1;
        let digits = self.seq.to_string();
        self.request[self.seq_at..self.seq_at + 12].copy_from_slice(digits.as_bytes());
        self.written = 0;
        self.answer.clear();
        self.sent = at;
        self.is_busy = true;
        self.write();
    }

    fn write(&mut self) {
        while self.is_busy && self.written < self.request.len() {
            match self.stream.write(&self.request[self.written..]) {
                Ok(bytes) => self.written += bytes,
                Err(error)
                    if error.kind() == ErrorKind::WouldBlock
                        || error.kind() == ErrorKind::NotConnected =>
                {
                    return;
                }
                Err(error) => panic!("the server closed: {error}"),
            }
        }
    }

    /// Whether a whole answer has come.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 4_096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => panic!("the server closed"),
                Ok(bytes) => self.answer.extend_from_slice(&buffer[..bytes]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::NotConnected => break,
                Err(error) => panic!("the server closed: {error}"),
            }
        }
        let Some(head) = self
            .answer
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
        else {
            return false;
        };
        let text = std::str::from_utf8(&self.answer[..head]).expect("a head");
        let length = text
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
        if self.answer.len() < head + 4 + length.expect("a length") {
            return false;
        }
        assert!(
            text.starts_with(&format!("HTTP/1.1 {}", self.status)),
            "{}",
            String::from_utf8_lossy(&self.answer)
        );
        self.is_busy = false;
        true
    }
}

fn summary(
    server: &Child,
    requests: u64,
    elapsed: Duration,
    cpu_s: f64,
    times: &Histogram<u64>,
) -> Measured {
    Measured {
        requests_per_s: requests as f64 / elapsed.as_secs_f64(),
        cpu_us: cpu_s * 1e6 / requests.max(1) as f64,
        p50_ms: times.value_at_quantile(0.5) as f64 / 1e6,
        p99_ms: times.value_at_quantile(0.99) as f64 / 1e6,
        rss_mb: server.rss_mb(),
    }
}

/// Every connection posts again as soon as it has its answer.
pub struct Closed<'s> {
    server: &'s Child,
    poll: Poll,
    connections: Vec<Connection>,
}

impl<'s> Closed<'s> {
    pub fn new(server: &'s Child, connections: usize) -> Self {
        Self::with(server, connections, Identity::Queue)
    }

    pub fn with(server: &'s Child, connections: usize, identity: Identity) -> Self {
        Self::of(server, connections, &Shape::plain(identity))
    }

    pub fn of(server: &'s Child, connections: usize, shape: &Shape) -> Self {
        let poll = Poll::new().expect("epoll");
        let connections = connect(server, connections, shape, &poll);
        Self {
            server,
            poll,
            connections,
        }
    }

    /// One request of each connection.
    pub fn once(mut self) {
        let mut events = Events::with_capacity(1_024);
        let mut open = self.connections.len();
        for connection in &mut self.connections {
            connection.begin(Instant::now());
        }
        while open > 0 {
            self.poll.poll(&mut events, None).expect("epoll");
            for event in &events {
                let connection = &mut self.connections[event.token().0];
                connection.write();
                open -= usize::from(event.is_readable() && connection.read());
            }
        }
    }

    pub fn run(mut self, length: Duration) -> Measured {
        let mut events = Events::with_capacity(1_024);
        let mut times = Histogram::<u64>::new(3).expect("a histogram");
        let (started, cpu) = (Instant::now(), self.server.cpu_s());
        let mut requests = 0;
        for connection in &mut self.connections {
            connection.begin(Instant::now());
        }
        while started.elapsed() < length {
            self.poll
                .poll(&mut events, Some(Duration::from_millis(100)))
                .expect("epoll");
            for event in &events {
                let connection = &mut self.connections[event.token().0];
                connection.write();
                if event.is_readable() && connection.read() {
                    let now = Instant::now();
                    times
                        .record(now.duration_since(connection.sent).as_nanos() as u64)
                        .expect("a time");
                    requests += 1;
                    connection.begin(now);
                }
            }
        }
        summary(
            self.server,
            requests,
            started.elapsed(),
            self.server.cpu_s() - cpu,
            &times,
        )
    }
}

/// Requests go out at their times; an answer's time counts from when its request was due.
pub struct Trickle<'s>(Closed<'s>);

impl<'s> Trickle<'s> {
    pub fn new(server: &'s Child, connections: usize) -> Self {
        Self(Closed::new(server, connections))
    }

    pub fn run(mut self, per_s: f64, length: Duration) -> Measured {
        let mut events = Events::with_capacity(1_024);
        let mut times = Histogram::<u64>::new(3).expect("a histogram");
        let (started, cpu) = (Instant::now(), self.0.server.cpu_s());
        let gap = Duration::from_secs_f64(1.0 / per_s);
        let mut next = started;
        let mut requests = 0;
        while started.elapsed() < length {
            let now = Instant::now();
            while next <= now {
                let Some(idle) = self
                    .0
                    .connections
                    .iter_mut()
                    .find(|connection| !connection.is_busy)
                else {
                    break;
                };
                idle.begin(next);
                next += gap;
            }
            let wait = next
                .saturating_duration_since(Instant::now())
                .min(Duration::from_millis(1));
            self.0.poll.poll(&mut events, Some(wait)).expect("epoll");
            for event in &events {
                let connection = &mut self.0.connections[event.token().0];
                connection.write();
                if event.is_readable() && connection.is_busy && connection.read() {
                    times
                        .record(connection.sent.elapsed().as_nanos() as u64)
                        .expect("a time");
                    requests += 1;
                }
            }
        }
        summary(
            self.0.server,
            requests,
            started.elapsed(),
            self.0.server.cpu_s() - cpu,
            &times,
        )
    }
}

/// p50 and p99 of an fdatasync after 4 KiB written over, in milliseconds.
pub fn sync_times(folder: &Path) -> (f64, f64) {
    let path = folder.join("sync-probe");
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&path)
        .expect("a file");
    file.write_all_at(&vec![0; 1 << 20], 0).expect("a write");
    file.sync_all().expect("a sync");
    let mut times: Vec<f64> = (0..500)
        .map(|index| {
            file.write_all_at(&[1; 4_096], (index % 256) * 4_096)
                .expect("a write");
            let started = Instant::now();
            file.sync_data().expect("a sync");
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    std::fs::remove_file(&path).expect("the probe");
    (times[250], times[495])
}
