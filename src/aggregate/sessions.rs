//! What sessions measured, by day and store: everything since the last seal.

use tillwatch_model::session::Values;
use tillwatch_model::time::day_of;
use tillwatch_model::{Catalogue, Pseudonym, SessionDay, SessionDayKey, SessionSums};

use crate::aggregate::brought::{Arrival, Brought};
use crate::aggregate::cells::{Cells, Chunks};
use crate::aggregate::open::Tables;

/// What a metric is to a session.
#[derive(Debug, Clone, Copy, Default)]
enum Part {
    /// Only counted.
    #[default]
    Other,
    Lcp,
    OfflineLogin,
    Sync,
    SyncAttempts,
    DbSize,
    Errors,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct OpenSessionKey {
    session: Pseudonym,
    store: u32,
    day: u16,
}

/// Sessions by their keys; one takes about 190 bytes, and up to twice that while the lists have room for more.
#[derive(Debug)]
pub struct OpenSessions {
    /// By metric code.
    parts: Vec<Part>,
    cells: Cells<OpenSessionKey, SessionSums>,
    /// The session of the batch that is being applied, and its sums of one day: a batch mostly is of
    /// one, so that the table is asked once for it.
    current: Option<(OpenSessionKey, SessionSums)>,
}

impl OpenSessions {
    /// No session yet.
    #[must_use]
    pub fn new(catalogue: &Catalogue) -> Self {
        let mut parts = Vec::new();
        for (name, part) in [
            ("lcp_ms", Part::Lcp),
            ("offline_login_duration_ms", Part::OfflineLogin),
            ("sync_duration_ms", Part::Sync),
            ("sync_attempts", Part::SyncAttempts),
            ("db_size_mb", Part::DbSize),
            ("errors", Part::Errors),
        ] {
            let Some(metric) = catalogue.named(name) else {
                continue;
            };
            let code = usize::from(metric.code);
            if parts.len() <= code {
                parts.resize(code + 1, Part::Other);
            }
            parts[code] = part;
        }
        Self {
            parts,
            cells: Cells::default(),
            current: None,
        }
    }

    /// Sessions that are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// A batch of this session begins; without one nothing is kept.
    pub fn begin(&mut self, session: Option<[u8; 16]>, store: u32) {
        self.end();
        self.current = session.map(|session| {
            let session = Pseudonym(session);
            let key = OpenSessionKey {
                session,
                store,
                day: 0,
            };
            (key, SessionSums::default())
        });
    }

    /// Adds what the batch brings at a corrected time.
    pub fn add(&mut self, arrival: &Arrival<'_>) {
        let (metric, t_ms, brought) = (arrival.metric, arrival.t_ms, arrival.brought);
        let label = arrival.reading.label;
        let Some((key, sums)) = &mut self.current else {
            return;
        };
        // As in the windows: a histogram belongs to the day that holds its middle.
        let at_ms = t_ms.saturating_add(brought.span_ms() / 2);
        let day = u16::try_from(day_of(at_ms)).unwrap_or(0);
        if key.day != day {
            flush(&mut self.cells, (*key, *sums));
            (key.day, *sums) = (day, SessionSums::default());
        }
        let values = match brought {
            Brought::Value(value) => Values {
                count: 1,
                sum: value,
                max: value,
            },
            Brought::Histogram(histogram) => Values {
                count: histogram.counts.iter().sum(),
                sum: histogram.sum,
                max: histogram.max,
            },
        };
        sums.first_ms = sums.first_ms.min(at_ms);
        sums.last_ms = sums.last_ms.max(at_ms);
        sums.samples = sums.samples.saturating_add(values.count);
        let part = self.parts.get(usize::from(metric.code));
        match part.copied().unwrap_or_default() {
            Part::Other => {}
            Part::Lcp => sums.lcp.merge(&values),
            Part::OfflineLogin => sums.offline_login.merge(&values),
            Part::Sync => sums.sync.merge(&values),
            Part::SyncAttempts => {
                sums.sync_attempts = sums.sync_attempts.saturating_add(values.sum);
                if metric.label_value(label) == "failure" {
                    sums.sync_failures = sums.sync_failures.saturating_add(values.sum);
                }
            }
            Part::DbSize => sums.db_size_max = sums.db_size_max.max(values.max),
            Part::Errors => sums.errors = sums.errors.saturating_add(values.sum),
        }
    }

    /// The batch is over.
    pub fn end(&mut self) {
        if let Some(current) = self.current.take() {
            flush(&mut self.cells, current);
        }
    }

    /// Empties the sessions.
    pub fn take(&mut self) -> TakenSessions {
        TakenSessions(self.cells.take())
    }

    /// What the sessions hold now.
    pub(super) fn keep(&self) -> KeptSessions {
        KeptSessions(self.cells.keep())
    }
}

/// What sessions held at one moment.
#[derive(Debug)]
pub(super) struct KeptSessions(Chunks<(OpenSessionKey, SessionSums)>);

impl KeptSessions {
    /// Copies of one session's rows.
    pub(super) fn rows(
        &self,
        tables: &Tables,
        session: Pseudonym,
    ) -> impl Iterator<Item = SessionDay> {
        let cells = self.0.iter().filter(move |(key, _)| key.session == session);
        cells.filter_map(|(key, sums)| resolve((*key, *sums), tables))
    }
}

fn flush(
    cells: &mut Cells<OpenSessionKey, SessionSums>,
    (key, sums): (OpenSessionKey, SessionSums),
) {
    // A batch of which every sample was rejected leaves nothing.
    if sums.samples > 0 {
        cells.at(key).merge(&sums);
    }
}

/// Sessions taken out at a seal.
#[derive(Debug)]
pub struct TakenSessions(Chunks<(OpenSessionKey, SessionSums)>);

impl TakenSessions {
    /// The rows, in the order of their keys.
    #[must_use]
    pub fn into_rows(mut self, tables: &Tables) -> Vec<SessionDay> {
        let rows = self.0.take().into_iter();
        let mut rows: Vec<SessionDay> = rows.filter_map(|cell| resolve(cell, tables)).collect();
        rows.sort_unstable_by(|left, right| left.key.cmp(&right.key));
        // One name may have had two numbers, of a store that gave up its place and came back.
        rows.dedup_by(|later, kept| {
            let is_same = later.key == kept.key;
            if is_same {
                kept.sums.merge(&later.sums);
            }
            is_same
        });
        rows
    }
}

fn resolve((key, sums): (OpenSessionKey, SessionSums), tables: &Tables) -> Option<SessionDay> {
    let key = SessionDayKey {
        session: key.session,
        store_id: tables.stores.get(key.store as usize).cloned()?,
        day: key.day,
    };
    Some(SessionDay { key, sums })
}
