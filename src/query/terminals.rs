//! The terminals of a store: when each was last seen, its release, its clock, its queue, and how its
//! metrics were over the last hours. The worst first.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use tillwatch_model::{Browser, Catalogue, Scalars};

use crate::aggregate::Aggregator;
use crate::aggregate::terminals::{StoreTerminals, Terminal, TerminalRef};
use crate::fleet::{Heard, Silence};
use crate::holdings::Holdings;
use crate::query::error::QueryError;
use crate::query::percentiles::Sources;
use crate::query::terminal_metrics::{self, Merged};
use crate::query::terminals_request::TerminalsRequest;
use crate::query::words::units;

/// Terminals that are looked at while the aggregate waits.
const PIECE: usize = 256;

/// The terminals of a store, the worst first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TerminalsAnswer {
    /// The store.
    store_id: String,
    /// The first hour of the metrics, Unix ms; `null`: the answer has none.
    from: Option<i64>,
    /// Everything that was acknowledged before this time is in the answer, Unix ms.
    complete_to: i64,
    /// How many terminals there are; `terminals` has at most `limit` of them.
    terminals_total: usize,
    /// The terminals, the worst first.
    terminals: Vec<TerminalLine>,
}

/// One terminal.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "Terminal")]
struct TerminalLine {
    /// The terminal.
    terminal_id: String,
    /// When its last batch was received, Unix ms; `null`: only rows at rest are left of it.
    last_seen_ms: Option<i64>,
    /// Whether it has posted within ten minutes.
    is_reporting: bool,
    /// `reporting`, `offline_as_announced`, `silent` or `gone`; `null`: only rows at rest are left of it.
    #[schemars(extend("enum" = [Some("reporting"), Some("offline_as_announced"), Some("silent"), Some("gone"), None::<&str>]))]
    state: Option<&'static str>,
    /// The release of its last batch; `__new__`: no second terminal has reported it yet; `null`: only rows at rest are left.
    release: Option<String>,
    /// Family and major version, as `Chrome 131`; `null`: it has not posted with a browser that is known.
    browser: Option<String>,
    /// How far its clock is behind, as of its last batch that said so, ms; negative: ahead.
    clock_skew_ms: Option<i64>,
    /// How often its clock was moved between two posts.
    clock_jumps: u64,
    /// Batches that are missing in its queues and may still come.
    missing_batches: u64,
    /// Batches that never came.
    lost_batches: u64,
    /// The last value of each level by the metric's name, in the metric's unit.
    levels: BTreeMap<&'static str, Last>,
    /// What it measured over the hours asked for, of real users; the worst first.
    metrics: Vec<MetricLine>,
}

/// The last value of something.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LastValue")]
struct Last {
    /// When it was measured, Unix ms.
    t: i64,
    /// The value, in the metric's unit.
    value: f64,
}

/// One metric of a terminal over the hours asked for.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TerminalMetric")]
struct MetricLine {
    /// The wire name of the metric.
    metric: &'static str,
    /// The value of the metric's label, if it has one.
    #[serde(skip_serializing_if = "str::is_empty")]
    label: &'static str,
    /// The unit of all values.
    #[schemars(extend("enum" = units()))]
    unit: &'static str,
    /// How many values there are.
    count: u64,
    /// The sum of the values.
    sum: f64,
    /// The least value.
    min: f64,
    /// The greatest value.
    max: f64,
    /// The last value.
    last: Last,
    /// How many values are above the metric's first threshold.
    over_low: u64,
    /// How many values are above the metric's second threshold.
    over_high: u64,
}

