//! Bodies in all their forms: MessagePack is read as JSON is, and no form makes more of a body than the
//! cap allows.

use std::io::Write;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tillwatch_model::Catalogue;

use crate::doors::refusal::Refusal;
use crate::doors::terminal_v1::{
    Format, Limits, ParseError, Parsed, Request, Wrapping, offer, parse,
};
use crate::intake::identity::Identity;
use crate::intake::report::{Place, Report};
use crate::intake::request_time::RequestTime;
use crate::intake::validate::{Writer, Written};
use crate::intake::{Offers, Who};

const NOW_MS: i64 = 1_763_683_200_000;
const LIMITS: Limits = Limits {
    batches_max: 8,
    samples_max: 40,
};

/// Everything that follows from a body: how it was read, each batch's record, or what was wrong.
#[derive(Debug, PartialEq)]
enum Outcome {
    Refused(&'static str),
    Envelope,
    Taken {
        is_many: bool,
        unknown_keys: u64,
        batches: Vec<Result<Vec<u8>, &'static str>>,
        /// What the answer would name.
        report: String,
    },
}

fn outcome(body: &[u8], format: Format) -> Outcome {
    match parse(body, format, LIMITS) {
        Err(ParseError::Malformed(_)) => Outcome::Refused("malformed"),
        Err(ParseError::TooManyBatches(_)) => Outcome::Refused("too many batches"),
        Err(ParseError::TooManySamples(_)) => Outcome::Refused("too many samples"),
        Err(ParseError::NoRoom) => Outcome::Refused("no room"),
        Ok(Parsed::Envelope(_) | Parsed::Plain(_)) => Outcome::Envelope,
        Ok(Parsed::Request(request)) => {
            let mut report = Report::default();
            Outcome::Taken {
                is_many: request.is_many,
                unknown_keys: request.unknown_keys,
                batches: records(&request, &mut report),
                report: format!("{report:?}"),
            }
        }
    }
}

fn records(request: &Request<'_>, report: &mut Report) -> Vec<Result<Vec<u8>, &'static str>> {
    let records = written(request, report).into_iter();
    records
        .map(|written| written.map(|(record, _)| record))
        .collect()
}

/// Each batch's record and what became of its samples, or why it has none.
fn written(
    request: &Request<'_>,
    report: &mut Report,
) -> Vec<Result<(Vec<u8>, Written), &'static str>> {
    let catalogue = Catalogue::default();
    let batches = request.batches.iter().enumerate();
    let batches: Vec<_> = batches
        .map(|(place, batch)| offer(batch, None, place))
        .collect();
    let time = RequestTime::new(&Offers {
        received_at_ms: NOW_MS,
        sent_at_ms: request.sent_at_ms,
        class: crate::intake::limits::Class::Live,
        browser: None,
        batches: &batches,
        watched: None,
    });
    let record = |(index, batch)| {
        let identity = Identity::of(&Who::Anybody, batch).map_err(|reason| reason.name())?;
        let writer = Writer {
            source: batch.source,
            identity,
            place: Place::batch(index),
            browser: None,
            catalogue: &catalogue,
            time,
            values_per_s: 1_000,
        };
        let mut record = Vec::new();
        let written = writer.write(&mut record, batch, None, &mut *report);
        Ok((record, written))
    };
    batches.iter().enumerate().map(record).collect()
}

fn messagepack(value: &Value) -> Vec<u8> {
    rmp_serde::to_vec(value).unwrap()
}

/// Numbers whose shortest decimals are exact, and some that programs write by mistake.
fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0_i64..1_000_000).prop_map(|back| json!(NOW_MS - back)),
        (-80_000_i32..80_000).prop_map(|eighths| json!(f64::from(eighths) / 8.0)),
        (0_u64..5_000).prop_map(|value| json!(value)),
        prop::sample::select(vec![
            json!(1),
            json!(1.0),
            json!(17),
            json!(60_000.0),
            json!(NOW_MS / 1_000),
            json!(60_000),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(-1),
            json!(-0.0),
            json!(1e300),
        ]),
    ]
}

