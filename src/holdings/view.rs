//! What a reader sees at one moment, and how much is held.

use std::sync::Arc;

use tillwatch_model::DirtyHours;
use uuid::Uuid;

use crate::persist::{EpochInfo, Sealing};

/// What a reader sees.
#[derive(Debug)]
pub struct View<T = ()> {
    /// What is open of what the reader asked for, as it was at that moment.
    pub open: T,
    /// The epoch that is being sealed.
    pub sealing: Option<Arc<Sealing>>,
    /// Epochs in the outbox.
    pub unconfirmed: Vec<Arc<EpochInfo>>,
    /// Every epoch of this collector up to this one is confirmed.
    pub confirmed: u64,
    /// The id of this collector.
    pub collector_id: Uuid,
    /// The dirty ones of the hours that the reader asked for.
    pub dirty: DirtyHours,
    /// How often hours had begun to be summed up anew.
    pub rebuilds_begun: u64,
    /// Stores with series of their own.
    pub stores: usize,
    /// Hours before this one have no minutes any more: they were given up to save disk.
    pub minutes_from_hour: u32,
}

/// How much is held.
#[derive(Debug, Clone, Copy, Default)]
pub struct Levels {
    /// The position up to which everything is applied.
    pub applied: u64,
    /// Samples accepted over the life of the state file.
    pub accepted_samples: u64,
    /// Samples in open windows, or being sealed.
    pub open_samples: u64,
    /// Samples in the outbox.
    pub outbox_samples: u64,
    /// Highest epoch up to which all are confirmed.
    pub confirmed: u64,
    /// Highest epoch sealed.
    pub sealed: u64,
    /// Hours of stores that the hourly rollups do not hold in full.
    pub dirty_hours: usize,
    /// Days of which that is not known.
    pub unchecked_days: usize,
}

impl<T> View<T> {
    /// The epochs of the outbox, but for the one that is being sealed, whose rows are at hand.
    pub fn waiting(&self) -> impl Iterator<Item = &Arc<EpochInfo>> {
        let sealing = self.sealing.as_ref().map(|sealing| sealing.epoch());
        let waiting = self.unconfirmed.iter();
        waiting.filter(move |info| Some(info.epoch) != sealing)
    }

    /// What is open, apart from where everything else is.
    pub fn split(self) -> (T, View) {
        let rest = View {
            open: (),
            sealing: self.sealing,
            unconfirmed: self.unconfirmed,
            confirmed: self.confirmed,
            collector_id: self.collector_id,
            dirty: self.dirty,
            rebuilds_begun: self.rebuilds_begun,
            stores: self.stores,
            minutes_from_hour: self.minutes_from_hour,
        };
        (self.open, rest)
    }
}
