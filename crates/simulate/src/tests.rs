//! Whole runs against a small collector that keeps everything in memory and can be made to fail.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tillwatch_model::histogram::{bucket_highest, bucket_index};
use tillwatch_model::metric::to_float;
use tillwatch_model::{Catalogue, Quantile};

use super::options::tests::options;
use super::{Report, run_until};

/// What the collector does wrong.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Answers 503, 429, 500, hangs, or takes the batch and drops the connection, one after the other.
    Trouble,
    /// Acknowledges one batch that it does not keep.
    Loses,
    /// Counts a resent batch again.
    Doubles,
    /// Reads percentiles one bucket too high.
    Inaccurate,
    /// Refuses every fifth request for good.
    Refuses,
    /// Lists an error that nobody sent, and says nothing of what is missing.
    Misjudges,
}

struct Collector {
    fault: Fault,
    requests: u64,
    seen: HashMap<(String, String, String, u64), Value>,
    /// Recorded buckets by metric and store.
    values: BTreeMap<(String, String), Vec<u64>>,
    sums: BTreeMap<(String, String), f64>,
    catalogue: Catalogue,
    /// Of each error: how often, when first, and on which terminals of which stores.
    errors: BTreeMap<String, Happened>,
    /// What terminals said that they have dropped.
    drops: Vec<Value>,
}

type Happened = (u64, i64, BTreeSet<(String, String)>);

type Shared = Arc<Mutex<Collector>>;

impl Collector {
    /// Takes one batch; how many samples were new, and how many were not.
    fn take(&mut self, batch: &Value) -> (u64, u64) {
        let text = |key: &str| batch[key].as_str().unwrap().to_owned();
        assert_eq!((&batch["v"], &batch["consent"]), (&json!(1), &json!(true)));
        let identity = (
            text("store_id"),
            text("terminal_id"),
            text("queue"),
            batch["seq"].as_u64().unwrap(),
        );
        let mut content = batch.clone();
        content.as_object_mut().unwrap().remove("sent_at_ms");
        let empty = Vec::new();
        let samples = batch["samples"].as_array().unwrap();
        let histograms = batch["histograms"].as_array().unwrap_or(&empty);
        let weight = |histogram: &Value| -> u64 {
            histogram["buckets"]
                .as_array()
                .unwrap()
                .iter()
                .map(|pair| pair[1].as_u64().unwrap())
                .sum()
        };
        let list = |key: &str| batch[key].as_array().unwrap_or(&empty).clone();
        let (events, drops) = (list("events"), list("drops"));
        let beside = (samples.len() + events.len() + drops.len()) as u64;
        let count = beside + histograms.iter().map(weight).sum::<u64>();
        if let Some(before) = self.seen.get(&identity) {
            assert_eq!(*before, content, "a batch changed between two attempts");
            if self.fault != Fault::Doubles {
                return (0, count);
            }
        }
        let is_lost = self.fault == Fault::Loses && self.seen.len() == 7;
        self.seen.insert(identity.clone(), content);
        if !is_lost {
            for event in &events {
                let sample = json!({"m": "errors", "label": event["label"]});
                let count = event["count"].as_u64().unwrap();
                self.record(&identity.0, &sample, &[], to_float(count));
                let fingerprint = event["fingerprint"].as_str().unwrap().to_owned();
                let t_ms = event["t"].as_i64().unwrap();
                let error = self.errors.entry(fingerprint);
                let error = error.or_insert((0, t_ms, BTreeSet::new()));
                error.0 += count;
                error.1 = error.1.min(t_ms);
                error.2.insert((identity.0.clone(), identity.1.clone()));
            }
            for dropped in &drops {
                let sample = json!({"m": "dropped_samples", "label": dropped["reason"]});
                let samples = dropped["samples"].as_f64().unwrap();
                self.record(&identity.0, &sample, &[], samples);
                let mut line = dropped.clone();
                line["store_id"] = json!(identity.0);
                line["terminal_id"] = json!(identity.1);
                self.drops.push(line);
            }
            for sample in samples {
                self.record(&identity.0, sample, &[], sample["v"].as_f64().unwrap());
            }
            for histogram in histograms {
                let pairs = histogram["buckets"].as_array().unwrap();
                self.record(
                    &identity.0,
                    histogram,
                    pairs,
                    histogram["sum"].as_f64().unwrap(),
                );
            }
        }
        (count, 0)
    }