const KEYS: [&str; 25] = [
    "v",
    "sent_at_ms",
    "store_id",
    "terminal_id",
    "queue",
    "seq",
    "release",
    "session_id",
    "consent",
    "source",
    "samples",
    "histograms",
    "batches",
    "m",
    "t",
    "label",
    "connection",
    "span_ms",
    "buckets",
    "sum",
    "min",
    "max",
    "stranger",
    "ä",
    "",
];

fn text() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        "lcp_ms",
        "cache_requests",
        "hit",
        "online",
        "offline",
        "store-1",
        "till 1",
        "rum",
        "2.4.1",
        "5f0c6a52-6f3f-4c0e-8f43-2a6b2f1f8f10",
        "",
        "ä\u{1F4A9}",
    ])
    .prop_map(|text| json!(text))
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|flag| json!(flag)),
        number(),
        text()
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(&KEYS[..]), inner), 0..6).prop_map(object),
        ]
    })
}

fn object(pairs: Vec<(&'static str, Value)>) -> Value {
    let pairs = pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    Value::Object(pairs.collect::<Map<_, _>>())
}

/// What is right, with some keys set to anything.
fn bent(right: Value) -> impl Strategy<Value = Value> {
    let odd = prop::collection::vec((prop::sample::select(&KEYS[..]), any_value()), 0..3);
    odd.prop_map(move |odd| {
        let mut value = right.clone();
        for (key, odd) in odd {
            value[key] = odd;
        }
        value
    })
}

fn sample() -> impl Strategy<Value = Value> {
    let right = (number(), number()).prop_flat_map(|(t, v)| {
        bent(json!({"m": "lcp_ms", "t": t, "v": v, "connection": "online"}))
    });
    prop_oneof![8 => right, 1 => any_value()]
}

fn histogram() -> impl Strategy<Value = Value> {
    let t_ms = NOW_MS / 60_000 * 60_000 - 120_000;
    bent(
        json!({"m": "idb_write_ms", "t": t_ms, "span_ms": 60_000, "connection": "offline",
        "buckets": [[4048, 1], [4297, 1], [4322, 1], [4609, 1]], "sum": 40.125, "min": 8, "max": 12.25}),
    )
}

/// A whole number, written as one or as a float.
fn whole(below: u32) -> impl Strategy<Value = Value> {
    (0..below, any::<bool>()).prop_map(|(number, is_float)| {
        if is_float {
            json!(f64::from(number))
        } else {
            json!(number)
        }
    })
}

fn batch() -> impl Strategy<Value = Value> {
    let parts = (
        prop::collection::vec(sample(), 0..20),
        prop::collection::vec(histogram(), 0..2),
        (whole(3), whole(100)),
    );
    parts.prop_flat_map(|(samples, histograms, (seq, store_id))| {
        bent(json!({"v": 1, "store_id": store_id, "terminal_id": "t", "seq": seq, "consent": true,
            "queue": "5f0c6a52-6f3f-4c0e-8f43-2a6b2f1f8f10", "samples": samples, "histograms": histograms}))
    })
}

fn body() -> impl Strategy<Value = Value> {
    let many = (prop::collection::vec(batch(), 0..4), number())
        .prop_flat_map(|(batches, sent)| bent(json!({"batches": batches, "sent_at_ms": sent})));
    prop_oneof![4 => batch(), 4 => many, 1 => any_value()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn messagepack_comes_to_the_same_records_as_its_json(body in body()) {
        let from_json = outcome(body.to_string().as_bytes(), Format::Json);
        // Only JSON can be an envelope; no body made here is one.
        prop_assert_ne!(&from_json, &Outcome::Envelope);
        prop_assert_eq!(outcome(&messagepack(&body), Format::MessagePack), from_json);
    }

    #[test]
    fn messagepack_taken_apart_comes_to_the_same_as_the_stream(body in batch()) {
        // A stranger that no field can be makes the stream fail as a whole.
        let whole = outcome(&messagepack(&body), Format::MessagePack);
        let mut broken = body;
        broken["stranger"] = json!(null);
        let mut bytes = messagepack(&broken);
        let key = bytes.windows(9).rposition(|nine| nine == b"\xa8stranger").unwrap();
        // An integer as a key, with a null that follows.
        bytes.splice(key..key + 9, [7]);
        let apart = outcome(&bytes, Format::MessagePack);
        match (whole, apart) {
            (Outcome::Taken { batches, report, .. }, Outcome::Taken { batches: apart, report: of_apart, .. }) => {
                prop_assert_eq!((batches, report), (apart, of_apart));
            }
            (whole, apart) => prop_assert_eq!(whole, apart),
        }
    }

    #[test]
    fn no_bytes_are_a_request_by_mistake(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for format in [Format::Json, Format::MessagePack] {
            let _outcome = outcome(&bytes, format);
        }
    }
}

/// A batch of three samples of which the middle one is these bytes.
fn with_sample(odd: &[u8]) -> Vec<u8> {
    let good = json!({"m": "lcp_ms", "t": NOW_MS, "v": 1});
    let body = json!({"v": 1, "store_id": "s", "terminal_id": "t", "seq": 1, "consent": true,
        "queue": "5f0c6a52-6f3f-4c0e-8f43-2a6b2f1f8f10", "samples": [good, "HERE", good]});
    let mut bytes = messagepack(&body);
    let at = bytes
        .windows(5)
        .position(|five| five == b"\xa4HERE")
        .unwrap();
    bytes.splice(at..at + 5, odd.iter().copied());
    bytes
}

/// Accepted and rejected samples of a body.
fn counts(body: &[u8]) -> (u64, u64) {
    let Ok(Parsed::Request(request)) = parse(body, Format::MessagePack, LIMITS) else {
        return (0, 0);
    };
    let (_, written) = written(&request, &mut Report::default()).remove(0).unwrap();
    (written.accepted, written.rejected.iter().sum())
}

/// A sample with this value.
fn sample_of(value: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x83\xa1m\xa6lcp_ms\xa1t\xcf".to_vec();
    bytes.extend(NOW_MS.to_be_bytes());
    bytes.extend(b"\xa1v");
    bytes.extend(value);
    bytes
}

#[test]
fn one_odd_messagepack_sample_costs_itself() {
    let sample = sample_of;
    let taken = [
        ("float 32", sample(b"\xca\x40\x20\x00\x00")),
        ("float 64", sample(b"\xcb\x40\x04\x00\x00\x00\x00\x00\x00")),
        (
            "an integer of any width",
            sample(b"\xd3\x00\x00\x00\x00\x00\x00\x00\x07"),
        ),
        (
            "a key that is no text",
            [b"\x84\x05\xc0", &sample(b"\x07")[1..]].concat(),
        ),
        (
            "a key that is a list",
            [b"\x84\x92\x01\x02\xc0", &sample(b"\x07")[1..]].concat(),
        ),
        (
            "a key that is bytes",
            [b"\x84\xc4\x01m\xa1x", &sample(b"\x07")[1..]].concat(),
        ),
        (
            "a key that is no UTF-8",
            [b"\x84\xa2\xc3\x28\x07", &sample(b"\x07")[1..]].concat(),
        ),
        (
            "a time stamp beside",
            [b"\x84\xa1z\xd6\xff\x00\x00\x00\x01", &sample(b"\x07")[1..]].concat(),
        ),
        (
            "a list of 3,000 beside",
            [
                &b"\x84\xa1z\xdc\x0b\xb8"[..],
                &[7; 3_000],
                &sample(b"\x07")[1..],
            ]
            .concat(),
        ),
        (
            "100,000 lists in each other beside",
            [
                &b"\x84\xa1z"[..],
                &[0x91; 100_000],
                b"\xc0",
                &sample(b"\x07")[1..],
            ]
            .concat(),
        ),
    ];
    for (name, odd) in taken {
        assert_eq!(counts(&with_sample(&odd)), (3, 0), "{name}");
    }
    let rejected = [
        (
            "not a number",
            sample(b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"),
        ),
        ("infinite", sample(b"\xca\x7f\x80\x00\x00")),
        ("negative", sample(b"\xff")),
        ("a text", sample(b"\xa17")),
        ("bytes", sample(b"\xc4\x017")),
        ("an extension", sample(b"\xd4\x01\x07")),
        ("a long extension", sample(b"\xc7\x03\x01abc")),
        (
            "100,000 lists in each other",
            sample(&[&[0x91; 100_000][..], b"\xc0"].concat()),
        ),
        (
            "100,000 maps in each other",
            sample(&[b"\x81\xa1a".repeat(100_000), b"\xc0".to_vec()].concat()),
        ),
        ("a sample that is a number", b"\x07".to_vec()),
        ("a sample that is an extension", b"\xd4\x01\x07".to_vec()),
        ("a sample that is a list", b"\x92\x01\x02".to_vec()),
        (
            "a sample that is deep",
            [&[0x91; 100_000][..], b"\xc0"].concat(),
        ),
        ("a metric of bytes", b"\x81\xa1m\xc4\x06lcp_ms".to_vec()),
        (
            "a metric that is no UTF-8",
            b"\x81\xa1m\xa2\xc3\x28".to_vec(),
        ),
    ];
    for (name, odd) in rejected {
        assert_eq!(counts(&with_sample(&odd)), (2, 1), "{name}");
    }
}

#[test]
fn messagepack_that_is_not_whole_or_claims_what_is_not_there_is_malformed() {
    let whole = with_sample(b"\xc0");
    assert_eq!(counts(&whole), (2, 1));
    let mut cases: Vec<(String, Vec<u8>)> = (0..whole.len())
        .map(|length| (format!("cut at {length}"), whole[..length].to_vec()))
        .collect();
    let mut add = |name: &str, bytes: Vec<u8>| cases.push((name.to_owned(), bytes));
    // One that the stream reads to its end, and one that has to be taken apart.
    let streamed = with_sample(&sample_of(b"\x07"));
    assert_eq!(counts(&streamed), (3, 0));
    for whole in [&whole, &streamed] {
        add("something after it", [&whole[..], b"\x00"].concat());
        add(
            "the byte that is never used after it",
            [&whole[..], b"\xc1"].concat(),
        );
        add("twice", [&whole[..], whole].concat());
    }
    add("the byte that is never used", with_sample(b"\xc1"));
    add("a list", b"\x90".to_vec());
    add("null", b"\xc0".to_vec());
    add("an extension", b"\xd4\x01\x07".to_vec());
    // Four billion of each are claimed, and nothing may be reserved for them.
    for marker in [0xc6, 0xc9, 0xdb, 0xdd, 0xdf] {
        add("a claim", vec![marker, 0xff, 0xff, 0xff, 0xff]);
        add(
            "a claim in a sample",
            with_sample(&[marker, 0xff, 0xff, 0xff, 0xff]),
        );
        let beside = [b"\x81\xa7samples", &[marker, 0xff, 0xff, 0xff, 0xff][..]].concat();
        add("a claim of samples", beside);
    }
    for (name, bytes) in cases {
        assert_eq!(
            outcome(&bytes, Format::MessagePack),
            Outcome::Refused("malformed"),
            "{name}"
        );
    }
    // Too many is too many, also where the stream has failed.
    let sample = json!({"m": "lcp_ms", "t": NOW_MS, "v": 1});
    let many = json!({"samples": vec![sample; 41], "z": "HERE"});
    let mut bytes = messagepack(&many);
    assert_eq!(
        outcome(&bytes, Format::MessagePack),
        Outcome::Refused("too many samples")
    );
    let first = bytes.windows(6).position(|six| six == b"lcp_ms").unwrap() - 1;
    bytes.splice(first..first + 7, *b"\xd6\xff\x00\x00\x00\x01");
    assert_eq!(
        outcome(&bytes, Format::MessagePack),
        Outcome::Refused("too many samples")
    );
    let many = messagepack(&json!({"batches": vec![json!(5); 9]}));
    assert_eq!(
        outcome(&many, Format::MessagePack),
        Outcome::Refused("too many batches")
    );
}

/// A body in each coding; each takes it and its length.
type Pack = fn(&[u8]) -> Vec<u8>;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).unwrap()
}

fn brotli_of(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    let parameters = brotli::enc::BrotliEncoderParams {
        quality: 5,
        ..Default::default()
    };
    brotli::BrotliCompress(&mut &bytes[..], &mut packed, &parameters).unwrap();
    packed
}

const PACKS: [(&str, Pack); 6] = [
    ("gzip", gzip),
    ("x-gzip", gzip),
    ("deflate", zlib),
    ("deflate", raw_deflate),
    ("zstd", zstd_of),
    ("br", brotli_of),
];

fn open(coding: &str, body: &[u8], bytes_max: usize) -> Result<Vec<u8>, &'static str> {
    let mut headers = HeaderMap::new();
    headers.insert("content-encoding", HeaderValue::from_str(coding).unwrap());
    let packing = Wrapping::of(&headers).unwrap();
    match packing.open(Bytes::copy_from_slice(body), bytes_max) {
        Ok(opened) => Ok(opened.body.into()),
        Err(Refusal::Damaged(_)) => Err("damaged"),
        Err(Refusal::TooLarge(..)) => Err("too large"),
        Err(other) => panic!("{other}"),
    }
}

