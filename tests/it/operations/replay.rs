//! A journal is looked at in a database of its own, and is not touched.

use std::path::Path;
use std::time::SystemTime;

use crate::support::{Engine, Server, Terminal, data, run, said};

/// Every file of a folder with its length, its last change and its bytes' checksum.
fn state_of(folder: &Path) -> Vec<(String, u64, SystemTime, u32)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let facts = entry.metadata().unwrap();
            let sum = if facts.is_file() {
                crc32c::crc32c(&std::fs::read(entry.path()).unwrap())
            } else {
                0
            };
            let name = entry.file_name().into_string().unwrap();
            (name, facts.len(), facts.modified().unwrap(), sum)
        })
        .collect();
    files.sort();
    files
}

async fn replay(arguments: &[&str]) -> (bool, String) {
    let mut all = vec!["replay".to_owned()];
    all.extend(arguments.iter().map(|text| (*text).to_owned()));
    said(&run("journal", all).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_is_replayed_into_a_database_of_its_own_and_stays_as_it_was() {
    let engine = Engine::start();
    let url = engine.url();
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("TILLWATCH_SEAL_INTERVAL", "1h"),
        ("TILLWATCH_CLICKHOUSE_URL", url.as_str()),
    ];
    let server = Server::start_on(folder.path(), &settings).await;
    let mut terminal = Terminal::new("store-a");
    terminal.post_fresh(&server, 20, 3).await;
    let data = data(&server);
    let path = data.to_str().unwrap();
    let (is_good, said) = replay(&["--data-dir", path, "--clickhouse-url", &url]).await;
    let pid = format!("in use by process {}", server.pid());
    assert!(!is_good && said.contains(&pid), "{said}");
    // The server's tables are there before it is killed.
    let tables =
        "SELECT count() FROM system.tables WHERE database = 'tillwatch' AND name = 'v_session'";
    while engine.sql(tables).await.trim() == "0" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    server.kill();

    let before = state_of(&data.join("journal"));
    for (into, word) in [
        ("tillwatch", "live database"),
        ("a;b", "no name"),
        ("", "no name"),
        ("system", "exists already"),
    ] {
        let (is_good, said) =
            replay(&["--data-dir", path, "--clickhouse-url", &url, "--into", into]).await;
        assert!(!is_good && said.contains(word), "{into}: {said}");
    }
    let (is_good, said) = replay(&[
        "--data-dir",
        path,
        "--clickhouse-url",
        &url,
        "--into",
        "looked_at",
    ])
    .await;
    assert!(is_good, "{said}");
    for word in [
        "lcp_ms",
        "20 read, 0 unreadable",
        "60 samples in database looked_at",
        "DROP DATABASE looked_at",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let cells = crate::support::CELLS.replace("tillwatch.", "looked_at.");
    crate::support::assert_exactly(std::slice::from_ref(&terminal), &engine.sql(&cells).await);
    let live = engine.sql("SELECT count() FROM tillwatch.rollup_1m").await;
    assert_eq!(live.trim(), "0", "the live database was not touched");

    // A copied folder, and an engine of its own.
    let copied = folder.path().join("copied");
    crate::support::copy(&data.join("journal"), &copied);
    let scratch = folder.path().join("scratch");
    let arguments = [
        "--journal",
        copied.to_str().unwrap(),
        "--scratch",
        scratch.to_str().unwrap(),
    ];
    let (is_good, said) = replay(&arguments).await;
    assert!(
        is_good && said.contains("60 samples in database tillwatch_replay_"),
        "{said}"
    );
    assert!(said.contains("rm -r"), "{said}");
    assert_eq!(
        state_of(&data.join("journal")),
        before,
        "the source was changed"
    );

    // The collector goes on as if nothing had been.
    let server = Server::start_on(folder.path(), &settings).await;
    server.wait_applied().await;
    let page = server.metrics().await;
    assert_eq!(
        page.value("tillwatch_ledger_samples", &[("place", "accepted")]),
        60.0
    );
    server.stop().await;
}
