//! Random journal records: batches late and young, sent twice, of too many stores and releases, with
//! samples and histograms of every metric. The same seed makes the same records.

use std::sync::Arc;

use tillwatch::aggregate::{Aggregator, Caps, Restored};
use tillwatch::config::{Config, Flags};
use tillwatch::export::{Format, Snapshot, render};
use tillwatch::pipeline;
use tillwatch_model::event::{DropReading, EventReading, Example};
use tillwatch_model::histogram::{bucket_highest, bucket_index, bucket_lowest};
use tillwatch_model::journal_act_v1::{self, Act};
use tillwatch_model::journal_record_v1::Encoder;
use tillwatch_model::summary::SummaryReading;
use tillwatch_model::{
    BatchHeader, Catalogue, Connection, EventKind, HistogramReading, KeyId, Kind, Reading, Source,
};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 1_440 * MINUTE_MS;
/// When the first record is received.
pub const START_MS: i64 = 1_763_683_200_000;

const CONNECTIONS: [Connection; 3] = [Connection::Online, Connection::Offline, Connection::Unknown];

/// The caps that `serve` has by default.
pub fn settings() -> Caps {
    pipeline::aggregate_settings(&Config::load(Flags::default(), None).unwrap())
}

/// Caps so low that the records pass them.
pub fn aggregator(restored: Restored) -> Aggregator {
    let settings = Caps {
        stores_max: 4,
        releases_max: 3,
        ..settings()
    };
    Aggregator::new(Arc::new(Catalogue::default()), settings, restored)
}

/// The record that says that the clock is known to be right: by it, and by no batch's time, what is too old is
/// forgotten.
pub fn settled(at_ms: i64) -> Vec<u8> {
    let is_settled = true;
    journal_act_v1::encode(&Act::Clock { at_ms, is_settled })
}

/// The page of `/metrics/fleet`, as text.
pub fn fleet_page(aggregator: &Aggregator, now_ms: i64) -> String {
    let page = render(Snapshot::take(aggregator, now_ms), Format::OpenMetrics);
    String::from_utf8(page.unwrap()).unwrap()
}

/// A record with one sync of a session, measured at `t_ms`.
pub fn sync_record(seq: u64, received_at_ms: i64, t_ms: i64) -> Vec<u8> {
    let header = BatchHeader {
        received_at_ms,
        offset_ms: 0,
        applied_offset_ms: 0,
        store_id: "store-1",
        terminal_id: "till-1",
        queue: [7; 16],
        seq,
        is_keyed: false,
        browser: None,
        release: "2.4.1",
        source: Source::Rum,
        session: Some([9; 16]),
    };
    let reading = Reading {
        metric: Catalogue::default().named("sync_duration_ms").unwrap().code,
        label: 0,
        connection: Connection::Online,
        t_raw_ms: t_ms,
    };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, &header);
    encoder.sample(&reading, 1_000 * seq);
    encoder.event(&event(EventKind::Error, t_ms, (seq, 1)));
    encoder.summary(&summary(&reading, 1 + seq % 7));
    bytes
}

/// What a page has made of so many values.
fn summary(reading: &Reading, count: u64) -> SummaryReading {
    let value = |at: u64| f64::from(u32::try_from(at).unwrap());
    SummaryReading {
        metric: reading.metric,
        connection: reading.connection,
        t_raw_ms: reading.t_raw_ms,
        count,
        sum: value(3 * count),
        min: value(count % 3),
        max: value(5 + count),
        percentiles: [value(2), value(4), value(5)],
    }
}

/// An event that says this and nothing else.
fn event(kind: EventKind, t_raw_ms: i64, (fingerprint, count): (u64, u64)) -> EventReading {
    EventReading {
        kind,
        is_fatal: count > 2,
        t_raw_ms,
        count,
        fingerprint,
        name: "".into(),
        example: Example {
            type_name: "TypeError".into(),
            message: format!("{fingerprint} of undefined").into(),
            frames_json: "".into(),
        },
    }
}

/// An event beside a sample of `errors` or `events`.
fn random_event(random: &mut fastrand::Rng, reading: &Reading, count: u64) -> EventReading {
    let kind = *random.choice(EventKind::ALL).unwrap();
    let fingerprint = random.u64(1..30);
    let mut event = event(kind, reading.t_raw_ms, (fingerprint, count));
    if kind == EventKind::Custom {
        // More names than a release may have.
        event.name = format!("name-{fingerprint}").into();
    }
    event
}

/// What a terminal says that it dropped, beside a sample of `dropped_samples`: numbers of its queue that came, that are
/// missing or that lie ahead, or none.
fn random_drop(
    random: &mut fastrand::Rng,
    reading: &Reading,
    header: &BatchHeader<'_>,
) -> DropReading {
    let from = (header.seq + 3).saturating_sub(random.u64(0..12));
    let is_numbered = random.u8(0..4) > 0;
    DropReading {
        queue: if is_numbered { header.queue } else { [0; 16] },
        from: if is_numbered { from } else { 0 },
        to: if is_numbered {
            from + random.u64(0..4)
        } else {
            0
        },
        samples: random.u64(0..500),
        reason: reading.label,
        t_raw_ms: reading.t_raw_ms,
    }
}

