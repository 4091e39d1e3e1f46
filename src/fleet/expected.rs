//! In which hours a terminal should report, and in which its store was heard.

use tillwatch_model::Habit;

use crate::aggregate::terminals::StoreTerminals;
use crate::fleet::opening::Opening;

/// When a terminal should report.
#[derive(Debug, Clone, Copy)]
pub(super) enum Expected<'a> {
    /// By its habit.
    Habit(&'a Habit),
    /// By the opening hours of its store.
    Opening(&'a Opening),
    /// Whenever its store is heard: of one that is listed and was never heard nothing else is known.
    Always,
    /// It is none of those that are listed.
    Never,
}

impl Expected<'_> {
    pub(super) fn is_due(self, hour: u32) -> bool {
        match self {
            Self::Habit(habit) => habit.is_due(hour),
            Self::Opening(opening) => opening.is_due(hour),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// The hours in which a store was heard; `None`: it does not matter.
#[derive(Debug, Clone)]
pub struct Heard(pub(super) Option<Box<Habit>>);

impl Heard {
    /// Of a store of which it does not matter.
    #[must_use]
    pub fn always() -> Self {
        Self(None)
    }

    /// Those in which any terminal of the store reported.
    pub(super) fn of(store: &StoreTerminals) -> Self {
        let mut hours = Habit::default();
        store.iter().for_each(|(_, one)| hours.join(&one.habit));
        Self(Some(Box::new(hours)))
    }

    pub(super) fn in_hour(&self, hour: u32) -> bool {
        self.0.as_ref().is_none_or(|hours| hours.has(hour))
    }
}
