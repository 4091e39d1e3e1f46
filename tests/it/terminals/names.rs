//! Which stores and releases get names of their own when somebody invents some.

use std::sync::Arc;

use tillwatch::aggregate::{Aggregator, Caps, Restored};
use tillwatch::persist::State;
use tillwatch::world::World;
use tillwatch_model::journal_record_v1::Encoder;
use tillwatch_model::{BatchHeader, Catalogue, Source};

use crate::support::records::{START_MS, fleet_page, settings};
use crate::support::{Batch, Server};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 1_440 * MINUTE_MS;

/// An aggregate that can be killed, and started again on what its state file and its journal hold.
struct Stage {
    aggregator: Aggregator,
    state: State,
    caps: Caps,
    /// What no seal has written.
    journal: Vec<(u64, Vec<u8>)>,
    _folder: tempfile::TempDir,
}

impl Stage {
    fn new(caps: Caps) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), &World::of_machine()).unwrap();
        let catalogue = Arc::new(Catalogue::default());
        Self {
            aggregator: Aggregator::new(catalogue, caps.clone(), Restored::default()),
            state,
            caps,
            journal: Vec::new(),
            _folder: folder,
        }
    }

    /// A batch of a terminal, which runs a release.
    fn batch(&mut self, (store_id, terminal_id): (&str, &str), release: &str, at_ms: i64) {
        let position = self.aggregator.applied() + 1;
        let header = BatchHeader {
            received_at_ms: at_ms,
            offset_ms: 0,
            applied_offset_ms: 0,
            store_id,
            terminal_id,
            queue: [7; 16],
            seq: position,
            is_keyed: false,
            browser: None,
            release,
            source: Source::Rum,
            session: None,
        };
        let mut record = Vec::new();
        let _header_alone = Encoder::new(&mut record, &header);
        self.aggregator.apply(position, &record).unwrap();
        self.journal.push((position, record));
    }

    fn seal(&mut self) {
        let epoch = self.state.last_epoch().unwrap() + 1;
        let sealing = self.state.encode(self.aggregator.take(), epoch).unwrap();
        self.state.seal(&sealing, START_MS).unwrap();
        self.journal.clear();
    }

    /// Dies, and starts again.
    fn restart(&mut self) {
        let restored = self.state.restore().unwrap();
        let catalogue = Arc::new(Catalogue::default());
        self.aggregator = Aggregator::new(catalogue, self.caps.clone(), restored);
        for (position, record) in &self.journal {
            self.aggregator.apply(*position, record).unwrap();
        }
    }

    fn has_release(&self, release: &str) -> bool {
        self.aggregator.names().1.find(release).is_some()
    }

    fn has_store(&self, store_id: &str) -> bool {
        self.aggregator.names().0.find(store_id).is_some()
    }
}

#[test]
fn a_release_gets_a_name_after_two_terminals_and_two_new_ones_a_day_come_from_one_store() {
    let mut stage = Stage::new(settings());
    let tills: Vec<String> = (0..40).map(|till| format!("till-{till}")).collect();
    for till in &tills {
        stage.batch(("store-1", till), "1.0", START_MS);
    }
    assert!(stage.has_release("1.0"));
    // One terminal's word is not enough.
    for minute in 0..3 {
        stage.batch(("store-1", "till-0"), "2.0", START_MS + minute * MINUTE_MS);
    }
    assert!(!stage.has_release("2.0") && stage.has_release("__new__"));
    stage.seal();
    stage.restart();
    stage.batch(("store-1", "till-1"), "2.0", START_MS + 9 * MINUTE_MS);
    assert!(
        stage.has_release("2.0"),
        "after a restart the first word still counts"
    );
    assert_eq!(
        stage.aggregator.totals().overflowed,
        0,
        "waiting is not overflowing"
    );
    // With 1.0 those were the two of today: what else the store says is not heard.
    for (number, till) in tills.iter().enumerate() {
        let release = format!("3.{}", number % 20);
        stage.batch(("store-1", till), &release, START_MS + 10 * MINUTE_MS);
    }
    assert_eq!(stage.aggregator.totals().overflowed, 40);
    assert_eq!(stage.aggregator.name_counts().1, 3);
    stage.restart();
    assert_eq!(stage.aggregator.totals().overflowed, 40);
    // Another store brings its own; and a shop with one till needs no second one.
    for till in ["a", "b", "c"] {
        stage.batch(("store-2", till), "1.0", START_MS + 11 * MINUTE_MS);
    }
    for till in ["a", "b"] {
        stage.batch(("store-2", till), "4.0", START_MS + 12 * MINUTE_MS);
    }
    stage.batch(("kiosk", "only"), "5.0", START_MS + 12 * MINUTE_MS);
    assert!(stage.has_release("4.0") && stage.has_release("5.0"));
    // Tomorrow the first store is heard again.
    for till in ["till-0", "till-1"] {
        stage.batch(("store-1", till), "6.0", START_MS + DAY_MS);
    }
    assert!(stage.has_release("6.0"));
}

