//! The rows of the state file, written and read.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tillwatch_model::SeqWindow;

use crate::aggregate::saved::{SavedSeries, SavedTerminal};
use crate::aggregate::terminals::{TerminalChange, TerminalKey};
use crate::persist::error::StateError;

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
        for (queue, window) in terminal.all_queues() {
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
