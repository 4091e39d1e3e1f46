//! The fleet as rows, and the console that shows them.

use serde_json::{Value, json};

use crate::support::{Batch, Server, now_ms};

const MINUTE_MS: i64 = 60_000;

fn row<'a>(fleet: &'a Value, store_id: &str) -> &'a Value {
    let rows = fleet["stores"].as_array().unwrap();
    rows.iter().find(|row| row["store_id"] == store_id).unwrap()
}

#[tokio::test]
async fn the_worst_stores_come_first_with_what_is_past_its_limit() {
    let server = Server::start().await;
    let empty: Value = server.get("/api/v1/fleet", &[]).await.json();
    assert_eq!(empty["stores"], json!([]));
    // In the window of the gauges: from six minutes ago to one.
    let then_ms = now_ms() - 3 * MINUTE_MS;
    for (store_id, sync_ms, pending) in [
        ("store-fine", 800.0, 3.0),
        ("store-slow", 6_000.0, 3.0),
        ("store-full", 900.0, 850.0),
        ("store-few", 9_000.0, 1.0),
    ] {
        let samples = if store_id == "store-few" { 5 } else { 40 };
        let mut batch = Batch::new(store_id).value_now("pending_transactions", pending);
        for _ in 0..samples {
            batch = batch.value("sync_duration_ms", then_ms, sync_ms);
        }
        assert_eq!(server.taken(&batch.0).await, (samples + 1, 0, 0));
    }
    let fleet: Value = server.get("/api/v1/fleet", &[]).await.json();
    let names: Vec<&str> = fleet["stores"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["store_id"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["store-slow", "store-full", "store-few", "store-fine"]
    );
    let slow = row(&fleet, "store-slow");
    assert_eq!(
        (&slow["state"], &slow["sync_samples"]),
        (&"critical".into(), &40.into())
    );
    assert_eq!(slow["why"][0]["metric"], "sync_duration_ms");
    assert_eq!(slow["why"][0]["limit"], 5_000.0);
    let full = row(&fleet, "store-full");
    assert_eq!(
        (&full["state"], &full["pending_max"]),
        (&"warning".into(), &850.0.into())
    );
    // Too few to be judged, and shown all the same.
    let few = row(&fleet, "store-few");
    assert_eq!(
        (&few["state"], &few["sync_samples"]),
        (&"fine".into(), &5.into())
    );
    assert!(few["sync_p95_ms"].as_f64().unwrap() > 8_900.0);
    assert_eq!(fleet["all"]["critical"], 1);
    // What the row says is what the page for Prometheus says.
    let page = server.fleet().await;
    let window = [("store_id", "store-slow"), ("q", "0.95")];
    let seconds = page.sum("pos_sync_duration_window_seconds", &window);
    assert!(
        (seconds * 1_000.0 - slow["sync_p95_ms"].as_f64().unwrap()).abs() < 1.0,
        "{seconds}"
    );
    server.stop().await;
}

#[tokio::test]
async fn the_console_is_served_with_a_policy_and_loads_nothing_from_elsewhere() {
    let server = Server::start().await;
    for path in ["/", "/releases", "/query"] {
        let reply = server
            .get_with(path, &[("accept-encoding", "identity")])
            .await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, "text/html; charset=utf-8"),
            "{path}"
        );
        let policy = reply.header("content-security-policy");
        assert!(
            policy.contains("require-trusted-types-for 'script'"),
            "{policy}"
        );
        assert_eq!(reply.header("cache-control"), "no-store");
        let text = reply.text();
        assert!(
            !text.contains("http://") && !text.contains("https://"),
            "{text}"
        );
        for name in text.split('"').filter(|part| part.contains("app-")) {
            let name = name.trim_start_matches("./").trim_start_matches('/');
            let packed = server
                .get_with(&format!("/{name}"), &[("accept-encoding", "br")])
                .await;
            assert_eq!(
                (packed.status, packed.header("content-encoding")),
                (200, "br"),
                "{name}"
            );
            assert!(packed.header("cache-control").contains("immutable"));
        }
    }
    let reply = server.get_with("/", &[("host", "evil.example.com")]).await;
    assert_eq!(reply.status, 421);
    server.stop().await;
}
