//! What is missing still, and how many batches there were: as the queues and the live series know it.

use tillwatch_model::sequence::LOST_AFTER_MS;
use uuid::Uuid;

use crate::aggregate::Aggregator;
use crate::aggregate::terminals::StoreTerminals;
use crate::query::losses::{Line, Totals};
use crate::query::losses_request::{LossesRequest, OPEN};

/// Open ranges that are looked at for one answer: as many as all queues may have take a while.
const OPEN_MAX: usize = 20_000;
/// Terminals that are looked at while the aggregate waits, at least; the rest of their store comes with them.
const PIECE: usize = 4_096;

/// What the queues know, taken a piece at a time.
pub(super) struct Look<'r> {
    request: &'r LossesRequest,
    /// The next store.
    place: usize,
    pub(super) is_known: bool,
    pub(super) is_whole: bool,
    pub(super) totals: Totals,
    pub(super) open: Vec<Line>,
}

impl<'r> Look<'r> {
    pub(super) fn new(request: &'r LossesRequest) -> Self {
        Self {
            request,
            place: 0,
            is_known: false,
            is_whole: true,
            totals: Totals::default(),
            open: Vec::new(),
        }
    }

    /// Takes the next piece; says whether there are more.
    pub(super) fn take(&mut self, aggregator: &Aggregator) -> bool {
        let stores = aggregator.terminals().stores();
        if self.place == 0 {
            self.count(aggregator);
        }
        let mut seen = 0;
        while seen < PIECE
            && let Some(store) = stores.get(self.place)
        {
            self.place += 1;
            let wanted = self.request.store_id.as_deref();
            if wanted.is_none_or(|wanted| wanted == &**store.store_id()) && !store.is_empty() {
                self.is_known = true;
                self.take_store(store);
                seen += store.len();
            }
            seen += 1;
        }
        self.place < stores.len()
    }

    /// Adds up what the live series have counted.
    fn count(&mut self, aggregator: &Aggregator) {
        let (names, _) = aggregator.names();
        let totals = &mut self.totals;
        for (number, store) in (0_u32..).zip(aggregator.live().stores()) {
            let wanted = self.request.store_id.as_deref();
            if wanted
                .is_none_or(|wanted| names.is_current(number) && &*names.name(number) == wanted)
            {
                totals.received += store.batches_numbered;
                totals.lost += store.batches_lost;
                totals.explained += store.batches_explained;
            }
        }
        totals.numbered = totals.received + totals.lost + totals.explained;
    }

    fn take_store(&mut self, store: &StoreTerminals) {
        let missing = store.gaps().missing;
        self.totals.open += missing;
        self.totals.numbered += missing;
        if missing == 0 || !self.request.wants_state(OPEN) {
            return;
        }
        for (terminal_id, terminal) in store.iter() {
            for (queue, window) in &terminal.queues {
                for (from, to, since_ms) in window.missing_ranges() {
                    if self.open.len() == OPEN_MAX {
                        self.is_whole = false;
                        return;
                    }
                    let batches = to - from + 1;
                    self.open.push(Line {
                        store_id: store.store_id().to_string(),
                        terminal_id: terminal_id.to_owned(),
                        queue: Some(Uuid::from_bytes(*queue)),
                        from_seq: Some(from),
                        to_seq: Some(to),
                        batches,
                        state: OPEN,
                        reason: String::new(),
                        samples: terminal.batch_size.of(batches),
                        opened_at: since_ms,
                        ended_at: None,
                        may_come_until: Some(since_ms + LOST_AFTER_MS),
                    });
                }
            }
        }
    }
}
