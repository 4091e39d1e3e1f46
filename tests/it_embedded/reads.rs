//! Answers: formats, parameters, packing, exceptions.

use std::io::Read;

use clickhouse::{Compression, Row};
use serde::Deserialize;

use crate::harness::{Engine, Reply, http};

#[tokio::test]
async fn ping_and_unknown_paths() {
    let engine = Engine::start();
    for (path, status, body) in [("ping", 200, "Ok.\n"), ("replicas_status", 200, "Ok.\n")] {
        let reply = Reply::of(http().get(engine.url() + path).send().await.unwrap()).await;
        assert_eq!((reply.status, reply.text().as_str()), (status, body));
    }
    let root = Reply::of(http().get(engine.url()).send().await.unwrap()).await;
    assert_eq!((root.status, root.text().as_str()), (200, "Ok.\n"));
    let other = Reply::of(http().get(engine.url() + "play").send().await.unwrap()).await;
    assert_eq!(other.status, 404);
}

#[tokio::test]
async fn every_format_is_one_document() {
    let engine = Engine::start();
    let three = "SELECT number AS n FROM numbers(3)";
    assert_eq!(engine.sql(three).await, "0\n1\n2\n");
    assert_eq!(
        engine.sql(&format!("{three} FORMAT CSVWithNames")).await,
        "\"n\"\n0\n1\n2\n"
    );
    // Several blocks: one header, one document.
    let many = "SELECT number AS n FROM numbers(300000) FORMAT JSON SETTINGS max_block_size = 5000";
    let json: serde_json::Value = serde_json::from_str(&engine.sql(many).await).unwrap();
    assert_eq!(json["rows"], 300_000);
    assert_eq!(json["data"].as_array().unwrap().len(), 300_000);
    // An empty answer still has its header.
    let reply = engine
        .post(
            &[("default_format", "RowBinaryWithNames")],
            "SELECT 1 AS a WHERE 0",
        )
        .await;
    assert_eq!(reply.body, b"\x01\x01a");
    assert_eq!(reply.header("x-clickhouse-format"), "RowBinaryWithNames");
    let totals =
        "SELECT number % 2 AS k, count() FROM numbers(10) GROUP BY k WITH TOTALS FORMAT JSON";
    let json: serde_json::Value = serde_json::from_str(&engine.sql(totals).await).unwrap();
    assert_eq!(
        json["totals"]["count()"],
        "10".to_owned().parse::<u64>().unwrap()
    );
    for statement in [
        "SHOW DATABASES",
        "DESCRIBE system.one",
        "EXPLAIN SELECT 1",
        "EXISTS system.one",
    ] {
        assert!(!engine.sql(statement).await.is_empty(), "{statement}");
    }
}

#[tokio::test]
async fn the_url_the_body_and_headers_say_the_same() {
    let engine = Engine::start();
    let in_url = engine
        .post(
            &[
                ("query", "SELECT 1 AS a"),
                ("default_format", "JSONEachRow"),
            ],
            "",
        )
        .await;
    assert_eq!(in_url.text(), "{\"a\":1}\n");
    let half = engine.post(&[("query", "SELECT 1 +")], "41").await;
    assert_eq!(half.text(), "42\n");
    let request = http()
        .get(engine.url())
        .query(&[("query", "SELECT 1 AS a")]);
    let reply = Reply::of(
        request
            .header("X-ClickHouse-Format", "CSVWithNames")
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(reply.text(), "\"a\"\n1\n");
    let named = engine
        .post(
            &[("database", "system"), ("query_id", "my id")],
            "SELECT currentDatabase()",
        )
        .await;
    assert_eq!(named.text(), "system\n");
    assert_eq!(named.header("x-clickhouse-query-id"), "my id");
    assert_eq!(
        named.header("x-clickhouse-server-display-name"),
        "tillwatch"
    );
    assert!(!named.header("x-clickhouse-timezone").is_empty());
    let summary: serde_json::Value =
        serde_json::from_str(named.header("x-clickhouse-summary")).unwrap();
    assert_eq!(summary["result_rows"], "1");
}

#[tokio::test]
async fn parameters_in_the_url_and_in_a_form() {
    let engine = Engine::start();
    let reply = engine
        .post(
            &[("param_n", "7"), ("param_s", "it's")],
            "SELECT {n:UInt32} + 1, {s:String} FORMAT CSV",
        )
        .await;
    assert_eq!(reply.text(), "8,\"it's\"\n");
    let form = reqwest::multipart::Form::new()
        .text("query", "SELECT {a:Array(UInt8)} FORMAT CSV")
        .text("param_a", "[1,2]");
    let request = http().post(engine.url()).multipart(form);
    assert_eq!(
        Reply::of(request.send().await.unwrap()).await.text(),
        "\"[1,2]\"\n"
    );
    let sum: u64 = engine
        .client()
        .query("SELECT {a:UInt64} + {b:UInt64}")
        .param("a", 40_u64)
        .param("b", 2_u64)
        .fetch_one()
        .await
        .unwrap();
    assert_eq!(sum, 42);
}

#[derive(Debug, Row, Deserialize)]
struct Numbered {
    n: u64,
    text: String,
}

#[tokio::test]
async fn the_client_reads_packed_and_plain() {
    let engine = Engine::start();
    for compression in [Compression::None, Compression::Lz4] {
        let client = engine.client().with_compression(compression);
        let mut cursor = client
            .query("SELECT number AS n, toString(number) AS text FROM numbers(500000)")
            .fetch::<Numbered>()
            .unwrap();
        let mut expected = 0;
        while let Some(row) = cursor.next().await.unwrap() {
            assert_eq!((row.n, row.text), (expected, expected.to_string()));
            expected += 1;
        }
        assert_eq!(expected, 500_000);
    }
}

#[tokio::test]
async fn answers_are_packed_as_asked() {
    let engine = Engine::start();
    let statement = "SELECT number FROM numbers(100000)";
    let plain = engine.sql(statement).await;
    let ask = |encoding: &'static str| {
        let request = http()
            .post(engine.url())
            .header("Accept-Encoding", encoding)
            .body(statement);
        async move { Reply::of(request.send().await.unwrap()).await }
    };
    let gzip = ask("gzip").await;
    assert_eq!(gzip.header("content-encoding"), "gzip");
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(gzip.body.as_slice())
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, plain);
    let zstd = ask("zstd").await;
    assert_eq!(zstd.header("content-encoding"), "zstd");
    assert_eq!(
        zstd::decode_all(zstd.body.as_slice()).unwrap(),
        plain.as_bytes()
    );
    let off = engine
        .post(&[("enable_http_compression", "0")], statement)
        .await;
    assert_eq!(off.header("content-encoding"), "");
    // ClickHouse's blocks: checksum, method, two lengths, LZ4 data.
    let blocks = engine.post(&[("compress", "1")], statement).await;
    let (mut rest, mut unpacked) = (blocks.body.as_slice(), Vec::new());
    while !rest.is_empty() {
        assert_eq!(rest[16], 0x82);
        let packed = u32::from_le_bytes(rest[17..21].try_into().unwrap()) as usize;
        let length = u32::from_le_bytes(rest[21..25].try_into().unwrap()) as usize;
        unpacked.extend(lz4_flex::block::decompress(&rest[25..16 + packed], length).unwrap());
        rest = &rest[16 + packed..];
    }
    assert_eq!(unpacked, plain.as_bytes());
}

