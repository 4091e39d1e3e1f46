//! What each form of a body costs: unpacking and taking apart a batch of forty samples, in this process.

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use tillwatch::doors::terminal_v1::{Format, Limits, Parsed, Wrapping, open_envelope, parse};

use crate::load::{Identity, body};

const ROUNDS: usize = 9;
/// Of each form in each round.
const ROUND: Duration = Duration::from_millis(150);
const DECODED_BYTES_MAX: usize = 2 << 20;
const LIMITS: Limits = Limits {
    batches_max: 500,
    samples_max: 50_000,
};

struct Form {
    name: &'static str,
    headers: HeaderMap,
    body: Bytes,
    /// µs to unpack, and to take apart, one of each round.
    times: Vec<(f64, f64)>,
}

fn form(name: &'static str, content_type: &str, coding: &str, body: Vec<u8>) -> Form {
    let mut headers = HeaderMap::new();
    let value = |text: &str| HeaderValue::from_str(text).expect("a header");
    headers.insert("content-type", value(content_type));
    headers.insert("content-encoding", value(coding));
    Form {
        name,
        headers,
        body: body.into(),
        times: Vec::new(),
    }
}

fn forms() -> Vec<Form> {
    let now_ms = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("a clock")
        .as_millis();
    let text = body(7, now_ms, Identity::Queue);
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let packed = rmp_serde::to_vec(&value).expect("MessagePack");
    let (json, messagepack) = ("application/json", "application/msgpack");
    let text = text.into_bytes();
    let level = flate2::Compression::default();
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    };
    let zlib = |bytes: &[u8]| {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    };
    let zstd = |bytes: &[u8]| zstd::bulk::compress(bytes, 3).expect("memory");
    let brotli = |bytes: &[u8]| {
        let mut packed = Vec::new();
        let parameters = brotli::enc::BrotliEncoderParams {
            quality: 5,
            ..Default::default()
        };
        brotli::BrotliCompress(&mut &bytes[..], &mut packed, &parameters).expect("memory");
        packed
    };
    let envelope = |is_compressed: bool, bytes: &[u8]| {
        let data = BASE64_STANDARD.encode(bytes);
        format!("{{\"compressed\":{is_compressed},\"format\":\"gzip-base64\",\"data\":\"{data}\"}}")
            .into_bytes()
    };
    vec![
        form("JSON", json, "identity", text.clone()),
        form("JSON, gzip", json, "gzip", gzip(&text)),
        form("JSON, deflate", json, "deflate", zlib(&text)),
        form("JSON, zstd", json, "zstd", zstd(&text)),
        form("JSON, br", json, "br", brotli(&text)),
        form("MessagePack", messagepack, "identity", packed.clone()),
        form("MessagePack, gzip", messagepack, "gzip", gzip(&packed)),
        form("MessagePack, zstd", messagepack, "zstd", zstd(&packed)),
        form("MessagePack, br", messagepack, "br", brotli(&packed)),
        form(
            "envelope, gzip",
            json,
            "identity",
            envelope(true, &gzip(&text)),
        ),
        form("envelope, plain", json, "identity", envelope(false, &text)),
    ]
}

fn samples(parsed: &Parsed<'_>) -> usize {
    match parsed {
        Parsed::Request(request) => request
            .batches
            .iter()
            .map(|batch| batch.samples.len())
            .sum(),
        Parsed::Envelope(_) | Parsed::Plain(_) => 0,
    }
}

/// Both steps once; how long each took.
fn once(form: &Form) -> (Duration, Duration) {
    let started = Instant::now();
    let wrapping = Wrapping::of(&form.headers).expect("known");
    let decoded = wrapping
        .open(form.body.clone(), DECODED_BYTES_MAX)
        .expect("whole");
    let opened = started.elapsed();
    let parsed = parse(&decoded.body, decoded.format, LIMITS).expect("a body");
    let Parsed::Envelope(envelope) = &parsed else {
        assert_eq!(samples(black_box(&parsed)), 40);
        drop(parsed);
        return (opened, started.elapsed() - opened);
    };
    let inner = open_envelope(envelope, DECODED_BYTES_MAX).expect("whole");
    let opened = started.elapsed();
    let parsed = parse(&inner.body, Format::Json, LIMITS).expect("a body");
    assert_eq!(samples(black_box(&parsed)), 40);
    drop(parsed);
    (opened, started.elapsed() - opened)
}

/// A line for each form; the ratio is that of both steps to plain JSON.
pub fn encodings() {
    println!(
        "\n== encodings: one batch of 40 samples, unpack + take apart, {ROUNDS} rounds in turn"
    );
    let mut forms = forms();
    for _ in 0..ROUNDS {
        for form in &mut forms {
            let (mut unpack, mut parse, mut count) = (Duration::ZERO, Duration::ZERO, 0_u32);
            let started = Instant::now();
            while started.elapsed() < ROUND {
                let (first, second) = once(form);
                unpack += first;
                parse += second;
                count += 1;
            }
            let us = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(count);
            form.times.push((us(unpack), us(parse)));
        }
    }
    let median = |form: &Form, pick: fn(&(f64, f64)) -> f64| {
        crate::median(form.times.iter().map(pick).collect()).0
    };
    let plain = median(&forms[0], |(unpack, parse)| unpack + parse);
    for form in &forms {
        let both = median(form, |(unpack, parse)| unpack + parse);
        println!(
            "{:<20} {:>5} bytes  unpack {:>5.1} µs  take apart {:>5.1} µs  both {both:>5.1} µs  {:.2} of JSON",
            form.name,
            form.body.len(),
            median(form, |(unpack, _)| *unpack),
            median(form, |(_, parse)| *parse),
            both / plain,
        );
    }
}
