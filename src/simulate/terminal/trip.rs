//! What goes out of a terminal and comes back: the rules, a request under way, the books.

use std::time::Duration;

use crate::simulate::client::Failure;
use crate::simulate::ledger::Ledger;
use crate::simulate::tally::Counts;

/// What all terminals go by.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The time between two batches; none: as soon as the last one is acknowledged.
    pub interval_ms: Option<u64>,
    /// Share of the requests that are sent twice.
    pub resend_share: f64,
    /// The longest wait between two attempts, unless the collector asks for more, ms.
    pub backoff_ms_max: u64,
}

/// Whether terminals go on measuring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// They do.
    Trade,
    /// They only send what they have.
    Drain,
}

/// Which of a terminal's batches a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Measured while running.
    Live,
    /// Made from history.
    Backlog,
    /// Acknowledged before.
    Echo,
}

/// A request under way.
#[derive(Debug)]
pub struct Trip {
    /// What it carries.
    pub load: Load,
    /// How many of them, from the front of their queue.
    pub batches: usize,
    /// Whether they are sent once more when they were acknowledged.
    pub is_echoed: bool,
}

/// A request to be sent.
#[derive(Debug)]
pub struct Outgoing {
    /// The body, not compressed.
    pub body: Vec<u8>,
    /// When the terminal hangs up on purpose.
    pub hang_up_after: Option<Duration>,
}

/// What a terminal's events are written into.
#[derive(Debug)]
pub struct Books<'a> {
    /// Counts.
    pub counts: &'a mut Counts,
    /// What was acknowledged.
    pub ledger: &'a mut Ledger,
}

/// Counts a request without a usable answer.
pub fn count_failure(counts: &mut Counts, failure: Failure) {
    match failure {
        Failure::Connect => counts.errors_connect += 1,
        Failure::Timeout => counts.errors_timeout += 1,
        Failure::Broken => counts.errors_broken += 1,
        Failure::Answer => counts.errors_answer += 1,
        Failure::HungUp => counts.hung_up += 1,
    }
}
