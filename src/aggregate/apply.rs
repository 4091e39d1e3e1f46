//! Applies one record after another.

use tillwatch_model::journal_act_v1::{self, Act};
use tillwatch_model::journal_record_v1::{self, Entries, RecordError};
use tillwatch_model::{BatchHeader, Entry, FirstResult, HistogramReading};

use crate::aggregate::aggregator::Aggregator;
use crate::aggregate::live::Brought;
use crate::aggregate::open::Shared;
use crate::aggregate::terminal_hours::OVERFLOW_TERMINAL;
use crate::aggregate::terminals::{LastValue, Terminal, TerminalRef, Terminals};

impl Aggregator {
    /// Applies the record at `position`. One that cannot be read is counted and passed over.
    ///
    /// # Errors
    /// Says why the record could not be read; the position has moved on all the same.
    pub fn apply(&mut self, position: u64, payload: &[u8]) -> Result<(), RecordError> {
        self.totals.records += 1;
        let result = self.apply_record(payload);
        self.sessions.end();
        if result.is_err() {
            self.totals.unreadable += 1;
        }
        self.applied = position;
        result
    }

    fn apply_record(&mut self, payload: &[u8]) -> Result<(), RecordError> {
        if journal_act_v1::is_act(payload) {
            self.apply_act(journal_act_v1::decode(payload)?);
            return Ok(());
        }
        let (header, entries) = journal_record_v1::decode(payload)?;
        let received_at_ms = header.received_at_ms;
        self.journal_ms = received_at_ms;
        let overflowed = self.stores.overflowed + self.releases.overflowed;
        let shared = Shared {
            store: self.stores.index(header.store_id, received_at_ms),
            release: self.releases.index(header.release, received_at_ms),
            source: header.source,
        };
        // The sets count since the start, the totals since ever.
        self.totals.overflowed += self.stores.overflowed + self.releases.overflowed - overflowed;
        let is_named = self.stores.is_named(shared.store);
        let (mut terminal, is_fresh, lost) = if header.is_keyed {
            let is_fresh = !self.keys.contains_key(&header.queue);
            let terminal = touch(&mut self.terminals, &header, (shared, is_named));
            (terminal, is_fresh, 0)
        } else {
            let order = (header.seq, shared.store, received_at_ms);
            let applied = self.terminals.apply(key_of(&header), header.queue, order);
            (Some(applied.0), applied.1, applied.2)
        };
        if !is_fresh {
            self.totals.repeated += 1;
            return Ok(());
        }
        self.totals.terminals_overflowed += u64::from(terminal.is_none());
        if let Some(terminal) = &mut terminal {
            terminal.release = shared.release;
            if terminal.take_offset(header.offset_ms, received_at_ms) {
                self.live.clock_jumped(shared.store);
            }
            terminal.levels.resize(self.layout.levels(), None);
        }
        let number = terminal.as_ref().and_then(|terminal| terminal.changed);
        let number = number.filter(|_| is_named).unwrap_or(OVERFLOW_TERMINAL);
        self.sessions.begin(header.session, shared.store);
        self.live.report(shared, received_at_ms, header.offset_ms);
        self.live.lost(shared.store, lost);
        if header.is_keyed {
            self.keys
                .insert(header.queue, first_result(entries.clone(), received_at_ms));
        }
        for entry in entries {
            let (reading, histogram, value) = match entry? {
                Entry::Rejected(_, samples) => {
                    self.totals.rejected += samples;
                    continue;
                }
                Entry::Sample(reading, value) => (reading, None, value),
                Entry::Histogram(reading, histogram) => (reading, Some(histogram), 0),
            };
            let Some(metric) = self.catalogue.by_code(reading.metric) else {
                self.totals.unknown += 1;
                continue;
            };
            let t_ms = reading.t_raw_ms.saturating_add(header.applied_offset_ms);
            let brought = histogram
                .as_ref()
                .map_or(Brought::Value(value), Brought::Histogram);
            let before = self.windows.samples;
            match &histogram {
                None => self.windows.sample(shared, metric, &reading, (t_ms, value)),
                Some(histogram) => {
                    self.windows
                        .histogram(shared, metric, &reading, (t_ms, histogram));
                }
            }
            self.totals.accepted += self.windows.samples - before;
            self.sessions.add(metric, (t_ms, reading.label), brought);
            if metric.per_terminal {
                let at = (&reading, t_ms);
                self.terminal_hours
                    .add((shared, number), metric, at, brought);
            }
            let (times, what) = ((t_ms, received_at_ms), (reading.label, brought));
            let is_live = self.live.add(shared, metric, times, what);
            if is_live
                && let Some(at) = self.layout.place(metric).level
                && let Some(terminal) = &mut terminal
            {
                let last = last_value(histogram.as_ref(), (t_ms, reading.t_raw_ms, value));
                terminal.keep_level(at, last);
            }
        }
        Ok(())
    }

