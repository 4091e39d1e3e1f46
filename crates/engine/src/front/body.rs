//! The body of a request, unpacked piece by piece, with a limit on how long each piece may take.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::unpack::Unpacker;
use crate::error::{Exception, code};
use crate::frames::BlockDecoder;

/// Reads a request's body.
pub(super) struct BodyReader {
    incoming: Incoming,
    /// How the HTTP layer packed the body.
    unpacker: Unpacker,
    /// ClickHouse's own blocks inside that. They are unpacked one at a time, as they are asked for: a few kilobytes
    /// of them can hold gigabytes.
    blocks: Option<BlockDecoder>,
    /// Packed bytes not looked at yet.
    packed: Bytes,
    has_ended: bool,
    piece_timeout: Duration,
}

impl BodyReader {
    /// A reader; `has_blocks` is `decompress=1`.
    pub(super) fn new(
        incoming: Incoming,
        content_encoding: Option<&str>,
        has_blocks: bool,
        piece_timeout: Duration,
    ) -> Result<Self, Exception> {
        Ok(Self {
            incoming,
            unpacker: Unpacker::new(content_encoding)?,
            blocks: has_blocks.then(BlockDecoder::default),
            packed: Bytes::new(),
            has_ended: false,
            piece_timeout,
        })
    }

    /// The next unpacked piece; `None` at the end.
    pub(super) async fn next_piece(&mut self) -> Result<Option<Bytes>, Exception> {
        loop {
            if let Some(blocks) = &mut self.blocks
                && let Some(block) = blocks.next_block()?
            {
                return Ok(Some(block));
            }
            let plain = if !self.packed.is_empty() || self.unpacker.holds_more() {
                self.unpacker.step(&mut self.packed)?
            } else if self.has_ended {
                return self.blocks.as_ref().map_or(Ok(None), |blocks| {
                    blocks.finish()?;
                    Ok(None)
                });
            } else {
                self.receive().await?
            };
            match &mut self.blocks {
                Some(blocks) => blocks.push(&plain),
                None if plain.is_empty() => {}
                None => return Ok(Some(plain)),
            }
        }
    }

    /// Reads on until `limit` bytes are in `text` or the body ends; true when it ended.
    pub(super) async fn read_into(
        &mut self,
        text: &mut Vec<u8>,
        limit: usize,
    ) -> Result<bool, Exception> {
        while let Some(piece) = self.next_piece().await? {
            text.extend_from_slice(&piece);
            if text.len() > limit {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads and forgets the rest, up to `limit` bytes: a client that is still sending does not
    /// read the answer, and closing on it would cost it the reason.
    pub(super) async fn drain(&mut self, limit: usize) {
        let mut left = limit;
        while let Ok(Some(Ok(frame))) =
            tokio::time::timeout(self.piece_timeout, self.incoming.frame()).await
        {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    }

    /// Waits for packed bytes; at the end of the body gives what is left to unpack.
    async fn receive(&mut self) -> Result<Bytes, Exception> {
        match tokio::time::timeout(self.piece_timeout, self.incoming.frame()).await {
            Err(_elapsed) => Err(Exception::new(
                code::SOCKET_TIMEOUT,
                "SOCKET_TIMEOUT",
                format!(
                    "No more of the request came for {} s",
                    self.piece_timeout.as_secs_f32()
                ),
            )),
            Ok(Some(Ok(frame))) => {
                self.packed = frame.into_data().unwrap_or_default();
                Ok(Bytes::new())
            }
            Ok(Some(Err(error))) => Err(Exception::new(
                code::NETWORK_ERROR,
                "NETWORK_ERROR",
                format!("The request broke off: {error}"),
            )),
            Ok(None) => {
                self.has_ended = true;
                self.unpacker.finish()
            }
        }
    }
}
