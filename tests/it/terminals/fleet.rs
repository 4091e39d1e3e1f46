//! Terminals that post random batches, and what must be found of them afterwards.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tillwatch_model::histogram::{bucket_highest, bucket_index, bucket_lowest};
use tillwatch_model::session::Values;
use tillwatch_model::{Catalogue, Kind, Scalars, SessionSums};

use crate::support::{Batch, Server, many, now_ms};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// Metrics, kept by terminal or not, with a label or without.
const METRICS: [(&str, Option<&str>); 10] = [
    ("sync_duration_ms", None),
    ("network_latency_ms", None),
    ("memory_used_mb", None),
    ("pending_transactions", None),
    ("offline_login_duration_ms", None),
    ("errors", Some("sync")),
    ("errors", Some("script")),
    ("lcp_ms", None),
    ("sync_attempts", Some("failure")),
    ("db_size_mb", None),
];

/// Store, terminal, metric, label, release, start of the hour (s).
pub type HourKey = (String, String, String, String, String, i64);
/// Session id, the day whose key is used, store, day of the samples.
pub type SessionOfDay = (String, i64, String, i64);

/// What must be found.
#[derive(Debug, Default)]
pub struct Model {
    pub hours: BTreeMap<HourKey, Scalars>,
    pub sessions: BTreeMap<SessionOfDay, SessionSums>,
}

struct Till {
    store_id: String,
    terminal_id: String,
    blank: Batch,
    seq: u64,
}

/// The terminals, and what they have posted.
pub struct Fleet {
    random: fastrand::Rng,
    tills: Vec<Till>,
    sent: Vec<Batch>,
    pub model: Model,
    catalogue: Catalogue,
}

impl Fleet {
    /// Three stores with two terminals each, of which two have one name.
    pub fn new(seed: u64) -> Self {
        let tills = (0..6).map(|number| {
            let store_id = format!("store-{}", number % 3);
            let terminal_id = format!("till-{}", number / 3);
            let blank = Batch::new(&store_id).with("terminal_id", terminal_id.clone());
            Till {
                store_id,
                terminal_id,
                blank,
                seq: 0,
            }
        });
        Self {
            random: fastrand::Rng::with_seed(seed),
            tills: tills.collect(),
            sent: Vec::new(),
            model: Model::default(),
            catalogue: Catalogue::default(),
        }
    }

    /// The session ids that have been posted.
    pub fn session_ids() -> Vec<String> {
        (0..3)
            .map(|number| format!("cashier 4711-{number}-anna"))
            .collect()
    }

    /// Posts so many batches, of which each must be taken; sends some again.
    pub async fn post(&mut self, server: &Server, batches: usize) {
        if self.sent.is_empty() {
            self.name_releases(server).await;
        }
        for _ in 0..batches {
            let batch = self.make();
            let (accepted, duplicate, rejected) = server.taken(&batch.0).await;
            assert_eq!((duplicate, rejected), (0, 0), "{}", batch.0);
            assert!(accepted > 0);
            self.sent.push(batch);
        }
        for _ in 0..batches / 4 {
            let again = self.sent[self.random.usize(0..self.sent.len())].clone();
            let (accepted, _, rejected) = server.taken(&many([&again])).await;
            assert_eq!((accepted, rejected), (0, 0));
        }
    }

    /// While it is alone, a terminal gives a release its name at once. Of two that report, the first would be counted
    /// as `__new__`.
    async fn name_releases(&mut self, server: &Server) {
        let till = &mut self.tills[0];
        for release in 0..2 {
            till.seq += 1;
            let batch = till.blank.clone().seq(till.seq);
            let batch = batch.with("release", format!("2.{release}"));
            assert_eq!(server.taken(&batch.0).await, (0, 0, 0));
        }
    }

