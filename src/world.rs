//! What stands around a stage and is not in its batches: it is made once and handed in.

use crate::chance::Chance;
use crate::clock::Clock;
use crate::tasks::Tasks;

/// What is handed to a stage; clones are of the same world.
#[derive(Debug, Clone)]
pub struct World {
    /// What time it is.
    pub clock: Clock,
    /// What is drawn.
    pub chance: Chance,
    /// What runs beside.
    pub tasks: Tasks,
}

impl World {
    /// This machine's.
    #[must_use]
    pub fn of_machine() -> Self {
        Self {
            clock: Clock::of_machine(),
            chance: Chance::of_system(),
            tasks: Tasks::default(),
        }
    }
}
