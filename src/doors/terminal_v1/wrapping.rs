//! Unwraps a body: its headers say how it is packed and written, and an envelope may be around it.

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use super::messagepack;
use super::request::{Envelope, Format};
use crate::doors::codings::{self, Packing};
use crate::doors::refusal::Refusal;

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

/// The types that may be sent, for whoever has sent something else.
const TYPES_WANTED: &str = "application/json or application/msgpack";
/// The same for who sends protobuf, which is OTLP's.
const TYPES_WANTED_FOR_PROTOBUF: &str =
    "application/json or application/msgpack; metrics of OTLP are posted to /v1/metrics";

/// How a request says that its body is packed and written.
#[derive(Debug, Clone, Copy)]
pub struct Wrapping {
    packing: Packing,
    format: Option<Format>,
}

/// A body as it is to be taken apart.
#[derive(Debug)]
pub struct Opened {
    /// The body's bytes.
    pub body: Bytes,
    /// How the body is written.
    pub format: Format,
    /// Whether the body was marked as packed and was not.
    pub is_mislabelled: bool,
}

impl Wrapping {
    /// Reads the wrapping from a request's headers, all lines of them.
    ///
    /// # Errors
    /// When the headers name a type or a coding that is not known, or more than one of either.
    pub fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let packing = Packing::of(headers)?;
        if headers.get_all(CONTENT_TYPE).iter().nth(1).is_some() {
            return Err(Refusal::ContentType(TYPES_WANTED));
        }
        let content_type = codings::listed(headers, &CONTENT_TYPE, ';').next();
        let content_type = content_type.unwrap_or("");
        let known = TYPES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(content_type));
        let (_, format) = known.ok_or_else(|| {
            let is_protobuf = content_type.ends_with("protobuf");
            let wanted = if is_protobuf {
                TYPES_WANTED_FOR_PROTOBUF
            } else {
                TYPES_WANTED
            };
            Refusal::ContentType(wanted)
        })?;
        Ok(Self {
            packing,
            format: *format,
        })
    }

    /// Unpacks a body, and says how it is written.
    ///
    /// # Errors
    /// When the body is damaged, or would be longer than `decoded_bytes_max`.
    pub fn open(self, body: Bytes, decoded_bytes_max: usize) -> Result<Opened, Refusal> {
        let format = |body: &[u8]| self.format.unwrap_or_else(|| written_as(body));
        let is_plain = |body: &[u8]| is_plain(body, format(body));
        let unpacked = self.packing.open(body, decoded_bytes_max, is_plain)?;
        Ok(Opened {
            format: format(&unpacked.body),
            body: unpacked.body,
            is_mislabelled: unpacked.is_mislabelled,
        })
    }
}

/// Whether a body begins as JSON does, or is MessagePack from end to end. A packed one that was damaged
/// may begin with a MessagePack map.
fn is_plain(body: &[u8], format: Format) -> bool {
    match format {
        Format::Json => {
            let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
            text.trim_ascii_start().starts_with(b"{")
        }
        Format::MessagePack => messagepack::is_map(body),
    }
}

/// Tells the format: MessagePack begins with the byte of a map, which no text begins with.
fn written_as(body: &[u8]) -> Format {
    match body.first() {
        Some(0x80..=0x8f | 0xde | 0xdf) => Format::MessagePack,
        _ => Format::Json,
    }
}

/// The only way an envelope may be written.
const ENVELOPE_FORMAT: &str = "gzip-base64";

/// Padding may be left out, as some senders do.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Gives the JSON in an envelope; plain JSON, too, if it is marked as compressed.
///
/// # Errors
/// When its format is another, when it is damaged, or when it would be longer than `decoded_bytes_max`.
pub fn open_envelope(envelope: &Envelope<'_>, decoded_bytes_max: usize) -> Result<Opened, Refusal> {
    if envelope.format != ENVELOPE_FORMAT {
        return Err(Refusal::Envelope(ENVELOPE_FORMAT));
    }
    let bytes = BASE64
        .decode(envelope.data.as_bytes())
        .map_err(|_not_base64| Refusal::Damaged("base64"))?;
    if !envelope.is_compressed {
        if bytes.len() > decoded_bytes_max {
            return Err(Refusal::TooLarge(decoded_bytes_max, "as base64"));
        }
        return Ok(Opened {
            body: bytes.into(),
            format: Format::Json,
            is_mislabelled: false,
        });
    }
    let compressed = Wrapping {
        packing: Packing::GZIP,
        format: Some(Format::Json),
    };
    compressed.open(bytes.into(), decoded_bytes_max)
}
