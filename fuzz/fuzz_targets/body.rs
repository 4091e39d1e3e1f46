//! A packed body in each coding: never longer than the cap. The first byte chooses the coding.

#![no_main]

use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tillwatch::doors::terminal_v1::{Format, Limits, Parsed, Wrapping, open_envelope, parse};

const CODINGS: [&str; 5] = ["identity", "gzip", "zstd", "br", "deflate"];
const LIMITS: Limits = Limits {
    batches_max: 20,
    samples_max: 1_000,
};

fuzz_target!(|input: &[u8]| {
    const CAP: usize = 64 * 1024;
    let Some((first, body)) = input.split_first() else {
        return;
    };
    let coding = CODINGS[usize::from(*first) % CODINGS.len()];
    let mut headers = HeaderMap::new();
    headers.insert("content-encoding", HeaderValue::from_static(coding));
    let wrapping = Wrapping::of(&headers).expect("a known coding");
    let Ok(opened) = wrapping.open(Bytes::copy_from_slice(body), CAP) else {
        return;
    };
    assert!(opened.body.len() <= CAP || coding == "identity");
    assert!(!opened.is_mislabelled || (opened.body == *body && coding != "identity"));
    if opened.format == Format::Json
        && let Ok(Parsed::Envelope(envelope)) = parse(&opened.body, opened.format, LIMITS)
        && let Ok(inner) = open_envelope(&envelope, CAP)
    {
        assert!(inner.body.len() <= CAP);
    }
});
