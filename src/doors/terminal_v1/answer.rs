//! Tells a terminal what came of its request: counts and reasons, or one error.

use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;
use tillwatch_model::Outcomes;

use crate::doors::answer;
use crate::doors::idempotency::REPLAYED;
use crate::intake::Receipt;
use crate::intake::report::{Part, Remark};

#[derive(Serialize)]
struct Accepted {
    accepted: u64,
    duplicate: u64,
    rejected: u64,
    /// Left out while there are none.
    #[serde(skip_serializing_if = "is_none")]
    conflicting: u64,
    reasons: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    batch: usize,
    sample: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drop: Option<usize>,
    reason: &'static str,
}

impl From<&Remark> for Line {
    fn from(remark: &Remark) -> Self {
        let (mut sample, mut event, mut drop) = (None, None, None);
        match remark.place.part {
            Part::Whole => {}
            Part::Sample(number) => sample = Some(number),
            Part::Event(number) => event = Some(number),
            Part::Drop(number) => drop = Some(number),
        }
        Self {
            batch: remark.place.batch,
            sample,
            event,
            drop,
            reason: remark.reason,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_none(number: &u64) -> bool {
    *number == 0
}

/// 202: every accepted sample is on stable storage. A replayed answer says what the first post of its
/// key was told.
pub(super) fn accepted(receipt: &Receipt) -> Response {
    let Outcomes {
        accepted,
        duplicate,
        rejected,
    } = receipt.outcomes;
    let body = Accepted {
        accepted,
        duplicate,
        rejected,
        conflicting: receipt.report.conflicting(),
        reasons: receipt.report.remarks().iter().map(Line::from).collect(),
    };
    let mut response = answer::json(StatusCode::ACCEPTED, &body);
    if receipt.is_replayed {
        let replayed = HeaderValue::from_static("true");
        response.headers_mut().insert(REPLAYED, replayed);
    }
    response
}