    fn record(&mut self, store: &str, sample: &Value, pairs: &[Value], sum: f64) {
        let (metric, carried) = self.catalogue.find(sample["m"].as_str().unwrap()).unwrap();
        let label = carried.or(sample["label"].as_str());
        tillwatch_model::metric::label_code(metric, label).unwrap();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a test's own values"
        )]
        let recorded = (sum * to_float(metric.unit.scale())).round() as u64;
        let key = (metric.name.to_owned(), store.to_owned());
        let values = self.values.entry(key.clone()).or_default();
        if pairs.is_empty() {
            values.push(bucket_highest(bucket_index(recorded)));
        }
        for pair in pairs {
            let index = u32::try_from(pair[0].as_u64().unwrap()).unwrap();
            for _ in 0..pair[1].as_u64().unwrap() {
                values.push(bucket_highest(index));
            }
        }
        *self.sums.entry(key).or_default() += sum;
    }

    fn point(&self, metric: &str, store: Option<&str>, quantiles: &[&str]) -> Value {
        let is_wanted =
            |key: &&(String, String)| key.0 == metric && store.is_none_or(|store| store == key.1);
        let mut values: Vec<u64> = Vec::new();
        let mut sum = 0.0;
        for key in self.values.keys().filter(is_wanted) {
            values.extend(&self.values[key]);
            sum += self.sums[key];
        }
        values.sort_unstable();
        let scale = to_float(self.catalogue.named(metric).unwrap().unit.scale());
        let off = if self.fault == Fault::Inaccurate {
            1.002
        } else {
            1.0
        };
        let read: serde_json::Map<String, Value> = quantiles
            .iter()
            .filter(|_| !values.is_empty())
            .map(|text| {
                let rank = Quantile::parse(text).unwrap().rank(values.len() as u64);
                let value = values[usize::try_from(rank).unwrap() - 1];
                ((*text).to_owned(), json!(to_float(value) / scale * off))
            })
            .collect();
        json!({"t": 0, "count": values.len(), "sum": sum, "min": 0.0, "max": 0.0, "values": read})
    }
}

async fn take_request(State(collector): State<Shared>, body: Bytes) -> Response {
    let (step, fault) = {
        let mut collector = collector.lock().unwrap();
        collector.requests += 1;
        (collector.requests, collector.fault)
    };
    if fault == Fault::Trouble && step < 40 {
        match step % 5 {
            0 => return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")]).into_response(),
            1 => return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response(),
            2 => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            3 => tokio::time::sleep(Duration::from_millis(700)).await,
            _ => {}
        }
    }
    if fault == Fault::Refuses && step.is_multiple_of(5) {
        let error = json!({"error": {"code": "no_consent", "message": "No."}});
        return (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).into_response();
    }
    let body = if body.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        std::io::Read::read_to_end(
            &mut flate2::read::MultiGzDecoder::new(&body[..]),
            &mut plain,
        )
        .unwrap();
        plain
    } else {
        body.to_vec()
    };
    let request: Value = serde_json::from_slice(&body).unwrap();
    assert!(request["sent_at_ms"].is_u64());
    let mut collector = collector.lock().unwrap();
    let one = [request.clone()];
    let batches = request["batches"]
        .as_array()
        .map_or(&one[..], Vec::as_slice);
    let (mut accepted, mut duplicate) = (0, 0);
    for batch in batches {
        let (new, old) = collector.take(batch);
        if collector.fault == Fault::Misjudges && collector.errors.len() < 9 {
            let terminal = ("store-001".to_owned(), "till-1".to_owned());
            let error = (3, i64::MAX / 2, BTreeSet::from([terminal]));
            collector
                .errors
                .insert("00000000000000ff".to_owned(), error);
        }
        accepted += new;
        duplicate += old;
    }
    let answer =
        json!({"accepted": accepted, "duplicate": duplicate, "rejected": 0, "reasons": []});
    if fault == Fault::Trouble && step.is_multiple_of(7) {
        // Taken, but the answer is lost.
        return (StatusCode::ACCEPTED, "{").into_response();
    }
    (StatusCode::ACCEPTED, answer.to_string()).into_response()
}

