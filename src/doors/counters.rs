//! Counts requests and what they took, as metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};

use crate::doors::refusal;
use crate::intake::laps::Stage;
use crate::self_metrics as names;

/// Handles to the doors' counters; looking one up by name for every request would cost more than counting.
#[derive(Debug)]
pub struct Counters {
    /// Bytes of bodies as they came.
    pub body_bytes: Counter,
    /// Keys that mean nothing in this version.
    pub unknown_keys: Counter,
    /// Bodies that were marked as packed and were not.
    pub mislabelled: Counter,
    /// Requests that took long.
    pub slow: Counter,
    /// Requests whose client went away.
    pub abandoned: Counter,
    /// Requests under way.
    pub in_flight: Gauge,
    requests: Vec<(u16, Counter)>,
    refused: BTreeMap<&'static str, Counter>,
    /// How long requests took, by the first digit of the status, from 2.
    request_seconds: [Histogram; 4],
    stage_seconds: [Histogram; Stage::ALL.len()],
}

impl Default for Counters {
    fn default() -> Self {
        metrics::counter!(names::RENEWED).increment(0);
        let request = |status: u16| {
            let text = status.to_string();
            (status, metrics::counter!(names::REQUESTS, "status" => text))
        };
        Self {
            body_bytes: metrics::counter!(names::BODY_BYTES),
            unknown_keys: metrics::counter!(names::UNKNOWN_KEYS),
            mislabelled: metrics::counter!(names::MISLABELLED),
            slow: metrics::counter!(names::SLOW),
            abandoned: metrics::counter!(names::ABANDONED),
            in_flight: metrics::gauge!(names::IN_FLIGHT),
            requests: refusal::statuses().into_iter().map(request).collect(),
            refused: refusal::codes()
                .map(|code| (code, metrics::counter!(names::REFUSED, "code" => code)))
                .collect(),
            request_seconds: ["2xx", "3xx", "4xx", "5xx"]
                .map(|class| metrics::histogram!(names::REQUEST_SECONDS, "class" => class)),
            stage_seconds: Stage::ALL
                .map(|stage| metrics::histogram!(names::STAGE_SECONDS, "stage" => stage.name())),
        }
    }
}

impl Counters {
    /// Counts a request by its status, and what it took.
    pub fn answer(&self, status: u16, duration: Duration) {
        let class = usize::from(status / 100).saturating_sub(2);
        if let Some(seconds) = self.request_seconds.get(class) {
            seconds.record(duration);
        }
        if let Some((_, counter)) = self.requests.iter().find(|(known, _)| *known == status) {
            counter.increment(1);
        }
    }

    /// Counts what a stage took, by its number.
    pub fn stage(&self, stage: usize, spent: Duration) {
        if let Some(seconds) = self.stage_seconds.get(stage) {
            seconds.record(spent);
        }
    }

    /// Counts an answer with an error.
    pub fn refuse(&self, code: &'static str) {
        match self.refused.get(code) {
            Some(counter) => counter.increment(1),
            None => metrics::counter!(names::REFUSED, "code" => code).increment(1),
        }
    }
}
