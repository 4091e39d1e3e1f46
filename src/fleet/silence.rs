//! Which terminals should report and do not.

use std::sync::Arc;
use std::time::Duration;

use tillwatch_model::EventKind;
use tillwatch_model::time::{DAY_MS, HOUR_MS, MINUTE_MS, millis};

use crate::aggregate::terminals::{StoreTerminals, Terminal};
use crate::fleet::readiness::{QUARTER_MS, Readiness, Ready};

/// The level of transactions that wait in a terminal.
pub const PENDING: &str = "pending_transactions";
/// A terminal that posted within this time is reporting.
pub const REPORTING_MS: i64 = 10 * MINUTE_MS;
/// Terminals back off for up to five minutes: after a start of the collector they get this long to come back.
const COME_BACK_MS: i64 = 20 * MINUTE_MS;
/// What a terminal reported of its state counts as its last word if nothing else came later than this.
const LAST_WORD_MS: i64 = 15 * MINUTE_MS;
/// How long a terminal that said that it goes offline is believed.
const OFFLINE_MS: i64 = DAY_MS;
/// After this, transactions that wait in a silent terminal are a matter for a person.
const WITH_SALES_MS: i64 = DAY_MS;

/// How a terminal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It has reported lately, or need not report now.
    Reporting,
    /// It does not report, as it said before.
    Announced,
    /// It should report, and does not.
    Silent,
    /// Its store was retired.
    Gone,
}

impl State {
    /// The state's name in answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reporting => "reporting",
            Self::Announced => "offline_as_announced",
            Self::Silent => "silent",
            Self::Gone => "gone",
        }
    }
}

/// What terminals are judged by, at any time.
#[derive(Debug, Default)]
pub struct Watch {
    /// When the collector was ready.
    pub readiness: Readiness,
    /// How long a terminal that should report may be silent.
    pub after: Duration,
    /// Where the level of transactions that wait stands, among a terminal's levels.
    pub pending: Option<usize>,
}

impl Watch {
    /// What terminals are judged by at `now_ms`.
    #[must_use]
    pub fn at(&self, now_ms: i64) -> Silence {
        Silence {
            now_ms,
            ready: self.readiness.look(),
            after: self.after,
            pending: self.pending,
        }
    }
}

/// What terminals are judged by now.
#[derive(Debug, Clone)]
pub struct Silence {
    /// Now, Unix ms.
    pub now_ms: i64,
    /// When the collector was ready.
    pub ready: Arc<Ready>,
    /// How long a terminal that should report may be silent.
    pub after: Duration,
    /// Where the level of transactions that wait stands, among a terminal's levels.
    pub pending: Option<usize>,
}

/// A terminal, judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// How the terminal stands.
    pub state: State,
    /// How long the terminal should have reported and did not, while the collector was ready. Unit: ms.
    pub missed_ms: i64,
    /// Transactions that waited when it last said.
    pub pending: u64,
}

/// The terminals of a store, judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OfStore {
    /// Silent terminals, of a store that is not silent itself.
    pub silent: u64,
    /// Those, also of a silent store, in which transactions have waited for a day.
    pub with_sales: u64,
    /// Whether a terminal of the store has reported lately.
    pub is_reporting: bool,
}

impl Silence {
    /// Judges a terminal.
    #[must_use]
    pub fn judge(&self, terminal: &Terminal) -> Judged {
        let pending = self.pending.and_then(|at| terminal.levels.get(at));
        let judged = |state, missed_ms| Judged {
            state,
            missed_ms,
            pending: pending.copied().flatten().map_or(0, |last| last.value),
        };
        if terminal.is_retired {
            return judged(State::Gone, 0);
        }
        if self.now_ms - terminal.last_seen_ms <= self.after_ms() || terminal.habit.is_empty() {
            return judged(State::Reporting, 0);
        }
        let missed_ms = self.missed_since(terminal, terminal.last_seen_ms);
        if missed_ms <= self.after_ms() {
            return judged(State::Reporting, missed_ms);
        }
        if self.missed_since(terminal, self.believed_until(terminal)) <= self.after_ms() {
            return judged(State::Announced, missed_ms);
        }
        if !self.has_been_ready() {
            return judged(State::Reporting, missed_ms);
        }
        judged(State::Silent, missed_ms)
    }

