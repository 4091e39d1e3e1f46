//! Turns a terminal's batch into an offer.

use tillwatch_model::{Reason, Source};

use super::request::Batch;
use crate::intake::Offer;
use crate::intake::keys::Key;
use crate::intake::offer::{Field, Mark};

/// The version of the format that is read here.
const VERSION: u64 = 1;

/// Makes the offer of a batch, at its place in a request that came with this key.
#[must_use]
pub fn offer<'r>(batch: &'r Batch<'_>, key: Option<Key<'r>>, place: usize) -> Offer<'r> {
    Offer {
        unreadable: unreadable(batch),
        store_id: batch.store_id.value().map(AsRef::as_ref),
        terminal_id: batch.terminal_id.value().map(AsRef::as_ref),
        mark: mark(batch, key, place),
        release: batch.release.text(),
        source: source(batch).unwrap_or(Source::Rum),
        has_consent: batch.consent == Field::Is(true),
        session_id: batch.session_id.text(),
        samples: &batch.samples,
        histograms: &batch.histograms,
        summaries: &[],
        events: &batch.events,
        drops: &batch.drops,
    }
}

fn unreadable(batch: &Batch<'_>) -> Option<Reason> {
    if batch.malformed {
        Some(Reason::MalformedBatch)
    } else if batch.v.value().and_then(|version| version.whole()) != Some(VERSION) {
        Some(Reason::UnsupportedVersion)
    } else {
        None
    }
}

/// A batch without queue and number is known by the request's key, if it has one.
fn mark<'r>(batch: &Batch<'_>, key: Option<Key<'r>>, place: usize) -> Result<Mark<'r>, Reason> {
    if let (Some(key), Field::Absent, Field::Absent) = (key, &batch.queue, &batch.seq) {
        source(batch)?;
        return Ok(Mark::Key { key, place });
    }
    let queue = batch.queue.value();
    let queue = queue.and_then(|text| uuid::Uuid::try_parse(text).ok());
    let seq = batch.seq.value().and_then(|number| number.whole());
    let seq = seq.ok_or(Reason::InvalidSeq)?;
    source(batch)?;
    Ok(Mark::Number {
        queue: queue.ok_or(Reason::InvalidQueue)?.into_bytes(),
        seq,
        content: batch.content,
    })
}

fn source(batch: &Batch<'_>) -> Result<Source, Reason> {
    match &batch.source {
        Field::Absent => Ok(Source::Rum),
        Field::Is(name) => Source::from_name(name).ok_or(Reason::InvalidSource),
        Field::Wrong => Err(Reason::InvalidSource),
    }
}
