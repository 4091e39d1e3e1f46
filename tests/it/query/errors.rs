//! Groups of errors, asked for: each counted once, wherever its rows lie.

use serde_json::{Value, json};

use crate::support::{Batch, Server, data, now_ms, run, said};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A batch of a terminal with errors: fingerprint, how often, how long ago.
fn errors(store_id: &str, terminal_id: &str, release: &str, of: &[(u64, u64, i64)]) -> Batch {
    let now = now_ms();
    let event = |(fingerprint, count, ago_ms): &(u64, u64, i64)| {
        json!({"k": "error", "t": now - ago_ms, "fingerprint": format!("{fingerprint:016x}"), "count": count,
               "type": "TypeError", "message": format!("message {fingerprint} of {store_id}"),
               "frames": [{"fn": "pay", "module": "app.js", "line": 3, "col": 14}]})
    };
    let events: Vec<Value> = of.iter().map(event).collect();
    Batch::new(store_id)
        .with("terminal_id", terminal_id)
        .with("release", release)
        .with("events", events)
}

async fn asked(server: &Server, path: &str, parameters: &[(&str, &str)]) -> Value {
    let reply = server.get(path, parameters).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// Fingerprint, count, stores and terminals of each group.
fn groups(answer: &Value) -> Vec<(String, u64, u64, u64)> {
    let groups = answer["groups"].as_array().unwrap().iter();
    groups
        .map(|group| {
            let number = |key: &str| group[key].as_u64().unwrap();
            let fingerprint = group["fingerprint"]
                .as_str()
                .unwrap()
                .trim_start_matches('0');
            (
                fingerprint.to_owned(),
                number("count"),
                number("stores"),
                number("terminals"),
            )
        })
        .collect()
}

fn line(fingerprint: &str, count: u64, stores: u64, terminals: u64) -> (String, u64, u64, u64) {
    (fingerprint.to_owned(), count, stores, terminals)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_counted_once_and_ordered_wherever_their_rows_lie() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("TILLWATCH_SEAL_INTERVAL", "1h")];
    let server = Server::start_on(folder.path(), &settings).await;
    // Before the range, and in it: sealed and confirmed at the restart.
    for batch in [
        errors("a", "till-1", "1.0", &[(10, 5, 2 * DAY_MS), (11, 2, 0)]),
        errors("a", "till-2", "1.0", &[(11, 3, 0)]),
        errors("b", "till-1", "1.0", &[(12, 9, 0)]),
    ] {
        assert_eq!(server.post(&batch.0).await.status, 202);
    }
    let server = server.restart().await;
    server.wait_confirmed().await;
    // Open: a group that is at rest, too, and one that is new.
    for batch in [
        errors("b", "till-1", "1.1", &[(11, 1, 0), (13, 4, 0)]),
        errors("a", "till-1", "1.0", &[(11, 1, 0)]),
    ] {
        assert_eq!(server.post(&batch.0).await.status, 202);
    }
    let check = async |server: &Server| {
        let answer = asked(server, "/api/v1/errors", &[]).await;
        let by_count = [line("c", 9, 1, 1), line("b", 7, 2, 3), line("d", 4, 1, 1)];
        assert_eq!(groups(&answer), by_count);
        assert_eq!(answer["is_whole"], true);
        let group = &answer["groups"][1];
        assert_eq!(group["releases"], json!(["1.0", "1.1"]));
        assert_eq!(group["message"], "message 11 of a");
        let trend = group["trend"].as_array().unwrap().iter();
        assert_eq!(
            trend
                .map(|point| point["count"].as_u64().unwrap())
                .sum::<u64>(),
            7
        );
        let answer = asked(
            server,
            "/api/v1/errors",
            &[("order_by", "stores"), ("limit", "1")],
        )
        .await;
        assert_eq!(
            (groups(&answer), &answer["is_whole"]),
            (vec![line("b", 7, 2, 3)], &json!(false))
        );
        let answer = asked(server, "/api/v1/errors", &[("release", "1.1")]).await;
        assert_eq!(groups(&answer), [line("d", 4, 1, 1), line("b", 1, 1, 1)]);
        let answer = asked(server, "/api/v1/errors", &[("store_id", "a")]).await;
        assert_eq!(groups(&answer), [line("b", 6, 1, 2)]);
        let since = (now_ms() - 3 * DAY_MS).to_string();
        let answer = asked(
            server,
            "/api/v1/errors",
            &[("since", &since), ("order_by", "first_seen")],
        )
        .await;
        let last = groups(&answer).pop();
        assert_eq!(last, Some(line("a", 5, 1, 1)));
        let first_seen = answer["groups"][3]["first_seen"].as_i64().unwrap();
        assert!((now_ms() - first_seen).abs_diff(2 * DAY_MS) <= 2 * HOUR_MS.unsigned_abs());

        let one = asked(server, "/api/v1/errors/000000000000000b", &[]).await;
        assert_eq!(one["count"], 7);
        assert_eq!(
            one["frames"],
            json!([{"fn": "pay", "module": "app.js", "line": 3, "col": 14}])
        );
        let parts = |key: &str, name: &str| -> Vec<(String, u64)> {
            let parts = one[key].as_array().unwrap().iter();
            parts
                .map(|part| {
                    (
                        part[name].as_str().unwrap().to_owned(),
                        part["count"].as_u64().unwrap(),
                    )
                })
                .collect()
        };
        assert_eq!(
            parts("by_release", "release"),
            [("1.0".to_owned(), 6), ("1.1".to_owned(), 1)]
        );
        assert_eq!(
            parts("by_store", "store_id"),
            [("a".to_owned(), 6), ("b".to_owned(), 1)]
        );
        assert_eq!(one["some_terminals"].as_array().unwrap().len(), 3);
        // What was seen before the range alone is known, and counts nothing.
        let old = asked(server, "/api/v1/errors/000000000000000a", &[]).await;
        assert_eq!((&old["count"], &old["terminals"]), (&json!(0), &json!(0)));
    };
    check(&server).await;
    let server = server.kill_and_restart().await;
    check(&server).await;
    let server = server.restart().await;
    server.wait_confirmed().await;
    check(&server).await;

    for (path, status, code) in [
        ("/api/v1/errors/00000000000000ff", 404, "unknown_error"),
        ("/api/v1/errors/ff", 400, "bad_parameter"),
        ("/api/v1/errors?order_by=age", 400, "bad_parameter"),
    ] {
        let reply = server.get(path, &[]).await;
        assert_eq!(
            (reply.status, reply.code()),
            (status, code.to_owned()),
            "{path}"
        );
    }
    let admin = format!("http://{}", server.admin);
    let of = |arguments: &[&str]| -> Vec<String> {
        let all = [arguments, &["--admin-url", &admin]].concat();
        all.into_iter().map(str::to_owned).collect()
    };
    let (is_good, output) = said(&run("errors", of(&[])).await);
    assert!(
        is_good && output.contains("000000000000000c TypeError: message 12 of b"),
        "{output}"
    );
    let (is_good, output) = said(&run("errors", of(&["000000000000000b"])).await);
    assert!(
        is_good && output.contains("at pay app.js:3:14") && output.contains("a till-2"),
        "{output}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_are_shown_as_they_were_in_the_sources_once_their_maps_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_on(folder.path(), &[]).await;
    let frame = |function: &str, col: u32| json!({"fn": function, "module": "app.js", "line": 1, "col": col});
    // The frames that Node prints of the build in the fixtures.
    let event = json!({"k": "error", "t": now_ms(), "type": "TypeError", "message": "a line without a product",
                       "frames": [frame("e", 98), frame("r", 50), frame("i", 196)]});
    let batch = Batch::new("a")
        .with("release", "2.4.1")
        .with("events", vec![event]);
    assert_eq!(server.post(&batch.0).await.status, 202);
    let answer = asked(&server, "/api/v1/errors", &[]).await;
    let fingerprint = answer["groups"][0]["fingerprint"].as_str().unwrap();
    let path = format!("/api/v1/errors/{fingerprint}");
    let shown = async || {
        let arguments = [
            fingerprint,
            "--admin-url",
            &format!("http://{}", server.admin),
        ];
        let (is_good, output) = said(&run("errors", arguments.map(str::to_owned).to_vec()).await);
        assert!(is_good, "{output}");
        output
    };
    assert!(shown().await.contains("tillwatch sourcemaps add 2.4.1 DIR"));
    let sourcemaps = async |arguments: &[&str]| {
        let data_dir = data(&server);
        let data_dir = data_dir.to_str().unwrap();
        let all = [arguments, &["--data-dir", data_dir]].concat();
        said(&run("sourcemaps", all.into_iter().map(str::to_owned).collect()).await)
    };
    let build = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/source_maps/dist"
    );
    let (is_good, output) = sourcemaps(&["add", "2.4.1", build]).await;
    assert!(is_good && output.contains("app.js, worker.js"), "{output}");
    let one = asked(&server, &path, &[]).await;
    assert_eq!(one["frames_release"], "2.4.1");
    assert_eq!(one["frames"][0]["col"], 98);
    assert_eq!(
        one["frames"][0]["original"],
        json!({"source": "../total.js", "line": 10, "col": 28, "fn": "priceOf"})
    );
    let output = shown().await;
    assert!(
        output.contains("at payTheCart ../cart.js:5:18  (i app.js:1:196)"),
        "{output}"
    );
    assert!(!output.contains("sourcemaps add"), "{output}");
    let (is_good, output) = sourcemaps(&["list"]).await;
    assert!(is_good && output.contains("2.4.1"), "{output}");
    let (is_good, _) = sourcemaps(&["remove", "2.4.1"]).await;
    assert!(is_good);
    let one = asked(&server, &path, &[]).await;
    assert_eq!(one["frames"][0].get("original"), None);
    let (is_good, output) = sourcemaps(&["remove", "2.4.1"]).await;
    assert!(
        !is_good && output.contains("has no source maps"),
        "{output}"
    );
    server.stop().await;
}