    /// Judges the terminals of a store, and gives each to `each`.
    pub fn judge_store<'t>(
        &self,
        store: &'t StoreTerminals,
        mut each: impl FnMut(&'t str, &'t Terminal, Judged),
    ) -> OfStore {
        let mut of_store = OfStore::default();
        for (terminal_id, terminal) in store.iter() {
            let judged = self.judge(terminal);
            of_store.is_reporting |= self.is_reporting(terminal);
            of_store.silent += u64::from(judged.state == State::Silent);
            of_store.with_sales += u64::from(self.holds_sales(terminal, judged));
            each(terminal_id, terminal, judged);
        }
        if !of_store.is_reporting {
            of_store.silent = 0;
        }
        of_store
    }

    /// Whether the terminal posted lately.
    #[must_use]
    pub fn is_reporting(&self, terminal: &Terminal) -> bool {
        let within_ms = REPORTING_MS.min(self.after_ms());
        !terminal.is_retired && self.now_ms - terminal.last_seen_ms <= within_ms
    }

    /// Whether transactions wait in a terminal that has been silent for a day: they exist nowhere else.
    fn holds_sales(&self, terminal: &Terminal, judged: Judged) -> bool {
        let is_away = matches!(judged.state, State::Silent | State::Announced);
        is_away && judged.pending > 0 && self.now_ms - terminal.last_seen_ms >= WITH_SALES_MS
    }

    fn after_ms(&self) -> i64 {
        millis(self.after)
    }

    fn has_been_ready(&self) -> bool {
        let since_ms = self.ready.since_ms();
        since_ms.is_some_and(|since_ms| self.now_ms - since_ms >= COME_BACK_MS.min(self.after_ms()))
    }

    /// How long since `from_ms` the terminal should have reported, while the collector was ready. Unit: ms.
    fn missed_since(&self, terminal: &Terminal, from_ms: i64) -> i64 {
        let first = from_ms.div_euclid(QUARTER_MS).max(self.ready.first());
        let last = self.now_ms.div_euclid(QUARTER_MS);
        let missed = |quarter: i64| {
            let behind_ms = ((quarter + 1) * QUARTER_MS).min(self.now_ms) - from_ms;
            let behind_ms = behind_ms.max(0);
            if is_due(terminal, quarter) {
                self.ready.in_quarter(quarter).min(behind_ms)
            } else {
                0
            }
        };
        (first..=last).map(missed).sum()
    }

    /// Until when the terminal need not report, because of what it said last.
    ///
    /// One that lost its connection, and knew it, may be without for a day. One that ended, or whose battery was low, is
    /// expected again when its hours begin anew.
    fn believed_until(&self, terminal: &Terminal) -> i64 {
        let last_ms = terminal.last_seen_ms;
        let said = terminal
            .said
            .filter(|said| said.t_ms >= last_ms - LAST_WORD_MS);
        match said.map(|said| (said.kind, said.t_ms)) {
            Some((EventKind::Offline, t_ms)) => last_ms.max(t_ms) + OFFLINE_MS,
            Some((EventKind::Shutdown | EventKind::Battery, t_ms)) => {
                let first = last_ms.max(t_ms).div_euclid(QUARTER_MS);
                let mut quarters = first..=self.now_ms.div_euclid(QUARTER_MS);
                let closed = quarters.find(|quarter| !is_due(terminal, *quarter));
                closed.map_or(self.now_ms, |quarter| quarter * QUARTER_MS)
            }
            _ => last_ms,
        }
    }
}

