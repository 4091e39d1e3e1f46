//! Verdicts on releases, in the state file: a row for every word that was said, none of which is ever written over.

use rusqlite::{Row, params};

use crate::listed::listed;
use crate::persist::error::StateError;
use crate::persist::state::State;

/// Rows that are kept; the oldest go first.
const ROWS_MAX: u32 = 5_000;
/// Rows are kept as long as the rollups that they were judged on. Unit: ms.
const KEPT_MS: i64 = 90 * 86_400_000;

listed! {
    /// Why a row was written.
    pub enum Occasion {
        /// A step was reached, and its first look is still to come.
        Step = "step",
        /// A planned look: the first word on it.
        Look = "look",
        /// The look awaited data, and they have come.
        Arrived = "arrived",
        /// Data came late that nobody awaited, and the word is another one.
        Revised = "revised",
        /// Something happened that must not happen at all; no look was due.
        Incident = "incident",
    }
}

/// One word on one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerdictRow {
    /// The release.
    pub release: String,
    /// What it was held against; empty: nothing.
    pub against: String,
    /// Percent of the stores.
    pub step_percent: u32,
    /// The number of the look; `None`: before the first.
    pub look: Option<u32>,
    /// Why the row was written.
    pub occasion: Occasion,
    /// When, Unix ms.
    pub judged_at_ms: i64,
    /// The last epoch of this collector that was in the data.
    pub epoch: u64,
    /// The hours that were judged, since 1970.
    pub hours: std::ops::Range<i64>,
    /// Samples in these hours.
    pub counts: u64,
    /// A hash of all that was judged.
    pub inputs_hash: u64,
    /// The word.
    pub verdict: String,
    /// Whether it is no pass because data are awaited.
    pub is_awaiting: bool,
    /// The whole verdict, as JSON.
    pub result: String,
}

/// A row as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptVerdict {
    /// Its number.
    pub id: i64,
    /// How many samples there were in its hours when it was looked at again last.
    pub checked_counts: u64,
    /// When that was, Unix ms.
    pub checked_at_ms: i64,
    /// The row.
    pub row: VerdictRow,
}

const COLUMNS: &str = "id, release, against, step, look, kind, judged_at_ms, epoch, start_hour, until_hour, counts, \
    inputs_hash, checked_counts, checked_at_ms, verdict, is_awaiting, result";

