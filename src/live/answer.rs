//! What is answered and sent, as it is described for programs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::live::all::All;
use crate::live::board::Sparks;
use crate::live::changes::AnyChange;
use crate::live::detail::Detail;
use crate::live::pulse::Point;
use crate::live::row::Row;

/// The answer to `GET /api/v1/fleet`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FleetAnswer<'a> {
    /// The number of the last frame that is in it.
    pub(super) seq: u64,
    /// When it was made, Unix ms.
    pub(super) t: i64,
    /// Everything that was acknowledged before this time is in it, Unix ms.
    pub(super) complete_to: i64,
    /// The stores, the worst first.
    #[schemars(with = "Vec<Row>")]
    pub(super) stores: &'a RawValue,
    /// The fleet as a whole.
    pub(super) all: &'a All,
    /// Synchronisations of the last hour.
    pub(super) sparks: Sparks,
}

/// The answer to `GET /api/v1/pipeline`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PipelineAnswer<'a> {
    /// When it was made, Unix ms.
    pub(super) t: i64,
    /// When this process started, Unix ms.
    pub(super) started_at: i64,
    /// The version of the collector.
    pub(super) version: &'static str,
    /// Every counter and gauge of `/metrics`, by its name and labels as the page writes them; `null`: no number.
    #[schemars(with = "BTreeMap<String, Option<f64>>")]
    pub(super) series: &'a RawValue,
    /// A point a second for the last quarter of an hour, the latest last.
    pub(super) points: Vec<&'a Point>,
}

/// All that there is to say of a topic.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LiveSnapshot")]
pub struct Snapshot<'a> {
    /// The number of the last frame that is in it.
    pub(super) seq: u64,
    /// When it was made, Unix ms.
    pub(super) t: i64,
    /// `fleet` or `pipeline`.
    pub(super) topic: &'a str,
    /// The answer to `GET /api/v1/fleet`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<FleetAnswer<'static>>")]
    pub(super) fleet: Option<&'a RawValue>,
    /// The answer to `GET /api/v1/pipeline`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PipelineAnswer<'static>>")]
    pub(super) pipeline: Option<&'a RawValue>,
}

/// What of the rows is another.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LiveRows")]
pub struct Rows<'a> {
    /// The number of the frame.
    pub(super) seq: u64,
    /// When the stores were looked at, Unix ms. What was acknowledged before is in it.
    pub(super) t: i64,
    /// The rows that are others now.
    #[schemars(with = "Vec<Row>")]
    pub(super) stores: &'a RawValue,
    /// Stores that are not known any more.
    pub(super) gone: &'a [String],
    /// The fleet as a whole.
    pub(super) all: &'a All,
}

/// One store, whenever anything of it is another.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LiveStore")]
pub struct StoreEvent {
    /// When it was looked at, Unix ms.
    pub(super) t: i64,
    /// The store; `null`: it is not known.
    pub(super) store: Option<Detail>,
}

/// One second of the path of batches.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LivePipeline")]
pub struct Second<'a> {
    /// When it ended, Unix ms.
    pub(super) t: i64,
    /// Every counter and gauge of `/metrics`; `null`: no number.
    #[schemars(with = "BTreeMap<String, Option<f64>>")]
    pub(super) series: &'a RawValue,
    /// The new points.
    pub(super) points: Vec<Point>,
}

/// The last word of a stream.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LiveBye")]
pub struct Bye {
    /// Why it ends.
    pub(super) why: String,
}

/// The data of one event of the stream.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "it describes, and none is made")]
pub enum LiveEvent {
    /// `snapshot`.
    Snapshot(Snapshot<'static>),
    /// `rows`.
    Rows(Rows<'static>),
    /// `sparks`.
    Sparks(Sparks),
    /// `change`.
    Change(AnyChange),
    /// `store`.
    Store(StoreEvent),
    /// `pipeline`.
    Pipeline(Second<'static>),
    /// `bye`.
    Bye(Bye),
}
