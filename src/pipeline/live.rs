//! Drives what people see while it happens: a look whenever batches were applied, at most four times a second, and one
//! every second while nobody looks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::holdings::Holdings;
use crate::live::{Counted, Live, OfRelease, Past};
use crate::persist::State;
use crate::pipeline::pages::Pages;
use crate::query::{Query, QueryError};
use crate::recorder;
use crate::self_metrics as names;

/// The shortest time between two looks.
const STEP_EVERY: Duration = Duration::from_millis(250);
/// What comes within so long after the first batch is looked at together.
const GATHER: Duration = Duration::from_millis(15);
/// The longest time between two looks, and the time between two points of the path of batches.
const SECOND: Duration = Duration::from_secs(1);
/// How often it is looked whether a word on a rollout was said, and what only the disk can tell. Unit: seconds.
const LOOK_EVERY_S: u64 = 5;

/// How often it is asked what is at rest, for the sparks.
const REMEMBER_EVERY: Duration = Duration::from_secs(60);
/// Stores that are asked for: an answer has 11,000 points at most.
const STORES_REMEMBERED: &str = "180";

/// An answer about the last hour.
#[derive(Debug, Default, Deserialize)]
struct Hour {
    series: Vec<Series>,
}

#[derive(Debug, Deserialize)]
struct Series {
    store_id: Option<String>,
    points: Vec<Minute>,
}

#[derive(Debug, Deserialize)]
struct Minute {
    t: i64,
    values: BTreeMap<String, f64>,
}

impl Hour {
    fn add_to(self, past: &mut Past) {
        for Series { store_id, points } in self.series {
            let points = points.into_iter();
            let points = points.filter_map(|minute| Some((minute.t, *minute.values.get("0.95")?)));
            match store_id {
                Some(store_id) => {
                    past.stores.insert(store_id, points.collect());
                }
                None => past.all.extend(points),
            }
        }
    }
}

/// Drives what people see.
pub(super) struct Driver {
    pub(super) live: Arc<Live>,
    pub(super) holdings: Arc<Holdings>,
    pub(super) state: Arc<State>,
    pub(super) query: Arc<Query>,
    pub(super) recorder: recorder::Handle,
    pub(super) pages: Arc<Pages>,
}

impl Driver {
    /// Looks until it is aborted.
    pub(super) async fn run(self) {
        // What was counted before a store is looked at first is not among what it did lately.
        self.live.step().await;
        let mut applied = self.holdings.applied();
        let beating = self.beat();
        let looking = self.look(&mut applied);
        let remembering = self.remember();
        tokio::join!(beating, looking, remembering, self.live.wake());
    }

    async fn look(&self, applied: &mut watch::Receiver<u64>) {
        loop {
            if self.live.readers() == 0 {
                let _somebody = timeout(SECOND, self.live.wanted()).await;
            } else if let Ok(Ok(())) = timeout(SECOND, applied.changed()).await {
                sleep(GATHER).await;
            }
            applied.mark_unchanged();
            let began = Instant::now();
            self.live.step().await;
            // A look that takes long is followed by as long a rest.
            let took = began.elapsed();
            sleep_until(began + STEP_EVERY.max(took * 2)).await;
        }
    }

    async fn beat(&self) {
        let mut word = self.last_word().await;
        for second in 0_u64.. {
            let next = Instant::now() + SECOND;
            if second.is_multiple_of(LOOK_EVERY_S) {
                word = self.tell_words(word).await;
                // Otherwise only whoever scrapes would make these numbers new.
                self.pages.disk.refresh().await;
            }
            self.live.beat(self.counted()).await;
            sleep_until(next).await;
        }
    }

    /// Asks what is at rest for the last hour, while somebody looks: after a start, and after much came late, the sparks
    /// would have holes.
    async fn remember(&self) {
        loop {
            self.live.wanted().await;
            let mut past = Past::default();
            for by_store in [false, true] {
                match self.hour(by_store).await {
                    Ok(answer) => answer.add_to(&mut past),
                    Err(error) => {
                        tracing::debug!(error = crate::logging::chain(&error), "no sparks");
                    }
                }
            }
            self.live.fill(past).await;
            sleep(REMEMBER_EVERY).await;
        }
    }

