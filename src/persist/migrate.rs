//! Applies `migrations/`: numbered files, each once, recorded with its checksum.
//!
//! Migrations only add, or change how a table keeps the same rows. Each migration names the oldest release that may run on the migrated database, so
//! that a release can be rolled back unless a migration says otherwise.
//!
//! Somebody may have dropped what a migration made. Each start therefore looks for the tables, views and
//! functions of the applied migrations. If one is missing, all migrations are applied again, in order; a
//! statement whose work is already done changes nothing.

use std::borrow::Cow;

use clickhouse::Row;
use sha2::{Digest, Sha256};

use crate::persist::clickhouse::{ClickHouse, Named};
use crate::persist::error::ClickHouseError;

/// A file in `migrations/`.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// The migration's number: 1, 2, …
    pub number: u32,
    /// The migration's file name.
    pub name: &'static str,
    /// The migration's text.
    pub sql: &'static str,
}

/// Every migration, in order.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        number: 1,
        name: "0001_rollup_1m.sql",
        sql: include_str!("../../migrations/0001_rollup_1m.sql"),
    },
    Migration {
        number: 2,
        name: "0002_rollup_1h.sql",
        sql: include_str!("../../migrations/0002_rollup_1h.sql"),
    },
    Migration {
        number: 3,
        name: "0003_terminals_and_sessions.sql",
        sql: include_str!("../../migrations/0003_terminals_and_sessions.sql"),
    },
    Migration {
        number: 4,
        name: "0004_by_epoch.sql",
        sql: include_str!("../../migrations/0004_by_epoch.sql"),
    },
    Migration {
        number: 5,
        name: "0005_t64.sql",
        sql: include_str!("../../migrations/0005_t64.sql"),
    },
    Migration {
        number: 6,
        name: "0006_error_group_1h.sql",
        sql: include_str!("../../migrations/0006_error_group_1h.sql"),
    },
    Migration {
        number: 7,
        name: "0007_summary_1m.sql",
        sql: include_str!("../../migrations/0007_summary_1m.sql"),
    },
    Migration {
        number: 8,
        name: "0008_loss.sql",
        sql: include_str!("../../migrations/0008_loss.sql"),
    },
];

/// The release that this program is.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

const RECORD_TABLE: &str = "CREATE TABLE IF NOT EXISTS migration (
    number UInt32, name String, checksum String, oldest_binary String,
    applied_by String, applied_at DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(applied_at) ORDER BY number
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1";

#[derive(Debug, Row, serde::Deserialize)]
struct Applied {
    number: u32,
    name: String,
    checksum: String,
    oldest_binary: String,
}

impl Migration {
    /// The SHA-256 of the migration's text.
    #[must_use]
    pub fn checksum(&self) -> String {
        hex::encode(Sha256::digest(self.sql.as_bytes()))
    }

    /// The oldest release that may run on the database once this is applied.
    #[must_use]
    pub fn oldest_binary(&self) -> &'static str {
        let first = self.sql.lines().next().unwrap_or_default();
        first
            .strip_prefix("-- oldest_binary: ")
            .unwrap_or(RELEASE)
            .trim()
    }

    /// The tables, views and functions that the migration makes.
    pub fn makes(&self) -> impl Iterator<Item = &'static str> {
        self.statements().filter_map(|statement| {
            let code = statement
                .lines()
                .filter(|line| !line.trim_start().starts_with("--"));
            let mut words = code.flat_map(str::split_whitespace);
            let is_make = ["CREATE", "", "IF", "NOT", "EXISTS"]
                .into_iter()
                .all(|expected| {
                    words
                        .next()
                        .is_some_and(|word| expected.is_empty() || word == expected)
                });
            words.next().filter(|_| is_make)
        })
    }

    /// The migration's statements: each ends with a semicolon at the end of a line.
    pub fn statements(&self) -> impl Iterator<Item = &'static str> {
        let statements = self.sql.split(";\n");
        statements.map(str::trim).filter(|text| !text.is_empty())
    }
}

