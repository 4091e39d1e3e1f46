//! One line a second on standard error: rewritten on a terminal, plain lines every ten seconds elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use crate::simulate::tally::{AnswerTimes, Counts, Tally};

/// Seconds between two plain lines.
const PLAIN_EVERY_SECS: u64 = 10;

/// Shows how far a run has come.
#[derive(Debug)]
pub struct Progress {
    is_quiet: bool,
    is_terminal: bool,
    plain_shown_secs: u64,
    has_open_line: bool,
}

impl Progress {
    /// Shows on standard error, or nowhere.
    pub fn new(is_quiet: bool) -> Self {
        Self {
            is_quiet,
            is_terminal: std::io::stderr().is_terminal(),
            plain_shown_secs: 0,
            has_open_line: false,
        }
    }

    /// Shows the counts so far and the answer times since the last call.
    pub fn show(&mut self, elapsed: Duration, tally: &mut Tally, trips: usize) {
        let secs = elapsed.as_secs();
        let is_due = self.is_terminal || secs >= self.plain_shown_secs + PLAIN_EVERY_SECS;
        if !is_due {
            return;
        }
        let times = tally.recent.times();
        tally.earlier.take(&mut tally.recent);
        if self.is_quiet {
            return;
        }
        self.plain_shown_secs = secs;
        let text = line(secs, &tally.counts, times, trips);
        let mut stderr = std::io::stderr().lock();
        // Nobody may be reading; that is no reason to stop.
        if self.is_terminal {
            let _ = write!(stderr, "\r\x1b[K{text}");
            let _ = stderr.flush();
            self.has_open_line = true;
        } else {
            let _ = writeln!(stderr, "{text}");
        }
    }

    /// Ends the line that is being rewritten.
    pub fn finish(&mut self) {
        if std::mem::take(&mut self.has_open_line) {
            let _ = writeln!(std::io::stderr());
        }
    }
}

fn line(secs: u64, counts: &Counts, times: AnswerTimes, trips: usize) -> String {
    format!(
        "{:02}:{:02}:{:02} sent {} acknowledged {} of {} batches, retried {}, duplicates {}, deferred {}, \
         errors {}, under way {trips}; answers p50 {:.1} ms p99 {:.1} ms",
        secs / 3_600,
        secs / 60 % 60,
        secs % 60,
        counts.attempts,
        counts.batches_acknowledged,
        counts.batches_made,
        counts.retries,
        counts.answered_duplicate,
        counts.deferred(),
        counts.errors(),
        times.p50_ms,
        times.p99_ms,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_happened() {
        let counts = Counts {
            attempts: 12,
            batches_made: 11,
            batches_acknowledged: 10,
            unavailable: 2,
            ..Counts::default()
        };
        let text = line(3_725, &counts, AnswerTimes::default(), 3);
        assert!(
            text.starts_with("01:02:05 sent 12 acknowledged 10 of 11 batches"),
            "{text}"
        );
        assert!(text.contains("deferred 2, errors 0, under way 3"), "{text}");
    }
}
