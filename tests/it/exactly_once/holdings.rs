//! The rule of reading, against a ClickHouse that is a list: applies, cuts, seals, inserts, confirmations
//! and readers on threads of their own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tillwatch::aggregate::{Filter, Restored};
use tillwatch::holdings::Holdings;
use tillwatch::persist::rows;
use tillwatch::persist::{EpochInfo, State};
use tillwatch::world::World;
use tillwatch_model::{Catalogue, DirtyHours, Rollup};

use crate::support::records::{START_MS, aggregator, one_sample};

/// Every value has a bucket of its own up to here.
const RECORDS: u64 = 2_000;

/// Rows by epoch, as they were inserted.
type FakeClickHouse = Mutex<BTreeMap<u64, Vec<u8>>>;

fn values(rows: &[Rollup], into: &mut Vec<u64>) {
    for row in rows {
        let mut histogram = row.summary.histogram.clone();
        let (indices, counts) = histogram.parts();
        for (index, count) in indices.iter().zip(counts) {
            into.extend((0..*count).map(|_| u64::from(*index)));
        }
    }
}

fn decoded(bytes: &[u8]) -> Vec<Rollup> {
    rows::decode(bytes, &Catalogue::default(), |metric, _, _| {
        metric == "lcp_ms"
    })
    .unwrap()
}

fn seal_all(holdings: &Holdings, state: &State, is_over: &AtomicBool) {
    let mut sealed_position = 0;
    loop {
        let is_last = is_over.load(Ordering::SeqCst);
        if let Some((cut, epoch)) = holdings.cut(sealed_position) {
            std::thread::sleep(Duration::from_micros(fastrand::u64(0..500)));
            let sealing = Arc::new(state.encode(cut, epoch).unwrap());
            holdings.sealing(Arc::clone(&sealing), START_MS);
            let sealed = state.seal(&sealing, START_MS).unwrap();
            // Here it is in the outbox already, and may be shipped and confirmed.
            std::thread::sleep(Duration::from_micros(fastrand::u64(0..3_000)));
            let info = EpochInfo {
                epoch,
                collector_id: state.collector_id(),
                sealed_at_ms: START_MS,
                confirmed_at_ms: None,
                days: sealing.days().clone(),
                sides: sealing.side_days(),
            };
            holdings.sealed(sealed, info);
            sealed_position = sealing.applied();
        } else if is_last {
            return;
        }
        std::thread::sleep(Duration::from_micros(fastrand::u64(0..2_000)));
    }
}

fn ship_all(holdings: &Holdings, state: &State, clickhouse: &FakeClickHouse, is_over: &AtomicBool) {
    loop {
        let is_last = is_over.load(Ordering::SeqCst);
        let waiting = state.unconfirmed(4).unwrap();
        for info in &waiting {
            let rows = state.rows_of(info.epoch).unwrap().unwrap();
            clickhouse.lock().unwrap().insert(info.epoch, rows);
            std::thread::sleep(Duration::from_micros(fastrand::u64(0..1_000)));
        }
        let epochs: Vec<u64> = waiting.iter().map(|info| info.epoch).collect();
        state.confirm(&epochs, START_MS).unwrap();
        std::thread::sleep(Duration::from_micros(fastrand::u64(0..1_000)));
        if let Some(last) = epochs.last() {
            holdings.confirmed(*last);
        } else if is_last {
            return;
        }
    }
}

/// What one reader finds, in ascending order, and the position it had asked for.
async fn read(
    holdings: &Arc<Holdings>,
    state: &State,
    clickhouse: &FakeClickHouse,
    position: u64,
) -> Vec<u64> {
    let catalogue = Catalogue::default();
    let metric = catalogue.named("lcp_ms").unwrap();
    let filter = Filter {
        metric: *metric,
        from_s: 0,
        to_s: u32::MAX,
        store_id: None,
    };
    let view = holdings.view(position, filter).await;
    let mut found = Vec::new();
    let open: Vec<Rollup> = view.open.rows().collect();
    values(&open, &mut found);
    if let Some(sealing) = &view.sealing {
        values(&decoded(sealing.row_bytes()), &mut found);
    }
    // Much may happen between the view and the reading of what it lists.
    std::thread::sleep(Duration::from_micros(fastrand::u64(0..2_000)));
    for info in &view.unconfirmed {
        if view
            .sealing
            .as_ref()
            .is_none_or(|sealing| sealing.epoch() != info.epoch)
        {
            values(
                &decoded(&state.rows_of(info.epoch).unwrap().unwrap()),
                &mut found,
            );
        }
    }
    for (_, rows) in clickhouse.lock().unwrap().range(..=view.confirmed) {
        values(&decoded(rows), &mut found);
    }
    found.sort_unstable();
    found
}

#[test]
fn every_view_holds_each_record_up_to_its_position_once() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path(), &World::of_machine()).unwrap();
    let holdings = Arc::new(Holdings::new(
        aggregator(Restored::default()),
        Vec::new(),
        0,
        DirtyHours::default(),
        state.collector_id(),
        0,
    ));
    let clickhouse = FakeClickHouse::default();
    let durable = AtomicU64::new(0);
    let (applied, sealed) = (AtomicBool::new(false), AtomicBool::new(false));
    let views = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let reader = || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            loop {
                let is_last = sealed.load(Ordering::SeqCst);
                let position = durable.load(Ordering::SeqCst);
                let found = runtime.block_on(read(&holdings, &state, &clickhouse, position));
                let expected: Vec<u64> = (1..=found.len() as u64).collect();
                assert_eq!(found, expected, "a gap or a double, asked for {position}");
                assert!(
                    found.len() as u64 >= position,
                    "{} of {position}",
                    found.len()
                );
                views.fetch_add(1, Ordering::SeqCst);
                if is_last {
                    assert_eq!(found.len() as u64, RECORDS);
                    return;
                }
            }
        };
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        scope.spawn(|| {
            for position in 1..=RECORDS {
                // Durable first, applied a moment later.
                durable.store(position, Ordering::SeqCst);
                let record = one_sample("store-1", (position, START_MS), position);
                holdings.apply(usize::MAX, |aggregator| {
                    aggregator.apply(position, &record).unwrap()
                });
                std::thread::sleep(Duration::from_micros(fastrand::u64(0..400)));
            }
            applied.store(true, Ordering::SeqCst);
        });
        let sealer = scope.spawn(|| seal_all(&holdings, &state, &applied));
        let shipper = scope.spawn(|| ship_all(&holdings, &state, &clickhouse, &sealed));
        sealer.join().unwrap();
        sealed.store(true, Ordering::SeqCst);
        shipper.join().unwrap();
        for reader in readers {
            reader.join().unwrap();
        }
    });
    let (views, epochs) = (views.into_inner(), state.last_epoch().unwrap());
    println!("{views} views over {epochs} epochs");
    assert!(
        views > 100 && epochs > 30,
        "{views} views over {epochs} epochs: nothing was tested"
    );
}
