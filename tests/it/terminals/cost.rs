//! What terminals' hours and sessions add to the seal of a large fleet.

use std::time::Instant;

use tillwatch::aggregate::{Aggregator, Restored};
use tillwatch::persist::{SideTable, State};
use tillwatch::world::World;
use tillwatch_model::journal_record_v1::Encoder;
use tillwatch_model::{BatchHeader, Catalogue, Connection, Reading, Source};

use crate::support::records::{START_MS, settings};

const STORES: u32 = 2_000;
const TERMINALS: u32 = 20_000;
/// More minutes make more samples, and no more rows by terminal and session.
const MINUTES: u32 = 2;
/// What a terminal measures in a minute, of all it may: those kept by terminal, and three others.
const METRICS: [(&str, u32); 8] = [
    ("sync_duration_ms", 2),
    ("network_latency_ms", 2),
    ("memory_used_mb", 1),
    ("pending_transactions", 1),
    ("errors", 1),
    ("lcp_ms", 4),
    ("cache_requests", 25),
    ("db_size_mb", 4),
];

fn record(
    catalogue: &Catalogue,
    (terminal, minute): (u32, u32),
    random: &mut fastrand::Rng,
) -> Vec<u8> {
    // In the middle of an hour, as most seals are.
    let received_at_ms = START_MS + (30 + i64::from(minute)) * 60_000;
    let mut session = [0; 16];
    session[..4].copy_from_slice(&terminal.wrapping_mul(2_654_435_761).to_le_bytes());
    session[4..8].copy_from_slice(&terminal.wrapping_mul(40_503).to_be_bytes());
    let header = BatchHeader {
        received_at_ms,
        offset_ms: 0,
        applied_offset_ms: 0,
        store_id: &format!("store-{:04}", terminal % STORES),
        terminal_id: &format!("till-{}", terminal / STORES),
        queue: u128::from(terminal).to_le_bytes(),
        seq: u64::from(minute),
        is_keyed: false,
        browser: None,
        release: "2.4.1",
        source: Source::Rum,
        session: Some(session),
    };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, &header);
    for (name, samples) in METRICS {
        let metric = catalogue.named(name).unwrap();
        for _ in 0..samples {
            let reading = Reading {
                metric: metric.code,
                label: 0,
                connection: Connection::Online,
                t_raw_ms: received_at_ms - random.i64(0..60_000),
            };
            encoder.sample(&reading, random.u64(1..3_000_000));
        }
    }
    bytes
}

/// Prints what a seal of 20,000 terminals takes; fails when a row by terminal or session takes much more
/// than it does, or when they ask for seals so often that there are more of them.
#[test]
fn a_seal_of_twenty_thousand_terminals_has_few_small_rows() {
    let catalogue = std::sync::Arc::new(Catalogue::default());
    let settings = settings();
    let mut aggregator = Aggregator::new(
        std::sync::Arc::clone(&catalogue),
        settings,
        Restored::default(),
    );
    let mut random = fastrand::Rng::with_seed(1);
    let mut position = 0;
    for minute in 0..MINUTES {
        for terminal in 0..TERMINALS {
            position += 1;
            let record = record(&catalogue, (terminal, minute), &mut random);
            aggregator.apply(position, &record).unwrap();
        }
    }
    let weighed = aggregator.rows();
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path(), &World::of_machine()).unwrap();
    let (started, cut) = (Instant::now(), aggregator.take());
    let taken = started.elapsed();
    let sealing = state.encode(cut, 1).unwrap();
    let encoded = started.elapsed();
    let sealed = state.seal(&sealing, START_MS).unwrap();
    println!(
        "taken in {taken:?}, encoded in {encoded:?}, sealed in {:?}",
        started.elapsed()
    );
    let info = state.ledger(0).unwrap().remove(0);
    let other = rusqlite::Connection::open(folder.path().join("state.sqlite")).unwrap();
    println!(
        "rollup_1m: {} rows, blobs of all tables {} bytes",
        info.rows(),
        sealed.blob_bytes
    );
    println!("weighed as {weighed} rows");
    // These terminals report no events.
    for table in [SideTable::TerminalHour, SideTable::Session] {
        let rows: u64 = info.sides[&table].values().map(|day| day.rows).sum();
        let plain = sealing.side_bytes(table).len() as u64;
        let sql = "SELECT length(blob) FROM side_outbox WHERE table_name = ?1";
        let blob: u64 = other
            .query_row(sql, [table.name()], |row| row.get::<_, i64>(0))
            .unwrap()
            .cast_unsigned();
        println!(
            "{}: {rows} rows, {plain} bytes, {blob} under zstd",
            table.name()
        );
        let most = match table {
            SideTable::TerminalHour => 5,
            SideTable::Session | SideTable::EventGroup | SideTable::Summary | SideTable::Loss => 1,
        };
        assert!(
            rows <= u64::from(TERMINALS * most),
            "{}: {rows}",
            table.name()
        );
        assert!(plain / rows < 220 && blob / rows < 80, "{}", table.name());
    }
    assert!(
        weighed <= 60_000 + usize::try_from(info.rows()).unwrap() * 2,
        "{weighed}"
    );
}
