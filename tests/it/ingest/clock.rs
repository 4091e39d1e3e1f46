//! Terminals whose clocks are wrong.

use serde_json::json;

use crate::support::{Batch, Server, in_the_middle_of_a_minute, now_ms};

const MINUTE_MS: i64 = 60_000;

/// The minute in which the only sample of a store lies, counted from `base_ms`.
async fn minute_of(server: &Server, store_id: &str, base_ms: i64) -> i64 {
    let (from, to) = (
        (base_ms - 30 * MINUTE_MS).to_string(),
        (base_ms + 30 * MINUTE_MS).to_string(),
    );
    let parameters = [
        ("metric", "lcp_ms"),
        ("store_id", store_id),
        ("from", &from),
        ("to", &to),
        ("step", "60"),
    ];
    let answer = server.percentiles(&parameters).await;
    let points = answer["series"][0]["points"]
        .as_array()
        .unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(points.len(), 1, "{answer}");
    let t_ms = points[0]["t"].as_i64().unwrap();
    assert_eq!(t_ms % MINUTE_MS, 0);
    (t_ms - base_ms / MINUTE_MS * MINUTE_MS) / MINUTE_MS
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_and_a_nearly_right_one_is_left_alone() {
    let server = Server::start().await;
    let now = in_the_middle_of_a_minute().await;
    // Name, how far the clock is ahead, whether it says so, and where the sample of this moment must land.
    let cases = [
        ("behind", -10 * MINUTE_MS, true, 0),
        ("ahead", 10 * MINUTE_MS, true, 0),
        ("a-day-ahead", 1_440 * MINUTE_MS, true, 0),
        ("years-behind", -20 * 525_600 * MINUTE_MS, true, 0),
        ("just-over", -70_000, true, 0),
        ("a-little-behind", -55_000, true, -1),
        ("a-little-ahead", 55_000, true, 1),
        ("silent-behind", -10 * MINUTE_MS, false, -10),
        ("silent-ahead", 3 * MINUTE_MS, false, 3),
    ];
    for (store_id, ahead_ms, says, expected) in cases {
        let now = now_ms();
        // A little before the middle of what the minute allows, by the terminal's clock.
        let mut batch = Batch::new(store_id).value("lcp_ms", now + ahead_ms, 1.0);
        if says {
            batch = batch.with("sent_at_ms", now + ahead_ms);
        }
        assert_eq!(server.taken(&batch.0).await, (1, 0, 0), "{store_id}");
        let base = now_ms();
        let at = minute_of(&server, store_id, base).await;
        // 55 s of 60 are nearly always another minute; where they are not, the edge decides.
        let exact = (now
            + if says && ahead_ms.abs() > MINUTE_MS {
                0
            } else {
                ahead_ms
            })
        .div_euclid(MINUTE_MS)
            - base.div_euclid(MINUTE_MS);
        assert_eq!(at, exact, "{store_id}");
        assert!((at - expected).abs() <= 1, "{store_id}: {at}");
    }
    // Of the many-batch form the request's own stamp counts, for every batch.
    let one = Batch::new("many-1")
        .value("lcp_ms", now - 20 * MINUTE_MS, 1.0)
        .with("sent_at_ms", 5);
    let two = Batch::new("many-2").value("lcp_ms", now - 20 * MINUTE_MS, 1.0);
    let mut body = crate::support::many([&one, &two]);
    body["sent_at_ms"] = json!(now_ms() - 20 * MINUTE_MS);
    assert_eq!(server.taken(&body).await, (2, 0, 0));
    for store_id in ["many-1", "many-2"] {
        assert_eq!(minute_of(&server, store_id, now).await, 0, "{store_id}");
    }
    // Null is none.
    let batch = Batch::new("null").value("lcp_ms", now, 1.0);
    let batch = batch.with("sent_at_ms", json!(null));
    assert_eq!(server.taken(&batch.0).await, (1, 0, 0));
    assert_eq!(minute_of(&server, "null", now).await, 0);
    server.stop().await;
}

#[tokio::test]
async fn the_edges_of_time_are_those_of_the_corrected_clock() {
    let server = Server::start().await;
    let (eight_days, ahead) = (8 * 1_440 * MINUTE_MS, 5 * MINUTE_MS);
    for clock_ms in [-3 * 1_440 * MINUTE_MS, 0, 40 * MINUTE_MS] {
        let sent = now_ms() + clock_ms;
        let batch = Batch::new("edges")
            .with("sent_at_ms", sent)
            .value("lcp_ms", sent - eight_days + 30_000, 1.0)
            .value("lcp_ms", sent - eight_days - 1_000, 1.0)
            .value("lcp_ms", sent + ahead - 1_000, 1.0)
            .value("lcp_ms", sent + ahead + 30_000, 1.0);
        let reply = server.post(&batch.0).await;
        let reasons: Vec<(u64, String)> = reply
            .reasons()
            .into_iter()
            .map(|(_, sample, reason)| (sample.unwrap(), reason))
            .collect();
        assert_eq!(
            reasons,
            [(1, "too_old".to_owned()), (3, "in_future".to_owned())],
            "{clock_ms}"
        );
    }
    server.stop().await;
}

/// Stamps that no clock can have written when the request was sent, and times of samples with them.
fn impossible() -> Vec<(&'static str, serde_json::Value, Vec<serde_json::Value>)> {
    let now = now_ms();
    let exact = now as f64;
    let long_ago = now - 400 * 1_440 * MINUTE_MS;
    vec![
        ("text", json!("now"), vec![json!(now)]),
        ("digits as text", json!(now.to_string()), vec![json!(now)]),
        ("a list", json!([now]), vec![json!(now)]),
        ("true", json!(true), vec![json!(now)]),
        ("text, and nothing in it", json!("now"), vec![]),
        ("seconds", json!(now / 1_000), vec![json!(now / 1_000)]),
        (
            "seconds, with a fraction",
            json!(exact / 1e3),
            vec![json!(exact / 1e3 - 0.5)],
        ),
        (
            "seconds beside milliseconds",
            json!(now / 1_000),
            vec![json!(now)],
        ),
        (
            "microseconds",
            json!(now * 1_000),
            vec![json!(now * 1_000 - 7)],
        ),
        (
            "older than what sends it",
            json!(now - 30 * MINUTE_MS),
            vec![json!(now), json!(now - MINUTE_MS)],
        ),
        (
            "of a clock that was set since",
            json!(now + 20 * 1_440 * MINUTE_MS),
            vec![json!(now)],
        ),
        (
            "a flat battery only in the stamp",
            json!(long_ago),
            vec![json!(now), json!("x")],
        ),
    ]
}

#[tokio::test]
async fn a_stamp_that_no_clock_can_have_written_refuses_each_batch_and_its_number_is_known() {
    let server = Server::start().await;
    let cases = impossible();
    let mut samples = 0;
    for (name, stamp, times) in &cases {
        let mut batch = Batch::new("impossible")
            .with("terminal_id", name.replace([' ', ','], "-"))
            .with("session_id", "s");
        for t in times {
            batch = batch.push(json!({"m": "lcp_ms", "t": t, "v": 1}));
        }
        let weight = times.len() as u64;
        let alone = batch.clone().with("sent_at_ms", stamp.clone());
        let reply = server.post(&alone.0).await;
        let answer = (reply.status, reply.code());
        assert_eq!(answer, (422, "implausible_sent_at".to_owned()), "{name}");
        assert!(
            reply.text().contains("Unix milliseconds"),
            "{}",
            reply.text()
        );
        // Like one without consent: the number is known, the first content wins.
        let right = batch.clone().with("sent_at_ms", now_ms());
        assert_eq!(server.taken(&right.0).await, (0, weight, 0), "{name}");
        // Among many, a line for each.
        let (one, two) = (batch.clone().seq(7), batch.seq(8));
        let mut body = crate::support::many([&one, &two]);
        body["sent_at_ms"] = stamp.clone();
        let reply = server.post(&body).await;
        assert_eq!((reply.status, reply.counts()), (202, (0, 0, 2 * weight)));
        let line =
            |batch: u64| json!({"batch": batch, "sample": null, "reason": "implausible_sent_at"});
        assert_eq!(reply.json()["reasons"], json!([line(0), line(1)]), "{name}");
        samples += 3 * weight;
    }
    // A key is not used up by a refusal.
    let keyed = Batch::new("keyed")
        .without("queue")
        .without("seq")
        .filled(1);
    for (stamp, status) in [(json!("now"), 422), (json!(now_ms()), 202)] {
        let body = keyed.clone().with("sent_at_ms", stamp).0.to_string();
        let headers = [
            ("idempotency-key", "k"),
            ("content-type", "application/json"),
        ];
        assert_eq!(server.post_with(&headers, body).await.status, status);
    }
    let rejected = server.metrics().await.value(
        "tillwatch_samples_rejected_total",
        &[("reason", "implausible_sent_at")],
    );
    assert_eq!(rejected, samples as f64 + 1.0);
    server.stop().await;
}

#[tokio::test]
async fn a_clock_that_moves_between_two_posts_is_counted_in_the_terminals_line() {
    let server = Server::start().await;
    let till = Batch::new("moves");
    let twin = till.clone().with("terminal_id", "till-2");
    let hour = 60 * MINUTE_MS;
    // One is set an hour back and does not stamp once; the other drifts by seconds.
    let posts = [
        (&till, Some(0)),
        (&twin, Some(-40_000)),
        (&till, Some(-hour)),
        (&till, None),
        (&twin, Some(5_000)),
        (&till, Some(-hour)),
        (&till, Some(0)),
    ];
    for (seq, (queue, ahead_ms)) in (0_u64..).zip(posts) {
        let t_ms = now_ms() + ahead_ms.unwrap_or(0);
        let mut batch = queue.clone().seq(seq).value("lcp_ms", t_ms, 1.0);
        if ahead_ms.is_some() {
            batch = batch.with("sent_at_ms", t_ms);
        }
        assert_eq!(server.taken(&batch.0).await, (1, 0, 0));
    }
    // An impossible stamp says nothing of the clock.
    let odd = till.seq(50).filled(1).with("sent_at_ms", now_ms() / 1_000);
    assert_eq!(server.post(&odd.0).await.status, 422);
    let check = async |server: &Server| {
        server.wait_applied().await;
        let parameters = [("store_id", "moves"), ("hours", "0")];
        let answer = server.get("/api/v1/terminals", &parameters).await.json();
        let lines = answer["terminals"].as_array().unwrap();
        let of = |name: &str| {
            lines
                .iter()
                .find(|line| line["terminal_id"] == name)
                .unwrap()
        };
        assert_eq!(of("till-1")["clock_jumps"], 2, "{answer}");
        assert_eq!(of("till-2")["clock_jumps"], 0, "{answer}");
        assert!(
            of("till-1")["clock_skew_ms"].as_i64().unwrap() < 5_000,
            "{answer}"
        );
        let jumps = server
            .fleet()
            .await
            .value("pos_terminal_clock_jumps_total", &[("store_id", "moves")]);
        assert_eq!(jumps, 2.0);
    };
    check(&server).await;
    let server = server.kill_and_restart().await;
    check(&server).await;
    let server = server.restart().await;
    check(&server).await;
    server.stop().await;
}
