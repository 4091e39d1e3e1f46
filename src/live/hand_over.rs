//! Hands over what readers have not got yet.

use std::sync::{Arc, PoisonError};

use serde_json::value::RawValue;

use crate::live::Live;
use crate::live::answer::Snapshot;
use crate::live::hub::Hub;
use crate::live::packed::{Packed, event};
use crate::self_metrics as names;
use crate::tasks::standing_back;

impl Live {
    /// The number of the last frame, and the frames after this one; `None`: not all of them are kept.
    pub(super) fn frames_after(&self, seq: u64) -> Option<(u64, Vec<Packed>)> {
        let hub = self.hub();
        Some((hub.seq, hub.after(seq)?))
    }

    /// The fleet as a whole, and what came since.
    pub(super) async fn snapshot(self: &Arc<Self>) -> (u64, Vec<Packed>) {
        let _alone = self.snapshots.lock().await;
        let known = |hub: &Hub| {
            let (seq, packed) = hub.fresh_snapshot()?;
            let after = hub.after(seq)?;
            Some((hub.seq, std::iter::once(packed).chain(after).collect()))
        };
        if let Some(known) = known(&self.hub()) {
            return known;
        }
        self.catch_up().await;
        let live = Arc::clone(self);
        let work = move || {
            let mut board = live.board();
            live.look_for_answer(&mut board);
            // The board stays locked: no frame with rows comes meanwhile.
            let seq = live.hub().seq;
            let packed = standing_back(|| {
                let fleet = RawValue::from_string(live.fleet_text(&board, seq)).ok();
                let snapshot = Snapshot {
                    seq,
                    t: live.clock.now_ms(),
                    topic: "fleet",
                    fleet: fleet.as_deref(),
                    pipeline: None,
                };
                let mut text = String::new();
                event(&mut text, "snapshot", &snapshot);
                Packed::of(text)
            });
            metrics::counter!(names::LIVE_SNAPSHOTS).increment(1);
            live.hub().snapshot = Some((seq, packed.clone()));
            (seq, vec![packed])
        };
        self.jobs.run(work).await
    }

    /// What is said of a store, if that is newer than this version.
    pub(super) async fn store(
        self: &Arc<Self>,
        store_id: &str,
        version: u64,
    ) -> Option<(u64, Packed)> {
        let found = |live: &Self| {
            let hub = live.hub();
            let topic = hub.stores.get(store_id)?;
            let packed = topic.packed.clone()?;
            Some((topic.version, packed))
        };
        if version == 0 && found(self).is_none() {
            let (live, store_id) = (Arc::clone(self), store_id.to_owned());
            let work = move || {
                let mut board = live.board();
                live.look_for_answer(&mut board);
                live.say_store(&board, &store_id, live.clock.now_ms());
            };
            self.jobs.run(work).await;
        }
        found(self).filter(|(found, _)| *found != version)
    }

    /// The latest second of the path of batches, if it is another than this; at first, and after a gap, all of them.
    pub(super) async fn pulse_after(self: &Arc<Self>, last: Option<u64>) -> Option<(u64, Packed)> {
        let latest = self.hub().pulse.clone();
        match (last, latest) {
            (Some(last), Some((count, _))) if count == last => None,
            (Some(last), Some((count, packed))) if count == last + 1 => Some((count, packed)),
            (Some(_), None) => None,
            _ => {
                let live = Arc::clone(self);
                self.jobs.run(move || live.whole_pulse()).await
            }
        }
    }

    fn whole_pulse(&self) -> Option<(u64, Packed)> {
        let pulse = self.pulse.lock().unwrap_or_else(PoisonError::into_inner);
        let count = pulse.count;
        drop(pulse);
        let pipeline = RawValue::from_string(self.pipeline_text()).ok()?;
        let snapshot = Snapshot {
            seq: self.hub().seq,
            t: self.clock.now_ms(),
            topic: "pipeline",
            fleet: None,
            pipeline: Some(&pipeline),
        };
        let mut text = String::new();
        event(&mut text, "snapshot", &snapshot);
        Some((count, Packed::of(text)))
    }
}
