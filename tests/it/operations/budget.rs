//! The disk budget of the tables: which days give way, which never do, and what is read and audited afterwards.

use std::sync::Arc;
use std::time::Duration;

use tillwatch::aggregate::Restored;
use tillwatch::clock::{Clock, Hand};
use tillwatch::holdings::Holdings;
use tillwatch::persist::migrate::migrate;
use tillwatch::persist::ship::{oldest_kept_day, ship_once};
use tillwatch::persist::{State, audit, budget};
use tillwatch::pipeline::{Next, Rebuilder, Standing, Upkeep};
use tillwatch::query::Parameters;
use tillwatch::query::percentiles::{MERGE_BYTES_MAX, Sources, answer};
use tillwatch::query::request::PercentileRequest;
use tillwatch::source_maps::SourceMaps;
use tillwatch::tasks::Jobs;
use tillwatch::world::World;
use tillwatch_model::Catalogue;
use tillwatch_model::time::wall_ms as now_ms;

use crate::support::Engine;
use crate::support::records::{aggregator, sync_record};

const DAY_MS: i64 = 86_400_000;
const DAYS: &str = "SELECT arrayStringConcat(arraySort(groupUniqArray(toString(toRelativeDayNum(now()) - toRelativeDayNum(window_start)))), ' ')
    FROM tillwatch.rollup_1m";

/// A world whose clock has run evenly for long enough, and the hand that moves it.
fn settled_world() -> (World, Hand) {
    let hand = Hand::at(now_ms() - 12 * 60_000);
    let clock = Clock::by_hand(hand.clone());
    for _minute in 0..12 {
        hand.pass(60_000);
        let _looked = clock.status();
    }
    assert!(clock.is_settled());
    let world = World {
        clock,
        ..World::of_machine()
    };
    (world, hand)
}

