//! What is true of one terminal: what its collector should know of it when everything is delivered.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::batch::{Batch, Drop, Note};

/// What becomes of batches that a terminal loses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// The terminal says in a later batch that it has dropped them.
    Explained,
    /// Nobody ever hears of them.
    Unexplained,
    /// They come later.
    Late,
}

/// Batches of neighbouring numbers that a terminal has lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The first number.
    pub from: u64,
    /// The last number.
    pub to: u64,
    /// How many samples they held.
    pub samples: u64,
    /// What becomes of them.
    pub fate: Fate,
    /// When the first of them was lost, simulated Unix ms.
    pub lost_at_ms: i64,
    /// Of those that come late: the numbers that have come.
    pub came: BTreeSet<u64>,
    /// When the last of them came, Unix ms.
    pub came_at_ms: Option<i64>,
    /// Whether the terminal has said that it dropped them, and that was acknowledged.
    pub is_told: bool,
}

/// How often an error happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Happened {
    /// How often.
    pub count: u64,
    /// When first, Unix ms.
    pub first_ms: i64,
    /// How often in batches of which nobody knows whether they were taken.
    pub unsure: u64,
}

/// What is true of one terminal.
#[derive(Debug, Clone, Default)]
pub struct Story {
    /// Since when it is not heard of any more, simulated Unix ms.
    pub silent_since_ms: Option<i64>,
    /// Since when it cannot synchronise, simulated Unix ms.
    pub stuck_since_ms: Option<i64>,
    /// Transactions that it has given up.
    pub given_up: u64,
    /// When it last said how many transactions wait, Unix ms, and how many these are.
    pub pending: Option<(i64, u64)>,
    /// The most transactions that waited.
    pub pending_max: u64,
    /// The highest number that was acknowledged: below it the collector can see what is missing.
    pub highest: Option<u64>,
    /// What it has lost.
    pub ranges: Vec<Range>,
    /// Numbers that were refused for good, or that it holds when the run is over: nobody knows of them.
    pub unsettled: BTreeSet<u64>,
    /// Errors by their fingerprints.
    pub errors: BTreeMap<u64, Happened>,
}

impl Story {
    /// The terminal measures nothing any more from this time on.
    pub fn falls_silent(&mut self, at_ms: i64) {
        // It still sends what it has, and is as silent then.
        self.silent_since_ms = self.silent_since_ms.or(Some(at_ms));
    }

    /// The terminal has lost a batch.
    pub fn lose(&mut self, batch: &Batch, fate: Fate, at_ms: i64) {
        if let Some(last) = self.ranges.last_mut()
            && last.fate == fate
            && last.to.checked_add(1) == Some(batch.seq)
        {
            last.to = batch.seq;
            last.samples += batch.samples();
            return;
        }
        self.ranges.push(Range {
            from: batch.seq,
            to: batch.seq,
            samples: batch.samples(),
            fate,
            lost_at_ms: at_ms,
            came: BTreeSet::new(),
            came_at_ms: None,
            is_told: false,
        });
    }

    /// The range that was lost last, as the terminal tells it.
    pub fn last_lost(&self) -> Option<Drop> {
        self.ranges.last().map(|range| Drop {
            from: range.from,
            to: range.to,
            samples: range.samples,
        })
    }

    /// The batch was acknowledged.
    pub fn acknowledge(&mut self, batch: &Batch, now_ms: i64) {
        self.highest = self.highest.max(Some(batch.seq));
        let late = self.ranges.iter_mut();
        let late = late.filter(|range| (range.from..=range.to).contains(&batch.seq));
        for range in late {
            range.came.insert(batch.seq);
            if range.came.len() as u64 == range.to - range.from + 1 {
                range.came_at_ms = Some(now_ms);
            }
        }
        for note in &batch.notes {
            match *note {
                Note::Error {
                    fingerprint,
                    t_ms,
                    count,
                } => self.happened(fingerprint, t_ms).count += count,
                Note::Dropped { from, to } => {
                    let told = self.ranges.iter_mut();
                    for range in told.filter(|range| (range.from, range.to) == (from, to)) {
                        range.is_told = true;
                    }
                }
                Note::Pending { t_ms, transactions } => {
                    // The newest counts, whenever it comes.
                    self.pending = self.pending.max(Some((t_ms, transactions)));
                    self.pending_max = self.pending_max.max(transactions);
                }
                Note::GivenUp(transactions) => self.given_up += transactions,
            }
        }
    }

    /// Nobody knows whether the batch was taken, or it never will be.
    pub fn doubt(&mut self, batch: &Batch) {
        self.unsettled.insert(batch.seq);
        for note in &batch.notes {
            if let Note::Error {
                fingerprint,
                t_ms,
                count,
            } = *note
            {
                self.happened(fingerprint, t_ms).unsure += count;
            }
        }
    }

    fn happened(&mut self, fingerprint: u64, t_ms: i64) -> &mut Happened {
        let happened = self.errors.entry(fingerprint).or_insert(Happened {
            count: 0,
            first_ms: t_ms,
            unsure: 0,
        });
        happened.first_ms = happened.first_ms.min(t_ms);
        happened
    }
}
