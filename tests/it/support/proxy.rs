//! A network between tillwatch and ClickHouse that does what networks do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Everything passes.
    Fine,
    /// Connections are closed at once.
    Cut,
    /// Connections are taken and nothing is ever answered.
    HalfOpen,
    /// Everything passes, each piece so much later.
    Slow(Duration),
    /// Inserts arrive and are carried out; their answers are lost.
    InsertAnswersLost,
    /// Inserts are answered with success and never arrive.
    InsertsSwallowed,
    /// Everything passes, and queries are refused for which ClickHouse would have to read rows although there are
    /// projections.
    SumsOnly,
    /// Answers are no HTTP.
    Garbage,
    /// Everything is answered with status 500.
    Failing,
}

/// The network.
pub struct Proxy {
    pub address: SocketAddr,
    weather: watch::Sender<Weather>,
    /// Connections taken.
    pub accepted: Arc<AtomicU64>,
    /// Answers to inserts that were lost.
    pub lost: Arc<AtomicU64>,
    /// Requests that ended in bad weather.
    pub spoilt: Arc<AtomicU64>,
}

impl Proxy {
    /// Stands before `target`.
    pub async fn start(target: SocketAddr, weather: Weather) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let weather = watch::Sender::new(weather);
        let proxy = Self {
            address,
            weather,
            accepted: Arc::default(),
            lost: Arc::default(),
            spoilt: Arc::default(),
        };
        let (weather, accepted, lost, spoilt) = (
            proxy.weather.subscribe(),
            Arc::clone(&proxy.accepted),
            Arc::clone(&proxy.lost),
            Arc::clone(&proxy.spoilt),
        );
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::Relaxed);
                let mut weather = weather.clone();
                let (lost, spoilt) = (Arc::clone(&lost), Arc::clone(&spoilt));
                tokio::spawn(async move {
                    let now = *weather.borrow_and_update();
                    tokio::select! {
                        () = carry(client, target, now, (&lost, &spoilt)) => {}
                        // The weather has turned: whatever was under way is lost.
                        _ = weather.changed() => {}
                    }
                });
            }
        });
        proxy
    }

    /// The proxy's URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Turns the weather; what is under way is cut.
    pub fn turn(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn carry(
    mut client: TcpStream,
    target: SocketAddr,
    weather: Weather,
    (lost, spoilt): (&AtomicU64, &AtomicU64),
) {
    let answer: &[u8] = match weather {
        Weather::Cut => {
            spoilt.fetch_add(1, Ordering::Relaxed);
            return;
        }
        Weather::Garbage => b"\x16\x03\x01 this is not what you think it is\r\n\r\n",
        Weather::Failing => b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 6\r\nconnection: close\r\n\r\nbroken",
        Weather::HalfOpen => {
            spoilt.fetch_add(1, Ordering::Relaxed);
            Box::pin(swallow(&mut client)).await;
            return std::future::pending().await;
        }
        Weather::Fine | Weather::Slow(_) | Weather::SumsOnly | Weather::InsertAnswersLost | Weather::InsertsSwallowed => return pass(client, target, weather, lost).await,
    };
    let mut buffer = [0; 4_096];
    if client.read(&mut buffer).await.is_ok() {
        spoilt.fetch_add(1, Ordering::Relaxed);
        let _ = client.write_all(answer).await;
        let _ = client.shutdown().await;
        Box::pin(swallow(&mut client)).await;
    }
}

async fn swallow(client: &mut TcpStream) {
    let mut buffer = vec![0; 65_536];
    while let Ok(1..) = client.read(&mut buffer).await {}
}

async fn pass(mut client: TcpStream, target: SocketAddr, weather: Weather, lost: &AtomicU64) {
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    let mut is_insert = false;
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(length @ 1..) = read else { return };
                let head = String::from_utf8_lossy(&up[..length.min(600)]);
                if head.starts_with("POST") {
                    is_insert = head.contains("INSERT+INTO") || head.contains("INSERT%20INTO");
                }
                if is_insert && weather == Weather::InsertsSwallowed {
                    // The body's last chunk has no bytes.
                    if up[..length].ends_with(b"0\r\n\r\n") {
                        lost.fetch_add(1, Ordering::Relaxed);
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                        let _ = client.write_all(answer).await;
                        let _ = client.shutdown().await;
                        return;
                    }
                    continue;
                }
                if let Weather::Slow(pause) = weather {
                    tokio::time::sleep(pause).await;
                }
                let mut sent = &up[..length];
                if weather == Weather::SumsOnly && let Some(rest) = sent.strip_prefix(b"POST /?") {
                    if server.write_all(b"POST /?force_optimize_projection=1&").await.is_err() { return }
                    sent = rest;
                }
                if server.write_all(sent).await.is_err() { return }
            }
            read = server.read(&mut down) => {
                let Ok(length @ 1..) = read else { return };
                if is_insert && weather == Weather::InsertAnswersLost {
                    lost.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                if client.write_all(&down[..length]).await.is_err() { return }
            }
        }
    }
}
