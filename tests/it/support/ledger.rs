//! What terminals were told is on disk, kept outside the collector, and comparing it with what is found.
//!
//! Every batch has a cell of its own: a store, a minute and a value below 2,048 µs, where a bucket holds
//! one value. So each batch can be told apart in ClickHouse, and is found exactly once or not.

use std::collections::BTreeMap;

use super::server::is_applied;
use super::{Batch, Reply, Server, now_ms};

/// Values that have a bucket each, in µs.
const VALUES: u64 = 2_000;
const MINUTE_MS: i64 = 60_000;

/// Where a batch's samples are: store, start of the minute (s), value (µs).
pub type Cell = (String, i64, u64);

/// A batch and its cell.
#[derive(Debug, Clone)]
pub struct Marked {
    pub batch: Batch,
    pub cell: Cell,
    pub samples: u64,
    /// The idempotency key it comes with, in place of queue and number.
    pub key: Option<String>,
}

/// One terminal with one queue, or one that keeps no queue and sends keys.
#[derive(Debug)]
pub struct Terminal {
    store_id: String,
    blank: Batch,
    base_ms: i64,
    made: u64,
    is_keyed: bool,
    /// Answered with 202.
    pub acknowledged: Vec<Marked>,
    /// Posted without an answer, or refused for now: to be sent again.
    pub open: Vec<Marked>,
}

impl Terminal {
    /// The only terminal of this store. Two terminals must not share a store: cells would meet.
    pub fn new(store_id: &str) -> Self {
        let base_ms = now_ms() / MINUTE_MS * MINUTE_MS - 60 * MINUTE_MS;
        Self {
            store_id: store_id.to_owned(),
            blank: Batch::new(store_id),
            base_ms,
            made: 0,
            is_keyed: false,
            acknowledged: Vec::new(),
            open: Vec::new(),
        }
    }

    /// The only terminal of this store, which keeps no queue.
    pub fn keyed(store_id: &str) -> Self {
        let mut terminal = Self::new(store_id);
        terminal.is_keyed = true;
        terminal.blank = terminal.blank.without("queue").without("seq");
        terminal
    }

    /// The next batch of the queue.
    pub fn make(&mut self, samples: u64) -> Marked {
        let number = self.made;
        self.made += 1;
        let value = 1 + number % VALUES;
        let minute_ms = self.base_ms - i64::try_from(number / VALUES).unwrap() * MINUTE_MS;
        let mut batch = self.blank.clone();
        if !self.is_keyed {
            batch = batch.seq(number);
        }
        for sample in 0..samples {
            let t_ms = minute_ms + i64::try_from(sample % 60_000).unwrap();
            #[expect(clippy::cast_precision_loss, reason = "below 2,048")]
            let wire = value as f64 / 1_000.0;
            batch = batch.value("lcp_ms", t_ms, wire);
        }
        let cell = (self.store_id.clone(), minute_ms / 1_000, value);
        Marked {
            batch,
            cell,
            samples,
            key: self.is_keyed.then(|| format!("batch-{number}")),
        }
    }

    /// Posts a batch and files it under what came of it; gives back the answer.
    pub async fn post(&mut self, server: &Server, marked: Marked) -> Option<Reply> {
        let reply = try_post(server, &marked).await;
        self.file(marked, reply.as_ref());
        reply
    }

    /// Files a batch under what came of it.
    pub fn file(&mut self, marked: Marked, reply: Option<&Reply>) {
        match reply {
            Some(reply) if reply.status == 202 => {
                let (accepted, duplicate, rejected) = reply.counts();
                assert_eq!(
                    (accepted + duplicate, rejected),
                    (marked.samples, 0),
                    "{}",
                    reply.text()
                );
                self.acknowledged.push(marked);
            }
            Some(reply) => {
                assert!(
                    matches!(reply.status, 429 | 503),
                    "{}: {}",
                    reply.status,
                    reply.text()
                );
                self.open.push(marked);
            }
            None => self.open.push(marked),
        }
    }

    /// Makes and posts so many batches, all of which must be acknowledged.
    pub async fn post_fresh(&mut self, server: &Server, batches: usize, samples: u64) {
        for _ in 0..batches {
            let marked = self.make(samples);
            let reply = self.post(server, marked).await.expect("an answer");
            assert_eq!(reply.status, 202, "{}", reply.text());
        }
    }

    /// Sends again what has no answer yet; all of it must be acknowledged now.
    pub async fn post_open(&mut self, server: &Server) {
        for marked in std::mem::take(&mut self.open) {
            self.post(server, marked).await;
        }
        assert_eq!(
            self.open.len(),
            0,
            "{}: not everything was taken",
            self.store_id
        );
    }

    /// Sends acknowledged batches again, every `one_in`-th of them: nothing may count twice.
    pub async fn post_again(&self, server: &Server, one_in: usize) {
        for marked in self.acknowledged.iter().rev().step_by(one_in) {
            let Some(reply) = try_post(server, marked).await else {
                return;
            };
            if reply.status == 202 {
                // With a key, it is answered as the first time.
                let expected = match &marked.key {
                    None => (0, marked.samples, 0),
                    Some(_) => (marked.samples, 0, 0),
                };
                assert_eq!(reply.header("idempotent-replayed") == "true", self.is_keyed);
                assert_eq!(reply.counts(), expected, "sent again: {:?}", marked.cell);
            }
        }
    }

