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
    // A stamp that is no number is no correction.
    for (index, stamp) in [json!("now"), json!(null), json!([1]), json!(true)]
        .into_iter()
        .enumerate()
    {
        let store_id = format!("odd-{index}");
        let batch = Batch::new(&store_id)
            .value("lcp_ms", now, 1.0)
            .with("sent_at_ms", stamp.clone());
        assert_eq!(server.taken(&batch.0).await, (1, 0, 0), "{stamp}");
        assert_eq!(minute_of(&server, &store_id, now).await, 0, "{stamp}");
    }
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
