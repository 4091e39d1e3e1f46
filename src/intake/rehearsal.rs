//! Says what would become of offers, of a sender that shows no credential: nothing is counted, kept or remembered.
//! Whether a batch was taken in before, or a store has posted too much, only a running collector knows.

use tillwatch_model::{Catalogue, Outcomes};

use crate::auth::Who;
use crate::intake::identity::Identity;
use crate::intake::offer::Offers;
use crate::intake::report::{Place, Report};
use crate::intake::request_time::RequestTime;
use crate::intake::validate::{self, Writer};
use crate::intake::weight;

/// What would become of offers.
#[derive(Debug)]
pub struct Rehearsal {
    /// How many samples would meet which outcome.
    pub outcomes: Outcomes,
    /// All that is wrong.
    pub report: Report,
}

/// Judges offers as the intake would.
#[must_use]
pub fn rehearse(offers: &Offers<'_>, catalogue: &Catalogue, values_per_s: u64) -> Rehearsal {
    let mut rehearsal = Rehearsal {
        outcomes: Outcomes::default(),
        report: Report::complete(),
    };
    let time = RequestTime::new(offers);
    let who = Who::Anybody;
    for (index, batch) in offers.batches.iter().enumerate() {
        let place = Place::batch(index);
        let identity = Identity::of(&who, batch);
        let refused = identity.err().or_else(|| validate::refusal(batch, &time));
        let (Ok(identity), None) = (identity, refused) else {
            rehearsal.outcomes.rejected += weight::of_batch(batch, values_per_s);
            if let Some(reason) = refused {
                rehearsal.report.reject(place, reason);
            }
            continue;
        };
        let writer = Writer {
            identity,
            source: batch.source,
            place,
            browser: None,
            catalogue,
            time: time.of(&identity),
            values_per_s,
        };
        let written = writer.write(&mut Vec::new(), batch, None, &mut rehearsal.report);
        rehearsal.outcomes.accepted += written.accepted;
        rehearsal.outcomes.rejected += written.rejected.iter().sum::<u64>();
    }
    rehearsal
}