    /// Samples acknowledged.
    pub fn samples(&self) -> u64 {
        self.acknowledged.iter().map(|marked| marked.samples).sum()
    }

    /// The sum of their values, µs.
    pub fn sum(&self) -> u64 {
        let all = self.acknowledged.iter();
        all.map(|marked| marked.samples * marked.cell.2).sum()
    }
}

/// Posts a batch; `None` when the connection broke before there was an answer.
pub async fn try_post(server: &Server, marked: &Marked) -> Option<Reply> {
    let mut request = server
        .request(reqwest::Method::POST, "/v1/batches")
        .header("content-type", "application/json");
    if let Some(key) = &marked.key {
        request = request.header("idempotency-key", key);
    }
    let response = request.body(marked.batch.0.to_string()).send().await.ok()?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.bytes().await.ok()?;
    Some(Reply {
        status,
        headers,
        body,
    })
}

/// What ought to be found.
pub fn expected(terminals: &[Terminal]) -> BTreeMap<Cell, u64> {
    let all = terminals.iter().flat_map(|terminal| &terminal.acknowledged);
    all.map(|marked| (marked.cell.clone(), marked.samples))
        .collect()
}

/// The statement whose answer [`found`] reads.
pub const CELLS: &str = "
    SELECT store_id, toUInt32(window_start), index, sum(weight)
    FROM (SELECT store_id, window_start, hist FROM tillwatch.rollup_1m FINAL WHERE metric = 'lcp_ms')
    ARRAY JOIN hist.1 AS index, hist.2 AS weight
    GROUP BY ALL FORMAT TSV";

/// What is found in ClickHouse.
pub fn found(tsv: &str) -> BTreeMap<Cell, u64> {
    let cell = |line: &str| {
        let mut parts = line.split('\t');
        let mut part = || parts.next().unwrap();
        let cell = (
            part().to_owned(),
            part().parse().unwrap(),
            part().parse().unwrap(),
        );
        (cell, part().parse().unwrap())
    };
    tsv.lines().map(cell).collect()
}

/// Each acknowledged batch is there exactly once, and nothing else is.
pub fn assert_exactly(terminals: &[Terminal], tsv: &str) {
    let (expected, found) = (expected(terminals), found(tsv));
    let missing: Vec<_> = expected
        .iter()
        .filter(|(cell, _)| !found.contains_key(*cell))
        .collect();
    let other: Vec<_> = found
        .iter()
        .filter(|(cell, samples)| expected.get(*cell) != Some(*samples))
        .map(|(cell, samples)| (cell, samples, expected.get(cell)))
        .collect();
    assert!(
        missing.is_empty() && other.is_empty(),
        "of {} batches {} are missing: {:?}; {} are there other than they were sent (found, sent): {:?}",
        expected.len(),
        missing.len(),
        &missing[..missing.len().min(5)],
        other.len(),
        &other[..other.len().min(5)],
    );
}

/// The query API gives each store exactly what was acknowledged.
pub async fn assert_query_api(terminals: &[Terminal], server: &Server) {
    let (from, to) = ((now_ms() - 86_400_000).to_string(), now_ms().to_string());
    let parameters = [
        ("metric", "lcp_ms"),
        ("q", "0.5"),
        ("from", &from),
        ("to", &to),
        ("group_by", "store_id"),
    ];
    let answer = server.percentiles(&parameters).await;
    let mut expected: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for terminal in terminals.iter().filter(|terminal| terminal.samples() > 0) {
        expected.insert(
            terminal.store_id.clone(),
            (terminal.samples(), terminal.sum()),
        );
    }
    let of_series = |series: &serde_json::Value| {
        let point = &series["points"][0];
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a sum of small values"
        )]
        let sum_us = (point["sum"].as_f64().unwrap() * 1_000.0).round() as u64;
        let store_id = series["store_id"].as_str().unwrap().to_owned();
        (store_id, (point["count"].as_u64().unwrap(), sum_us))
    };
    let found: BTreeMap<_, _> = answer["series"]
        .as_array()
        .unwrap()
        .iter()
        .map(of_series)
        .collect();
    assert_eq!(found, expected, "count and sum by store");
}

async fn wait_none(server: &Server, places: &[&str]) {
    let started = std::time::Instant::now();
    loop {
        let page = server.metrics().await;
        let at = |place: &&str| page.value("tillwatch_ledger_samples", &[("place", *place)]);
        if is_applied(&page, started) && places.iter().map(at).sum::<f64>() < 0.5 {
            return;
        }
        let patience = std::time::Duration::from_secs(60);
        assert!(
            started.elapsed() < patience,
            "still {places:?}: {}",
            server.log()
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Waits until nothing is open.
pub async fn wait_sealed(server: &Server) {
    wait_none(server, &["open"]).await;
}

/// Waits until everything taken in is confirmed; a failed round is followed by pauses of up to a minute.
pub async fn wait_drained(server: &Server) {
    wait_none(server, &["open", "outbox"]).await;
}

/// How many samples are found.
pub fn found_samples(tsv: &str) -> u64 {
    found(tsv).values().sum()
}
