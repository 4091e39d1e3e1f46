//! The rows of all stores as they were when each was looked at last, and what has changed since.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use tillwatch_model::time::MINUTE_MS;

use crate::aggregate::Aggregator;
use crate::aggregate::layout::Layout;
use crate::live::all::{All, Together};
use crate::live::changes::{Change, Changes};
use crate::live::held::Held;
use crate::live::look::{Looks, StoreLook};
use crate::live::row::Window;
use crate::live::shown::Shown;
use crate::live::spark::{MINUTES, Spark};

/// A minute is added to the sparks so long after its end: by then nearly all of it has come. Unit: ms.
const MINUTE_AFTER_MS: i64 = 15_000;

/// Which stores are looked at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scope {
    /// Those that have reported since, and so many of the others in turn: what they show grows old.
    Changed { others: usize },
    /// All.
    Whole,
}

/// What a look has brought.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// Numbers of the stores whose rows are others now.
    pub(super) rows: Vec<u32>,
    /// Stores that are not known any more.
    pub(super) gone: Vec<String>,
    pub(super) sparks: Option<Sparks>,
    pub(super) changes: Vec<Change>,
    /// Whether the row of the fleet is another one.
    pub(super) is_all_new: bool,
}

/// The sparks, or what is to be added to them.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Sparks {
    /// The beginning of the minute that the last character stands for, Unix ms.
    minute: i64,
    /// Of the fleet.
    all: String,
    /// Of each store of which something was measured.
    stores: BTreeMap<String, String>,
}

/// 95th percentiles of synchronisations by minute (Unix ms, ms), as they are at rest.
#[derive(Debug, Default)]
pub struct Past {
    /// Of the fleet.
    pub all: Vec<(i64, f64)>,
    /// Of some stores.
    pub stores: BTreeMap<String, Vec<(i64, f64)>>,
}

/// A metric by its place, and what was measured of it: buckets and counts.
type Merged = (u16, Vec<u32>, Vec<u64>);

/// All rows.
#[derive(Debug)]
pub(super) struct Board {
    layout: Arc<Layout>,
    pub(super) shown: Shown,
    /// By number of the store.
    held: Vec<Option<Held>>,
    together: Together,
    pub(super) all: All,
    pub(super) changes: Changes,
    all_spark: Spark,
    /// The last minute that the sparks have.
    spark_minute: i64,
    /// The minute of the last look.
    minute: i64,
    /// The store that is next in turn.
    next: usize,
    /// When all stores were looked at last, Unix ms.
    pub(super) whole_ms: i64,
}

impl Board {
    pub(super) fn new(layout: Arc<Layout>, changes: Changes) -> Self {
        Self {
            shown: Shown::of(&layout),
            layout,
            held: Vec::new(),
            together: Together::default(),
            all: All::default(),
            changes,
            all_spark: Spark::default(),
            spark_minute: 0,
            minute: 0,
            next: 0,
            whole_ms: 0,
        }
    }

    /// Numbers of the stores that are to be looked at, and of those that are not known any more.
    pub(super) fn due(&mut self, aggregator: &Aggregator, scope: Scope) -> (Vec<u32>, Vec<u32>) {
        let (known, _) = aggregator.names();
        let live = (0_u32..).zip(aggregator.live().stores());
        let (mut due, mut gone) = (Vec::new(), Vec::new());
        let mut others = Vec::new();
        for (number, series) in live {
            let held = self.held.get(number as usize).and_then(Option::as_ref);
            if series.last_report_ms == 0 || !known.is_current(number) {
                gone.extend(held.map(|_| number));
            } else if held.is_none_or(|held| held.received != series.batches_received) {
                due.push(number);
            } else {
                others.push(number);
            }
        }
        match scope {
            Scope::Whole => due.extend(others),
            Scope::Changed { others: count } => {
                let count = count.min(others.len());
                let turn = others.iter().cycle().skip(self.next % others.len().max(1));
                due.extend(turn.take(count));
                self.next = self.next.wrapping_add(count);
            }
        }
        (due, gone)
    }

    /// Takes what was looked at.
    pub(super) fn take(&mut self, looks: Looks, gone: &[u32], now_ms: i64) -> Step {
        let mut step = Step::default();
        self.move_on(now_ms);
        let is_first = self.whole_ms == 0;
        let mut windows = BTreeMap::<u32, Vec<Merged>>::new();
        looks.recent.merge(|(store, place), indices, counts| {
            let of_store = windows.entry(store).or_default();
            of_store.push((place, indices.to_vec(), counts.to_vec()));
        });
        for number in gone {
            let held = self.held.get_mut(*number as usize).and_then(Option::take);
            if let Some(held) = held {
                self.take_out(&held);
                self.changes.forget(&held.row.store_id);
                step.gone.push(held.row.store_id);
            }
        }
        for look in looks.stores {
            let number = look.number;
            let merged = windows.remove(&number).unwrap_or_default();
            let windows: Vec<Window<'_>> = merged
                .iter()
                .map(|(place, indices, counts)| Window {
                    place: *place,
                    indices,
                    counts,
                })
                .collect();
            if self.put(look, &windows, is_first) {
                step.rows.push(number);
            }
            let held = self.held.get(number as usize).and_then(Option::as_ref);
            step.changes
                .extend(held.and_then(|held| self.changes.look(&held.row, now_ms)));
        }
        step.sparks = self.add_minute(now_ms);
        let all = All::of(self.held.iter().flatten(), &self.together, &self.shown);
        step.is_all_new = all != self.all;
        self.all = all;
        step
    }

