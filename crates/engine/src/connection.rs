//! A connection to the engine and the statements on it; all calls block.

use std::io::PipeWriter;
use std::os::fd::AsRawFd;

use super::error::Exception;
use super::libchdb::{Counts, RawConnection, RawInsert};
use super::sql::{Insert, Read};

/// A connection: one statement at a time.
pub(super) struct Connection {
    pub(super) raw: RawConnection,
}

impl Connection {
    /// Runs a statement and returns its answer as a whole. Only for answers known to be small.
    pub(super) fn run(
        &mut self,
        sql: &str,
        format: &str,
        parameters: &[(String, String)],
    ) -> Result<(Vec<u8>, Counts), Exception> {
        let result = self.raw.query(sql, format, parameters);
        match result.error() {
            Some(text) => Err(Exception::from_engine(&text)),
            None => Ok((result.bytes().to_vec(), result.counts())),
        }
    }

    /// Runs a statement whose answer is a short text.
    pub(super) fn text(&mut self, sql: &str) -> Result<String, Exception> {
        let (bytes, _) = self.run(sql, "TSVRaw", &[])?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Sets settings for all later statements of this connection.
    pub(super) fn set(&mut self, settings: &[(String, String)]) -> Result<(), Exception> {
        if settings.is_empty() {
            return Ok(());
        }
        let pairs: Vec<String> = settings
            .iter()
            .map(|(name, value)| format!("{} = {}", quoted_name(name), quoted_text(value)))
            .collect();
        self.text(&format!("SET {}", pairs.join(", "))).map(drop)
    }

    /// Runs a statement and writes its answer into `pipe`, blocking while the reader is slow.
    pub(super) fn read(
        &mut self,
        read: &Read,
        default_format: &str,
        parameters: &[(String, String)],
        pipe: &PipeWriter,
    ) -> Result<Counts, Exception> {
        // The engine opens the descriptor by its name, so the pipe needs no name in a folder.
        let sql = format!(
            "{}\nINTO OUTFILE '/dev/fd/{}' APPEND FORMAT {}{}",
            read.head,
            pipe.as_raw_fd(),
            read.format.as_deref().unwrap_or(default_format),
            read.tail,
        );
        // Not `Null` as the format of the call: the engine rewrites `SHOW` into a `SELECT` that takes
        // it. With `INTO OUTFILE` the call itself returns nothing in any format.
        self.run(&sql, "TabSeparated", parameters)
            .map(|(_, counts)| counts)
    }

    /// Begins an insert whose data is appended piece by piece.
    pub(super) fn insert(
        &mut self,
        insert: &Insert,
        parameters: &[(String, String)],
    ) -> Result<OpenInsert<'_>, Exception> {
        let raw = self.raw.insert(&insert.sql, &insert.format, parameters);
        match raw.error() {
            Some(text) => Err(Exception::from_engine(&text)),
            None => Ok(OpenInsert { raw }),
        }
    }
}

/// An insert that takes data. Dropping it cancels it.
pub(super) struct OpenInsert<'connection> {
    raw: RawInsert<'connection>,
}

impl OpenInsert<'_> {
    /// Hands over the next bytes; blocks while the engine is behind.
    pub(super) fn append(&mut self, data: &[u8]) -> Result<(), Exception> {
        if self.raw.append(data) {
            return Ok(());
        }
        let text = self
            .raw
            .error()
            .unwrap_or_else(|| "the engine took no more data".to_owned());
        Err(Exception::from_engine(&text))
    }

    /// Waits until all is written.
    pub(super) fn finish(self) -> Result<Counts, Exception> {
        let result = self.raw.finish();
        match result.error() {
            Some(text) => Err(Exception::from_engine(&text)),
            None => Ok(result.counts()),
        }
    }

    /// Drops what is not written yet.
    pub(super) fn cancel(self) {
        self.raw.cancel();
    }
}

/// A name in backticks, safe to put into a statement.
pub(super) fn quoted_name(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// A text in quotes, safe to put into a statement.
pub(super) fn quoted_text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
