//! Judges which terminals are called silent.

use std::collections::BTreeSet;

use tillwatch_model::time::{HOUR_MS, MINUTE_MS, millis, window_start_ms};

use crate::Options;
use crate::claims::ask::Answers;
use crate::claims::{Judged, Span};
use crate::truth::{Till, Truth};

/// After a start of the collector terminals have this long to come back before anybody is called silent.
const COME_BACK_MS: i64 = 20 * MINUTE_MS;
/// A terminal is expected in an hour if it reported in that hour of the week before.
const WEEK_MS: i64 = 168 * HOUR_MS;
/// What cannot be claimed yet.
const TOO_SHORT: &str = "a terminal is called silent only once it has a week of habit (--backfill 7d) and has then missed over an hour of it";

/// Holds the terminals that are called silent against those that are.
pub fn judge(answers: &Answers, truth: &Truth, options: &Options, span: Span) -> Judged {
    let mut judged = Judged::of("dead-till");
    let silent = &answers.silent;
    let lines = silent
        .terminals
        .iter()
        .filter(|line| line.state == "silent");
    let mut called: BTreeSet<(&str, &str)> = lines
        .map(|line| (&*line.store_id, &*line.terminal_id))
        .collect();
    let is_cut = silent.terminals.len() < silent.terminals_total;
    for till in &truth.tills {
        let is_called = called.remove(&(&*till.store_id, &*till.terminal_id));
        let name = format!("{} {}", till.store_id, till.terminal_id);
        match (till.story.silent_since_ms, is_called) {
            (Some(_), true) => judged.right += 1,
            (None, true) => judged.is_false(format!("{name} is called silent and reports")),
            (None, false) => {}
            (Some(_), false) if is_cut => {
                judged.cannot_judge("there are more silent terminals than an answer holds")
            }
            (Some(since_ms), false) => {
                let patience_ms = silent.silent_after_ms + COME_BACK_MS;
                let is_due = silent.ready_since.is_some()
                    && due_ms(till, since_ms, options, span) > patience_ms;
                if is_due {
                    judged.misses(format!("{name} is dead since {since_ms}"));
                } else {
                    judged.cannot_judge(TOO_SHORT);
                }
            }
        }
    }
    judged
}

/// For how long a till should have reported since, by its habit as far as the run has taught it.
fn due_ms(till: &Till, since_ms: i64, options: &Options, span: Span) -> i64 {
    let is_live = options.speed == 1;
    if !is_live {
        // What lies in the past when it comes teaches, and nobody is called silent in the past.
        return 0;
    }
    let known_ms = window_start_ms(span.begin_ms - millis(options.backfill) + HOUR_MS, HOUR_MS);
    let is_open = |hour_ms: i64| {
        let hours = options.opening_hours;
        hours.is_none_or(|hours| hours.is_open(hour_ms + HOUR_MS / 2, till.store))
    };
    let mut due_ms = 0;
    let mut hour_ms = window_start_ms(since_ms, HOUR_MS);
    while hour_ms < span.end_ms {
        let is_known = hour_ms - WEEK_MS >= known_ms;
        let is_due = [-HOUR_MS, 0, HOUR_MS]
            .iter()
            .all(|off| is_open(hour_ms + off));
        if is_known && is_due {
            due_ms += (hour_ms + HOUR_MS).min(span.end_ms) - hour_ms.max(since_ms);
        }
        hour_ms += HOUR_MS;
    }
    due_ms
}
