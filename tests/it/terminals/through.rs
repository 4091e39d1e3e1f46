//! From the terminal to every place where it is read.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::fleet::{DAY_MS, Fleet, HOURS, Model};
use crate::support::{
    Batch, Engine, Server, audit, audit_is_clean, data, many, now_ms, run_with_input, sql,
    wait_drained, wait_sealed,
};

/// The pseudonyms of the model's sessions, by session id and day, as an operator makes them.
async fn pseudonyms(data: &Path, model: &Model) -> BTreeMap<(String, i64), String> {
    let mut by_day: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for (session_id, day, ..) in model.sessions.keys() {
        let ids = by_day.entry(*day).or_default();
        if !ids.contains(session_id) {
            ids.push(session_id.clone());
        }
    }
    let mut found = BTreeMap::new();
    for (day, session_ids) in by_day {
        let date = jiff::Timestamp::from_millisecond(day * DAY_MS).unwrap();
        let arguments = [
            "--day".to_owned(),
            date.strftime("%Y-%m-%d").to_string(),
            "--data-dir".to_owned(),
            data.display().to_string(),
        ];
        let output = run_with_input("pseudonym", &arguments, session_ids.join("\n")).await;
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}");
        assert_eq!(said.lines().count(), session_ids.len());
        for (session_id, pseudonym) in session_ids.into_iter().zip(said.lines()) {
            found.insert((session_id, day), pseudonym.to_owned());
        }
    }
    found
}

/// Files below a folder that hold one of the texts, raw.
pub(super) fn files_with(folder: &Path, texts: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap_or_default();
            let has = |text: &String| {
                bytes
                    .windows(text.len())
                    .any(|window| window == text.as_bytes())
            };
            if texts.iter().any(has) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_terminals_and_sessions_measured_is_found_once_open_sealed_and_at_rest() {
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "1h")]).await;
    let mut fleet = Fleet::new(fastrand::u64(..));
    fleet.post(&server, 150).await;
    let data = data(&server);
    // Open.
    fleet.model.assert_terminals(&server).await;
    let named = pseudonyms(&data, &fleet.model).await;
    fleet.model.assert_sessions(&server, &named).await;

    // Sealed on the way down, at rest after the start, and more of it open.
    let server = server.restart().await;
    fleet.post(&server, 60).await;
    fleet.model.assert_terminals(&server).await;
    let named = pseudonyms(&data, &fleet.model).await;
    fleet.model.assert_sessions(&server, &named).await;

    // Killed: what is open comes from the journal.
    let server = server.kill_and_restart().await;
    fleet.model.assert_terminals(&server).await;
    fleet.model.assert_sessions(&server, &named).await;
    let server = server.restart().await;
    // Answered by ClickHouse alone now, and once it is up.
    fleet.model.assert_terminals(&server).await;
    server.wait_confirmed().await;
    fleet.model.assert_hours(&sql(&data, HOURS).await);
    assert_view_of_sessions(&data, &fleet.model, &named).await;
    audit_is_clean(&data, &[]).await;

    // Nothing a session was called is anywhere, also not in the log.
    let ids = Fleet::session_ids();
    assert_eq!(files_with(server.folder(), &ids), [""; 0]);

    // A row of the tables beside rollup_1m is missed as any other.
    sql(
        &data,
        "ALTER TABLE session DELETE WHERE samples > 0 SETTINGS mutations_sync = 2",
    )
    .await;
    let (is_clean, said) = audit(&data, &[]).await;
    assert!(
        !is_clean && said.contains("session: epoch ") && said.contains("THE SUMS DIFFER"),
        "{said}"
    );
    server.stop().await;
}