proptest! {
    #[test]
    fn every_coding_gives_back_what_was_packed_up_to_the_cap(bytes in prop::collection::vec(0_u8..5, 0..6_000)) {
        for (coding, pack) in PACKS {
            let packed = pack(&bytes);
            prop_assert_eq!(open(coding, &packed, bytes.len()), Ok(bytes.clone()), "{}", coding);
            if let Some(less) = bytes.len().checked_sub(1) {
                prop_assert_eq!(open(coding, &packed, less), Err("too large"), "{}", coding);
            }
        }
    }

    #[test]
    fn no_bytes_make_more_than_the_cap(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        for (coding, _) in PACKS {
            if let Ok(decoded) = open(coding, &bytes, 1_000) {
                prop_assert!(decoded.len() <= 1_000);
            }
        }
    }
}

#[test]
fn what_is_cut_short_or_has_something_behind_it_is_damaged() {
    // Hard to pack, so that no cut leaves it whole by chance.
    let mut random = fastrand::Rng::with_seed(7);
    let text: Vec<u8> = (0..300).map(|_| random.u8(b'a'..=b'z')).collect();
    for (coding, pack) in PACKS {
        let packed = pack(&text);
        for length in 0..packed.len() {
            assert_eq!(
                open(coding, &packed[..length], 1 << 20),
                Err("damaged"),
                "{coding} at {length}"
            );
        }
        let followed = [&packed[..], b"{}"].concat();
        assert_eq!(open(coding, &followed, 1 << 20), Err("damaged"), "{coding}");
        // Members and frames may follow each other; streams may not.
        let twice = open(coding, &[&packed[..], &packed].concat(), 1 << 20);
        let expected = match coding {
            "gzip" | "x-gzip" | "zstd" => Ok(text.repeat(2)),
            _ => Err("damaged"),
        };
        assert_eq!(twice, expected, "{coding} twice");
    }
}

