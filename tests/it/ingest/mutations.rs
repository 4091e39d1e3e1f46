//! Bodies broken at random: never a crash, never an answer of the server's own fault, never a sample
//! without an outcome.

use serde_json::{Value, json};

use crate::support::{Batch, Reply, Server, many, now_ms};

/// Printed with every failure; `TILLWATCH_TEST_SEED` gives another.
fn seed() -> u64 {
    let given = std::env::var("TILLWATCH_TEST_SEED").ok();
    given
        .and_then(|text| text.parse().ok())
        .unwrap_or(20_261_121)
}

fn body(random: &mut fastrand::Rng) -> Value {
    let t_ms = now_ms() / 60_000 * 60_000;
    let batch = |store: &str, seq: u64| {
        Batch::new(store)
            .with("terminal_id", format!("t{}", uuid::Uuid::new_v4()))
            .seq(seq)
            .with("session_id", "s")
            .value("lcp_ms", t_ms, 12.5)
            .push(json!({"m": "cache_requests", "t": t_ms, "v": 1, "label": "hit", "connection": "slow"}))
            .push_histogram(json!({"m": "idb_write_ms", "t": t_ms, "span_ms": 60_000, "connection": "offline",
                "buckets": [[4048, 1], [4297, 1], [4322, 1], [4609, 1]], "sum": 40.1, "min": 8.0, "max": 12.3}))
    };
    if random.bool() {
        batch("mutant", random.u64(0..5)).with("sent_at_ms", t_ms).0
    } else {
        let mut body = many([&batch("mutant", 1), &batch("other", 2)]);
        body["sent_at_ms"] = json!(t_ms);
        body
    }
}

/// One of the values that programs write by mistake.
fn odd_value(random: &mut fastrand::Rng) -> Value {
    let values = [
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(1.0),
        json!(591),
        json!(now_ms() / 1_000),
        json!(-0.0),
        json!(1e308),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(""),
        json!("1"),
        json!("NaN"),
        json!("ä\u{0}\u{1F4A9}"),
        json!("x".repeat(3_000)),
        json!([]),
        json!({}),
        json!([[]]),
        json!([null]),
        json!({"": null}),
        json!([1, "a", {"b": []}]),
        json!({"batches": []}),
        json!([[0, 1]]),
        json!(4_294_967_296_u64),
        json!(60_000),
        json!("lcp_ms"),
        json!({"m": "lcp_ms", "t": 1, "v": 1}),
    ];
    random.choice(&values).unwrap().clone()
}

/// Walks to a random place and does something there.
fn mutate(value: &mut Value, random: &mut fastrand::Rng) {
    let stay = random.u8(0..4) == 0;
    match value {
        Value::Object(map) if !stay && !map.is_empty() => {
            let keys: Vec<String> = map.keys().cloned().collect();
            let key = random.choice(&keys).unwrap();
            match random.u8(0..8) {
                0 => drop(map.remove(key)),
                1 => drop(map.insert(format!("{key}x"), odd_value(random))),
                2 => {
                    let other = random.choice(&keys).unwrap();
                    let copy = map[other].clone();
                    map.insert(key.clone(), copy);
                }
                _ => mutate(&mut map[key], random),
            }
        }
        Value::Array(list) if !stay && !list.is_empty() => {
            let index = random.usize(0..list.len());
            match random.u8(0..8) {
                0 => drop(list.remove(index)),
                1 => list.insert(index, odd_value(random)),
                2 => list.push(list[index].clone()),
                _ => mutate(&mut list[index], random),
            }
        }
        other => *other = odd_value(random),
    }
}

/// An answer that says whose fault it is: nobody's, or the sender's.
fn is_an_answer(reply: &Reply, what: &str) {
    match reply.status {
        202 => drop((reply.counts(), reply.reasons())),
        400 | 413 | 422 => drop(reply.code()),
        other => panic!("{other}: {}: {what}", reply.text()),
    }
}

#[tokio::test]
async fn a_body_cut_off_anywhere_is_malformed() {
    let server = Server::start().await;
    let text = Batch::new("cut").filled(1).0.to_string();
    for length in 0..text.len() {
        let reply = server
            .post_with(
                &[("content-type", "application/json")],
                text.as_bytes()[..length].to_vec(),
            )
            .await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (400, "malformed_body"),
            "{:?}",
            &text[..length]
        );
    }
    let reply = server.post_with(&[], text).await;
    assert_eq!(reply.counts(), (1, 0, 0), "nothing of the pieces was taken");
    server.stop().await;
}

#[tokio::test]
async fn any_odd_value_anywhere_is_taken_or_refused_and_every_sample_is_counted() {
    let server = Server::start().await;
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..1_500 {
        let mut body = body(&mut random);
        for _ in 0..random.u8(1..5) {
            mutate(&mut body, &mut random);
        }
        let reply = server.post(&body).await;
        is_an_answer(&reply, &format!("seed {seed}, round {round}: {body}"));
        if reply.status == 202 && random.u8(0..8) == 0 {
            // Whatever became of it, nothing of it counts again.
            let again = server.post(&body).await;
            assert_eq!(
                (again.status, again.counts().0),
                (202, 0),
                "seed {seed}, round {round}: {body}"
            );
        }
        if round % 250 == 0 {
            server.outcomes_add_up().await;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn any_wrong_byte_anywhere_is_taken_or_refused_and_every_sample_is_counted() {
    let server = Server::start().await;
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..1_500 {
        let mut bytes = body(&mut random).to_string().into_bytes();
        for _ in 0..random.u8(1..4) {
            let at = random.usize(0..bytes.len());
            match random.u8(0..4) {
                0 => bytes[at] = random.u8(..),
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, *random.choice(b"{}[]\",:0eE-+.\\u\x00\xff").unwrap()),
                _ => {
                    let end = (at + random.usize(1..40)).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    let to = random.usize(0..bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
        }
        let what = format!(
            "seed {seed}, round {round}: {}",
            String::from_utf8_lossy(&bytes)
        );
        let reply = server
            .post_with(&[("content-type", "application/json")], bytes)
            .await;
        is_an_answer(&reply, &what);
    }
    server.stop().await;
}
