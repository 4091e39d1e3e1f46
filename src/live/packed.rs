//! Events of a stream, packed once for all who read it.

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};
use serde::Serialize;

/// The header of a gzip stream without a name and a time, RFC 1952 section 2.3.
pub const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Some events: as they are, and as a piece of any deflate stream. A piece ends at a byte and refers to nothing before it
/// (a full flush, RFC 1951), so that the same bytes may follow whatever a reader has got.
#[derive(Debug, Clone)]
pub struct Packed {
    plain: Bytes,
    deflated: Bytes,
}

impl Packed {
    /// Packs events that [`event`] wrote.
    #[must_use]
    pub fn of(text: String) -> Self {
        let deflated = deflate(text.as_bytes());
        Self {
            plain: Bytes::from(text),
            deflated: Bytes::from(deflated),
        }
    }

    /// The bytes for a reader.
    #[must_use]
    pub fn bytes(&self, is_gzip: bool) -> Bytes {
        if is_gzip {
            self.deflated.clone()
        } else {
            self.plain.clone()
        }
    }

    /// How much memory it takes. Unit: bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.plain.len() + self.deflated.len()
    }
}

/// Adds an event to a text.
pub(super) fn event(text: &mut String, name: &str, data: &impl Serialize) {
    // What is sent has no map with keys that are no texts.
    if let Ok(data) = serde_json::to_string(data) {
        push(text, name, &data);
    }
}

/// Adds an event whose data is written already.
pub(super) fn push(text: &mut String, name: &str, data: &str) {
    for part in ["event: ", name, "\ndata: ", data, "\n\n"] {
        text.push_str(part);
    }
}

fn deflate(plain: &[u8]) -> Vec<u8> {
    let mut compress = Compress::new(Compression::new(4), false);
    let mut packed = Vec::with_capacity(plain.len() / 4 + 64);
    let mut rest = plain;
    loop {
        packed.reserve(4_096);
        let before = compress.total_in();
        let result = compress.compress_vec(rest, &mut packed, FlushCompress::Full);
        let taken = usize::try_from(compress.total_in() - before).unwrap_or(rest.len());
        rest = rest.get(taken..).unwrap_or_default();
        // With room left in the buffer, everything was written.
        if result.is_err() || (rest.is_empty() && packed.len() < packed.capacity()) {
            return packed;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn pieces_follow_each_other_after_any_header() {
        let texts = [
            "event: rows\ndata: {}\n\n".to_owned(),
            "x".repeat(300_000),
            String::new(),
            ": \n\n".to_owned(),
        ];
        let mut stream = GZIP_HEADER.to_vec();
        let mut plain = Vec::new();
        for text in texts {
            let packed = Packed::of(text);
            stream.extend_from_slice(&packed.bytes(true));
            plain.extend_from_slice(&packed.bytes(false));
        }
        // The stream has no end, so the reader is told how much to read.
        let mut found = vec![0; plain.len()];
        let mut reader = flate2::read::GzDecoder::new(&stream[..]);
        reader.read_exact(&mut found).unwrap();
        assert!(found == plain);
    }
}
