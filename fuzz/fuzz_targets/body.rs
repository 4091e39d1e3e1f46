//! A compressed body: never longer than the cap.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tillwatch::ingest::decode::{Encoding, decode};

fuzz_target!(|body: &[u8]| {
    const CAP: usize = 64 * 1024;
    if let Ok(decoded) = decode(Bytes::copy_from_slice(body), Encoding::Gzip, CAP) {
        assert!(decoded.len() <= CAP);
    }
});
