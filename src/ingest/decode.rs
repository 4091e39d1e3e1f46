//! Undoes compression under a cap on the decoded bytes.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;

use crate::ingest::error::IngestError;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is; gzip is still recognised by its first two bytes.
    Identity,
    /// RFC 1952, one member or several.
    Gzip,
}

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

impl Encoding {
    /// From the `Content-Encoding` header.
    ///
    /// # Errors
    /// When it names something else, or several layers.
    pub fn parse(header: Option<&str>) -> Result<Self, IngestError> {
        match header.map(str::trim) {
            None | Some("") => Ok(Self::Identity),
            Some(name) if name.eq_ignore_ascii_case("identity") => Ok(Self::Identity),
            Some(name) if name.eq_ignore_ascii_case("gzip") => Ok(Self::Gzip),
            Some(name) if name.eq_ignore_ascii_case("x-gzip") => Ok(Self::Gzip),
            Some(_) => Err(IngestError::ContentEncoding),
        }
    }
}

/// Whether this `Content-Type` may hold a batch: JSON, text that holds JSON (`sendBeacon`), or none.
#[must_use]
pub fn is_json(content_type: Option<&str>) -> bool {
    let Some(content_type) = content_type else {
        return true;
    };
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    ["", "application/json", "text/plain"]
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
}

/// The decoded body.
///
/// # Errors
/// When it is damaged, or would be longer than `decoded_bytes_max`.
pub fn decode(
    body: Bytes,
    encoding: Encoding,
    decoded_bytes_max: usize,
) -> Result<Bytes, IngestError> {
    if encoding == Encoding::Identity && !body.starts_with(GZIP_MAGIC) {
        return Ok(body);
    }
    // Text shrinks to a quarter or less; a bomb stops at the cap.
    let capacity = body.len().saturating_mul(5).min(decoded_bytes_max);
    let mut decoded = Vec::with_capacity(capacity);
    let limit = u64::try_from(decoded_bytes_max).unwrap_or(u64::MAX);
    MultiGzDecoder::new(&body[..])
        .take(limit.saturating_add(1))
        .read_to_end(&mut decoded)
        .map_err(|_damaged| IngestError::Damaged("gzip"))?;
    if decoded.len() > decoded_bytes_max {
        return Err(IngestError::TooLarge(
            decoded_bytes_max,
            "after decompression",
        ));
    }
    Ok(decoded.into())
}
