//! Which terminals should report and do not.

use std::sync::Arc;
use std::time::Duration;

use tillwatch_model::time::{DAY_MS, HOUR_MS, MINUTE_MS, millis};

use tillwatch_model::EventKind;

use crate::aggregate::terminals::{StoreTerminals, Terminal, TerminalRef};
use crate::fleet::expected::{Expected, Heard};
use crate::fleet::inventory::Inventory;
use crate::fleet::readiness::{QUARTER_MS, Readiness, Ready};

/// The level of transactions that wait in a terminal.
pub const PENDING: &str = "pending_transactions";
/// A terminal that posted within this time is reporting.
pub const REPORTING_MS: i64 = 10 * MINUTE_MS;
/// Terminals back off for up to five minutes: after a start of the collector they get this long to come back.
const COME_BACK_MS: i64 = 20 * MINUTE_MS;
/// What a terminal reported of its state counts as its last word if nothing else came later than this.
const LAST_WORD_MS: i64 = 15 * MINUTE_MS;
/// Quarters of an hour.
const QUARTERS_AN_HOUR: i64 = HOUR_MS / QUARTER_MS;
/// A terminal that has been silent for longer before, in hours in which it should report, gets that long again, up to
/// this. Unit: hours.
const LONGER_BEFORE_MAX: u32 = 16;
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
    /// Which terminals exist, if somebody says so.
    pub inventory: Option<Arc<Inventory>>,
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
            inventory: self.inventory.clone(),
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
    /// Which terminals exist, if somebody says so.
    pub inventory: Option<Arc<Inventory>>,
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
    /// Judges a terminal of a store that was heard in these hours.
    #[must_use]
    pub fn judge(&self, who: TerminalRef<'_>, terminal: &Terminal, heard: &Heard) -> Judged {
        let judged = self.judge_lightly(who, terminal, heard);
        // Of a store of which it does not matter when it was heard, this does not matter either.
        let is_asked = judged.state == State::Silent && heard.0.is_some();
        let by_habit = matches!(self.expected(who, terminal), Expected::Habit(_));
        let is_used_to_it = is_asked && by_habit && {
            let hour = hour_of(terminal.last_seen_ms);
            let before = terminal
                .habit
                .longest_missed(hour, |hour| heard.in_hour(hour));
            let before = before.min(LONGER_BEFORE_MAX);
            judged.missed_ms <= i64::from(before) * HOUR_MS + self.after_ms()
        };
        Judged {
            state: if is_used_to_it {
                State::Reporting
            } else {
                judged.state
            },
            ..judged
        }
    }

    /// Judges a terminal without a look at how long it has been silent before.
    fn judge_lightly(&self, who: TerminalRef<'_>, terminal: &Terminal, heard: &Heard) -> Judged {
        let judged = |state, missed_ms| Judged {
            state,
            missed_ms,
            pending: self.pending(terminal),
        };
        if terminal.is_retired {
            return judged(State::Gone, 0);
        }
        let last_ms = terminal.last_seen_ms;
        if self.now_ms - last_ms <= self.after_ms() {
            return judged(State::Reporting, 0);
        }
        let expected = self.expected(who, terminal);
        let missed_ms = self.missed_since(expected, last_ms, heard);
        if missed_ms <= self.after_ms() {
            return judged(State::Reporting, missed_ms);
        }
        let believed_ms = self.believed_until(terminal, expected);
        if believed_ms > last_ms
            && self.missed_since(expected, believed_ms, heard) <= self.after_ms()
        {
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
        let (counted, heard) = (self.count_store(store), self.heard_of(store));
        for (terminal_id, terminal) in store.iter() {
            let who = who(store, terminal_id);
            each(terminal_id, terminal, self.judge(who, terminal, &heard));
        }
        counted
    }

    /// In which hours a store was heard. Of one that is silent itself it does not matter: its terminals are listed, and
    /// nobody is told of each.
    #[must_use]
    pub fn heard_of(&self, store: &StoreTerminals) -> Heard {
        if self.does_report(store) {
            self.heard(store)
        } else {
            Heard::always()
        }
    }

    /// Counts the terminals of a store. At night, when all stores are closed, that takes a look at each terminal and no
    /// more.
    #[must_use]
    pub fn count_store(&self, store: &StoreTerminals) -> OfStore {
        let is_reporting = self.does_report(store);
        let silent = if is_reporting {
            let heard = self.heard(store);
            let judge = |id, one| self.judge(who(store, id), one, &heard).state;
            let silent = store
                .iter()
                .filter(|(id, one)| judge(id, one) == State::Silent);
            silent.count() + self.never_heard(store).len()
        } else {
            0
        };
        let with_sales = store.iter();
        let with_sales = with_sales.filter(|(id, one)| self.holds_sales(who(store, id), one));
        OfStore {
            silent: silent as u64,
            with_sales: with_sales.count() as u64,
            is_reporting,
        }
    }

    /// Whether nothing comes of a store that should report: no terminal of it reports, and one of them is silent, or is
    /// used to report in this hour and posted within the last day. Of terminals that are not known for a week, that they
    /// posted within the last day is enough.
    #[must_use]
    pub fn is_store_silent(&self, store: &StoreTerminals) -> bool {
        if self.does_report(store) || !self.has_been_ready() {
            return false;
        }
        let hour = hour_of(self.now_ms);
        store.iter().any(|(id, one)| {
            if one.is_synthetic || one.is_retired {
                return false;
            }
            let who = who(store, id);
            let expected = self.expected(who, one);
            let is_due = match expected {
                Expected::Habit(habit) => habit.expects(hour).is_none() || habit.is_due(hour),
                other => other.is_due(hour),
            };
            let is_recent = self.now_ms - one.last_seen_ms <= DAY_MS;
            let is_believed = self.believed_until(one, expected) > self.now_ms;
            (is_due && is_recent && !is_believed)
                || self.judge_lightly(who, one, &Heard::always()).state == State::Silent
        })
    }

    /// Whether transactions wait in a terminal that has been silent for a day, whatever its store does: they exist
    /// nowhere else.
    fn holds_sales(&self, who: TerminalRef<'_>, terminal: &Terminal) -> bool {
        if self.now_ms - terminal.last_seen_ms < WITH_SALES_MS || self.pending(terminal) == 0 {
            return false;
        }
        let judged = self.judge_lightly(who, terminal, &Heard::always());
        matches!(judged.state, State::Silent | State::Announced)
    }

    /// Terminals of a store that are listed and have not been heard of since terminals were forgotten last, although the
    /// store has; and how long each should have reported. Unit: ms.
    #[must_use]
    pub fn never_heard(&self, store: &StoreTerminals) -> Vec<(&str, i64)> {
        let Some(inventory) = &self.inventory else {
            return Vec::new();
        };
        let is_reporting = self.does_report(store);
        let listed = inventory.of_store(store.store_id());
        let mut unknown = listed.filter(|(id, _)| store.get(id).is_none()).peekable();
        if !is_reporting || !self.has_been_ready() || unknown.peek().is_none() {
            return Vec::new();
        }
        let heard = Heard::of(store);
        let missed = unknown.filter_map(|(id, opening)| {
            let expected = opening.map_or(Expected::Always, Expected::Opening);
            let missed_ms = self.missed_since(expected, 0, &heard);
            (missed_ms > self.after_ms()).then_some((id, missed_ms))
        });
        missed.collect()
    }

    /// When a terminal should report.
    fn expected<'a>(&'a self, who: TerminalRef<'_>, terminal: &'a Terminal) -> Expected<'a> {
        match self.inventory.as_ref().map(|inventory| inventory.find(who)) {
            None | Some(Some(None)) => Expected::Habit(&terminal.habit),
            Some(Some(Some(opening))) => Expected::Opening(opening),
            Some(None) => Expected::Never,
        }
    }

    fn pending(&self, terminal: &Terminal) -> u64 {
        let pending = self.pending.and_then(|at| terminal.levels.get(at));
        pending.copied().flatten().map_or(0, |last| last.value)
    }

    /// In which hours a terminal of the store reported. Of others nobody knows whether the store was open: it may have
    /// been a holiday, or its line was down.
    fn heard(&self, store: &StoreTerminals) -> Heard {
        let is_asked = |terminal: &Terminal| {
            !terminal.is_retired && self.now_ms - terminal.last_seen_ms > self.after_ms()
        };
        if store.iter().any(|(_, terminal)| is_asked(terminal)) {
            Heard::of(store)
        } else {
            Heard(Some(Box::default()))
        }
    }

    /// Whether a terminal of the store posted lately: a probe says nothing of whether the store is open.
    fn does_report(&self, store: &StoreTerminals) -> bool {
        let mut terminals = store.iter();
        terminals.any(|(_, one)| !one.is_synthetic && self.is_reporting(one))
    }

    /// Whether the terminal posted lately.
    #[must_use]
    pub fn is_reporting(&self, terminal: &Terminal) -> bool {
        let within_ms = REPORTING_MS.min(self.after_ms());
        !terminal.is_retired && self.now_ms - terminal.last_seen_ms <= within_ms
    }

    fn after_ms(&self) -> i64 {
        millis(self.after)
    }

    fn has_been_ready(&self) -> bool {
        let since_ms = self.ready.since_ms();
        since_ms.is_some_and(|since_ms| self.now_ms - since_ms >= COME_BACK_MS.min(self.after_ms()))
    }

    /// How long since `from_ms` the terminal should have reported, while the collector was ready and its store was
    /// heard. Unit: ms.
    fn missed_since(&self, expected: Expected<'_>, from_ms: i64, heard: &Heard) -> i64 {
        let first = hour_of(from_ms.max(self.ready.first() * QUARTER_MS));
        let missed = |hour: u32| {
            if !(heard.in_hour(hour) && expected.is_due(hour)) {
                return 0;
            }
            let quarters =
                i64::from(hour) * QUARTERS_AN_HOUR..(i64::from(hour) + 1) * QUARTERS_AN_HOUR;
            let in_quarter = |quarter: i64| {
                let behind_ms = ((quarter + 1) * QUARTER_MS).min(self.now_ms) - from_ms;
                self.ready.in_quarter(quarter).min(behind_ms.max(0))
            };
            quarters.map(in_quarter).sum::<i64>()
        };
        (first..=hour_of(self.now_ms)).map(missed).sum()
    }

    /// Until when the terminal need not report, because of what it said last.
    ///
    /// One that lost its connection, and knew it, may be without for a day. One that ended, or whose battery was low, is
    /// expected again when its hours begin anew.
    fn believed_until(&self, terminal: &Terminal, expected: Expected<'_>) -> i64 {
        let last_ms = terminal.last_seen_ms;
        let said = terminal
            .said
            .filter(|said| said.t_ms >= last_ms - LAST_WORD_MS);
        match said.map(|said| (said.kind, said.t_ms)) {
            Some((EventKind::Offline, t_ms)) => last_ms.max(t_ms) + OFFLINE_MS,
            Some((EventKind::Shutdown | EventKind::Battery, t_ms)) => {
                let mut hours = hour_of(last_ms.max(t_ms))..=hour_of(self.now_ms);
                let closed = hours.find(|hour| !expected.is_due(*hour));
                closed.map_or(self.now_ms, |hour| i64::from(hour) * HOUR_MS)
            }
            _ => last_ms,
        }
    }
}