/// What makes ClickHouse write rows to its disk before it answers.
const ON_DISK: &str = "fsync_after_insert = 1, fsync_part_directory = 1";

/// A statement as the server takes it: Cloud has no disk of its own to speak of.
fn suited(statement: &str, is_cloud: bool) -> Cow<'_, str> {
    if !is_cloud || !statement.contains(ON_DISK) {
        return Cow::Borrowed(statement);
    }
    let statement = statement.replace(&format!(", {ON_DISK}"), "");
    Cow::Owned(statement.replace(&format!("SETTINGS {ON_DISK}"), ""))
}

/// What applying did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// Names of the migrations that were applied now.
    pub applied: Vec<String>,
    /// How many migrations had been applied before.
    pub before: usize,
    /// Tables, views and functions of theirs that were gone, and are made again, empty.
    pub made_again: Vec<String>,
}

/// What the applied ones of these migrations have made and is not there any more.
///
/// # Errors
/// When ClickHouse does not answer or refuses.
async fn gone(
    clickhouse: &ClickHouse,
    applied: &[&Migration],
) -> Result<Vec<String>, ClickHouseError> {
    if applied.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT name FROM system.tables WHERE database = {database:String}
         UNION ALL SELECT name FROM system.functions WHERE origin = 'SQLUserDefined'";
    let found: Vec<Named> = clickhouse
        .fetch(sql, |query| query.param("database", clickhouse.database()))
        .await?;
    let is_there = |name: &str| found.iter().any(|row| row.name == name);
    let all = applied.iter().flat_map(|migration| migration.makes());
    Ok(all
        .filter(|name| !is_there(name))
        .map(str::to_owned)
        .collect())
}

/// Makes the database if need be and applies what has not been applied.
///
/// # Errors
/// When ClickHouse refuses, when an applied migration's text has changed, or when the database needs a
/// later release.
pub async fn migrate(clickhouse: &ClickHouse) -> Result<Migrated, ClickHouseError> {
    migrate_with(clickhouse, MIGRATIONS, RELEASE).await
}

/// As [`migrate`], by the rules of a release that knows these migrations.
///
/// # Errors
/// As [`migrate`].
pub async fn migrate_with(
    clickhouse: &ClickHouse,
    known: &[Migration],
    release: &str,
) -> Result<Migrated, ClickHouseError> {
    clickhouse
        .execute_outside(&format!(
            "CREATE DATABASE IF NOT EXISTS {}",
            clickhouse.database()
        ))
        .await?;
    let is_cloud = clickhouse.is_cloud().await?;
    clickhouse.execute(&suited(RECORD_TABLE, is_cloud)).await?;
    let sql = "SELECT number, name, checksum, oldest_binary FROM migration FINAL ORDER BY number";
    let applied: Vec<Applied> = clickhouse.fetch(sql, |query| query).await?;
    for row in &applied {
        check(row, known, release)?;
    }
    let is_applied =
        |migration: &Migration| applied.iter().any(|row| row.number == migration.number);
    let before: Vec<&Migration> = known.iter().filter(|known| is_applied(known)).collect();
    let mut migrated = Migrated {
        applied: Vec::new(),
        before: applied.len(),
        made_again: gone(clickhouse, &before).await?,
    };
    for migration in known {
        let is_before = is_applied(migration);
        if is_before && migrated.made_again.is_empty() {
            continue;
        }
        for statement in migration.statements() {
            clickhouse.execute(&suited(statement, is_cloud)).await?;
        }
        if is_before {
            continue;
        }
        let record = format!(
            "INSERT INTO migration VALUES ({}, '{}', '{}', '{}', '{release}', now64(3))",
            migration.number,
            migration.name,
            migration.checksum(),
            migration.oldest_binary(),
        );
        clickhouse.execute(&record).await?;
        migrated.applied.push(migration.name.to_owned());
    }
    Ok(migrated)
}

