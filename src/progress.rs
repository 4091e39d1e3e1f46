//! Shows on standard error how far a task has come: one line that is rewritten on a terminal, plain lines
//! every few seconds elsewhere. A task that takes less than a second shows nothing.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use tillwatch_simulate::Display;

/// Nothing is shown before this time has passed.
const FIRST_AFTER: Duration = Duration::from_secs(1);
/// Between two looks at a terminal's line.
const REWRITE_EVERY: Duration = Duration::from_millis(250);
/// Between two plain lines, where nobody can rewrite one.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Shows lines on standard error.
#[derive(Debug)]
pub struct Progress {
    is_terminal: bool,
    started: Instant,
    shown: Option<Duration>,
    has_open_line: bool,
}

impl Progress {
    /// Begins now.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "it notes the time, which a default should not"
    )]
    pub fn new() -> Self {
        Self {
            is_terminal: std::io::stderr().is_terminal(),
            started: Instant::now(),
            shown: None,
            has_open_line: false,
        }
    }

    /// Whether a line is due after so long.
    #[must_use]
    pub fn is_due(&self, elapsed: Duration) -> bool {
        let every = if self.is_terminal {
            REWRITE_EVERY
        } else {
            PLAIN_EVERY
        };
        let last = self
            .shown
            .unwrap_or_else(|| FIRST_AFTER.saturating_sub(every));
        elapsed >= last + every
    }

    /// Shows a line, whether it is due or not.
    pub fn show(&mut self, elapsed: Duration, text: &str) {
        self.shown = Some(elapsed);
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

    /// Shows how much of how much is done, if a line is due.
    pub fn step(&mut self, what: &str, done: u64, all: u64, unit: &str) {
        let elapsed = self.started.elapsed();
        if self.is_due(elapsed) {
            let text = line(what, done, all, unit, elapsed);
            self.show(elapsed, &text);
        }
    }

    /// Ends the line that is being rewritten.
    pub fn finish(&mut self) {
        if std::mem::take(&mut self.has_open_line) {
            let _ = writeln!(std::io::stderr());
        }
    }
}

impl Display for Progress {
    fn is_due(&self, elapsed: Duration) -> bool {
        self.is_due(elapsed)
    }

    fn show(&mut self, elapsed: Duration, text: &str) {
        self.show(elapsed, text);
    }

    fn finish(&mut self) {
        self.finish();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn line(what: &str, done: u64, all: u64, unit: &str, elapsed: Duration) -> String {
    let percent = (u128::from(done) * 100)
        .checked_div(u128::from(all))
        .unwrap_or(100);
    format!(
        "{what}: {done} of {all} {unit} ({percent} %), {} s",
        elapsed.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quick_says_nothing_and_lines_are_apart() {
        let mut progress = Progress::new();
        progress.is_terminal = false;
        assert!(!progress.is_due(Duration::from_millis(9_900)));
        assert!(progress.is_due(Duration::from_secs(10)));
        progress.show(Duration::from_secs(10), "x");
        assert!(!progress.is_due(Duration::from_secs(19)));
        assert!(progress.is_due(Duration::from_secs(20)));
        progress.is_terminal = true;
        progress.shown = None;
        assert!(!progress.is_due(Duration::from_millis(900)));
        assert!(progress.is_due(Duration::from_secs(1)));
    }

    #[test]
    fn a_line_says_how_much_is_done() {
        let text = line("backup", 1, 3, "MB", Duration::from_secs(7));
        assert_eq!(text, "backup: 1 of 3 MB (33 %), 7 s");
        assert_eq!(
            line("x", 0, 0, "files", Duration::ZERO),
            "x: 0 of 0 files (100 %), 0 s"
        );
    }
}
