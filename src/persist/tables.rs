//! The tables of the state file: their layout, and their rows written and read.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tillwatch_model::SeqWindow;

use crate::aggregate::saved::{SavedSeries, SavedTerminal};
use crate::aggregate::terminals::{TerminalChange, TerminalKey};
use crate::persist::error::StateError;
use crate::persist::hours::uncheck_unmarked;

/// Layout of the file; an earlier one is brought forward in `LAYOUTS`. A later one may have more: each
/// step only adds, and what it adds an earlier release leaves alone.
pub(super) const LAYOUT: i64 = 5;

/// The oldest layout whose releases may use a file of this one, so that a release can be rolled back.
/// A step that they could not live with raises it to its own number.
pub(super) const OLDEST_READER: i64 = 1;

/// What brings a file from layout n to n + 1.
pub(super) const LAYOUTS: [&str; 5] = ["
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    -- The ledger of epochs: one row a seal, kept 97 days.
    CREATE TABLE epoch (
        epoch INTEGER PRIMARY KEY, collector_id TEXT NOT NULL, sealed_at_ms INTEGER NOT NULL, first_position INTEGER NOT NULL,
        applied_position INTEGER NOT NULL, received_at_ms INTEGER NOT NULL, confirmed_at_ms INTEGER);
    CREATE TABLE epoch_day (
        epoch INTEGER NOT NULL, day INTEGER NOT NULL, row_count INTEGER NOT NULL,
        samples INTEGER NOT NULL, hash_sum INTEGER NOT NULL, PRIMARY KEY (epoch, day)) WITHOUT ROWID;
    -- RowBinary under zstd, exactly the rows to insert.
    CREATE TABLE outbox (epoch INTEGER PRIMARY KEY, plain_bytes INTEGER NOT NULL, blob BLOB NOT NULL);
    CREATE TABLE queue (
        store_id TEXT NOT NULL, terminal_id TEXT NOT NULL, queue BLOB NOT NULL, window BLOB NOT NULL,
        PRIMARY KEY (store_id, terminal_id, queue)) WITHOUT ROWID;
    CREATE TABLE terminal (
        store_id TEXT NOT NULL, terminal_id TEXT NOT NULL, state TEXT NOT NULL,
        PRIMARY KEY (store_id, terminal_id)) WITHOUT ROWID;
    -- kind: store or release.
    CREATE TABLE name (
        kind TEXT NOT NULL, name TEXT NOT NULL, ordinal INTEGER NOT NULL, last_seen_ms INTEGER NOT NULL,
        PRIMARY KEY (kind, name)) WITHOUT ROWID;
    CREATE TABLE series (
        kind TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;
    CREATE TABLE session_key (day INTEGER PRIMARY KEY, key BLOB NOT NULL);
", "
    -- What the first post of a keyed batch came to; kept 25 hours.
    CREATE TABLE IF NOT EXISTS idempotency_key (
        id BLOB PRIMARY KEY, received_at_ms INTEGER NOT NULL, accepted INTEGER NOT NULL, rejected INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS idempotency_key_received ON idempotency_key (received_at_ms);
", "
    -- Hours of stores (hours since 1970) that rollup_1h does not hold in full, and the last epoch with rows of them.
    CREATE TABLE IF NOT EXISTS dirty_hour (
        hour INTEGER NOT NULL, store_id TEXT NOT NULL, epoch INTEGER NOT NULL,
        since_ms INTEGER NOT NULL, touched_ms INTEGER NOT NULL, PRIMARY KEY (hour, store_id)) WITHOUT ROWID;
    -- Days of which that is not known, until the epoch is confirmed and they are looked at.
    CREATE TABLE IF NOT EXISTS unchecked_day (day INTEGER PRIMARY KEY, epoch INTEGER NOT NULL);
", "
    -- An epoch's rows for the tables beside rollup_1m, as in `outbox` and `epoch_day`. A release that knows
    -- nothing of them confirms an epoch without them: so they say themselves whether they are.
    CREATE TABLE IF NOT EXISTS side_outbox (
        epoch INTEGER NOT NULL, table_name TEXT NOT NULL, plain_bytes INTEGER NOT NULL, blob BLOB NOT NULL,
        confirmed_at_ms INTEGER, PRIMARY KEY (epoch, table_name));
    CREATE TABLE IF NOT EXISTS epoch_side_day (
        epoch INTEGER NOT NULL, table_name TEXT NOT NULL, day INTEGER NOT NULL, row_count INTEGER NOT NULL,
        hash_sum INTEGER NOT NULL, PRIMARY KEY (epoch, table_name, day)) WITHOUT ROWID;
", "
    -- What was found missing from the journal, until a person has seen it, and for as long as the ledger.
    CREATE TABLE IF NOT EXISTS journal_loss (
        id INTEGER PRIMARY KEY, kind TEXT NOT NULL, first_position INTEGER, last_position INTEGER,
        records INTEGER NOT NULL, bytes INTEGER NOT NULL, segment INTEGER NOT NULL,
        found_at_ms INTEGER NOT NULL, accepted_at_ms INTEGER);
"];

/// Makes the tables, or brings them forward. `PRAGMA user_version` is the oldest layout whose releases may
/// use the file, `layout` in `meta` is its own; a file of the first release has only the former.
pub(super) fn bring_forward(transaction: &Transaction<'_>, now_ms: i64) -> Result<(), StateError> {
    let pragma = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let needs = pragma("user_version")?;
    if needs > LAYOUT {
        return Err(StateError::Later {
            found: needs,
            known: LAYOUT,
        });
    }
    let noted = if needs == 0 {
        None
    } else {
        get_meta(transaction, "layout")?
    };
    let found = noted.and_then(|text| text.parse().ok()).unwrap_or(needs);
    for step in LAYOUTS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(step)?;
    }
    put_meta(transaction, "layout", &found.max(LAYOUT).to_string())?;
    transaction.pragma_update(None, "user_version", needs.max(OLDEST_READER))?;
    uncheck_unmarked(transaction, now_ms)
}

pub(super) fn get_meta(connection: &Connection, key: &str) -> Result<Option<String>, StateError> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    Ok(statement.query_row([key], |row| row.get(0)).optional()?)
}

pub(super) fn put_meta(connection: &Connection, key: &str, value: &str) -> Result<(), StateError> {
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", [key, value])?;
    Ok(())
}

pub(super) fn put_names(
    transaction: &Transaction<'_>,
    kind: &str,
    names: &[(String, i64)],
) -> Result<(), StateError> {
    transaction.execute("DELETE FROM name WHERE kind = ?1", [kind])?;
    let mut statement = transaction.prepare_cached("INSERT INTO name VALUES (?1, ?2, ?3, ?4)")?;
    for (ordinal, (name, last_seen_ms)) in (0_i64..).zip(names) {
        statement.execute(params![kind, name, ordinal, last_seen_ms])?;
    }
    Ok(())
}

pub(super) fn get_names(
    connection: &Connection,
    kind: &str,
) -> Result<Vec<(String, i64)>, StateError> {
    let mut statement = connection
        .prepare("SELECT name, last_seen_ms FROM name WHERE kind = ?1 ORDER BY ordinal")?;
    let rows = statement.query_map([kind], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Forgets the series of names that have left their set.
pub(super) fn drop_series(
    transaction: &Transaction<'_>,
    kind: &str,
    names: &[String],
) -> Result<(), StateError> {
    let mut statement =
        transaction.prepare_cached("DELETE FROM series WHERE kind = ?1 AND name = ?2")?;
    for name in names {
        statement.execute([kind, name])?;
    }
    Ok(())
}

pub(super) fn put_series(
    transaction: &Transaction<'_>,
    kind: &str,
    series: &[(String, String)],
) -> Result<(), StateError> {
    let mut statement =
        transaction.prepare_cached("INSERT OR REPLACE INTO series VALUES (?1, ?2, ?3)")?;
    for (name, state) in series {
        statement.execute([kind, name, state])?;
    }
    Ok(())
}

pub(super) fn get_series(
    connection: &Connection,
    kind: &str,
) -> Result<Vec<(String, SavedSeries)>, StateError> {
    let mut statement = connection.prepare("SELECT name, state FROM series WHERE kind = ?1")?;
    let rows = statement.query_map([kind], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    rows.map(|row| {
        let (name, state) = row?;
        Ok((name, serde_json::from_str(&state)?))
    })
    .collect()
}

pub(super) fn put_terminals(
    transaction: &Transaction<'_>,
    changes: &[(TerminalChange, String)],
) -> Result<(), StateError> {
    let mut forget_queues =
        transaction.prepare_cached("DELETE FROM queue WHERE store_id = ?1 AND terminal_id = ?2")?;
    let mut forget = transaction
        .prepare_cached("DELETE FROM terminal WHERE store_id = ?1 AND terminal_id = ?2")?;
    let mut put =
        transaction.prepare_cached("INSERT OR REPLACE INTO terminal VALUES (?1, ?2, ?3)")?;
    let mut put_queue =
        transaction.prepare_cached("INSERT OR REPLACE INTO queue VALUES (?1, ?2, ?3, ?4)")?;
    for (change, saved) in changes {
        let (store_id, terminal_id) = (&change.key.store_id, &change.key.terminal_id);
        forget_queues.execute([store_id, terminal_id])?;
        let Some(terminal) = &change.terminal else {
            forget.execute([store_id, terminal_id])?;
            continue;
        };
        put.execute(params![store_id, terminal_id, saved])?;
        for (queue, window) in &terminal.queues {
            put_queue.execute(params![store_id, terminal_id, queue, window.to_bytes()])?;
        }
    }
    Ok(())
}

pub(super) type SavedQueue = (TerminalKey, [u8; 16], SeqWindow);

pub(super) fn get_queues(connection: &Connection) -> Result<Vec<SavedQueue>, StateError> {
    let mut statement =
        connection.prepare("SELECT store_id, terminal_id, queue, window FROM queue")?;
    let rows = statement.query_map([], |row| {
        let key = TerminalKey {
            store_id: row.get(0)?,
            terminal_id: row.get(1)?,
        };
        Ok((key, row.get(2)?, row.get::<_, Vec<u8>>(3)?))
    })?;
    rows.map(|row| {
        let (key, queue, window) = row?;
        let window =
            SeqWindow::from_bytes(&window).ok_or(StateError::Damaged("sequence window"))?;
        Ok((key, queue, window))
    })
    .collect()
}

pub(super) fn get_terminals(
    connection: &Connection,
) -> Result<Vec<(TerminalKey, SavedTerminal)>, StateError> {
    let mut statement = connection.prepare("SELECT store_id, terminal_id, state FROM terminal")?;
    let rows = statement.query_map([], |row| {
        let key = TerminalKey {
            store_id: row.get(0)?,
            terminal_id: row.get(1)?,
        };
        Ok((key, row.get::<_, String>(2)?))
    })?;
    rows.map(|row| {
        let (key, state) = row?;
        Ok((key, serde_json::from_str(&state)?))
    })
    .collect()
}