async fn percentiles(
    State(collector): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
) -> String {
    let collector = collector.lock().unwrap();
    let quantiles: Vec<&str> = query["q"].split(',').collect();
    assert!(query["from"].parse::<i64>().unwrap() < query["to"].parse::<i64>().unwrap());
    let metric = &query["metric"];
    let series: Vec<Value> = if query.contains_key("group_by") {
        let stores: HashSet<&String> = collector
            .values
            .keys()
            .filter(|key| key.0 == *metric)
            .map(|key| &key.1)
            .collect();
        let one = |store: &&String| json!({"store_id": store, "points": [collector.point(metric, Some(store), &quantiles)]});
        stores.iter().map(one).collect()
    } else {
        vec![json!({"points": [collector.point(metric, None, &quantiles)]})]
    };
    json!({"metric": metric, "unit": "ms", "from": 0, "to": 0, "complete_to": 0, "series": series})
        .to_string()
}

impl Collector {
    fn group(&self, fingerprint: &str) -> Option<Value> {
        let (count, first_ms, terminals) = self.errors.get(fingerprint)?;
        let stores: BTreeSet<&String> = terminals.iter().map(|(store, _)| store).collect();
        let by_store: Vec<Value> = stores.iter().map(|id| json!({"store_id": id})).collect();
        Some(
            json!({"fingerprint": fingerprint, "count": count, "first_seen": first_ms / 3_600_000 * 3_600_000,
            "stores": stores.len(), "terminals": terminals.len(), "by_store": by_store}),
        )
    }

    /// The ledger of losses: the numbers that are missing below the highest, and what was dropped.
    fn losses(&self) -> Vec<Value> {
        let mut queues: BTreeMap<(&String, &String, &String), BTreeSet<u64>> = BTreeMap::new();
        for (store, terminal, queue, seq) in self.seen.keys() {
            queues
                .entry((store, terminal, queue))
                .or_default()
                .insert(*seq);
        }
        let mut lines = Vec::new();
        let mut line = |place: (&str, &str, &str),
                        (from, to): (u64, u64),
                        state: &str,
                        samples: u64| {
            lines.push(json!({"store_id": place.0, "terminal_id": place.1, "queue": place.2, "from_seq": from,
                "to_seq": to, "batches": to - from + 1, "state": state, "samples": samples}));
        };
        for dropped in &self.drops {
            let text = |key: &str| dropped[key].as_str().unwrap();
            let number = |key: &str| dropped[key].as_u64().unwrap();
            let place = (text("store_id"), text("terminal_id"), text("queue"));
            line(
                place,
                (number("from"), number("to")),
                "explained",
                number("samples"),
            );
        }
        for ((store, terminal, queue), seen) in &queues {
            let is_dropped = |seq: u64| {
                self.drops.iter().any(|dropped| {
                    let number = |key: &str| dropped[key].as_u64().unwrap();
                    dropped["queue"] == **queue && (number("from")..=number("to")).contains(&seq)
                })
            };
            for seq in 1..*seen.last().unwrap() {
                if !seen.contains(&seq) && !is_dropped(seq) {
                    line((store, terminal, queue), (seq, seq), "open", 40);
                }
            }
        }
        lines
    }
}

async fn one_error(
    State(collector): State<Shared>,
    axum::extract::Path(fingerprint): axum::extract::Path<String>,
) -> Response {
    let group = collector.lock().unwrap().group(&fingerprint);
    group.map_or_else(
        || StatusCode::NOT_FOUND.into_response(),
        |group| group.to_string().into_response(),
    )
}

