//! Remembers which web vitals of which page visits have been counted.
//!
//! A page reports a web vital again when it has changed, perhaps in a later request, and what was counted cannot be taken
//! back. So the first request that brings a report of a visit counts, and what comes later is a repetition. The memory is
//! bounded, lasts a day at the most, and ends with the process; whatever it has forgotten counts again.

use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tillwatch_model::KeyId;
use xxhash_rust::xxh3::xxh3_128;

use super::read::Payload;
use crate::doors::foreign::Visitor;
use crate::intake::Receipt;
use crate::intake::keys::Key;
use crate::intake::report::Part;

/// Web vitals that are remembered at the most; each takes about 150 bytes.
const REPORTS_MAX: u64 = 200_000;
/// How long one is remembered: as long as a resend is known.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The web vitals that have been counted, and the body that brought each: the same body may bring it again, because then
/// it is a resend, about which the intake decides.
pub struct Visits(Cache<KeyId, u128>);

impl Default for Visits {
    fn default() -> Self {
        let cache = Cache::builder()
            .max_capacity(REPORTS_MAX)
            .time_to_live(KEPT)
            .eviction_policy(EvictionPolicy::lru());
        Self(cache.build())
    }
}

impl std::fmt::Debug for Visits {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Visits")
    }
}

/// Reports that a request was the first to bring, by the numbers of their samples.
#[derive(Debug, Default)]
pub(super) struct First(Vec<(usize, KeyId)>);

impl Visits {
    /// Takes out of a payload the reports of which another has brought one before, and remembers the others.
    pub(super) fn sift(&self, payload: &Payload<'_>, visitor: Visitor<'_>, body: &[u8]) -> Sifted {
        let mut sifted = Sifted::default();
        if payload.places.iter().all(|place| place.visit.is_none()) {
            return sifted;
        }
        let body = xxh3_128(body);
        let mut at = 0;
        let Payload { batch, places, .. } = payload;
        let reports = std::iter::zip(&batch.samples, places);
        sifted.are_kept = reports
            .map(|(sample, place)| {
                let (Some(visit), Some(metric)) = (&place.visit, sample.metric.value()) else {
                    at += 1;
                    return true;
                };
                let id = id(visitor, metric, visit);
                let entry = self.0.entry(id).or_insert(body);
                let is_kept = entry.is_fresh() || *entry.value() == body;
                if entry.is_fresh() {
                    sifted.first.0.push((at, id));
                }
                at += usize::from(is_kept);
                is_kept
            })
            .collect();
        sifted
    }

    /// Keeps in memory what was counted, and forgets what was not: a later report may count.
    pub(super) fn settle(&self, first: First, receipt: Option<&Receipt>) {
        let is_rejected = |at: usize| {
            receipt.is_none_or(|receipt| {
                let mut remarks = receipt.report.remarks().iter();
                remarks.any(|remark| remark.place.part == Part::Sample(at))
            })
        };
        for (at, id) in first.0 {
            if is_rejected(at) {
                self.0.invalidate(&id);
            }
        }
    }
}

/// What is left of a payload.
#[derive(Debug, Default)]
pub(super) struct Sifted {
    are_kept: Vec<bool>,
    pub(super) first: First,
}

impl Payload<'_> {
    /// Leaves out what has been counted before: it counts as a repetition.
    pub(super) fn keep(&mut self, sifted: Sifted) -> First {
        let Sifted { are_kept, first } = sifted;
        if are_kept.contains(&false) {
            let left_out = are_kept.iter().filter(|is_kept| !**is_kept).count();
            self.batch.repeated += left_out as u64;
            let mut kept = are_kept.iter();
            self.batch.samples.retain(|_| kept.next() != Some(&false));
            let mut kept = are_kept.iter();
            self.places.retain(|_| kept.next() != Some(&false));
        }
        first
    }
}

/// What stands for a web vital of a page visit.
fn id(visitor: Visitor<'_>, metric: &str, visit: &str) -> KeyId {
    let (kind, of) = if visitor.session_id.is_empty() {
        ("terminal", visitor.terminal_id)
    } else {
        ("session", visitor.session_id)
    };
    let content = [kind, metric, visit].join("\0");
    Key::id_of_content(visitor.store_id, of, content.as_bytes())
}
