//! Reads a request in OTLP's JSON.
//!
//! Lists that may be long are kept as text and read element by element, so that a body of many small objects takes no
//! memory before it is counted; keys that are not known are passed over. What `loose.rs` cannot read makes its point
//! wrong, and not the request.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::gather::{Gather, Known, Scope};
use super::loose::{Each, Numbers, Pairs};
use super::point::{Buckets, Explicit, Exponential, Instrument, Kind, Point, Spread};
use crate::doors::foreign::Loose;
use crate::doors::refusal::Refusal;

/// A list that has not been read yet.
type List<'b> = Option<&'b RawValue>;

/// `ExportMetricsServiceRequest`, and the first keys of formats that are posted elsewhere.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Request<'b> {
    #[serde(borrow)]
    resource_metrics: List<'b>,
    #[serde(borrow, rename = "resource_metrics")]
    snake_case: List<'b>,
    #[serde(borrow)]
    resource_spans: List<'b>,
    #[serde(borrow)]
    resource_logs: List<'b>,
    #[serde(borrow)]
    batches: List<'b>,
    #[serde(borrow)]
    samples: List<'b>,
    #[serde(borrow)]
    measurements: List<'b>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ResourceMetrics<'b> {
    #[serde(borrow)]
    resource: Option<Named<'b>>,
    #[serde(borrow)]
    scope_metrics: List<'b>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ScopeMetrics<'b> {
    #[serde(borrow)]
    scope: Option<Named<'b>>,
    #[serde(borrow)]
    metrics: List<'b>,
}

/// What a resource and a scope say of themselves.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Named<'b> {
    #[serde(borrow)]
    attributes: Pairs<'b>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metric<'b> {
    #[serde(borrow)]
    name: Loose<'b>,
    #[serde(borrow)]
    unit: Loose<'b>,
    #[serde(borrow)]
    gauge: Option<Data<'b>>,
    #[serde(borrow)]
    sum: Option<Data<'b>>,
    #[serde(borrow)]
    histogram: Option<Data<'b>>,
    #[serde(borrow)]
    exponential_histogram: Option<Data<'b>>,
    #[serde(borrow)]
    summary: Option<Data<'b>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Data<'b> {
    #[serde(borrow)]
    data_points: List<'b>,
    #[serde(borrow)]
    aggregation_temporality: Loose<'b>,
    #[serde(borrow)]
    is_monotonic: Loose<'b>,
}

/// A data point of any kind.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DataPoint<'b> {
    #[serde(borrow)]
    attributes: Pairs<'b>,
    #[serde(borrow)]
    start_time_unix_nano: Loose<'b>,
    #[serde(borrow)]
    time_unix_nano: Loose<'b>,
    #[serde(borrow)]
    flags: Loose<'b>,
    #[serde(borrow)]
    as_double: Loose<'b>,
    #[serde(borrow)]
    as_int: Loose<'b>,
    #[serde(borrow)]
    count: Loose<'b>,
    #[serde(borrow)]
    sum: Loose<'b>,
    #[serde(borrow)]
    min: Loose<'b>,
    #[serde(borrow)]
    max: Loose<'b>,
    bucket_counts: Numbers<u64>,
    explicit_bounds: Numbers<f64>,
    #[serde(borrow)]
    scale: Loose<'b>,
    #[serde(borrow)]
    zero_count: Loose<'b>,
    #[serde(borrow)]
    zero_threshold: Loose<'b>,
    #[serde(borrow)]
    positive: Option<Row<'b>>,
    #[serde(borrow)]
    negative: Option<Row<'b>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Row<'b> {
    #[serde(borrow)]
    offset: Loose<'b>,
    bucket_counts: Numbers<u64>,
}

fn malformed(what: impl std::fmt::Display) -> Refusal {
    Refusal::Malformed(format!(
        "the body is no ExportMetricsServiceRequest in JSON: {what}"
    ))
}

/// Reads an `ExportMetricsServiceRequest`.
pub(super) fn read<'b>(body: &'b [u8], gather: &mut Gather<'b, '_>) -> Result<(), Refusal> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(malformed("it is not an object"));
    }
    let request: Request<'b> = serde_json::from_slice(body).map_err(malformed)?;
    if request.resource_metrics.is_none() {
        elsewhere(&request)?;
    }
    each(request.resource_metrics, |resource| {
        read_resource(resource, gather)
    })
}

