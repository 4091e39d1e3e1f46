//! `pseudonym`: what a session id is called in the tables, for whoever has the data folder.

use std::io::{BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use tillwatch_model::SessionKey;

use crate::cli::{Failure, Outcome, complain, say};
use crate::persist::session_keys::KeyOfDay;
use crate::pipeline;
use crate::world::World;

/// The longest line that is read; an id that a terminal posts is never longer than its body.
const LINE_BYTES_MAX: u64 = 2 * 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct Pseudonym {
    /// Day (UTC) of the first sample of the session's batches: its key is used.
    #[arg(long, value_name = "YYYY-MM-DD")]
    day: jiff::civil::Date,
    /// Data folder of the collector, which may be running.
    #[arg(
        long,
        env = "TILLWATCH_DATA_DIR",
        default_value = "tillwatch-data",
        value_name = "DIR"
    )]
    data_dir: PathBuf,
    /// Session ids. Without any they are read from standard input, one a line: there nobody sees them in
    /// the list of processes or in the shell's history.
    #[arg(value_name = "SESSION_ID")]
    session_ids: Vec<String>,
}

impl Pseudonym {
    pub(super) fn run(self) -> Outcome {
        let key = key_of(&self.data_dir, self.day)?;
        for session_id in &self.session_ids {
            say(&key.pseudonym(session_id).to_string());
        }
        if self.session_ids.is_empty() {
            let mut input = std::io::stdin().lock();
            if input.is_terminal() {
                complain("Session ids, one a line; end with Ctrl-D:");
            }
            while let Some(session_id) = next_line(&mut input)? {
                if session_id.is_empty() {
                    continue;
                }
                say(&key.pseudonym(&session_id).to_string());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn key_of(data_dir: &Path, date: jiff::civil::Date) -> Result<SessionKey, Failure> {
    if !data_dir.join("state.sqlite").exists() {
        return Err(Failure(format!(
            "there is no state file in {}",
            data_dir.display()
        )));
    }
    let state = pipeline::open_state(data_dir, &World::of_machine())
        .map_err(|error| Failure::of(&error))?;
    let days = date.since(jiff::civil::date(1970, 1, 1));
    let days = days.map_err(|error| Failure::of(&error))?.get_days();
    match state
        .find_session_key(days)
        .map_err(|error| Failure::of(&error))?
    {
        KeyOfDay::Kept(key) => Ok(SessionKey::new(&key)),
        KeyOfDay::Destroyed => Err(Failure(format!(
            "the key of {date} has been destroyed, as all keys are after 90 days: no session of that day can be found any more"
        ))),
        KeyOfDay::NeverMade => Err(Failure(format!(
            "there has never been a key of {date}: this collector has met no session of that day"
        ))),
    }
}

/// The next line without its end; none at the end of the input.
fn next_line(input: &mut impl BufRead) -> Result<Option<String>, Failure> {
    let mut line = String::new();
    let mut limited = input.by_ref().take(LINE_BYTES_MAX);
    let read = limited.read_line(&mut line);
    if read.map_err(|error| Failure::of(&error))? == 0 {
        return Ok(None);
    }
    if line.len() as u64 == LINE_BYTES_MAX && !line.ends_with('\n') {
        return Err(Failure(format!(
            "a line has over {LINE_BYTES_MAX} bytes: it is no session id"
        )));
    }
    let text = line.strip_suffix('\n').unwrap_or(&line);
    Ok(Some(text.strip_suffix('\r').unwrap_or(text).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_id_whatever_ends_it() {
        let mut input = "a b\r\n\nlast".as_bytes();
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut input).unwrap() {
            lines.push(line);
        }
        assert_eq!(lines, ["a b", "", "last"]);
        let long = vec![b'x'; usize::try_from(LINE_BYTES_MAX).unwrap() + 1];
        assert!(next_line(&mut long.as_slice()).is_err());
    }
}
