//! What bodies become, as OpenTelemetry's own types write them.
//!
//! | file | what |
//! |---|---|
//! | `points.rs` | what becomes of each kind of point, in both encodings |
//! | `exactness.rs` | how far percentiles are off |
//! | `hostile.rs` | bodies that no exporter sends |

mod exactness;
mod hostile;
mod points;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::door::{Encoding, read};
use super::gather::{Gathered, Limits};
use crate::doors::refusal::Refusal;
use crate::mapping::{Door, Mapping, lookup};

const S: u64 = 1_000_000_000;
/// The start of a minute. Unit: Unix ns.
const T: u64 = 1_800_000_000 * S;

fn pair(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

fn metric(name: &str, unit: &str, data: Data) -> Metric {
    Metric {
        name: name.to_owned(),
        unit: unit.to_owned(),
        description: "What it measures.".to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn request(metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    let resource = Resource {
        attributes: vec![
            pair("store.id", "store-1"),
            pair("service.instance.id", "till-1"),
        ],
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: "pos".to_owned(),
        attributes: vec![pair("service.version", "1.2.3")],
        ..InstrumentationScope::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope),
                metrics,
                schema_url: "https://example.org".to_owned(),
            }],
            schema_url: String::new(),
        }],
    }
}

/// Reads a body, with as much memory as it asks for.
fn reading(body: &[u8], encoding: Encoding) -> (Result<Gathered<'_>, Refusal>, usize) {
    let limits = Limits {
        batches_max: 500,
        points_max: 50_000,
    };
    let mut used = 0;
    let mut take = |bytes| {
        used += bytes;
        Ok(())
    };
    let mapping = Mapping::default();
    let lookup = lookup(&mapping, Door::Otlp);
    let gathered = read(body, encoding, lookup, limits, &mut take);
    (gathered, used)
}

/// Reads a request in both encodings, which must come to the same, and gives that.
fn both<R>(request: &ExportMetricsServiceRequest, then: impl Fn(Gathered<'_>) -> R) -> R {
    let protobuf = request.encode_to_vec();
    let (protobuf, _) = reading(&protobuf, Encoding::Protobuf);
    let protobuf = protobuf.unwrap();
    let json = serde_json::to_string(request).unwrap();
    // The crate writes what is not a number as null, which is nothing.
    if !json.contains("null") {
        let (json, _) = reading(json.as_bytes(), Encoding::Json);
        assert_eq!(format!("{protobuf:?}"), format!("{:?}", json.unwrap()));
    }
    then(protobuf)
}