/// So many records, and when the last was received.
pub fn random_records(random: &mut fastrand::Rng, count: usize) -> (Vec<Vec<u8>>, i64) {
    let catalogue = Catalogue::default();
    let mut now_ms = START_MS;
    let mut seqs = [0_u64; 18];
    let mut records = Vec::new();
    for _ in 0..count {
        now_ms += random.i64(0..20_000);
        let terminal = random.usize(0..seqs.len());
        // Mostly the next number, sometimes one left out, sometimes one sent before.
        let seq = if random.u8(0..10) == 0 {
            random.u64(0..=seqs[terminal])
        } else {
            seqs[terminal] + random.u64(1..3)
        };
        seqs[terminal] = seqs[terminal].max(seq);
        let header = BatchHeader {
            received_at_ms: now_ms,
            offset_ms: random.i64(-90_000..90_000),
            applied_offset_ms: if random.bool() {
                0
            } else {
                random.i64(-400_000..400_000)
            },
            store_id: &format!("store-{}", terminal / 3),
            terminal_id: &format!("till-{}", terminal % 3),
            queue: [u8::try_from(terminal).unwrap(); 16],
            seq,
            is_keyed: false,
            browser: None,
            release: &format!("2.{}", random.u8(0..5)),
            source: if random.u8(0..5) == 0 {
                Source::Synthetic
            } else {
                Source::Rum
            },
            // Some terminals share a session, some have none.
            session: (!terminal.is_multiple_of(4))
                .then(|| [u8::try_from(terminal % 5).unwrap(); 16]),
        };
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, &header);
        for _ in 0..random.usize(0..12) {
            let metrics = catalogue.metrics();
            let metric = &metrics[random.usize(0..metrics.len())];
            let age_ms = if random.u8(0..4) == 0 {
                random.i64(0..7 * DAY_MS)
            } else {
                random.i64(0..8 * MINUTE_MS)
            };
            let labels = metric.label.map_or(1, |label| label.values.len());
            let reading = Reading {
                metric: metric.code,
                label: u8::try_from(random.usize(0..labels)).unwrap(),
                connection: CONNECTIONS[random.usize(0..CONNECTIONS.len())],
                t_raw_ms: now_ms - age_ms,
            };
            // Small values often, so that buckets are shared; any value sometimes.
            let most = if random.bool() {
                3_000
            } else {
                metric.value_max
            };
            let value = random.u64(0..=most.min(metric.value_max));
            match random.u8(0..8) {
                0 => encoder.rejected(1, random.u64(1..5)),
                1 if metric.kind != Kind::Counter => {
                    let span_ms = [1, 5, 60][random.usize(0..3)] * MINUTE_MS;
                    let reading = Reading {
                        t_raw_ms: reading.t_raw_ms / span_ms * span_ms,
                        ..reading
                    };
                    encoder.histogram(&reading, &random_histogram(random, span_ms, value));
                }
                _ => {
                    encoder.sample(&reading, value);
                    if metric.name == "summaries" {
                        encoder.summary(&summary(&reading, random.u64(1..9)));
                    }
                    if metric.name == "dropped_samples" {
                        encoder.drop(&random_drop(random, &reading, &header));
                    }
                    if ["errors", "events"].contains(&metric.name) {
                        for _ in 0..8 {
                            encoder.event(&random_event(random, &reading, value));
                        }
                    }
                }
            }
        }
        records.push(bytes);
    }
    (records, now_ms)
}

fn random_histogram(random: &mut fastrand::Rng, span_ms: i64, highest: u64) -> HistogramReading {
    let mut indices: Vec<u32> = (0..random.usize(1..20))
        .map(|_| bucket_index(random.u64(0..=highest)))
        .collect();
    indices.sort_unstable();
    indices.dedup();
    let counts: Vec<u64> = indices.iter().map(|_| random.u64(1..500)).collect();
    let pairs = indices.iter().zip(&counts);
    let sum = pairs
        .map(|(index, count)| bucket_lowest(*index).saturating_mul(*count))
        .fold(0, u64::saturating_add);
    let (min, max) = (
        bucket_lowest(indices[0]),
        bucket_highest(*indices.last().unwrap()),
    );
    HistogramReading {
        span_ms,
        indices,
        counts,
        sum,
        min,
        max,
    }
}

/// One record with one LCP sample of a value below 2,048 µs, of a terminal whose number is its own.
pub fn one_sample(store_id: &str, (seq, received_at_ms): (u64, i64), value: u64) -> Vec<u8> {
    sample_at(store_id, (seq, received_at_ms), (START_MS, value))
}

/// As [`one_sample`], at any time.
pub fn sample_at(store_id: &str, (seq, received_at_ms): (u64, i64), at: (i64, u64)) -> Vec<u8> {
    let terminal = (store_id, "till-1");
    one_sample_of(terminal, ([7; 16], seq, false), received_at_ms, at)
}

/// As [`one_sample`], of a batch that came with a key.
pub fn one_keyed_sample(store_id: &str, (id, received_at_ms): (KeyId, i64), value: u64) -> Vec<u8> {
    let (terminal, at) = ((store_id, "till-1"), (START_MS, value));
    one_sample_of(terminal, (id, 0, true), received_at_ms, at)
}

/// One record with one LCP sample, of a terminal of a store.
pub fn one_sample_of(
    (store_id, terminal_id): (&str, &str),
    (queue, seq, is_keyed): ([u8; 16], u64, bool),
    received_at_ms: i64,
    (t_ms, value): (i64, u64),
) -> Vec<u8> {
    let metric = *Catalogue::default().named("lcp_ms").unwrap();
    let header = BatchHeader {
        received_at_ms,
        offset_ms: 0,
        applied_offset_ms: 0,
        store_id,
        terminal_id,
        queue,
        seq,
        is_keyed,
        browser: None,
        release: "2.4.1",
        source: Source::Rum,
        session: None,
    };
    let mut bytes = Vec::new();
    let reading = Reading {
        metric: metric.code,
        label: 0,
        connection: Connection::Online,
        t_raw_ms: t_ms,
    };
    Encoder::new(&mut bytes, &header).sample(&reading, value);
    bytes
}
