//! Builds batches as terminals write them.

use serde_json::{Value, json};
use uuid::Uuid;

/// The wall clock, Unix ms.
pub fn now_ms() -> i64 {
    tillwatch_model::time::wall_ms()
}

/// Waits until the minute is neither young nor about to end, so that a second more or less is no other minute.
pub async fn in_the_middle_of_a_minute() -> i64 {
    loop {
        let now = now_ms();
        if (15_000..50_000).contains(&(now % 60_000)) {
            return now;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

/// One batch: valid unless told otherwise, with a queue of its own.
#[derive(Debug, Clone)]
pub struct Batch(pub Value);

impl Batch {
    /// The first batch of a new queue of this store's only terminal, without samples.
    pub fn new(store_id: &str) -> Self {
        Self(json!({
            "v": 1, "store_id": store_id, "terminal_id": "till-1", "queue": Uuid::new_v4().to_string(),
            "seq": 0, "release": "2.4.1", "consent": true, "source": "rum", "samples": [], "histograms": [],
        }))
    }

    /// Sets a key, whatever it was.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0[key] = value.into();
        self
    }

    /// Leaves a key out.
    pub fn without(mut self, key: &str) -> Self {
        self.0.as_object_mut().unwrap().remove(key);
        self
    }

    /// The number in the queue.
    pub fn seq(self, seq: u64) -> Self {
        self.with("seq", seq)
    }

    /// Another batch of the same queue.
    pub fn next(&self) -> Self {
        let seq = self.0["seq"].as_u64().unwrap() + 1;
        self.clone()
            .with("samples", json!([]))
            .with("histograms", json!([]))
            .seq(seq)
    }

    /// Adds a sample as it is.
    pub fn push(mut self, sample: Value) -> Self {
        self.0["samples"].as_array_mut().unwrap().push(sample);
        self
    }

    /// Adds a histogram as it is.
    pub fn push_histogram(mut self, histogram: Value) -> Self {
        self.0["histograms"].as_array_mut().unwrap().push(histogram);
        self
    }

    /// Adds a value of a metric without a label, at a time.
    pub fn value(self, metric: &str, t_ms: i64, value: f64) -> Self {
        self.push(json!({"m": metric, "t": t_ms, "v": value, "connection": "online"}))
    }

    /// Adds a value of a metric without a label, now.
    pub fn value_now(self, metric: &str, value: f64) -> Self {
        self.value(metric, now_ms(), value)
    }

    /// Adds so many samples of no interest.
    pub fn filled(mut self, samples: usize) -> Self {
        let t_ms = now_ms();
        for _ in 0..samples {
            self = self.value("lcp_ms", t_ms, 1_000.0);
        }
        self
    }
}

/// The form that carries many batches.
pub fn many<'a>(batches: impl IntoIterator<Item = &'a Batch>) -> Value {
    let batches: Vec<&Value> = batches.into_iter().map(|batch| &batch.0).collect();
    json!({ "batches": batches })
}
