//! Which stores have the release, which they are held against, and which are neither.

use std::collections::BTreeMap;
use std::ops::Range;

use super::windows::DAYS_BEFORE;

/// A store is mixed while less than this share of its terminals have the release. Unit: percent.
const WHOLE_PERCENT: u64 = 80;

/// A run of hours in which a store reported a release.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The release.
    pub release: String,
    /// Its first hour.
    pub from: i64,
    /// The hour after its last.
    pub until: i64,
    /// How many hours of how many terminals that were, added up.
    pub terminal_hours: u64,
}

/// What a store ran, from the week before the release on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// Its name.
    pub store: String,
    /// Its releases, in any order; spans of different releases may overlap.
    pub spans: Vec<Span>,
    /// Its terminals that reported since the release was first seen.
    pub terminals: u64,
    /// Of these, those that ever reported the release.
    pub terminals_on: u64,
}

/// What a store is in the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Group {
    /// It has the release, from this hour on.
    Candidate {
        /// The first hour of the release in it, or of its last switch to it.
        from: i64,
        /// It went back to what it is held against. It stays a candidate: else moving bad stores back would heal the
        /// release.
        was_moved_back: bool,
    },
    /// Only some of its terminals have the release: they are held against the others of the same store.
    Mixed {
        /// The first hour of the release in it.
        from: i64,
    },
    /// It runs only what the release is held against.
    Control,
    /// It takes no part.
    #[default]
    Neither,
}

impl Group {
    /// Whether it has the release, in all or some of its terminals.
    #[must_use]
    pub fn is_candidate(self) -> bool {
        matches!(self, Self::Candidate { .. } | Self::Mixed { .. })
    }
}

/// Whether a name stands for no release: what terminals did not say, and what had no room.
#[must_use]
pub fn is_no_release(release: &str) -> bool {
    release == "unknown" || (release.starts_with("__") && release.ends_with("__"))
}

/// What a release is held against if nobody says so: that which most terminals ran for most hours in the week that ends
/// at `before_until`. Of equals the one that comes first by name.
#[must_use]
pub fn usual_release(histories: &[History], release: &str, before_until: i64) -> Option<String> {
    let week = before_until.saturating_sub(DAYS_BEFORE * 24)..before_until;
    let mut hours: BTreeMap<&str, f64> = BTreeMap::new();
    for span in histories.iter().flat_map(|history| &history.spans) {
        if span.release == release || is_no_release(&span.release) {
            continue;
        }
        // A span that reaches out of the week counts by its part in it.
        let part = overlap(span, &week) as f64 / (span.until - span.from).max(1) as f64;
        *hours.entry(&span.release).or_default() += part * span.terminal_hours as f64;
    }
    let most = hours.into_iter().filter(|(_, hours)| *hours > 0.0);
    most.rev()
        .max_by(|(_, one), (_, other)| one.total_cmp(other))
        .map(|(release, _)| release.to_owned())
}

fn overlap(span: &Span, hours: &Range<i64>) -> i64 {
    (span.until.min(hours.end) - span.from.max(hours.start)).max(0)
}

/// What a store is, when `release` is held against `against` over the hours `now`.
#[must_use]
pub fn group_of(
    history: &History,
    release: &str,
    against: Option<&str>,
    now: &Range<i64>,
) -> Group {
    let known = history
        .spans
        .iter()
        .filter(|span| !is_no_release(&span.release) && span.from < now.end);
    let had = known.clone().filter(|span| span.release == release);
    let Some(first) = had.clone().map(|span| span.from).min() else {
        let mut running = known
            .filter(|span| overlap(span, now) > 0)
            .map(|span| Some(span.release.as_str()) == against);
        return match running.next() {
            Some(true) if running.all(|is_control| is_control) => Group::Control,
            _ => Group::Neither,
        };
    };
    // A second candidate in the same store: it counts for the one it was switched to last, from then on.
    let others = known
        .clone()
        .filter(|span| span.release != release && Some(span.release.as_str()) != against);
    let other_from = others
        .filter(|span| span.from > first)
        .map(|span| span.from)
        .max();
    let last = had.clone().map(|span| span.from).max().unwrap_or(first);
    let from = match other_from {
        Some(other) if other >= last => return Group::Neither,
        Some(_) => last,
        None => first,
    };
    let until = had.map(|span| span.until).max().unwrap_or(first);
    let was_moved_back = known
        .filter(|span| Some(span.release.as_str()) == against)
        .any(|span| span.from >= until || (span.until > until && span.from > from));
    if !was_moved_back && history.terminals_on * 100 < history.terminals * WHOLE_PERCENT {
        return Group::Mixed { from };
    }
    Group::Candidate {
        from,
        was_moved_back,
    }
}