async fn all_errors(State(collector): State<Shared>) -> String {
    let collector = collector.lock().unwrap();
    let fingerprints = collector.errors.keys();
    let groups: Vec<Value> = fingerprints
        .filter_map(|one| collector.group(one))
        .collect();
    json!({"groups": groups}).to_string()
}

async fn losses(State(collector): State<Shared>) -> String {
    let collector = collector.lock().unwrap();
    let lines = match collector.fault {
        Fault::Misjudges => Vec::new(),
        _ => collector.losses(),
    };
    json!({"is_whole": true, "losses": lines}).to_string()
}

async fn nobody_is_silent() -> String {
    json!({"ready_since": 1, "silent_after_ms": 3_600_000, "terminals_total": 0, "terminals": []})
        .to_string()
}

async fn start(fault: Fault) -> (String, Shared) {
    let collector = Arc::new(Mutex::new(Collector {
        fault,
        requests: 0,
        seen: HashMap::new(),
        values: BTreeMap::new(),
        sums: BTreeMap::new(),
        catalogue: Catalogue::default(),
        errors: BTreeMap::new(),
        drops: Vec::new(),
    }));
    let router = Router::new()
        .route("/v1/batches", post(take_request))
        .route("/api/v1/percentiles", get(percentiles))
        .route("/api/v1/terminals/silent", get(nobody_is_silent))
        .route("/api/v1/losses", get(losses))
        .route("/api/v1/errors", get(all_errors))
        .route("/api/v1/errors/{fingerprint}", get(one_error))
        .route("/metrics", get(async || ""))
        .route("/metrics/fleet", get(async || ""))
        .with_state(Arc::clone(&collector));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // The simulator's own stub: it needs no time-outs of its own.
    tokio::spawn(async move {
        let service = hyper_util::service::TowerToHyperService::new(router);
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service.clone();
            tokio::spawn(async move {
                let io = hyper_util::rt::TokioIo::new(stream);
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(io, service)
                    .await;
            });
        }
    });
    (url, collector)
}

