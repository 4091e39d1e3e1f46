//! Undoes compression, under a cap on the decoded bytes.
//!
//! Each coding in the table has a decoder that stops at the cap while it decodes. No decoder trusts an
//! announced length: the buffer grows with the bytes that have been decoded.

use std::io::Read;

use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderMap, HeaderName};
use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::doors::refusal::Refusal;

/// Why a body could not be unpacked.
enum Fault {
    Damaged,
    TooLarge,
}

/// A function that unpacks all of the bytes, to no more than so many.
type Unpack = fn(&[u8], usize) -> Result<Vec<u8>, Fault>;

/// One way to compress a body.
struct Coding {
    /// The names that `Content-Encoding` has for this coding.
    names: &'static [&'static str],
    unpack: Unpack,
}

const GZIP: Coding = Coding {
    names: &["gzip", "x-gzip"],
    unpack: gzip,
};

const CODINGS: [Coding; 4] = [
    GZIP,
    Coding {
        names: &["zstd"],
        unpack: zstd,
    },
    Coding {
        names: &["br"],
        unpack: brotli,
    },
    Coding {
        names: &["deflate"],
        unpack: deflate,
    },
];

/// The codings that may be asked for in answer to an unknown one.
const ACCEPTED: &str = "gzip, zstd, br, deflate";

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// Room made before the first byte is decoded, at most: text shrinks to a fifth or so.
const USUAL_RATIO: usize = 5;

/// How a request says that its body is packed.
#[derive(Clone, Copy)]
pub struct Packing(Option<&'static Coding>);

impl std::fmt::Debug for Packing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "Packing({:?})",
            self.0.map(|coding| coding.names)
        )
    }
}

impl Packing {
    /// A body that is packed as gzip.
    pub const GZIP: Self = Self(Some(&GZIP));

    /// Reads the packing from a request's headers, all lines of them.
    ///
    /// # Errors
    /// When the headers name a coding that is not known, or more than one.
    pub fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut codings = listed(headers, &CONTENT_ENCODING, ',')
            .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"));
        let coding = codings.next().map(|name| {
            let known = CODINGS.iter().find(|coding| is_among(name, coding.names));
            known.ok_or(Refusal::ContentEncoding(ACCEPTED))
        });
        let coding = coding.transpose()?;
        // One layer is all that anyone needs; two would be bombs of bombs.
        if codings.next().is_some() {
            return Err(Refusal::ContentEncoding(ACCEPTED));
        }
        Ok(Self(coding))
    }

    /// The unpacked body. Gzip is recognised without its name, too. What is no packed body and is a plain
    /// one, as `is_plain` sees it, is taken as that: a proxy has unpacked it and left its mark.
    ///
    /// # Errors
    /// When the body is damaged, or would be longer than `decoded_bytes_max`.
    pub fn open(
        self,
        body: Bytes,
        decoded_bytes_max: usize,
        is_plain: impl FnOnce(&[u8]) -> bool,
    ) -> Result<Unpacked, Refusal> {
        let unnamed = body.starts_with(GZIP_MAGIC).then_some(&GZIP);
        let Some(coding) = self.0.or(unnamed) else {
            return Ok(Unpacked {
                body,
                is_mislabelled: false,
            });
        };
        match unpack(coding, &body, decoded_bytes_max) {
            Err(Refusal::Damaged(_)) if is_plain(&body) => {
                if body.len() > decoded_bytes_max {
                    return Err(Refusal::TooLarge(decoded_bytes_max, "after decompression"));
                }
                Ok(Unpacked {
                    body,
                    is_mislabelled: true,
                })
            }
            unpacked => Ok(Unpacked {
                body: unpacked?.into(),
                is_mislabelled: false,
            }),
        }
    }
}

/// A body that was unpacked.
#[derive(Debug)]
pub struct Unpacked {
    /// The body's bytes, unpacked.
    pub body: Bytes,
    /// Whether the body was marked as packed and was not.
    pub is_mislabelled: bool,
}

/// The parts of all lines of a header; what is no text is no known name either.
pub(super) fn listed<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    separator: char,
) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(name).iter();
    lines.flat_map(move |line| line.to_str().unwrap_or("?").split(separator).map(str::trim))
}

fn is_among(name: &str, names: &[&str]) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn unpack(coding: &Coding, body: &[u8], bytes_max: usize) -> Result<Vec<u8>, Refusal> {
    (coding.unpack)(body, bytes_max).map_err(|fault| match fault {
        Fault::Damaged => Refusal::Damaged(coding.names.first().copied().unwrap_or_default()),
        Fault::TooLarge => Refusal::TooLarge(bytes_max, "after decompression"),
    })
}

/// Makes room for the first bytes, in proportion to what has come.
fn first_room(body: &[u8], bytes_max: usize) -> usize {
    body.len().saturating_mul(USUAL_RATIO).min(bytes_max) + 1
}

