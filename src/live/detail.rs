//! What a page about one store shows beside its row.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use tillwatch_model::time::MINUTE_MS;

use crate::aggregate::Aggregator;
use crate::aggregate::live::LATE_AGES;
use crate::fleet::silence::REPORTING_MS;
use crate::live::row::Row;
use crate::live::shown::Shown;

/// Terminals that are shown of one store, the latest first.
const TERMINALS_MAX: usize = 1_000;

/// One store.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "StoreNow")]
pub struct Detail {
    /// Its row.
    pub row: Row,
    /// Its terminals that people use, those that posted last first, at most 1,000.
    pub terminals: Vec<TerminalNow>,
    /// Samples that came too late to be live, by the most they were late: `1h`, `24h`, `3d`, `8d`; since ever.
    pub late: BTreeMap<&'static str, u64>,
    /// Its batches.
    pub batches: BatchesNow,
    /// Incidents in which a terminal lost business data, since ever.
    pub data_loss_incidents: u64,
    /// The minute that bit 0 of all `beats` stands for, Unix ms.
    pub minute: i64,
    /// Nothing is known of beats before this time, Unix ms.
    pub beats_since: i64,
}

/// Batches of a store, since ever.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BatchesNow {
    /// Received, each once.
    pub received: u64,
    /// Missing between received ones; they may still come.
    pub missing: u64,
    /// Missing for nine days, or too far behind: they never came.
    pub lost: u64,
    /// Dropped by their terminal, which said so.
    pub explained: u64,
}

/// One terminal, now.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TerminalNow {
    /// The terminal.
    pub terminal_id: String,
    /// When its last batch was received, Unix ms.
    pub last_seen_ms: i64,
    /// The release that it last reported.
    pub release: String,
    /// Whether it has posted within ten minutes.
    pub is_reporting: bool,
    /// Its last levels, by wire name.
    pub levels: BTreeMap<&'static str, LevelNow>,
    /// 64 bits as hexadecimal digits: bit n is set if a batch was received n minutes before `minute`.
    pub beats: String,
}

/// The last value of a level.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LevelNow {
    /// When it was measured, Unix ms.
    pub t: i64,
    /// The value, in the metric's unit.
    pub value: f64,
}

impl Detail {
    /// A store as it is held.
    pub(super) fn of(
        aggregator: &Aggregator,
        (number, row): (u32, &Row),
        shown: &Shown,
        now_ms: i64,
        beats_since: i64,
    ) -> Self {
        let minute = now_ms.div_euclid(MINUTE_MS);
        let series = aggregator.live().stores().get(number as usize);
        let late = series.map_or([0; 4], |series| series.late);
        let incidents = series.and_then(|series| {
            let at = shown.data_loss_incidents?;
            series.counters.get(at).copied()
        });
        let layout = aggregator.live().layout();
        let levels: Vec<_> = {
            let metrics = layout.catalogue().metrics().iter();
            metrics
                .filter_map(|metric| Some((layout.place(metric).level?, metric)))
                .collect()
        };
        let mut terminals = Vec::new();
        if let Some(store) = aggregator.terminals().of_store(&row.store_id) {
            for (terminal_id, terminal) in store.iter() {
                if terminal.is_retired || terminal.is_synthetic {
                    continue;
                }
                let known = levels.iter().filter_map(|(at, metric)| {
                    let last = (*terminal.levels.get(*at)?)?;
                    let value = metric.unit.to_wire(last.value);
                    let t = last.t_ms;
                    Some((metric.name, LevelNow { t, value }))
                });
                terminals.push(TerminalNow {
                    terminal_id: terminal_id.to_owned(),
                    last_seen_ms: terminal.last_seen_ms,
                    release: aggregator.names().1.name(terminal.release).to_string(),
                    is_reporting: now_ms - terminal.last_seen_ms <= REPORTING_MS,
                    levels: known.collect(),
                    beats: format!("{:016x}", terminal.beats.at(minute)),
                });
            }
        }
        terminals.sort_by(|one, other| {
            let by_time = other.last_seen_ms.cmp(&one.last_seen_ms);
            by_time.then_with(|| one.terminal_id.cmp(&other.terminal_id))
        });
        terminals.truncate(TERMINALS_MAX);
        let ages = LATE_AGES.iter().map(|(_, name)| *name);
        Self {
            row: row.clone(),
            terminals,
            late: ages.zip(late).collect(),
            batches: BatchesNow {
                received: series.map_or(0, |series| series.batches_received),
                missing: row.values.missing,
                lost: row.values.lost,
                explained: series.map_or(0, |series| series.batches_explained),
            },
            data_loss_incidents: incidents.unwrap_or(0),
            minute: minute * MINUTE_MS,
            beats_since,
        }
    }
}
