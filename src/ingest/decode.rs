//! Undoes compression under a cap on the decoded bytes, and says how a body is written.
//!
//! Each coding in the table has a decoder that stops at the cap while it decodes. No decoder trusts an
//! announced length: the buffer grows with the bytes that have been decoded.

use std::io::Read;

use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName};
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::ingest::error::IngestError;
use crate::wire::terminal_v1::{self, Envelope, Format};

/// Why a body could not be unpacked.
enum Fault {
    Damaged,
    TooLarge,
}

/// Unpacks all of the bytes, to no more than so many.
type Unpack = fn(&[u8], usize) -> Result<Vec<u8>, Fault>;

/// One way to compress a body.
struct Coding {
    /// What `Content-Encoding` calls it.
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

/// What may be asked for in answer to an unknown one.
pub const ACCEPTED_CODINGS: &str = "gzip, zstd, br, deflate";

/// How a body may be written, by `Content-Type`; `None`: its first byte tells.
const TYPES: [(&str, Option<Format>); 7] = [
    ("application/json", Some(Format::Json)),
    // What `sendBeacon` calls a text.
    ("text/plain", Some(Format::Json)),
    ("application/msgpack", Some(Format::MessagePack)),
    ("application/x-msgpack", Some(Format::MessagePack)),
    ("application/vnd.msgpack", Some(Format::MessagePack)),
    ("application/octet-stream", None),
    ("", None),
];

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// Room made before the first byte is decoded, at most: text shrinks to a fifth or so.
const USUAL_RATIO: usize = 5;

/// How a request says that its body is packed and written.
#[derive(Clone, Copy)]
pub struct Packing {
    coding: Option<&'static Coding>,
    format: Option<Format>,
}

impl std::fmt::Debug for Packing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let coding = self.coding.map(|coding| coding.names);
        write!(formatter, "Packing({coding:?}, {:?})", self.format)
    }
}

impl Packing {
    /// From a request's headers, all lines of them.
    ///
    /// # Errors
    /// When they name a type or a coding that is not known, or more than one of either.
    pub fn of(headers: &HeaderMap) -> Result<Self, IngestError> {
        let mut codings = listed(headers, &CONTENT_ENCODING, ',')
            .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"));
        let coding = codings.next().map(|name| {
            let known = CODINGS.iter().find(|coding| is_among(name, coding.names));
            known.ok_or(IngestError::ContentEncoding)
        });
        let coding = coding.transpose()?;
        // One layer is all that anyone needs; two would be bombs of bombs.
        if codings.next().is_some() {
            return Err(IngestError::ContentEncoding);
        }
        if headers.get_all(CONTENT_TYPE).iter().nth(1).is_some() {
            return Err(IngestError::ContentType);
        }
        let content_type = listed(headers, &CONTENT_TYPE, ';').next().unwrap_or("");
        let known = TYPES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(content_type));
        let (_, format) = known.ok_or(IngestError::ContentType)?;
        Ok(Self {
            coding,
            format: *format,
        })
    }

    /// The decoded body, and how it is written. Gzip is recognised without its name, too.
    ///
    /// # Errors
    /// When it is damaged, or would be longer than `decoded_bytes_max`.
    pub fn open(self, body: Bytes, decoded_bytes_max: usize) -> Result<Opened, IngestError> {
        let unnamed = body.starts_with(GZIP_MAGIC).then_some(&GZIP);
        let (body, is_mislabelled) = match self.coding.or(unnamed) {
            None => (body, false),
            Some(coding) => unpack_or_plain(coding, body, self.format, decoded_bytes_max)?,
        };
        let format = self.format.unwrap_or_else(|| written_as(&body));
        Ok(Opened {
            body,
            format,
            is_mislabelled,
        })
    }
}

/// A body as it is to be taken apart.
#[derive(Debug)]
pub struct Opened {
    /// Its bytes.
    pub body: Bytes,
    /// How it is written.
    pub format: Format,
    /// Whether it was marked as packed and was not.
    pub is_mislabelled: bool,
}

