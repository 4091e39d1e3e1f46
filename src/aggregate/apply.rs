//! Applies one record after another.

use tillwatch_model::dimension::{APP_PREFIX, NEW_RELEASE};
use tillwatch_model::journal_act_v1::{self};
use tillwatch_model::journal_record_v1::{self, Entries, RecordError};
use tillwatch_model::sequence::Ended;
use tillwatch_model::time::HOUR_MS;
use tillwatch_model::{BatchHeader, Entry, FirstResult, Source};

use crate::aggregate::acts::note_ended;
use crate::aggregate::aggregator::Aggregator;
use crate::aggregate::brought::{Arrival, Brought, Shared};
use crate::aggregate::cut::Totals;
use crate::aggregate::entries::{Aside, kept, taken};
use crate::aggregate::layout::Layout;
use crate::aggregate::names::{NameSet, OVERFLOW_INDEX};
use crate::aggregate::open::OpenWindows;
use crate::aggregate::proposals::{Reporter, Word};
use crate::aggregate::row_quota::{Judgement, Maker, Overdrawn};
use crate::aggregate::sessions::OpenSessions;
use crate::aggregate::terminal_hours::{OVERFLOW_TERMINAL, OpenTerminalHours};
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
        let shared = self.shared(&header);
        let is_named = self.stores.is_named(shared.store);
        let is_app = is_app(&header);
        let hour = received_at_ms.div_euclid(HOUR_MS);
        let account = account(shared.store, is_app);
        let (mut terminal, is_fresh, lost, ended) = if header.is_keyed {
            let is_fresh = self.note_key(&header, &entries, (account, hour));
            let has_terminal = is_named && !is_app;
            let terminal = touch(&mut self.terminals, &header, shared, has_terminal);
            (terminal, is_fresh, 0, Vec::new())
        } else {
            numbered(&mut self.terminals, &mut self.totals, &header, shared)
        };
        if !is_fresh {
            self.totals.repeated += 1;
            return Ok(());
        }
        self.totals.terminals_overflowed += u64::from(terminal.is_none() && !is_app);
        if let Some(terminal) = &mut terminal
            && arrive(terminal, &header, shared, self.layout.levels())
        {
            self.live.clock_jumped(shared.store);
        }
        let number = terminal.as_ref().and_then(|terminal| terminal.changed);
        let number = number.filter(|_| is_named).unwrap_or(OVERFLOW_TERMINAL);
        self.sessions.begin(header.session, shared.store);
        if !is_app {
            let is_numbered = !header.is_keyed;
            let live = &mut self.live;
            live.report(shared, received_at_ms, header.offset_ms, is_numbered);
        }
        self.live.lost(shared.store, lost);
        let losses = (&mut self.losses, shared.store);
        note_ended(losses, &header, terminal.as_deref(), &ended);
        let opened = (&self.windows, &self.terminal_hours, &self.sessions);
        let (rows_before, samples_before) = (open_rows(opened), self.windows.samples);
        let mut aside = Aside::default();
        for entry in entries {
            let entry = taken(entry?, &mut self.totals, &mut aside);
            let Some((mut reading, histogram, value)) = entry else {
                continue;
            };
            let brought = histogram
                .as_ref()
                .map_or(Brought::Value(value), Brought::Histogram);
            let known = (self.catalogue.as_ref(), &mut self.totals);
            let metric = kept(known, &mut reading, shared.source, brought);
            let arrival = Arrival::new((&header, shared), metric, &reading, brought);
            let before = self.windows.samples;
            self.windows.add(&arrival);
            self.totals.accepted += self.windows.samples - before;
            self.sessions.add(&arrival);
            if metric.per_terminal {
                self.terminal_hours.add(&arrival, number);
            }
            let is_live = self.live.add(&arrival);
            if let Some(terminal) = &mut terminal {
                note(terminal, &self.layout, &arrival, is_live);
            }
        }
        let opened = (&self.windows, &self.terminal_hours, &self.sessions);
        // A drop makes a row of the ledger of losses.
        let mut rows = open_rows(opened) - rows_before + aside.drops.len();
        if let Some(terminal) = &mut terminal {
            terminal.hear(&aside.events, header.applied_offset_ms);
        }
        let names = (&mut self.event_names, &mut self.known_errors);
        let batch = (&header, shared);
        rows += self
            .event_groups
            .add(aside.events, batch, &self.releases, names);
        rows += self.summaries.add(&aside.summaries, &header, shared);
        let samples = self.windows.samples - samples_before;
        let terminal_rows = terminal.map_or(usize::MAX, |terminal| {
            terminal.batch_size.note(samples);
            terminal.rows.add(hour, rows)
        });
        if !aside.drops.is_empty() {
            self.note_drops(&aside.drops, &header, shared.store);
        }
        if let Some(store_rows) = self.row_quota.charge(account, hour, rows) {
            self.judge_rows(&header, hour, terminal_rows, store_rows);
        }
        Ok(())
    }

    /// Notes the key of a batch; whether it is fresh.
    fn note_key(
        &mut self,
        header: &BatchHeader<'_>,
        entries: &Entries<'_>,
        account_hour: (u32, i64),
    ) -> bool {
        if self.keys.contains_key(&header.queue) {
            return false;
        }
        let first = first_result(entries.clone(), header.received_at_ms);
        self.keys.insert(header.queue, first);
        *self.key_counts.entry(account_hour).or_default() += 1;
        true
    }

    /// Notes a terminal that has made as many rows as it may, or its store. A terminal without a place is not counted
    /// by itself, so it gets nothing of what the others leave. Stores without a name are one store.
    #[cold]
    fn judge_rows(
        &mut self,
        header: &BatchHeader<'_>,
        hour: i64,
        terminal_rows: usize,
        store_rows: usize,
    ) {
        let maker = if is_app(header) || self.stores.find(header.store_id).is_none() {
            if !self.row_quota.is_used_up(store_rows, hour) {
                return;
            }
            Maker::Unnamed(self.stores.placed())
        } else {
            let of_store = self.terminals.of_store(header.store_id);
            let terminals = of_store.map_or(1, |store| store.active().max(1));
            let store_id = header.store_id.into();
            match self.row_quota.judge(terminal_rows, store_rows, terminals) {
                Judgement::Within => return,
                Judgement::TerminalOver => Maker::Terminal(store_id, header.terminal_id.into()),
                Judgement::StoreOver => Maker::Store(store_id),
            }
        };
        self.row_quota.note(Overdrawn {
            maker,
            hour,
            store_rows,
        });
    }

    /// What all readings of a batch have in common.
    fn shared(&mut self, header: &BatchHeader<'_>) -> Shared {
        let overflowed = self.stores.overflowed + self.releases.overflowed;
        let shared = Shared {
            store: self.stores.index(header.store_id, header.received_at_ms),
            release: self.release(header),
            source: header.source,
        };
        self.forget_evicted();
        // The sets count since the start, the totals since ever.
        self.totals.overflowed += self.stores.overflowed + self.releases.overflowed - overflowed;
        shared
    }

    /// The number of a batch's release.
    fn release(&mut self, header: &BatchHeader<'_>) -> u32 {
        let known = self.releases.known(header.release, header.received_at_ms);
        known.unwrap_or_else(|| self.new_release(header))
    }

    /// The number of a release that has no name yet: its own, or the one that all such releases share.
    #[cold]
    fn new_release(&mut self, header: &BatchHeader<'_>) -> u32 {
        let (release, now_ms) = (header.release, header.received_at_ms);
        if NameSet::is_reserved(release) {
            return self.releases.index(release, now_ms);
        }
        // Whoever has read an application's key could give all names away.
        if is_app(header) {
            return self.releases.index(NEW_RELEASE, now_ms);
        }
        let of_store = self.terminals.of_store(header.store_id);
        let by = Reporter {
            store_id: header.store_id,
            terminal_id: header.terminal_id,
            is_alone: of_store.is_none_or(|store| store.is_alone(header.terminal_id)),
        };
        match self.proposals.hear(release, by, now_ms) {
            Word::Name => {
                let index = self.releases.index(release, now_ms);
                if self.releases.is_named(index) {
                    self.proposals.settle(release);
                }
                index
            }
            Word::Wait => self.releases.index(NEW_RELEASE, now_ms),
            Word::TooMany => self.releases.overflow(),
        }
    }

    /// Lets go of what stores and releases had that have made room for others.
    fn forget_evicted(&mut self) {
        for (store_id, index) in self.stores.take_evicted() {
            self.live.forget_store(index);
            self.row_quota.forget_store(index);
            self.terminals.lose_name(&store_id);
        }
        for (release, index) in self.releases.take_evicted() {
            self.live.forget_release(index);
            self.event_names.forget(&release);
            self.known_errors.forget(&release);
        }
    }
}

