//! The ledger of losses: every number that is missing, dropped or lost is in it, agrees with the series, and is there
//! once over kills and restarts.

use std::sync::Arc;

use serde_json::{Value, json};
use tillwatch::aggregate::{Aggregator, Restored};
use tillwatch_model::time::{DAY_MS, MINUTE_MS};
use tillwatch_model::{Catalogue, LossRow, LossState};

use crate::support::records::{
    START_MS, aggregator, random_records, settings, settled, sync_record,
};
use crate::support::{Batch, Server, audit_is_clean, data, now_ms, run, said, sql};

async fn ledger(server: &Server, parameters: &[(&str, &str)]) -> Value {
    let reply = server.get("/api/v1/losses", parameters).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// State, numbers, batches, samples and reason of each line.
fn lines(answer: &Value) -> Vec<(String, Option<u64>, Option<u64>, u64, u64, String)> {
    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let lines = answer["losses"].as_array().unwrap().iter();
    lines
        .map(|line| {
            let number = |key: &str| line[key].as_u64();
            (
                text(line, "state"),
                number("from_seq"),
                number("to_seq"),
                number("batches").unwrap(),
                number("samples").unwrap(),
                text(line, "reason"),
            )
        })
        .collect()
}

fn totals(answer: &Value) -> [u64; 5] {
    ["numbered", "received", "open", "lost", "explained"]
        .map(|key| answer["totals"][key].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_and_what_was_dropped_is_named_and_closes_when_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("TILLWATCH_SEAL_INTERVAL", "1h")];
    let server = Server::start_on(folder.path(), &settings).await;
    let first = Batch::new("shop")
        .value_now("lcp_ms", 900.0)
        .value_now("lcp_ms", 901.0);
    let at = |seq: u64| {
        first
            .next()
            .seq(seq)
            .value_now("lcp_ms", 900.0)
            .value_now("lcp_ms", 901.0)
    };
    assert_eq!(server.taken(&first.0).await, (2, 0, 0));
    assert_eq!(server.taken(&at(6).0).await, (2, 0, 0));
    let answer = ledger(&server, &[("store_id", "shop")]).await;
    let open = |from, to, batches, samples| {
        (
            "open".to_owned(),
            Some(from),
            Some(to),
            batches,
            samples,
            String::new(),
        )
    };
    assert_eq!(lines(&answer), [open(1, 5, 5, 10)]);
    assert_eq!(totals(&answer), [7, 2, 5, 0, 0]);
    assert!(
        answer["statement"]
            .as_str()
            .unwrap()
            .starts_with("Of 7 batches numbered by terminals, 2 were")
    );

    // The terminal says what it dropped: two batches of this queue, and some that had no number yet.
    let now = now_ms();
    let queue = first.0["queue"].clone();
    let drops = json!([
        {"queue": queue, "from": 3, "to": 4, "samples": 21, "reason": "quota", "t": now},
        {"samples": 7, "reason": "age", "t": now},
    ]);
    let said_so = at(7).with("drops", drops);
    assert_eq!(server.taken(&said_so.0).await, (4, 0, 0));
    let explained = [
        ("explained".to_owned(), None, None, 0, 7, "age".to_owned()),
        (
            "explained".to_owned(),
            Some(3),
            Some(4),
            2,
            21,
            "quota".to_owned(),
        ),
    ];
    let check =
        async |server: &Server,
               still_open: &[(String, Option<u64>, Option<u64>, u64, u64, String)]| {
            let answer = ledger(server, &[("store_id", "shop"), ("state", "open")]).await;
            let mut found = lines(&answer);
            for line in &mut found {
                // About: it follows the batches that came.
                assert!(line.4.abs_diff(2 * line.3) <= line.3, "{line:?}");
                line.4 = 0;
            }
            assert_eq!(found, still_open);
            let answer = ledger(server, &[("state", "explained")]).await;
            let mut found = lines(&answer);
            found.sort();
            assert_eq!(found, explained);
            let day = &answer["days"][0];
            assert_eq!(
                (&day["explained_batches"], &day["explained_samples"]),
                (&json!(2), &json!(28))
            );
        };
    check(&server, &[open(1, 2, 2, 0), open(5, 5, 1, 0)]).await;
    let server = server.kill_and_restart().await;
    check(&server, &[open(1, 2, 2, 0), open(5, 5, 1, 0)]).await;
    // Sealed, confirmed, and read from ClickHouse.
    let server = server.restart().await;
    server.wait_confirmed().await;
    check(&server, &[open(1, 2, 2, 0), open(5, 5, 1, 0)]).await;
    let text = sql(
        &data(&server),
        "SELECT state, from_seq, to_seq, batches, samples, reason FROM v_loss ORDER BY samples",
    )
    .await;
    assert_eq!(
        text.trim(),
        "explained\t0\t0\t0\t7\tage\nexplained\t3\t4\t2\t21\tquota"
    );

    // What comes all the same is taken; the ledger closes by itself.
    assert_eq!(server.taken(&at(2).0).await, (2, 0, 0));
    assert_eq!(server.taken(&at(3).0).await, (2, 0, 0));
    check(&server, &[open(1, 1, 1, 0), open(5, 5, 1, 0)]).await;
    let page = server.fleet().await;
    let value = |name: &str| page.value(name, &[("store_id", "shop")]);
    assert_eq!(value("pos_sdk_batches_explained_total"), 2.0);
    assert_eq!(value("pos_sdk_batches_missing"), 2.0);
    let admin = format!("http://{}", server.admin);
    let arguments = ["--store", "shop", "--admin-url", &admin].map(str::to_owned);
    let (is_good, output) = said(&run("losses", arguments.to_vec()).await);
    assert!(
        is_good && output.contains("explained: quota") && output.contains("3..4"),
        "{output}"
    );
    let unknown = server.get("/api/v1/losses", &[("store_id", "none")]).await;
    assert_eq!(
        (unknown.status, unknown.code()),
        (404, "unknown_store".to_owned())
    );
    audit_is_clean(&data(&server), &[]).await;
    server.stop().await;
}

fn batches(rows: &[LossRow], state: LossState) -> u64 {
    let of_state = rows.iter().filter(|row| row.state == state);
    of_state.map(|row| row.batches).sum()
}

#[test]
fn a_gap_that_closes_after_a_day_and_one_that_never_does_are_rows() {
    let mut aggregator = aggregator(Restored::default());
    let mut position = 0;
    let mut apply = |aggregator: &mut Aggregator, record: Vec<u8>| {
        position += 1;
        aggregator.apply(position, &record).unwrap();
    };
    let sync = |seq: u64, t_ms: i64| sync_record(seq, t_ms, t_ms);
    apply(&mut aggregator, sync(1, START_MS));
    apply(&mut aggregator, sync(10, START_MS + MINUTE_MS));
    // Two posts that have overtaken each other are no row.
    apply(&mut aggregator, sync(9, START_MS + 2 * MINUTE_MS));
    let late_ms = START_MS + DAY_MS;
    for seq in [8, 3, 4] {
        apply(&mut aggregator, sync(seq, late_ms));
    }
    let rows = aggregator.take().losses.into_rows();
    let of: Vec<_> = rows
        .iter()
        .map(|row| (row.state, row.from, row.to, row.batches))
        .collect();
    assert_eq!(of, [(LossState::Closed, 3, 8, 3)]);
    assert_eq!(rows[0].opened_at_ms, START_MS + MINUTE_MS);
    assert_eq!(i64::from(rows[0].ended_at_s) * 1_000, late_ms);
    assert_eq!(rows[0].samples, 3);
    // Nine days after it was noticed, the rest is lost; the queue has posted since.
    apply(&mut aggregator, sync(11, START_MS + 9 * DAY_MS));
    apply(
        &mut aggregator,
        settled(START_MS + 9 * DAY_MS + 2 * MINUTE_MS),
    );
    let rows = aggregator.take().losses.into_rows();
    let of: Vec<_> = rows
        .iter()
        .map(|row| (row.state, &*row.reason, row.from, row.to))
        .collect();
    let lost = |from, to| (LossState::Lost, "too_old", from, to);
    // They began to be missing at once: one row.
    assert_eq!(of, [lost(2, 7)]);
    assert_eq!((rows[0].batches, aggregator.totals().lost_batches), (4, 0));
}

#[test]
fn the_rows_agree_with_the_series_whatever_comes() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        // All stores have series of their own: one that makes room for another begins anew.
        let mut aggregator = Aggregator::new(
            Arc::new(Catalogue::default()),
            settings(),
            Restored::default(),
        );
        let (records, last_ms) = random_records(&mut random, 600);
        let mut rows: Vec<LossRow> = Vec::new();
        for (position, record) in (1..).zip(records) {
            aggregator.apply(position, &record).unwrap();
            if random.u8(0..40) == 0 {
                rows.extend(aggregator.take().losses.into_rows());
            }
        }
        let settled_ms = last_ms + random.i64(0..20) * DAY_MS;
        aggregator.apply(601, &settled(settled_ms)).unwrap();
        rows.extend(aggregator.take().losses.into_rows());
        let live = aggregator.live().stores();
        let sum = |of: fn(&tillwatch::aggregate::live::StoreLive) -> u64| {
            live.iter().map(of).sum::<u64>()
        };
        assert_eq!(
            batches(&rows, LossState::Lost),
            sum(|store| store.batches_lost),
            "{seed}"
        );
        assert_eq!(
            batches(&rows, LossState::Explained),
            sum(|store| store.batches_explained),
            "{seed}"
        );
        assert!(batches(&rows, LossState::Explained) > 0, "{seed}");
    }
}
