//! Tells a page what came of its payload. The SDK reads only the status; people read the rest.

use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;
use tillwatch_model::Outcomes;
use tillwatch_model::event::EVENTS_MAX;

use super::read::{Ignored, List, Payload};
use crate::doors::answer;
use crate::doors::idempotency::REPLAYED;
use crate::intake::Receipt;
use crate::intake::report::{Part, Remark};

/// The header by which the SDK is told whether its session still counts.
pub const SESSION_STATUS: HeaderName = HeaderName::from_static("x-faro-session-status");

#[derive(Serialize)]
struct Accepted {
    accepted: u64,
    duplicate: u64,
    rejected: u64,
    reasons: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignored: Option<Passed>,
}

#[derive(Serialize)]
struct Passed {
    logs: u64,
    traces: u64,
    message: &'static str,
}

#[derive(Default, Serialize)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    measurement: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exception: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<usize>,
    reason: &'static str,
}

/// Where the parts of the batches stand in the payload.
#[derive(Debug, Default)]
pub(super) struct Places {
    samples: Vec<usize>,
    events: Vec<(List, usize)>,
}

impl Places {
    pub(super) fn of(payload: &Payload<'_>) -> Self {
        Self {
            samples: payload.places.iter().map(|place| place.item).collect(),
            events: payload.event_places.clone(),
        }
    }

    fn line(&self, remark: &Remark) -> Line {
        let place = match remark.place.part {
            Part::Sample(number) => self
                .samples
                .get(number)
                .map(|item| (List::Measurements, *item)),
            Part::Event(number) => {
                let number = EVENTS_MAX * remark.place.batch + number;
                self.events.get(number).copied()
            }
            Part::Whole | Part::Drop(_) => None,
        };
        let mut line = Line {
            reason: remark.reason,
            ..Line::default()
        };
        match place {
            Some((List::Measurements, item)) => line.measurement = Some(item),
            Some((List::Events, item)) => line.event = Some(item),
            Some((List::Exceptions, item)) => line.exception = Some(item),
            Some((List::Logs, item)) => line.log = Some(item),
            None => {}
        }
        line
    }
}

/// 202: every accepted sample is on stable storage.
pub(super) fn accepted(receipt: &Receipt, places: &Places, ignored: Ignored) -> Response {
    let Outcomes {
        accepted,
        duplicate,
        rejected,
    } = receipt.outcomes;
    let Ignored { logs, traces } = ignored;
    let message = if traces > 0 {
        "Traces are not kept here: send them to a tracing backend. Logs count as events if the setting doors_faro_logs says so."
    } else {
        "Logs count as events if the setting doors_faro_logs says so."
    };
    let body = Accepted {
        accepted,
        duplicate,
        rejected,
        reasons: receipt
            .report
            .remarks()
            .iter()
            .map(|remark| places.line(remark))
            .collect(),
        ignored: (ignored != Ignored::default()).then_some(Passed {
            logs,
            traces,
            message,
        }),
    };
    let mut response = answer::json(StatusCode::ACCEPTED, &body);
    if receipt.is_replayed {
        let replayed = HeaderValue::from_static("true");
        response.headers_mut().insert(REPLAYED, replayed);
    }
    response
}
