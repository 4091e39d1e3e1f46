//! Numbers that are missing, and what becomes of them.

/// A missing range, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) from: u64,
    pub(super) to: u64,
    /// When it was noticed, Unix ms. `UNCOUNTED`: it lies before the first number seen, or it has been
    /// counted as lost; it may still come, and is no gap.
    pub(super) since_ms: i64,
}

pub(super) const UNCOUNTED: i64 = i64::MAX;

/// What has become of numbers that were missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The first of the numbers.
    pub from: u64,
    /// The last of the numbers.
    pub to: u64,
    /// Since when they were missing, Unix ms.
    pub since_ms: i64,
    /// What has become of them.
    pub how: How,
}

/// What can become of a number that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Its batch has come.
    Came,
    /// It was missing for too long.
    TooOld,
    /// It has fallen too far below the highest.
    TooFarBehind,
    /// Its range made room for others.
    GivenUp,
}

impl Gap {
    pub(super) fn length(self) -> u64 {
        self.to - self.from + 1
    }

    pub(super) fn is_counted(self) -> bool {
        self.since_ms != UNCOUNTED
    }

    pub(super) fn ended(self, how: How) -> Ended {
        Ended {
            from: self.from,
            to: self.to,
            since_ms: self.since_ms,
            how,
        }
    }
}
