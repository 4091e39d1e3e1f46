//! How many rows one store may make in an hour, and who waits when it has made them.

use crate::support::{Batch, Server, many, now_ms};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// Half of them are one terminal's that is alone.
const ROWS: &str = "400";

/// A batch that makes twenty rows: a sample in each of twenty minutes, which no batch of another `number` has.
fn batch(store_id: &str, terminal_id: &str, number: i64) -> Batch {
    let from_ms = now_ms() - 24 * HOUR_MS + number * 20 * MINUTE_MS;
    (0..20).fold(
        Batch::new(store_id).with("terminal_id", terminal_id),
        |batch, minute| batch.value("lcp_ms", from_ms + minute * MINUTE_MS, 1.0),
    )
}

fn hour() -> i64 {
    now_ms().div_euclid(HOUR_MS)
}

/// Posts until the terminal is told to wait; gives the batches that were taken and the one that was not.
async fn post_until_full(server: &Server) -> (Vec<Batch>, Batch) {
    let mut taken = Vec::new();
    for number in 0..60 {
        let batch = batch("greedy", "till-1", number);
        let reply = server.post(&batch.0).await;
        if reply.status == 202 {
            taken.push(batch);
            continue;
        }
        assert_eq!((reply.status, &*reply.code()), (429, "rows_full"));
        let text = reply.text();
        assert!(text.contains("store_rows_per_hour"), "{text}");
        let left_s = (HOUR_MS - now_ms().rem_euclid(HOUR_MS)) / 1_000;
        let wait_s: i64 = reply.header("retry-after").parse().unwrap();
        assert!(
            (left_s..=left_s + 130).contains(&wait_s),
            "{wait_s}, {left_s} are left"
        );
        return (taken, batch);
    }
    panic!("sixty batches of twenty rows were taken");
}

#[tokio::test]
async fn a_terminal_that_makes_too_many_rows_waits_for_the_next_hour_and_nobody_else_does() {
    // A new hour may begin at any moment, and then everybody may go on.
    loop {
        let begun = hour();
        let server = Server::start_with(&[("TILLWATCH_STORE_ROWS_PER_HOUR", ROWS)]).await;
        let (taken, refused) = post_until_full(&server).await;
        // What is on its way while the rows are counted gets in, too.
        assert!((10..=20).contains(&taken.len()), "{} batches", taken.len());
        // A batch that was taken is known, and one request with it keeps what others send.
        let again = [
            &taken[0],
            &batch("greedy", "till-2", 0),
            &batch("other", "till-1", 0),
        ];
        let mate = server.taken(&again[1].0).await;
        let other = server.taken(&again[2].0).await;
        let known = server.taken(&again[0].0).await;
        let live = Batch::new("greedy")
            .with("terminal_id", "till-1")
            .value_now("lcp_ms", 1.0);
        let live = server.taken(&live.0).await;
        let mixed = batch("other", "till-1", 1);
        let together = server.post(&many([&refused, &mixed])).await;
        let mixed_again = server.taken(&mixed.0).await;

        // The rows that a replay finds are counted again.
        let page = server.metrics().await;
        let server = server.kill_and_restart().await;
        let still = server.post(&refused.0).await;
        if hour() != begun {
            server.kill();
            continue;
        }
        assert_eq!((mate, other, known), ((20, 0, 0), (20, 0, 0), (0, 20, 0)));
        assert_eq!(live, (1, 0, 0), "what was just measured makes few rows");
        let wait_s: u32 = together.header("retry-after").parse().unwrap();
        assert!(
            (60..=180).contains(&wait_s),
            "others must not wait for an hour: {wait_s}"
        );
        assert_eq!((together.status, &*together.code()), (429, "rows_full"));
        assert_eq!(
            mixed_again,
            (0, 20, 0),
            "it was taken beside the one that waits"
        );
        let rows = [("what", "rows")];
        assert!(page.value("tillwatch_share_largest_store", &rows) >= 200.0);
        assert_eq!(page.value("tillwatch_share_places", &rows), 400.0);
        assert_eq!(page.value("tillwatch_share_refusals_total", &rows), 2.0);
        assert_eq!((still.status, &*still.code()), (429, "rows_full"));
        let log = server.log();
        let line = log
            .lines()
            .find(|line| line.contains("as many rows as it may"));
        let line = line.unwrap_or_else(|| panic!("{log}"));
        assert!(line.contains("greedy") && line.contains("till-1"), "{line}");

        let (from, to) = (
            (begun * HOUR_MS - 48 * HOUR_MS).to_string(),
            now_ms().to_string(),
        );
        let asked = [
            ("metric", "lcp_ms"),
            ("store_id", "greedy"),
            ("from", &from),
            ("to", &to),
        ];
        let answer = server.percentiles(&asked).await;
        let points = answer["series"][0]["points"].as_array().unwrap().iter();
        let counted: u64 = points.map(|point| point["count"].as_u64().unwrap()).sum();
        // Nothing of what was taken is lost: the terminal's batches, one of its neighbour's, and what was just measured.
        assert_eq!(counted, 20 * (taken.len() as u64 + 1) + 1, "{answer}");
        server.stop().await;
        return;
    }
}

#[tokio::test]
async fn stores_that_are_not_listed_wait_together_whatever_they_are_called() {
    loop {
        let begun = hour();
        let settings = [
            ("TILLWATCH_STORE_ROWS_PER_HOUR", ROWS),
            ("TILLWATCH_STORE_LIST", "listed"),
        ];
        let server = Server::start_with(&settings).await;
        // Each batch comes from another store, and makes twenty rows of `__overflow__`.
        let mut refused = None;
        for number in 0..60 {
            let batch = batch(&format!("invented-{number}"), "till-1", number);
            let reply = server.post(&batch.0).await;
            if reply.status != 202 {
                refused = Some((number, reply.status, reply.code()));
                break;
            }
        }
        let listed = server.taken(&batch("listed", "till-1", 0).0).await;
        let log = server.log();
        server.stop().await;
        if hour() != begun {
            continue;
        }
        let (number, status, code) = refused.expect("sixty stores made 1,200 rows");
        assert!((19..=30).contains(&number), "{number}");
        assert_eq!((status, &*code), (429, "rows_full"));
        assert_eq!(listed, (20, 0, 0));
        assert!(log.contains("stores without a name of their own"), "{log}");
        return;
    }
}
