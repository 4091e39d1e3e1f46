//! The forms a body may come in: types, codings, the envelope; and bombs of each.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::support::{Batch, Reply, Server};

/// A good batch of a terminal of its own.
fn batch() -> Value {
    Batch::new("forms")
        .with("terminal_id", uuid::Uuid::new_v4().to_string())
        .filled(3)
        .0
}

fn messagepack(value: &Value) -> Vec<u8> {
    rmp_serde::to_vec(value).unwrap()
}

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
    let mut encoder =
        flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    // Streamed: without a length in front, and with the widest window that is allowed.
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(23).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn brotli_of(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    let parameters = brotli::enc::BrotliEncoderParams {
        quality: 5,
        lgwin: 22,
        ..Default::default()
    };
    brotli::BrotliCompress(&mut &bytes[..], &mut packed, &parameters).unwrap();
    packed
}

const CODINGS: [(&str, Pack); 5] = [
    ("gzip", gzip),
    ("zstd", zstd_of),
    ("br", brotli_of),
    ("deflate", zlib),
    ("deflate", raw_deflate),
];

fn taken(reply: &Reply, what: &str) {
    assert_eq!(reply.status, 202, "{what}: {}", reply.text());
    assert_eq!(reply.counts(), (3, 0, 0), "{what}");
}

#[tokio::test]
async fn each_type_is_read_in_each_coding() {
    let server = Server::start().await;
    let types: [(Option<&str>, fn(&Value) -> Vec<u8>); 8] = [
        (Some("application/json; charset=utf-8"), |value| {
            value.to_string().into()
        }),
        (Some("text/plain;charset=UTF-8"), |value| {
            value.to_string().into()
        }),
        (None, |value| value.to_string().into()),
        (None, messagepack),
        (Some("application/octet-stream"), messagepack),
        (Some("application/msgpack"), messagepack),
        (Some("application/x-msgpack"), messagepack),
        (Some("Application/Vnd.MsgPack"), messagepack),
    ];
    for (content_type, write) in types {
        let headers: Vec<_> = content_type
            .map(|name| ("content-type", name))
            .into_iter()
            .collect();
        taken(
            &server.post_with(&headers, write(&batch())).await,
            &format!("{content_type:?}"),
        );
        // Gzip is known by its first bytes.
        taken(
            &server.post_with(&headers, gzip(&write(&batch()))).await,
            &format!("{content_type:?}, gzip"),
        );
        for (coding, pack) in CODINGS {
            let mut headers = headers.clone();
            headers.push(("content-encoding", coding));
            let reply = server.post_with(&headers, pack(&write(&batch()))).await;
            taken(&reply, &format!("{content_type:?}, {coding}"));
        }
    }
    // What is one batch in JSON is the same batch in MessagePack.
    let same = batch();
    taken(&server.post(&same).await, "JSON first");
    let reply = server
        .post_with(
            &[("content-type", "application/msgpack")],
            messagepack(&same),
        )
        .await;
    assert_eq!(reply.counts(), (0, 3, 0));
    // Long bodies are unpacked and read elsewhere, with the same result.
    let long = Batch::new("long").filled(20_000).0;
    for (coding, pack) in CODINGS {
        let mut of_coding = long.clone();
        of_coding["terminal_id"] = json!(uuid::Uuid::new_v4().to_string());
        let headers = [
            ("content-type", "application/msgpack"),
            ("content-encoding", coding),
        ];
        let reply = server
            .post_with(&headers, pack(&messagepack(&of_coding)))
            .await;
        assert_eq!(reply.counts(), (20_000, 0, 0), "{coding}");
    }

    for codings in [
        &["compress"][..],
        &["gzip, gzip"],
        &["gzip", "br"],
        &["zstd, identity, br"],
        &["ä"],
    ] {
        let headers: Vec<_> = codings
            .iter()
            .map(|coding| ("content-encoding", *coding))
            .collect();
        let reply = server
            .post_with(&headers, gzip(batch().to_string().as_bytes()))
            .await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (415, "unsupported_content_encoding"),
            "{codings:?}"
        );
        assert_eq!(reply.header("accept-encoding"), "gzip, zstd, br, deflate");
    }
    for types in [
        &["application/xml"][..],
        &["text/html"],
        &["multipart/form-data; boundary=x"],
        &["application/x-www-form-urlencoded"],
        &["application/jsonx"],
        &["json"],
        &["application/json", "application/msgpack"],
    ] {
        let headers: Vec<_> = types.iter().map(|name| ("content-type", *name)).collect();
        let reply = server.post_with(&headers, batch().to_string()).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (415, "unsupported_content_type"),
            "{types:?}"
        );
    }
    // A type that is not what the body is.
    for (content_type, body) in [
        ("application/msgpack", batch().to_string().into_bytes()),
        ("application/json", messagepack(&batch())),
        ("text/plain", messagepack(&batch())),
    ] {
        let reply = server
            .post_with(&[("content-type", content_type)], body)
            .await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (400, "malformed_body"),
            "{content_type}"
        );
    }
    server.stop().await;
}

