//! Shows a batch to whoever watches, as soon as all about it is decided.

use std::collections::BTreeMap;

use tillwatch_model::Reason;

use crate::auth::Who;
use crate::intake::offer::{Field, Mark, Offer, Offers};
use crate::intake::validate::Written;
use crate::intake::who::names;
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

/// A request's batches as whoever watches sees them; mostly nobody does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'o> {
    watched: Option<&'o Watched<'o>>,
    who: &'o Who,
    received_at_ms: i64,
}

/// What became of a batch.
#[derive(Debug, Default)]
struct Fate<'f> {
    outcome: &'static str,
    accepted: u64,
    duplicate: u64,
    /// Samples by the code of the reason.
    rejected: &'f [u64],
}

impl<'o> Shown<'o> {
    pub(super) fn new(who: &'o Who, offers: &'o Offers<'o>) -> Self {
        Self {
            watched: offers.watched.as_ref(),
            who,
            received_at_ms: offers.received_at_ms,
        }
    }

    /// A batch was counted before.
    pub(super) fn repeated(&self, batch: &Offer<'_>, samples: u64, outcome: &'static str) {
        if let Some(watched) = self.watched {
            let fate = Fate {
                outcome,
                duplicate: samples,
                ..Fate::default()
            };
            self.show(watched, batch, &fate);
        }
    }

    /// A batch is refused whole.
    pub(super) fn refused(&self, batch: &Offer<'_>, reason: Reason, samples: u64) {
        if let Some(watched) = self.watched {
            let mut rejected = [0; Reason::CODES];
            rejected[usize::from(reason.code())] = samples;
            let fate = Fate {
                outcome: "rejected",
                rejected: &rejected,
                ..Fate::default()
            };
            self.show(watched, batch, &fate);
        }
    }

    /// A batch is on its way to the disk.
    pub(super) fn written(&self, batch: &Offer<'_>, written: &Written) {
        if let Some(watched) = self.watched {
            let has_rejected = written.rejected.iter().any(|samples| *samples > 0);
            let is_refused = written.accepted == 0 && has_rejected;
            let fate = Fate {
                outcome: if is_refused { "rejected" } else { "accepted" },
                accepted: written.accepted,
                rejected: &written.rejected,
                ..Fate::default()
            };
            self.show(watched, batch, &fate);
        }
    }

    #[cold]
    fn show(&self, watched: &Watched<'_>, batch: &Offer<'_>, fate: &Fate<'_>) {
        let (store_id, terminal_id) = match names(self.who, batch) {
            Ok(names) => (names.store_id, names.terminal_id),
            Err(_) => (batch.store_id, batch.terminal_id),
        };
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
        watched.tap.show(Event::Batch(Batch {
            request_id: watched.request_id.clone(),
            received_at_ms: self.received_at_ms,
            door: watched.door,
            sender: Sender::of(store_id, terminal_id, release, seq),
            outcome: fate.outcome,
            accepted: fate.accepted,
            duplicate: fate.duplicate,
            rejected,
            metrics,
        }));
    }
}