async fn samples(sources: &Sources, days: i64) -> u64 {
    let parameters = Parameters::from_iter(
        [
            ("metric", "sync_duration_ms".to_owned()),
            ("q", "0.5".to_owned()),
            ("from", (now_ms() - days * DAY_MS).to_string()),
            ("to", now_ms().to_string()),
            ("step", "1d".to_owned()),
            ("store_id", "store-1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let request = PercentileRequest::parse(&parameters, &sources.catalogue, now_ms()).unwrap();
    let found = answer(sources, &request, now_ms(), 0).await.unwrap();
    let found = serde_json::to_value(&found).unwrap();
    let points = found["series"][0]["points"].as_array().unwrap().iter();
    points.map(|point| point["count"].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn over_the_budget_the_oldest_days_give_way_and_nothing_that_is_young_or_needed() {
    let engine = Engine::start();
    let clickhouse = engine.clickhouse();
    migrate(&clickhouse).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (world, hand) = settled_world();
    let state = Arc::new(State::open(folder.path(), &world).unwrap());
    // An own epoch with samples of twelve days ago and of today, and days of another collector.
    let mut aggregator_of_epoch = aggregator(Restored::default());
    for (seq, age_days) in [(1, 12), (2, 0)] {
        let record = sync_record(seq, now_ms(), now_ms() - age_days * DAY_MS);
        aggregator_of_epoch.apply(seq, &record).unwrap();
    }
    let sealing = state.encode(aggregator_of_epoch.take(), 1).unwrap();
    state.seal(&sealing, now_ms()).unwrap();
    let others = "INSERT INTO tillwatch.rollup_1m SELECT 'lcp_ms', '', 's', '1', 'online', 'rum', now() - INTERVAL number DAY, 60,
        '00000000-0000-0000-0000-000000000009', 1, ([5], [1]), 1, 5, 5, 5, 0, 0, now64(3), number FROM numbers(9, 12)";
    engine.sql(others).await;
    let holdings = Arc::new(Holdings::new(
        aggregator(Restored::default()),
        state.unconfirmed(9).unwrap(),
        1,
        state.dirty_hours().unwrap(),
        state.collector_id(),
        0,
    ));
    let upkeep = |budget_bytes: u64| Upkeep {
        clickhouse: clickhouse.clone(),
        state: Arc::clone(&state),
        holdings: Arc::clone(&holdings),
        world: world.clone(),
        budget_bytes,
    };
    // A new state file does not know which days are summed up, and they wait until it does.
    assert_eq!(
        upkeep(1).keep_within_budget().await.unwrap(),
        Standing::Waiting
    );
    let rebuilder = Rebuilder {
        clickhouse: clickhouse.clone(),
        state: Arc::clone(&state),
        holdings: Arc::clone(&holdings),
        world: world.clone(),
        quiet: Duration::from_millis(1),
    };
    let mut next = Next::default();
    while rebuilder.round(&mut next).await.unwrap() {}
    assert_eq!(
        upkeep(1 << 40).keep_within_budget().await.unwrap(),
        Standing::Within
    );
    let all = budget::held(&clickhouse).await.unwrap();
    let bytes: u64 = all.iter().map(|held| held.bytes).sum();
    assert_eq!(
        upkeep(bytes - 1).keep_within_budget().await.unwrap(),
        Standing::Within
    );
    assert_eq!(
        engine.sql(DAYS).await.trim(),
        "10 11 12 13 14 15 16 17 18 19 9"
    );
    assert_eq!(
        upkeep(0).keep_within_budget().await.unwrap(),
        Standing::Within,
        "0 drops nothing"
    );
    // The rows of twelve days ago have not been shipped: that day waits, and the younger ones with it.
    assert_eq!(
        upkeep(1).keep_within_budget().await.unwrap(),
        Standing::Waiting
    );
    assert_eq!(engine.sql(DAYS).await.trim(), "10 11 12 9");
    let shipped = ship_once(&clickhouse, &state, &world.clock, false)
        .await
        .unwrap();
    assert_eq!(shipped.confirmed, [1]);
    holdings.confirmed(1);
    // Shipped, and not summed up yet.
    assert_eq!(
        upkeep(1).keep_within_budget().await.unwrap(),
        Standing::Waiting
    );
    hand.pass(60_000);
    while rebuilder.round(&mut next).await.unwrap() {}
    let sources = Sources {
        catalogue: Arc::new(Catalogue::default()),
        holdings: Arc::clone(&holdings),
        state: Arc::clone(&state),
        clickhouse: clickhouse.clone(),
        source_maps: SourceMaps::of(folder.path()),
        merge_bytes_max: MERGE_BYTES_MAX,
        jobs: Jobs::new(1),
        is_engine_here: true,
    };
    assert_eq!(samples(&sources, 30).await, 2);
    // Its hours stay when its minutes go, and are read although so few of them save nothing.
    let all = budget::held(&clickhouse).await.unwrap();
    let bytes: u64 = all.iter().map(|held| held.bytes).sum();
    assert_eq!(
        upkeep(bytes - 1).keep_within_budget().await.unwrap(),
        Standing::Within
    );
    assert_eq!(engine.sql(DAYS).await.trim(), "0 10 11 9");
    assert_eq!(samples(&sources, 30).await, 2);
    assert_eq!(
        upkeep(1).keep_within_budget().await.unwrap(),
        Standing::Over
    );
    assert_eq!(
        engine.sql(DAYS).await.trim(),
        "0 9",
        "the last ten days stay"
    );
    let of_sides = "SELECT (SELECT count() FROM tillwatch.session), (SELECT count() FROM tillwatch.rollup_terminal_1h)";
    assert_eq!(
        engine.sql(of_sides).await.trim(),
        "1\t1",
        "they give way with their day"
    );

    // What was given up is no loss, and is not sent again.
    let ledger = state.ledger(0).unwrap();
    let held = audit::held(&clickhouse, &ledger).await.unwrap();
    let oldest_day = oldest_kept_day(&state, now_ms()).await.unwrap();
    assert!(audit::is_complete(&ledger[0], &held, oldest_day));
    assert!(!audit::is_complete(&ledger[0], &held, 0));
    // The hours are there as long as their week is not given up.
    let weeks = "SELECT count() FROM tillwatch.rollup_1h WHERE store_id = 'store-1' AND hour_start < now() - INTERVAL 10 DAY";
    let expected = 1 + engine.sql(weeks).await.trim().parse::<u64>().unwrap();
    assert_eq!(samples(&sources, 30).await, expected);
    let again = Holdings::new(
        aggregator(Restored::default()),
        Vec::new(),
        1,
        state.dirty_hours().unwrap(),
        state.collector_id(),
        0,
    );
    again.give_up_minutes(state.minutes_from_day().unwrap());
    let sources = Sources {
        holdings: Arc::new(again),
        ..sources
    };
    assert_eq!(samples(&sources, 30).await, expected, "after a restart too");
}
