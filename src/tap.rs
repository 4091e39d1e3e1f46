//! Lets operators watch what arrives and what becomes of it, while it arrives.
//!
//! While nobody watches, a batch costs one look at a number. Whoever watches too slowly misses what did not fit, and is
//! told how much: nothing waits for a watcher. What is shown names stores, terminals, releases, numbers of batches and
//! metrics, as far as they are written as identifiers; never a value of a text, a session, a queue or a key, because a
//! person who knows one of these can post in a terminal's place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use schemars::JsonSchema;
use serde::Serialize;
use tillwatch_model::dimension::{is_identifier, is_release};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// What a slow watcher may be behind. Unit: events.
const BEHIND_MAX: usize = 4_096;
/// How many may watch at once: each costs a copy of what passes.
const WATCHERS_MAX: usize = 4;
/// Names of metrics that are shown of one batch.
const METRICS_MAX: usize = 40;

/// What can become of a batch or a request.
pub const OUTCOMES: [&str; 5] = [
    "accepted",
    "duplicate",
    "conflicting",
    "rejected",
    "deferred",
];
/// What something can have come through; `other`: where there is no door.
pub const DOORS: [&str; 5] = ["terminal", "legacy", "faro", "otlp", "other"];

/// The place where all that arrives passes by.
#[derive(Debug)]
pub struct Tap {
    watchers: Arc<AtomicUsize>,
    events: broadcast::Sender<Arc<Event>>,
}

/// Something that arrived.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "what", rename_all = "snake_case")]
#[schemars(rename = "TapLine")]
pub enum Event {
    /// A batch about which all is decided. It is durable once its request is answered with 202, or 200.
    Batch(Batch),
    /// A request that is answered.
    Request(Request),
    /// What a watcher has missed, because it was too slow.
    Missed {
        /// How many events.
        events: u64,
    },
}

/// Who sent something, as far as it may be shown.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[schemars(rename = "TapSender")]
pub struct Sender {
    /// The store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_id: Option<String>,
    /// The terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminal_id: Option<String>,
    /// Release of the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// The number of the batch in its queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

/// A batch, and what becomes of it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Batch {
    /// The name of its request, as the request's answer and the log have it.
    pub request_id: String,
    /// When it arrived. Unit: Unix ms.
    pub received_at_ms: i64,
    /// The door that it came through.
    #[schemars(extend("enum" = DOORS))]
    pub door: &'static str,
    /// Who sent it.
    #[serde(flatten)]
    pub sender: Sender,
    /// `accepted`, `rejected`, `duplicate` or `conflicting`, as a whole.
    #[schemars(extend("enum" = ["accepted", "rejected", "duplicate", "conflicting"]))]
    pub outcome: &'static str,
    /// How many samples are accepted.
    pub accepted: u64,
    /// How many were counted before.
    pub duplicate: u64,
    /// How many are rejected, by reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rejected: BTreeMap<&'static str, u64>,
    /// How many samples and histograms it brings of each metric, whatever becomes of them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, u64>,
}

/// A request, and how it was answered.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Request {
    /// The name of the request, as its answer and the log have it.
    pub request_id: String,
    /// The door that it came to.
    #[schemars(extend("enum" = DOORS))]
    pub door: &'static str,
    /// Who sent it, as its first batch says.
    #[serde(flatten)]
    pub sender: Sender,
    /// How many batches it brought.
    pub batches: usize,
    /// How long its body was, as it was sent. Unit: bytes.
    pub body_bytes: usize,
    /// The status of the answer.
    pub status: u16,
    /// Why it was refused or put off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// How long it took. Unit: ms.
    pub duration_ms: f64,
}

impl Sender {
    /// A sender, without what is not written as it must be.
    #[must_use]
    pub fn of(
        store_id: Option<&str>,
        terminal_id: Option<&str>,
        release: Option<&str>,
        seq: Option<u64>,
    ) -> Self {
        let shown = |text: Option<&str>, is_good: fn(&str) -> bool| {
            text.filter(|text| is_good(text)).map(str::to_owned)
        };
        Self {
            store_id: shown(store_id, is_identifier),
            terminal_id: shown(terminal_id, is_identifier),
            release: shown(release, is_release),
            seq,
        }
    }
}

/// Counts names of metrics, those of strangers only if they are identifiers.
#[must_use]
pub fn count<'n>(names: impl Iterator<Item = &'n str>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for name in names {
        let name = if is_identifier(name) { name } else { "?" };
        if let Some(count) = counts.get_mut(name) {
            *count += 1;
        } else if counts.len() < METRICS_MAX {
            counts.insert(name.to_owned(), 1);
        }
    }
    counts
}

/// What a watcher wants to see; everything that is not named here passes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only of this store.
    pub store_id: Option<String>,
    /// Only of this terminal.
    pub terminal_id: Option<String>,
    /// Only what came to this door.
    pub door: Option<String>,
    /// Only batches of which something has met this outcome, and requests that were refused if it is `rejected`, put
    /// off if it is `deferred`.
    pub outcome: Option<String>,
}

