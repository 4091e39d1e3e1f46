//! Statements reach tables and nothing else of the machine, however they are written.

use std::path::Path;

use tillwatch::pipeline::ENGINE_NAMES;

use crate::harness::{Engine, http};

const SECRET: &str = "what-nobody-may-read";

/// Statements that would read a file with the secret, or write beside it, or reach an address.
#[expect(
    clippy::too_many_lines,
    reason = "a table of cases, read from top to bottom"
)]
fn attacks(folder: &Path, port: u16) -> Vec<String> {
    let file = folder.join("secret.csv").display().to_string();
    let out = folder.join("out").display().to_string();
    let url = format!("http://127.0.0.1:{port}/");
    let mut attacks = Vec::new();
    let mut add = |text: String| attacks.push(text);
    // The function that asks for no right, in every place where an expression stands.
    add(format!("SELECT file('{file}')"));
    add(format!("SELECT `file`('{file}')"));
    add(format!("SELECT \"f\\x69le\"('{file}')"));
    add(format!("INSERT INTO t VALUES (file('{file}'))"));
    add(format!(
        "SELECT * FROM t SETTINGS additional_table_filters = {{'t': 'file(\\'{file}\\') != \\'\\''}}"
    ));
    add(format!(
        "CREATE TABLE d (a String DEFAULT file('{file}')) ENGINE = Memory; INSERT INTO d VALUES ()"
    ));
    add("SELECT file('/proc/self/environ')".to_owned());
    add("SELECT file('/proc/thread-self/environ')".to_owned());
    add("SELECT file('/etc/passwd')".to_owned());
    // Tables of files, addresses, programs and other servers.
    for source in [
        format!("file('{file}', 'LineAsString')"),
        format!("file/**/('{file}')"),
        format!("`{file}`"),
        format!("fileCluster('default', '{file}', 'LineAsString')"),
        format!("url('{url}', 'LineAsString')"),
        format!("urlCluster('default', '{url}', 'LineAsString')"),
        format!("s3('{url}bucket/key', 'LineAsString')"),
        format!("hdfs('hdfs://127.0.0.1:{port}/a', 'LineAsString', 'a String')"),
        format!("remote('127.0.0.1:{port}', system.one)"),
        format!("mysql('127.0.0.1:{port}', 'a', 'b', 'c', 'd')"),
        format!("postgresql('127.0.0.1:{port}', 'a', 'b', 'c', 'd')"),
        format!("mongodb('127.0.0.1:{port}', 'a', 'b', 'c', 'd', 'a String')"),
        format!("redis('127.0.0.1:{port}', 'a', 'a String')"),
        format!("sqlite('{file}', 'a')"),
        format!("icebergLocal('{}', 'CSV', 'a String')", folder.display()),
        format!("deltaLakeLocal('{}')", folder.display()),
    ] {
        add(format!("SELECT * FROM {source}"));
        add(format!("CREATE VIEW outside AS SELECT * FROM {source}"));
    }
    add("SELECT * FROM executable('id', 'TSV', 'a String')".to_owned());
    add("SELECT * FROM executable('../../../../bin/id', 'TSV', 'a String')".to_owned());
    for engine in [
        format!("File(LineAsString, '{file}')"),
        format!("URL('{url}', LineAsString)"),
        format!("MySQL('127.0.0.1:{port}', 'a', 'b', 'c', 'd')"),
        format!("FileLog('{file}', 'LineAsString')"),
        format!("EmbeddedRocksDB(0, '{out}') PRIMARY KEY a"),
        "Distributed('default', 'default', 't')".to_owned(),
    ] {
        add(format!("CREATE TABLE outside (a String) ENGINE = {engine}"));
        add(format!(
            "CREATE TEMPORARY TABLE outside (a String) ENGINE = {engine}"
        ));
    }
    for engine in [
        format!("Filesystem('{}')", folder.display()),
        format!("SQLite('{file}')"),
        format!("MySQL('127.0.0.1:{port}', 'a', 'b', 'c')"),
        format!("S3('{url}a')"),
    ] {
        add(format!("CREATE DATABASE outside ENGINE = {engine}"));
    }
    for source in [
        format!("FILE(PATH '{file}' FORMAT 'CSV')"),
        format!("HTTP(URL '{url}' FORMAT 'CSV')"),
        "EXECUTABLE(COMMAND 'id' FORMAT 'CSV')".to_owned(),
    ] {
        add(format!(
            "CREATE DICTIONARY outside (a String, b String) PRIMARY KEY a SOURCE({source}) \
             LAYOUT(COMPLEX_KEY_HASHED()) LIFETIME(0)"
        ));
    }
    for disk in [
        format!("disk(type = 'local', path = '{}/')", folder.display()),
        format!("disk(type = 'web', endpoint = '{url}')"),
        format!(
            "disk(type = object_storage, object_storage_type = local, metadata_type = local, path = '{}/')",
            folder.display()
        ),
    ] {
        add(format!(
            "CREATE TABLE outside (a String) ENGINE = MergeTree ORDER BY a SETTINGS disk = {disk}"
        ));
    }
    // Clauses that the engine's client half carries out.
    add(format!("SELECT 1 INTO OUTFILE '{out}'"));
    add(format!(
        "KILL QUERY WHERE 0 = 1 INTO OUTFILE '{out}' FORMAT TSV"
    ));
    add(format!(
        "KILL QUERY WHERE 0 = 1 INTO\u{a0}OUTFILE '{out}' FORMAT TSV"
    ));
    add(format!("SELECT 1 // $a$\n INTO OUTFILE '{out}' // $a$"));
    add(format!(
        "INSERT INTO t FROM INFILE '{file}' FORMAT LineAsString"
    ));
    add(format!(
        "INSERT INTO t FROM\u{a0}INFILE '{file}' FORMAT LineAsString"
    ));
    // Settings that name files, and orders to the server.
    add(format!("SET output_format_schema = '{out}'"));
    add(format!("SELECT 1 AS a SETTINGS format_schema = '{file}:A'"));
    for order in [
        format!(
            "ATTACH TABLE outside FROM '{}/' (a String) ENGINE = MergeTree ORDER BY a",
            folder.display()
        ),
        "BACKUP TABLE t TO Disk('default', 'b')".to_owned(),
        "ALTER TABLE t FREEZE".to_owned(),
        "SYSTEM SHUTDOWN".to_owned(),
        "SYSTEM RELOAD CONFIG".to_owned(),
        "SYSTEM RELOAD USERS".to_owned(),
        "CREATE USER other".to_owned(),
        "GRANT ALL ON *.* TO default".to_owned(),
        "CREATE NAMED COLLECTION outside AS a = 1".to_owned(),
        "SET allow_introspection_functions = 1".to_owned(),
    ] {
        add(order);
    }
    attacks
}