/// Notes what a batch says of its terminal; whether the terminal's clock was moved.
fn arrive(
    terminal: &mut Terminal,
    header: &BatchHeader<'_>,
    shared: Shared,
    levels: usize,
) -> bool {
    terminal.release = shared.release;
    terminal.browser = header.browser.or(terminal.browser);
    // A terminal that people use may be probed, too, and stays theirs. One that is new has no levels yet.
    let may_be_probe = terminal.is_synthetic || terminal.levels.is_empty();
    terminal.is_synthetic = may_be_probe && header.source != Source::Rum;
    terminal.levels.resize(levels, None);
    terminal.take_offset(header.offset_ms, header.received_at_ms)
}

/// Whether a batch came with the key of a browser application, which everybody can read.
fn is_app(header: &BatchHeader<'_>) -> bool {
    header.is_keyed && header.terminal_id.starts_with(APP_PREFIX)
}

/// The store whose share something takes: what applications bring takes that of stores without a name.
fn account(store: u32, is_app: bool) -> u32 {
    if is_app { OVERFLOW_INDEX } else { store }
}

/// Rows by window, by terminal and by session that are open. Only those of windows have buckets, so the others weigh
/// half.
fn open_rows(
    (windows, terminal_hours, sessions): (&OpenWindows, &OpenTerminalHours, &OpenSessions),
) -> usize {
    windows.len() + (terminal_hours.len() + sessions.len()) / 2
}

