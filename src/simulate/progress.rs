//! One line a second on standard error: rewritten on a terminal, plain lines every ten seconds elsewhere.

use std::time::Duration;

use crate::progress;
use crate::simulate::tally::{AnswerTimes, Counts, Tally};

/// Between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Shows how far a run has come.
#[derive(Debug)]
pub struct Progress(progress::Progress);

impl Progress {
    /// Shows on standard error, or nowhere.
    pub fn new(is_quiet: bool) -> Self {
        Self(progress::Progress::new(is_quiet, PLAIN_EVERY))
    }

    /// Shows the counts so far and the answer times since the last call.
    pub fn show(&mut self, elapsed: Duration, tally: &mut Tally, trips: usize) {
        if !self.0.is_due(elapsed) {
            return;
        }
        let times = tally.recent.times();
        tally.earlier.take(&mut tally.recent);
        let text = line(elapsed.as_secs(), &tally.counts, times, trips);
        self.0.show(elapsed, &text);
    }

    /// Ends the line that is being rewritten.
    pub fn finish(&mut self) {
        self.0.finish();
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
