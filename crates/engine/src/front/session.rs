//! Sessions: a connection that stays, so that `SET` and temporary tables outlive their request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::request::SessionRequest;
use crate::connection::{Connection, quoted_name, quoted_text};
use crate::engine::{ConnectOptions, Engine};
use crate::error::{Exception, code};

/// The most sessions at once. Each holds a connection of the engine (about 100 kB) and what its
/// temporary tables take.
const SESSION_COUNT_MAX: usize = 64;

/// One session. Its connection is opened by its first statement, on that statement's thread.
#[derive(Default)]
pub(super) struct Session {
    connection: Option<Connection>,
}

/// A session, taken for one statement.
pub(super) type SessionGuard = OwnedMutexGuard<Session>;

struct Entry {
    session: Arc<AsyncMutex<Session>>,
    mark: String,
    timeout: Duration,
    last_used: Instant,
}

/// All sessions.
#[derive(Default)]
pub(super) struct Sessions {
    entries: Mutex<HashMap<String, Entry>>,
}

impl Sessions {
    /// Takes a session for one statement, making it if need be; returns it with its mark.
    pub(super) fn take(
        &self,
        request: &SessionRequest,
        engine: &Engine,
        now: Instant,
    ) -> Result<(SessionGuard, String), Exception> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = entries.contains_key(&request.id);
        if !is_known && request.must_exist {
            return Err(Exception::new(
                code::SESSION_NOT_FOUND,
                "SESSION_NOT_FOUND",
                format!("Session {} not found", request.id),
            ));
        }
        if !is_known && entries.len() >= SESSION_COUNT_MAX {
            return Err(Exception::new(
                code::TOO_MANY_SIMULTANEOUS_QUERIES,
                "TOO_MANY_SIMULTANEOUS_QUERIES",
                format!("There are {SESSION_COUNT_MAX} sessions already"),
            ));
        }
        let entry = entries.entry(request.id.clone()).or_insert_with(|| Entry {
            session: Arc::default(),
            mark: engine.next_mark(),
            timeout: request.timeout,
            last_used: now,
        });
        entry.timeout = request.timeout;
        entry.last_used = now;
        let guard = Arc::clone(&entry.session)
            .try_lock_owned()
            .map_err(|_busy| {
                Exception::new(
                    code::SESSION_IS_LOCKED,
                    "SESSION_IS_LOCKED",
                    format!("Session {} is locked by a concurrent client", request.id),
                )
            })?;
        Ok((guard, entry.mark.clone()))
    }

    /// Takes out the sessions that nobody used for their time. Closing a connection blocks for a
    /// moment, so the caller drops them where that may be.
    pub(super) fn take_expired(&self, now: Instant) -> Vec<Arc<AsyncMutex<Session>>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let mut expired = Vec::new();
        entries.retain(|_, entry| {
            // A statement that still runs keeps its session.
            let is_idle = entry.session.try_lock().is_ok();
            if is_idle && now.duration_since(entry.last_used) >= entry.timeout {
                expired.push(Arc::clone(&entry.session));
                return false;
            }
            if !is_idle {
                entry.last_used = now;
            }
            true
        });
        expired
    }

    /// Takes out all sessions, at the end of the process.
    pub(super) fn take_all(&self) -> Vec<Arc<AsyncMutex<Session>>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.drain().map(|(_, entry)| entry.session).collect()
    }
}

impl Session {
    /// Runs `work` with the settings and the database of one request, and takes them back after, also when only some
    /// of them could be applied. Blocks.
    pub(super) fn with<T>(
        &mut self,
        engine: &Engine,
        mark: &str,
        options: &ConnectOptions,
        work: impl FnOnce(&mut Connection) -> Result<T, Exception>,
    ) -> Result<T, Exception> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(engine.connect(&ConnectOptions::default(), mark)?),
        };
        let mut undo = Vec::new();
        let begun = begin(connection, options, &mut undo);
        let outcome = begun.and_then(|()| work(connection));
        for sql in undo {
            if let Err(error) = connection.text(&sql) {
                // A request's settings must not stay: better no session than a changed one.
                tracing::warn!(%error, "closed a session whose settings could not be restored");
                self.connection = None;
                break;
            }
        }
        outcome
    }
}

/// Applies a request's settings and database. The statements that undo a change are in `undo` before the change is
/// made: a `SET` of several settings keeps those that come before the one that it refuses.
fn begin(
    connection: &mut Connection,
    options: &ConnectOptions,
    undo: &mut Vec<String>,
) -> Result<(), Exception> {
    if !options.settings.is_empty() {
        let names: Vec<String> = options
            .settings
            .iter()
            .map(|(name, _)| quoted_text(name))
            .collect();
        let before = connection.text(&format!(
            "SELECT name, changed, value FROM system.settings WHERE name IN ({}) FORMAT TSVRaw",
            names.join(", ")
        ))?;
        for line in before.lines() {
            let mut columns = line.splitn(3, '\t');
            if let (Some(name), Some(changed), Some(value)) =
                (columns.next(), columns.next(), columns.next())
            {
                let value = if changed == "1" {
                    quoted_text(value)
                } else {
                    "DEFAULT".to_owned()
                };
                undo.push(format!("SET {} = {value}", quoted_name(name)));
            }
        }
        connection.set(&options.settings)?;
    }
    if let Some(database) = &options.database {
        let before = connection.text("SELECT currentDatabase() FORMAT TSVRaw")?;
        if before.trim_end() != database {
            undo.push(format!("USE {}", quoted_name(before.trim_end())));
            connection.text(&format!("USE {}", quoted_name(database)))?;
        }
    }
    Ok(())
}
