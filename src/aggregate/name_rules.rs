//! What holds for a set of names, and what a state file keeps of their ages.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What holds for a set of names.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Names that may be in use. Unit: names.
    pub count_max: usize,
    /// How long a name that has reported for a day must be silent to make room. Unit: ms.
    pub idle_ms_max: i64,
    /// Numbers that there may be, also of names that have left since the last cut. Unit: numbers.
    pub numbers_max: usize,
    /// Young names that may make room in an hour, so that a flood of names costs little. Unit: names.
    pub made_room_max: usize,
    /// The only names that get a place, if they are listed.
    pub listed: Option<Arc<HashSet<Box<str>>>>,
}

/// What the state file keeps of a set beside its names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedAges {
    /// When names that have reported for less than a day were first seen, Unix ms.
    #[serde(default)]
    pub(super) young: BTreeMap<String, i64>,
    /// The hour (since 1970) in which young names last made room, and how many did.
    #[serde(default)]
    pub(super) made_room: (i64, usize),
}