#[test]
fn invented_stores_make_room_for_one_that_comes_to_stay_and_take_no_place_of_one_that_has() {
    let mut stage = Stage::new(Caps {
        stores_max: 20,
        ..settings()
    });
    for minute in 0..90 {
        stage.batch(("old", "till"), "1.0", START_MS + minute * MINUTE_MS);
    }
    let at_ms = START_MS + 90 * MINUTE_MS;
    for number in 0..30 {
        let store_id = format!("invented-{number}");
        stage.batch((&store_id, "till"), "1.0", at_ms + number);
        if number == 10 {
            stage.seal();
        }
    }
    let at_ms = at_ms + 1_000;
    stage.batch(("new", "till"), "1.0", at_ms);
    assert!(stage.has_store("new") && stage.has_store("old"));
    assert_eq!(stage.aggregator.name_counts().0, 20);
    for at_ms in [at_ms + MINUTE_MS, at_ms + 2 * MINUTE_MS] {
        stage.batch(("new", "till"), "1.0", at_ms);
        let page = fleet_page(&stage.aggregator, at_ms);
        for (store_id, batches) in [("old", 90), ("invented-29", 1)] {
            let line =
                format!("pos_sdk_batches_received_total{{store_id=\"{store_id}\"}} {batches}\n");
            assert!(page.contains(&line), "{store_id}: {page}");
        }
        stage.restart();
        stage.seal();
    }
    let before = (
        stage.aggregator.totals(),
        stage.aggregator.names().0.saved(),
    );
    stage.restart();
    assert_eq!(
        (
            stage.aggregator.totals(),
            stage.aggregator.names().0.saved()
        ),
        before
    );
    // A number that was another store's brings none of its series.
    stage.batch(("newest", "till"), "1.0", at_ms + 3 * MINUTE_MS);
    stage.seal();
    for number in 0..3 {
        let at_ms = at_ms + 4 * MINUTE_MS + number;
        stage.batch((&format!("last-{number}"), "till"), "1.0", at_ms);
    }
    let page = fleet_page(&stage.aggregator, at_ms + 4 * MINUTE_MS);
    for (store_id, batches) in [("new", 3), ("newest", 1), ("last-2", 1)] {
        let line = format!("pos_sdk_batches_received_total{{store_id=\"{store_id}\"}} {batches}\n");
        assert!(page.contains(&line), "{store_id}: {page}");
    }
}

#[tokio::test]
async fn stores_that_are_not_in_the_list_are_counted_together() {
    let settings = [
        ("TILLWATCH_STORE_LIST", "a,b"),
        ("TILLWATCH_STORES_MAX", "1"),
    ];
    let server = Server::start_with(&settings).await;
    let stores = ["x-1", "a", "x-2", "b", "x-3"];
    for store_id in stores {
        let batch = Batch::new(store_id).filled(2);
        assert_eq!(server.taken(&batch.0).await, (2, 0, 0));
    }
    let server = server.kill_and_restart().await;
    let answer = server
        .percentiles(&[("metric", "lcp_ms"), ("group_by", "store_id")])
        .await;
    let series = answer["series"].as_array().unwrap().iter();
    let counts: Vec<(&str, u64)> = series
        .map(|one| {
            let points = one["points"].as_array().unwrap().iter();
            let count = points.map(|point| point["count"].as_u64().unwrap());
            (one["store_id"].as_str().unwrap(), count.sum())
        })
        .collect();
    assert_eq!(counts, [("__overflow__", 6), ("a", 2), ("b", 2)]);
    server.stop().await;
}
