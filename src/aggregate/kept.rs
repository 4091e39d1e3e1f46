//! What a reader keeps of what is open: as it was at one moment, taken in microseconds while the aggregate waits, and
//! looked at where nobody does.

use std::sync::Arc;

use tillwatch_model::metric::Metric;
use tillwatch_model::{EventGroup, Pseudonym, Rollup, SessionDay, TerminalHour};

use crate::aggregate::aggregator::Aggregator;
use crate::aggregate::cells::Chunks;
use crate::aggregate::losses::OpenLosses;
use crate::aggregate::open::{KeptWindows, Tables};
use crate::aggregate::sessions::KeptSessions;
use crate::aggregate::summaries::OpenSummaries;
use crate::aggregate::terminal_hours::KeptTerminalHours;
use crate::aggregate::terminals::TerminalKey;

/// What a reader asks of the open windows.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The metric.
    pub metric: Metric,
    /// First second of the range.
    pub from_s: u32,
    /// First second after the range.
    pub to_s: u32,
    /// Only this store.
    pub store_id: Option<Arc<str>>,
}

/// The open windows at one moment, and what of them is asked for.
#[derive(Debug)]
pub struct OpenRollups {
    windows: KeptWindows,
    tables: Tables,
    filter: Filter,
    /// The number of the store that is asked for; the inner `None`: no window is of it.
    store: Option<Option<u32>>,
}

impl OpenRollups {
    /// Copies of the rows that are asked for, each made when it comes.
    pub fn rows(&self) -> impl Iterator<Item = Rollup> {
        let Filter {
            metric,
            from_s,
            to_s,
            ..
        } = &self.filter;
        self.windows
            .rows(&self.tables, move |of_metric, of_store, start_s| {
                of_metric == metric.code
                    && (*from_s..*to_s).contains(&start_s)
                    && self.store.is_none_or(|wanted| wanted == Some(of_store))
            })
    }
}

/// The open hours of terminals at one moment, and what of them is asked for.
#[derive(Debug)]
pub struct OpenTerminalRows {
    hours: KeptTerminalHours,
    tables: Tables,
    terminals: Chunks<TerminalKey>,
    store: Option<u32>,
    from_s: u32,
}

impl OpenTerminalRows {
    /// Copies of the rows that are asked for, each made when it comes.
    pub fn rows(&self) -> impl Iterator<Item = TerminalHour> {
        let id_of = |number: u32| {
            let key = self.terminals.get(number as usize)?;
            Some(Arc::from(&*key.terminal_id))
        };
        let rows = |store| self.hours.rows(&self.tables, (store, self.from_s), id_of);
        self.store.map(rows).into_iter().flatten()
    }
}

/// The open sessions at one moment, and which of them is asked for.
#[derive(Debug)]
pub struct OpenSessionRows {
    sessions: KeptSessions,
    tables: Tables,
    session: Pseudonym,
}

impl OpenSessionRows {
    /// Copies of the rows that are asked for, each made when it comes.
    pub fn rows(&self) -> impl Iterator<Item = SessionDay> {
        self.sessions.rows(&self.tables, self.session)
    }
}

impl Aggregator {
    /// Keeps the open rows that a reader asks for.
    #[must_use]
    pub fn open_rollups(&self, filter: &Filter) -> OpenRollups {
        let wanted = filter.store_id.as_deref();
        OpenRollups {
            windows: self.windows.keep(),
            tables: self.tables(),
            filter: filter.clone(),
            store: wanted.map(|name| self.stores.find(name)),
        }
    }

    /// Keeps the open rows of a store's terminals since an hour (s), of real users.
    #[must_use]
    pub fn open_terminal_hours(&self, store_id: &str, from_s: u32) -> OpenTerminalRows {
        OpenTerminalRows {
            hours: self.terminal_hours.keep(),
            tables: self.tables(),
            terminals: self.terminals.changed(),
            store: self.stores.find(store_id),
            from_s,
        }
    }

    /// Keeps the open rows of what pages have summed up themselves, and what resolves their names.
    #[must_use]
    pub fn open_summaries(&self) -> (OpenSummaries, Tables) {
        (self.summaries.clone(), self.tables())
    }

    /// Keeps the open groups of events. There are few, and their examples are shared.
    #[must_use]
    pub fn open_event_groups(&self) -> Vec<EventGroup> {
        self.event_groups.rows_now(&self.tables())
    }

    /// Keeps the open rows of the ledger of losses.
    #[must_use]
    pub fn open_losses(&self) -> OpenLosses {
        self.losses.clone()
    }

    /// Keeps the open rows of a session.
    #[must_use]
    pub fn open_session(&self, session: Pseudonym) -> OpenSessionRows {
        OpenSessionRows {
            sessions: self.sessions.keep(),
            tables: self.tables(),
            session,
        }
    }
}