    /// Synchronisations of the last hour by minute: of all stores together, or of those that are slowest.
    async fn hour(&self, by_store: bool) -> Result<Hour, QueryError> {
        let mut parameters = vec![
            ("metric", "sync_duration_ms"),
            ("q", "0.95"),
            ("step", "1m"),
        ];
        if by_store {
            parameters.extend([
                ("group_by", "store_id"),
                ("order_by", "0.95"),
                ("limit", STORES_REMEMBERED),
            ]);
        }
        let parameters = parameters.iter();
        let parameters = parameters.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let answer = self.query.percentiles(&parameters.collect()).await?;
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    }

    fn counted(&self) -> Counted {
        let totals = self.holdings.read(crate::aggregate::Aggregator::totals);
        let known = self.recorder.histogram(names::REQUEST_SECONDS);
        let recorder::Values { bounds, series } = known.unwrap_or_default();
        let mut counted = Counted {
            batches: totals.records,
            samples: totals.accepted,
            bounds,
            ..Counted::default()
        };
        for (labels, counts) in series {
            if !labels.contains("2xx") {
                counted.refused += counts.iter().sum::<u64>();
            }
            counted.durations.resize(counts.len(), 0);
            for (sum, count) in counted.durations.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        counted
    }

    /// The number of the last word on a rollout; 0: none was said.
    async fn last_word(&self) -> i64 {
        let state = Arc::clone(&self.state);
        let last = tokio::task::spawn_blocking(move || state.last_verdict());
        last.await.ok().and_then(Result::ok).unwrap_or(0)
    }

    /// Tells of the words that were said since this one.
    async fn tell_words(&self, since: i64) -> i64 {
        let state = Arc::clone(&self.state);
        let words = tokio::task::spawn_blocking(move || state.verdicts_since(since));
        let words = words.await.ok().and_then(Result::ok).unwrap_or_default();
        let mut last = since;
        for kept in words {
            last = last.max(kept.id);
            let row = kept.row;
            let occasion = row.occasion.name();
            let word = OfRelease::new(
                row.judged_at_ms,
                row.release,
                row.verdict,
                row.step_percent,
                occasion,
            );
            self.live.tell(word).await;
        }
        last
    }
}

/// Every counter and gauge of a page for Prometheus, without histograms, as a JSON object.
pub(super) fn series_of(page: &str) -> String {
    let histogram = |name: &str| {
        let declared = names::ALL.iter().find(|(known, ..)| {
            let suffix = name.strip_prefix(known);
            suffix.is_some_and(|suffix| matches!(suffix, "_bucket" | "_sum" | "_count"))
        });
        declared.is_some_and(|(_, kind, _)| *kind == names::MetricType::Histogram)
    };
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let series = lines.filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let name = series.split('{').next()?;
        let value: f64 = value.parse().ok()?;
        (!histogram(name)).then_some((series, value))
    });
    let series: BTreeMap<&str, f64> = series.collect();
    // Numbers that JSON does not have are written as null.
    serde_json::to_string(&series).unwrap_or_else(|_unwritten| "{}".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_gauges_are_series_and_histograms_are_not() {
        let page = "# HELP tillwatch_seals_total Counts.\ntillwatch_seals_total{result=\"ok\"} 7\n\
            tillwatch_seal_duration_seconds_bucket{le=\"0.1\"} 3\ntillwatch_seal_duration_seconds_sum 1.5\n\
            tillwatch_open_rows 0\n";
        let series: serde_json::Value = serde_json::from_str(&series_of(page)).unwrap();
        let known = serde_json::json!({"tillwatch_seals_total{result=\"ok\"}": 7.0, "tillwatch_open_rows": 0.0});
        assert_eq!(series, known);
    }
}
