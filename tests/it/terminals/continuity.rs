//! What was acknowledged is in every later answer about a terminal and a session, once, while it moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Batch, Server, data, now_ms, run_with_input};

/// Epochs that must have moved while answers were read.
const EPOCHS_MIN: f64 = 8.0;
/// Answers that each reader must have had.
const ANSWERS_MIN: u32 = 8;
const PATIENCE: Duration = Duration::from_secs(60);

fn of_terminals(answer: &Value) -> u64 {
    let terminal = &answer["terminals"][0];
    terminal["metrics"][0]["count"].as_u64().unwrap_or(0)
}

fn of_session(answer: &Value) -> u64 {
    let days = answer["days"].as_array().into_iter().flatten();
    days.map(|day| day["samples"].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_of_a_terminal_and_a_session_never_fall_and_never_pass_what_was_sent() {
    let server = Arc::new(Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "200ms")]).await);
    // Of one day, also over midnight: the first sample says which.
    let t_ms = now_ms();
    let mut batch =
        Batch::new("store-1")
            .with("session_id", "s-1")
            .value("sync_duration_ms", t_ms, 7.0);
    server.taken(&batch.0).await;
    let date = jiff::Timestamp::from_millisecond(t_ms).unwrap();
    let arguments = [
        "--day".to_owned(),
        date.strftime("%Y-%m-%d").to_string(),
        "--data-dir".to_owned(),
        data(&server).display().to_string(),
    ];
    let output = run_with_input("pseudonym", &arguments, "s-1\n".to_owned()).await;
    let pseudonym = String::from_utf8(output.stdout).unwrap();

    // Begun: may be in an answer. Acknowledged: must be in it.
    let (begun, acknowledged) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(1)));
    let (is_over, answers) = (
        Arc::new(AtomicBool::new(false)),
        [(); 2].map(|()| Arc::new(AtomicU64::new(0))),
    );
    let questions = [
        (
            "/api/v1/terminals?store_id=store-1".to_owned(),
            of_terminals as fn(&Value) -> u64,
        ),
        (format!("/api/v1/sessions/{}", pseudonym.trim()), of_session),
    ];
    let readers: Vec<_> = questions
        .into_iter()
        .zip(answers.clone())
        .map(|((path, count), answers)| {
            let (server, is_over) = (Arc::clone(&server), Arc::clone(&is_over));
            let (begun, acknowledged) = (Arc::clone(&begun), Arc::clone(&acknowledged));
            tokio::spawn(async move {
                let mut last = 0;
                while !is_over.load(Ordering::SeqCst) {
                    let least = acknowledged.load(Ordering::SeqCst).max(last);
                    let reply = server.get(&path, &[]).await;
                    assert_eq!(reply.status, 200, "{}", reply.text());
                    let found = count(&reply.json());
                    let most = begun.load(Ordering::SeqCst);
                    assert!(
                        (least..=most).contains(&found),
                        "{path}: {found} is not in {least}..={most}"
                    );
                    last = found;
                    answers.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let started = Instant::now();
    loop {
        batch = batch.next().value("sync_duration_ms", t_ms, 7.0);
        begun.fetch_add(1, Ordering::SeqCst);
        server.taken(&batch.0).await;
        acknowledged.fetch_add(1, Ordering::SeqCst);
        let is_enough = answers
            .iter()
            .all(|answers| answers.load(Ordering::SeqCst) >= u64::from(ANSWERS_MIN))
            && server
                .metrics()
                .await
                .value("tillwatch_confirmed_epoch", &[])
                >= EPOCHS_MIN;
        let has_failed = readers.iter().any(tokio::task::JoinHandle::is_finished);
        if is_enough || has_failed {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "hardly anything moved");
    }
    is_over.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
    Arc::into_inner(server).unwrap().stop().await;
}
