//! The two groups, what is enough of them, and how many samples they send at all.

use tillwatch_model::metric::to_float;

use super::evidence::Store;
use super::ranks::{self, Levels, Shift};
use super::verdict::{Finding, Kind, Limits, Method, State, Worse};
use super::within;

/// A store counts with this many values in both windows: five are above its p95 then.
pub(super) const SAMPLES_MIN: u64 = 100;
/// Terminals of the release in a mixed store count with this many: they are merged with others.
pub(super) const SAMPLES_MIXED_MIN: u64 = 20;
/// Fewer candidates than this say nothing.
pub const CANDIDATES_MIN: usize = 3;
/// Neither do fewer others.
pub const CONTROLS_MIN: usize = 10;
/// So much fewer samples than the others fail: a metric that is not measured any more cannot become worse.
const VOLUME_MIN: f64 = 0.8;
/// In mixed stores a pass uses this part of its level: the jackknife is a little too sure of itself.
const WITHIN_PASS_PART: f64 = 0.625;

/// The two groups, and how they are compared.
#[derive(Debug)]
pub struct Groups<'a> {
    /// Stores of the release; with [`Method::Within`] the mixed ones.
    pub candidates: Vec<&'a Store>,
    /// What they are held against.
    pub controls: Vec<&'a Store>,
    /// How.
    pub method: Method,
    /// How sure the bounds are.
    pub levels: Levels,
}

impl Groups<'_> {
    /// Whether there are enough stores to say anything.
    #[must_use]
    pub fn are_enough(&self) -> bool {
        self.suffice(self.candidates.len(), self.controls.len())
    }

    pub(super) fn suffice(&self, candidates: usize, controls: usize) -> bool {
        match self.method {
            Method::Ranks => candidates >= CANDIDATES_MIN && controls >= CONTROLS_MIN,
            Method::Alone => candidates >= CANDIDATES_MIN,
            Method::Within => candidates >= within::STORES_MIN,
        }
    }

    pub(super) fn levels_within(&self) -> Levels {
        Levels {
            pass: self.levels.pass * WITHIN_PASS_PART,
            ..self.levels
        }
    }

    /// The shift between changes of the candidates and of the controls.
    pub(super) fn shift(
        &self,
        candidates: &[f64],
        controls: &[f64],
        levels: Levels,
    ) -> Option<Shift> {
        if self.method == Method::Alone {
            ranks::shift_alone(candidates, levels)
        } else {
            ranks::shift(candidates, controls, levels)
        }
    }

    pub(super) fn state_of(
        &self,
        candidates: usize,
        controls: usize,
        is_optional: bool,
        samples: u64,
    ) -> Option<State> {
        if self.suffice(candidates, controls) {
            None
        } else if samples == 0 && is_optional {
            Some(State::Absent)
        } else if self.are_enough() {
            Some(State::TooFewSamples)
        } else {
            Some(State::TooFewStores)
        }
    }
}

pub(super) fn as_factor(shift: Shift) -> Worse {
    Worse {
        estimate: shift.estimate.exp(),
        low: shift.low.map(f64::exp),
        high: shift.high.map(f64::exp),
    }
}

/// Judges how many samples come at all. It can fail a release; a pass does not wait for it.
#[must_use]
pub fn volume(groups: &Groups<'_>) -> Finding {
    let change = |store: &&Store| -> Option<f64> {
        let volume = store.volume.filter(|volume| volume.before >= SAMPLES_MIN)?;
        let usual = to_float(volume.before) / f64::from(volume.hours_before.max(1));
        // Half a sample keeps the logarithm of none finite.
        let now = (to_float(volume.now) + 0.5) / f64::from(volume.hours_now.max(1));
        Some((now / usual).ln())
    };
    let changes = |stores: &[&Store]| stores.iter().filter_map(change).collect::<Vec<_>>();
    let (candidates, controls) = (changes(&groups.candidates), changes(&groups.controls));
    let both_fail = Levels {
        fail: groups.levels.fail,
        pass: groups.levels.fail,
    };
    let shift = match groups.method {
        Method::Ranks => groups.shift(&candidates, &controls, both_fail),
        // What a part of a store's terminals used to send is not known, and a quiet day of all is no fault.
        Method::Within | Method::Alone => None,
    };
    let worse = shift.map(as_factor);
    let is_fail = groups.suffice(candidates.len(), controls.len())
        && worse.is_some_and(|worse| worse.high.is_some_and(|high| high < VOLUME_MIN));
    let samples = groups.candidates.iter().filter_map(|store| store.volume);
    Finding {
        metric: "samples".to_owned(),
        kind: Kind::Volume,
        before: None,
        now: None,
        others_before: None,
        others_now: None,
        worse,
        candidates: candidates.len(),
        controls: controls.len(),
        samples: samples.fold(0, |sum, volume| sum.saturating_add(volume.now)),
        limits: Limits {
            rollback: Some(VOLUME_MIN),
            ..Limits::default()
        },
        state: if is_fail {
            State::PastLimit
        } else {
            State::Compared
        },
        far: Vec::new(),
    }
}
