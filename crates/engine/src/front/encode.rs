//! How an answer is packed on its way out: as it is, in ClickHouse's blocks, or as HTTP says.

use std::io::{self, Write};

use bytes::{BufMut, Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::frames::encode_block;

/// Level 1: on loopback the time to pack costs more than the bytes saved.
const ZSTD_LEVEL: i32 = 1;

/// Magic number and descriptor of an LZ4 frame: version 1, independent blocks of at most 4 MiB, no
/// checksums; the last byte is the descriptor's own checksum.
const LZ4_FRAME_HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73];
/// A block length of zero ends the frame.
const LZ4_FRAME_END: [u8; 4] = [0; 4];
/// Set in a block's length when its data is not packed.
const LZ4_BLOCK_AS_IS: u32 = 1 << 31;
/// The longest block that `LZ4_FRAME_HEADER` allows.
const LZ4_BLOCK_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A way to pack an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    /// `compress=1`.
    ClickHouseBlocks,
    Gzip,
    Lz4Frame,
    Zstd,
}

impl Coding {
    /// What the client can read, in the order in which it is cheap for us to write.
    pub(super) fn from_accept_encoding(value: &str) -> Self {
        let accepts = |name: &str| {
            value.split(',').any(|part| {
                let mut pieces = part.split(';').map(str::trim);
                let is_named = pieces
                    .next()
                    .is_some_and(|own| own.eq_ignore_ascii_case(name));
                is_named && !pieces.any(|piece| piece == "q=0")
            })
        };
        [
            ("lz4", Self::Lz4Frame),
            ("zstd", Self::Zstd),
            ("gzip", Self::Gzip),
        ]
        .into_iter()
        .find(|(name, _)| accepts(name))
        .map_or(Self::Identity, |(_, coding)| coding)
    }

    /// The value of `Content-Encoding`.
    pub(super) fn header(self) -> Option<&'static str> {
        match self {
            Self::Identity | Self::ClickHouseBlocks => None,
            Self::Gzip => Some("gzip"),
            Self::Lz4Frame => Some("lz4"),
            Self::Zstd => Some("zstd"),
        }
    }
}

/// Packs the pieces of one answer. Each piece comes out at once, so a slow answer is not held back.
pub(super) enum Encoder {
    Identity,
    ClickHouseBlocks,
    Gzip(GzEncoder<Vec<u8>>),
    Lz4Frame { has_begun: bool },
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    pub(super) fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Identity => Self::Identity,
            Coding::ClickHouseBlocks => Self::ClickHouseBlocks,
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            Coding::Lz4Frame => Self::Lz4Frame { has_begun: false },
            Coding::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?),
        })
    }

    /// Packs one piece.
    pub(super) fn push(&mut self, piece: Bytes) -> io::Result<Bytes> {
        if piece.is_empty() {
            return Ok(piece);
        }
        Ok(match self {
            Self::Identity => piece,
            Self::ClickHouseBlocks => encode_block(&piece),
            Self::Gzip(encoder) => {
                encoder.write_all(&piece)?;
                encoder.flush()?;
                std::mem::take(encoder.get_mut()).into()
            }
            Self::Lz4Frame { has_begun } => {
                let mut out = BytesMut::new();
                if !std::mem::replace(has_begun, true) {
                    out.put_slice(&LZ4_FRAME_HEADER);
                }
                piece
                    .chunks(LZ4_BLOCK_BYTES_MAX)
                    .for_each(|block| put_lz4_block(&mut out, block));
                out.freeze()
            }
            Self::Zstd(encoder) => {
                encoder.write_all(&piece)?;
                encoder.flush()?;
                std::mem::take(encoder.get_mut()).into()
            }
        })
    }

    /// What has to follow the last piece.
    pub(super) fn finish(self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Identity | Self::ClickHouseBlocks => Bytes::new(),
            Self::Gzip(encoder) => encoder.finish()?.into(),
            Self::Lz4Frame { has_begun } => {
                let mut out = BytesMut::new();
                if !has_begun {
                    out.put_slice(&LZ4_FRAME_HEADER);
                }
                out.put_slice(&LZ4_FRAME_END);
                out.freeze()
            }
            Self::Zstd(encoder) => encoder.finish()?.into(),
        })
    }
}

fn put_lz4_block(out: &mut BytesMut, block: &[u8]) {
    let packed = lz4_flex::block::compress(block);
    let (flag, data) = if packed.len() < block.len() {
        (0, packed.as_slice())
    } else {
        (LZ4_BLOCK_AS_IS, block)
    };
    out.put_u32_le(u32::try_from(data.len()).unwrap_or(u32::MAX) | flag);
    out.put_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_coding_that_both_know_is_taken() {
        let coding = Coding::from_accept_encoding;
        assert_eq!(coding("gzip, deflate, br"), Coding::Gzip);
        assert_eq!(coding("br;q=1.0, ZSTD"), Coding::Zstd);
        assert_eq!(coding("gzip;q=0"), Coding::Identity);
        assert_eq!(coding("lz4"), Coding::Lz4Frame);
        assert_eq!(coding(""), Coding::Identity);
    }

    #[test]
    fn an_lz4_frame_is_laid_out_as_its_specification_says() {
        let mut encoder = Encoder::new(Coding::Lz4Frame).unwrap();
        let piece = encoder.push(Bytes::from_static(b"ab")).unwrap();
        assert_eq!(&piece[..7], &LZ4_FRAME_HEADER);
        assert_eq!(&piece[7..], &[2, 0, 0, 0x80, b'a', b'b']);
        assert_eq!(
            encoder.finish().unwrap(),
            Bytes::from_static(&LZ4_FRAME_END)
        );
    }
}
