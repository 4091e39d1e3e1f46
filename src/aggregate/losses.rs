//! What has become of batches that were missing, and of samples that were dropped: everything since the last seal.

use hashbrown::HashMap;
use tillwatch_model::event::{DROPPED, DropReading};
use tillwatch_model::sequence::{Ended, How};
use tillwatch_model::time::{HOUR_MS, window_start_ms};
use tillwatch_model::{BatchHeader, BatchSize, Catalogue, LossRow, LossState};

use crate::aggregate::terminals::TerminalRef;

/// Numbers of a terminal's queue that are missing no more.
#[derive(Debug, Clone, Copy)]
pub struct Missed<'t> {
    /// Number of the terminal's store.
    pub store: u32,
    /// The terminal.
    pub terminal: TerminalRef<'t>,
    /// How many samples its batches hold, about.
    pub size: BatchSize,
    /// The queue.
    pub queue: [u8; 16],
    /// What has become of them.
    pub ended: Ended,
}

impl Missed<'_> {
    /// How many batches are lost by it.
    #[must_use]
    pub fn lost(&self) -> u64 {
        if self.ended.how == How::Came {
            0
        } else {
            self.ended.to - self.ended.from + 1
        }
    }
}

/// Numbers of one queue that began to be missing at once and ended in one way are one row, however they came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    store_id: Box<str>,
    terminal_id: Box<str>,
    queue: [u8; 16],
    state: LossState,
    reason: Box<str>,
    opened_at_ms: i64,
}

#[derive(Debug, Clone, Copy)]
struct Sums {
    from: u64,
    to: u64,
    batches: u64,
    samples: u64,
    ended_at_s: u32,
}

fn seconds(t_ms: i64) -> u32 {
    u32::try_from(t_ms.div_euclid(1_000)).unwrap_or(0)
}

/// Rows by their keys.
#[derive(Debug, Clone, Default)]
pub struct OpenLosses {
    rows: HashMap<Key, Vec<Sums>, foldhash::fast::RandomState>,
    count: usize,
}

impl OpenLosses {
    /// Rows that are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Notes numbers that are missing no more.
    #[cold]
    pub fn note(&mut self, missed: &Missed<'_>, now_ms: i64) {
        let Ended {
            from,
            to,
            since_ms,
            how,
        } = missed.ended;
        let (state, reason) = match how {
            How::Came => (LossState::Closed, ""),
            How::TooOld => (LossState::Lost, "too_old"),
            How::TooFarBehind => (LossState::Lost, "too_far_behind"),
            How::GivenUp => (LossState::Lost, "given_up"),
        };
        let key = Key {
            store_id: missed.terminal.store_id.into(),
            terminal_id: missed.terminal.terminal_id.into(),
            queue: missed.queue,
            state,
            reason: reason.into(),
            opened_at_ms: since_ms,
        };
        let batches = to - from + 1;
        let sums = Sums {
            from,
            to,
            batches,
            samples: missed.size.of(batches),
            ended_at_s: seconds(now_ms),
        };
        let rows = self.rows.entry(key).or_default();
        if let Some(row) = rows.first_mut() {
            row.from = row.from.min(sums.from);
            row.to = row.to.max(sums.to);
            row.batches += sums.batches;
            row.samples = row.samples.saturating_add(sums.samples);
            row.ended_at_s = row.ended_at_s.max(sums.ended_at_s);
        } else {
            rows.push(sums);
            self.count += 1;
        }
    }

    /// Notes what a terminal has said that it dropped, and how many batches that explains.
    #[cold]
    pub fn explain(
        &mut self,
        (terminal, header): (TerminalRef<'_>, &BatchHeader<'_>),
        drop: &DropReading,
        batches: u64,
        catalogue: &Catalogue,
    ) {
        let t_ms = drop.t_raw_ms.saturating_add(header.applied_offset_ms);
        let metric = catalogue.named(DROPPED);
        let reason = metric.map_or("", |metric| metric.label_value(drop.reason));
        let key = Key {
            store_id: terminal.store_id.into(),
            terminal_id: terminal.terminal_id.into(),
            queue: drop.queue,
            state: LossState::Explained,
            reason: reason.into(),
            // What never had a number is told apart by the hour alone.
            opened_at_ms: if drop.is_numbered() {
                t_ms
            } else {
                window_start_ms(t_ms, HOUR_MS)
            },
        };
        let rows = self.rows.entry(key).or_default();
        if !drop.is_numbered()
            && let Some(row) = rows.first_mut()
        {
            row.samples = row.samples.saturating_add(drop.samples);
            row.ended_at_s = row.ended_at_s.max(seconds(header.received_at_ms));
            return;
        }
        // Each report is a row of its own: their numbers need not be neighbours.
        rows.push(Sums {
            from: drop.from,
            to: drop.to,
            batches,
            samples: drop.samples,
            ended_at_s: seconds(header.received_at_ms),
        });
        self.count += 1;
    }

