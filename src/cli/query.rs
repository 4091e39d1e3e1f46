//! `query`: percentiles as a table in the terminal.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Args;
use tillwatch_model::time::wall_ms;

use crate::cli::admin::Admin;
use crate::cli::sparkline::{Style, sparkline};
use crate::cli::{Failure, Outcome, say, table};

/// Windows of a series that an answer can have.
const WINDOWS_MAX: usize = 11_000;

#[derive(Debug, Args)]
pub(super) struct Query {
    /// The metric, such as sync_duration_ms.
    metric: String,
    #[command(flatten)]
    admin: Admin,
    /// Quantiles, with commas.
    #[arg(long, default_value = "0.5,0.75,0.95,0.99")]
    q: String,
    /// Start: how long ago (1h, 7d), or Unix milliseconds.
    #[arg(long, default_value = "1h", value_name = "TIME")]
    from: String,
    /// End: how long ago, or Unix milliseconds.
    #[arg(long, default_value = "0s", value_name = "TIME")]
    to: String,
    /// Length of a line's span, such as 5m or 1h; without it one line for all.
    #[arg(long)]
    step: Option<String>,
    /// One series a store_id, release, connection or label.
    #[arg(long, value_name = "COLUMN")]
    group_by: Option<String>,
    /// With --group-by: the series with the greatest value first. A quantile, count, sum, max, or over (values
    /// over the thresholds).
    #[arg(long, value_name = "WHAT")]
    order_by: Option<String>,
    /// With --order-by: at most so many series.
    #[arg(long, value_name = "SERIES")]
    limit: Option<u16>,
    /// Only this store.
    #[arg(long = "store", alias = "store-id", value_name = "STORE_ID")]
    store_id: Option<String>,
    /// Only this release.
    #[arg(long)]
    release: Option<String>,
    /// Only this connection.
    #[arg(long)]
    connection: Option<String>,
    /// Only this label.
    #[arg(long)]
    label: Option<String>,
    /// rum, synthetic, or all.
    #[arg(long, default_value = "rum")]
    source: String,
    /// With --step: one line a series that shows its windows as a sparkline, of the last of --q (of a
    /// counter: its sum). Where there is no data stands · (with --ascii: _). On a terminal it is on.
    #[arg(long, overrides_with = "no_sparkline")]
    sparkline: bool,
    /// Only the table.
    #[arg(long)]
    no_sparkline: bool,
    /// Draw with ASCII characters alone; also when NO_COLOR is set or the locale is not UTF-8.
    #[arg(long)]
    ascii: bool,
    /// Print the answer as it came.
    #[arg(long)]
    json: bool,
}

#[derive(serde::Deserialize)]
struct Answer {
    metric: String,
    unit: String,
    from: i64,
    to: i64,
    step_s: Option<i64>,
    series: Vec<Series>,
}

#[derive(serde::Deserialize)]
struct Series {
    store_id: Option<String>,
    release: Option<String>,
    connection: Option<String>,
    label: Option<String>,
    points: Vec<Point>,
}

impl Series {
    /// The value it was grouped by.
    fn name(&self) -> String {
        let group = [&self.store_id, &self.release, &self.connection, &self.label];
        let name = group.into_iter().flatten().next().cloned();
        name.unwrap_or_else(|| "all".to_owned())
    }
}

#[derive(serde::Deserialize)]
struct Point {
    t: i64,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    values: serde_json::Map<String, serde_json::Value>,
}

