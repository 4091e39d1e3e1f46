//! Judges groups of errors: a new one must be listed as what it is, a known one must not look new, and nothing may be
//! listed that no terminal sent.

use tillwatch_model::metric::to_float;
use tillwatch_model::time::{DAY_MS, HOUR_MS, MINUTE_MS, window_start_ms};

use crate::claims::ask::{Answers, Group};
use crate::claims::{Judged, Span};
use crate::truth::{NewError, Truth};

/// Small errors of clocks are not corrected.
const CLOCK_ERROR_MS: i64 = MINUTE_MS;

/// Holds the groups against the errors that were sent.
pub fn judge(answers: &Answers, truth: &Truth, span: Span) -> Judged {
    let mut judged = Judged::of("new-error");
    for error in &truth.new_errors {
        let group = answers.errors.get(&error.fingerprint);
        if error.count == 0 {
            judged.cannot_judge("no batch with some new errors was acknowledged");
            continue;
        }
        match group.map_or(Some("is not listed".to_owned()), |group| {
            fault(error, group)
        }) {
            None => judged.right += 1,
            Some(fault) => judged.misses(format!("{} {fault}", error.fingerprint)),
        }
    }
    for error in &truth.known_errors {
        let Some(group) = answers.errors.get(&error.fingerprint) else {
            if error.count > 0 {
                judged.misses(format!(
                    "the known error {} is not listed",
                    error.fingerprint
                ));
            }
            continue;
        };
        let before = answers.errors_before.get(&error.fingerprint);
        let counted = group.count.saturating_sub(before.copied().unwrap_or(0));
        // Other fleets may report the same at the same time.
        let is_ours_alone = group.stores <= error.stores.len() as u64;
        if counted < error.count {
            let known = &error.fingerprint;
            let sent = error.count;
            judged.misses(format!(
                "the known error {known} is counted {counted} of {sent} times"
            ));
        } else if is_ours_alone && counted > error.count + error.unsure {
            let known = &error.fingerprint;
            let sent = error.count;
            judged.is_false(format!(
                "the known error {known} is counted {counted} times, was sent {sent}"
            ));
        } else if error.count > 0 && group.first_seen > error.first_ms + CLOCK_ERROR_MS {
            judged.is_false(format!(
                "the known error {} is called newer than it is",
                error.fingerprint
            ));
        }
    }
    for fingerprint in answers.errors.keys() {
        let mut sent = truth.new_errors.iter().chain(&truth.known_errors);
        if !sent.any(|error| error.fingerprint == *fingerprint) {
            judged.is_false(format!("{fingerprint} is listed, and no terminal sent it"));
        }
    }
    judge_series(&mut judged, answers, truth, span);
    judged
}

/// What is wrong with a group of a new error.
fn fault(error: &NewError, group: &Group) -> Option<String> {
    let hour_of = |t_ms: i64| window_start_ms(t_ms, HOUR_MS);
    let earliest = hour_of(error.first_ms - CLOCK_ERROR_MS);
    let latest = hour_of(error.first_ms + CLOCK_ERROR_MS);
    let stores = error.stores.len() as u64;
    // What is unsure may have come from further terminals.
    let is_off = |found: u64, sent: u64| found < sent || (error.unsure == 0 && found > sent);
    if group.count < error.count || group.count > error.count + error.unsure {
        let (counted, sent) = (group.count, error.count);
        Some(format!("is counted {counted} times, was sent {sent}"))
    } else if is_off(group.stores, stores) || is_off(group.terminals, error.terminals) {
        let (found, terminals) = (group.stores, group.terminals);
        let sent = error.terminals;
        Some(format!(
            "is said to be in {found} stores on {terminals} terminals, was in {stores} on {sent}"
        ))
    } else if !(earliest..=latest).contains(&group.first_seen) {
        Some(format!(
            "is said to be since {}, is since {}",
            group.first_seen, error.first_ms
        ))
    } else {
        None
    }
}

/// The series on which the alert stands. On the collector's first day it calls nothing new.
fn judge_series(judged: &mut Judged, answers: &Answers, truth: &Truth, span: Span) {
    let called = answers.fleet.sum("pos_errors_new", &[]);
    let before = answers.fleet_before.sum("pos_errors_new", &[]);
    let sent = truth.new_errors.iter().filter(|error| error.count > 0);
    let sent = to_float(sent.count() as u64);
    // A known error is new to a collector that never had it.
    let known = truth.known_errors.iter();
    let had = known.filter(|error| !answers.errors_before.contains_key(&error.fingerprint));
    let may_be = sent + to_float(had.count() as u64);
    if called > before + may_be {
        judged.is_false(format!(
            "pos_errors_new rose from {before} to {called}, and {may_be} may be new"
        ));
    }
    let started_s = answers.own.sum("tillwatch_start_timestamp_seconds", &[]);
    let day_before_s = to_float((span.begin_ms - DAY_MS).unsigned_abs()) / 1_000.0;
    if sent > 0.0 && (started_s <= 0.0 || started_s > day_before_s) {
        judged.note("the collector has run for less than a day, on which pos_errors_new calls no error new; only its list was judged");
    } else if called < sent && span.end_ms - span.begin_ms < HOUR_MS {
        judged.misses(format!(
            "pos_errors_new shows {called} of {sent} new errors"
        ));
    }
}
