//! Whom a request is charged to.

use std::time::Instant;

use tillwatch_model::{Reason, Source};

use super::{NOW_MS, Stage, settings};
use crate::intake::laps::Laps;
use crate::intake::limits::Class;
use crate::intake::offer::{Field, Mark};
use crate::intake::{Offer, Offers, Refusal, Settings, Who, rates};
use crate::room::{Held, Room};

const PLACES: u32 = 3;

/// An intake whose stores may post three times, and then once a second.
fn sparing() -> Stage {
    Stage::start(Settings {
        rates: rates::Settings {
            store_requests_per_s: 1,
            store_burst: PLACES,
        },
        ..settings()
    })
}

fn batch(store_id: &'static str, mark: Result<Mark<'static>, Reason>) -> Offer<'static> {
    Offer {
        unreadable: None,
        store_id: Some(store_id),
        terminal_id: Some("t"),
        mark,
        release: Field::Absent,
        source: Source::Rum,
        has_consent: true,
        session_id: Field::Absent,
        samples: &[],
        histograms: &[],
        events: &[],
        drops: &[],
        summaries: &[],
    }
}

fn numbered(store_id: &'static str, seq: u64) -> Offer<'static> {
    let (queue, content) = ([1; 16], 0);
    let mark = Mark::Number {
        queue,
        seq,
        content,
    };
    batch(store_id, Ok(mark))
}

async fn post(stage: &Stage, batches: &[Offer<'_>]) -> Result<(), Refusal> {
    let offers = Offers {
        received_at_ms: NOW_MS,
        sent_at_ms: Field::Absent,
        class: Class::Live,
        browser: None,
        batches,
        watched: None,
    };
    let held = Held::new(&Room::new(1 << 20), 100).unwrap();
    let mut laps = Laps::begin(Instant::now());
    let submitted = stage.intake.submit(&Who::Anybody, &offers, held, &mut laps);
    submitted.await?.durable(&mut laps).await.map(drop)
}

/// The bucket gives a place back every second; a machine that stands still for long can only make a test pass.
fn is_limited(result: &Result<(), Refusal>) -> bool {
    matches!(result, Err(Refusal::RateLimited { .. }))
}

#[tokio::test]
async fn a_batch_without_an_identity_takes_no_place_of_the_store_it_names() {
    let stage = sparing();
    let unreadable = || Offer {
        unreadable: Some(Reason::MalformedBatch),
        ..numbered("victim", 9)
    };
    let nameless = || Offer {
        terminal_id: None,
        ..numbered("victim", 9)
    };
    for _ in 0..10 * PLACES {
        let without = [
            batch("victim", Err(Reason::InvalidSeq)),
            unreadable(),
            nameless(),
        ];
        assert_eq!(post(&stage, &without).await, Ok(()));
        assert_eq!(post(&stage, &without[..1]).await, Ok(()));
    }
    for seq in 1..=u64::from(PLACES) {
        assert_eq!(post(&stage, &[numbered("victim", seq)]).await, Ok(()));
    }
    for seq in 10.. {
        if is_limited(&post(&stage, &[numbered("victim", seq)]).await) {
            break;
        }
        assert!(seq < 10_000, "what is whole is charged");
    }
}

#[tokio::test]
async fn a_request_takes_one_place_of_each_store_however_often_it_names_it() {
    let stage = sparing();
    let mixed: Vec<Offer<'_>> = (0..40)
        .map(|seq| numbered(if seq % 2 == 0 { "victim" } else { "other" }, seq))
        .collect();
    assert_eq!(post(&stage, &mixed).await, Ok(()));
    for seq in 101..u64::from(100 + PLACES) {
        assert_eq!(post(&stage, &[numbered("victim", seq)]).await, Ok(()));
    }
}