fn envelope(is_compressed: impl Into<Value>, data: impl Into<Value>) -> Value {
    json!({"compressed": is_compressed.into(), "format": "gzip-base64", "data": data.into()})
}

#[tokio::test]
async fn an_envelope_holds_a_body_and_no_other_envelope() {
    let server = Server::start().await;
    let packed = |value: &Value| BASE64_STANDARD.encode(gzip(value.to_string().as_bytes()));
    let plain = |value: &Value| BASE64_STANDARD.encode(value.to_string());
    taken(
        &server.post(&envelope(true, packed(&batch()))).await,
        "compressed",
    );
    taken(
        &server.post(&envelope(false, plain(&batch()))).await,
        "plain",
    );
    taken(
        &server
            .post(&envelope(true, packed(&batch()).trim_end_matches('=')))
            .await,
        "without padding",
    );
    let many = json!({"batches": [batch()]});
    taken(
        &server.post(&envelope(true, packed(&many))).await,
        "of many",
    );
    // As a text, as sendBeacon sends it; with escapes; and packed once more on its way.
    let text = [("content-type", "text/plain")];
    let body = envelope(true, packed(&batch())).to_string();
    taken(&server.post_with(&text, body).await, "as text");
    let body = envelope(false, plain(&batch()))
        .to_string()
        .replace('/', "\\/")
        .replace("gzip-", "\\u0067zip-");
    taken(&server.post_with(&text, body).await, "escaped");
    let body = gzip(envelope(true, packed(&batch())).to_string().as_bytes());
    taken(
        &server
            .post_with(&[("content-encoding", "gzip")], body)
            .await,
        "packed again",
    );
    // The body as it is, where compressing did not pay: with or without a word about the form.
    for rest in [
        json!({"compressed": false}),
        json!({"compressed": false, "format": "json"}),
        json!({}),
    ] {
        let mut body = rest.clone();
        body["data"] = batch();
        taken(&server.post(&body).await, &format!("an object, {rest}"));
    }
    // A number past the range of a float makes the body be taken apart piece by piece.
    let body = json!({"compressed": false, "data": batch(), "stranger": 7}).to_string();
    let body = body.replace("\"stranger\":7", "\"stranger\":1e999");
    taken(&server.post_with(&text, body).await, "an object, in pieces");
    // A batch with keys of these names is a batch; they are strangers in it.
    let mut odd = batch();
    odd["format"] = json!("gzip-base64");
    odd["data"] = json!("AAAA");
    taken(&server.post(&odd).await, "a batch");
    let page = server.metrics().await;
    assert_eq!(page.value("tillwatch_unknown_keys_total", &[]), 2.0);

    let bomb = BASE64_STANDARD.encode(gzip(&vec![b' '; 64 << 20]));
    let big = json!({"pad": "x".repeat(1_600_000)});
    let nested = envelope(true, packed(&envelope(true, packed(&batch()))));
    let refused = [
        (
            "another format",
            json!({"compressed": true, "format": "zip", "data": ""}),
            415,
            "unsupported_content_encoding",
        ),
        (
            "neither true nor false",
            envelope(json!(null), packed(&batch())),
            400,
            "malformed_body",
        ),
        (
            "a text for true",
            envelope("true", packed(&batch())),
            400,
            "malformed_body",
        ),
        (
            "not base64",
            envelope(true, "ä"),
            400,
            "damaged_compression",
        ),
        (
            "base64 of the web",
            envelope(true, "_-_-"),
            400,
            "damaged_compression",
        ),
        (
            "broken lines",
            envelope(false, "AAAA\nAAAA"),
            400,
            "damaged_compression",
        ),
        (
            "neither gzip nor JSON",
            envelope(true, BASE64_STANDARD.encode("[1]")),
            400,
            "damaged_compression",
        ),
        (
            "gzip called plain",
            envelope(false, packed(&batch())),
            400,
            "malformed_body",
        ),
        ("nothing", envelope(false, ""), 400, "malformed_body"),
        (
            "MessagePack",
            envelope(false, BASE64_STANDARD.encode(messagepack(&batch()))),
            400,
            "malformed_body",
        ),
        ("an envelope", nested, 400, "malformed_body"),
        (
            "an object in an object",
            json!({"compressed": false, "data": {"compressed": false, "data": batch()}}),
            400,
            "malformed_body",
        ),
        (
            "an object that is called compressed",
            json!({"compressed": true, "format": "gzip-base64", "data": batch()}),
            400,
            "malformed_body",
        ),
        (
            "an object that is no batch",
            json!({"compressed": false, "data": {}}),
            422,
            "unsupported_version",
        ),
        (
            "a list",
            json!({"compressed": false, "data": [batch()]}),
            422,
            "unsupported_version",
        ),
        ("a bomb", envelope(true, bomb), 413, "body_too_large"),
        (
            "too long",
            envelope(false, plain(&big)),
            413,
            "body_too_large",
        ),
        (
            "no data",
            json!({"compressed": true, "format": "gzip-base64"}),
            422,
            "unsupported_version",
        ),
    ];
    for (name, body, status, code) in refused {
        let reply = server.post(&body).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (status, code),
            "{name}: {}",
            reply.text()
        );
    }
    // In MessagePack, bytes need no envelope.
    let body = messagepack(&envelope(true, packed(&batch())));
    let reply = server
        .post_with(&[("content-type", "application/msgpack")], body)
        .await;
    assert_eq!(reply.code(), "unsupported_version");
    server.stop().await;
}

