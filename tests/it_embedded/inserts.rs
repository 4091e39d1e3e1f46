//! Inserts: formats, packing, damage, and what a broken one leaves.

use std::io::Write;

use clickhouse::{Compression, Row};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{Engine, Reply, http, wait_for_answer};

#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
struct Sale {
    id: u64,
    name: String,
    amounts: Vec<u32>,
}

const TABLE: &str = "CREATE TABLE sale (id UInt64, name String, amounts Array(UInt32)) ENGINE = MergeTree ORDER BY id";

#[tokio::test]
async fn the_client_inserts_and_reads_back() {
    let engine = Engine::start();
    for compression in [Compression::None, Compression::Lz4] {
        engine.sql("DROP TABLE IF EXISTS sale").await;
        engine.sql(TABLE).await;
        let client = engine.client().with_compression(compression);
        let rows: Vec<Sale> = (0..20_000)
            .map(|id| Sale {
                id,
                name: format!("sale {id}"),
                amounts: vec![1, 2, 3],
            })
            .collect();
        let mut insert = client.insert::<Sale>("sale").await.unwrap();
        for row in &rows {
            insert.write(row).await.unwrap();
        }
        insert.end().await.unwrap();
        let found: Vec<Sale> = client
            .query("SELECT ?fields FROM sale ORDER BY id")
            .fetch_all()
            .await
            .unwrap();
        assert_eq!(found, rows);
        let mut formatted = client.insert_formatted_with("INSERT INTO sale (id, name) FORMAT CSV");
        formatted.send("100000,a\n100001,b\n".into()).await.unwrap();
        formatted.end().await.unwrap();
        let count: u64 = client
            .query("SELECT count() FROM sale WHERE id >= 100000")
            .fetch_one()
            .await
            .unwrap();
        assert_eq!(count, 2);
    }
}

#[tokio::test]
async fn data_follows_the_statement_wherever_it_is() {
    let engine = Engine::start();
    engine
        .sql("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
        .await;
    engine.sql("INSERT INTO t VALUES (1), (2)").await;
    engine.sql("INSERT INTO t FORMAT CSV\n3\n4\n").await;
    let reply = engine
        .post(&[("query", "INSERT INTO t FORMAT TSV")], "5\n6\n")
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(
        reply
            .header("x-clickhouse-summary")
            .contains("\"written_rows\":\"2\"")
    );
    engine
        .post(&[("query", "INSERT INTO t VALUES")], "(7)")
        .await;
    engine
        .post(
            &[
                ("query", "INSERT INTO t SELECT {n:UInt32}"),
                ("param_n", "8"),
            ],
            "",
        )
        .await;
    assert_eq!(
        engine
            .sql("SELECT groupArray(a) FROM (SELECT a FROM t ORDER BY a)")
            .await,
        "[1,2,3,4,5,6,7,8]\n"
    );
    let bad = engine
        .post(&[("query", "INSERT INTO t FORMAT CSV")], "9\nnine\n")
        .await;
    assert_eq!(bad.status, 400, "{}", bad.text());
    let nowhere = engine
        .post(
            &[("query", "INSERT INTO nowhere FORMAT CSV")],
            "9\n".repeat(4_000_000),
        )
        .await;
    assert_eq!(
        nowhere.header("x-clickhouse-exception-code"),
        "60",
        "{}",
        nowhere.text()
    );
}

#[tokio::test]
async fn a_large_insert_streams() {
    let engine = Engine::start();
    engine
        .sql("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
        .await;
    let body = vec![7_u8; 8 * 25_000_000];
    let reply = engine
        .post(&[("query", "INSERT INTO t FORMAT RowBinary")], body)
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(engine.sql("SELECT count() FROM t").await, "25000000\n");
}

#[tokio::test]
async fn damaged_blocks_are_refused() {
    let engine = Engine::start();
    engine
        .sql("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
        .await;
    let parameters = [("query", "INSERT INTO t FORMAT CSV"), ("decompress", "1")];
    for (body, code) in [
        (vec![0_u8; 100], "12"),
        (b"1\n2\n".repeat(1000), "12"),
        (damaged_block(), "40"),
        (damaged_block()[..30].to_vec(), "271"),
    ] {
        let reply = engine.post(&parameters, body).await;
        assert_eq!(reply.status, 500, "{}", reply.text());
        assert_eq!(
            reply.header("x-clickhouse-exception-code"),
            code,
            "{}",
            reply.text()
        );
    }
    assert_eq!(engine.sql("SELECT count() FROM t").await, "0\n");
}

/// A well-formed block whose checksum is wrong.
fn damaged_block() -> Vec<u8> {
    let packed = lz4_flex::block::compress(&b"1\n".repeat(100));
    let mut block = vec![0_u8; 16];
    block.push(0x82);
    block.extend(u32::try_from(9 + packed.len()).unwrap().to_le_bytes());
    block.extend(200_u32.to_le_bytes());
    block.extend(packed);
    block
}

#[tokio::test]
async fn an_insert_whose_packing_was_cut_off_is_refused_and_leaves_nothing() {
    let engine = Engine::start();
    engine
        .sql("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
        .await;
    // Nothing else can tell that rows are missing: the cut is the body's own, and HTTP carries all of it.
    let rows: Vec<u8> = (0..100_000_u64).flat_map(u64::to_le_bytes).collect();
    let zstd = zstd::bulk::compress(&rows, 1).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&rows).unwrap();
    let gzip = gzip.finish().unwrap();
    let insert = |coding: &'static str, body: Vec<u8>| {
        let request = http()
            .post(engine.url())
            .query(&[("query", "INSERT INTO t FORMAT RowBinary")])
            .header("Content-Encoding", coding)
            .body(body);
        async move { Reply::of(request.send().await.unwrap()).await }
    };
    for (coding, packed) in [("zstd", &zstd), ("gzip", &gzip)] {
        for length in [0, packed.len() / 2, packed.len() - 1] {
            let cut = insert(coding, packed[..length].to_vec()).await;
            let code = cut.header("x-clickhouse-exception-code").to_owned();
            assert_eq!(
                (cut.status, code.as_str()),
                (500, "271"),
                "{coding} cut at {length}: {}",
                cut.text()
            );
        }
    }
    assert_eq!(engine.sql("SELECT count() FROM t").await, "0\n");
    for (coding, packed) in [("zstd", zstd), ("gzip", gzip)] {
        let whole = insert(coding, packed).await;
        assert_eq!(whole.status, 200, "{}", whole.text());
    }
    assert_eq!(engine.sql("SELECT count() FROM t").await, "200000\n");
}

#[tokio::test]
async fn a_broken_off_insert_is_cancelled() {
    let engine = Engine::start();
    engine
        .sql("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
        .await;
    let mut stream = TcpStream::connect(engine.address).await.unwrap();
    let head = "POST /?query=INSERT%20INTO%20t%20FORMAT%20CSV HTTP/1.1\r\nHost: localhost\r\n\
                Content-Length: 1000000\r\n\r\n1\n2\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let running = "SELECT count() FROM system.processes WHERE query LIKE 'INSERT%'";
    wait_for_answer(&engine, running, "1").await;
    drop(stream);
    wait_for_answer(&engine, running, "0").await;
    assert_eq!(engine.sql("SELECT count() FROM t").await, "0\n");
}
