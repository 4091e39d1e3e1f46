//! Plays the network between a scenario's collector and ClickHouse, which can be slow or away.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the proxy does with what comes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Everything passes.
    Open,
    /// Every piece of an answer passes this much later.
    Slow(Duration),
    /// Connections break, also those that are open.
    Cut,
}

/// Connections at once; the collector's client keeps a handful.
const CONNECTIONS_MAX: usize = 256;
/// The length of a piece.
const PIECE_BYTES: usize = 64 * 1024;

/// Stands before ClickHouse until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    /// The address where the proxy listens.
    pub address: SocketAddr,
    link: watch::Sender<Link>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (link, weather) = watch::channel(Link::Open);
        let task = tokio::spawn(accept(listener, target, weather));
        Ok(Self {
            address,
            link,
            task,
        })
    }

    /// Sets what the proxy does from now on.
    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, link: watch::Receiver<Link>) {
    // Dropped with this task, and all connections with it.
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let Ok((client, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: others close soon.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        if open.len() < CONNECTIONS_MAX && *link.borrow() != Link::Cut {
            open.spawn(pass(client, target, link.clone()));
        }
    }
}

/// Passes bytes both ways until one side closes, or the link is cut.
async fn pass(client: TcpStream, target: SocketAddr, mut link: watch::Receiver<Link>) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let weather = link.clone();
    let there = async {
        // An error ends it as an end does. The server closes its side then, and with it `back`.
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
    };
    let back = async move {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let length = from_server.read(&mut piece).await?;
            let later = match *weather.borrow() {
                Link::Slow(later) => later,
                Link::Open | Link::Cut => Duration::ZERO,
            };
            tokio::time::sleep(later).await;
            let read = piece.get(..length).unwrap_or_default();
            if read.is_empty() {
                return io::Result::Ok(());
            }
            to_client.write_all(read).await?;
        }
    };
    // Whichever ends first drops the others, and so the connection; nothing is lost that a network
    // would keep.
    tokio::select! {
        _ = back => {}
        () = async { there.await; std::future::pending::<()>().await } => {}
        _ = link.wait_for(|link| *link == Link::Cut) => {}
    }
}
