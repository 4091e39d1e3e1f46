//! Copies what a row says of a store out of the aggregate, so that nobody waits while it is judged.

use std::sync::Arc;

use tillwatch_model::time::{DAY_MS, MINUTE_MS};

use crate::aggregate::Aggregator;
use crate::aggregate::minutes::RecentCopies;
use crate::fleet::silence::REPORTING_MS;
use crate::fleet::{OfStore, Silence};
use crate::live::shown::Shown;

/// One store, as it is held.
#[derive(Debug)]
pub(super) struct StoreLook {
    pub(super) number: u32,
    pub(super) store_id: Arc<str>,
    /// Terminals that posted within a day, and within the last ten minutes.
    pub(super) known: u64,
    pub(super) reporting: u64,
    /// Of those that report, how many had a synchronisation fail in the last ten minutes.
    pub(super) sync_failing: u64,
    /// The release that most of those run that posted within a day.
    pub(super) release: Option<Arc<str>>,
    /// The last values of each level over the terminals that report; recording unit, ascending.
    pub(super) levels: Vec<Vec<u64>>,
    pub(super) silence: OfStore,
    pub(super) is_silent: bool,
    pub(super) batches: Batches,
    /// Samples that came too late to be live, by age.
    pub(super) late: [u64; 4],
    /// Synchronisations that went well and that failed, since ever.
    pub(super) attempts: [u64; 2],
    pub(super) last_report_ms: i64,
    /// What was measured of synchronisations in the minute before this one, and in this one.
    pub(super) minutes: [Vec<(u32, u64)>; 2],
}

/// Batches of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Batches {
    pub(super) received: u64,
    pub(super) missing: u64,
    pub(super) lost: u64,
    pub(super) explained: u64,
}

/// Some stores, as they are held.
#[derive(Debug, Default)]
pub(super) struct Looks {
    pub(super) stores: Vec<StoreLook>,
    /// What they measured in the last minutes.
    pub(super) recent: RecentCopies,
}

impl Looks {
    /// Looks at a store; nothing if its number is not that of a name any more.
    pub(super) fn add(
        &mut self,
        aggregator: &Aggregator,
        number: u32,
        silence: &Silence,
        shown: &Shown,
    ) {
        let (known, releases) = aggregator.names();
        let live = aggregator.live();
        let Some(series) = live.stores().get(number as usize) else {
            return;
        };
        if series.last_report_ms == 0 || !known.is_current(number) {
            return;
        }
        let now_ms = silence.now_ms;
        let counter = |at: Option<usize>| at.and_then(|at| series.counters.get(at).copied());
        let of_minute = |t_ms| {
            let series = shown.sync.map(|place| (number, place));
            series.map_or_else(Vec::new, |series| {
                live.recent().minute_of_store(series, t_ms)
            })
        };
        let mut look = StoreLook {
            number,
            store_id: known.name(number),
            known: 0,
            reporting: 0,
            sync_failing: 0,
            release: None,
            levels: vec![Vec::new(); live.layout().levels()],
            silence: OfStore::default(),
            is_silent: false,
            batches: Batches {
                received: series.batches_received,
                missing: 0,
                lost: series.batches_lost,
                explained: series.batches_explained,
            },
            late: series.late,
            attempts: shown.attempts.map(|at| counter(at).unwrap_or(0)),
            last_report_ms: series.last_report_ms,
            minutes: [of_minute(now_ms - MINUTE_MS), of_minute(now_ms)],
        };
        let mut of_release = Vec::<(u32, u64)>::new();
        if let Some(store) = aggregator.terminals().of_store(&look.store_id) {
            look.silence = silence.count_store(store);
            look.is_silent = silence.is_store_silent(store);
            look.batches.missing = store.gaps().missing;
            for (_, terminal) in store.iter() {
                let age_ms = now_ms - terminal.last_seen_ms;
                if terminal.is_retired || terminal.is_synthetic || age_ms > DAY_MS {
                    continue;
                }
                look.known += 1;
                let same = of_release
                    .iter_mut()
                    .find(|(release, _)| *release == terminal.release);
                match same {
                    Some((_, count)) => *count += 1,
                    None => of_release.push((terminal.release, 1)),
                }
                if age_ms > REPORTING_MS {
                    continue;
                }
                look.reporting += 1;
                look.sync_failing += u64::from(now_ms - terminal.sync_failed_ms <= REPORTING_MS);
                for (values, last) in look.levels.iter_mut().zip(&terminal.levels) {
                    let last = last.filter(|last| now_ms - last.t_ms <= REPORTING_MS);
                    values.extend(last.map(|last| last.value));
                }
            }
        }
        let most = of_release.iter().max_by_key(|(_, count)| *count);
        look.release = most.map(|(release, _)| releases.name(*release));
        look.levels
            .iter_mut()
            .for_each(|values| values.sort_unstable());
        live.recent().copy_store(number, now_ms, &mut self.recent);
        self.stores.push(look);
    }
}
