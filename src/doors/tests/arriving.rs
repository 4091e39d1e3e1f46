//! Bodies that take their time: one that keeps coming gets through, one that does not is told so.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::{Instant, Sleep};

use super::{Collector, batch};
use crate::doors::Limits;
use crate::intake::Settings;

/// A body in pieces, with a pause after each.
struct Pieces {
    left: Bytes,
    piece_bytes: usize,
    pause: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        std::task::ready!(self.sleep.as_mut().poll(context));
        let next = Instant::now() + self.pause;
        self.sleep.as_mut().reset(next);
        let length = self.piece_bytes.min(self.left.len());
        let piece = self.left.split_to(length);
        Poll::Ready(Some(Ok(hyper::body::Frame::data(piece))))
    }
}

fn pieces(text: &str, piece_bytes: usize, pause_ms: u64) -> Body {
    let pause = Duration::from_millis(pause_ms);
    Body::new(UnsyncBoxBody::new(Pieces {
        left: Bytes::from(text.to_owned()),
        piece_bytes,
        pause,
        sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
    }))
}

async fn timed<T>(started: Instant, post: impl Future<Output = T>) -> (T, Duration) {
    let answer = post.await;
    (answer, started.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_keeps_coming_gets_through_and_one_that_trickles_is_told_why_not() {
    let limits = Limits {
        body_timeout: Duration::from_millis(1_500),
        body_first: Duration::from_millis(200),
        body_bytes_per_s_min: 4_000,
        ..Limits::default()
    };
    let collector = Collector::start(limits, Settings::default());
    let long = |terminal| format!("{}{}", batch(terminal, "{}"), " ".repeat(20_000));
    // 20 kB at 25 kB a second: long after the first time, and so much faster than the rate that a busy machine, on which
    // each pause is longer, does not matter.
    let steady = collector.post(pieces(&long("steady"), 1_000, 40), &[]);
    // A byte now and then; a large piece and then nothing more to speak of; fast enough but without end.
    let trickle = collector.post(pieces(&long("trickle"), 1, 20), &[]);
    let stalls = collector.post(pieces(&long("stalls"), 2_000, 3_000), &[]);
    let endless = format!("{}{}", batch("endless", "{}"), " ".repeat(200_000));
    let endless = collector.post(pieces(&endless, 500, 20), &[]);
    let started = Instant::now();
    let (steady, trickle, stalls, endless) = tokio::join!(
        timed(started, steady),
        timed(started, trickle),
        timed(started, stalls),
        timed(started, endless),
    );
    let ((status, text), took) = steady;
    assert_eq!(status, 202, "{text} after {took:?}");
    assert!(took > Duration::from_millis(700), "{took:?}");
    for (name, ((status, text), took), why, at_ms) in [
        (
            "trickle",
            trickle,
            "less than 4000 bytes a second",
            200..700,
        ),
        (
            "stalls",
            stalls,
            "less than 4000 bytes a second",
            600..1_400,
        ),
        ("endless", endless, "did not arrive within", 1_500..2_500),
    ] {
        assert_eq!(status, 503, "{name}: {text}");
        assert!(
            text.contains("\"body_timeout\"") && text.contains(why),
            "{name}: {text}"
        );
        assert!(text.contains("fewer batches"), "it says what to do: {text}");
        assert!(at_ms.contains(&took.as_millis()), "{name}: {took:?}");
    }
    assert_eq!(collector.set_aside(), 0);
}
