//! What was acknowledged is in every later answer, once, while it moves from place to place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Batch, Server, now_ms};

async fn count(server: &Server, parameters: &[(&str, &str)]) -> (u64, f64) {
    let answer = server.percentiles(parameters).await;
    let series = answer["series"].as_array().unwrap();
    let points = series
        .iter()
        .flat_map(|series| series["points"].as_array().unwrap());
    points.fold((0, 0.0), |(count, sum), point| {
        (
            count + point["count"].as_u64().unwrap(),
            sum + point["sum"].as_f64().unwrap(),
        )
    })
}

/// Answers to each reader; fewer prove nothing.
const ANSWERS_MIN: u32 = 10;
/// How long they may take.
const PATIENCE: Duration = Duration::from_secs(120);

fn fewest(answers: &[AtomicU32]) -> u32 {
    let counts = answers.iter().map(|count| count.load(Ordering::SeqCst));
    counts.min().unwrap()
}

/// Terminals post while answers are read all the time: open windows are cut, sealed, shipped and
/// confirmed below, and no answer may show a gap or a double.
#[tokio::test]
async fn counts_never_fall_and_never_pass_what_was_sent() {
    let server = Arc::new(Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "300ms")]).await);
    let from = (now_ms() - 600_000).to_string();
    let to = (now_ms() + 600_000).to_string();
    // Begun: may be in an answer. Acknowledged: must be in it.
    let (begun, acknowledged) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let is_over = Arc::new(AtomicBool::new(false));
    let answers = Arc::new([const { AtomicU32::new(0) }; 3]);
    let readers: Vec<_> = [None, Some("60"), Some("1h")]
        .into_iter()
        .enumerate()
        .map(|(reader, step)| {
            let answers = Arc::clone(&answers);
            let (server, is_over) = (Arc::clone(&server), Arc::clone(&is_over));
            let (begun, acknowledged) = (Arc::clone(&begun), Arc::clone(&acknowledged));
            let (from, to) = (from.clone(), to.clone());
            tokio::spawn(async move {
                let mut last = 0;
                while !is_over.load(Ordering::SeqCst) {
                    let mut parameters = vec![
                        ("metric", "inp_ms"),
                        ("q", "0.5"),
                        ("from", &from),
                        ("to", &to),
                    ];
                    parameters.extend(step.map(|step| ("step", step)));
                    let least = acknowledged.load(Ordering::SeqCst).max(last);
                    let (found, sum) = count(&server, &parameters).await;
                    let most = begun.load(Ordering::SeqCst);
                    assert!(
                        (least..=most).contains(&found),
                        "step {step:?}: {found} is not in {least}..={most}"
                    );
                    assert!((sum - found as f64 * 7.0).abs() < 1e-6, "{sum} of {found}");
                    last = found;
                    answers[reader].fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let server = Arc::clone(&server);
            let (begun, acknowledged) = (Arc::clone(&begun), Arc::clone(&acknowledged));
            let answers = Arc::clone(&answers);
            tokio::spawn(async move {
                let queue = Batch::new(&format!("flow-{writer}"));
                let started = Instant::now();
                let mut seq = 0;
                // A busy machine gives fewer answers in five seconds.
                while started.elapsed() < Duration::from_secs(5) || fewest(&answers[..]) <= ANSWERS_MIN {
                    assert!(started.elapsed() < PATIENCE, "only {}", fewest(&answers[..]));
                    // Into this minute and, as a terminal that comes back, into earlier ones.
                    let mut batch = queue.clone().seq(seq);
                    for sample in 0..5 {
                        let t_ms = now_ms() - 60_000 * i64::try_from(seq % 4).unwrap();
                        batch = batch.push(json!({"m": "inp_ms", "t": t_ms, "v": 7, "connection": if sample % 2 == 0 { "online" } else { "slow" }}));
                    }
                    begun.fetch_add(5, Ordering::SeqCst);
                    assert_eq!(server.taken(&batch.0).await, (5, 0, 0));
                    acknowledged.fetch_add(5, Ordering::SeqCst);
                    // Visible at once.
                    seq += 1;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    server.wait_confirmed().await;
    is_over.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
    let sent = acknowledged.load(Ordering::SeqCst);
    assert_eq!(
        count(
            &server,
            &[("metric", "inp_ms"), ("from", &from), ("to", &to)]
        )
        .await
        .0,
        sent
    );
    let sealed = server.metrics().await.value("tillwatch_sealed_epoch", &[]);
    assert!(
        sealed > 5.0,
        "{sealed} epochs are too few to prove anything"
    );
    let server = Arc::into_inner(server).unwrap().restart().await;
    assert_eq!(
        count(
            &server,
            &[("metric", "inp_ms"), ("from", &from), ("to", &to)]
        )
        .await
        .0,
        sent
    );
    server.stop().await;
}

/// What is late lands in the window it belongs to, also when that has long been sealed.
#[tokio::test]
async fn late_samples_join_the_windows_they_belong_to() {
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "200ms")]).await;
    let days_ago = |days: i64| now_ms() - days * 86_400_000;
    let t_ms = days_ago(7) / 60_000 * 60_000;
    let (from, to) = (t_ms.to_string(), (t_ms + 60_000).to_string());
    for round in 1..=4_u64 {
        let batch = Batch::new(&format!("late-{round}")).value(
            "lcp_ms",
            t_ms + 30_000,
            10.0 * round as f64,
        );
        assert_eq!(server.taken(&batch.0).await, (1, 0, 0));
        let parameters = [
            ("metric", "lcp_ms"),
            ("from", from.as_str()),
            ("to", to.as_str()),
        ];
        assert_eq!(count(&server, &parameters).await.0, round, "at once");
        server.wait_confirmed().await;
        assert_eq!(count(&server, &parameters).await.0, round, "confirmed");
    }
    let answer = server
        .percentiles(&[
            ("metric", "lcp_ms"),
            ("from", &from),
            ("to", &to),
            ("q", "0.5,1"),
        ])
        .await;
    let values = &answer["series"][0]["points"][0]["values"];
    // The bucket of the greatest value ends at 40.031, and the value itself is known exactly.
    assert_eq!(values, &json!({"0.5": 20.015, "1": 40}));
    server.stop().await;
}
