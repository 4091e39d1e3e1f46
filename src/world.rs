//! Holds what a stage needs besides its batches: clock, chance, disk and tasks. The program makes one
//! world and hands it, or the needed part, to each stage.

use std::sync::Arc;

use tillwatch_journal::{Disk, RealDisk};

use crate::chance::Chance;
use crate::clock::Clock;
use crate::tasks::Tasks;

/// What is handed to a stage; clones are of the same world.
#[derive(Debug, Clone)]
pub struct World {
    /// The clock that says what time it is.
    pub clock: Clock,
    /// The source of what is drawn.
    pub chance: Chance,
    /// The disk that the journal lies on.
    pub disk: Arc<dyn Disk>,
    /// The tasks that run beside.
    pub tasks: Tasks,
}

impl World {
    /// Makes the world of this machine.
    #[must_use]
    pub fn of_machine() -> Self {
        Self {
            clock: Clock::of_machine(),
            chance: Chance::of_system(),
            disk: Arc::new(RealDisk),
            tasks: Tasks::default(),
        }
    }
}
