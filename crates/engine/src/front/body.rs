//! The body of a request, unpacked piece by piece, with a limit on how long each piece may take.

use std::collections::VecDeque;
use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use flate2::write::GzDecoder;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::error::{Exception, code};
use crate::frames::BlockDecoder;

/// Packed bytes that are unpacked at once. Gzip unpacks at most a thousandfold, so one step makes
/// at most 4 MB.
const UNPACK_STEP_BYTES: usize = 4 * 1024;

/// How the HTTP layer packed the body.
enum HttpCoding {
    Identity,
    Gzip(Box<GzDecoder<Vec<u8>>>),
    Zstd(zstd::stream::write::Decoder<'static, Vec<u8>>),
}

/// Reads a request's body.
pub(super) struct BodyReader {
    incoming: Incoming,
    coding: HttpCoding,
    blocks: Option<BlockDecoder>,
    /// Packed bytes not looked at yet.
    packed: Bytes,
    unpacked: VecDeque<Bytes>,
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
        let coding = match content_encoding {
            None | Some("" | "identity") => HttpCoding::Identity,
            Some("gzip") => HttpCoding::Gzip(Box::new(GzDecoder::new(Vec::new()))),
            Some("zstd") => HttpCoding::Zstd(
                zstd::stream::write::Decoder::new(Vec::new()).map_err(|error| garbled(&error))?,
            ),
            Some(other) => {
                return Err(Exception::new(
                    code::NOT_IMPLEMENTED,
                    "NOT_IMPLEMENTED",
                    format!("Content-Encoding {other} is not supported"),
                ));
            }
        };
        Ok(Self {
            incoming,
            coding,
            blocks: has_blocks.then(BlockDecoder::default),
            packed: Bytes::new(),
            unpacked: VecDeque::new(),
            has_ended: false,
            piece_timeout,
        })
    }

    /// The next unpacked piece; `None` at the end.
    pub(super) async fn next_piece(&mut self) -> Result<Option<Bytes>, Exception> {
        loop {
            if let Some(piece) = self.unpacked.pop_front() {
                return Ok(Some(piece));
            }
            if !self.packed.is_empty() {
                let step = self
                    .packed
                    .split_to(self.packed.len().min(self.step_bytes()));
                self.unpack(step)?;
            } else if self.has_ended {
                return Ok(None);
            } else {
                self.receive().await?;
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

    fn step_bytes(&self) -> usize {
        match self.coding {
            HttpCoding::Identity => usize::MAX,
            HttpCoding::Gzip(_) | HttpCoding::Zstd(_) => UNPACK_STEP_BYTES,
        }
    }

    async fn receive(&mut self) -> Result<(), Exception> {
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
                Ok(())
            }
            Ok(Some(Err(error))) => Err(Exception::new(
                code::NETWORK_ERROR,
                "NETWORK_ERROR",
                format!("The request broke off: {error}"),
            )),
            Ok(None) => {
                self.has_ended = true;
                self.finish()
            }
        }
    }

    fn unpack(&mut self, step: Bytes) -> Result<(), Exception> {
        let plain = match &mut self.coding {
            HttpCoding::Identity => step,
            HttpCoding::Gzip(decoder) => {
                decoder.write_all(&step).map_err(|error| garbled(&error))?;
                std::mem::take(decoder.get_mut()).into()
            }
            HttpCoding::Zstd(decoder) => {
                decoder.write_all(&step).map_err(|error| garbled(&error))?;
                decoder.flush().map_err(|error| garbled(&error))?;
                std::mem::take(decoder.get_mut()).into()
            }
        };
        self.pass_on(plain)
    }

    fn finish(&mut self) -> Result<(), Exception> {
        let rest = match &mut self.coding {
            HttpCoding::Identity | HttpCoding::Zstd(_) => Bytes::new(),
            HttpCoding::Gzip(decoder) => {
                decoder.try_finish().map_err(|error| garbled(&error))?;
                std::mem::take(decoder.get_mut()).into()
            }
        };
        self.pass_on(rest)?;
        self.blocks.as_ref().map_or(Ok(()), BlockDecoder::finish)
    }

    fn pass_on(&mut self, plain: Bytes) -> Result<(), Exception> {
        match &mut self.blocks {
            None if plain.is_empty() => {}
            None => self.unpacked.push_back(plain),
            Some(decoder) => {
                decoder.push(&plain);
                while let Some(block) = decoder.next_block()? {
                    self.unpacked.push_back(block);
                }
            }
        }
        Ok(())
    }
}

fn garbled(error: &std::io::Error) -> Exception {
    Exception::new(
        code::CANNOT_DECOMPRESS,
        "CANNOT_DECOMPRESS",
        format!("The request's body cannot be unpacked: {error}"),
    )
}