impl State {
    /// Adds a row, and lets rows go that are too old or too many.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add_verdict(&self, row: &VerdictRow) -> Result<(), StateError> {
        let mut writer = self.writer();
        let transaction = writer.transaction()?;
        transaction.execute(
            "INSERT INTO rollout_verdict (release, against, step, look, kind, judged_at_ms, epoch, start_hour, until_hour,
             counts, inputs_hash, checked_counts, checked_at_ms, verdict, is_awaiting, result)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?10, ?6, ?12, ?13, ?14)",
            params![
                row.release,
                row.against,
                row.step_percent,
                row.look,
                row.occasion.name(),
                row.judged_at_ms,
                row.epoch.cast_signed(),
                row.hours.start,
                row.hours.end,
                row.counts.cast_signed(),
                format!("{:016x}", row.inputs_hash),
                row.verdict,
                row.is_awaiting,
                row.result,
            ],
        )?;
        transaction.execute(
            "DELETE FROM rollout_verdict WHERE judged_at_ms < ?1 OR id <= (SELECT max(id) FROM rollout_verdict) - ?2",
            params![row.judged_at_ms.saturating_sub(KEPT_MS), ROWS_MAX],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// Notes that a row was looked at again, with so many samples in its hours.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn check_verdict(&self, id: i64, counts: u64, at_ms: i64) -> Result<(), StateError> {
        self.writer().execute(
            "UPDATE rollout_verdict SET checked_counts = ?2, checked_at_ms = ?3 WHERE id = ?1",
            params![id, counts.cast_signed(), at_ms],
        )?;
        Ok(())
    }

    /// The number of the last row; 0: there is none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn last_verdict(&self) -> Result<i64, StateError> {
        let last = "SELECT coalesce(max(id), 0) FROM rollout_verdict";
        Ok(self.reader().query_row(last, [], |row| row.get(0))?)
    }

    /// The rows that were written after the one with this number, in order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn verdicts_since(&self, id: i64) -> Result<Vec<KeptVerdict>, StateError> {
        let reader = self.reader();
        let mut statement = reader.prepare(&format!(
            "SELECT {COLUMNS} FROM rollout_verdict WHERE id > ?1 ORDER BY id"
        ))?;
        let rows = statement.query_map([id], read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The rows of a release, or all of them, in the order in which they were written.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn verdicts(&self, release: Option<&str>) -> Result<Vec<KeptVerdict>, StateError> {
        let reader = self.reader();
        let mut statement = reader.prepare(&format!(
            "SELECT {COLUMNS} FROM rollout_verdict WHERE ?1 IS NULL OR release = ?1 ORDER BY id"
        ))?;
        let rows = statement.query_map([release], read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<KeptVerdict> {
    let number = |at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned);
    let (kind, hash): (String, String) = (row.get(5)?, row.get(11)?);
    Ok(KeptVerdict {
        id: row.get(0)?,
        checked_counts: number(12)?,
        checked_at_ms: row.get(13)?,
        row: VerdictRow {
            release: row.get(1)?,
            against: row.get(2)?,
            step_percent: row.get(3)?,
            look: row.get(4)?,
            // A kind of a later release is a word like any other.
            occasion: Occasion::ALL
                .iter()
                .copied()
                .find(|known| known.name() == kind)
                .unwrap_or(Occasion::Look),
            judged_at_ms: row.get(6)?,
            epoch: number(7)?,
            hours: row.get(8)?..row.get(9)?,
            counts: number(10)?,
            inputs_hash: u64::from_str_radix(&hash, 16).unwrap_or_default(),
            verdict: row.get(14)?,
            is_awaiting: row.get(15)?,
            result: row.get(16)?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    fn row(release: &str, look: u32, judged_at_ms: i64) -> VerdictRow {
        VerdictRow {
            release: release.to_owned(),
            against: "2.4.1".to_owned(),
            step_percent: 10,
            look: Some(look),
            occasion: Occasion::Look,
            judged_at_ms,
            epoch: 7,
            hours: 500_000..500_012,
            counts: 1_234,
            inputs_hash: u64::MAX - 5,
            verdict: "hold".to_owned(),
            is_awaiting: true,
            result: "{}".to_owned(),
        }
    }

    #[test]
    fn a_word_is_read_as_it_was_written_and_none_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), &World::of_machine()).unwrap();
        let first = row("2.5.0", 0, 1_000);
        let revised = VerdictRow {
            occasion: Occasion::Revised,
            verdict: "fail".to_owned(),
            look: None,
            ..row("2.5.0", 0, 2_000)
        };
        for row in [&first, &row("2.6.0", 1, 1_500), &revised] {
            state.add_verdict(row).unwrap();
        }
        let kept = state.verdicts(Some("2.5.0")).unwrap();
        let rows: Vec<&VerdictRow> = kept.iter().map(|kept| &kept.row).collect();
        assert_eq!(rows, [&first, &revised]);
        assert_eq!(
            (kept[0].checked_counts, kept[0].checked_at_ms),
            (1_234, 1_000)
        );
        state.check_verdict(kept[0].id, 9, 3_000).unwrap();
        let again = state.verdicts(Some("2.5.0")).unwrap();
        assert_eq!(
            (again[0].checked_counts, again[0].checked_at_ms),
            (9, 3_000)
        );
        assert_eq!(again[0].row, first);
        assert_eq!(state.verdicts(None).unwrap().len(), 3);
        // Ninety days later the first ones go.
        state
            .add_verdict(&row("2.7.0", 0, KEPT_MS + 1_800))
            .unwrap();
        let left = state.verdicts(None).unwrap();
        let names: Vec<&str> = left.iter().map(|kept| &*kept.row.release).collect();
        assert_eq!(names, ["2.5.0", "2.7.0"]);
    }
}
