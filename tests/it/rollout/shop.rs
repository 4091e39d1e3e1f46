//! A small fleet that trades day and night, posted hour by hour as histograms, with a release that some stores get.

use serde_json::{Value, json};
use tillwatch_model::histogram::bucket_index;
use tillwatch_model::time::HOUR_MS;

use crate::support::{Batch, Server, many, now_ms};

/// Stores of the fleet, and how many of them get the release: four against twelve are enough to decide.
pub const STORES: usize = 16;
pub const WITH: usize = 4;
pub const TERMINALS: usize = 3;
/// As many hours as terminals may bring at once: the week before, and what comes after it.
const PAST_HOURS: i64 = 190;
/// Values of each metric that a terminal measures in an hour.
const VALUES: usize = 40;

pub const OLD: &str = "2.4.1";
pub const NEW: &str = "2.5.0";

/// What a release does.
#[derive(Clone, Copy)]
pub struct Release {
    /// How many hours ago the stores got it.
    pub hours_ago: i64,
    /// How much longer everything takes.
    pub slower: f64,
    /// The same in one of the stores alone.
    pub slower_in_one: f64,
    /// Terminals of each store that post nothing once they have it, of three.
    pub silent: usize,
}

impl Default for Release {
    fn default() -> Self {
        Self {
            hours_ago: 27,
            slower: 1.0,
            slower_in_one: 1.0,
            silent: 0,
        }
    }
}

/// Terminals by store and place, with what they have sent.
pub struct Shop {
    random: fastrand::Rng,
    /// The hour under way when the fleet was made, since 1970.
    pub now: i64,
    queues: Vec<Batch>,
    own: Vec<f64>,
}

impl Shop {
    pub fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let own = (0..STORES).map(|_| 0.7 + 0.6 * random.f64()).collect();
        let terminals = (0..STORES * TERMINALS).map(|at| {
            Batch::new(&store_id(at / TERMINALS))
                .with("terminal_id", format!("till-{}", at % TERMINALS))
        });
        Self {
            now: now_ms() / HOUR_MS,
            queues: terminals.collect(),
            random,
            own,
        }
    }

    /// The hour in which the release comes.
    pub fn begins(&self, release: Release) -> i64 {
        self.now - release.hours_ago
    }

    /// Posts the past of all terminals, in which the first stores get the release.
    pub async fn trade(&mut self, server: &Server, release: Release) {
        let begins = self.begins(release);
        // A release has its name once two terminals report it, so all of them begin before the first goes on.
        for hours in [
            self.now - PAST_HOURS..begins,
            begins..begins + 1,
            begins + 1..self.now,
        ] {
            for at in 0..self.queues.len() {
                let (store, till) = (at / TERMINALS, at % TERMINALS);
                let has_it = store < WITH && hours.start >= begins;
                // Where all fall silent, each has said once that it has the release.
                let still = if release.silent == TERMINALS {
                    begins + 1
                } else {
                    begins
                };
                let is_silent = has_it && till < release.silent && hours.start >= still;
                let factor = if store == 0 {
                    release.slower_in_one
                } else {
                    1.0
                } * release.slower;
                let runs = if has_it { (NEW, factor) } else { (OLD, 1.0) };
                if !is_silent {
                    self.post(server, at, hours.clone(), runs).await;
                }
            }
        }
    }

    /// Has a terminal post some hours on a release.
    pub async fn post(
        &mut self,
        server: &Server,
        at: usize,
        hours: std::ops::Range<i64>,
        (release, factor): (&str, f64),
    ) {
        let hours: Vec<i64> = hours.collect();
        let mut batches = Vec::new();
        for hours in hours.chunks(12) {
            let mut batch = self.queues[at].clone().with("release", release);
            for hour in hours {
                batch = self.hour(batch, at / TERMINALS, *hour, factor);
            }
            self.queues[at] = batch.next();
            batches.push(batch);
        }
        for batches in batches.chunks(8) {
            let (_, duplicate, rejected) = server.taken(&many(batches)).await;
            assert_eq!((duplicate, rejected), (0, 0));
        }
    }

    fn hour(&mut self, batch: Batch, store: usize, hour: i64, factor: f64) -> Batch {
        let t_ms = hour * HOUR_MS;
        let mut batch = batch;
        for (metric, usual_ms) in [
            ("sync_duration_ms", 800.0),
            ("page_load_ms", 100.0),
            ("offline_login_duration_ms", 150.0),
        ] {
            let typical_ms = usual_ms * self.own[store] * factor;
            batch = batch.push_histogram(self.histogram(metric, t_ms, typical_ms));
        }
        batch.push(json!({
            "m": "sync_attempts", "t": t_ms + 60_000, "v": VALUES, "connection": "online",
            "label": "success",
        }))
    }

    fn histogram(&mut self, metric: &str, t_ms: i64, typical_ms: f64) -> Value {
        let mut values: Vec<u64> = (0..VALUES)
            .map(|_| {
                // The sum of three is about normal.
                let z: f64 = (0..3).map(|_| self.random.f64() - 0.5).sum::<f64>() * 2.0;
                (typical_ms * 1_000.0 * (0.4 * z).exp()) as u64
            })
            .collect();
        values.sort_unstable();
        let mut buckets: Vec<(u32, u64)> = Vec::new();
        for value in &values {
            match buckets.last_mut() {
                Some((index, count)) if *index == bucket_index(*value) => *count += 1,
                _ => buckets.push((bucket_index(*value), 1)),
            }
        }
        let wire = |value: u64| value as f64 / 1_000.0;
        json!({
            "m": metric, "t": t_ms, "span_ms": HOUR_MS, "connection": "online", "buckets": buckets,
            "sum": wire(values.iter().sum()), "min": wire(values[0]), "max": wire(values[VALUES - 1]),
        })
    }

    /// Has everybody who is not silent post once more, now, and waits until all is in ClickHouse.
    pub async fn settle(&mut self, server: &Server, release: Release) {
        for at in 0..self.queues.len() {
            let (store, till) = (at / TERMINALS, at % TERMINALS);
            let has_it = store < WITH;
            if has_it && till < release.silent {
                continue;
            }
            let batch = self.queues[at]
                .clone()
                .with("release", if has_it { NEW } else { OLD })
                .value_now("pending_transactions", 1.0);
            self.queues[at] = batch.next();
            server.taken(&batch.0).await;
        }
        self.seal(server).await;
    }

    pub async fn seal(&self, server: &Server) {
        server.wait_applied().await;
        let url = format!("{}/api/v1/seal", server.admin_url());
        let reply = reqwest::Client::new()
            .post(url)
            .header("content-type", "application/json");
        assert!(reply.body("{}").send().await.unwrap().status().is_success());
        server.wait_confirmed().await;
    }
}

pub fn store_id(store: usize) -> String {
    format!("store-{store:02}")
}
