//! The page in each format, compressed or not; native histograms.

use std::io::Read;

use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::{
    Histogram, MetricFamily,
};
use prost::Message;
use serde_json::json;

use crate::support::{Batch, Exposition, Server, now_ms};

const PROTOBUF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
    application/openmetrics-text;version=1.0.0;q=0.8,*/*;q=0.1";

async fn fetch(server: &Server, path: &str, headers: &[(&str, &str)]) -> crate::support::Reply {
    let reply = server.get_with(path, headers).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("vary"), "accept, accept-encoding");
    reply
}

/// The values of a page and the names of its counters' families.
fn read(text: &str) -> (Exposition, Vec<&str>) {
    let counters = text.lines().filter_map(|line| {
        line.strip_prefix("# TYPE ")
            .and_then(|rest| rest.strip_suffix(" counter"))
    });
    (Exposition::parse(text), counters.collect())
}

#[tokio::test]
async fn a_client_gets_the_format_it_takes_with_the_same_values() {
    let server = Server::start().await;
    server
        .taken(
            &Batch::new("shop")
                .filled(7)
                .push(json!({"m": "sync_attempts", "t": now_ms(), "v": 3, "label": "success"}))
                .0,
        )
        .await;
    server.wait_applied().await;
    let reply = fetch(&server, "/metrics/fleet", &[]).await;
    assert!(
        reply
            .header("content-type")
            .starts_with("application/openmetrics-text; version=1.0.0")
    );
    let text = reply.text();
    assert!(text.ends_with("# EOF\n"));
    let (open, open_counters) = read(&text);

    let reply = fetch(&server, "/metrics/fleet", &[("accept", "text/plain")]).await;
    assert!(
        reply
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    let text = reply.text();
    assert!(!text.contains("# EOF"));
    let (plain, plain_counters) = read(&text);
    assert_eq!(open.lines, plain.lines);
    assert!(open_counters.contains(&"pos_sync_attempts"));
    let renamed: Vec<String> = open_counters
        .iter()
        .map(|name| format!("{name}_total"))
        .collect();
    assert_eq!(renamed, plain_counters);
    for name in plain_counters {
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }

    // Native histograms are off: who prefers protobuf gets text all the same.
    let reply = fetch(&server, "/metrics/fleet", &[("accept", PROTOBUF)]).await;
    assert!(
        reply
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );

    for path in ["/metrics/fleet", "/metrics"] {
        let reply = fetch(&server, path, &[("accept-encoding", "gzip")]).await;
        assert_eq!(reply.header("content-encoding"), "gzip");
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*reply.body)
            .read_to_string(&mut text)
            .unwrap();
        assert!(
            text.len() > 3 * reply.body.len(),
            "{} of {}",
            reply.body.len(),
            text.len()
        );
        if path == "/metrics/fleet" {
            assert_eq!(Exposition::parse(&text).lines, open.lines);
        }
        let reply = fetch(&server, path, &[("accept-encoding", "br")]).await;
        assert_eq!(reply.header("content-encoding"), "");
    }
    server.stop().await;
}

/// The histogram of a store in the page as protobuf.
async fn native(server: &Server, name: &str, store_id: &str) -> Histogram {
    server.wait_applied().await;
    let reply = fetch(server, "/metrics/fleet", &[("accept", PROTOBUF)]).await;
    assert!(
        reply
            .header("content-type")
            .starts_with("application/vnd.google.protobuf")
    );
    let mut bytes = &*reply.body;
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let family = MetricFamily::decode_length_delimited(&mut bytes).unwrap();
        if family.name == name {
            found.extend(family.metric.into_iter().filter(|metric| {
                metric
                    .label
                    .iter()
                    .any(|label| label.name == "store_id" && label.value == store_id)
            }));
        }
    }
    assert_eq!(found.len(), 1, "{name} of {store_id}");
    found.remove(0).histogram.unwrap()
}

/// Counts by upper bound, from spans and deltas at the schema's growth.
fn buckets(histogram: &Histogram) -> Vec<(f64, i64)> {
    let growth = 2_f64.powf(2_f64.powi(-histogram.schema));
    let (mut index, mut count, mut read) = (0, 0, Vec::new());
    let mut deltas = histogram.positive_delta.iter();
    for span in &histogram.positive_span {
        index += span.offset;
        for _ in 0..span.length {
            count += deltas.next().unwrap();
            read.push((growth.powi(index), count));
            index += 1;
        }
    }
    assert!(deltas.next().is_none());
    read
}

#[tokio::test]
async fn native_histograms_hold_the_same_values_and_continue_over_a_restart() {
    const NAME: &str = "pos_sync_duration_seconds";
    let folder = tempfile::tempdir().unwrap();
    // Values from before the setting: both kinds of buckets begin anew together.
    let server = Server::start_on(folder.path(), &[]).await;
    server
        .taken(&Batch::new("shop").value_now("sync_duration_ms", 9_000.0).0)
        .await;
    server.stop().await;

    let server = Server::start_on(folder.path(), &[("TILLWATCH_NATIVE_HISTOGRAMS", "true")]).await;
    let values: Vec<f64> = (1..=200)
        .map(|step| f64::from(step * step) / 4.0)
        .chain([0.0, 0.0])
        .collect();
    let send = |batch: Batch, values: &[f64]| {
        values.iter().fold(batch, |batch, value| {
            batch.value_now("sync_duration_ms", *value)
        })
    };
    let queue = Batch::new("shop");
    server.taken(&send(queue.clone(), &values[..150]).0).await;
    let server = server.kill_and_restart().await;
    server.taken(&send(queue.next(), &values[150..]).0).await;

    let histogram = native(&server, NAME, "shop").await;
    assert_eq!((histogram.sample_count, histogram.zero_count), (202, 2));
    assert!((histogram.sample_sum - values.iter().sum::<f64>() / 1_000.0).abs() < 1e-9);
    let mut expected: Vec<f64> = values
        .iter()
        .filter(|value| **value > 0.0)
        .map(|value| value / 1_000.0)
        .collect();
    expected.sort_by(f64::total_cmp);
    let mut below = 0;
    for (upper, count) in buckets(&histogram) {
        below += usize::try_from(count).unwrap();
        let least = expected.get(below - 1).unwrap();
        assert!(*least <= upper * (1.0 + 1e-12), "{least} above {upper}");
        assert!(
            expected
                .get(below)
                .is_none_or(|next| *next > upper * (1.0 - 1e-12))
        );
    }
    assert_eq!(below, 200);
    // The exact buckets hold them too.
    assert_eq!(histogram.bucket.last().unwrap().cumulative_count, 202);
    let page = server.fleet().await;
    assert_eq!(
        page.get(&format!("{NAME}_count"), &[("store_id", "shop")]),
        Some(202.0)
    );
    server.stop().await;

    // Off again: the exact buckets go on.
    let server = Server::start_on(folder.path(), &[]).await;
    let page = server.fleet().await;
    assert_eq!(
        page.get(&format!("{NAME}_count"), &[("store_id", "shop")]),
        Some(202.0)
    );
    server.stop().await;
}