/// Keeps when a terminal measured and, of what is live, what it said last.
fn note(terminal: &mut Terminal, layout: &Layout, arrival: &Arrival<'_>, is_live: bool) {
    if arrival.shared.source == Source::Rum {
        terminal.habit.note(arrival.t_ms, arrival.received_at_ms);
    }
    if !is_live {
        return;
    }
    if let Some(at) = layout.place(arrival.metric).level {
        terminal.keep_level(at, last_value(arrival));
    }
    if let Some(trouble) = layout.trouble(arrival.reading, greatest(arrival.brought)) {
        terminal.note_trouble(trouble, arrival.t_ms);
    }
}

/// Of a histogram the greatest value stands for its end: what limits are about.
/// A histogram does not say which of its values was the last. The greatest stands for it, as of the beginning of its span,
/// so that a sample from within the span is always newer.
fn last_value(arrival: &Arrival<'_>) -> LastValue {
    LastValue {
        t_ms: arrival.t_ms,
        t_raw_ms: arrival.reading.t_raw_ms,
        value: greatest(arrival.brought),
    }
}

fn greatest(brought: Brought<'_>) -> u64 {
    match brought {
        Brought::Value(value) => value,
        Brought::Histogram(histogram) => histogram.max,
    }
}

/// The terminal of a keyed batch; `None`: it has no place. An application has none, and in a store without series it
/// gets none: nobody would see it.
fn touch<'t>(
    terminals: &'t mut Terminals,
    header: &BatchHeader<'_>,
    shared: Shared,
    has_terminal: bool,
) -> Option<&'t mut Terminal> {
    let now_ms = header.received_at_ms;
    has_terminal.then(|| terminals.touch(TerminalRef::of(header), shared.store, now_ms))?
}

type NumberedTerminal<'t> = (Option<&'t mut Terminal>, bool, u64, Vec<([u8; 16], Ended)>);

/// The terminal of a batch with a number in its queue; whether the number is fresh; how many batches are lost by
/// it that were not counted so before; what has become of numbers that were missing.
fn numbered<'t>(
    terminals: &'t mut Terminals,
    totals: &mut Totals,
    header: &BatchHeader<'_>,
    shared: Shared,
) -> NumberedTerminal<'t> {
    let queue = (header.queue, header.seq);
    let now_ms = header.received_at_ms;
    let applied = terminals.apply(TerminalRef::of(header), queue, shared.store, now_ms);
    totals.lost_batches += applied.forgotten;
    (
        Some(applied.terminal),
        applied.is_fresh,
        applied.lost,
        applied.ended,
    )
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
            Entry::Event(_) | Entry::Drop(_) | Entry::Summary(_) | Entry::Later => {}
        }
    }
    first
}