/// Whether the terminal should report in a quarter of an hour.
fn is_due(terminal: &Terminal, quarter: i64) -> bool {
    let hour = u32::try_from(quarter * QUARTER_MS / HOUR_MS);
    hour.is_ok_and(|hour| terminal.habit.is_due(hour))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::terminals::{LastValue, Said};
    use crate::fleet::Readiness;

    /// A Monday, by the weeks of 168 hours since 1970 as well as any day.
    const MONDAY_MS: i64 = 20_412 * DAY_MS;
    const AFTER: Duration = Duration::from_secs(3_600);

    fn on_monday(hour: i64, minute: i64) -> i64 {
        MONDAY_MS + hour * HOUR_MS + minute * MINUTE_MS
    }

    /// Reported from nine to eighteen on each of the fourteen days before, and at nine today.
    fn terminal(last_seen_ms: i64) -> Terminal {
        let mut terminal = Terminal::default();
        terminal.last_seen_ms = last_seen_ms;
        for day in 1..=14 {
            for hour in 9..18 {
                terminal.habit.note(on_monday(hour, 0) - day * DAY_MS);
            }
        }
        terminal
    }

    /// As of a time, with a collector that was ready but from one time to another.
    fn silence(now_ms: i64, away_ms: std::ops::Range<i64>) -> Silence {
        let readiness = Readiness::default();
        let start_ms = now_ms - 8 * DAY_MS;
        for t_ms in (start_ms..=now_ms).step_by(60_000) {
            readiness.note(t_ms, 60_000, !away_ms.contains(&t_ms));
        }
        Silence {
            now_ms,
            ready: readiness.look(),
            after: AFTER,
            pending: Some(0),
        }
    }

    fn state(now_ms: i64, terminal: &Terminal) -> State {
        silence(now_ms, 0..0).judge(terminal).state
    }

    #[test]
    fn a_terminal_is_silent_an_hour_after_it_should_have_reported() {
        let dead = terminal(on_monday(11, 20));
        assert_eq!(state(on_monday(12, 20), &dead), State::Reporting);
        assert_eq!(state(on_monday(12, 22), &dead), State::Silent);
        // It ended in the evening as always: the last hour does not count, nor does the night, nor the first hour.
        let closed = terminal(on_monday(17, 10) - DAY_MS);
        assert_eq!(state(on_monday(10, 58), &closed), State::Reporting);
        assert_eq!(state(on_monday(11, 2), &closed), State::Silent);
        // Of one that is new nothing is expected.
        let mut new = Terminal::default();
        new.last_seen_ms = on_monday(9, 0);
        new.habit.note(on_monday(9, 0));
        assert_eq!(state(on_monday(17, 0), &new), State::Reporting);
    }

    #[test]
    fn only_time_counts_in_which_the_collector_was_ready() {
        let dead = terminal(on_monday(11, 0));
        let away = on_monday(11, 10)..on_monday(13, 0);
        let judge = |now_ms| silence(now_ms, away.clone()).judge(&dead);
        // Ten minutes before, and fifty after.
        assert_eq!(judge(on_monday(13, 48)).state, State::Reporting);
        assert_eq!(judge(on_monday(13, 52)).state, State::Silent);
        // One that was silent before gets time to come back, too.
        let dead = terminal(on_monday(9, 30));
        let judge = |now_ms| silence(now_ms, away.clone()).judge(&dead);
        assert_eq!(judge(on_monday(11, 8)).state, State::Silent);
        assert_eq!(judge(on_monday(13, 10)).state, State::Reporting);
        assert_eq!(judge(on_monday(13, 25)).state, State::Silent);
        // Not ready now: nobody is silent.
        let silence = silence(on_monday(15, 0), on_monday(14, 0)..i64::MAX);
        assert_eq!(silence.judge(&dead).state, State::Reporting);
    }

    #[test]
    fn what_a_terminal_said_last_is_believed_for_a_while() {
        let mut away = terminal(on_monday(11, 20));
        let say = |away: &mut Terminal, kind, t_ms| away.said = Some(Said { kind, t_ms });
        say(&mut away, EventKind::Offline, on_monday(11, 19));
        assert_eq!(state(on_monday(15, 0), &away), State::Announced);
        // A day later it is due again; an hour of it is missed at twenty past twelve.
        assert_eq!(state(on_monday(36, 10), &away), State::Announced);
        assert_eq!(state(on_monday(36, 30), &away), State::Silent);
        // The end of a page is believed until the hours begin anew.
        say(&mut away, EventKind::Shutdown, on_monday(11, 19));
        assert_eq!(state(on_monday(17, 0), &away), State::Announced);
        assert_eq!(state(on_monday(34, 50), &away), State::Announced);
        assert_eq!(state(on_monday(35, 10), &away), State::Silent);
        // It came back, or said more after that.
        say(&mut away, EventKind::Online, on_monday(11, 19));
        assert_eq!(state(on_monday(15, 0), &away), State::Silent);
        say(&mut away, EventKind::Offline, on_monday(10, 0));
        assert_eq!(state(on_monday(15, 0), &away), State::Silent);
    }

    #[test]
    fn sales_that_wait_in_a_silent_terminal_are_told_of_after_a_day() {
        let mut dead = terminal(on_monday(11, 20));
        let pending = |value| {
            Some(LastValue {
                t_ms: on_monday(11, 19),
                t_raw_ms: on_monday(11, 19),
                value,
            })
        };
        dead.levels = vec![pending(3)];
        let holds = |now_ms, dead: &Terminal| {
            let silence = silence(now_ms, 0..0);
            silence.holds_sales(dead, silence.judge(dead))
        };
        assert!(!holds(on_monday(17, 0), &dead));
        assert!(holds(on_monday(35, 30), &dead));
        dead.levels = vec![pending(0)];
        assert!(!holds(on_monday(35, 30), &dead));
        dead.levels = vec![pending(3)];
        dead.retire();
        assert!(!holds(on_monday(35, 30), &dead));
        assert_eq!(state(on_monday(35, 30), &dead), State::Gone);
    }
}