#[tokio::test]
async fn bombs_of_every_coding_are_refused_and_take_no_memory() {
    let server = Server::start().await;
    let zeros = vec![0; 64 << 20];
    let spaces = vec![b' '; 64 << 20];
    // Noise of a megabyte, again and again: the window has to be filled to get there.
    let mut random = fastrand::Rng::with_seed(3);
    let noise: Vec<u8> = (0..1 << 20).map(|_| random.u8(..)).collect();
    let noise = noise.repeat(24);
    let mut bombs: Vec<(&str, Vec<u8>, u16)> = Vec::new();
    for (coding, pack) in CODINGS {
        bombs.push((coding, pack(&zeros), 413));
        bombs.push((coding, pack(&spaces), 413));
        bombs.push((coding, pack(&noise), 413));
        // Decoded once, it is no JSON.
        bombs.push((coding, pack(&pack(&zeros)), 400));
    }
    bombs.retain(|(_, body, _)| body.len() < 2 << 20);
    assert!(bombs.len() >= 16, "most fit into a body");
    server.post_with(&[], batch().to_string()).await;
    let before = server.peak_memory();
    for _ in 0..3 {
        let mut posts = tokio::task::JoinSet::new();
        for (coding, body, expected) in bombs.iter().chain(&bombs) {
            let post = server
                .request(reqwest::Method::POST, "/v1/batches")
                .header("content-encoding", *coding)
                .body(body.clone())
                .send();
            let (coding, expected) = (*coding, *expected);
            posts.spawn(async move { (coding, expected, Reply::of(post.await.unwrap()).await) });
        }
        while let Some(answer) = posts.join_next().await {
            let (coding, expected, reply) = answer.unwrap();
            assert_eq!(reply.status, expected, "{coding}: {}", reply.text());
        }
    }
    let grown = server.peak_memory() - before;
    println!("peak memory grown by {} KiB", grown >> 10);
    // Some thirty bodies at once; of each that is unpacked, one to a processor, a window and what has been
    // decoded; and what the allocator has not given back yet, the more the busier the machine is. Decoded
    // whole, thirty of them would take two gigabytes.
    assert!(grown < 256 << 20, "grown by {} MiB", grown >> 20);
    taken(&server.post(&batch()).await, "afterwards");
    server.stop().await;
}