async fn simulate(url: &str, line: &[&str]) -> Report {
    let mut words = vec![
        "--url",
        url,
        "--admin-url",
        url,
        "--quiet",
        "--stores",
        "4",
        "--terminals",
        "20",
        "--rate",
        "1200",
        "--backoff-max",
        "300ms",
        "--timeout",
        "500ms",
        "--drain",
        "20s",
        "--compare-wait",
        "300ms",
    ];
    words.extend(line);
    run_until(options(&words), std::future::pending)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_through_trouble_finds_everything_again() {
    let (url, collector) = start(Fault::Trouble).await;
    let line = [
        "--duration",
        "3s",
        "--resend-share",
        "0.2",
        "--late-share",
        "0.1",
        "--gzip",
        "--backfill",
        "3h",
    ];
    let report = simulate(&url, &line).await;
    assert!(report.is_good, "{report}");
    let counts = &report.counts;
    let comparison = report.comparison.as_ref().unwrap();
    assert_eq!(report.batches_held, 0, "{report}");
    assert_eq!(comparison.sent, counts.samples_made);
    assert_eq!(
        (comparison.found, comparison.lost, comparison.doubled),
        (comparison.sent, 0, 0)
    );
    assert!(
        comparison.worst_relative_error.unwrap() > 0.000_1,
        "nothing was rounded?"
    );
    assert_eq!(
        (comparison.stores_compared, comparison.notes.len()),
        (4, 0),
        "{report}"
    );
    for count in [
        counts.too_many_requests,
        counts.unavailable,
        counts.errors_answer,
        counts.errors_timeout,
        counts.retries,
        counts.echoes,
        counts.hung_up,
        counts.answered_duplicate,
    ] {
        assert!(count > 0, "{report}");
    }
    let collector = collector.lock().unwrap();
    assert_eq!(collector.seen.len() as u64, counts.batches_made);
    let text = report.to_string();
    assert!(
        text.contains("; lost 0, doubled 0; worst relative error 0.0"),
        "{text}"
    );
    let json: Value = serde_json::from_str(&report.to_json().unwrap()).unwrap();
    assert_eq!(json["comparison"]["found"], comparison.found);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_batch_is_told() {
    let (url, _) = start(Fault::Loses).await;
    let report = simulate(
        &url,
        &[
            "--batches",
            "30",
            "--late-share",
            "0",
            "--resend-share",
            "0",
        ],
    )
    .await;
    assert!(!report.is_good);
    let comparison = report.comparison.as_ref().unwrap();
    assert_eq!(
        (comparison.sent, comparison.lost, comparison.doubled),
        (1_200, 40, 0)
    );
    assert!(report.to_string().contains("40 samples lost"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubled_batch_is_told() {
    let (url, _) = start(Fault::Doubles).await;
    let report = simulate(
        &url,
        &[
            "--batches",
            "60",
            "--late-share",
            "0",
            "--resend-share",
            "0.5",
        ],
    )
    .await;
    assert!(!report.is_good);
    let comparison = report.comparison.as_ref().unwrap();
    assert_eq!((comparison.sent, comparison.lost), (2_400, 0));
    assert!(
        comparison.doubled > 0 && comparison.doubled.is_multiple_of(40),
        "{report}"
    );
    assert!(report.counts.echo_accepted > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inaccurate_percentile_is_told() {
    let (url, _) = start(Fault::Inaccurate).await;
    let report = simulate(&url, &["--batches", "30", "--late-share", "0"]).await;
    assert!(
        !report.is_good && report.faults[0].contains("percentile"),
        "{report}"
    );
    assert_eq!(report.comparison.as_ref().unwrap().lost, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_refusal_is_told() {
    let (url, _) = start(Fault::Refuses).await;
    let report = simulate(
        &url,
        &[
            "--batches",
            "30",
            "--late-share",
            "0",
            "--resend-share",
            "0",
        ],
    )
    .await;
    assert!(
        !report.is_good && report.counts.reasons["no_consent"] > 0,
        "{report}"
    );
    assert!(report.counts.batches_refused >= 5);
    // What was refused was not sent; what was sent is there.
    let comparison = report.comparison.as_ref().unwrap();
    assert_eq!((comparison.lost, comparison.doubled), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_is_told_from_a_doubling() {
    let (url, _) = start(Fault::None).await;
    let line = [
        "--batches",
        "30",
        "--late-share",
        "0",
        "--resend-share",
        "0",
    ];
    let first = simulate(&url, &line).await;
    assert!(first.is_good, "{first}");
    let second = simulate(&url, &line).await;
    assert!(second.is_good, "{second}");
    let comparison = second.comparison.as_ref().unwrap();
    assert_eq!(
        (comparison.sent, comparison.found, comparison.doubled),
        (1_200, 1_200, 0)
    );
    assert_eq!(comparison.worst_relative_error, None);
    assert!(comparison.notes[0].contains("earlier run"));
    let other = simulate(&url, &[&line[..], &["--store-prefix", "other-"]].concat()).await;
    assert!(other.is_good, "{other}");
    let comparison = other.comparison.as_ref().unwrap();
    assert!(
        comparison.worst_relative_error.is_some(),
        "by store it can be compared"
    );
    assert!(comparison.notes[0].contains("other stores"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_told_and_nothing_is_lost() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let line = [
        "--url",
        &url,
        "--quiet",
        "--terminals",
        "5",
        "--stores",
        "1",
        "--batches",
        "5",
        "--rate",
        "600",
        "--drain",
        "500ms",
        "--late-share",
        "0",
    ];
    let report = run_until(options(&line), std::future::pending)
        .await
        .unwrap();
    assert!(
        !report.is_good && report.faults == ["no batch was acknowledged"],
        "{report}"
    );
    assert_eq!((report.batches_held, report.counts.batches_made), (5, 5));
    assert!(report.counts.errors_connect > 0);
    let line = [&line[..], &["--admin-url", &url]].concat();
    let error = run_until(options(&line), std::future::pending)
        .await
        .unwrap_err();
    assert!(matches!(error, super::SimulateError::Query(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_an_end_is_stopped_and_still_finds_everything() {
    let (url, _) = start(Fault::None).await;
    let line = [
        "--url",
        &url,
        "--admin-url",
        &url,
        "--quiet",
        "--forever",
        "--terminals",
        "20",
        "--stores",
        "2",
        "--rate",
        "6000",
        "--compare-wait",
        "300ms",
    ];
    let stop = || tokio::time::sleep(Duration::from_millis(1_500));
    let report = run_until(options(&line), stop).await.unwrap();
    assert!(report.is_good, "{report}");
    assert!(report.counts.batches_traded > 50, "{report}");
    // The late terminal came back when the fleet was told to stop.
    assert!(report.counts.batches_made > report.counts.batches_traded);
    assert_eq!(report.comparison.unwrap().found, report.counts.samples_made);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_without_a_rate_is_as_fast_as_its_connections() {
    let (url, collector) = start(Fault::None).await;
    let line = [
        "--rate",
        "0",
        "--batches",
        "500",
        "--connections",
        "8",
        "--late-share",
        "0",
    ];
    let report = simulate(&url, &line).await;
    assert!(report.is_good, "{report}");
    assert_eq!(report.counts.batches_traded, 500);
    assert_eq!(collector.lock().unwrap().seen.len(), 500);
}

/// What the fleet of the next tests goes through: a till that dies, batches that are lost, an error that is new.
const TROUBLES: [&str; 12] = [
    "--duration",
    "4s",
    // A batch of each till a tenth of a second.
    "--rate",
    "12000",
    "--late-share",
    "0",
    "--trouble",
    "dead-till:1@1s",
    "--trouble",
    "lost:2,lost:3",
    "--trouble",
    "new-error:1@1s",
];

fn of_kind<'r>(report: &'r Report, kind: &str) -> &'r super::claims::Judged {
    let mut kinds = report.claims.as_ref().unwrap().kinds.iter();
    kinds.find(|judged| judged.kind == kind).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_truth_of_a_run_is_told_and_right_claims_are_no_fault() {
    let (url, collector) = start(Fault::None).await;
    let report = simulate(&url, &TROUBLES).await;
    assert!(report.is_good, "{report}");
    let (lost, new) = (of_kind(&report, "lost"), of_kind(&report, "new-error"));
    assert!(lost.right > 0 && new.right == 1, "{report}");
    assert_eq!(
        (lost.wrong, lost.missed, new.wrong, new.missed),
        (0, 0, 0, 0)
    );
    // Nobody can be called silent after three seconds, and the report says so.
    assert_eq!(of_kind(&report, "dead-till").not_judged, 1, "{report}");
    let truth = &report.truth;
    assert_eq!(
        (
            &*truth.silent_tills[0].store_id,
            &*truth.silent_tills[0].terminal_id
        ),
        ("store-001", "till-2")
    );
    // It died within the run, whatever it sent after.
    let age_ms = tillwatch_model::time::wall_ms() - truth.silent_tills[0].since_ms;
    assert!((0..600_000).contains(&age_ms), "{age_ms}");
    assert!(truth.new_errors[0].stores.contains("store-001"), "{report}");
    assert_eq!(report.comparison.as_ref().unwrap().lost, 0);
    let seen = collector.lock().unwrap().seen.len() as u64;
    assert_eq!(seen, report.counts.batches_made);
    let json: Value = serde_json::from_str(&report.to_json().unwrap()).unwrap();
    assert_eq!(
        json["truth"]["new_errors"][0]["count"],
        truth.new_errors[0].count
    );
    assert_eq!(json["claims"]["kinds"][2]["kind"], "lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn false_and_missed_claims_of_a_collector_are_counted() {
    let (url, _) = start(Fault::Misjudges).await;
    let report = simulate(&url, &TROUBLES).await;
    assert!(!report.is_good, "{report}");
    assert!(of_kind(&report, "lost").missed > 0, "{report}");
    let errors = of_kind(&report, "new-error");
    assert_eq!(
        (errors.right, errors.wrong, errors.missed),
        (1, 1, 0),
        "{report}"
    );
    assert!(
        errors.false_ones[0].contains("00000000000000ff"),
        "{report}"
    );
}
