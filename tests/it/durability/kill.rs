//! The collector or its engine is killed, at random moments, under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{
    CELLS, Server, Terminal, assert_exactly, assert_query_api, audit_is_clean, children, data,
    is_alive, kill, sql, terminate, wait_drained, wait_until,
};

const SHORT_SEALS: [(&str, &str); 3] = [
    ("TILLWATCH_SEAL_INTERVAL", "300ms"),
    ("TILLWATCH_IDEMPOTENCY_KEYS_CACHED", "20"),
    AS_FAST_AS_IT_CAN,
];
/// A terminal here posts as fast as it is answered.
const AS_FAST_AS_IT_CAN: (&str, &str) = ("TILLWATCH_STORE_BURST", "10000000");

/// How long an engine may outlive its collector.
const ORPHAN_MAX: Duration = Duration::from_secs(6);
/// How long a start may take.
const READY_MAX: Duration = Duration::from_secs(10);

/// Sends again what has no answer and some of what has, then new batches, until nobody answers.
async fn trade(mut terminal: Terminal, server: Arc<Server>, is_over: Arc<AtomicBool>) -> Terminal {
    for marked in std::mem::take(&mut terminal.open) {
        terminal.post(&server, marked).await;
    }
    terminal.post_again(&server, 17).await;
    while !is_over.load(Ordering::Relaxed) {
        let marked = terminal.make(3);
        if terminal.post(&server, marked).await.is_none() {
            break;
        }
    }
    terminal
}

/// Lets all terminals trade until `end`, which says when it is over.
async fn trade_all(
    terminals: Vec<Terminal>,
    server: &Arc<Server>,
    end: impl Future<Output = ()>,
) -> Vec<Terminal> {
    let is_over = Arc::new(AtomicBool::new(false));
    let trades: Vec<_> = terminals
        .into_iter()
        .map(|terminal| tokio::spawn(trade(terminal, Arc::clone(server), Arc::clone(&is_over))))
        .collect();
    end.await;
    is_over.store(true, Ordering::Relaxed);
    let mut terminals = Vec::new();
    for trade in trades {
        terminals.push(trade.await.unwrap());
    }
    terminals
}

fn fleet(terminals: usize) -> Vec<Terminal> {
    (0..terminals)
        .map(|number| Terminal::new(&format!("store-{number:02}")))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_twenty_times_under_load_it_loses_nothing_doubles_nothing_and_leaves_no_orphan() {
    let folder = tempfile::tempdir().unwrap();
    let seed = std::env::var("TILLWATCH_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("TILLWATCH_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut terminals = fleet(6);
    // Beside them two that keep no queue. So few keys are cached that most are looked up.
    terminals.extend(["keyed-1", "keyed-2"].map(Terminal::keyed));
    let mut engines: Vec<(u32, Instant)> = Vec::new();
    for cycle in 0..20 {
        let started = Instant::now();
        let server = Arc::new(Server::start_on(folder.path(), &SHORT_SEALS).await);
        assert!(
            started.elapsed() < READY_MAX,
            "cycle {cycle}: ready after {:?}",
            started.elapsed()
        );
        // Mostly long enough for the engine to come up and take epochs in; sometimes not.
        let span = Duration::from_millis(if cycle % 4 == 0 {
            random.u64(1..600)
        } else {
            random.u64(1_000..2_600)
        });
        terminals = trade_all(terminals, &server, async {
            tokio::time::sleep(span).await;
            let engine = children(server.pid());
            kill(server.pid());
            engines.extend(engine.into_iter().map(|pid| (pid, Instant::now())));
        })
        .await;
        Arc::into_inner(server).unwrap().kill();
        for (pid, killed_at) in &engines {
            if killed_at.elapsed() > ORPHAN_MAX {
                assert!(
                    !is_alive(*pid),
                    "cycle {cycle}: engine {pid} is still there after {:?}",
                    killed_at.elapsed()
                );
            }
        }
    }
    for (pid, killed_at) in engines {
        while is_alive(pid) {
            assert!(
                killed_at.elapsed() < ORPHAN_MAX,
                "engine {pid} outlived its collector"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    let server = Server::start_on(folder.path(), &SHORT_SEALS).await;
    for terminal in &mut terminals {
        terminal.post_open(&server).await;
        terminal.post_again(&server, 5).await;
    }
    let batches: usize = terminals
        .iter()
        .map(|terminal| terminal.acknowledged.len())
        .sum();
    println!("{batches} batches");
    assert!(batches > 1_000, "hardly any load: {batches}");
    assert_query_api(&terminals, &server).await;
    server.wait_confirmed().await;
    assert_query_api(&terminals, &server).await;
    assert_exactly(&terminals, &sql(&data(&server), CELLS).await);
    audit_is_clean(&data(&server), &[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_engine_killed_ten_times_ingest_goes_on_and_each_row_is_there_once() {
    let server = Arc::new(Server::start_with(&SHORT_SEALS).await);
    let terminals = trade_all(fleet(4), &server, async {
        for _ in 0..10 {
            let engine = wait_until("the engine", || children(server.pid()).first().copied()).await;
            // Some kills meet it while it starts, most while it takes rows in.
            tokio::time::sleep(Duration::from_millis(fastrand::u64(100..1_600))).await;
            kill(engine);
            wait_until("its end", || (!is_alive(engine)).then_some(())).await;
        }
    })
    .await;
    for terminal in &terminals {
        assert_eq!(
            terminal.open.len(),
            0,
            "ingest failed while the engine was away"
        );
    }
    wait_drained(&server).await;
    assert_query_api(&terminals, &server).await;
    assert_exactly(&terminals, &sql(&data(&server), CELLS).await);
    audit_is_clean(&data(&server), &[]).await;
    Arc::into_inner(server).unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_stop_under_load_it_keeps_every_batch_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminals = fleet(6);
    for _ in 0..2 {
        let server = Arc::new(
            Server::start_on(
                folder.path(),
                &[("TILLWATCH_SEAL_INTERVAL", "1h"), AS_FAST_AS_IT_CAN],
            )
            .await,
        );
        terminals = trade_all(terminals, &server, async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            terminate(server.pid());
            wait_until("its end", || (!is_alive(server.pid())).then_some(())).await;
        })
        .await;
        Arc::into_inner(server).unwrap().kill();
    }
    let server = Server::start_on(folder.path(), &SHORT_SEALS).await;
    let page = server.metrics().await;
    assert_eq!(
        page.value("tillwatch_ledger_samples", &[("place", "open")])
            .to_bits(),
        0,
        "all was sealed"
    );
    for terminal in &mut terminals {
        terminal.post_open(&server).await;
    }
    server.wait_confirmed().await;
    assert_exactly(&terminals, &sql(&data(&server), CELLS).await);
    audit_is_clean(&data(&server), &[]).await;
    server.stop().await;
}
