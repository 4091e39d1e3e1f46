//! What a terminal sends and what it is answered.

mod batches;
mod bodies;
mod clock;
mod connections;
mod dedup;
mod encodings;
mod events;
mod example;
mod faro;
mod foreign;
mod histograms;
mod keys;
mod legacy;
mod library;
mod limits;
mod mutations;
mod otlp;
mod own_metrics;
mod samples;
mod types;

use serde_json::Value;

use crate::support::{Batch, Server};

/// A sample or histogram, what is odd about it, and the reason for which it must be rejected.
type Case = (&'static str, Value, Option<&'static str>);

/// Posts all samples in one batch: each must meet its own fate and no other's.
async fn each_meets_its_fate(server: &Server, batch: Batch, list: &str, cases: &[Case]) {
    assert!(
        cases.len() < 100,
        "the list of reasons in an answer is capped"
    );
    let items: Vec<Value> = cases.iter().map(|(_, item, _)| item.clone()).collect();
    let reply = server.post(&batch.with(list, items).0).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    let reasons = reply.reasons();
    for (index, (name, item, expected)) in (0_u64..).zip(cases) {
        let found = reasons.iter().find(|(_, sample, _)| *sample == Some(index));
        let found = found.map(|(_, _, reason)| reason.as_str());
        assert_eq!(found, *expected, "{name}: {item}");
    }
}
