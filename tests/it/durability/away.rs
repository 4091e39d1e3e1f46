//! ClickHouse is away: cut off, silent, slow, talking nonsense, or its answers are lost.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::{
    CELLS, Engine, Proxy, Server, Terminal, Weather, assert_exactly, assert_query_api,
    audit_is_clean, copy, data, wait_drained, wait_sealed, wait_until,
};

async fn ledger(server: &Server, place: &str) -> f64 {
    server
        .metrics()
        .await
        .value("tillwatch_ledger_samples", &[("place", place)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_any_weather_ingest_goes_on_and_what_waits_is_shipped_once_when_it_clears() {
    let engine = Engine::start();
    let proxy = Proxy::start(engine.address, Weather::Cut).await;
    let url = proxy.url();
    let server = Server::start_with(&[
        ("TILLWATCH_SEAL_INTERVAL", "200ms"),
        ("TILLWATCH_CLICKHOUSE_URL", &url),
        ("TILLWATCH_CLICKHOUSE_TIMEOUT", "2s"),
    ])
    .await;
    let mut terminals = vec![Terminal::new("store-a")];
    // ClickHouse is away from the beginning: not even the tables can be made.
    terminals[0].post_fresh(&server, 50, 2).await;
    wait_until_outbox(&server, 100.0).await;
    assert_eq!(
        server
            .metrics()
            .await
            .value("tillwatch_clickhouse_up", &[])
            .to_bits(),
        0
    );
    proxy.turn(Weather::Fine);
    wait_drained(&server).await;
    assert_query_api(&terminals, &server).await;

    for (weather, requests) in [
        (Weather::Garbage, 1),
        (Weather::Failing, 1),
        (Weather::HalfOpen, 1),
        (Weather::InsertAnswersLost, 0),
        (Weather::InsertsSwallowed, 0),
        (Weather::Slow(Duration::from_millis(150)), 0),
    ] {
        let loses = matches!(
            weather,
            Weather::InsertAnswersLost | Weather::InsertsSwallowed
        );
        let before = proxy.spoilt.load(Ordering::Relaxed);
        let lost_before = proxy.lost.load(Ordering::Relaxed);
        proxy.turn(weather);
        for _ in 0..3 {
            terminals[0].post_fresh(&server, 20, 2).await;
            wait_sealed(&server).await;
        }
        wait_until("the weather's effect", || {
            let spoilt = proxy.spoilt.load(Ordering::Relaxed) - before;
            let lost = proxy.lost.load(Ordering::Relaxed) - lost_before;
            (spoilt >= requests && (!loses || lost > 0)).then_some(())
        })
        .await;
        let ready = server.get("/readyz", &[]).await;
        assert_eq!(
            ready.status, 200,
            "{weather:?}: taking batches in does not depend on ClickHouse"
        );
        proxy.turn(Weather::Fine);
        wait_drained(&server).await;
        assert_query_api(&terminals, &server).await;
        assert_exactly(&terminals, &engine.sql(CELLS).await);
    }
    assert!(
        proxy.lost.load(Ordering::Relaxed) > 0,
        "no answer to an insert was lost"
    );
    let epochs = engine
        .sql("SELECT count() FROM (SELECT DISTINCT epoch FROM tillwatch.rollup_1m)")
        .await;
    let sealed = server.metrics().await.value("tillwatch_sealed_epoch", &[]);
    assert_eq!(
        epochs.trim(),
        sealed.to_string(),
        "each epoch is there, and no other"
    );
    audit_is_clean(&data(&server), &["--clickhouse-url", &url]).await;
    server.stop().await;
}

async fn wait_until_outbox(server: &Server, samples: f64) {
    let started = std::time::Instant::now();
    while ledger(server, "outbox").await < samples - 0.5 {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "not sealed: {}",
            server.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outbox_over_its_budget_holds_terminals_off_until_it_has_drained_by_itself() {
    let engine = Engine::start();
    let proxy = Proxy::start(engine.address, Weather::Cut).await;
    let url = proxy.url();
    let settings = [
        ("TILLWATCH_SEAL_INTERVAL", "200ms"),
        ("TILLWATCH_CLICKHOUSE_URL", url.as_str()),
        ("TILLWATCH_OUTBOX_BUDGET", "4KiB"),
    ];
    let server = Server::start_with(&settings).await;
    let mut terminals = vec![Terminal::new("store-a")];
    let started = std::time::Instant::now();
    let refusal = loop {
        let marked = terminals[0].make(40);
        let reply = terminals[0].post(&server, marked).await.expect("an answer");
        if reply.status != 202 {
            break reply;
        }
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "the budget is never enforced"
        );
        wait_sealed(&server).await;
    };
    assert_eq!(
        (refusal.status, refusal.code()),
        (503, "outbox_full".to_owned())
    );
    let wait: u32 = refusal.header("retry-after").parse().unwrap();
    assert!((30..=120).contains(&wait), "{wait}");
    assert_eq!(server.get("/readyz", &[]).await.status, 503);
    let deferred = server
        .metrics()
        .await
        .value("tillwatch_samples_total", &[("outcome", "deferred")]);
    assert!(deferred >= 40.0, "deferred samples are counted: {deferred}");
    let bytes = server.metrics().await.value("tillwatch_outbox_bytes", &[]);
    assert!(bytes < 16_384.0, "four times over the budget: {bytes}");

    // What is acknowledged survives a kill in this state, and the next start knows that it is full.
    let folder = tempfile::tempdir().unwrap();
    copy(&data(&server), &folder.path().join("data"));
    server.kill();
    let server = Server::start_on(folder.path(), &settings).await;
    wait_until_not_ready(&server).await;
    proxy.turn(Weather::Fine);
    wait_drained(&server).await;
    let started = std::time::Instant::now();
    while server.get("/readyz", &[]).await.status != 200 {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "it does not recover by itself"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    terminals[0].post_open(&server).await;
    terminals[0].post_again(&server, 1).await;
    wait_drained(&server).await;
    assert_exactly(&terminals, &engine.sql(CELLS).await);
    audit_is_clean(&data(&server), &["--clickhouse-url", &url]).await;
    server.stop().await;
}

async fn wait_until_not_ready(server: &Server) {
    let started = std::time::Instant::now();
    while server.get("/readyz", &[]).await.status != 503 {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "it starts ready with a full outbox"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_stop_while_clickhouse_is_silent_it_ends_in_time_and_ships_at_the_next_start() {
    let engine = Engine::start();
    let proxy = Proxy::start(engine.address, Weather::HalfOpen).await;
    let url = proxy.url();
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("TILLWATCH_SEAL_INTERVAL", "200ms"),
        ("TILLWATCH_CLICKHOUSE_URL", url.as_str()),
    ];
    let server = Server::start_on(folder.path(), &settings).await;
    let mut terminals = vec![Terminal::new("store-a")];
    terminals[0].post_fresh(&server, 30, 2).await;
    let started = std::time::Instant::now();
    server.stop().await;
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "took {:?}",
        started.elapsed()
    );
    proxy.turn(Weather::Fine);
    let server = Server::start_on(folder.path(), &settings).await;
    wait_drained(&server).await;
    assert_exactly(&terminals, &engine.sql(CELLS).await);
    server.stop().await;
}