#[test]
fn windows_that_no_batch_needs_are_refused() {
    // 128 MiB, as `zstd --long` makes; the web's limit is 8.
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(b"{}").unwrap();
    assert_eq!(
        open("zstd", &encoder.finish().unwrap(), 1 << 20),
        Err("damaged")
    );
    for (lgwin, expected) in [
        (22, Ok(b"{}".to_vec())),
        (23, Err("damaged")),
        (28, Err("damaged")),
    ] {
        let parameters = brotli::enc::BrotliEncoderParams {
            large_window: lgwin > 24,
            lgwin,
            ..Default::default()
        };
        let mut packed = Vec::new();
        brotli::BrotliCompress(&mut &b"{}"[..], &mut packed, &parameters).unwrap();
        assert_eq!(open("br", &packed, 1 << 20), expected, "{lgwin}");
    }
}

#[test]
fn headers_name_one_coding_and_one_type_or_are_refused() {
    let packing = |lines: &[(&'static str, &str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        Wrapping::of(&headers)
    };
    let (coding, content_type) = ("content-encoding", "content-type");
    for lines in [
        &[][..],
        &[(coding, "")],
        &[(coding, "identity, GZIP")],
        &[(coding, "identity"), (coding, " zstd ")],
        &[(content_type, "application/vnd.msgpack"), (coding, "br")],
        &[(content_type, "TEXT/plain; charset=utf-8")],
        &[(content_type, "application/octet-stream")],
    ] {
        assert!(packing(lines).is_ok(), "{lines:?}");
    }
    for lines in [
        &[(coding, "gzip, gzip")][..],
        &[(coding, "gzip"), (coding, "br")],
        &[(coding, "compress")],
        &[(coding, "gzip;q=1")],
        &[(coding, "identity"), (coding, "zip")],
    ] {
        assert!(
            matches!(packing(lines), Err(Refusal::ContentEncoding(_))),
            "{lines:?}"
        );
    }
    for lines in [
        &[
            (content_type, "application/json"),
            (content_type, "application/msgpack"),
        ][..],
        &[(content_type, "application/jsonx")],
        &[(content_type, "application/json, text/plain")],
    ] {
        assert!(
            matches!(packing(lines), Err(Refusal::ContentType(_))),
            "{lines:?}"
        );
    }
}

/// What stands for the contents of a body's batches.
fn contents(body: &str) -> Vec<u32> {
    let contents = |body: &[u8], format| match parse(body, format, LIMITS) {
        Ok(Parsed::Request(request)) => request.batches.iter().map(|batch| batch.content).collect(),
        other => panic!("{other:?}"),
    };
    let streamed: Vec<u32> = contents(body.as_bytes(), Format::Json);
    // A number that no field can be: the same body taken apart.
    let apart = contents(body.replace("\"z\"", "1e999").as_bytes(), Format::Json);
    assert_eq!(streamed, apart, "{body}");
    streamed
}

#[test]
fn the_content_of_a_batch_is_its_two_lists_as_they_are_written() {
    let of = |body: &str| contents(body)[0];
    let (one, two) = (
        r#"[{"m":"lcp_ms"} ,5]"#,
        r#"[{"m":"x", "a": ["]", "\\"] }]"#,
    );
    let base = of(&format!(
        r#"{{"samples":{one},"histograms":{two},"seq":1,"x":"z"}}"#
    ));
    for same in [
        format!(r#" {{ "histograms" : {two} , "x" : "z" , "samples" : {one} }} "#),
        format!(r#"{{"x":"z","samples":{one},"release":"2","histograms":{two}}}"#),
        format!(r#"{{"x":"z","\u0073amples":{one},"histograms":{two}}}"#),
    ] {
        assert_eq!(of(&same), base, "{same}");
    }
    let many = format!(
        r#"{{"batches": [ {{"samples":{one} , "histograms": {two} }},{{"samples":{one},"histograms":{two}}} ], "x":"z"}}"#
    );
    assert_eq!(contents(&many), [base, base]);
    for other in [
        format!(r#"{{"samples":{two},"histograms":{one},"x":"z"}}"#),
        format!(r#"{{"samples":{one},"x":"z"}}"#),
        format!(r#"{{"samples":[{{"m":"lcp_ms"}},5],"histograms":{two},"x":"z"}}"#),
    ] {
        assert_ne!(of(&other), base, "{other}");
    }
    for empty in [
        r#"{"x":"z"}"#,
        r#"{"samples":[],"histograms":[ ],"x":"z"}"#,
        r#"{"samples":null,"x":"z"}"#,
    ] {
        assert_eq!(of(empty), 0, "{empty}");
    }
    // MessagePack gives the same content in whatever order, and the same bytes.
    let packed = |value: &Value| match parse(&messagepack(value), Format::MessagePack, LIMITS) {
        Ok(Parsed::Request(request)) => request
            .batches
            .iter()
            .map(|batch| batch.content)
            .collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let batch =
        json!({"samples": [{"m": "lcp_ms", "v": 1.5}], "seq": 1, "histograms": [{"m": "x"}]});
    let alone = packed(&batch);
    assert_ne!(alone[0], 0);
    assert_eq!(
        packed(&json!({"a": 1, "batches": [batch, batch], "z": 1})),
        [alone[0]; 2]
    );
    assert_eq!(
        packed(&json!({"samples": batch["samples"], "histograms": batch["histograms"]})),
        alone
    );
    assert_ne!(packed(&json!({"samples": batch["samples"]})), alone);
}

#[test]
fn the_outer_objects_of_a_body_are_json_to_the_last_comma() {
    for wrong in [
        "",
        " ",
        "{",
        "}",
        "{}{}",
        "{} x",
        "{,}",
        r#"{"v":1,}"#,
        r#"{"v" 1}"#,
        r#"{"v":1 "seq":2}"#,
        r#"{"v":}"#,
        r#"{v:1}"#,
        r#"{1:1}"#,
        r#"{"v":1]"#,
        r#"{"batches":[{},]}"#,
        r#"{"batches":[{} {}]}"#,
        r#"{"batches":[,]}"#,
        r#"{"batches":[{}}"#,
        r#"{"samples":nul}"#,
        r#"{"samples":nullx}"#,
        r#"{"samples":null1}"#,
        r#"{"samples":[],"histograms":[}"#,
        r#"{"samples":[{}],}"#,
        r#"{"v":01}"#,
        r#"{"v":1e}"#,
        "[]",
        "null",
        "{}\u{a0}",
        "\u{b}{}",
    ] {
        assert_eq!(
            outcome(wrong.as_bytes(), Format::Json),
            Outcome::Refused("malformed"),
            "{wrong}"
        );
        assert!(
            serde_json::from_str::<Map<String, Value>>(wrong).is_err(),
            "{wrong}"
        );
    }
    for right in [
        "{}",
        " \r\n\t{ } \n",
        r#"{"batches" : [ ] }"#,
        r#"{"batches":[{ } , {}]}"#,
        r#"{"samples":null}"#,
    ] {
        assert!(
            matches!(
                outcome(right.as_bytes(), Format::Json),
                Outcome::Taken { .. }
            ),
            "{right}"
        );
    }
}

proptest! {
    #[test]
    fn what_is_no_json_is_no_request(body in body(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = body.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let is_json = serde_json::from_slice::<&serde_json::value::RawValue>(&bytes).is_ok();
        let outcome = outcome(&bytes, Format::Json);
        // There may be too much of it before the fault.
        prop_assert!(is_json || matches!(outcome, Outcome::Refused(_)), "{}", String::from_utf8_lossy(&bytes));
    }
}
