//! A store's series end, also over a kill and a restart; what it posts later begins anew.

use serde_json::json;
use tillwatch::aggregate::Restored;
use tillwatch::persist::State;
use tillwatch::world::World;
use tillwatch_model::journal_act_v1::{Act, encode};

use crate::support::records::{START_MS, aggregator, one_sample, settled};
use crate::support::{Batch, Exposition, Server, data, run, said};

fn visit(store_id: &str) -> Batch {
    let now = crate::support::now_ms();
    Batch::new(store_id)
        .push(json!({"m": "cache_requests", "t": now, "v": 4, "label": "hit"}))
        .push(json!({"m": "pending_transactions", "t": now, "v": 900}))
        .value_now("sync_duration_ms", 800.0)
}

fn hits(page: &Exposition, store_id: &str) -> Option<f64> {
    page.get(
        "pos_cache_requests_total",
        &[("store_id", store_id), ("result", "hit")],
    )
}

async fn retire(server: &Server, store_id: &str) -> (bool, String) {
    let admin = format!("http://{}", server.admin);
    let arguments = ["retire", store_id, "--admin-url", &admin];
    said(&run("store", arguments.map(str::to_owned).to_vec()).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retired_store_is_gone_from_every_page_and_begins_anew_when_it_posts_again() {
    // Nothing is sealed unless it is asked for: the act lies in the journal alone at first.
    let folder = tempfile::tempdir().unwrap();
    let settings = [("TILLWATCH_SEAL_INTERVAL", "1h")];
    let server = Server::start_on(folder.path(), &settings).await;
    let (gone, stays) = (visit("gone"), visit("stays"));
    for batch in [&gone, &stays] {
        assert_eq!(server.taken(&batch.0).await, (3, 0, 0));
    }
    let page = server.fleet().await;
    assert_eq!(
        (hits(&page, "gone"), hits(&page, "stays")),
        (Some(4.0), Some(4.0))
    );
    // The store's series are in the state file now.
    let server = server.restart().await;

    let (is_good, output) = retire(&server, "gone").await;
    assert!(
        is_good && output.contains("retired, with 1 terminals"),
        "{output}"
    );
    let check = async |server: &Server| {
        let page = server.fleet().await;
        assert!(
            page.of_store("gone").is_empty(),
            "{:?}",
            page.of_store("gone")
        );
        assert_eq!(hits(&page, "stays"), Some(4.0));
        let stores = server.get("/api/v1/stores", &[]).await.text();
        assert!(
            !stores.contains("gone") && stores.contains("stays"),
            "{stores}"
        );
        // What was measured stays.
        let answer = server
            .percentiles(&[("metric", "sync_duration_ms"), ("group_by", "store_id")])
            .await;
        assert!(answer.to_string().contains("\"gone\""), "{answer}");
    };
    check(&server).await;
    let server = server.kill_and_restart().await;
    check(&server).await;
    let server = server.restart().await;
    check(&server).await;
    let state = rusqlite::Connection::open(data(&server).join("state.sqlite")).unwrap();
    let series: Vec<String> = state
        .prepare("SELECT name FROM series WHERE kind = 'store'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(series, ["stays"]);

    // Sent again it is still known, and no reason to come back.
    assert_eq!(server.taken(&gone.0).await, (0, 3, 0));
    check(&server).await;
    let (is_good, output) = retire(&server, "gone").await;
    assert!(
        !is_good && output.contains("no store of this name"),
        "{output}"
    );
    let (is_good, output) = retire(&server, "no/name").await;
    assert!(
        !is_good && output.contains("is not a store's name"),
        "{output}"
    );
    // A page of another site can post without asking first, but no JSON.
    let _is_second = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/api/v1/stores/stays/retire", server.admin);
    assert_eq!(http.post(url).send().await.unwrap().status(), 415);

    let fresh = gone.next().push(
        json!({"m": "cache_requests", "t": crate::support::now_ms(), "v": 3, "label": "hit"}),
    );
    assert_eq!(server.taken(&fresh.0).await, (1, 0, 0));
    assert_eq!(hits(&server.fleet().await, "gone"), Some(3.0));
    let server = server.kill_and_restart().await;
    assert_eq!(hits(&server.fleet().await, "gone"), Some(3.0));
    let server = server.restart().await;
    let page = server.fleet().await;
    assert_eq!(hits(&page, "gone"), Some(3.0));
    assert_eq!(hits(&page, "stays"), Some(4.0));
    server.stop().await;
}

/// What a state file holds for the series, wherever the journal was cut by seals and restarts.
fn series_after(cuts: &[usize], records: &[Vec<u8>]) -> Vec<(String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path(), &World::of_machine()).unwrap();
    let mut live = aggregator(Restored::default());
    for (at, record) in records.iter().enumerate() {
        live.apply(at as u64 + 1, record).unwrap();
        if cuts.contains(&at) || at + 1 == records.len() {
            let sealing = state.encode(live.take(), state.last_epoch().unwrap() + 1);
            state.seal(&sealing.unwrap(), START_MS).unwrap();
            live = aggregator(state.restore().unwrap());
        }
    }
    let connection = rusqlite::Connection::open(folder.path().join("state.sqlite")).unwrap();
    let mut statement = connection
        .prepare("SELECT name, state FROM series WHERE kind = 'store' ORDER BY name")
        .unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

#[test]
fn the_same_journal_gives_the_same_series_wherever_it_is_sealed_around_an_act() {
    let act = |store_id, at_ms| encode(&Act::RetireStore { store_id, at_ms });
    let records = [
        one_sample("a", (1, START_MS), 10),
        one_sample("b", (2, START_MS), 20),
        act("a", START_MS + 1),
        one_sample("b", (3, START_MS), 30),
        one_sample("a", (4, START_MS), 40),
        act("b", START_MS + 2),
        act("nobody", START_MS + 3),
        one_sample("a", (5, START_MS), 50),
    ];
    let at_once = series_after(&[], &records);
    let names: Vec<&str> = at_once.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a"], "b was retired last");
    for first in 0..records.len() {
        for second in first..records.len() {
            assert_eq!(
                series_after(&[first, second], &records),
                at_once,
                "sealed after {first} and {second}"
            );
        }
    }
}

/// The journal of a later release, read by this one.
#[test]
fn an_act_of_an_unknown_kind_is_counted_and_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path(), &World::of_machine()).unwrap();
    let mut live = aggregator(Restored::default());
    let unknown = Act::Unknown {
        kind: 200,
        at_ms: START_MS + 1,
        body: b"whatever it says",
    };
    live.apply(1, &one_sample("a", (1, START_MS), 10)).unwrap();
    live.apply(2, &encode(&unknown)).unwrap();
    live.apply(3, &one_sample("a", (2, START_MS), 10)).unwrap();
    assert_eq!(live.journal_ms(), START_MS);
    let sealing = state.encode(live.take(), 1).unwrap();
    state.seal(&sealing, START_MS).unwrap();
    let totals = aggregator(state.restore().unwrap()).totals();
    assert_eq!(
        (totals.unknown_acts, totals.unreadable, totals.accepted),
        (1, 0, 2)
    );
}

/// After 30 silent days in journal time a store is retired by itself.
#[test]
fn a_store_silent_for_thirty_days_is_retired() {
    const DAY_MS: i64 = 86_400_000;
    let records = |pause_days: i64| {
        let later = START_MS + pause_days * DAY_MS;
        [
            one_sample("a", (1, START_MS), 10),
            one_sample("b", (2, later), 20),
            one_sample("b", (3, later + 1), 20),
            settled(later + 2),
        ]
    };
    let names = |pause_days| -> Vec<String> {
        let series = series_after(&[0], &records(pause_days));
        series.into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names(29), ["a", "b"]);
    assert_eq!(names(31), ["b"]);
}