    /// Gives up what has been silent for too long.
    fn age(&mut self, now_ms: i64) {
        let live = &mut self.live;
        let lost = |store, batches| live.lost(store, batches);
        self.totals.lost_batches += self.terminals.age(now_ms, lost);
        for store_id in self.stores.silent() {
            self.retire_store(&store_id);
        }
    }

    /// Puts right what was noted while the clock was ahead.
    fn set_right(&mut self, at_ms: i64) {
        self.terminals.set_right(at_ms);
        self.live.set_right(at_ms);
        self.stores.set_right(at_ms);
        self.releases.set_right(at_ms);
    }

    fn apply_act(&mut self, act: Act<'_>) {
        match act {
            Act::RetireStore { store_id, at_ms } => {
                self.journal_ms = at_ms;
                self.retire_store(store_id);
            }
            Act::Clock { at_ms, is_settled } => {
                self.journal_ms = at_ms;
                self.set_right(at_ms);
                // No batch's time is good enough: one that came while the clock was wrong would do.
                if is_settled {
                    self.age(at_ms);
                }
            }
        }
    }

    /// Ends a store's series. Its open windows, its rows at rest and its sequence windows stay: a batch
    /// sent again is still known.
    fn retire_store(&mut self, store_id: &str) {
        if let Some(index) = self.stores.remove(store_id) {
            self.live.forget_store(index);
        }
        self.terminals.retire(store_id);
    }
}

/// Of a histogram the greatest value stands for its end: what limits are about.
fn last_value(
    histogram: Option<&HistogramReading>,
    (t_ms, t_raw_ms, value): (i64, i64, u64),
) -> LastValue {
    let (span_ms, value) =
        histogram.map_or((0, value), |histogram| (histogram.span_ms, histogram.max));
    LastValue {
        t_ms: t_ms.saturating_add(span_ms),
        t_raw_ms: t_raw_ms.saturating_add(span_ms),
        value,
    }
}

fn key_of<'h>(header: &BatchHeader<'h>) -> TerminalRef<'h> {
    TerminalRef {
        store_id: header.store_id,
        terminal_id: header.terminal_id,
    }
}

/// The terminal of a keyed batch; `None`: it has no place. In a store without series it gets none: nobody
/// would see it.
fn touch<'t>(
    terminals: &'t mut Terminals,
    header: &BatchHeader<'_>,
    (shared, is_named): (Shared, bool),
) -> Option<&'t mut Terminal> {
    let at = (shared.store, header.received_at_ms);
    is_named.then(|| terminals.touch(key_of(header), at))?
}

/// What a batch came to, as its sender was told.
fn first_result(entries: Entries<'_>, received_at_ms: i64) -> FirstResult {
    let mut first = FirstResult {
        received_at_ms,
        accepted: 0,
        rejected: 0,
    };
    for entry in entries.flatten() {
        match entry {
            Entry::Sample(..) => first.accepted += 1,
            Entry::Histogram(_, histogram) => {
                let counts = histogram.counts.iter();
                first.accepted =
                    counts.fold(first.accepted, |sum, count| sum.saturating_add(*count));
            }
            Entry::Rejected(_, samples) => first.rejected = first.rejected.saturating_add(samples),
        }
    }
    first
}
