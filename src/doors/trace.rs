//! What one request took, and the one line about it if it was slow or failed.
//!
//! A good request costs a few looks at the clock and one copy of its sender's name, and is logged at debug
//! level only. A line names the batch (store, terminal, number, release). A line never names a session, an
//! address, or anything of the body that is not written as an identifier; nor a queue or a key, because a
//! person who knows one can post in a terminal's place.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use tillwatch_model::Outcomes;
use tillwatch_model::dimension::{is_identifier, is_release};
use tracing::Level;

use crate::doors::counters::Counters;
use crate::doors::recent::Recent;
use crate::doors::refusal;
use crate::intake::Watched;
use crate::intake::laps::{Laps, Stage};
use crate::request_id::RequestId;
use crate::tap::{self, Tap};
use crate::throttle::Throttle;

/// A request on its way. Dropped before [`Trace::finish`], its client went away.
#[derive(Debug)]
pub struct Trace<'a> {
    noted: Noted<'a>,
    /// The door that the request has come to.
    door: &'static str,
    id: RequestId,
    /// How long a request takes until it is slow.
    slow: Duration,
    started: Instant,
    laps: Laps,
    /// How long the whole request took, once it is answered.
    duration: Duration,
    kept: Option<Kept>,
    batches: usize,
    body_bytes: usize,
    is_finished: bool,
}

/// Where it is noted what a request took.
#[derive(Debug, Clone, Copy)]
pub struct Noted<'a> {
    /// Counts.
    pub counters: &'a Counters,
    /// Whoever watches.
    pub tap: &'a Tap,
    /// Where the request's records lie.
    pub recent: &'a Recent,
}

/// Who sent a request, as its first batch says it.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'r> {
    /// The store.
    pub store_id: Option<&'r str>,
    /// The terminal.
    pub terminal_id: Option<&'r str>,
    /// Release of the application.
    pub release: Option<&'r str>,
    /// The batch's number in its queue.
    pub seq: Option<u64>,
}

/// A [`Sender`] kept until the line is written or not needed: in one piece, and judged only for the line.
#[derive(Debug)]
struct Kept {
    /// Store, terminal and release, one after the other.
    text: Box<str>,
    /// Where each of them ends; one that is too long to be right is left out.
    ends: [u16; 3],
    seq: Option<u64>,
}

impl Kept {
    /// How long the text of a store, a terminal or a release may be. Unit: bytes.
    const LENGTH_MAX: usize = 64;

    fn of(sender: Sender<'_>) -> Self {
        let fields = [sender.store_id, sender.terminal_id, sender.release];
        let texts = fields.map(|text| {
            let text = text.filter(|text| text.len() <= Self::LENGTH_MAX);
            text.unwrap_or("")
        });
        let mut text = String::with_capacity(texts.iter().map(|text| text.len()).sum());
        let ends = texts.map(|one| {
            text.push_str(one);
            u16::try_from(text.len()).unwrap_or(u16::MAX)
        });
        Self {
            text: text.into_boxed_str(),
            ends,
            seq: sender.seq,
        }
    }

    fn part(&self, at: usize, is_good: fn(&str) -> bool) -> Option<&str> {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        let part = self
            .text
            .get(usize::from(start)..usize::from(self.ends[at]));
        part.filter(|part| is_good(part))
    }

    fn store_id(&self) -> Option<&str> {
        self.part(0, is_identifier)
    }

    fn terminal_id(&self) -> Option<&str> {
        self.part(1, is_identifier)
    }

    fn release(&self) -> Option<&str> {
        self.part(2, is_release)
    }
}

/// One throttle for each code, so that a flood of one does not hide another.
static FAILED: LazyLock<BTreeMap<&'static str, Throttle>> = LazyLock::new(|| {
    let codes = refusal::codes();
    codes.map(|code| (code, Throttle::new(code))).collect()
});
static OTHER: Throttle = Throttle::new("requests failed for another reason");
static SLOW: Throttle = Throttle::new("slow requests");

impl<'a> Trace<'a> {
    /// Begins a trace when a request's head is complete.
    #[must_use]
    pub fn begin(noted: Noted<'a>, door: &'static str, id: RequestId, slow: Duration) -> Self {
        noted.counters.in_flight.increment(1);
        let now = Instant::now();
        Self {
            noted,
            door,
            id,
            slow,
            started: now,
            laps: Laps::begin(now),
            duration: Duration::ZERO,
            kept: None,
            batches: 0,
            body_bytes: 0,
            is_finished: false,
        }
    }