/// `v_session` gives the averages of the model.
async fn assert_view_of_sessions(
    data: &Path,
    model: &Model,
    named: &BTreeMap<(String, i64), String>,
) {
    let view = "SELECT pseudonym, store_id, toUInt16(day), lcp_avg_ms, offline_login_avg_ms, syncs, sync_avg_ms, \
                db_size_max_mb, error_ratio, sample_count FROM v_session";
    let found = sql(data, view).await;
    let mut lines: BTreeMap<(String, String, i64), Vec<Option<f64>>> = BTreeMap::new();
    for line in found.lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        let key = (cells[0].into(), cells[1].into(), cells[2].parse().unwrap());
        let values = cells[3..].iter().map(|cell| cell.parse().ok());
        assert!(lines.insert(key, values.collect()).is_none(), "{line}");
    }
    for ((session_id, key_day, store_id, day), sums) in &model.sessions {
        let pseudonym = named[&(session_id.clone(), *key_day)].clone();
        let found = lines.remove(&(pseudonym, store_id.clone(), *day)).unwrap();
        let ms = |values: &tillwatch_model::session::Values| values.mean().map(|mean| mean / 1e3);
        let expected = [
            ms(&sums.lcp),
            ms(&sums.offline_login),
            Some(sums.sync.count as f64),
            ms(&sums.sync),
            Some(sums.db_size_max as f64 / 1e6),
            Some(sums.errors as f64 / sums.samples as f64),
            Some(sums.samples as f64),
        ];
        for (found, expected) in found.iter().zip(expected) {
            let is_near = match (found, expected) {
                (Some(found), Some(expected)) => (found - expected).abs() <= expected * 1e-9,
                (found, expected) => found.is_none() && expected.is_none(),
            };
            assert!(
                is_near,
                "{session_id} {store_id} {day}: {found:?} is not {expected:?}"
            );
        }
    }
    assert!(lines.is_empty(), "not posted: {lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_seal_and_confirmation_each_row_is_there_once() {
    let engine = Engine::start();
    let url = engine.url();
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("TILLWATCH_SEAL_INTERVAL", "100ms"),
        ("TILLWATCH_CLICKHOUSE_URL", url.as_str()),
    ];
    let mut fleet = Fleet::new(fastrand::u64(..));
    for _ in 0..6 {
        let server = Server::start_on(folder.path(), &settings).await;
        fleet.post(&server, 25).await;
        if fastrand::bool() {
            wait_sealed(&server).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(fastrand::u64(0..120))).await;
        server.kill();
    }
    let server = Server::start_on(folder.path(), &settings).await;
    fleet.model.assert_terminals(&server).await;
    wait_drained(&server).await;
    fleet.model.assert_hours(&engine.sql(HOURS).await);
    fleet.model.assert_terminals(&server).await;
    let named = pseudonyms(&data(&server), &fleet.model).await;
    fleet.model.assert_sessions(&server, &named).await;
    audit_is_clean(&data(&server), &["--clickhouse-url", &url]).await;
    server.stop().await;
}

#[tokio::test]
async fn without_consent_a_session_leaves_nothing() {
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "1h")]).await;
    let named = |consent: Value, store: &str| {
        Batch::new(store)
            .with("session_id", "cashier-0815-berta")
            .with("consent", consent)
            .value_now("sync_duration_ms", 7.0)
    };
    // The key of the day is there, by a session with consent.
    let batches = [
        named(json!(false), "store-no"),
        named(json!(true), "store-yes"),
    ];
    let (accepted, _, rejected) = server.taken(&many(&batches)).await;
    assert_eq!((accepted, rejected), (1, 1));
    let data = data(&server);
    let today = now_ms() / DAY_MS;
    let mut model = Model::default();
    let key = (
        "cashier-0815-berta".to_owned(),
        today,
        "store-yes".to_owned(),
        today,
    );
    model
        .sessions
        .insert(key, tillwatch_model::SessionSums::default());
    let named = pseudonyms(&data, &model).await;
    let server = server.restart().await;
    let pseudonym = named.values().next().unwrap();
    let path = format!("/api/v1/sessions/{pseudonym}");
    let days = server.get(&path, &[]).await.json()["days"].clone();
    assert_eq!(days.as_array().unwrap().len(), 1, "{days}");
    assert_eq!(days[0]["store_id"], json!("store-yes"));
    let rows = "SELECT count() FROM v_rollup_terminal_1h WHERE store_id = 'store-no'";
    assert_eq!(sql(&data, rows).await.trim(), "0");
    assert_eq!(
        files_with(server.folder(), &["cashier-0815".to_owned()]),
        [""; 0]
    );
    server.stop().await;
}