/// Makes more room, as much as there is, but for no more than one byte past the cap.
fn more_room(decoded: &[u8], bytes_max: usize) -> usize {
    let left = bytes_max.saturating_add(1).saturating_sub(decoded.len());
    decoded.len().max(1_024).min(left)
}

/// Unpacks RFC 1952, one member or several.
fn gzip(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, Fault> {
    let mut decoded = Vec::with_capacity(first_room(body, bytes_max));
    let mut stream = MultiGzDecoder::new(body);
    loop {
        let room = decoded.capacity() - decoded.len();
        let room = u64::try_from(room).unwrap_or(u64::MAX);
        let read = stream
            .by_ref()
            .take(room)
            .read_to_end(&mut decoded)
            .map_err(|_damaged| Fault::Damaged)?;
        if decoded.len() > bytes_max {
            return Err(Fault::TooLarge);
        }
        if u64::try_from(read) != Ok(room) {
            return Ok(decoded);
        }
        decoded.reserve_exact(more_room(&decoded, bytes_max));
    }
}

/// RFC 1950, which is what the name means, or RFC 1951, which is what some send under it. A raw stream
/// never begins with the two bytes of a zlib header: they would be a stored block with bits set that
/// encoders leave at zero.
fn deflate(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, Fault> {
    let is_zlib = matches!(body, [first, second, ..]
        if first & 0x8f == 0x08 && u16::from_be_bytes([*first, *second]) % 31 == 0);
    let mut stream = Decompress::new(is_zlib);
    let mut decoded = Vec::with_capacity(first_room(body, bytes_max));
    loop {
        let taken = usize::try_from(stream.total_in()).unwrap_or(usize::MAX);
        let rest = body.get(taken..).unwrap_or_default();
        let status = stream
            .decompress_vec(rest, &mut decoded, FlushDecompress::None)
            .map_err(|_damaged| Fault::Damaged)?;
        if decoded.len() > bytes_max {
            return Err(Fault::TooLarge);
        }
        if status == Status::StreamEnd {
            let is_whole = usize::try_from(stream.total_in()) == Ok(body.len());
            return is_whole.then_some(decoded).ok_or(Fault::Damaged);
        }
        // The decoder has room left: it waits for bytes that do not come.
        if decoded.len() < decoded.capacity() {
            return Err(Fault::Damaged);
        }
        decoded.reserve_exact(more_room(&decoded, bytes_max));
    }
}

/// The window that a sender may use, as RFC 9659 has it for the web: 8 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Unpacks RFC 8878, one frame or several.
fn zstd(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, Fault> {
    let damaged = |_error: std::io::Error| Fault::Damaged;
    let mut decoder = Decoder::new().map_err(damaged)?;
    let window = DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX);
    decoder.set_parameter(window).map_err(damaged)?;
    let mut decoded = Vec::with_capacity(first_room(body, bytes_max));
    let mut input = InBuffer::around(body);
    loop {
        let written = decoded.len();
        let mut output = OutBuffer::around_pos(&mut decoded, written);
        // How much the decoder would like to read next; 0 at the end of a frame.
        let wanted = decoder.run(&mut input, &mut output).map_err(damaged)?;
        if decoded.len() > bytes_max {
            return Err(Fault::TooLarge);
        }
        let is_read = input.pos() == body.len();
        if wanted == 0 && is_read {
            return Ok(decoded);
        }
        if decoded.len() == decoded.capacity() {
            decoded.reserve_exact(more_room(&decoded, bytes_max));
        } else if is_read {
            return Err(Fault::Damaged);
        }
    }
}

/// RFC 7932, with a window of at most 4 MiB, which is what encoders use unless told otherwise: the decoder
/// makes room for all of the window as soon as a block says that it is long.
fn brotli(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, Fault> {
    // Section 9.1: these four bits are windows of 8 and 16 MiB. Larger ones are refused by the decoder.
    if let Some(0x0d | 0x0f) = body.first().map(|first| first & 0x0f) {
        return Err(Fault::Damaged);
    }
    let memory = StandardAlloc::default;
    let mut stream = BrotliState::new_strict(memory(), memory(), memory());
    let mut decoded = vec![0; first_room(body, bytes_max)];
    let (mut to_read, mut read, mut written, mut total) = (body.len(), 0, 0, 0);
    loop {
        let mut room = decoded.len() - written;
        let result = BrotliDecompressStream(
            &mut to_read,
            &mut read,
            body,
            &mut room,
            &mut written,
            &mut decoded,
            &mut total,
            &mut stream,
        );
        if written > bytes_max {
            return Err(Fault::TooLarge);
        }
        match result {
            BrotliResult::ResultSuccess if to_read == 0 => {
                decoded.truncate(written);
                return Ok(decoded);
            }
            BrotliResult::NeedsMoreOutput => {
                decoded.resize(decoded.len() + more_room(&decoded, bytes_max), 0);
            }
            _ => return Err(Fault::Damaged),
        }
    }
}
