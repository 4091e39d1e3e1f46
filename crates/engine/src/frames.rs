//! ClickHouse's own compressed blocks: `decompress=1` on the way in, `compress=1` on the way out.
//!
//! These are not LZ4 frames. LZ4, Zstandard and the checksum come from crates; the 25 bytes before each
//! block are read and written here, because the client crate `clickhouse` keeps its own reader private.
//!
//! | bytes | what |
//! |---|---|
//! | 16 | `CityHash128` (version 1.0.2) of all that follows, two little-endian 64-bit halves |
//! | 1 | method: `0x82` LZ4, `0x90` ZSTD, `0x02` none |
//! | 4 | bytes of this header (9) and the data as it is here, little-endian |
//! | 4 | bytes of the data when unpacked, little-endian |
//! | … | the data |

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::error::{Exception, code};

const CHECKSUM_BYTES: usize = 16;
const HEADER_BYTES: usize = 9;
const METHOD_NONE: u8 = 0x02;
const METHOD_LZ4: u8 = 0x82;
const METHOD_ZSTD: u8 = 0x90;

/// The longest block, packed or unpacked, 64 MiB. ClickHouse and its clients make blocks of 1 MiB;
/// a client may pack one piece of its own choosing, and a length above this can only be damage.
const BLOCK_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Unpacks blocks that arrive in pieces of any size.
#[derive(Debug, Default)]
pub(super) struct BlockDecoder {
    buffer: BytesMut,
}

impl BlockDecoder {
    /// Takes the next piece.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next block, if all of it has come.
    pub(super) fn next_block(&mut self) -> Result<Option<Bytes>, Exception> {
        let Some(header) = self
            .buffer
            .get(CHECKSUM_BYTES..CHECKSUM_BYTES + HEADER_BYTES)
        else {
            return Ok(None);
        };
        let mut header = header;
        let method = header.get_u8();
        let packed_bytes = usize::try_from(header.get_u32_le()).unwrap_or(usize::MAX);
        let unpacked_bytes = usize::try_from(header.get_u32_le()).unwrap_or(usize::MAX);
        if !(HEADER_BYTES..=BLOCK_BYTES_MAX).contains(&packed_bytes)
            || unpacked_bytes > BLOCK_BYTES_MAX
        {
            return Err(Exception::new(
                code::TOO_LARGE_SIZE_COMPRESSED,
                "TOO_LARGE_SIZE_COMPRESSED",
                format!(
                    "A compressed block of {packed_bytes} bytes for {unpacked_bytes} is not valid \
                     (limit {BLOCK_BYTES_MAX}). Most likely corrupted data"
                ),
            ));
        }
        if self.buffer.len() < CHECKSUM_BYTES + packed_bytes {
            return Ok(None);
        }
        let mut block = self.buffer.split_to(CHECKSUM_BYTES + packed_bytes);
        let expected = checksum_from(&block.split_to(CHECKSUM_BYTES));
        if cityhash_rs::cityhash_102_128(&block) != expected {
            return Err(Exception::new(
                code::CHECKSUM_DOESNT_MATCH,
                "CHECKSUM_DOESNT_MATCH",
                "Checksum doesn't match: corrupted data in a compressed block of the request",
            ));
        }
        block.advance(HEADER_BYTES);
        unpack(method, &block, unpacked_bytes).map(Some)
    }

    /// Checks that no half of a block is left.
    pub(super) fn finish(&self) -> Result<(), Exception> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        Err(cannot_decompress(
            "The request ends in the middle of a compressed block",
        ))
    }
}

/// Packs one piece into one block.
pub(super) fn encode_block(data: &[u8]) -> Bytes {
    let packed = lz4_flex::block::compress(data);
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    let mut block = BytesMut::with_capacity(CHECKSUM_BYTES + HEADER_BYTES + packed.len());
    block.put_bytes(0, CHECKSUM_BYTES);
    block.put_u8(METHOD_LZ4);
    block.put_u32_le(length(HEADER_BYTES + packed.len()));
    block.put_u32_le(length(data.len()));
    block.put_slice(&packed);
    let checksum = cityhash_rs::cityhash_102_128(&block[CHECKSUM_BYTES..]);
    block[..CHECKSUM_BYTES].copy_from_slice(&checksum_bytes(checksum));
    block.freeze()
}

fn unpack(method: u8, packed: &[u8], unpacked_bytes: usize) -> Result<Bytes, Exception> {
    let unpacked = match method {
        METHOD_NONE => packed.to_vec(),
        METHOD_LZ4 => lz4_flex::block::decompress(packed, unpacked_bytes)
            .map_err(|error| cannot_decompress(&format!("Cannot decompress LZ4: {error}")))?,
        METHOD_ZSTD => zstd::bulk::decompress(packed, unpacked_bytes)
            .map_err(|error| cannot_decompress(&format!("Cannot decompress ZSTD: {error}")))?,
        other => {
            return Err(cannot_decompress(&format!(
                "Unknown compression method 0x{other:02x}"
            )));
        }
    };
    if unpacked.len() != unpacked_bytes {
        return Err(cannot_decompress(
            "A compressed block unpacks to another length than it says",
        ));
    }
    Ok(unpacked.into())
}

/// ClickHouse writes the high half first, each half little-endian.
fn checksum_bytes(checksum: u128) -> [u8; CHECKSUM_BYTES] {
    checksum.rotate_left(64).to_le_bytes()
}

fn checksum_from(bytes: &[u8]) -> u128 {
    let mut array = [0; CHECKSUM_BYTES];
    array.copy_from_slice(bytes);
    u128::from_le_bytes(array).rotate_left(64)
}

fn cannot_decompress(sentence: &str) -> Exception {
    Exception::new(code::CANNOT_DECOMPRESS, "CANNOT_DECOMPRESS", sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_survive_any_cut() {
        let data = b"one two one two one two".repeat(100);
        let block = encode_block(&data);
        for cut in [0, 1, 16, 20, 25, block.len() - 1] {
            let mut decoder = BlockDecoder::default();
            decoder.push(&block[..cut]);
            assert_eq!(decoder.next_block().unwrap(), None);
            decoder.push(&block[cut..]);
            assert_eq!(decoder.next_block().unwrap().unwrap(), data);
            decoder.finish().unwrap();
        }
    }

    #[test]
    fn damage_is_an_error_wherever_it_is() {
        let block = encode_block(b"some data of some length, and more of it");
        for index in 0..block.len() {
            let mut damaged = block.to_vec();
            damaged[index] ^= 0x40;
            let mut decoder = BlockDecoder::default();
            decoder.push(&damaged);
            let outcome = decoder.next_block().and_then(|block| match block {
                Some(_) => Ok(()),
                None => decoder.finish(),
            });
            assert!(outcome.is_err(), "byte {index}");
        }
    }
}
