//! Who may come in, how slow a client may be, and what happens when it goes away.

use std::future::Future;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Engine, Reply, http, wait_for_answer};

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let engine = Engine::start_with(&[], Some("sesame"));
    for (user, password, status) in [
        ("default", "sesame", 200),
        ("default", "wrong", 403),
        ("default", "", 403),
        ("root", "sesame", 403),
    ] {
        let basic = http()
            .post(engine.url())
            .basic_auth(user, Some(password))
            .body("SELECT 1");
        let headers = http()
            .post(engine.url())
            .header("X-ClickHouse-User", user)
            .header("X-ClickHouse-Key", password)
            .body("SELECT 1");
        let url = http()
            .post(engine.url())
            .query(&[("user", user), ("password", password)])
            .body("SELECT 1");
        for request in [basic, headers, url] {
            let reply = Reply::of(request.send().await.unwrap()).await;
            assert_eq!(reply.status, status, "{user}:{password}: {}", reply.text());
            if status == 403 {
                assert_eq!(reply.header("x-clickhouse-exception-code"), "516");
            }
        }
    }
    assert_eq!(engine.post(&[], "SELECT 1").await.status, 403);
    let ping = Reply::of(http().get(engine.url() + "ping").send().await.unwrap()).await;
    assert_eq!(ping.status, 200);
}

#[tokio::test]
async fn a_web_page_is_refused() {
    let engine = Engine::start();
    let request = http()
        .post(engine.url())
        .header("Origin", "https://example.com")
        .body("SELECT 1");
    assert_eq!(Reply::of(request.send().await.unwrap()).await.status, 403);
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_statement_with_it() {
    let engine = Engine::start();
    let running = "SELECT count() FROM system.processes WHERE query LIKE '%sipHash64(number)%' AND query NOT LIKE '%processes%'";
    for statement in [
        // No answer for minutes, and an answer without end.
        "SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1",
        "SELECT sipHash64(number) FROM numbers(100000000000)",
    ] {
        let mut stream = TcpStream::connect(engine.address).await.unwrap();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{statement}",
            statement.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        wait_for_answer(&engine, running, "1").await;
        drop(stream);
        let took = wait_for_answer(&engine, running, "0").await;
        assert!(took < Duration::from_secs(3), "{statement}: took {took:?}");
    }
}

#[tokio::test]
async fn clients_that_leave_at_once_cost_no_turn() {
    let engine = Engine::start();
    let endless = "SELECT number FROM numbers(100000000000)";
    let request = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{endless}",
        endless.len()
    );
    for delay_us in (0..100).map(|index| index * 50) {
        let mut stream = TcpStream::connect(engine.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_micros(delay_us)).await;
    }
    let running = "SELECT count() FROM system.processes WHERE query LIKE 'SELECT number%'";
    wait_for_answer(&engine, running, "0").await;
    // All eight turns are there.
    let replies = (0..8).map(|_| engine.post(&[], "SELECT sleep(1)"));
    let started = Instant::now();
    for reply in futures(replies).await {
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// Runs futures side by side.
async fn futures<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut pending: Vec<_> = futures.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        pending.retain_mut(|future| match future.as_mut().poll(context) {
            Poll::Ready(value) => {
                done.push(value);
                false
            }
            Poll::Pending => true,
        });
        if pending.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    done
}

#[tokio::test]
async fn half_sent_requests_time_out() {
    let engine = Engine::start_with(&["--timeout-ms", "1000"], None);
    for half in [
        "POST / HTTP/1.1\r\nHost: localhost\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nSELECT",
    ] {
        let started = Instant::now();
        let mut stream = TcpStream::connect(engine.address).await.unwrap();
        stream.write_all(half.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // An end or a reset: the connection is closed in any case.
        let _ = stream.read_to_end(&mut answer).await;
        let took = started.elapsed();
        assert!(
            took > Duration::from_millis(900) && took < Duration::from_secs(10),
            "{half}: {took:?}"
        );
    }
    assert_eq!(engine.sql("SELECT 1").await, "1\n");
}

#[tokio::test]
async fn a_statement_may_not_take_all_memory() {
    let engine = Engine::start();
    let reply = engine
        .post(
            &[],
            "SELECT length(groupArray(toString(number))) FROM numbers(200000000)",
        )
        .await;
    assert_eq!(
        reply.header("x-clickhouse-exception-code"),
        "241",
        "{}",
        reply.text()
    );
    assert_eq!(engine.sql("SELECT 1").await, "1\n");
}

#[tokio::test]
async fn a_statement_that_is_too_long_is_refused() {
    let engine = Engine::start();
    let reply = engine
        .post(&[], format!("SELECT '{}'", "x".repeat(9 << 20)))
        .await;
    assert_eq!(reply.status, 413, "{}", reply.text());
}