fn check(applied: &Applied, known: &[Migration], release: &str) -> Result<(), ClickHouseError> {
    if let Some(known) = known.iter().find(|known| known.number == applied.number) {
        let now = known.checksum();
        if now != applied.checksum {
            return Err(ClickHouseError::ChangedMigration {
                name: applied.name.clone(),
                applied: applied.checksum.clone(),
                now,
            });
        }
    } else if release_parts(&applied.oldest_binary) > release_parts(release) {
        return Err(ClickHouseError::NeedsLater {
            name: applied.name.clone(),
            needs: applied.oldest_binary.clone(),
            is: release.to_owned(),
        });
    }
    Ok(())
}

fn release_parts(release: &str) -> Vec<u32> {
    let plain = release.split(['-', '+']).next().unwrap_or_default();
    plain
        .split('.')
        .map(|part| part.parse().unwrap_or(0))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::persist::side_tables::SideTable;
    use crate::persist::{deep, expiry, ship};

    #[test]
    fn every_file_is_listed_numbered_and_names_its_oldest_binary() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".sql"))
            .collect();
        files.sort();
        let listed: Vec<&str> = MIGRATIONS.iter().map(|migration| migration.name).collect();
        assert_eq!(files, listed);
        for (number, migration) in (1..).zip(MIGRATIONS) {
            assert_eq!(migration.number, number);
            assert!(migration.name.starts_with(&format!("{number:04}_")));
            assert!(migration.sql.starts_with("-- oldest_binary: "));
            assert!(migration.statements().count() >= 1);
            // A migration may be applied again over what is there.
            for statement in migration.statements() {
                let is_repeatable = [" IF NOT EXISTS ", " MODIFY SETTING ", " MODIFY COLUMN "];
                assert!(
                    is_repeatable.iter().any(|part| statement.contains(part)),
                    "{statement}"
                );
            }
        }
    }

    /// A table that a migration adds is checked by `audit --deep`, and expires with the others.
    #[test]
    fn the_lists_of_tables_have_every_table_that_is_made() {
        let sql = MIGRATIONS.iter().map(|migration| migration.sql);
        let made = sql.flat_map(|sql| sql.split("CREATE TABLE IF NOT EXISTS ").skip(1));
        let made: BTreeSet<&str> = made
            .filter_map(|rest| rest.split_whitespace().next())
            .collect();
        let expiring = expiry::TABLES.iter().map(|(table, _)| *table);
        assert_eq!(expiring.collect::<BTreeSet<_>>(), made);
        // Beside them there is the record of the migrations themselves.
        let mut checked = BTreeSet::from(deep::FILLED);
        assert!(checked.remove("migration"));
        assert_eq!(checked, made);
        for table in ship::TABLES {
            let name = table.map_or("rollup_1m", SideTable::name);
            assert!(made.contains(name), "{name}");
        }
    }

    #[test]
    fn what_a_migration_makes_is_read_from_its_statements() {
        let makes: Vec<&str> = MIGRATIONS[0].makes().collect();
        let expected = [
            "rollup_1m",
            "tillwatch_bucket_value_v1",
            "tillwatch_scale_v1",
            "v_rollup_1m",
        ];
        assert_eq!(makes, expected);
    }

    #[test]
    fn releases_are_compared_by_number() {
        assert!(release_parts("0.10.0") > release_parts("0.9.3"));
        assert_eq!(release_parts("1.2.3-rc1"), vec![1, 2, 3]);
    }

    #[test]
    fn the_scale_in_sql_is_the_catalogues() {
        for metric in tillwatch_model::catalogue::BUILT_IN {
            let by_name = match metric.name.rsplit('_').next().unwrap() {
                "ms" => 1_000,
                "mb" => 1_000_000,
                "score" | "ratio" => 10_000,
                _ => 1,
            };
            assert_eq!(metric.unit.scale(), by_name, "{}", metric.name);
        }
    }
}
