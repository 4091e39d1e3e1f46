//! More questions at once than are answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_queries_are_told_at_once_to_come_again() {
    // Nobody answers there: queries that need a database wait for one, as under the longest ones.
    let settings = [("TILLWATCH_CLICKHOUSE_URL", "http://127.0.0.1:1")];
    let server = Arc::new(Server::start_with(&settings).await);
    let ask = || {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let asked = [("metric", "lcp_ms")];
            server.get("/api/v1/percentiles", &asked).await
        })
    };
    // Four under way and thirty-two that wait.
    let waiting: Vec<_> = (0..36).map(|_| ask()).collect();
    let started = Instant::now();
    while server
        .metrics()
        .await
        .value("tillwatch_queries_in_flight", &[])
        < 36.0
    {
        assert!(
            started.elapsed() < Duration::from_secs(15),
            "36 queries do not wait"
        );
    }
    for (path, asked) in [
        ("/api/v1/percentiles", ("metric", "lcp_ms")),
        ("/api/v1/stores", ("limit", "1")),
    ] {
        let refused = server.get(path, &[asked]).await;
        assert_eq!(refused.status, 503, "{path}: {}", refused.text());
        assert_eq!(refused.json()["error"]["code"], "too_many_queries");
        assert_eq!(refused.header("retry-after"), "5");
    }
    let counted = server.metrics().await;
    let refused = [("result", "too_many_queries")];
    assert_eq!(counted.value("tillwatch_queries_total", &refused), 2.0);
    // Those that waited are told why they were not answered, and their places are free again.
    for asked in waiting {
        let reply = asked.await.unwrap();
        assert_eq!(reply.json()["error"]["code"], "database_unavailable");
    }
    let stores = server.get("/api/v1/stores", &[]).await;
    assert_eq!(stores.status, 200, "{}", stores.text());
    Arc::into_inner(server).unwrap().kill();
}
