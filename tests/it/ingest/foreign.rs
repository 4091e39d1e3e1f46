//! Bodies that come to another format's door.

use reqwest::Method;
use serde_json::json;

use crate::support::{Batch, Reply, Server, now_ms};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_for_one_door_at_anothers_is_told_where_it_is_posted_to() {
    let server = Server::start().await;
    let bodies = [
        (
            "/v1/batches",
            Batch::new("store-1").value_now("lcp_ms", 1.0).0,
        ),
        (
            "/collect",
            json!({"meta": {"app": {}}, "measurements": [{"type": "custom", "values": {"lcp_ms": 1}}]}),
        ),
        (
            "/v1/metrics",
            json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "lcp_ms",
                "gauge": {"dataPoints": [{"timeUnixNano": format!("{}000000", now_ms()), "asDouble": 1}]}}]}]}]}),
        ),
        (
            "/pdc_pos_offline/metrics",
            json!({"sessionId": "1", "metrics": {"lcp": {"count": 1, "avg": 1, "min": 1, "max": 1}}}),
        ),
    ];
    for (path, _) in &bodies {
        for (home, body) in &bodies {
            let request = server
                .request(Method::POST, path)
                .header("content-type", "application/json")
                .body(body.to_string());
            let reply = Reply::of(request.send().await.unwrap()).await;
            if path == home {
                assert!(
                    !reply.text().contains("posted to"),
                    "{path}: {}",
                    reply.text()
                );
            } else {
                assert_eq!(reply.status, 400, "{home} at {path}: {}", reply.text());
                let told = format!("posted to {home}");
                assert!(
                    reply.text().contains(&told),
                    "{home} at {path}: {}",
                    reply.text()
                );
            }
        }
    }
    server.stop().await;
}
