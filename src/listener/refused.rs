//! Counts, tells apart and logs the bytes that never became a request.

use crate::listed::listed;
use crate::self_metrics as names;
use crate::throttle::Throttle;

listed! {
    /// Why something did not become a request.
    pub(super) enum Refused {
        /// The head is over its limit of bytes or of fields.
        TooLarge = "too_large",
        /// The bytes are not HTTP/1, or contradict themselves.
        Malformed = "malformed",
        /// The client begins TLS.
        Tls = "tls",
        /// The client begins HTTP/2 without asking.
        Http2 = "http2",
        /// A balancer begins with a line of the PROXY protocol.
        Proxy = "proxy",
        /// The client closed its side in the middle of a head.
        Incomplete = "incomplete",
        /// The rest of the head did not come in time.
        TimedOut = "timeout",
    }
}

impl Refused {
    /// What hyper's error and the bytes it could not use come to; `None` when a request was under way, or
    /// nothing was.
    pub(super) fn of(error: &hyper::Error, rest: &[u8]) -> Option<Self> {
        if error.is_incomplete_message() {
            return Some(Self::Incomplete);
        }
        if !error.is_parse() {
            return None;
        }
        Some(if error.is_parse_too_large() {
            Self::TooLarge
        } else if rest.starts_with(b"\x16\x03") {
            Self::Tls
        } else if rest.starts_with(b"PRI * HTTP/2") {
            Self::Http2
        } else if rest.starts_with(b"PROXY ") || rest.starts_with(b"\0\r\nQUIT\n") {
            Self::Proxy
        } else {
            Self::Malformed
        })
    }

    /// Says whether hyper has given the answer.
    pub(super) fn is_answered_by_hyper(self, error: &hyper::Error) -> bool {
        self != Self::Incomplete && !error.is_parse_version_h2()
    }

    /// Says what to do about the bytes.
    fn advice(self) -> &'static str {
        match self {
            Self::TooLarge => {
                "a head over 16 KiB or 100 fields, answered 431; cookies of the terminal's site, as a rule"
            }
            Self::Malformed => {
                "not HTTP/1, answered 400; behind a body that is longer than its Content-Length, the rest of it"
            }
            Self::Tls => {
                "TLS, answered 400; there is none on this port: use http://, name a certificate (tls_certificate), or use a proxy that ends TLS"
            }
            Self::Http2 => "HTTP/2, answered 400; speak HTTP/1.1",
            Self::Proxy => {
                "a PROXY line, answered 400; switch the PROXY protocol off in the balancer"
            }
            Self::Incomplete => "its client closed in the middle of a head",
            Self::TimedOut => "the rest of a head did not come within head_timeout, answered 408",
        }
    }
}

/// The answer to bytes that are no request; hyper's own looks the same.
pub(super) const BAD_REQUEST: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
pub(super) const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
/// The answer to a request that should have come by TLS.
pub(super) const HTTPS_ONLY: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: 38\r\n\r\nthis port speaks HTTPS: use https://\r\n";

/// A throttle for each reason, so that a flood of one does not hide another.
static THROTTLES: [Throttle; Refused::ALL.len()] =
    [const { Throttle::new("what came was no request") }; Refused::ALL.len()];

/// Counts the refusals of one listener.
#[derive(Debug)]
pub(super) struct Refusals {
    listener: &'static str,
    counters: [metrics::Counter; Refused::ALL.len()],
}

impl Refusals {
    pub(super) fn new(listener: &'static str) -> Self {
        let counter = |refused: Refused| metrics::counter!(names::HEADS_REFUSED, "listener" => listener, "reason" => refused.name());
        Self {
            listener,
            counters: Refused::ALL.map(counter),
        }
    }

    pub(super) fn note(&self, refused: Refused) {
        let at = refused as usize;
        if let Some(counter) = self.counters.get(at) {
            counter.increment(1);
        }
        if let Some(suppressed) = THROTTLES.get(at).and_then(Throttle::pass) {
            // The line has nothing of what came, nor from where: either may be a person's.
            tracing::warn!(
                listener = self.listener,
                reason = refused.name(),
                suppressed,
                "no request: {}",
                refused.advice()
            );
        }
    }
}