/// Answers a request, when `position` was the last durable one.
///
/// # Errors
/// When the store is not known, or ClickHouse or the state file do not answer.
pub async fn answer(
    sources: &Sources,
    request: &TerminalsRequest,
    silence: Silence,
    position: u64,
) -> Result<TerminalsAnswer, QueryError> {
    let request = Arc::new(request.clone());
    let asked = Arc::clone(&request);
    let read = move |aggregator: &Aggregator| {
        let rows = aggregator.open_terminal_hours(&asked.store_id, asked.first_hour_s());
        (wanted_ids(aggregator, &asked), rows)
    };
    let view = sources.holdings.view_of(position, read).await;
    let ((ids, open), view) = view.split();
    let metrics = if request.needs_database() {
        terminal_metrics::merge(sources, &request, &view, open).await?
    } else {
        Merged::new()
    };
    let (holdings, catalogue) = (
        Arc::clone(&sources.holdings),
        Arc::clone(&sources.catalogue),
    );
    let rank = move || {
        let known = known_lines(&holdings, ids, &request, &silence);
        ranked((&catalogue, &holdings), &request, known, metrics)
    };
    sources.jobs.run(rank).await
}

/// The worst of the terminals, out of those that are known and those that only rows are left of.
fn ranked(
    (catalogue, holdings): (&Catalogue, &Holdings),
    request: &TerminalsRequest,
    known: Vec<TerminalLine>,
    mut metrics: Merged,
) -> Result<TerminalsAnswer, QueryError> {
    let mut lines: BTreeMap<String, TerminalLine> = BTreeMap::new();
    for line in known {
        lines.insert(line.terminal_id.clone(), line);
    }
    for terminal_id in metrics.keys() {
        let line = || TerminalLine {
            terminal_id: terminal_id.clone(),
            ..TerminalLine::default()
        };
        lines.entry(terminal_id.clone()).or_insert_with(line);
    }
    if lines.is_empty() {
        let (store_id, terminal_id) = (&request.store_id, &request.terminal_id);
        let of_store =
            |aggregator: &Aggregator| aggregator.terminals().of_store(store_id).is_some();
        return Err(match terminal_id {
            Some(terminal_id) if holdings.read(of_store) => {
                QueryError::UnknownTerminal(terminal_id.clone())
            }
            _ => QueryError::UnknownStore(store_id.clone()),
        });
    }
    let mut ranked: Vec<(Badness, TerminalLine)> = lines
        .into_values()
        .map(|mut line| {
            let scalars = metrics.remove(&line.terminal_id).unwrap_or_default();
            let badness = Badness::of(&line, &scalars);
            line.metrics = metric_lines(catalogue, scalars);
            (badness, line)
        })
        .collect();
    ranked.sort_by(|(left, left_line), (right, right_line)| {
        let by_name = || left_line.terminal_id.cmp(&right_line.terminal_id);
        right.cmp(left).then_with(by_name)
    });
    Ok(TerminalsAnswer {
        store_id: request.store_id.clone(),
        from: request.from_ms,
        complete_to: request.now_ms,
        terminals_total: ranked.len(),
        terminals: ranked
            .into_iter()
            .take(request.limit)
            .map(|(_, line)| line)
            .collect(),
    })
}

/// What terminals are ordered by: values over the second threshold, over the first, errors, batches that
/// are missing or lost, and then how long a terminal has been silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Badness {
    over_high: u64,
    over_low: u64,
    errors: u64,
    batches: u64,
    last_seen_ms: Reverse<Option<i64>>,
}

impl Badness {
    fn of(line: &TerminalLine, metrics: &BTreeMap<(&'static str, &'static str), Scalars>) -> Self {
        let sum = |of: fn(&Scalars) -> u64| metrics.values().map(of).fold(0, u64::saturating_add);
        let errors = metrics
            .iter()
            .filter(|((metric, _), _)| *metric == "errors");
        Self {
            over_high: sum(|scalars| scalars.over_high),
            over_low: sum(|scalars| scalars.over_low),
            errors: errors
                .map(|(_, scalars)| scalars.sum)
                .fold(0, u64::saturating_add),
            batches: line.missing_batches.saturating_add(line.lost_batches),
            last_seen_ms: Reverse(line.last_seen_ms),
        }
    }
}

