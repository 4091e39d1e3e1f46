//! A socket that says exactly what it is told.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A raw connection.
pub struct Raw {
    stream: TcpStream,
    /// What was read and not yet taken.
    pending: Vec<u8>,
}

impl Raw {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            pending: Vec::new(),
        }
    }

    /// Sends bytes; `false` when the other side has closed.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Closes the sending side.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Reads one answer: its status and body. `None` when the connection is closed before there is one.
    pub async fn answer(&mut self, patience: Duration) -> Option<(u16, String)> {
        timeout(patience, self.read_answer())
            .await
            .expect("an answer in time")
    }

    /// Whether the other side closes within this time.
    pub async fn closes_within(&mut self, patience: Duration) -> bool {
        let mut buffer = [0_u8; 4096];
        let closed = async {
            loop {
                match self.stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        };
        timeout(patience, closed).await.is_ok()
    }

    async fn read_answer(&mut self) -> Option<(u16, String)> {
        let head_end = loop {
            if let Some(at) = self
                .pending
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                break at + 4;
            }
            self.read_more().await?;
        };
        let head = String::from_utf8_lossy(&self.pending[..head_end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |text| text.trim().parse().unwrap());
        while self.pending.len() < head_end + length {
            self.read_more().await?;
        }
        let body = String::from_utf8_lossy(&self.pending[head_end..head_end + length]).into_owned();
        self.pending.drain(..head_end + length);
        Some((status, body))
    }

    async fn read_more(&mut self) -> Option<()> {
        let read = self.stream.read_buf(&mut self.pending).await.ok()?;
        (read > 0).then_some(())
    }
}
