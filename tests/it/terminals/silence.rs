//! Terminals that should report and do not: found by their own habit, and nobody else is called so.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Batch, Server, data, now_ms, run, said};

const HOUR_MS: i64 = 3_600_000;
const WEEK_MS: i64 = 168 * HOUR_MS;
const PATIENCE: Duration = Duration::from_secs(60);

/// A batch with which a terminal catches up on this time of the week before.
fn caught_up(store_id: &str, terminal_id: &str) -> Batch {
    let batch = Batch::new(store_id).with("terminal_id", terminal_id);
    (-2..=2).fold(batch, |batch, hours| {
        batch.value("lcp_ms", now_ms() - WEEK_MS + hours * HOUR_MS, 900.0)
    })
}

/// What is said of silent terminals, by name.
async fn silent(server: &Server, store_id: &str) -> Vec<(String, String, Value)> {
    let reply = server
        .get("/api/v1/terminals/silent", &[("store_id", store_id)])
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let answer = reply.json();
    let lines = answer["terminals"].as_array().unwrap().iter();
    let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    lines
        .map(|line| (text(line, "terminal_id"), text(line, "state"), line.clone()))
        .collect()
}

/// Lets `alive` report until `is_so`.
async fn reporting_until(
    server: &Server,
    alive: &mut Batch,
    what: &str,
    is_so: impl AsyncFn(&Server) -> bool,
) {
    let begun = Instant::now();
    while !is_so(server).await {
        assert!(
            begun.elapsed() < PATIENCE,
            "not so: {what}\n{}",
            server.log()
        );
        report(server, alive).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    report(server, alive).await;
}

async fn report(server: &Server, terminal: &mut Batch) {
    *terminal = terminal.next().value_now("lcp_ms", 900.0);
    assert_eq!(server.taken(&terminal.0).await, (1, 0, 0));
}

async fn counted(server: &Server, series: &str, store_id: &str) -> f64 {
    server
        .fleet()
        .await
        .value(series, &[("store_id", store_id)])
}

async fn state_of(server: &Server, terminal_id: &str) -> Value {
    let parameters = [("store_id", "shop"), ("terminal_id", terminal_id)];
    let terminals = server.get("/api/v1/terminals", &parameters).await.json();
    terminals["terminals"][0]["state"].clone()
}

/// A terminal is taken away: nobody misses it any more, after a kill neither.
async fn retired(server: Server, terminal_id: &str) -> Server {
    let admin = format!("http://{}", server.admin);
    let retire = async |terminal_id: &str| {
        let arguments = [
            "retire",
            "shop",
            "--terminal",
            terminal_id,
            "--admin-url",
            &admin,
        ];
        said(&run("store", arguments.map(str::to_owned).to_vec()).await)
    };
    let (is_good, output) = retire(terminal_id).await;
    assert!(is_good && output.contains("retired"), "{output}");
    let is_listed = async |server: &Server| {
        let found = silent(server, "shop").await;
        found.iter().any(|(id, _, _)| id == terminal_id)
    };
    assert!(!is_listed(&server).await);
    assert_eq!(counted(&server, "pos_terminals_silent", "shop").await, 0.0);
    for (terminal_id, reason) in [
        (terminal_id, "no terminal of this name"),
        ("never", "no terminal of this name"),
        ("no/name", "is not a terminal's name"),
    ] {
        let (is_good, output) = retire(terminal_id).await;
        assert!(!is_good && output.contains(reason), "{output}");
    }
    let server = server.kill_and_restart().await;
    assert_eq!(state_of(&server, terminal_id).await, "gone");
    let server = server.restart().await;
    assert_eq!(state_of(&server, terminal_id).await, "gone");
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_terminal_that_stops_is_found_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("TILLWATCH_TERMINAL_SILENT_AFTER", "10s"),
        ("TILLWATCH_SEAL_INTERVAL", "1s"),
    ];
    let server = Server::start_on(folder.path(), &settings).await;
    let mut alive = caught_up("shop", "alive");
    let now = now_ms();
    let dead =
        caught_up("shop", "dead").push(json!({"m": "pending_transactions", "t": now, "v": 3}));
    let closed = caught_up("shop", "closed").with("events", json!([{"k": "shutdown", "t": now}]));
    // One of which nothing is known of the week before, and the only one of its store.
    let new = Batch::new("shop")
        .with("terminal_id", "new")
        .value_now("lcp_ms", 900.0);
    let alone = caught_up("alone", "alone");
    for batch in [&alive, &dead, &closed, &new, &alone] {
        assert_eq!(server.post(&batch.0).await.status, 202);
    }
    assert_eq!(silent(&server, "shop").await, []);
    let is_found =
        async |server: &Server| counted(server, "pos_terminals_silent", "shop").await > 0.0;
    reporting_until(&server, &mut alive, "the dead terminal is found", is_found).await;

    let check = async |server: &Server| {
        let found = silent(server, "shop").await;
        let of: Vec<(&str, &str)> = found
            .iter()
            .map(|(id, state, _)| (&**id, &**state))
            .collect();
        assert_eq!(of, [("dead", "silent"), ("closed", "offline_as_announced")]);
        let (line, closed) = (&found[0].2, &found[1].2);
        assert_eq!(line["pending_transactions"], 3);
        assert_eq!(line["is_store_silent"], false);
        assert_eq!(line["release"], "2.4.1");
        assert!(line["missed_ms"].as_i64().unwrap() > 10_000, "{line}");
        assert_eq!(closed["last_said"]["kind"], "shutdown");
        assert_eq!(counted(server, "pos_terminals_silent", "shop").await, 1.0);
        // It has not been silent for a day.
        assert_eq!(
            counted(server, "pos_terminals_silent_with_sales", "shop").await,
            0.0
        );
        let terminals = server
            .get("/api/v1/terminals", &[("store_id", "shop"), ("hours", "0")])
            .await
            .json();
        let state = |id: &str| {
            let lines = terminals["terminals"].as_array().unwrap();
            lines.iter().find(|line| line["terminal_id"] == id).unwrap()["state"].clone()
        };
        assert_eq!(
            [state("alive"), state("dead"), state("new")],
            ["reporting", "silent", "reporting"]
        );
    };
    check(&server).await;
    report(&server, &mut alive).await;
    // A store of which nobody reports is silent itself.
    let found = silent(&server, "alone").await;
    assert_eq!(
        (&*found[0].1, &found[0].2["is_store_silent"]),
        ("silent", &json!(true))
    );
    assert_eq!(counted(&server, "pos_terminals_silent", "alone").await, 0.0);
    let admin = format!("http://{}", server.admin);
    let arguments = ["--store", "shop", "--admin-url", &admin].map(str::to_owned);
    let (is_good, output) = said(&run("silent", arguments.to_vec()).await);
    assert!(
        is_good && output.contains("shop dead") && !output.contains("alive"),
        "{output}"
    );

    // Habit and last words are in the state file; what the collector missed counts for nobody.
    let server = server.kill_and_restart().await;
    assert_eq!(counted(&server, "pos_terminals_silent", "shop").await, 0.0);
    reporting_until(&server, &mut alive, "it is found again", is_found).await;
    check(&server).await;
    let state = rusqlite::Connection::open(data(&server).join("state.sqlite")).unwrap();
    let saved: String = state
        .query_row(
            "SELECT state FROM terminal WHERE terminal_id = 'closed'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert!(saved.contains("\"said\":[\"shutdown\","), "{saved}");

    let server = retired(server, "dead").await;
    // It is back.
    assert_eq!(
        server
            .taken(&dead.next().value_now("lcp_ms", 900.0).0)
            .await,
        (1, 0, 0)
    );
    assert_eq!(counted(&server, "pos_terminals_silent", "shop").await, 0.0);
    assert_eq!(state_of(&server, "dead").await, "reporting");
    let unknown = server
        .get("/api/v1/terminals/silent", &[("store_id", "none")])
        .await;
    assert_eq!(
        (unknown.status, unknown.code()),
        (404, "unknown_store".to_owned())
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inventory_says_which_terminals_exist() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = folder.path().join("tills.csv");
    std::fs::write(
        &inventory,
        "store_id,terminal_id\nshop,alive\nshop,ghost\nelsewhere,till-1\n",
    )
    .unwrap();
    let settings = [
        ("TILLWATCH_TERMINAL_SILENT_AFTER", "10s"),
        ("TILLWATCH_TERMINAL_INVENTORY", inventory.to_str().unwrap()),
    ];
    let server = Server::start_on(folder.path(), &settings).await;
    let mut alive = caught_up("shop", "alive");
    // Not in the list: somebody tries something out.
    let stray = caught_up("shop", "stray").value_now("lcp_ms", 900.0);
    for batch in [&alive, &stray] {
        assert_eq!(server.post(&batch.0).await.status, 202);
    }
    let is_found =
        async |server: &Server| counted(server, "pos_terminals_silent", "shop").await > 0.0;
    reporting_until(
        &server,
        &mut alive,
        "the terminal that is missing is found",
        is_found,
    )
    .await;
    // By now the stray has been silent for as long.
    let found = silent(&server, "shop").await;
    let of: Vec<(&str, &Value)> = found
        .iter()
        .map(|(id, _, line)| (&**id, &line["since"]))
        .collect();
    assert_eq!(of, [("ghost", &Value::Null)]);
    assert_eq!(counted(&server, "pos_terminals_silent", "shop").await, 1.0);
    server.stop().await;
}
