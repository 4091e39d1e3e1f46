//! Judges in which stores sales are said to pile up or to be given up: the series that `PosStorePendingTransactionsHigh`
//! and `PosStoreDeadLetters` stand on.

use std::collections::BTreeMap;

use tillwatch_model::metric::to_float;

use crate::Options;
use crate::claims::Judged;
use crate::claims::ask::Answers;
use crate::truth::Truth;

/// Over so many transactions in one till a person is told.
const PENDING_LIMIT: u64 = 800;
const PENDING: &str = "pos_pending_transactions";
const GIVEN_UP: &str = "pos_sync_dead_letters_total";

/// What is true of a store.
#[derive(Debug, Default)]
struct OfStore {
    stuck: u64,
    given_up: u64,
    /// The most that waits in one of its tills now, and that waited in the run.
    pending: u64,
    pending_max: u64,
}

/// Holds the series of each store against what its tills said.
pub fn judge(answers: &Answers, truth: &Truth, options: &Options) -> Judged {
    let mut judged = Judged::of("stuck");
    let mut stores: BTreeMap<&str, OfStore> = BTreeMap::new();
    for till in &truth.tills {
        let store = stores.entry(&till.store_id).or_default();
        let story = &till.story;
        store.stuck += u64::from(story.stuck_since_ms.is_some());
        store.given_up += story.given_up;
        let pending = story.pending.map_or(0, |(_, transactions)| transactions);
        store.pending = store.pending.max(pending);
        store.pending_max = store.pending_max.max(story.pending_max);
    }
    for (store_id, store) in stores {
        let of_store = [("store_id", store_id)];
        let given_up =
            answers.fleet.sum(GIVEN_UP, &of_store) - answers.fleet_before.sum(GIVEN_UP, &of_store);
        let pending = answers
            .fleet
            .sum(PENDING, &[("store_id", store_id), ("stat", "max")]);
        let is_said = given_up > 0.0 || pending > to_float(PENDING_LIMIT);
        let is_true = store.given_up > 0 || store.pending_max > PENDING_LIMIT;
        if is_said && !is_true {
            judged.is_false(format!(
                "{store_id} is said to hold {pending} transactions in a till and to have given up {given_up}"
            ));
        } else if options.speed > 1 {
            (0..store.stuck).for_each(|_| {
                judged.cannot_judge(
                    "what lies in the past when it comes does not move the live series",
                );
            });
        } else if store.given_up > 0 && given_up < to_float(store.given_up) {
            let sent = store.given_up;
            judged.misses(format!(
                "{store_id} has given up {sent} transactions, {given_up} are known"
            ));
        } else if store.pending > PENDING_LIMIT && pending < to_float(store.pending) {
            let sent = store.pending;
            judged.misses(format!(
                "{store_id} holds {sent} transactions in a till, {pending} are known"
            ));
        } else if is_said {
            judged.right += 1;
        } else if store.stuck > 0 {
            judged.cannot_judge("a till gives up its first transactions after ten minutes without a synchronisation, and over 800 that wait are told");
        }
    }
    judged
}
