//! Queries while epochs move from memory to the outbox to ClickHouse.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Server, Terminal, audit_is_clean, data, now_ms};

/// Fewer prove nothing.
const ANSWERS_MIN: u32 = 50;
/// How long they may take.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_holds_what_was_acknowledged_before_it_and_nothing_twice() {
    let server = Arc::new(Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "300ms")]).await);
    let (posted, acknowledged) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let is_over = Arc::new(AtomicBool::new(false));
    let post = {
        let (server, posted, acknowledged) = (
            Arc::clone(&server),
            Arc::clone(&posted),
            Arc::clone(&acknowledged),
        );
        let is_over = Arc::clone(&is_over);
        tokio::spawn(async move {
            let mut terminal = Terminal::new("store-a");
            while !is_over.load(Ordering::Relaxed) {
                let marked = terminal.make(5);
                posted.fetch_add(5, Ordering::SeqCst);
                let reply = terminal.post(&server, marked).await.unwrap();
                assert_eq!(reply.status, 202);
                acknowledged.fetch_add(5, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            terminal
        })
    };
    // Until the engine has come up there is no answer.
    let (from, to) = (
        (now_ms() - 86_400_000).to_string(),
        (now_ms() + 60_000).to_string(),
    );
    let one = [
        ("metric", "lcp_ms"),
        ("q", "0.5"),
        ("from", &*from),
        ("to", &*to),
    ];
    let stepped = [
        ("metric", "lcp_ms"),
        ("q", "0.5,0.99"),
        ("from", &*from),
        ("to", &*to),
        ("step", "60"),
        ("group_by", "store_id"),
    ];
    let (mut answers, mut last, started) = (0, 0, Instant::now());
    // A busy machine gives fewer answers in six seconds.
    while started.elapsed() < Duration::from_secs(6) || answers <= ANSWERS_MIN {
        assert!(started.elapsed() < PATIENCE, "only {answers} answers");
        let least = acknowledged.load(Ordering::SeqCst);
        let parameters: &[(&str, &str)] = if answers % 2 == 0 { &one } else { &stepped };
        let answer = server.percentiles(parameters).await;
        let most = posted.load(Ordering::SeqCst);
        let points = answer["series"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|series| series["points"].as_array().unwrap());
        let count: u64 = points.map(|point| point["count"].as_u64().unwrap()).sum();
        assert!(
            (least..=most).contains(&count),
            "answer {answers}: {count}, but {least} were acknowledged before and {most} posted after"
        );
        assert!(
            count >= last,
            "answer {answers} goes back from {last} to {count}"
        );
        last = count;
        answers += 1;
    }
    is_over.store(true, Ordering::Relaxed);
    let terminal = post.await.unwrap();
    let epochs = server
        .metrics()
        .await
        .value("tillwatch_confirmed_epoch", &[]);
    println!("{answers} answers while {epochs} epochs moved");
    assert!(
        epochs > 8.0,
        "{answers} answers, {epochs} epochs: nothing was tested"
    );
    server.wait_confirmed().await;
    assert_eq!(
        server.percentiles(&one).await["series"][0]["points"][0]["count"],
        terminal.samples()
    );
    audit_is_clean(&data(&server), &[]).await;
    Arc::into_inner(server).unwrap().stop().await;
}
