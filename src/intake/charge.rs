//! Charges a request to the buckets of its stores, by what it brings.

use crate::auth::Who;
use crate::intake::identity;
use crate::intake::limits::Class;
use crate::intake::offer::{Offer, Offers};
use crate::intake::refusal::Refusal;
use crate::intake::request_time::RequestTime;
use crate::intake::service::Intake;
use crate::intake::validate;

/// What a request brings, and whether it said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claimed {
    Live,
    Backlog,
    /// It said that it brings a backlog, and brings live samples.
    Falsely,
}

impl Intake {
    /// What a request brings. One that claims to be a backlog and is not is treated as what it is.
    pub(super) fn claimed(&self, offers: &Offers<'_>, time: &RequestTime) -> Claimed {
        if offers.class == Class::Live {
            return Claimed::Live;
        }
        let is_live = |batch| validate::is_live(batch, time);
        if offers.batches.iter().any(is_live) {
            self.books.counters.false_backlog.increment(1);
            return Claimed::Falsely;
        }
        Claimed::Backlog
    }
}

/// Takes one request from the bucket of every store in it, once, however often the store is named. A batch
/// without an identity is charged to nobody: anybody can write a store's name into it. Whoever shows a token, or
/// the key of an application, was charged before the body was read.
pub(super) fn charge(
    intake: &Intake,
    who: &Who,
    batches: &[Offer<'_>],
    class: Claimed,
) -> Result<(), Refusal> {
    let of = match class {
        Claimed::Backlog => Class::Backlog,
        Claimed::Live | Claimed::Falsely => Class::Live,
    };
    let pass = |(store_id, terminal_id): (&str, Option<&str>)| match who {
        Who::Anybody => intake.rates.pass(store_id),
        _ => intake.pass(store_id, terminal_id, of),
    };
    match who {
        // The backlog's bucket was the wrong one.
        Who::Bearer(bearer) if class == Claimed::Falsely => {
            return pass((&bearer.store_id, bearer.terminal_id.as_deref()));
        }
        Who::Bearer(_) | Who::App(_) => return Ok(()),
        Who::Anybody | Who::Server(_) => {}
    }
    let payer = |batch| identity::payer(who, batch);
    if let [batch] = batches {
        let Some((store_id, terminal_id)) = payer(batch) else {
            return Ok(());
        };
        return pass((store_id, Some(terminal_id)));
    }
    let mut stores: Vec<&str> = batches
        .iter()
        .filter_map(payer)
        .map(|(store_id, _)| store_id)
        .collect();
    stores.sort_unstable();
    stores.dedup();
    let mut stores = stores.into_iter().map(|store_id| (store_id, None));
    stores.try_for_each(pass)
}