    /// Empties the ledger.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// The rows, in an order that does not depend on chance. Rows that agree in all but their sums are one.
    #[must_use]
    pub fn into_rows(self) -> Vec<LossRow> {
        let of_key = |(key, sums): (Key, Vec<Sums>)| {
            sums.into_iter().map(move |sums| LossRow {
                store_id: key.store_id.clone(),
                terminal_id: key.terminal_id.clone(),
                queue: key.queue,
                state: key.state,
                reason: key.reason.clone(),
                from: sums.from,
                to: sums.to,
                batches: sums.batches,
                samples: sums.samples,
                opened_at_ms: key.opened_at_ms,
                ended_at_s: sums.ended_at_s,
            })
        };
        let mut rows: Vec<LossRow> = self.rows.into_iter().flat_map(of_key).collect();
        // By what ClickHouse tells rows apart by: of two that agree in it, it would keep one.
        let identity = |row: &LossRow| {
            let who = (row.store_id.clone(), row.terminal_id.clone(), row.queue);
            let what = (row.state, row.reason.clone(), row.from, row.to);
            (who, what, row.opened_at_ms, row.ended_at_s)
        };
        rows.sort_by_cached_key(identity);
        rows.dedup_by(|later, kept| {
            let is_same = identity(later) == identity(kept);
            if is_same {
                kept.batches += later.batches;
                kept.samples = kept.samples.saturating_add(later.samples);
            }
            is_same
        });
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missed(how: How, from: u64, to: u64, since_ms: i64) -> Missed<'static> {
        let mut size = BatchSize::default();
        size.note(10);
        Missed {
            store: 1,
            terminal: TerminalRef {
                store_id: "store-1",
                terminal_id: "till-1",
            },
            size,
            queue: [7; 16],
            ended: Ended {
                from,
                to,
                since_ms,
                how,
            },
        }
    }

    #[test]
    fn what_ended_together_is_one_row_and_each_drop_is_its_own() {
        let mut losses = OpenLosses::default();
        losses.note(&missed(How::Came, 12, 12, 1_000), 9_000);
        losses.note(&missed(How::Came, 10, 11, 1_000), 9_500);
        losses.note(&missed(How::Came, 30, 30, 2_000), 9_500);
        losses.note(&missed(How::TooOld, 40, 49, 3_000), 9_500);
        let header = BatchHeader {
            received_at_ms: 9_700,
            offset_ms: 0,
            applied_offset_ms: 0,
            store_id: "store-1",
            terminal_id: "till-1",
            queue: [7; 16],
            seq: 0,
            is_keyed: false,
            browser: None,
            release: "1",
            source: tillwatch_model::Source::Rum,
            session: None,
        };
        let drop = |from: u64, to: u64| DropReading {
            queue: [7; 16],
            from,
            to,
            samples: 5,
            reason: 0,
            t_raw_ms: 8_000,
        };
        let catalogue = Catalogue::default();
        losses.explain(
            (TerminalRef::of(&header), &header),
            &drop(60, 61),
            2,
            &catalogue,
        );
        losses.explain(
            (TerminalRef::of(&header), &header),
            &drop(70, 70),
            1,
            &catalogue,
        );
        // Said twice in one batch, by mistake: one row, and both are counted.
        losses.explain(
            (TerminalRef::of(&header), &header),
            &drop(70, 70),
            0,
            &catalogue,
        );
        // What had no number is one row an hour.
        let unnumbered = DropReading {
            queue: [0; 16],
            ..drop(0, 0)
        };
        for _ in 0..3 {
            losses.explain(
                (TerminalRef::of(&header), &header),
                &unnumbered,
                0,
                &catalogue,
            );
        }
        assert_eq!((losses.len(), losses.is_empty()), (7, false));
        let rows = losses.take().into_rows();
        assert!(losses.is_empty());
        let of: Vec<_> = rows
            .iter()
            .map(|row| {
                (
                    row.state.name(),
                    &*row.reason,
                    row.from,
                    row.to,
                    row.batches,
                    row.samples,
                )
            })
            .collect();
        let expected = [
            ("explained", "quota", 0, 0, 0, 15),
            ("closed", "", 10, 12, 3, 30),
            ("closed", "", 30, 30, 1, 10),
            ("explained", "quota", 60, 61, 2, 5),
            ("explained", "quota", 70, 70, 1, 10),
            ("lost", "too_old", 40, 49, 10, 100),
        ];
        assert_eq!(of, expected);
        assert_eq!((rows[1].opened_at_ms, rows[1].ended_at_s), (1_000, 9));
    }
}