fn metric_lines(
    catalogue: &Catalogue,
    metrics: BTreeMap<(&'static str, &'static str), Scalars>,
) -> Vec<MetricLine> {
    let line = |((name, label), scalars): ((&'static str, &'static str), Scalars)| {
        let unit = catalogue.named(name)?.unit;
        Some(MetricLine {
            metric: name,
            label,
            unit: unit.name(),
            count: scalars.count,
            sum: unit.to_wire(scalars.sum),
            min: unit.to_wire(scalars.min),
            max: unit.to_wire(scalars.max),
            last: Last {
                t: scalars.last_ms,
                value: unit.to_wire(scalars.last),
            },
            over_low: scalars.over_low,
            over_high: scalars.over_high,
        })
    };
    let mut lines: Vec<MetricLine> = metrics.into_iter().filter_map(line).collect();
    // The sort keeps the order of names where nothing else decides.
    lines.sort_by_key(|line| Reverse((line.over_high, line.over_low)));
    lines
}

/// The terminals of the store that are asked for.
fn wanted_ids(aggregator: &Aggregator, request: &TerminalsRequest) -> Vec<Box<str>> {
    let of_store = aggregator.terminals().of_store(&request.store_id);
    let ids = of_store.into_iter().flat_map(StoreTerminals::iter);
    ids.filter(|(terminal_id, _)| request.wants(terminal_id))
        .map(|(terminal_id, _)| terminal_id.into())
        .collect()
}

/// The terminals as they are known. Blocks: the aggregate is read a piece at a time.
fn known_lines(
    holdings: &Holdings,
    ids: Vec<Box<str>>,
    request: &TerminalsRequest,
    silence: &Silence,
) -> Vec<TerminalLine> {
    let mut lines = Vec::with_capacity(ids.len());
    let mut ids = ids.into_iter();
    holdings.read_in_pieces(|aggregator| {
        let Some(store) = aggregator.terminals().of_store(&request.store_id) else {
            return false;
        };
        let heard = silence.heard_of(store);
        for terminal_id in ids.by_ref().take(PIECE) {
            // The terminal may have been forgotten since.
            if let Some(terminal) = store.get(&terminal_id) {
                lines.push(known(
                    aggregator,
                    &terminal_id,
                    terminal,
                    (silence, &heard),
                    &request.store_id,
                ));
            }
        }
        ids.len() > 0
    });
    lines
}

fn known(
    aggregator: &Aggregator,
    terminal_id: &str,
    terminal: &Terminal,
    (silence, heard): (&Silence, &Heard),
    store_id: &str,
) -> TerminalLine {
    let who = TerminalRef {
        store_id,
        terminal_id,
    };
    let layout = aggregator.live().layout();
    let windows = terminal.queues.iter().map(|(_, window)| window);
    let level = |metric: &tillwatch_model::Metric| {
        let last = (*terminal.levels.get(layout.place(metric).level?)?)?;
        let value = metric.unit.to_wire(last.value);
        Some((
            metric.name,
            Last {
                t: last.t_ms,
                value,
            },
        ))
    };
    let metrics = layout.catalogue().metrics().iter();
    TerminalLine {
        terminal_id: terminal_id.to_owned(),
        last_seen_ms: Some(terminal.last_seen_ms),
        is_reporting: silence.is_reporting(terminal),
        state: Some(silence.judge(who, terminal, heard).state.name()),
        release: Some(aggregator.names().1.name(terminal.release).to_string()),
        browser: terminal.browser.and_then(Browser::text),
        clock_skew_ms: Some(terminal.offset_ms),
        clock_jumps: terminal.clock_jumps,
        missing_batches: windows
            .clone()
            .map(tillwatch_model::SeqWindow::open_gaps)
            .sum(),
        lost_batches: windows.map(tillwatch_model::SeqWindow::lost).sum(),
        levels: metrics.filter_map(level).collect(),
        metrics: Vec::new(),
    }
}
