//! What becomes of each kind of point, in both encodings.

use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    NumberDataPoint, Sum, Summary, SummaryDataPoint,
};
use tillwatch_model::Reason;

use super::*;
use crate::intake::offer::{Field, Number};

const DELTA: i32 = 1;
const CUMULATIVE: i32 = 2;

fn number(value: Value) -> NumberDataPoint {
    NumberDataPoint {
        start_time_unix_nano: T,
        time_unix_nano: T + 30 * S,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

fn gauge(name: &str, unit: &str, point: NumberDataPoint) -> Metric {
    metric(
        name,
        unit,
        Data::Gauge(Gauge {
            data_points: vec![point],
        }),
    )
}

fn sum(name: &str, temporality: i32, is_monotonic: bool, point: NumberDataPoint) -> Metric {
    let sum = Sum {
        data_points: vec![point],
        aggregation_temporality: temporality,
        is_monotonic,
    };
    metric(name, "", Data::Sum(sum))
}

/// Three values: 8, 9 and 120 ms.
fn explicit() -> HistogramDataPoint {
    HistogramDataPoint {
        start_time_unix_nano: T,
        time_unix_nano: T + 60 * S,
        count: 3,
        sum: Some(137.0),
        explicit_bounds: vec![10.0, 100.0, 1_000.0],
        bucket_counts: vec![2, 0, 1, 0],
        min: Some(8.0),
        max: Some(120.0),
        ..HistogramDataPoint::default()
    }
}

fn histogram(name: &str, temporality: i32, point: HistogramDataPoint) -> Metric {
    let histogram = Histogram {
        data_points: vec![point],
        aggregation_temporality: temporality,
    };
    metric(name, "ms", Data::Histogram(histogram))
}

fn exponential(name: &str, point: ExponentialHistogramDataPoint) -> Metric {
    let histogram = ExponentialHistogram {
        data_points: vec![point],
        aggregation_temporality: DELTA,
    };
    metric(name, "ms", Data::ExponentialHistogram(histogram))
}

/// Four values: 0, and three from 2 to 4 ms.
fn powers() -> ExponentialHistogramDataPoint {
    ExponentialHistogramDataPoint {
        start_time_unix_nano: T,
        time_unix_nano: T + 60 * S,
        count: 4,
        sum: Some(9.0),
        zero_count: 1,
        positive: Some(Buckets {
            offset: 1,
            bucket_counts: vec![3, 0],
        }),
        ..ExponentialHistogramDataPoint::default()
    }
}

/// What the only point of a request becomes: a sample, or a reason.
fn sample(metric: Metric) -> Result<(String, f64, Option<String>), Reason> {
    both(&request(vec![metric]), |gathered| {
        let [batch] = &gathered.batches[..] else {
            panic!("{gathered:?}")
        };
        let [sample] = &batch.samples[..] else {
            panic!("{batch:?}")
        };
        if let Some(reason) = sample.refused {
            return Err(reason);
        }
        assert_eq!(
            sample.t,
            Field::Is(Number::Unsigned((T + 30 * S) / 1_000_000))
        );
        let text =
            |field: &Field<std::borrow::Cow<'_, str>>| field.value().map(ToString::to_string);
        let value = sample.v.value().map_or(f64::NAN, |number| number.as_f64());
        Ok((text(&sample.metric).unwrap(), value, text(&sample.label)))
    })
}

/// The buckets, sum, least and greatest value of the only histogram of a request.
type Converted = (Vec<(u64, u64)>, [f64; 3]);

fn converted(metric: Metric) -> Result<Option<Converted>, Reason> {
    both(&request(vec![metric]), |gathered| {
        let Some(batch) = gathered.batches.first() else {
            return Ok(None);
        };
        if let [sample] = &batch.samples[..] {
            return Err(sample.refused.unwrap());
        }
        let [histogram] = &batch.histograms[..] else {
            panic!("{batch:?}")
        };
        let t = Field::Is(Number::Unsigned(T / 1_000_000));
        assert_eq!(
            (&histogram.sample.t, &histogram.span_ms),
            (&t, &Field::Is(Number::Unsigned(60_000)))
        );
        let numbers = [&histogram.sum, &histogram.min, &histogram.max];
        let numbers = numbers.map(|field| field.value().unwrap().as_f64());
        Ok(Some((histogram.buckets.value().unwrap().clone(), numbers)))
    })
}

#[test]
fn names_are_found_with_dots_and_values_come_in_the_unit_of_the_metric() {
    let ok = |name: &str, value: f64, label: Option<&str>| {
        Ok((name.to_owned(), value, label.map(str::to_owned)))
    };
    let of = |name, unit, value| sample(gauge(name, unit, number(value)));
    assert_eq!(
        of("memory_used_mb", "By", Value::AsInt(5_000_000)),
        ok("memory_used_mb", 5.0, None)
    );
    assert_eq!(
        of("memory.used.mb", "", Value::AsInt(5)),
        ok("memory_used_mb", 5.0, None)
    );
    assert_eq!(
        of("sync.duration", "s", Value::AsDouble(1.25)),
        ok("sync_duration_ms", 1_250.0, None)
    );
    assert_eq!(
        of("lcp", "furlong", Value::AsDouble(1.25)),
        ok("lcp_ms", 1.25, None)
    );
    assert_eq!(
        of("storage.used.ratio", "%", Value::AsDouble(50.0)),
        ok("storage_used_ratio", 0.5, None)
    );
    // The intake refuses it, under its own name.
    assert_eq!(
        of("http.server.duration", "s", Value::AsInt(1)),
        Err(Reason::UnknownMetric)
    );
    let counted = |name, key| {
        let mut point = number(Value::AsInt(2));
        point.attributes = vec![pair(key, "success"), pair("browser", "Chromium")];
        sample(sum(name, DELTA, true, point))
    };
    assert_eq!(
        counted("offline_logins", "result"),
        ok("offline_logins", 2.0, Some("success"))
    );
    assert_eq!(
        counted("offline.logins", "label"),
        ok("offline_logins", 2.0, Some("success"))
    );
    let named = sum(
        "mode.switch.online.to.offline",
        DELTA,
        true,
        number(Value::AsInt(1)),
    );
    assert_eq!(sample(named), ok("mode_switches", 1.0, Some("offline")));
}

#[test]
#[expect(clippy::too_many_lines, reason = "one case after another")]
fn what_does_not_fit_is_refused_with_its_reason_and_counts() {
    let one = || number(Value::AsInt(1));
    for (metric, reason) in [
        (gauge("sync_items", "", one()), Reason::WrongInstrument),
        (
            sum("sync_items", DELTA, false, one()),
            Reason::WrongInstrument,
        ),
        (
            sum("pending_transactions", DELTA, false, one()),
            Reason::WrongInstrument,
        ),
        (
            sum("pending_transactions", DELTA, true, one()),
            Reason::WrongInstrument,
        ),
        (sum("lcp", DELTA, true, one()), Reason::WrongInstrument),
        (
            sum("sync_items", CUMULATIVE, true, one()),
            Reason::Cumulative,
        ),
        (sum("sync_items", 0, true, one()), Reason::Cumulative),
        (
            sum("no.such.metric", CUMULATIVE, true, one()),
            Reason::Cumulative,
        ),
        (
            sum("no.such.metric", DELTA, true, one()),
            Reason::UnknownMetric,
        ),
        (histogram("lcp", CUMULATIVE, explicit()), Reason::Cumulative),
        (
            histogram("no.such.metric", DELTA, explicit()),
            Reason::UnknownMetric,
        ),
        (
            histogram("sync_items", DELTA, explicit()),
            Reason::NotADistribution,
        ),
        (
            gauge(
                "lcp",
                "",
                NumberDataPoint {
                    time_unix_nano: 0,
                    ..one()
                },
            ),
            Reason::InvalidTime,
        ),
        (
            gauge(
                "lcp",
                "",
                NumberDataPoint {
                    value: None,
                    ..one()
                },
            ),
            Reason::InvalidValue,
        ),
        (
            metric(
                "lcp",
                "",
                Data::Summary(Summary {
                    data_points: vec![SummaryDataPoint {
                        count: 1,
                        ..SummaryDataPoint::default()
                    }],
                }),
            ),
            Reason::Summary,
        ),
        (
            histogram(
                "lcp",
                DELTA,
                HistogramDataPoint {
                    bucket_counts: vec![],
                    explicit_bounds: vec![],
                    ..explicit()
                },
            ),
            Reason::Summary,
        ),
    ] {
        let name = format!("{metric:?}");
        assert_eq!(sample(metric).unwrap_err(), reason, "{name}");
    }
    // How much there is, told by a sum that may fall, is a level.
    let level = sum("pending_transactions", CUMULATIVE, false, one());
    assert_eq!(
        sample(level),
        Ok(("pending_transactions".to_owned(), 1.0, None))
    );
}

#[test]
fn a_point_without_a_value_is_passed_over_and_counted_as_one_that_was_sent() {
    let flagged = NumberDataPoint {
        flags: 1,
        value: None,
        ..NumberDataPoint::default()
    };
    let empty = HistogramDataPoint {
        count: 0,
        bucket_counts: vec![0; 4],
        sum: Some(0.0),
        min: None,
        max: None,
        ..explicit()
    };
    let metrics = vec![gauge("lcp", "", flagged), histogram("lcp", DELTA, empty)];
    both(&request(metrics), |gathered| {
        assert!(gathered.batches.is_empty());
        assert_eq!(gathered.tally.points, 2);
    });
}

#[test]
fn explicit_buckets_keep_count_sum_least_and_greatest_value() {
    let (pairs, numbers) = converted(histogram("idb_write_ms", DELTA, explicit()))
        .unwrap()
        .unwrap();
    // 8 ms for sure; 120 ms for sure; the other one lies where the sum has it, at 9 ms.
    assert_eq!(pairs, [(4_048, 1), (4_197, 1), (8_019, 1)]);
    assert_eq!((3, numbers), (pairs.len(), [137.0, 8.0, 120.0]));
    let but = |change: fn(&mut HistogramDataPoint)| {
        let mut point = explicit();
        change(&mut point);
        converted(histogram("idb_write_ms", DELTA, point))
    };
    let invalid = Err(Reason::InvalidHistogram);
    assert_eq!(but(|point| point.count = 4), invalid);
    assert_eq!(but(|point| point.sum = Some(1_000.0)), invalid);
    assert_eq!(but(|point| point.sum = Some(f64::INFINITY)), invalid);
    assert_eq!(but(|point| point.min = Some(11.0)), invalid);
    assert_eq!(but(|point| point.max = Some(90.0)), invalid);
    assert_eq!(but(|point| point.max = Some(2_000.0)), invalid);
    assert_eq!(but(|point| point.explicit_bounds.swap(0, 1)), invalid);
    assert_eq!(but(|point| point.explicit_bounds[1] = f64::NAN), invalid);
    assert_eq!(but(|point| point.bucket_counts.push(0)), invalid);
    assert_eq!(
        but(|point| point.bucket_counts = vec![u64::MAX; 4]),
        invalid
    );
    assert_eq!(
        but(|point| point.start_time_unix_nano = T - 10_000 * S),
        invalid
    );
    assert_eq!(
        but(|point| point.start_time_unix_nano = T + 61 * S),
        Err(Reason::InvalidTime)
    );
    assert_eq!(but(|point| point.sum = Some(-1.0)), Err(Reason::OutOfRange));
    assert_eq!(
        but(|point| point.explicit_bounds[0] = -1.0),
        Err(Reason::OutOfRange)
    );
    // Without them, the bounds are what is known.
    let bare = but(|point| (point.sum, point.min, point.max) = (None, None, None));
    let (pairs, [sum, min, max]) = bare.unwrap().unwrap();
    assert_eq!(pairs.iter().map(|(_, count)| count).sum::<u64>(), 3);
    assert_eq!((sum, min, max), (560.0, 5.0, 550.0));
}

/// The last bucket has no upper bound: what lies there is as far out as the sum has it.
#[test]
fn values_past_the_last_bound_lie_where_the_sum_has_them() {
    let past = HistogramDataPoint {
        count: 2,
        sum: Some(6_000.0),
        bucket_counts: vec![0, 0, 0, 2],
        min: None,
        max: None,
        ..explicit()
    };
    let (pairs, numbers) = converted(histogram("idb_write_ms", DELTA, past.clone()))
        .unwrap()
        .unwrap();
    assert_eq!((pairs.len(), numbers), (1, [6_000.0, 3_000.0, 3_000.0]));
    let unknown = HistogramDataPoint { sum: None, ..past };
    let (pairs, numbers) = converted(histogram("idb_write_ms", DELTA, unknown))
        .unwrap()
        .unwrap();
    assert_eq!((1, numbers), (pairs.len(), [2_000.0, 1_000.0, 1_000.0]));
}

#[test]
fn exponential_buckets_are_read_as_the_specification_has_them() {
    let (pairs, numbers) = converted(exponential("idb_write_ms", powers()))
        .unwrap()
        .unwrap();
    // The geometric middle of 2 and 4 ms is 2.828 ms.
    let index = u64::from(tillwatch_model::histogram::bucket_index(2_828));
    assert_eq!(
        (pairs, numbers),
        (vec![(0, 1), (index, 3)], [9.0, 0.0, 2.828])
    );
    let but = |change: fn(&mut ExponentialHistogramDataPoint)| {
        let mut point = powers();
        change(&mut point);
        converted(exponential("idb_write_ms", point))
    };
    let invalid = Err(Reason::InvalidHistogram);
    let negative = || {
        Some(Buckets {
            offset: 0,
            bucket_counts: vec![1],
        })
    };
    assert_eq!(but(|point| point.scale = 21), invalid);
    assert_eq!(but(|point| point.scale = -11), invalid);
    assert_eq!(but(|point| point.zero_count = 2), invalid);
    assert_eq!(but(|point| point.zero_threshold = f64::NAN), invalid);
    assert_eq!(but(|point| point.sum = Some(100.0)), invalid);
    assert!(
        but(|point| point.negative = Some(Buckets {
            offset: 0,
            bucket_counts: vec![0]
        }))
        .is_ok()
    );
    let mut below = powers();
    below.negative = negative();
    assert_eq!(
        converted(exponential("idb_write_ms", below)),
        Err(Reason::OutOfRange)
    );
    let far = |offset| ExponentialHistogramDataPoint {
        sum: None,
        positive: Some(Buckets {
            offset,
            bucket_counts: vec![3],
        }),
        ..powers()
    };
    assert_eq!(
        converted(exponential("idb_write_ms", far(i32::MAX))),
        Err(Reason::OutOfRange)
    );
    let (pairs, _) = converted(exponential("idb_write_ms", far(i32::MIN)))
        .unwrap()
        .unwrap();
    assert_eq!(pairs, [(0, 4)]);
    // The coarsest scale: one bucket holds all that is above 1. What bounds it is the greatest value.
    let coarse = ExponentialHistogramDataPoint {
        scale: -10,
        min: Some(2.0),
        max: Some(32.0),
        zero_count: 0,
        count: 3,
        sum: Some(42.0),
        positive: Some(Buckets {
            offset: 0,
            bucket_counts: vec![3],
        }),
        ..powers()
    };
    let (pairs, numbers) = converted(exponential("idb_write_ms", coarse))
        .unwrap()
        .unwrap();
    assert_eq!((pairs.len(), numbers), (3, [42.0, 2.0, 32.0]));
}

#[test]
fn a_histogram_of_more_buckets_than_an_offer_holds_becomes_several() {
    let counts = vec![1; 9_000];
    let point = ExponentialHistogramDataPoint {
        scale: 10,
        count: 9_000,
        zero_count: 0,
        sum: None,
        positive: Some(Buckets {
            offset: 0,
            bucket_counts: counts,
        }),
        ..powers()
    };
    both(
        &request(vec![exponential("idb_write_ms", point)]),
        |gathered| {
            let [batch] = &gathered.batches[..] else {
                panic!()
            };
            assert!(batch.histograms.len() > 1 && gathered.tally.points_of == [1]);
            let more: Vec<bool> = batch
                .histograms
                .iter()
                .map(|histogram| histogram.is_more)
                .collect();
            assert!(!more[0] && more[1..].iter().all(|is_more| *is_more));
            let pairs: Vec<_> = batch
                .histograms
                .iter()
                .flat_map(|h| h.buckets.value().unwrap())
                .collect();
            assert!(pairs.is_sorted_by(|one, other| one.0 < other.0));
            assert_eq!(pairs.iter().map(|(_, count)| count).sum::<u64>(), 9_000);
            assert!(
                batch
                    .histograms
                    .iter()
                    .all(|h| h.buckets.value().unwrap().len() <= 4_096)
            );
        },
    );
}

#[test]
fn points_go_to_the_batch_of_whom_they_name_first() {
    let of = |attributes: Vec<KeyValue>| {
        gauge(
            "lcp",
            "",
            NumberDataPoint {
                attributes,
                ..number(Value::AsInt(1))
            },
        )
    };
    let metrics = vec![
        of(vec![]),
        // Another word for a store counts less than `store.id`, but a point counts more than its resource.
        of(vec![
            pair("store_id", "store-2"),
            pair("connection", "offline"),
        ]),
        of(vec![pair("session.id", "s"), pair("consent", "granted")]),
        of(vec![]),
    ];
    both(&request(metrics), |gathered| {
        let names = gathered
            .batches
            .iter()
            .map(|batch| format!("{:?}", batch.names()));
        let names: Vec<String> = names.collect();
        assert_eq!(names.len(), 3);
        assert_eq!(gathered.tally.points_of, [2, 1, 1]);
        for name in &names {
            assert!(name.contains("till-1") && name.contains("1.2.3"), "{name}");
        }
        assert!(names[1].contains("store-2") && !names[1].contains("store-1"));
        assert!(names[2].contains("\"s\"") && names[2].contains("Some(true)"));
        let connection = gathered.batches[1].samples[0].connection.value();
        assert_eq!(connection.map(|name| &**name), Some("offline"));
    });
}

/// What JSON may be written like by other hands than those of OpenTelemetry's types.
#[test]
fn json_is_read_however_its_numbers_are_written() {
    let body = format!(
        r#"{{"resourceMetrics": [{{"scopeMetrics": [{{"metrics": [{{"gauge": {{"dataPoints": [
            {{"timeUnixNano": "{T}", "asInt": 5, "unknown": [[{{}}]], "attributes": [{{"key": "store.id", "value": {{"intValue": "7"}}}}]}},
            {{"timeUnixNano": {T}, "asInt": "5", "exemplars": [{{"asDouble": 1}}]}},
            {{"timeUnixNano": {T}.0, "asDouble": "5", "asInt": null}},
            {{"timeUnixNano": "{T}", "asDouble": "NaN"}},
            {{"timeUnixNano": "{T}", "asDouble": "Infinity"}},
            {{"timeUnixNano": "{T}", "asDouble": "-Infinity"}},
            {{"timeUnixNano": "soon", "asDouble": 5}},
            {{"timeUnixNano": "{T}", "asDouble": "five"}},
            {{"timeUnixNano": "{T}", "asDouble": [5]}}
        ]}}, "name": "lcp"}}], "scope": null}}], "resource": {{"attributes": null}}}}], "other": 1}}"#
    );
    let (gathered, _) = reading(body.as_bytes(), Encoding::Json);
    let gathered = gathered.unwrap();
    assert!(format!("{:?}", gathered.batches[0].names()).contains("\"7\""));
    let all = gathered.batches.iter().flat_map(|batch| &batch.samples);
    let all: Vec<_> = all
        .map(|sample| {
            (
                sample.v.value().map(|v| v.as_f64().to_string()),
                sample.refused,
            )
        })
        .collect();
    let value = |text: &str| (Some(text.to_owned()), None);
    assert_eq!(all[..3], [value("5"), value("5"), value("5")]);
    assert_eq!(all[3..6], [value("NaN"), value("inf"), value("-inf")]);
    assert_eq!(
        all[6..],
        [
            (None, Some(Reason::InvalidTime)),
            (None, Some(Reason::InvalidValue)),
            (None, Some(Reason::InvalidValue))
        ]
    );
}