#[tokio::test]
async fn exceptions_have_a_code_and_a_status() {
    let engine = Engine::start();
    for (statement, status, code) in [
        ("SELECT * FROM nowhere", 404, "60"),
        ("SELECT 1 +", 400, "62"),
        ("SELECT 1; SELECT 2", 400, "62"),
        ("SELECT 1 INTO OUTFILE '/tmp/x'", 501, "48"),
        ("SELECT throwIf(1)", 500, "395"),
        ("SELECT 1 FORMAT Nothing", 404, "73"),
    ] {
        let reply = engine.post(&[], statement).await;
        assert_eq!(reply.status, status, "{statement}: {}", reply.text());
        assert_eq!(
            reply.header("x-clickhouse-exception-code"),
            code,
            "{statement}"
        );
        assert!(
            reply
                .text()
                .starts_with(&format!("Code: {code}. DB::Exception: ")),
            "{}",
            reply.text()
        );
    }
    let unknown = engine.post(&[("no_such_setting", "1")], "SELECT 1").await;
    assert_eq!(unknown.header("x-clickhouse-exception-code"), "115");
    let invalid = engine.post(&[("max_threads", "many")], "SELECT 1").await;
    assert!(invalid.text().contains("many"), "{}", invalid.text());
}

#[tokio::test]
async fn an_exception_in_the_middle_is_noticed() {
    let engine = Engine::start();
    let statement = "SELECT number, throwIf(number = 3000000) FROM numbers(5000000)";
    let reply = engine.post(&[], statement).await;
    assert_eq!(reply.status, 200);
    let tag = reply.header("x-clickhouse-exception-tag").to_owned();
    assert!(
        reply
            .text()
            .ends_with(&format!(" {tag}\r\n__exception__\r\n"))
    );
    for compression in [Compression::None, Compression::Lz4] {
        let client = engine.client().with_compression(compression);
        let mut cursor = client.query(statement).fetch::<(u64, u8)>().unwrap();
        let error = loop {
            match cursor.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the exception was not noticed"),
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains("395"), "{error}");
    }
    let waited = engine.post(&[("wait_end_of_query", "1")], statement).await;
    assert_eq!(waited.status, 500);
}

#[tokio::test]
async fn get_does_not_change_anything() {
    let engine = Engine::start();
    let request = http()
        .get(engine.url())
        .query(&[("query", "CREATE TABLE t (a UInt8) ENGINE = Memory")]);
    let reply = Reply::of(request.send().await.unwrap()).await;
    assert_eq!(
        reply.header("x-clickhouse-exception-code"),
        "164",
        "{}",
        reply.text()
    );
    let reply = engine
        .post(
            &[("readonly", "1")],
            "CREATE TABLE t (a UInt8) ENGINE = Memory",
        )
        .await;
    assert_eq!(
        reply.header("x-clickhouse-exception-code"),
        "164",
        "{}",
        reply.text()
    );
}