    /// Puts a store; says whether its row is another one.
    fn put(&mut self, look: StoreLook, windows: &[Window<'_>], is_first: bool) -> bool {
        let at = look.number as usize;
        if self.held.len() <= at {
            self.held.resize_with(at + 1, || None);
        }
        let before = self.held.get_mut(at).and_then(Option::take);
        if let Some(before) = &before {
            self.take_out(before);
        }
        let known = (&*self.layout, &self.shown);
        let held = Held::of(look, windows, before.as_ref(), !is_first, known);
        for (dense, pairs) in self.together.iter_mut().zip(&held.pairs) {
            dense.put(pairs);
        }
        let is_new = before.is_none_or(|before| before.json != held.json);
        if let Some(slot) = self.held.get_mut(at) {
            *slot = Some(held);
        }
        is_new
    }

    fn take_out(&mut self, held: &Held) {
        for (dense, pairs) in self.together.iter_mut().zip(&held.pairs) {
            dense.take(pairs);
        }
    }

    /// Notes that minutes have begun.
    fn move_on(&mut self, now_ms: i64) {
        if self.spark_minute == 0 {
            // Nothing is known of the minutes before, and what is at rest may fill them.
            self.spark_minute = (now_ms - MINUTE_AFTER_MS).div_euclid(MINUTE_MS) - 1;
        }
        let minute = now_ms.div_euclid(MINUTE_MS);
        let moved = usize::try_from(minute - self.minute).unwrap_or(0);
        self.minute = minute;
        for held in self.held.iter_mut().flatten() {
            for _ in 0..moved.min(MINUTES) {
                held.attempts.move_on(held.counted);
            }
            // Of a store that is not looked at yet, the minute that was under way is over now.
            match moved {
                0 => {}
                1 => {
                    held.minutes.swap(0, 1);
                    if let Some(this) = held.minutes.first_mut() {
                        this.clear();
                    }
                }
                _ => held.minutes = Default::default(),
            }
        }
    }

    /// Adds the minute before this one to the sparks, once it is over for a while.
    fn add_minute(&mut self, now_ms: i64) -> Option<Sparks> {
        let last = (now_ms - MINUTE_AFTER_MS).div_euclid(MINUTE_MS) - 1;
        // Only of the minute before this one something is held.
        if last + 1 != self.minute || last <= self.spark_minute {
            return None;
        }
        let moved = usize::try_from(last - self.spark_minute).unwrap_or(MINUTES);
        self.spark_minute = last;
        let shown = &self.shown;
        let all = All::sync_of_minute(self.held.iter().flatten(), 1, shown);
        self.all_spark.move_on(moved);
        self.all_spark.put(0, all);
        let mut stores = BTreeMap::new();
        for held in self.held.iter_mut().flatten() {
            held.end_minute(moved, shown);
            let text = held.spark.at(0).to_string();
            if text != "." {
                stores.insert(held.row.store_id.clone(), text);
            }
        }
        Some(Sparks {
            minute: last * MINUTE_MS,
            all: self.all_spark.at(0).to_string(),
            stores,
        })
    }

    /// Fills minutes of the sparks of which nothing is known; says whether there were any.
    pub(super) fn fill(&mut self, past: &Past) -> bool {
        let newest = self.spark_minute;
        let fill = |spark: &mut Spark, points: &[(i64, f64)]| {
            points.iter().fold(false, |is_new, (t_ms, value_ms)| {
                let back = usize::try_from(newest - t_ms.div_euclid(MINUTE_MS));
                back.is_ok_and(|back| spark.fill(back, *value_ms)) | is_new
            })
        };
        let mut is_new = fill(&mut self.all_spark, &past.all);
        for held in self.held.iter_mut().flatten() {
            if let Some(points) = past.stores.get(&held.row.store_id) {
                is_new |= fill(&mut held.spark, points);
            }
        }
        is_new
    }

    /// The sparks of the last hour.
    pub(super) fn sparks(&self) -> Sparks {
        let held = self.held.iter().flatten();
        let stores = held.map(|held| (held.row.store_id.clone(), held.spark.text().to_owned()));
        Sparks {
            minute: self.spark_minute * MINUTE_MS,
            all: self.all_spark.text().to_owned(),
            stores: stores.collect(),
        }
    }

    /// The rows as they are sent, the worst first.
    pub(super) fn rows(&self) -> String {
        let mut rows: Vec<&Held> = self.held.iter().flatten().collect();
        rows.sort_by(|one, other| one.row.worst_first(&other.row));
        list(rows.into_iter().map(|held| held.json.as_str()))
    }

    /// Some rows as they are sent.
    pub(super) fn some(&self, numbers: &[u32]) -> String {
        let held = numbers.iter();
        let held = held.filter_map(|number| self.held.get(*number as usize)?.as_ref());
        list(held.map(|held| held.json.as_str()))
    }

    /// The number and the row of a store.
    pub(super) fn find(&self, store_id: &str) -> Option<(u32, &Held)> {
        let mut numbered = (0_u32..).zip(&self.held);
        numbered.find_map(|(number, held)| {
            let held = held.as_ref()?;
            (held.row.store_id == store_id).then_some((number, held))
        })
    }
}

fn list<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    let mut list = String::from("[");
    for (at, text) in texts.enumerate() {
        if at > 0 {
            list.push(',');
        }
        list.push_str(text);
    }
    list.push(']');
    list
}
