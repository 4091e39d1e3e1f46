//! Bodies that are not what they should be: JSON, compression, types, sizes.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::{Batch, Reply, Server, now_ms};

const JSON: (&str, &str) = ("content-type", "application/json");
const GZIP: (&str, &str) = ("content-encoding", "gzip");
const PATIENCE: Duration = Duration::from_secs(10);

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A good batch as text, with something put in after its first key.
fn text_with(inserted: &str) -> String {
    let text = Batch::new("bodies")
        .with("terminal_id", uuid::Uuid::new_v4().to_string())
        .filled(1)
        .0
        .to_string();
    text.replacen('{', &format!("{{{inserted}"), 1)
}

/// A good batch whose only sample is this text.
fn text_of_sample(sample: &str) -> String {
    let text = text_with("");
    let start = text.find("\"samples\":[").unwrap() + "\"samples\":[".len();
    let end = start + text[start..].find(']').unwrap();
    let now = now_ms().to_string();
    format!(
        "{}{}{}",
        &text[..start],
        sample.replace("NOW", &now),
        &text[end..]
    )
}

#[tokio::test]
async fn what_is_no_json_is_malformed_and_what_is_odd_json_spoils_only_itself() {
    let server = Server::start().await;
    let valid = text_with("");
    let deep = |opening: &str, closing: &str| {
        format!("{}{}", opening.repeat(100_000), closing.repeat(100_000))
    };
    let bad_utf8 = [
        valid.as_bytes()[..40].to_vec(),
        vec![0xff, 0xfe],
        valid.as_bytes()[40..].to_vec(),
    ]
    .concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("spaces", b"  \n ".to_vec()),
        ("a list", b"[]".to_vec()),
        ("a list of batches", format!("[{valid}]").into()),
        ("null", b"null".to_vec()),
        ("true", b"true".to_vec()),
        ("a number", b"5".to_vec()),
        ("a text", b"\"batch\"".to_vec()),
        ("two batches", format!("{valid}{valid}").into()),
        ("lines of batches", format!("{valid}\n{valid}\n").into()),
        ("something after it", format!("{valid}x").into()),
        (
            "a byte-order mark after it",
            [valid.as_bytes(), b"\xef\xbb\xbf"].concat(),
        ),
        (
            "UTF-16",
            valid.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ),
        ("not UTF-8", bad_utf8),
        ("a comment", text_with("/* mine */").into()),
        ("single quotes", valid.replace('"', "'").into()),
        (
            "a comma too many",
            text_of_sample("{\"m\":\"lcp_ms\",},").into(),
        ),
        (
            "NaN",
            text_of_sample(r#"{"m":"lcp_ms","t":NOW,"v":NaN}"#).into(),
        ),
        (
            "Infinity",
            text_of_sample(r#"{"m":"lcp_ms","t":NOW,"v":Infinity}"#).into(),
        ),
        (
            "-Infinity",
            text_of_sample(r#"{"m":"lcp_ms","t":NOW,"v":-Infinity}"#).into(),
        ),
        (
            "a number with a plus",
            text_of_sample(r#"{"m":"lcp_ms","t":NOW,"v":+1}"#).into(),
        ),
        (
            "a number with a leading zero",
            text_of_sample(r#"{"m":"lcp_ms","t":NOW,"v":01}"#).into(),
        ),
        (
            "a number that ends in a point",
            text_of_sample(r#"{"m":"lcp_ms","t":NOW,"v":1.}"#).into(),
        ),
        (
            "a control character in a text",
            text_of_sample("{\"m\":\"lcp\n_ms\"}").into(),
        ),
        ("lists without end", "[".repeat(100_000).into()),
        ("objects without end", "{\"a\":".repeat(100_000).into()),
        ("a deep list", deep("[", "]").into()),
        ("batches that are no list", br#"{"batches": 5}"#.to_vec()),
        ("batches that are an object", br#"{"batches": {}}"#.to_vec()),
        (
            "samples that are no list",
            text_with("")
                .replacen("\"samples\":[", "\"samples\":5,\"other\":[", 1)
                .into(),
        ),
        ("form data", b"v=1&store_id=a".to_vec()),
        ("XML", b"<batch/>".to_vec()),
        ("zeros", vec![0; 1_000]),
    ];
    for (name, body) in cases {
        let reply = server.post_with(&[JSON], body).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (400, "malformed_body"),
            "{name}: {}",
            reply.text()
        );
    }

    let nested = deep("[", "]");
    let objects = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    let invalid = Some("invalid_value");
    let cases: Vec<(&str, String, Option<&str>)> = vec![
        (
            "a float past the range",
            text_of_sample(r#"{"m":"lcp_ms","t":NOW,"v":1e999}"#),
            invalid,
        ),
        (
            "below it",
            text_of_sample(r#"{"m":"lcp_ms","t":NOW,"v":-1e999}"#),
            invalid,
        ),
        (
            "a time past it",
            text_of_sample(r#"{"m":"lcp_ms","t":1e999,"v":1}"#),
            Some("invalid_time"),
        ),
        (
            "a thousand digits",
            text_of_sample(&format!(
                r#"{{"m":"lcp_ms","t":NOW,"v":{}}}"#,
                "9".repeat(1_000)
            )),
            invalid,
        ),
        (
            "a thousand decimals",
            text_of_sample(&format!(
                r#"{{"m":"lcp_ms","t":NOW,"v":1.{}}}"#,
                "3".repeat(1_000)
            )),
            None,
        ),
        (
            "half a surrogate",
            text_of_sample(r#"{"m":"lcp_ms\ud800","t":NOW,"v":1}"#),
            Some("unknown_metric"),
        ),
        (
            "half a surrogate in a label",
            text_of_sample(r#"{"m":"cache_requests","t":NOW,"v":1,"label":"\udc00"}"#),
            Some("unknown_label"),
        ),
        (
            "half a surrogate as a key",
            text_of_sample(r#"{"m":"lcp_ms","t":NOW,"v":1,"\ud800":1}"#),
            None,
        ),
        (
            "half a surrogate in the batch",
            text_with(r#""note":"\ud83d","#),
            None,
        ),
        (
            "escapes",
            text_of_sample(r#"{"\u006d":"lcp\u005fms","t":NOW,"v":1}"#),
            None,
        ),
        (
            "a key twice",
            text_of_sample(r#"{"m":"nope","m":"lcp_ms","t":NOW,"v":-1,"v":1}"#),
            None,
        ),
        (
            "lists 100,000 deep beside",
            text_with(&format!("\"x\":{nested},")),
            None,
        ),
        (
            "objects 100,000 deep beside",
            text_with(&format!("\"x\":{objects},")),
            None,
        ),
        (
            "lists 100,000 deep as a value",
            text_of_sample(&format!(r#"{{"m":"lcp_ms","t":NOW,"v":{nested}}}"#)),
            invalid,
        ),
        (
            "objects 100,000 deep as a value",
            text_of_sample(&format!(r#"{{"m":"lcp_ms","t":NOW,"v":{objects}}}"#)),
            invalid,
        ),
        (
            "lists 100,000 deep as a sample",
            text_of_sample(&nested),
            Some("malformed_sample"),
        ),
        (
            "lists 100,000 deep as a metric",
            text_of_sample(&format!(r#"{{"m":{nested},"t":NOW,"v":1}}"#)),
            Some("unknown_metric"),
        ),
    ];
    for (name, body, reason) in cases {
        let reply = server.post_with(&[JSON], body).await;
        assert_eq!(reply.status, 202, "{name}: {}", reply.text());
        let found = reply.reasons();
        assert_eq!(
            found.first().map(|(_, _, reason)| reason.as_str()),
            reason,
            "{name}: {}",
            reply.text()
        );
        assert_eq!(
            reply.counts(),
            if reason.is_none() {
                (1, 0, 0)
            } else {
                (0, 0, 1)
            },
            "{name}"
        );
    }
    // An object is a batch without all that a batch needs, however deep it is.
    let reply = server.post_with(&[JSON], objects).await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (422, "unsupported_version")
    );
    // In one sample of a thousand, it costs that one.
    let beside = format!("{},", r#"{"m":"lcp_ms","t":NOW,"v":1}"#).repeat(999);
    let body = text_of_sample(&format!(r#"{beside}{{"m":"lcp_ms","t":NOW,"v":1e999}}"#));
    assert_eq!(server.post_with(&[JSON], body).await.counts(), (999, 0, 1));
    server.stop().await;
}

#[tokio::test]
async fn gzip_is_read_with_and_without_its_name() {
    let server = Server::start().await;
    let body = || text_with("").into_bytes();
    let halves = |bytes: Vec<u8>| [gzip(&bytes[..100]), gzip(&bytes[100..])].concat();
    let good: Vec<(&str, Vec<(&str, &str)>, Vec<u8>)> = vec![
        ("gzip", vec![JSON, GZIP], gzip(&body())),
        (
            "x-gzip",
            vec![JSON, ("content-encoding", "x-gzip")],
            gzip(&body()),
        ),
        (
            "GZIP",
            vec![JSON, ("content-encoding", "GZIP")],
            gzip(&body()),
        ),
        ("two members", vec![JSON, GZIP], halves(body())),
        ("not packed at all", vec![JSON, GZIP], body()),
        ("gzip without a header", vec![JSON], gzip(&body())),
        ("gzip without any header", vec![], gzip(&body())),
        (
            "gzip called identity",
            vec![JSON, ("content-encoding", "identity")],
            gzip(&body()),
        ),
        ("no type", vec![], body()),
        (
            "text",
            vec![("content-type", "text/plain;charset=UTF-8")],
            body(),
        ),
        (
            "a parameter",
            vec![("content-type", "application/json; charset=utf-8")],
            body(),
        ),
        (
            "capitals",
            vec![("content-type", "Application/JSON")],
            body(),
        ),
    ];
    for (name, headers, body) in good {
        let reply = server.post_with(&headers, body).await;
        assert_eq!(
            (reply.status, reply.text().contains("\"accepted\":1")),
            (202, true),
            "{name}: {}",
            reply.text()
        );
    }

    let whole = gzip(&body());
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let damaged = [
        ("wrong length", flipped),
        ("garbage after it", [whole.clone(), vec![1, 2, 3]].concat()),
        ("nothing", Vec::new()),
    ];
    let cuts = (1..whole.len()).map(|length| ("cut short", whole[..length].to_vec()));
    for (name, body) in damaged.into_iter().chain(cuts) {
        let length = body.len();
        let reply = server.post_with(&[JSON, GZIP], body).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (400, "damaged_compression"),
            "{name}, {length} bytes"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_too_much_is_answered_413_and_the_limit_itself_is_not() {
    let server = Server::start().await;
    let batches = |number: usize| {
        let list: Vec<Value> = (0..number)
            .map(|index| {
                Batch::new("sizes")
                    .with("terminal_id", format!("t{index}"))
                    .filled(1)
                    .0
            })
            .collect();
        json!({ "batches": list })
    };
    let reply = server.post(&batches(500)).await;
    assert_eq!((reply.status, reply.counts()), (202, (500, 0, 0)));
    let reply = server.post(&batches(501)).await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (413, "too_many_batches")
    );
    let reply = server.post(&json!({"batches": vec![5; 501]})).await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (413, "too_many_batches"),
        "also when they are no batches"
    );

    let samples = |number: usize| {
        let sample = format!(r#"{{"m":"lcp","t":{},"v":1}},"#, now_ms());
        text_of_sample(sample.repeat(number).trim_end_matches(','))
    };
    let reply = server.post_with(&[JSON], samples(50_000)).await;
    assert_eq!((reply.status, reply.counts()), (202, (50_000, 0, 0)));
    let reply = server.post_with(&[JSON], samples(50_001)).await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (413, "too_many_samples")
    );
    let odd = text_of_sample(&format!("1e999{}", ",{}".repeat(50_000)));
    let reply = server.post_with(&[JSON], odd).await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (413, "too_many_samples"),
        "also when one cannot be read"
    );

    let padded = |length: usize| {
        let text = text_with("\"pad\":\"\",");
        let pad = "x".repeat(length - text.len());
        text.replacen("\"pad\":\"\"", &format!("\"pad\":\"{pad}\""), 1)
    };
    let limit = 2 << 20;
    assert_eq!(server.post_with(&[JSON], padded(limit)).await.status, 202);
    assert_eq!(
        server
            .post_with(&[JSON, GZIP], gzip(padded(limit).as_bytes()))
            .await
            .status,
        202
    );
    let reply = server
        .post_with(&[JSON, GZIP], gzip(padded(limit + 1).as_bytes()))
        .await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (413, "body_too_large")
    );

    // Said in advance: answered without waiting for the body.
    let mut raw = server.raw().await;
    raw.send(format!(
        "POST /v1/batches HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n",
        limit + 1
    ))
    .await;
    let (status, body) = raw.answer(PATIENCE).await.unwrap();
    assert_eq!(
        (status, body.contains("\"body_too_large\"")),
        (413, true),
        "{body}"
    );
    raw.send(
        "POST /v1/batches HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    )
    .await;
    // Not said: found while it comes.
    let mut raw = server.raw().await;
    raw.send("POST /v1/batches HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let body = padded(limit + 1);
    for part in body.as_bytes().chunks(100_000) {
        raw.send([format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat())
            .await;
    }
    raw.send("0\r\n\r\n").await;
    let (status, body) = raw.answer(PATIENCE).await.unwrap();
    assert_eq!(
        (status, body.contains("\"body_too_large\"")),
        (413, true),
        "{body}"
    );
    // Chunked within the limit is as good as any.
    let mut raw = server.raw().await;
    raw.send("POST /v1/batches HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    for part in text_with("").as_bytes().chunks(7) {
        raw.send([format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat())
            .await;
    }
    raw.send("0\r\n\r\n").await;
    assert_eq!(raw.answer(PATIENCE).await.unwrap().0, 202);
    server.stop().await;
}

/// A client that writes its whole body before it reads must still get the answer: with a reset it
/// would take the refusal for a broken network and send the same again for ever.
#[tokio::test]
async fn a_body_over_the_limit_sent_to_its_end_is_answered_and_not_reset() {
    let server = Server::start().await;
    for size in [3 << 20, 8 << 20] {
        let mut raw = server.raw().await;
        let head =
            format!("POST /v1/batches HTTP/1.1\r\nHost: t\r\nContent-Length: {size}\r\n\r\n");
        raw.send(head).await;
        let body = vec![b' '; size];
        for part in body.chunks(256 << 10) {
            raw.send(part).await;
        }
        let answer = raw.answer(PATIENCE).await;
        assert_eq!(answer.map(|(status, _)| status), Some(413), "{size} bytes");
    }
    server.stop().await;
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_in_the_same_form() {
    let server = Server::start().await;
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let response = server
            .request(method.clone(), "/v1/batches")
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 405, "{method}");
        assert_eq!(response.headers()["allow"], "POST", "{method}");
        assert_eq!(Reply::of(response).await.code(), "method_not_allowed");
    }
    for path in [
        "/",
        "/v1",
        "/v1/batches/",
        "/v1/batches/1",
        "/v2/batches",
        "/metrics",
        "/metrics/fleet",
        "/api/v1/percentiles",
        "/api/v1/stores",
        "/api/v1/metrics",
        "/..%2f",
        "/v1/batches%00",
    ] {
        let response = server
            .request(reqwest::Method::GET, path)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 404, "{path}");
        assert_eq!(Reply::of(response).await.code(), "not_found", "{path}");
    }
    for path in ["/v1/batches", "/nope"] {
        assert_eq!(
            server.get(path, &[]).await.status,
            404,
            "{path} on the admin listener"
        );
    }
    let reply = server.post_with(&[JSON], text_with("")).await;
    assert_eq!(reply.status, 202);
    server.stop().await;
}