#[tokio::test]
async fn a_stores_terminals_come_worst_first_with_clock_queue_release_and_levels() {
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "1h")]).await;
    let till = |name: &str| Batch::new("store-1").with("terminal_id", name);
    // Fine.
    let fine = till("till-a").value_now("sync_duration_ms", 100.0);
    server.taken(&fine.0).await;
    // Another store, the same name. It has the new release as well: one terminal's word gives it no name.
    let other = Batch::new("store-2").with("terminal_id", "till-a");
    let other = other.with("release", "2.5.0");
    server
        .taken(&other.value_now("sync_duration_ms", 60_000.0).0)
        .await;
    // Over the first threshold, its clock 90 s behind, two batches missing.
    let slow = till("till-b").seq(5).value_now("memory_used_mb", 60.0);
    server.taken(&slow.0).await;
    let sent_at = now_ms() - 90_000;
    let slow = slow
        .seq(8)
        .with("samples", json!([]))
        .with("release", "2.5.0")
        .with("sent_at_ms", sent_at)
        .value("sync_duration_ms", sent_at, 2_000.0)
        .value("memory_used_mb", sent_at, 81.5);
    server.taken(&slow.0).await;
    // Over the second threshold once.
    let bad = till("till-c").value_now("network_latency_ms", 501.0);
    server.taken(&bad.0).await;
    // A probe says nothing of how people fare.
    let probe = till("till-d")
        .with("source", "synthetic")
        .value_now("network_latency_ms", 9_000.0);
    server.taken(&probe.0).await;

    let check = async |server: &Server| {
        let answer = server
            .get("/api/v1/terminals", &[("store_id", "store-1")])
            .await
            .json();
        let terminals = answer["terminals"].as_array().unwrap();
        let order: Vec<&str> = terminals
            .iter()
            .map(|line| line["terminal_id"].as_str().unwrap())
            .collect();
        assert_eq!(order[..2], ["till-c", "till-b"], "{answer}");
        assert_eq!(answer["terminals_total"], json!(4));
        let slow = &terminals[1];
        assert_eq!(slow["release"], json!("2.5.0"));
        assert_eq!(slow["missing_batches"], json!(2));
        assert_eq!(slow["is_reporting"], json!(true));
        let skew = slow["clock_skew_ms"].as_i64().unwrap();
        assert!((90_000..120_000).contains(&skew), "{skew}");
        let level = &slow["levels"]["memory_used_mb"];
        assert_eq!(level["value"], json!(81.5));
        let first = &slow["metrics"][0];
        let [metric, low, high] = ["metric", "over_low", "over_high"].map(|key| first[key].clone());
        // One sync over 1.5 s, one memory over 80 MB: by name.
        assert_eq!(
            (metric, low, high),
            (json!("memory_used_mb"), json!(1), json!(0))
        );
        let max = &slow["metrics"][1]["max"];
        assert_eq!((max, &first["count"]), (&json!(2000.0), &json!(2)));
        let probe = terminals
            .iter()
            .find(|line| line["terminal_id"] == "till-d");
        assert_eq!(probe.unwrap()["metrics"], json!([]));
    };
    check(&server).await;
    // Everything is there after a start, also the clock.
    let server = server.restart().await;
    check(&server).await;

    let get = async |parameters: &[(&str, &str)]| server.get("/api/v1/terminals", parameters).await;
    let one = [("store_id", "store-1"), ("terminal_id", "till-c")];
    assert_eq!(get(&one).await.json()["terminals_total"], json!(1));
    let few = get(&[("store_id", "store-1"), ("limit", "1")]).await.json();
    assert_eq!(few["terminals"].as_array().unwrap().len(), 1);
    let none = get(&[("store_id", "store-1"), ("hours", "0")]).await.json();
    assert_eq!(none["terminals"][0]["metrics"], json!([]));
    for (parameters, status, code) in [
        (&[][..], 400, "bad_parameter"),
        (&[("store_id", "a b")], 400, "bad_parameter"),
        (
            &[("store_id", "store-1"), ("limit", "5000")],
            400,
            "bad_parameter",
        ),
        (&[("store_id", "store-9")], 404, "unknown_store"),
    ] {
        let reply = get(parameters).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code));
    }
    for (pseudonym, status, code) in [
        ("cashier-4711", 422, "not_a_pseudonym"),
        ("%ff", 422, "not_a_pseudonym"),
        (&"0".repeat(32), 404, "unknown_session"),
    ] {
        let reply = server
            .get(&format!("/api/v1/sessions/{pseudonym}"), &[])
            .await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code));
    }
    server.stop().await;
}
