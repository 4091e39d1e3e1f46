//! What a reader sees at one moment.

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