fn who<'s>(store: &'s StoreTerminals, terminal_id: &'s str) -> TerminalRef<'s> {
    TerminalRef {
        store_id: store.store_id(),
        terminal_id,
    }
}

/// The hour that holds a time, since 1970.
fn hour_of(t_ms: i64) -> u32 {
    u32::try_from(t_ms.div_euclid(HOUR_MS)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use tillwatch_model::Habit;

    use super::*;
    use crate::aggregate::terminals::{LastValue, Said};
    use crate::fleet::Readiness;

    const MONDAY_MS: i64 = 20_416 * DAY_MS;
    const AFTER: Duration = Duration::from_secs(3_600);
    const TILL: TerminalRef<'static> = TerminalRef {
        store_id: "store-1",
        terminal_id: "till-1",
    };

    fn on_monday(hour: i64, minute: i64) -> i64 {
        MONDAY_MS + hour * HOUR_MS + minute * MINUTE_MS
    }

    /// The hour of a Monday's time; before that Monday, none.
    fn hour_of_day(t_ms: i64) -> i64 {
        (t_ms - MONDAY_MS).div_euclid(HOUR_MS)
    }

    /// Reported from nine to eighteen on each of the fourteen days before, and at nine today.
    fn terminal(last_seen_ms: i64) -> Terminal {
        let mut terminal = Terminal::default();
        terminal.last_seen_ms = last_seen_ms;
        let today = (9..=hour_of_day(last_seen_ms)).map(|hour| (0, hour));
        let before = (1..=14).flat_map(|day| (9..18).map(move |hour| (day, hour)));
        for (day, hour) in before.chain(today) {
            let t_ms = on_monday(hour, 0) - day * DAY_MS;
            terminal.habit.note(t_ms, t_ms);
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
            inventory: None,
        }
    }

    fn state(now_ms: i64, terminal: &Terminal) -> State {
        silence(now_ms, 0..0)
            .judge(TILL, terminal, &Heard::always())
            .state
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
        new.habit.note(on_monday(9, 0), on_monday(9, 0));
        assert_eq!(state(on_monday(17, 0), &new), State::Reporting);
    }

    #[test]
    fn only_time_counts_in_which_the_collector_was_ready() {
        let dead = terminal(on_monday(11, 0));
        let away = on_monday(11, 10)..on_monday(13, 0);
        let judge = |now_ms| silence(now_ms, away.clone()).judge(TILL, &dead, &Heard::always());
        // Ten minutes before, and fifty after.
        assert_eq!(judge(on_monday(13, 48)).state, State::Reporting);
        assert_eq!(judge(on_monday(13, 52)).state, State::Silent);
        // One that was silent before gets time to come back, too.
        let dead = terminal(on_monday(9, 30));
        let judge = |now_ms| silence(now_ms, away.clone()).judge(TILL, &dead, &Heard::always());
        assert_eq!(judge(on_monday(11, 8)).state, State::Silent);
        assert_eq!(judge(on_monday(13, 10)).state, State::Reporting);
        assert_eq!(judge(on_monday(13, 25)).state, State::Silent);
        // Not ready now: nobody is silent.
        let silence = silence(on_monday(15, 0), on_monday(14, 0)..i64::MAX);
        let judged = silence.judge(TILL, &dead, &Heard::always());
        assert_eq!(judged.state, State::Reporting);
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
    fn hours_in_which_nobody_of_the_store_was_heard_count_for_nobody() {
        // The shop was closed all Monday, and opens on Tuesday: only Tuesday counts.
        let dead = terminal(on_monday(-7, 10));
        let mut hours = Habit::default();
        (33..45).for_each(|hour| hours.note(on_monday(hour, 0), on_monday(hour, 0)));
        let opened = Heard(Some(Box::new(hours)));
        let judge = |now_ms| silence(now_ms, 0..0).judge(TILL, &dead, &opened).state;
        assert_eq!(judge(on_monday(33, 5)), State::Reporting);
        assert_eq!(judge(on_monday(34, 58)), State::Reporting);
        assert_eq!(judge(on_monday(35, 2)), State::Silent);
    }

    #[test]
    fn opening_hours_stand_in_for_the_habit_and_who_is_not_listed_is_not_judged() {
        let text =
            b"store_id,terminal_id,opening_hours,time_zone\nstore-1,till-1,Mo-Fr 12:00-20:00,UTC\n";
        let inventory = Some(Arc::new(Inventory::parse(text).unwrap()));
        // Without a habit, and with one that begins at nine.
        let mut new = Terminal::default();
        new.last_seen_ms = on_monday(9, 30);
        for till in [new, terminal(on_monday(9, 30))] {
            let judge = |now_ms, who| {
                let silence = Silence {
                    inventory: inventory.clone(),
                    ..silence(now_ms, 0..0)
                };
                silence.judge(who, &till, &Heard::always()).state
            };
            assert_eq!(judge(on_monday(13, 0), TILL), State::Reporting);
            assert_eq!(judge(on_monday(13, 58), TILL), State::Reporting);
            assert_eq!(judge(on_monday(14, 2), TILL), State::Silent);
            let stray = TerminalRef {
                terminal_id: "stray",
                ..TILL
            };
            assert_eq!(judge(on_monday(19, 0), stray), State::Reporting);
        }
    }

    #[test]
    fn a_till_that_is_not_used_on_some_days_is_silent_when_it_is_longer_than_before() {
        let mut till = terminal(on_monday(9, 30));
        assert_eq!(state(on_monday(12, 0), &till), State::Silent);
        // It was not used on a Wednesday: seven inner hours.
        till.habit = Habit::default();
        for day in (1..=28).filter(|day| *day != 5) {
            for hour in 9..18 {
                let t_ms = on_monday(hour, 0) - day * DAY_MS;
                till.habit.note(t_ms, t_ms);
            }
        }
        // Others of its store reported all day.
        let mut hours = Habit::default();
        for hour in -28 * 24..48 {
            hours.note(on_monday(hour, 0), on_monday(hour, 0));
        }
        let heard = Heard(Some(Box::new(hours)));
        let judge = |now_ms| silence(now_ms, 0..0).judge(TILL, &till, &heard).state;
        assert_eq!(judge(on_monday(17, 0)), State::Reporting);
        assert_eq!(judge(on_monday(34, 50)), State::Reporting);
        assert_eq!(judge(on_monday(35, 10)), State::Silent);
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
        let holds = |now_ms, dead: &Terminal| silence(now_ms, 0..0).holds_sales(TILL, dead);
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