    fn make(&mut self) -> Batch {
        let number = self.random.usize(0..self.tills.len());
        let till = &mut self.tills[number];
        till.seq += 1;
        let release = format!("2.{}", self.random.u8(0..2));
        let mut batch = till
            .blank
            .clone()
            .seq(till.seq)
            .with("release", release.clone());
        let names = (till.store_id.clone(), till.terminal_id.clone(), release);
        let has_session = self.random.u8(0..4) > 0;
        let session_id = Self::session_ids()[self.random.usize(0..3)].clone();
        if has_session {
            batch = batch.with("session_id", session_id.clone());
        }
        // Now, some hours ago, or after a week offline.
        let oldest_ms = [MINUTE_MS, 3 * HOUR_MS, 7 * DAY_MS][self.random.usize(0..3)];
        let mut key_day = None;
        let samples = self.random.usize(0..15);
        for _ in 0..samples {
            let (metric, label) = METRICS[self.random.usize(0..METRICS.len())];
            let t_ms = now_ms() - self.random.i64(0..oldest_ms);
            let most = [90, 2_000, 8_000][self.random.usize(0..3)];
            let value = self.random.u64(1..most);
            let mut sample = json!({"m": metric, "t": t_ms, "v": value, "connection": "online"});
            if let Some(label) = label {
                sample["label"] = json!(label);
            }
            batch = batch.push(sample);
            key_day.get_or_insert(t_ms.div_euclid(DAY_MS));
            let recorded = value * self.catalogue.named(metric).unwrap().unit.scale();
            let scalars = self.scalars(metric, (t_ms, recorded));
            let at = (metric, label.unwrap_or(""), t_ms);
            let session = has_session.then(|| (session_id.clone(), key_day.unwrap()));
            self.model
                .add((&names, at), scalars, session, &self.catalogue);
        }
        if samples == 0 || self.random.bool() {
            let t_ms = (now_ms() - self.random.i64(MINUTE_MS..oldest_ms + MINUTE_MS)) / MINUTE_MS
                * MINUTE_MS;
            key_day.get_or_insert(t_ms.div_euclid(DAY_MS));
            let index = bucket_index(self.random.u64(1_000..9_000_000));
            let (low, high) = (bucket_lowest(index), bucket_highest(index));
            let count = self.random.u64(1..50);
            let wire = |value: u64| value as f64 / 1_000.0;
            batch = batch.push_histogram(json!({
                "m": "sync_duration_ms", "t": t_ms, "span_ms": MINUTE_MS, "connection": "offline",
                "buckets": [[index, count]], "sum": wire(low * count), "min": wire(low), "max": wire(high),
            }));
            let over = |limit: u64| if high > limit { count } else { 0 };
            let scalars = Scalars {
                count,
                sum: low * count,
                min: low,
                max: high,
                last: high,
                last_ms: t_ms,
                over_low: over(1_500_000),
                over_high: over(5_000_000),
            };
            // A histogram is of the day and hour that hold its middle.
            let at = ("sync_duration_ms", "", t_ms + MINUTE_MS / 2);
            let session = has_session.then(|| (session_id.clone(), key_day.unwrap()));
            self.model
                .add((&names, at), scalars, session, &self.catalogue);
        }
        batch
    }

    fn scalars(&self, metric: &str, (t_ms, value): (i64, u64)) -> Scalars {
        let metric = self.catalogue.named(metric).unwrap();
        let over = |at: usize| {
            let limit = metric.thresholds[at].filter(|_| metric.kind != Kind::Counter);
            u64::from(limit.is_some_and(|limit| value > limit))
        };
        Scalars {
            count: 1,
            sum: value,
            min: value,
            max: value,
            last: value,
            last_ms: t_ms,
            over_low: over(0),
            over_high: over(1),
        }
    }
}

