//! What stands around a stage and is not in its batches: it is made once and handed in.

use crate::clock::Clock;

/// What is handed to a stage; clones are of the same world.
#[derive(Debug, Clone)]
pub struct World {
    /// What time it is.
    pub clock: Clock,
}

impl World {
    /// This machine's.
    #[must_use]
    pub fn of_machine() -> Self {
        Self {
            clock: Clock::of_machine(),
        }
    }
}
