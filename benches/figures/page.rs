//! The page of `/metrics/fleet`: its size, and what rendering it costs.

use std::sync::Arc;
use std::time::Instant;

use tillwatch::aggregate::{Aggregator, Restored};
use tillwatch::config::{Config, Flags};
use tillwatch::export::{Format, Snapshot, negotiate, render};
use tillwatch::pipeline;
use tillwatch_model::journal_record_v1::Encoder;
use tillwatch_model::time::wall_ms as now_ms;
use tillwatch_model::{BatchHeader, Catalogue, Connection, Reading, Source};

const TERMINALS_A_STORE: usize = 10;
const RELEASES: usize = 4;
const ROUNDS: usize = 5;

/// Of 50 and of 2,000 stores, with every metric of the catalogue in each.
pub fn run() {
    println!(
        "\n== page: /metrics/fleet, every metric in every store, {TERMINALS_A_STORE} terminals a store"
    );
    for stores in [50, 2_000] {
        let aggregator = fleet(stores);
        let now_ms = now_ms();
        let mut times = [(); 3].map(|()| Vec::new());
        let (mut bytes, mut lines, mut zipped) = (0, 0, 0);
        for _ in 0..ROUNDS {
            let started = Instant::now();
            let snapshot = Snapshot::take(&aggregator, now_ms);
            times[0].push(started.elapsed().as_secs_f64() * 1e3);
            let started = Instant::now();
            let page = render(snapshot, Format::OpenMetrics).expect("it renders");
            times[1].push(started.elapsed().as_secs_f64() * 1e3);
            let started = Instant::now();
            zipped = negotiate::gzip(&page).len();
            times[2].push(started.elapsed().as_secs_f64() * 1e3);
            bytes = page.len();
            lines = page
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.starts_with(b"#") && !line.is_empty())
                .count();
        }
        let [snapshot, text, gzip] = times.map(|times| super::median(times).0);
        let mega = |bytes: usize| bytes as f64 / 1e6;
        println!(
            "{stores:>5} stores: {lines} lines ({:.0} a store), {:.2} MB, {:.2} MB as gzip; copied under the lock in {snapshot:.1} ms, \
             rendered in {text:.1} ms, compressed in {gzip:.1} ms",
            lines as f64 / stores as f64,
            mega(bytes),
            mega(zipped),
        );
    }
}

fn fleet(stores: usize) -> Aggregator {
    let catalogue = Arc::new(Catalogue::default());
    let config = Config::load(Flags::default(), None).expect("the defaults are right");
    let mut aggregator = Aggregator::new(
        Arc::clone(&catalogue),
        pipeline::aggregate_settings(&config),
        Restored::default(),
    );
    let received_at_ms = now_ms();
    let mut random = fastrand::Rng::with_seed(7);
    for number in 0..stores * TERMINALS_A_STORE {
        let header = BatchHeader {
            received_at_ms,
            offset_ms: 40,
            applied_offset_ms: 0,
            store_id: &format!("store-{:04}", number / TERMINALS_A_STORE),
            terminal_id: &format!("till-{}", number % TERMINALS_A_STORE),
            queue: [7; 16],
            seq: 1,
            is_keyed: false,
            browser: None,
            release: &format!("2.4.{}", number % RELEASES),
            source: Source::Rum,
            session: None,
        };
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, &header);
        for metric in catalogue.metrics() {
            for _ in 0..5 {
                let labels = metric.label.map_or(1, |label| label.values.len());
                let reading = Reading {
                    metric: metric.code,
                    label: random.usize(..labels) as u8,
                    connection: Connection::Online,
                    t_raw_ms: received_at_ms - random.i64(0..300_000),
                };
                let top = metric.bounds.last().copied().unwrap_or(100);
                encoder.sample(&reading, random.u64(..=top.min(metric.value_max)));
            }
        }
        aggregator
            .apply(number as u64 + 1, &bytes)
            .expect("a record of its own making");
    }
    aggregator
}