impl Model {
    fn add(
        &mut self,
        (names, (metric, label, t_ms)): (&(String, String, String), (&str, &str, i64)),
        scalars: Scalars,
        session: Option<(String, i64)>,
        catalogue: &Catalogue,
    ) {
        let (store_id, terminal_id, release) = names.clone();
        if catalogue.named(metric).unwrap().per_terminal {
            let hour = t_ms.div_euclid(HOUR_MS) * 3_600;
            let key = (
                store_id.clone(),
                terminal_id,
                metric.into(),
                label.into(),
                release,
                hour,
            );
            self.hours.entry(key).or_default().merge(&scalars);
        }
        let Some((session_id, key_day)) = session else {
            return;
        };
        let key = (session_id, key_day, store_id, t_ms.div_euclid(DAY_MS));
        let sums = self.sessions.entry(key).or_default();
        let values = Values {
            count: scalars.count,
            sum: scalars.sum,
            max: scalars.max,
        };
        sums.first_ms = sums.first_ms.min(t_ms);
        sums.last_ms = sums.last_ms.max(t_ms);
        sums.samples += values.count;
        match metric {
            "lcp_ms" => sums.lcp.merge(&values),
            "sync_duration_ms" => sums.sync.merge(&values),
            "offline_login_duration_ms" => sums.offline_login.merge(&values),
            "sync_attempts" => {
                sums.sync_attempts += values.sum;
                sums.sync_failures += values.sum;
            }
            "db_size_mb" => sums.db_size_max = sums.db_size_max.max(values.max),
            "errors" => sums.errors += values.sum,
            _ => {}
        }
    }

    /// `GET /api/v1/terminals` says of every store what is in the model.
    pub async fn assert_terminals(&self, server: &Server) {
        type ByMetric = BTreeMap<(String, String, String), Scalars>;
        let mut expected: BTreeMap<String, ByMetric> = BTreeMap::new();
        for ((store_id, terminal_id, metric, label, ..), scalars) in &self.hours {
            let key = (terminal_id.clone(), metric.clone(), label.clone());
            let of_store = expected.entry(store_id.clone()).or_default();
            of_store.entry(key).or_default().merge(scalars);
        }
        let catalogue = Catalogue::default();
        for (store_id, expected) in expected {
            let parameters = [("store_id", store_id.as_str()), ("hours", "200")];
            let reply = server.get("/api/v1/terminals", &parameters).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            let answer = reply.json();
            let mut found = ByMetric::new();
            for terminal in answer["terminals"].as_array().unwrap() {
                for line in terminal["metrics"].as_array().unwrap() {
                    let text = |key: &str| line[key].as_str().unwrap_or("").to_owned();
                    let scale = catalogue.named(&text("metric")).unwrap().unit.scale();
                    let terminal_id = terminal["terminal_id"].as_str().unwrap().to_owned();
                    let key = (terminal_id, text("metric"), text("label"));
                    found.insert(key, scalars_of(line, scale));
                }
            }
            assert_same(&found, &expected, &store_id);
        }
    }

    /// `v_rollup_terminal_1h` holds what is in the model; `tsv` has its lines.
    pub fn assert_hours(&self, tsv: &str) {
        let mut found: BTreeMap<HourKey, Scalars> = BTreeMap::new();
        for line in tsv.lines() {
            let mut cells = line.split('\t');
            let mut text = || cells.next().unwrap().to_owned();
            let names = (text(), text(), text(), text(), text());
            let mut number = || text().parse::<i64>().unwrap();
            let hour = number();
            let mut word = || u64::try_from(number()).unwrap();
            let scalars = Scalars {
                count: word(),
                sum: word(),
                min: word(),
                max: word(),
                last: word(),
                last_ms: word().cast_signed(),
                over_low: word(),
                over_high: word(),
            };
            let key = (names.0, names.1, names.2, names.3, names.4, hour);
            assert!(found.insert(key, scalars).is_none());
        }
        assert_same(&found, &self.hours, "SQL");
    }

    /// `GET /api/v1/sessions/…` says of every session what is in the model; `pseudonyms` by session id
    /// and day.
    pub async fn assert_sessions(
        &self,
        server: &Server,
        pseudonyms: &BTreeMap<(String, i64), String>,
    ) {
        for (named, pseudonym) in pseudonyms {
            let of_session = self
                .sessions
                .iter()
                .filter(|((session_id, day, ..), _)| (session_id, day) == (&named.0, &named.1));
            let expected: Vec<Value> = of_session
                .map(|((_, _, store_id, day), sums)| line_of(store_id, *day, sums))
                .collect();
            let reply = server
                .get(&format!("/api/v1/sessions/{pseudonym}"), &[])
                .await;
            assert_eq!(reply.status, 200, "{named:?}: {}", reply.text());
            let answer = reply.json();
            assert_eq!(answer["session"], json!(pseudonym));
            let mut found = answer["days"].as_array().unwrap().clone();
            let mut expected = expected;
            let by = |line: &Value| (line["day"].as_i64(), line["store_id"].to_string());
            found.sort_by_key(by);
            expected.sort_by_key(by);
            assert_eq!(found.len(), expected.len(), "{named:?}: {found:?}");
            for (found, expected) in found.iter().zip(&expected) {
                assert_lines(found, expected);
            }
        }
    }
}

