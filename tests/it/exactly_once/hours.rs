//! Hours and minutes, read while they are sealed, shipped, confirmed and summed up, against a model.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tillwatch::aggregate::Restored;
use tillwatch::clock::Clock;
use tillwatch::holdings::Holdings;
use tillwatch::persist::migrate::migrate;
use tillwatch::persist::rebuild::hourly_table;
use tillwatch::persist::ship::ship_once;
use tillwatch::persist::{ClickHouse, Endpoint, EpochInfo, State};
use tillwatch::pipeline::{Next, Rebuilder};
use tillwatch::query::Parameters;
use tillwatch::query::percentiles::{MERGE_BYTES_MAX, Sources, answer};
use tillwatch::query::request::PercentileRequest;
use tillwatch::source_maps::SourceMaps;
use tillwatch::tasks::Jobs;
use tillwatch::world::World;
use tillwatch_model::histogram::{bucket_highest, values_at};
use tillwatch_model::time::wall_ms as now_ms;
use tillwatch_model::{Catalogue, Quantile};

use crate::support::records::{aggregator, sample_at};
use crate::support::{Engine, Exposition, Proxy, Weather};

const HOUR_MS: i64 = 3_600_000;
const DAYS: i64 = 7;
const STORES: [&str; 3] = ["store-1", "store-2", "store-3"];
const QUANTILES: [&str; 3] = ["0.5", "0.95", "1"];

