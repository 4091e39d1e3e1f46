//! Shows a batch to whoever watches, as soon as all about it is decided.

use std::collections::BTreeMap;

use tillwatch_model::Reason;

use crate::intake::offer::{Field, Mark, Offer};
use crate::tap::{Batch, Event, Sender, Tap, count};

/// A request that is watched.
#[derive(Debug)]
pub struct Watched<'r> {
    /// Where it is shown.
    pub tap: &'r Tap,
    /// The request's name.
    pub request_id: String,
    /// The door that it came to.
    pub door: &'static str,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub(super) struct Fate<'f> {
    pub(super) outcome: &'static str,
    pub(super) accepted: u64,
    pub(super) duplicate: u64,
    /// Samples by the code of the reason.
    pub(super) rejected: &'f [u64],
}

impl Watched<'_> {
    /// Shows a batch; `names` are the store and the terminal that it counts for.
    #[cold]
    pub(super) fn show(
        &self,
        received_at_ms: i64,
        batch: &Offer<'_>,
        names: (Option<&str>, Option<&str>),
        fate: &Fate<'_>,
    ) {
        let seq = match batch.mark {
            Ok(Mark::Number { seq, .. }) => Some(seq),
            _ => None,
        };
        let release = match batch.release {
            Field::Is(release) => Some(release),
            Field::Absent | Field::Wrong => None,
        };
        let rejected: BTreeMap<&'static str, u64> = (0_u8..)
            .zip(fate.rejected)
            .filter(|(_, samples)| **samples > 0)
            .filter_map(|(code, samples)| Some((Reason::from_code(code)?.name(), *samples)))
            .collect();
        let histograms = batch.histograms.iter().map(|histogram| &histogram.sample);
        let summaries = batch.summaries.iter().map(|summary| &summary.sample);
        let all = batch.samples.iter().chain(histograms).chain(summaries);
        let metrics = count(all.map(|sample| sample.metric.value().map_or("?", |name| name)));
        self.tap.show(Event::Batch(Batch {
            request_id: self.request_id.clone(),
            received_at_ms,
            door: self.door,
            sender: Sender::of(names.0, names.1, release, seq),
            outcome: fate.outcome,
            accepted: fate.accepted,
            duplicate: fate.duplicate,
            rejected,
            metrics,
        }));
    }
}
