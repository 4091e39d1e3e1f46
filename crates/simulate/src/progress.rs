//! How far a run has come: one line, for whoever shows it.

use std::fmt;
use std::time::Duration;

use crate::tally::{AnswerTimes, Counts, Tally};

/// Where the line is shown: a terminal, a log.
pub trait Display: fmt::Debug {
    /// Whether a line is due after so long.
    fn is_due(&self, elapsed: Duration) -> bool;
    /// Shows a line in place of the last one.
    fn show(&mut self, elapsed: Duration, text: &str);
    /// Ends the last line.
    fn finish(&mut self);
}

/// Shows how far a run has come, or shows nothing.
#[derive(Debug)]
pub struct Progress(Option<Box<dyn Display>>);

impl Progress {
    pub fn new(display: Option<Box<dyn Display>>) -> Self {
        Self(display)
    }

    /// Shows the counts so far and the answer times since the last call.
    pub fn show(&mut self, elapsed: Duration, tally: &mut Tally, trips: usize) {
        let Some(display) = self.0.as_mut().filter(|display| display.is_due(elapsed)) else {
            return;
        };
        let times = tally.recent.times();
        tally.earlier.take(&mut tally.recent);
        let text = line(elapsed.as_secs(), &tally.counts, times, trips);
        display.show(elapsed, &text);
    }

    /// Ends the line that is being rewritten.
    pub fn finish(&mut self) {
        if let Some(display) = &mut self.0 {
            display.finish();
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
