//! Describes the questions about what was measured.

use crate::admin::openapi::operation::Operation;
use crate::admin::openapi::parameter::{
    Parameter, connections, limit, number, one_of, release, store_id, text, time,
};
use crate::admin::openapi::refusal::{AT_REST, QUESTION, TOO_LARGE, UNKNOWN_METRIC, UNKNOWN_STORE};
use crate::query::catalogue::CatalogueAnswer;
use crate::query::percentiles::PercentilesAnswer;
use crate::query::request::{GroupBy, QUANTILES_DEFAULT, SERIES_MAX, sources};
use crate::query::summaries::{
    HOURS_DEFAULT, HOURS_MAX, LINES_DEFAULT, LINES_MAX, SummariesAnswer,
};

/// `GET /api/v1/percentiles`.
pub(super) fn percentiles() -> Operation {
    let metric = "Which metric, by wire name or alias.";
    let quantiles = serde_json::json!({
        "type": "string",
        "pattern": "^[0-9.]+(,[0-9.]+){0,19}$",
        "default": QUANTILES_DEFAULT,
    });
    let step = "The length of a point: a multiple of a minute, such as `5m`, `1h`, `1d`. Default: one point for the whole range.";
    let order_by = "With `group_by`: which series come first, the greatest over the whole range. A quantile such as \
        `0.95`, `count`, `sum`, `max`, or `over` (the number of values above the second threshold, and where that is \
        equal, above the first). A counter can be ordered by `count`, `sum` and `max`. Default: by name.";
    let columns: Vec<&str> = GroupBy::ALL
        .into_iter()
        .filter_map(GroupBy::column)
        .collect();
    Operation::get("/api/v1/percentiles", "percentiles", "Percentiles of one metric.")
        .with([
            Parameter::query("metric", text(), metric).required("lcp_ms"),
            Parameter::query("q", quantiles, "Which quantiles, as decimals with commas, each once."),
            Parameter::query("from", time(), "The first millisecond of the range, Unix ms; 0: the beginning. Default: an hour before `to`."),
            Parameter::query("to", time(), "The first millisecond after the range, Unix ms. Default: now."),
            Parameter::query("step", text(), step),
            store_id(),
            Parameter::query("release", release(), "Only samples of this release. Default: all."),
            Parameter::query("connection", connections(), "Only samples with this connection. Default: all."),
            Parameter::query("label", text(), "Only samples with this value of the metric's label. Default: all."),
            Parameter::query("source", one_of(sources()), "Who measured: `rum` (real users), `synthetic` or `all`. Default: `rum`."),
            Parameter::query("group_by", one_of(columns), "One series for each value of this column. Default: one series."),
            Parameter::query("order_by", text(), order_by),
            Parameter::query("limit", number(1, SERIES_MAX, Some(SERIES_MAX)), "With `order_by`: how many series at most."),
        ])
        .answers::<PercentilesAnswer>("The series with their points.")
        .refuses(&[UNKNOWN_METRIC, UNKNOWN_STORE, TOO_LARGE])
        .refuses(&QUESTION)
        .refuses(&AT_REST)
}

/// `GET /api/v1/summaries`.
pub(super) fn summaries() -> Operation {
    let summary = "What pages have summed up themselves. Percentiles are as the pages sent them.";
    Operation::get("/api/v1/summaries", "summaries", summary)
        .with([
            store_id(),
            Parameter::query(
                "metric",
                text(),
                "Only this metric, by wire name or alias. Default: all.",
            ),
            Parameter::query(
                "hours",
                number(1, HOURS_MAX, Some(HOURS_DEFAULT)),
                "How many hours back.",
            ),
            limit(LINES_MAX, LINES_DEFAULT, "lines"),
        ])
        .answers::<SummariesAnswer>("The lines, the newest minute first.")
        .refuses(&[UNKNOWN_METRIC])
        .refuses(&QUESTION)
        .refuses(&AT_REST)
}

/// `GET /api/v1/metrics`.
pub(super) fn metrics() -> Operation {
    Operation::get("/api/v1/metrics", "metrics", "The catalogue of metrics.")
        .answers::<CatalogueAnswer>("The metrics.")
}