/// Unpacks; but what is no packed body and reads as a plain one is taken as that: a proxy has unpacked it
/// and left its mark. Says whether it was so.
fn unpack_or_plain(
    coding: &Coding,
    body: Bytes,
    format: Option<Format>,
    bytes_max: usize,
) -> Result<(Bytes, bool), IngestError> {
    match unpack(coding, &body, bytes_max) {
        Err(IngestError::Damaged(_)) if is_plain(&body, format) => {
            if body.len() > bytes_max {
                return Err(IngestError::TooLarge(bytes_max, "after decompression"));
            }
            Ok((body, true))
        }
        unpacked => Ok((unpacked?.into(), false)),
    }
}

/// Whether a body begins as JSON does, or is MessagePack from end to end. A packed one that was damaged
/// may begin with a MessagePack map.
fn is_plain(body: &[u8], format: Option<Format>) -> bool {
    match format.unwrap_or_else(|| written_as(body)) {
        Format::Json => {
            let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
            text.trim_ascii_start().starts_with(b"{")
        }
        Format::MessagePack => terminal_v1::is_messagepack_map(body),
    }
}

/// The parts of all lines of a header; what is no text is no known name either.
fn listed<'h>(
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

/// MessagePack begins with the byte of a map, which no text begins with.
fn written_as(body: &[u8]) -> Format {
    match body.first() {
        Some(0x80..=0x8f | 0xde | 0xdf) => Format::MessagePack,
        _ => Format::Json,
    }
}

fn unpack(coding: &Coding, body: &[u8], bytes_max: usize) -> Result<Vec<u8>, IngestError> {
    (coding.unpack)(body, bytes_max).map_err(|fault| match fault {
        Fault::Damaged => IngestError::Damaged(coding.names.first().copied().unwrap_or_default()),
        Fault::TooLarge => IngestError::TooLarge(bytes_max, "after decompression"),
    })
}

/// The only way an envelope may be written.
const ENVELOPE_FORMAT: &str = "gzip-base64";

/// Padding may be left out, as some senders do.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The JSON in an envelope; plain JSON, too, if it is marked as compressed.
///
/// # Errors
/// When its format is another, when it is damaged, or when it would be longer than `decoded_bytes_max`.
pub fn open_envelope(
    envelope: &Envelope<'_>,
    decoded_bytes_max: usize,
) -> Result<Opened, IngestError> {
    if envelope.format != ENVELOPE_FORMAT {
        return Err(IngestError::EnvelopeFormat);
    }
    let bytes = BASE64
        .decode(envelope.data.as_bytes())
        .map_err(|_not_base64| IngestError::Damaged("base64"))?;
    let (body, is_mislabelled) = if envelope.is_compressed {
        unpack_or_plain(&GZIP, bytes.into(), Some(Format::Json), decoded_bytes_max)?
    } else if bytes.len() > decoded_bytes_max {
        return Err(IngestError::TooLarge(decoded_bytes_max, "as base64"));
    } else {
        (bytes.into(), false)
    };
    Ok(Opened {
        body,
        format: Format::Json,
        is_mislabelled,
    })
}

/// Room for the first bytes, in proportion to what has come.
fn first_room(body: &[u8], bytes_max: usize) -> usize {
    body.len().saturating_mul(USUAL_RATIO).min(bytes_max) + 1
}

/// More room, as much as there is, but for no more than one byte past the cap.
fn more_room(decoded: &[u8], bytes_max: usize) -> usize {
    let left = bytes_max.saturating_add(1).saturating_sub(decoded.len());
    decoded.len().max(1_024).min(left)
}

/// RFC 1952, one member or several.
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
        // Room is left: it waits for bytes that do not come.
        if decoded.len() < decoded.capacity() {
            return Err(Fault::Damaged);
        }
        decoded.reserve_exact(more_room(&decoded, bytes_max));
    }
}

/// The window that a sender may use, as RFC 9659 has it for the web: 8 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// RFC 8878, one frame or several.
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