impl Filter {
    fn passes(&self, event: &Event) -> bool {
        let (sender, door) = match event {
            Event::Batch(batch) => (&batch.sender, batch.door),
            Event::Request(request) => (&request.sender, request.door),
            Event::Missed { .. } => return true,
        };
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        is(&self.store_id, sender.store_id.as_deref())
            && is(&self.terminal_id, sender.terminal_id.as_deref())
            && is(&self.door, Some(door))
            && self
                .outcome
                .as_deref()
                .is_none_or(|outcome| has_met(event, outcome))
    }
}

fn has_met(event: &Event, outcome: &str) -> bool {
    match event {
        Event::Batch(batch) => match outcome {
            "accepted" => batch.accepted > 0,
            "duplicate" => batch.duplicate > 0,
            "rejected" => !batch.rejected.is_empty(),
            other => batch.outcome == other,
        },
        Event::Request(request) => match outcome {
            "rejected" => request.code.is_some() && !matches!(request.status, 429 | 503),
            "deferred" => matches!(request.status, 429 | 503),
            _ => false,
        },
        Event::Missed { .. } => true,
    }
}

impl Default for Tap {
    fn default() -> Self {
        Self {
            watchers: Arc::default(),
            events: broadcast::Sender::new(BEHIND_MAX),
        }
    }
}

impl Tap {
    /// Whether anybody watches. Whoever finds nobody shows nothing.
    #[must_use]
    #[inline]
    pub fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0
    }

    /// Shows an event to whoever watches.
    pub fn show(&self, event: Event) {
        // The last watcher may have gone meanwhile.
        let _nobody = self.events.send(Arc::new(event));
    }

    /// Begins to watch; `None`: as many as may watch do.
    #[must_use]
    pub fn watch(&self, filter: Filter) -> Option<Watcher> {
        let place = |watchers: usize| (watchers < WATCHERS_MAX).then_some(watchers + 1);
        let order = Ordering::Relaxed;
        self.watchers.fetch_update(order, order, place).ok()?;
        Some(Watcher {
            filter,
            events: self.events.subscribe(),
            watchers: Arc::clone(&self.watchers),
        })
    }
}

/// Somebody who watches, until this is dropped.
#[derive(Debug)]
pub struct Watcher {
    filter: Filter,
    events: broadcast::Receiver<Arc<Event>>,
    watchers: Arc<AtomicUsize>,
}

impl Watcher {
    /// Waits for the next event that passes the filter; `None`: nothing comes any more.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        loop {
            match self.events.recv().await {
                Ok(event) if self.filter.passes(&event) => return Some(event),
                Ok(_) => {}
                Err(RecvError::Lagged(events)) => return Some(Arc::new(Event::Missed { events })),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(store_id: &str, accepted: u64, rejected: &[(&'static str, u64)]) -> Event {
        Event::Batch(Batch {
            request_id: "r".to_owned(),
            received_at_ms: 1,
            door: "terminal",
            sender: Sender::of(Some(store_id), Some("till 1"), Some("a@b.com"), Some(7)),
            outcome: "accepted",
            accepted,
            duplicate: 0,
            rejected: rejected.iter().copied().collect(),
            metrics: count(["lcp_ms", "lcp_ms", "anna@example.com"].into_iter()),
        })
    }

    #[tokio::test]
    async fn a_watcher_sees_what_passes_its_filter_and_is_told_what_it_missed() {
        let tap = Tap::default();
        assert!(!tap.is_watched());
        let filter = Filter {
            store_id: Some("store-1".to_owned()),
            outcome: Some("rejected".to_owned()),
            ..Filter::default()
        };
        let mut watcher = tap.watch(filter).unwrap();
        assert!(tap.is_watched());
        tap.show(batch("store-2", 0, &[("too_old", 1)]));
        tap.show(batch("store-1", 1, &[]));
        tap.show(batch("store-1", 1, &[("too_old", 2)]));
        let seen = watcher.next().await.unwrap();
        let line = serde_json::to_value(&*seen).unwrap();
        assert_eq!(line["what"], "batch");
        assert_eq!(line["rejected"], serde_json::json!({"too_old": 2}));
        assert_eq!(line["metrics"], serde_json::json!({"lcp_ms": 2, "?": 1}));
        // Neither a name with a space nor an address is shown.
        assert!(line.get("terminal_id").is_none() && line.get("release").is_none());
        for _ in 0..=BEHIND_MAX {
            tap.show(batch("store-1", 1, &[]));
        }
        let missed = watcher.next().await.unwrap();
        assert!(matches!(*missed, Event::Missed { events: 1 }), "{missed:?}");
        drop(watcher);
        assert!(!tap.is_watched());
    }

    #[test]
    fn only_so_many_may_watch() {
        let tap = Tap::default();
        let watchers: Vec<_> = (0..WATCHERS_MAX)
            .map(|_| tap.watch(Filter::default()).unwrap())
            .collect();
        assert!(tap.watch(Filter::default()).is_none());
        drop(watchers);
        assert!(tap.watch(Filter::default()).is_some());
    }
}
