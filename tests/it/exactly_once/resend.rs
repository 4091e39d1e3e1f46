//! A batch is sent again: after a restart, after a kill, before and after a seal.

use crate::support::{CELLS, Server, Terminal, assert_exactly, assert_query_api, data, sql};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_sent_again_after_a_seal_a_restart_or_a_kill_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let never = [("TILLWATCH_SEAL_INTERVAL", "1h")];
    let mut terminals = vec![Terminal::new("store-a"), Terminal::new("store-b")];

    // The batches are not sealed when the server is killed: the journal alone knows them.
    let server = Server::start_on(folder.path(), &never).await;
    for terminal in &mut terminals {
        terminal.post_fresh(&server, 10, 3).await;
        terminal.post_again(&server, 1).await;
    }
    server.kill();
    let server = Server::start_on(folder.path(), &never).await;
    for terminal in &mut terminals {
        terminal.post_again(&server, 1).await;
        terminal.post_fresh(&server, 10, 3).await;
    }
    // Sealed by SIGTERM: known from the state file alone.
    server.stop().await;
    let server = Server::start_on(folder.path(), &never).await;
    for terminal in &mut terminals {
        terminal.post_again(&server, 1).await;
        terminal.post_fresh(&server, 10, 3).await;
    }
    server.kill();
    // Some batches are known from the state file, some from the journal.
    let server = Server::start_on(folder.path(), &[("TILLWATCH_SEAL_INTERVAL", "200ms")]).await;
    for terminal in &mut terminals {
        terminal.post_again(&server, 1).await;
    }
    server.wait_confirmed().await;
    for terminal in &mut terminals {
        terminal.post_again(&server, 1).await;
        // A number left out may still come, over a restart too.
        let late = terminal.make(2);
        terminal.post_fresh(&server, 3, 2).await;
        terminal.open.push(late);
    }
    server.wait_confirmed().await;
    server.kill();
    let server = Server::start_on(folder.path(), &[("TILLWATCH_SEAL_INTERVAL", "200ms")]).await;
    let missing = server
        .metrics()
        .await
        .value("tillwatch_missing_batches", &[]);
    assert_eq!(
        missing.to_bits(),
        2.0_f64.to_bits(),
        "one batch of each terminal is missing"
    );
    for terminal in &mut terminals {
        terminal.post_open(&server).await;
        terminal.post_again(&server, 1).await;
    }
    server.wait_confirmed().await;
    assert_query_api(&terminals, &server).await;
    assert_exactly(&terminals, &sql(&data(&server), CELLS).await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_batch_posted_by_thirty_connections_at_once_counts_once() {
    let server = std::sync::Arc::new(Server::start().await);
    for _ in 0..10 {
        let mut terminal = Terminal::new("store-a");
        let marked = terminal.make(5);
        let posts: Vec<_> = (0..30)
            .map(|_| {
                let (server, body) = (std::sync::Arc::clone(&server), marked.batch.0.clone());
                tokio::spawn(async move { server.post(&body).await })
            })
            .collect();
        let (mut accepted, mut duplicate) = (0, 0);
        for post in posts {
            let reply = post.await.unwrap();
            assert_eq!(reply.status, 202, "{}", reply.text());
            let counts = reply.counts();
            accepted += counts.0;
            duplicate += counts.1;
        }
        assert_eq!((accepted, duplicate), (5, 29 * 5));
    }
    std::sync::Arc::into_inner(server).unwrap().stop().await;
}
