//! Metrics of a shop's own, as they were first used: what the journal and the tables hold of them must not change its
//! meaning.

use rusqlite::{Connection, params};
use tillwatch_model::own_metric::{METRICS_MAX, OwnLabel, OwnMetric};
use tillwatch_model::{Kind, Live, Unit};

use crate::persist::State;
use crate::persist::error::StateError;

const UNITS: [Unit; 6] = [
    Unit::Milliseconds,
    Unit::Score,
    Unit::Ratio,
    Unit::Bytes,
    Unit::Megabytes,
    Unit::Count,
];
const KINDS: [Kind; 3] = [Kind::Distribution, Kind::Counter, Kind::Level];

/// A metric is declared as something else than it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Its name.
    pub name: String,
    /// What of it has changed, and how.
    pub what: String,
}

impl State {
    /// Keeps the metrics that are declared from now on, and gives back those that were declared once: the journal and the
    /// open windows may hold them.
    ///
    /// # Errors
    /// The outer one when the file cannot be read or written, the inner one when a metric has changed: then nothing is
    /// kept.
    pub fn keep_own_metrics(
        &self,
        declared: &[OwnMetric],
    ) -> Result<Result<Vec<OwnMetric>, Changed>, StateError> {
        let mut writer = self.writer();
        let transaction = writer.transaction()?;
        let mut known = read(&transaction)?;
        for metric in declared {
            let place = known.iter().position(|known| known.name == metric.name);
            let before = place.map(|place| known.swap_remove(place));
            if let Some(what) = before.and_then(|before| difference(&before, metric)) {
                let name = metric.name.clone();
                return Ok(Err(Changed { name, what }));
            }
            if let Some(other) = known.iter().find(|known| known.code() == metric.code()) {
                let what = format!(
                    "it has the code of {:?}, which was declared once: give it another name",
                    other.name
                );
                let name = metric.name.clone();
                return Ok(Err(Changed { name, what }));
            }
            write(&transaction, metric)?;
        }
        if known.len() + declared.len() > 4 * METRICS_MAX {
            return Err(StateError::Full("metrics of your own", 4 * METRICS_MAX));
        }
        transaction.commit()?;
        Ok(Ok(known))
    }
}

/// What makes the two something else, if anything does.
fn difference(before: &OwnMetric, now: &OwnMetric) -> Option<String> {
    if before.kind != now.kind {
        return Some(format!(
            "its kind was {} and is {}",
            before.kind.name(),
            now.kind.name()
        ));
    }
    if before.unit != now.unit {
        return Some(format!(
            "its unit was {} and is {}",
            before.unit.name(),
            now.unit.name()
        ));
    }
    match (&before.label, &now.label) {
        (None, None) => None,
        (Some(before), Some(now)) if before.key != now.key => {
            Some(format!("its label was {} and is {}", before.key, now.key))
        }
        (Some(before), Some(now)) if !now.values.starts_with(&before.values) => Some(format!(
            "the values of its label were [{}]: others may only be added behind them",
            before.values.join(", ")
        )),
        (Some(_), Some(_)) => None,
        (Some(before), None) => Some(format!("it had the label {}", before.key)),
        (None, Some(_)) => Some("it had no label".to_owned()),
    }
}

fn read(connection: &Connection) -> Result<Vec<OwnMetric>, StateError> {
    let sql = "SELECT name, kind, unit, label_key, label_values, threshold_low, threshold_high, per_terminal FROM own_metric";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, String>(2)?,
            row.get::<_, Option<String>>(3)?,
            row.get::<_, String>(4)?,
            [threshold(row.get(5)?), threshold(row.get(6)?)],
            row.get::<_, bool>(7)?,
        ))
    })?;
    rows.map(|row| {
        let (name, kind, unit, key, values, thresholds, per_terminal) = row?;
        let kind = KINDS.into_iter().find(|known| known.name() == kind);
        let unit = UNITS.into_iter().find(|known| known.name() == unit);
        let (Some(kind), Some(unit)) = (kind, unit) else {
            return Err(StateError::Damaged("metric of your own"));
        };
        Ok(OwnMetric {
            name,
            aliases: Vec::new(),
            kind,
            unit,
            value_max: 0,
            help: String::new(),
            bounds: Vec::new(),
            thresholds,
            label: key.map(|key| OwnLabel {
                key,
                values: values.split(' ').map(str::to_owned).collect(),
                unknown_is: None,
            }),
            live: Live::Event,
            per_terminal,
            per_store: false,
        })
    })
    .collect()
}

fn threshold(stored: Option<i64>) -> Option<u64> {
    stored.and_then(|stored| u64::try_from(stored).ok())
}

/// No value that may be declared is too large for it.
fn signed(threshold: u64) -> i64 {
    i64::try_from(threshold).unwrap_or(i64::MAX)
}

fn write(connection: &Connection, metric: &OwnMetric) -> Result<(), StateError> {
    let label = metric.label.as_ref();
    let values = label.map_or(String::new(), |label| label.values.join(" "));
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO own_metric VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            metric.name,
            metric.kind.name(),
            metric.unit.name(),
            label.map(|label| &label.key),
            values,
            metric.thresholds[0].map(signed),
            metric.thresholds[1].map(signed),
            metric.per_terminal
        ])?;
    Ok(())
}