/// One sample: store, time, value (µs, below 2,048: each has a bucket of its own).
type Sample = (&'static str, i64, u64);

/// Everything under test, on a real engine.
struct Bench {
    sources: Sources,
    _slow: Proxy,
    rebuilder: Rebuilder,
    /// Samples in the order of their positions, from 1.
    model: Mutex<Vec<Sample>>,
    /// How many samples of `model` are durable.
    durable: AtomicU64,
    base_ms: i64,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn new(engine: &Engine) -> Self {
        let clickhouse = engine.clickhouse();
        migrate(&clickhouse).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(State::open(folder.path(), &World::of_machine()).unwrap());
        let table = hourly_table(&clickhouse).await.unwrap();
        assert_eq!(table.len(), 36, "{table:?} is no UUID");
        assert!(state.note_hourly_table(&table).unwrap());
        assert!(!state.note_hourly_table(&table).unwrap(), "the same table");
        let holdings = Arc::new(Holdings::new(
            aggregator(Restored::default()),
            Vec::new(),
            0,
            state.dirty_hours().unwrap(),
            state.collector_id(),
            0,
        ));
        let rebuilder = Rebuilder {
            clickhouse: clickhouse.clone(),
            state: Arc::clone(&state),
            holdings: Arc::clone(&holdings),
            world: World::of_machine(),
            quiet: Duration::from_millis(1),
        };
        // Much happens between a reader's view and its reading.
        let slow = Proxy::start(engine.address, Weather::Slow(Duration::from_millis(120))).await;
        let endpoint = Endpoint {
            url: slow.url(),
            user: "default".to_owned(),
            password: String::new(),
        };
        let sources = Sources {
            catalogue: Arc::new(Catalogue::default()),
            holdings,
            state,
            clickhouse: ClickHouse::fixed(endpoint, Duration::from_secs(60)),
            source_maps: SourceMaps::of(folder.path()),
            merge_bytes_max: MERGE_BYTES_MAX,
            jobs: Jobs::new(1),
            is_engine_here: true,
        };
        Self {
            _slow: slow,
            sources,
            rebuilder,
            model: Mutex::default(),
            durable: AtomicU64::new(0),
            base_ms: (now_ms() / HOUR_MS - DAYS * 24) * HOUR_MS,
            _folder: folder,
        }
    }

    /// A sample at a random time: mostly of a few hours, so that these are now clean and now dirty.
    fn apply(&self, random: &mut fastrand::Rng) {
        let store = STORES[random.usize(0..STORES.len())];
        let hour = if random.u8(0..4) == 0 {
            random.i64(1..DAYS * 24 - 1)
        } else {
            50 + random.i64(0..12)
        };
        let sample = (
            store,
            self.base_ms + hour * HOUR_MS + random.i64(0..HOUR_MS),
            random.u64(1..2_048),
        );
        let position = {
            let mut model = self.model.lock().unwrap();
            model.push(sample);
            model.len() as u64
        };
        self.durable.store(position, Ordering::SeqCst);
        let record = sample_at(store, (position, now_ms()), (sample.1, sample.2));
        self.sources.holdings.apply(usize::MAX, |aggregator| {
            aggregator.apply(position, &record).unwrap();
        });
    }

    /// Seals what is open; `false` when there was nothing.
    async fn seal(&self, sealed_position: &AtomicU64) -> bool {
        let (holdings, state) = (&self.sources.holdings, &self.sources.state);
        let Some((cut, epoch)) = holdings.cut(sealed_position.load(Ordering::SeqCst)) else {
            return false;
        };
        let sealing = Arc::new(state.encode(cut, epoch).unwrap());
        holdings.sealing(Arc::clone(&sealing), now_ms());
        pause(10).await;
        let sealed = state.seal(&sealing, now_ms()).unwrap();
        // Here it may be shipped, confirmed and summed up already: now and then there is time for all of it.
        pause([5, 5, 5, 1_500][fastrand::usize(0..4)]).await;
        let info = EpochInfo {
            epoch,
            collector_id: state.collector_id(),
            sealed_at_ms: now_ms(),
            confirmed_at_ms: None,
            days: sealing.days().clone(),
            sides: sealing.side_days(),
        };
        holdings.sealed(sealed, info);
        sealed_position.store(sealing.applied(), Ordering::SeqCst);
        true
    }

    /// Ships what waits; `false` when there was nothing.
    async fn ship(&self) -> bool {
        let (clickhouse, state) = (&self.rebuilder.clickhouse, &self.sources.state);
        let shipped = ship_once(clickhouse, state, &Clock::of_machine(), false)
            .await
            .unwrap();
        pause(10).await;
        let Some(last) = shipped.confirmed.last() else {
            return false;
        };
        self.sources.holdings.confirmed(*last);
        true
    }

    /// Asks, and compares the whole answer with the model.
    async fn ask(&self, query: &Asked) -> u64 {
        let position = self.durable.load(Ordering::SeqCst);
        let mut parameters: HashMap<String, String> = HashMap::new();
        let mut put = |key: &str, value: String| parameters.insert(key.to_owned(), value);
        put("metric", "lcp_ms".to_owned());
        put("q", QUANTILES.join(","));
        // Not on the hour: the edges are read by the minute.
        put("from", (self.base_ms + 5 * 60_000).to_string());
        put(
            "to",
            (self.base_ms + DAYS * 24 * HOUR_MS - 5 * 60_000).to_string(),
        );
        if let Some(step) = query.step {
            put("step", step.to_owned());
        }
        if let Some(store) = query.store {
            put("store_id", store.to_owned());
        }
        if query.by_store {
            put("group_by", "store_id".to_owned());
        }
        let request = PercentileRequest::parse(
            &parameters.into_iter().collect(),
            &self.sources.catalogue,
            now_ms(),
        )
        .unwrap();
        let found = answer(&self.sources, &request, now_ms(), position)
            .await
            .unwrap();
        let found = serde_json::to_value(&found).unwrap();
        let points: Vec<(String, &Value)> = found["series"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|series| {
                let name = series["store_id"].as_str().unwrap_or("").to_owned();
                let points = series["points"].as_array().unwrap().iter();
                points.map(move |point| (name.clone(), point))
            })
            .collect();
        let count: u64 = points
            .iter()
            .map(|(_, point)| point["count"].as_u64().unwrap())
            .sum();
        let model = self.model.lock().unwrap();
        // Records are applied in order: so many samples are the first so many.
        let is_asked = |sample: &&Sample| query.store.is_none_or(|store| store == sample.0);
        let least = model[..usize::try_from(position).unwrap()]
            .iter()
            .filter(is_asked)
            .count() as u64;
        let most = model.iter().filter(is_asked).count() as u64;
        assert!(
            (least..=most).contains(&count),
            "{query:?}: {count} is not in {least}..={most}: a gap or a double"
        );
        let mut expected: BTreeMap<(String, i64), BTreeMap<u32, u64>> = BTreeMap::new();
        for (store, t_ms, value) in model
            .iter()
            .filter(is_asked)
            .take(usize::try_from(count).unwrap())
        {
            let group = if query.by_store { *store } else { "" };
            let point = query.point_of(*t_ms, request.from_ms);
            let buckets = expected.entry((group.to_owned(), point)).or_default();
            *buckets.entry(u32::try_from(*value).unwrap()).or_default() += 1;
        }
        drop(model);
        assert_eq!(points.len(), expected.len(), "{query:?}: points");
        let quantiles: Vec<Quantile> = QUANTILES
            .iter()
            .map(|text| Quantile::parse(text).unwrap())
            .collect();
        for ((name, point), ((group, t_ms), buckets)) in points.iter().zip(expected) {
            let (indices, counts): (Vec<u32>, Vec<u64>) = buckets.iter().unzip();
            let number: u64 = counts.iter().sum();
            let sum: u64 = buckets
                .iter()
                .map(|(value, count)| u64::from(*value) * count)
                .sum();
            let found = (
                name.as_str(),
                point["t"].as_i64().unwrap(),
                point["count"].as_u64().unwrap(),
            );
            assert_eq!(found, (&*group, t_ms, number), "{query:?}");
            let wire = |value: &Value| (value.as_f64().unwrap() * 1_000.0).round() as u64;
            assert_eq!(wire(&point["sum"]), sum, "{query:?}: {group} at {t_ms}");
            let values = values_at(&indices, &counts, &quantiles).unwrap();
            for (text, value) in QUANTILES.iter().zip(values) {
                assert_eq!(
                    wire(&point["values"][text]),
                    value,
                    "{query:?}: {text} of {group} at {t_ms}"
                );
            }
        }
        count
    }
}

/// One kind of question.
#[derive(Debug)]
struct Asked {
    step: Option<&'static str>,
    store: Option<&'static str>,
    by_store: bool,
}

impl Asked {
    fn point_of(&self, t_ms: i64, from_ms: i64) -> i64 {
        let step_ms = match self.step {
            None => return from_ms,
            Some("1d") => 24 * HOUR_MS,
            Some("1h") => HOUR_MS,
            Some(_) => HOUR_MS / 60,
        };
        (t_ms.div_euclid(step_ms) * step_ms).max(from_ms)
    }
}

const QUESTIONS: [Asked; 5] = [
    Asked {
        step: None,
        store: None,
        by_store: false,
    },
    Asked {
        step: Some("1d"),
        store: None,
        by_store: true,
    },
    Asked {
        step: Some("1h"),
        store: Some("store-2"),
        by_store: false,
    },
    Asked {
        step: None,
        store: None,
        by_store: true,
    },
    // By the minute throughout.
    Asked {
        step: Some("1m"),
        store: None,
        by_store: false,
    },
];

async fn pause(ms_max: u64) {
    tokio::time::sleep(Duration::from_micros(fastrand::u64(0..ms_max * 1_000))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_answer_by_the_hour_and_by_the_minute_is_the_models_while_all_moves() {
    let recorder = tillwatch::self_metrics::install().unwrap();
    let engine = Engine::start();
    let bench = Arc::new(Bench::new(&engine).await);
    let (no_more_records, all_sealed, all_shipped) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let is = |flag: &Arc<AtomicBool>| flag.load(Ordering::SeqCst);

    let sealer = tokio::spawn({
        let (bench, is_last, over) = (
            Arc::clone(&bench),
            Arc::clone(&no_more_records),
            Arc::clone(&all_sealed),
        );
        async move {
            let sealed_position = AtomicU64::new(0);
            loop {
                let last = is(&is_last);
                if !bench.seal(&sealed_position).await && last {
                    break;
                }
                pause(60).await;
            }
            over.store(true, Ordering::SeqCst);
        }
    });
    let shipper = tokio::spawn({
        let (bench, is_last, over) = (
            Arc::clone(&bench),
            Arc::clone(&all_sealed),
            Arc::clone(&all_shipped),
        );
        async move {
            loop {
                let last = is(&is_last);
                if !bench.ship().await && last {
                    break;
                }
                pause(20).await;
            }
            over.store(true, Ordering::SeqCst);
        }
    });
    let rebuilder = tokio::spawn({
        let (bench, is_last) = (Arc::clone(&bench), Arc::clone(&all_shipped));
        async move {
            let mut next = Next::default();
            loop {
                let last = is(&is_last);
                if !bench.rebuilder.round(&mut next).await.unwrap() && last {
                    return;
                }
                pause(20).await;
            }
        }
    });
    let readers: Vec<_> = (0..3)
        .map(|number| {
            let (bench, over) = (Arc::clone(&bench), Arc::clone(&all_shipped));
            tokio::spawn(async move {
                let mut answers = 0;
                while !over.load(Ordering::SeqCst) {
                    bench
                        .ask(&QUESTIONS[(number + answers) % QUESTIONS.len()])
                        .await;
                    answers += 1;
                }
                answers
            })
        })
        .collect();
    let (mut random, started) = (fastrand::Rng::new(), Instant::now());
    println!("seed {}", random.get_seed());
    // Until enough has happened: the machine may be busy.
    let page = || Exposition::parse(&recorder.render());
    let reads =
        |page: &Exposition, table| page.value("tillwatch_query_reads_total", &[("table", table)]);
    let has_happened = || {
        let page = page();
        reads(&page, "rollup_1h") > 40.0
            && reads(&page, "again") > 3.0
            && page.value("tillwatch_rebuilt_rollups_total", &[]) > 200.0
    };
    while started.elapsed() < Duration::from_secs(8)
        || (started.elapsed() < Duration::from_secs(60) && !has_happened())
    {
        for _ in 0..random.usize(1..3) {
            bench.apply(&mut random);
        }
        pause(20).await;
    }
    no_more_records.store(true, Ordering::SeqCst);
    sealer.await.unwrap();
    shipper.await.unwrap();
    let mut answers = 0;
    for reader in readers {
        answers += reader.await.unwrap();
    }
    rebuilder.await.unwrap();

    let page = page();
    println!(
        "{answers} answers, {} reads by the hour, {} again, {} hours summed up, {} epochs",
        reads(&page, "rollup_1h"),
        reads(&page, "again"),
        page.value("tillwatch_rebuilt_rollups_total", &[]),
        bench.sources.state.last_epoch().unwrap()
    );
    assert!(has_happened(), "nothing was tested");

    // Nothing is dirty now, in memory or on disk, and the hours are what the minutes are.
    let levels = bench.sources.holdings.levels();
    assert_eq!((levels.dirty_hours, levels.unchecked_days), (0, 0));
    assert_eq!(bench.sources.state.dirty_hours().unwrap().counts(), (0, 0));
    let all = bench.model.lock().unwrap().len() as u64;
    for question in &QUESTIONS[..4] {
        let count = bench.ask(question).await;
        assert!(question.store.is_some() || count == all, "{question:?}");
    }
    let differing = "
        SELECT count() FROM (
            SELECT store_id, toStartOfHour(window_start) AS hour, sumMap(hist) AS h, sum(count) AS n, sum(sum) AS s,
                   min(min) AS least, max(max) AS most, sum(over_low) AS low, sum(over_high) AS high
            FROM tillwatch.v_rollup_1m GROUP BY ALL
        ) AS m FULL JOIN tillwatch.v_rollup_1h AS t ON m.store_id = t.store_id AND m.hour = t.hour_start
        WHERE NOT (m.h = t.hist AND m.n = t.count AND m.n = t.version AND m.s = t.sum AND m.least = t.min AND m.most = t.max
                   AND m.low = t.over_low AND m.high = t.over_high)";
    assert_eq!(engine.sql(differing).await.trim(), "0");
    // And they are really what is read: without them there is no answer.
    engine.sql("TRUNCATE TABLE tillwatch.rollup_1h").await;
    let without = tokio::spawn({
        let bench = Arc::clone(&bench);
        async move { bench.ask(&QUESTIONS[0]).await }
    });
    assert!(without.await.is_err(), "the hours were not read");
}

/// A point with open data takes memory for every bucket of every row, or time.
#[tokio::test]
async fn a_point_whose_buckets_do_not_fit_in_memory_is_merged_all_the_same() {
    let engine = Engine::start();
    let mut bench = Bench::new(&engine).await;
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..5 {
        bench.apply(&mut random);
    }
    let at_s = (bench.base_ms + 55 * HOUR_MS) / 1_000;
    let highest = bucket_highest(49_999);
    let rows = format!(
        "INSERT INTO tillwatch.rollup_1m SELECT 'lcp_ms', '', 'store-1', '1', 'online', 'rum', toDateTime({at_s} + number * 60), 60,
         '00000000-0000-0000-0000-000000000009', 1, (range(50000)::Array(UInt32), arrayWithConstant(50000, 1::UInt64)),
         50000, 50000, 0, {highest}, 0, 0, now64(3), number FROM numbers(40)"
    );
    engine.sql(&rows).await;
    bench.sources.merge_bytes_max = 8 << 20;
    let quick =
        "SELECT length(groupArrayArray(hist.1)), length(groupArrayArray(hist.2)) FROM rollup_1m
        SETTINGS max_memory_usage = 8388608";
    let error = engine.clickhouse().execute(quick).await.unwrap_err();
    assert!(error.is_out_of_memory(), "{error:?}");
    let parameters = Parameters::from_iter(
        [
            ("metric", "lcp_ms".to_owned()),
            ("q", "0.5,1".to_owned()),
            ("from", bench.base_ms.to_string()),
            ("to", (bench.base_ms + DAYS * 24 * HOUR_MS).to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let request =
        PercentileRequest::parse(&parameters, &bench.sources.catalogue, now_ms()).unwrap();
    let mut answers = Vec::new();
    for bytes_max in [8 << 20, MERGE_BYTES_MAX] {
        bench.sources.merge_bytes_max = bytes_max;
        let found = answer(&bench.sources, &request, now_ms(), 5).await.unwrap();
        let point = serde_json::to_value(&found).unwrap()["series"][0]["points"][0].clone();
        assert_eq!(point["count"], 2_000_005);
        assert_eq!(
            point["values"]["1"].as_f64().unwrap(),
            highest as f64 / 1_000.0
        );
        answers.push(point);
    }
    assert_eq!(answers[0], answers[1]);
}