#[tokio::test]
async fn no_statement_reads_or_writes_outside_the_tables() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret.csv"), SECRET).unwrap();
    // Nobody may be called: a connection would wait in its queue.
    let callee = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    callee.set_nonblocking(true).unwrap();
    let port = callee.local_addr().unwrap().port();
    let engine = Engine::start();
    engine
        .sql("CREATE TABLE t (a String) ENGINE = MergeTree ORDER BY a")
        .await;
    engine.sql("INSERT INTO t VALUES ('own')").await;
    for attack in attacks(folder.path(), port) {
        let reply = engine.post(&[], attack.clone()).await;
        assert!(reply.status >= 400, "{attack}: {}", reply.text());
        assert!(!reply.text().contains(SECRET), "{attack}: {}", reply.text());
    }
    // A table that runs a program can be made, and nothing is run.
    engine
        .sql("CREATE TABLE runs (a String) ENGINE = Executable('id', 'TSV')")
        .await;
    let reply = engine.post(&[], "SELECT * FROM runs").await;
    assert!(reply.status >= 400, "{}", reply.text());
    // Settings come as parameters of the request, which do not pass the engine's own check.
    let out = folder.path().join("out").display().to_string();
    let parameters = [
        ("output_format_schema", out.as_str()),
        ("format_protobuf_use_autogenerated_schema", "1"),
    ];
    let reply = engine
        .post(&parameters, "SELECT 1 AS a FORMAT Protobuf")
        .await;
    assert_eq!(
        reply.header("x-clickhouse-exception-code"),
        "452",
        "{}",
        reply.text()
    );
    assert!(callee.accept().is_err(), "a statement has connected");
    let mut names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "{:?}", names.pop());

    // What is ours goes on working.
    for statement in [
        "CREATE DATABASE IF NOT EXISTS own",
        "CREATE VIEW v AS SELECT * FROM t",
        "CREATE TEMPORARY TABLE passing (a UInt8)",
        "CREATE FUNCTION plus_two AS (x) -> x + 2",
        "ALTER TABLE t ADD COLUMN b UInt8",
        "ALTER TABLE t DELETE WHERE a = 'none'",
        "OPTIMIZE TABLE t FINAL",
        "DROP DATABASE own",
    ] {
        engine.sql(statement).await;
    }
    assert_eq!(engine.sql("SELECT a, plus_two(1) FROM v").await, "own\t3\n");
    assert!(engine.sql("CHECK TABLE t").await.contains("\t1\t"));
    // A word in a text is no clause, if it comes as a parameter.
    let parameters = [("param_word", "INTO OUTFILE")];
    let reply = engine.post(&parameters, "SELECT {word:String}").await;
    assert_eq!(reply.text(), "INTO OUTFILE\n");
}

#[tokio::test]
async fn who_asks_by_a_name_is_no_client_of_a_loopback_address() {
    let engine = Engine::start_with(&[], Some("secret"));
    let ask = async |host: &str| {
        let request = http()
            .post(engine.url())
            .header("host", host)
            .basic_auth("default", Some("secret"))
            .body("SELECT 1");
        request.send().await.unwrap().status().as_u16()
    };
    for (host, expected) in [
        (engine.address.to_string().as_str(), 200),
        ("localhost:8123", 200),
        ("evil.example:8123", 403),
        ("127.0.0.1.evil.example", 403),
    ] {
        assert_eq!(ask(host).await, expected, "{host}");
    }
}

/// The engine would take it, were it not given another one by name.
#[tokio::test]
async fn a_config_in_the_working_folder_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("config.xml"),
        "<clickhouse><this is not XML",
    )
    .unwrap();
    let mut child = crate::harness::command(&folder.path().join("data"))
        .current_dir(folder.path())
        .env(ENGINE_NAMES.password_variable, "")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.contains("ready"), "{line}");
}