/// A line of the answer about a session.
fn line_of(store_id: &str, day: i64, sums: &SessionSums) -> Value {
    let average = |values: &Values| {
        (values.count > 0).then(|| values.sum as f64 / values.count as f64 / 1_000.0)
    };
    let most = |values: &Values| (values.count > 0).then(|| values.max as f64 / 1_000.0);
    json!({
        "store_id": store_id, "day": day * DAY_MS, "first_ms": sums.first_ms, "last_ms": sums.last_ms,
        "samples": sums.samples,
        "lcp_avg_ms": average(&sums.lcp), "lcp_max_ms": most(&sums.lcp),
        "offline_login_avg_ms": average(&sums.offline_login), "offline_login_max_ms": most(&sums.offline_login),
        "syncs": sums.sync.count, "sync_avg_ms": average(&sums.sync), "sync_max_ms": most(&sums.sync),
        "sync_attempts": sums.sync_attempts, "sync_failures": sums.sync_failures,
        "db_size_max_mb": sums.db_size_max as f64 / 1e6,
        "errors": sums.errors, "error_ratio": sums.errors as f64 / sums.samples as f64,
    })
}

/// Asserts that both have the same keys with the same values, but for a float's last digit.
fn assert_lines(found: &Value, expected: &Value) {
    let (found, expected) = (found.as_object().unwrap(), expected.as_object().unwrap());
    assert!(found.keys().eq(expected.keys()), "{found:?}");
    for (key, value) in expected {
        let is_same = match (found[key].as_f64(), value.as_f64()) {
            (Some(found), Some(value)) => (found - value).abs() <= value * 1e-12,
            _ => found[key] == *value,
        };
        assert!(is_same, "{key}: {found:?} is not {expected:?}");
    }
}

/// A line of the answer about a terminal, in recording units.
fn scalars_of(line: &Value, scale: u64) -> Scalars {
    let recorded = |value: &Value| (value.as_f64().unwrap() * scale as f64).round() as u64;
    let number = |key: &str| line[key].as_u64().unwrap();
    Scalars {
        count: number("count"),
        sum: recorded(&line["sum"]),
        min: recorded(&line["min"]),
        max: recorded(&line["max"]),
        last: recorded(&line["last"]["value"]),
        last_ms: line["last"]["t"].as_i64().unwrap(),
        over_low: number("over_low"),
        over_high: number("over_high"),
    }
}

fn assert_same<K: Ord + std::fmt::Debug>(
    found: &BTreeMap<K, Scalars>,
    expected: &BTreeMap<K, Scalars>,
    place: &str,
) {
    for (key, scalars) in expected {
        assert_eq!(found.get(key), Some(scalars), "{place}: {key:?}");
    }
    for key in found.keys() {
        assert!(
            expected.contains_key(key),
            "{place}: {key:?} was not posted"
        );
    }
}

/// What [`Model::assert_hours`] reads: merged over seals, as any reader would.
pub const HOURS: &str = "SELECT store_id, terminal_id, metric, label, release, toUnixTimestamp(hour_start), \
    sum(count), sum(total), min(least), max(most), argMax(final, (at, final)), max(at), sum(low), sum(high) \
    FROM (SELECT *, sum AS total, min AS least, max AS most, last AS final, \
          toUnixTimestamp64Milli(last_at) AS at, over_low AS low, over_high AS high FROM tillwatch.v_rollup_terminal_1h) \
    GROUP BY store_id, terminal_id, metric, label, release, hour_start FORMAT TSV";