#[tokio::test]
async fn a_plain_body_that_is_marked_as_packed_is_read_as_plain_and_counted() {
    let server = Server::start().await;
    let mut posted = 0.0;
    for coding in ["gzip", "x-gzip", "zstd", "br", "deflate"] {
        let json = batch().to_string().into_bytes();
        // The first of them again.
        let spaced = [&b"\xef\xbb\xbf \n"[..], &json].concat();
        let bodies = [
            ("application/json", json),
            ("text/plain", batch().to_string().into_bytes()),
            ("application/octet-stream", batch().to_string().into_bytes()),
            ("application/msgpack", messagepack(&batch())),
            ("application/octet-stream", messagepack(&batch())),
        ];
        for (content_type, body) in bodies {
            let headers = [("content-type", content_type), ("content-encoding", coding)];
            let what = format!("{content_type}, {coding}");
            taken(&server.post_with(&headers, body).await, &what);
            posted += 1.0;
        }
        let reply = server
            .post_with(&[("content-encoding", coding)], spaced)
            .await;
        assert_eq!(
            reply.counts().1,
            3,
            "{coding}: with a mark before it: {}",
            reply.text()
        );
        posted += 1.0;
        // What is neither is still damaged.
        for body in [&b""[..], b"[]", b"\x1f\x8b", b"\x80\x80", b"lorem"] {
            let reply = server
                .post_with(&[("content-encoding", coding)], body.to_vec())
                .await;
            assert_eq!(reply.code(), "damaged_compression", "{coding}: {body:?}");
        }
    }
    let packed = BASE64_STANDARD.encode(batch().to_string());
    taken(&server.post(&envelope(true, packed)).await, "an envelope");
    posted += 1.0;
    let page = server.metrics().await;
    assert_eq!(
        page.value("tillwatch_mislabelled_bodies_total", &[]),
        posted
    );
    server.stop().await;
}

#[tokio::test]
async fn a_byte_order_mark_is_passed_over_and_other_encodings_are_named() {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    let server = Server::start().await;
    let marked = || [MARK, batch().to_string().as_bytes()].concat();
    for headers in [
        &[][..],
        &[("content-type", "application/json")],
        &[("content-type", "text/plain;charset=UTF-8")],
    ] {
        taken(&server.post_with(headers, marked()).await, "marked");
        taken(
            &server.post_with(headers, gzip(&marked())).await,
            "marked, packed",
        );
    }
    taken(
        &server.post_with(&[], [MARK, &marked()].concat()).await,
        "marked twice",
    );
    let data = BASE64_STANDARD.encode(gzip(&marked()));
    taken(&server.post(&envelope(true, data)).await, "in an envelope");
    let outer = [
        MARK,
        envelope(false, BASE64_STANDARD.encode(marked()))
            .to_string()
            .as_bytes(),
    ]
    .concat();
    taken(&server.post_with(&[], outer).await, "around an envelope");

    let text = batch().to_string();
    let wide =
        |write: fn(u16) -> [u8; 2]| -> Vec<u8> { text.encode_utf16().flat_map(write).collect() };
    let bodies = [
        [&[0xff, 0xfe][..], &wide(u16::to_le_bytes)].concat(),
        [&[0xfe, 0xff][..], &wide(u16::to_be_bytes)].concat(),
        wide(u16::to_le_bytes),
        wide(u16::to_be_bytes),
    ];
    for body in bodies {
        let reply = server
            .post_with(&[("content-type", "application/json")], body)
            .await;
        assert_eq!(reply.code(), "malformed_body");
        assert!(reply.text().contains("UTF-16"), "{}", reply.text());
    }
    for body in [MARK.to_vec(), [b" ", MARK, b"{}"].concat()] {
        assert_eq!(server.post_with(&[], body).await.code(), "malformed_body");
    }
    server.stop().await;
}
