//! The disk that the tables may take, and which days give way when they take more.
//!
//! Minutes give way first: of the oldest day the one-minute rollups, and with them the rows by terminal and by
//! session. When no minutes are left that are old enough, the oldest week of hourly rollups does. A day among the
//! last [`DAYS_MIN`] never gives way, because late data still come for it. While a day waits for something (for an
//! epoch to be shipped, or for its hours to be summed up), neither it nor what is younger gives way.

use std::collections::BTreeSet;

use clickhouse::Row;

use crate::persist::clickhouse::ClickHouse;
use crate::persist::error::{ClickHouseError, StateError};
use crate::persist::state::State;
use crate::persist::tables::{get_meta, put_meta};

/// The last days, today among them, that never give way.
pub const DAYS_MIN: u32 = 10;

/// Tables with a partition a day that give way together.
pub const DAILY: [&str; 6] = [
    "rollup_1m",
    "rollup_terminal_1h",
    "session",
    "error_group_1h",
    "summary_1m",
    "loss",
];
/// The table whose partitions are weeks, by the day that a week begins with.
pub const WEEKLY: &str = "rollup_1h";
const DAYS_A_WEEK: u32 = 7;
/// So far back a day may still wait for something: rows are kept for 90 days.
const DAYS_BEFORE: u32 = 100;

/// The key in the state file: the first day whose minutes have not been given up.
const FIRST_DAY: &str = "minutes_from_day";

/// What one partition of a table takes.
#[derive(Debug, Clone, PartialEq, Eq, Row, serde::Deserialize)]
pub struct Held {
    /// The table.
    pub of_table: String,
    /// The partition's first day, since 1970; 0 for a table without days.
    pub day: u32,
    /// Bytes on disk.
    pub bytes: u64,
}

/// What is to be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUp {
    /// The minutes of a day (since 1970), and its rows in the other tables of days.
    Minutes(u32),
    /// The hourly rollups of the week that begins with this day.
    Hours(u32),
}

/// What the tables take, by partition.
///
/// # Errors
/// When ClickHouse does not answer, or refuses.
pub async fn held(clickhouse: &ClickHouse) -> Result<Vec<Held>, ClickHouseError> {
    let sql = "SELECT table AS of_table,
            toUInt32(if(match(partition_id, '^[0-9]{8}$'), toRelativeDayNum(parseDateTimeBestEffortOrZero(partition_id, 'UTC')), 0)) AS day,
            sum(bytes_on_disk) AS bytes
        FROM system.parts WHERE database = currentDatabase() AND active AND rows > 0 GROUP BY of_table, day ORDER BY of_table, day";
    clickhouse.fetch(sql, |query| query).await
}

/// What gives way next, if the tables are to take less: never a day for which `is_needed`.
#[must_use]
pub fn next(held: &[Held], today: u32, is_needed: impl Fn(u32) -> bool + Copy) -> Option<GivenUp> {
    let first_kept = (today + 1).saturating_sub(DAYS_MIN);
    let days: BTreeSet<u32> = held
        .iter()
        .filter(|held| DAILY.contains(&&*held.of_table))
        .map(|held| held.day)
        .collect();
    if let Some(day) = days.range(1..first_kept).next() {
        // All days before it are noted as given up with it, and hours do not go before minutes that only wait.
        let is_free = !(day.saturating_sub(DAYS_BEFORE)..=*day).any(is_needed);
        return is_free.then_some(GivenUp::Minutes(*day));
    }
    let is_over = |week: &&Held| week.day > 0 && week.day + DAYS_A_WEEK <= first_kept;
    let is_free = |week: &&Held| !(week.day..week.day + DAYS_A_WEEK).any(&is_needed);
    let weeks = held.iter().filter(|held| held.of_table == WEEKLY);
    let oldest = weeks.filter(is_over).filter(is_free).map(|week| week.day);
    oldest.min().map(GivenUp::Hours)
}

/// Drops what is given up; says from which tables.
///
/// # Errors
/// When ClickHouse does not answer, or refuses.
pub async fn drop_given_up(
    clickhouse: &ClickHouse,
    given_up: GivenUp,
    held: &[Held],
) -> Result<Vec<&'static str>, ClickHouseError> {
    let (tables, day): (&[&'static str], u32) = match given_up {
        GivenUp::Minutes(day) => (&DAILY, day),
        GivenUp::Hours(day) => (&[WEEKLY], day),
    };
    let partition = crate::persist::repair::date(day).replace('-', "");
    let mut dropped = Vec::new();
    for table in tables {
        if held
            .iter()
            .any(|held| held.of_table == *table && held.day == day)
        {
            let sql = format!("ALTER TABLE {table} DROP PARTITION ID '{partition}'");
            clickhouse.execute(&sql).await?;
            dropped.push(*table);
        }
    }
    Ok(dropped)
}

impl State {
    /// The first day, since 1970, whose minutes have not been given up; 0 if none have been.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn minutes_from_day(&self) -> Result<u32, StateError> {
        let text: Option<String> = get_meta(&self.reader(), FIRST_DAY)?;
        Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// Notes that the minutes of a day and of all before it are given up. Before they are dropped: what is
    /// missing of them afterwards is no loss.
    ///
    /// # Errors
    /// When the file cannot be written; then nothing may be dropped.
    pub fn give_up_minutes(&self, day: u32) -> Result<(), StateError> {
        let first = day.saturating_add(1);
        if self.minutes_from_day()? < first {
            put_meta(&self.writer(), FIRST_DAY, &first.to_string())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(rows: &[(&str, u32)]) -> Vec<Held> {
        let held = |(table, day): &(&str, u32)| Held {
            of_table: (*table).to_owned(),
            day: *day,
            bytes: 1,
        };
        rows.iter().map(held).collect()
    }

    #[test]
    fn the_oldest_day_of_minutes_gives_way_then_the_oldest_week_of_hours_and_never_what_is_needed()
    {
        let all = held(&[
            ("migration", 0),
            ("rollup_1h", 950),
            ("rollup_1h", 957),
            ("rollup_1h", 985),
            ("rollup_1m", 962),
            ("rollup_1m", 990),
            ("rollup_1m", 991),
            ("session", 961),
            ("session", 1_000),
        ]);
        let nothing = |_| false;
        assert_eq!(next(&all, 1_000, nothing), Some(GivenUp::Minutes(961)));
        for waiting in [961, 940] {
            let next = next(&all, 1_000, |day| day == waiting);
            assert_eq!(next, None, "what is younger waits with {waiting}");
        }
        // Days 991 to 1,000 are the last ten.
        let no_minutes = held(&[
            ("rollup_1h", 950),
            ("rollup_1h", 957),
            ("rollup_1m", 991),
            ("session", 1_000),
        ]);
        assert_eq!(next(&no_minutes, 1_000, nothing), Some(GivenUp::Hours(950)));
        assert_eq!(
            next(&no_minutes, 1_000, |day| day == 956),
            Some(GivenUp::Hours(957)),
            "day 956 is of the week of 950"
        );
        let young = held(&[("rollup_1m", 991), ("rollup_1h", 985), ("rollup_1h", 0)]);
        assert_eq!(
            next(&young, 1_000, nothing),
            None,
            "the week of 985 ends with 991"
        );
        assert_eq!(next(&young, 1_001, nothing), Some(GivenUp::Minutes(991)));
    }
}