impl Query {
    pub(super) async fn run(self) -> Outcome {
        let now_ms = wall_ms();
        let mut parameters = vec![
            ("metric", self.metric.clone()),
            ("q", self.q.clone()),
            ("from", time(&self.from, now_ms)?.to_string()),
            ("to", time(&self.to, now_ms)?.to_string()),
            ("source", self.source.clone()),
        ];
        let limit = self.limit.map(|limit| limit.to_string());
        for (name, value) in [
            ("step", &self.step),
            ("group_by", &self.group_by),
            ("order_by", &self.order_by),
            ("limit", &limit),
            ("store_id", &self.store_id),
            ("release", &self.release),
            ("connection", &self.connection),
            ("label", &self.label),
        ] {
            if let Some(value) = value {
                parameters.push((name, value.clone()));
            }
        }
        let text = self.admin.query("/api/v1/percentiles", &parameters).await?;
        if self.json {
            say(&text);
            return Ok(ExitCode::SUCCESS);
        }
        let answer: Answer = serde_json::from_str(&text).map_err(|error| Failure::of(&error))?;
        say(&self.print(&answer));
        if self.wants_sparklines(&answer) {
            say(&self.sparklines(&answer));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn wants_sparklines(&self, answer: &Answer) -> bool {
        let is_on = self.sparkline || (!self.no_sparkline && std::io::stdout().is_terminal());
        is_on && answer.step_s.is_some() && !answer.series.is_empty()
    }

    fn style(&self) -> Style {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|text| !text.is_empty());
        // The first that is set decides, as for other programs.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|text| !text.is_empty());
        let is_utf8 = locale.is_none_or(|text| {
            let text = text.to_lowercase();
            text.contains("utf-8") || text.contains("utf8")
        });
        if self.ascii || is_set("NO_COLOR") || !is_utf8 {
            Style::Ascii
        } else {
            Style::Blocks
        }
    }

    /// A line a series: its windows from the start of the range to its end, least and greatest.
    fn sparklines(&self, answer: &Answer) -> String {
        let step_ms = answer.step_s.unwrap_or(60).max(1) * 1_000;
        let first = answer.from.div_euclid(step_ms);
        let windows = usize::try_from((answer.to - 1).div_euclid(step_ms) - first + 1).unwrap_or(0);
        let last_q = self.q.split(',').next_back().unwrap_or_default().trim();
        let mut is_sum = false;
        let mut rows = Vec::new();
        for series in &answer.series {
            let mut values = vec![None; windows.min(WINDOWS_MAX)];
            for point in &series.points {
                let at = usize::try_from(point.t.div_euclid(step_ms) - first).ok();
                let value = point.values.get(last_q).and_then(serde_json::Value::as_f64);
                is_sum |= value.is_none();
                if let Some(slot) = at.and_then(|at| values.get_mut(at)) {
                    *slot = Some(value.unwrap_or(point.sum));
                }
            }
            let known = || values.iter().flatten().copied();
            let least = known()
                .reduce(f64::min)
                .map_or_else(|| "-".to_owned(), short);
            let most = known()
                .reduce(f64::max)
                .map_or_else(|| "-".to_owned(), short);
            rows.push(vec![
                series.name(),
                sparkline(&values, self.style()),
                least,
                most,
            ]);
        }
        let what = if is_sum { "sum" } else { last_q };
        format!("\n{}", table(&["series", what, "least", "greatest"], &rows))
    }

    fn print(&self, answer: &Answer) -> String {
        let quantiles: Vec<&str> = self.q.split(',').map(str::trim).collect();
        let has_values = answer
            .series
            .iter()
            .flat_map(|series| &series.points)
            .any(|point| !point.values.is_empty());
        let quantiles = if has_values { quantiles } else { Vec::new() };
        let mut head = vec!["series", "from (UTC)", "count"];
        // A counter has a sum, and its percentiles have no meaning.
        head.push(if has_values { "min" } else { "sum" });
        head.extend(&quantiles);
        head.extend(has_values.then_some("max"));
        let mut rows = Vec::new();
        for series in &answer.series {
            let name = series.name();
            for point in &series.points {
                let mut row = vec![
                    name.clone(),
                    time_text(point.t),
                    point.count.to_string(),
                    short(if has_values { point.min } else { point.sum }),
                ];
                for quantile in &quantiles {
                    let value = point
                        .values
                        .get(*quantile)
                        .and_then(serde_json::Value::as_f64);
                    row.push(value.map_or_else(|| "-".to_owned(), short));
                }
                row.extend(has_values.then(|| short(point.max)));
                rows.push(row);
            }
        }
        if rows.is_empty() {
            return format!("{}: no samples in this range", answer.metric);
        }
        format!(
            "{} ({})\n{}",
            answer.metric,
            answer.unit,
            table(&head, &rows)
        )
    }
}

/// The message of an error body, or the body.
pub(super) fn message_of(text: &str) -> String {
    let body: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let message = body
        .as_ref()
        .and_then(|body| body.pointer("/error/message")?.as_str());
    message.unwrap_or(text).to_owned()
}

pub(super) fn time(text: &str, now_ms: i64) -> Result<i64, Failure> {
    if let Ok(ms) = text.parse::<i64>() {
        return Ok(ms);
    }
    let ago: crate::config::Span = text.parse().map_err(Failure)?;
    Ok(now_ms - tillwatch_model::time::millis(ago.0))
}

fn time_text(t_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(t_ms).map_or_else(
        |_| t_ms.to_string(),
        |time| time.strftime("%Y-%m-%d %H:%M").to_string(),
    )
}

fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}