/// Tells who posts another format here where that is taken, before everything in it is passed over as not known.
fn elsewhere(request: &Request<'_>) -> Result<(), Refusal> {
    let others = [
        (
            request.snake_case,
            "keys are written in lowerCamelCase, as resourceMetrics",
        ),
        (request.resource_spans, "only metrics are taken, no traces"),
        (request.resource_logs, "only metrics are taken, no logs"),
        (
            request.batches,
            "this is a request of terminals, which is posted to /v1/batches",
        ),
        (
            request.samples,
            "this is a batch of a terminal, which is posted to /v1/batches",
        ),
        (
            request.measurements,
            "this is a payload of Grafana Faro, which is posted to /collect",
        ),
    ];
    let found = others.into_iter().find(|(list, _)| list.is_some());
    found.map_or(Ok(()), |(_, what)| Err(malformed(what)))
}

/// Goes over the elements of a list.
fn each<'b, T: Deserialize<'b>>(
    list: List<'b>,
    take: impl FnMut(T) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let Some(list) = list else { return Ok(()) };
    let mut refused = None;
    let each = Each::new(take, &mut refused);
    let read = each.read(&mut serde_json::Deserializer::from_str(list.get()));
    match refused {
        Some(refusal) => Err(refusal),
        None => read.map_err(malformed),
    }
}

fn read_resource<'b>(
    message: ResourceMetrics<'b>,
    gather: &mut Gather<'b, '_>,
) -> Result<(), Refusal> {
    let Named { attributes } = message.resource.unwrap_or_default();
    let resource = Scope::default().within(&attributes.0);
    each(message.scope_metrics, |message: ScopeMetrics<'b>| {
        let Named { attributes } = message.scope.unwrap_or_default();
        let mut scope = resource.within(&attributes.0);
        each(message.metrics, |metric| {
            read_metric(metric, &mut scope, gather)
        })
    })
}

fn read_metric<'b>(
    metric: Metric<'b>,
    scope: &mut Scope<'b>,
    gather: &mut Gather<'b, '_>,
) -> Result<(), Refusal> {
    let kinds = [
        (metric.gauge, Kind::Gauge),
        (metric.sum, Kind::Sum),
        (metric.histogram, Kind::Histogram),
        (metric.exponential_histogram, Kind::Exponential),
        (metric.summary, Kind::Summary),
    ];
    let found = kinds
        .into_iter()
        .find_map(|(data, kind)| data.map(|data| (data, kind)));
    // A metric of a kind that is not known holds nothing that could be counted.
    let Some((data, kind)) = found else {
        return Ok(());
    };
    let known = gather.instrument(Instrument {
        name: metric.name.text().unwrap_or_default(),
        unit: metric.unit.text().unwrap_or_default(),
        temporality: data.aggregation_temporality.temporality(),
        is_monotonic: data.is_monotonic.is_true(),
        kind,
    });
    each(data.data_points, |point| {
        read_point(point, scope, &known, gather)
    })
}

fn read_point<'b>(
    point: DataPoint<'b>,
    scope: &mut Scope<'b>,
    known: &Known<'b, '_>,
    gather: &mut Gather<'b, '_>,
) -> Result<(), Refusal> {
    let number = match (&point.as_double, &point.as_int) {
        (Loose::Absent, value) | (value, _) => value.number(),
    };
    let row = |row: Option<Row<'b>>| {
        let row = row.unwrap_or_default();
        Buckets {
            offset: row.offset.signed(),
            counts: row.bucket_counts.0,
        }
    };
    let point = Point {
        start_ns: point.start_time_unix_nano.whole().unwrap_or(0),
        time_ns: point.time_unix_nano.whole().unwrap_or(0),
        flags: point.flags.whole().unwrap_or(0),
        number,
        spread: Spread {
            count: point.count.count(),
            sum: point.sum.double(),
            min: point.min.double(),
            max: point.max.double(),
        },
        explicit: Explicit {
            bounds: point.explicit_bounds.0,
            counts: point.bucket_counts.0,
        },
        exponential: Exponential {
            scale: point.scale.signed(),
            zero_count: point.zero_count.count(),
            zero_threshold: point.zero_threshold.double().unwrap_or(0.0),
            positive: row(point.positive),
            negative: row(point.negative),
        },
        attributes: point.attributes.0,
    };
    gather.point(scope, known, &point)
}