    /// The request's name.
    #[must_use]
    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// Where the request's batches are shown, if anybody watches.
    #[must_use]
    pub fn watched(&self) -> Option<Watched<'a>> {
        self.noted.tap.is_watched().then(|| Watched {
            tap: self.noted.tap,
            request_id: self.id.to_string(),
            door: self.door,
        })
    }

    /// Notes that a stage has ended now and the next one begins.
    pub fn lap(&mut self, stage: Stage) {
        self.laps.lap(stage);
    }

    /// What the stages took, for who goes on with the request.
    pub fn laps(&mut self) -> &mut Laps {
        &mut self.laps
    }

    /// Notes that the body is there.
    pub fn read(&mut self, body_bytes: usize) {
        self.body_bytes = body_bytes;
        self.lap(Stage::Read);
    }

    /// Keeps who sent it, for the line that may be written: what was sent is gone by then.
    pub fn note(&mut self, batches: usize, sender: Option<Sender<'_>>) {
        self.batches = batches;
        self.kept = sender.map(Kept::of);
    }

    /// Notes that the request is answered: with an error if it has a code.
    pub fn finish(mut self, status: StatusCode, code: Option<&'static str>, outcomes: Outcomes) {
        self.is_finished = true;
        let duration = self.started.elapsed();
        self.duration = duration;
        self.noted.counters.answer(status.as_u16(), duration);
        for (at, spent) in self.laps.spent().iter().enumerate() {
            if let Some(spent) = spent {
                self.noted.counters.stage(at, *spent);
            }
        }
        if let Some(code) = code {
            self.noted.counters.refuse(code);
        }
        if let Some(position) = self.laps.position() {
            self.noted.recent.note(self.id.number(), position);
        }
        if self.noted.tap.is_watched() {
            self.show(status, code);
        }
        let is_slow = duration >= self.slow;
        if is_slow {
            self.noted.counters.slow.increment(1);
        }
        let throttle = match code {
            Some(code) => Some(FAILED.get(code).unwrap_or(&OTHER)),
            None => is_slow.then_some(&SLOW),
        };
        match throttle.and_then(Throttle::pass) {
            Some(suppressed) => self.warn(status, code, outcomes, suppressed),
            // Who looks for one batch at debug level finds each of them.
            None if tracing::enabled!(Level::DEBUG) => self.debug(status, code, outcomes),
            None => {}
        }
    }
}

impl Drop for Trace<'_> {
    fn drop(&mut self) {
        self.noted.counters.in_flight.decrement(1);
        if !self.is_finished {
            self.noted.counters.abandoned.increment(1);
        }
    }
}

/// The line, at a level that the macro wants as a constant.
macro_rules! line {
    ($level:expr, $trace:ident, $status:ident, $code:ident, $outcomes:ident, $suppressed:expr, $message:expr) => {{
        let kept = $trace.kept.as_ref();
        let ms = |stage: Stage| $trace.laps.of(stage).map(millis);
        tracing::event!(
            $level,
            request_id = %$trace.id,
            store_id = kept.and_then(Kept::store_id),
            terminal_id = kept.and_then(Kept::terminal_id),
            seq = kept.and_then(|kept| kept.seq),
            release = kept.and_then(Kept::release),
            batches = $trace.batches,
            body_bytes = $trace.body_bytes,
            status = $status.as_u16(),
            code = $code,
            accepted = $outcomes.accepted,
            duplicate = $outcomes.duplicate,
            rejected = $outcomes.rejected,
            position = $trace.laps.position(),
            duration_ms = millis($trace.duration),
            read_ms = ms(Stage::Read),
            decode_ms = ms(Stage::Decode),
            check_ms = ms(Stage::Check),
            dedup_wait_ms = ms(Stage::DedupWait),
            journal_wait_ms = ms(Stage::JournalWait),
            journal_commit_ms = ms(Stage::JournalCommit),
            hand_on_ms = ms(Stage::HandOn),
            suppressed = $suppressed,
            $message
        )
    }};
}

impl Trace<'_> {
    /// Shows the request to whoever watches.
    #[cold]
    fn show(&self, status: StatusCode, code: Option<&'static str>) {
        let kept = self.kept.as_ref();
        let sender = tap::Sender::of(
            kept.and_then(Kept::store_id),
            kept.and_then(Kept::terminal_id),
            kept.and_then(Kept::release),
            kept.and_then(|kept| kept.seq),
        );
        self.noted.tap.show(tap::Event::Request(tap::Request {
            request_id: self.id.to_string(),
            door: self.door,
            sender,
            batches: self.batches,
            body_bytes: self.body_bytes,
            status: status.as_u16(),
            code,
            duration_ms: millis(self.duration),
        }));
    }

    #[cold]
    fn warn(
        &self,
        status: StatusCode,
        code: Option<&'static str>,
        outcomes: Outcomes,
        suppressed: u64,
    ) {
        let suppressed = (suppressed > 0).then_some(suppressed);
        if code.is_some() {
            line!(
                Level::WARN,
                self,
                status,
                code,
                outcomes,
                suppressed,
                "request failed"
            );
        } else {
            line!(
                Level::WARN,
                self,
                status,
                code,
                outcomes,
                suppressed,
                "slow request"
            );
        }
    }

    #[cold]
    fn debug(&self, status: StatusCode, code: Option<&'static str>, outcomes: Outcomes) {
        let suppressed: Option<u64> = None;
        line!(
            Level::DEBUG,
            self,
            status,
            code,
            outcomes,
            suppressed,
            "request answered"
        );
    }
}

/// Writes milliseconds with three decimals.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;
    use crate::recorder::Recorder;

    #[test]
    fn a_request_that_is_dropped_was_abandoned_and_is_no_longer_under_way() {
        let recorder = Recorder::new([]);
        let handle = recorder.handle();
        let counters = metrics::with_local_recorder(&recorder, Counters::default);
        let (tap, recent) = (Tap::default(), Recent::default());
        let noted = Noted {
            counters: &counters,
            tap: &tap,
            recent: &recent,
        };
        let begin = || {
            Trace::begin(
                noted,
                "terminal",
                RequestId::make(&Chance::seeded(1)),
                Duration::from_secs(1),
            )
        };
        let under_way = begin();
        drop(begin());
        begin().finish(StatusCode::ACCEPTED, None, Outcomes::default());
        let text = handle.render();
        for line in [
            "tillwatch_requests_abandoned_total 1",
            "tillwatch_requests_in_flight 1",
            "tillwatch_requests_total{status=\"202\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        drop(under_way);
    }
}
