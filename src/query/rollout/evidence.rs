//! The numbers of all stores that take part, gathered some stores at a time.

use std::collections::{BTreeMap, BTreeSet};

use tillwatch_model::SparseHistogram;
use tillwatch_model::time::{DAY_MS, HOUR_MS};

use crate::aggregate::Aggregator;
use crate::aggregate::terminals::Terminal;
use crate::query::error::QueryError;
use crate::query::percentiles::Sources;
use crate::query::rollout::at_rest::Hours;
use crate::query::rollout::ran::STORES_AT_ONCE;
use crate::query::rollout::situation::{Situation, metrics_of};
use crate::query::rollout::statement::{ANY, FoundSum, FoundValues, NOW, RELEASE, Read};
use crate::rollout::criteria::{Counter, RATIOS, RatioSource};
use crate::rollout::evidence::{
    Adoption, Arrival, Count, Evidence, Shares, Store, Values, Volume, count_of, merged, p95_of,
};
use crate::rollout::groups::Group;
use crate::rollout::{Plan, Windows, silence};

/// A day of the week before counts for what is usual with so many values.
const DAY_SAMPLES_MIN: u64 = 100;
/// Terminals that are named of those that are awaited.
const AWAITED_MAX: usize = 20;
/// Terminals that are looked at while the aggregate waits, at least; the rest of their store comes with them.
const PIECE: usize = 4_096;
/// A batch that has been missing for longer than this is not waited for: its terminal counts as one that has not posted.
const MISSING_MS_MAX: i64 = DAY_MS;

/// All that the verdict is judged on.
///
/// # Errors
/// When ClickHouse does not answer.
pub(super) async fn gather(
    sources: &Sources,
    plan: &Plan,
    situation: &Situation,
    (passed, now_ms): (i64, i64),
) -> Result<Evidence, QueryError> {
    Ok(Evidence {
        release: situation.release.clone(),
        against: situation.against.clone(),
        step_percent: situation.step_percent,
        look: situation.look,
        stores: stores(sources, plan, situation).await?,
        silence: silence::count(
            situation.fleet.heard(&situation.release, situation.first),
            |store| group_of(situation, store),
            situation.first,
            passed,
        ),
        adoption: adoption(situation),
        arrival: arrival(sources, situation, now_ms).await,
        incidents: incidents(sources, plan, &situation.release, (situation.first, passed)).await?,
    })
}

/// The numbers of all stores.
///
/// # Errors
/// When ClickHouse does not answer.
pub(super) async fn stores(
    sources: &Sources,
    plan: &Plan,
    situation: &Situation,
) -> Result<Vec<Store>, QueryError> {
    let windows = situation.windows();
    let hours = windows.before().first().copied().unwrap_or(windows.start)..windows.until;
    let mut stores: BTreeMap<&str, Store> = BTreeMap::new();
    if let Some(metric) = sources.catalogue.metrics().first()
        && situation.look.is_some()
    {
        let moved = situation.groups.values();
        let earliest = moved.map(|group| situation.windows_of(*group).start).min();
        let from = earliest.map_or(hours.start, |earliest| earliest.min(hours.start));
        let read = Hours::of(sources, from..hours.end, metric).await;
        let read = Read {
            sources,
            hours: &read,
            release: &situation.release,
        };
        for (windows, names) in chunks(situation) {
            read_stores(&read, plan, situation, &windows, &names, &mut stores).await?;
        }
    }
    let without_values = situation.groups.iter().map(|(name, group)| Store {
        name: name.clone(),
        group: *group,
        ..Store::default()
    });
    let all = without_values.map(|store| stores.remove(&*store.name).unwrap_or(store));
    Ok(all.collect())
}

fn group_of(situation: &Situation, store: &str) -> Group {
    situation.groups.get(store).copied().unwrap_or_default()
}

/// The stores that take part, by the hours that count for them, some at a time.
fn chunks(situation: &Situation) -> Vec<(Windows, Vec<&str>)> {
    let mut by_start: BTreeMap<i64, (Windows, Vec<&str>)> = BTreeMap::new();
    for (name, group) in &situation.groups {
        if *group == Group::Neither {
            continue;
        }
        let windows = situation.windows_of(*group);
        let (_, names) = by_start
            .entry(windows.start)
            .or_insert_with(|| (windows, Vec::new()));
        names.push(name);
    }
    let all = by_start.into_values();
    all.flat_map(|(windows, names)| {
        let chunks = names.chunks(STORES_AT_ONCE);
        chunks
            .map(|chunk| (windows, chunk.to_vec()))
            .collect::<Vec<_>>()
    })
    .collect()
}

/// Reads all that the plan asks of some stores.
async fn read_stores<'a>(
    read: &Read<'_>,
    plan: &Plan,
    situation: &'a Situation,
    windows: &Windows,
    names: &[&'a str],
    stores: &mut BTreeMap<&'a str, Store>,
) -> Result<(), QueryError> {
    let mut of_chunk: BTreeMap<&str, Store> = names
        .iter()
        .map(|name| {
            let store = Store {
                name: (*name).to_owned(),
                group: group_of(situation, name),
                ..Store::default()
            };
            (*name, store)
        })
        .collect();
    if windows.until <= windows.start {
        stores.append(&mut of_chunk);
        return Ok(());
    }
    for metric in metrics_of(plan) {
        let found = read.values(metric, names, windows).await?;
        add_values(&mut of_chunk, metric, found);
    }
    let counters = counters_of(plan);
    if !counters.is_empty() {
        let metrics: Vec<&str> = counters.iter().copied().collect();
        let found = read.counters(&metrics, names, windows).await?;
        add_shares(&mut of_chunk, plan, &found);
    }
    let hours = [windows.now().count(), windows.before().len()];
    let hours = hours.map(|hours| u32::try_from(hours).unwrap_or(u32::MAX));
    add_volumes(&mut of_chunk, hours, &read.volumes(names, windows).await?);
    stores.append(&mut of_chunk);
    Ok(())
}

/// Whether rows are of the release in a store that has it, or in a control of what it is held against.
fn is_own(group: Group, whose: u8) -> bool {
    (whose == RELEASE) == group.is_candidate()
}

fn add_values(stores: &mut BTreeMap<&str, Store>, metric: &str, found: Vec<FoundValues>) {
    let mut days: BTreeMap<(String, u8), SparseHistogram> = BTreeMap::new();
    for mut found in found {
        let Some(store) = stores.get_mut(&*found.store_id) else {
            continue;
        };
        let histogram = found.histogram();
        if found.part < NOW {
            days.insert((found.store_id, found.part), histogram);
            continue;
        }
        let values = store.values.entry(metric.to_owned()).or_default();
        if is_own(store.group, found.whose) {
            values.now = histogram;
        } else if matches!(store.group, Group::Mixed { .. }) {
            values.others = histogram;
        }
    }
    for (name, store) in stores {
        let of_store: Vec<Option<&SparseHistogram>> = (0..NOW)
            .map(|day| days.get(&((*name).to_owned(), day)))
            .collect();
        if of_store.iter().all(Option::is_none) && !store.values.contains_key(metric) {
            continue;
        }
        let values: &mut Values = store.values.entry(metric.to_owned()).or_default();
        values.before = merged(of_store.iter().copied().flatten());
        values.days = of_store
            .iter()
            .map(|day| p95_of(day.filter(|day| count_of(day) >= DAY_SAMPLES_MIN)?))
            .collect();
    }
}

/// The shares of the plan, with the counters that they are made of.
fn ratios(plan: &Plan) -> impl Iterator<Item = &'static RatioSource> {
    RATIOS
        .iter()
        .filter(|ratio| plan.ratios.contains_key(ratio.name))
}

fn counters_of(plan: &Plan) -> BTreeSet<&'static str> {
    let counters = ratios(plan).flat_map(|ratio| ratio.all.iter().chain([&ratio.bad]));
    counters.map(|(metric, _)| *metric).collect()
}

/// A sum of counters, if they are those of a share.
fn counted(counters: &[Counter], found: &FoundSum) -> u64 {
    let is_one = |(metric, label): &&Counter| {
        *metric == found.metric && label.is_none_or(|label| label == found.label)
    };
    if counters.iter().any(|counter| is_one(&counter)) {
        found.total
    } else {
        0
    }
}

fn add_shares(stores: &mut BTreeMap<&str, Store>, plan: &Plan, found: &[FoundSum]) {
    for ratio in ratios(plan) {
        for found in found {
            let Some(store) = stores.get_mut(&*found.store_id) else {
                continue;
            };
            let sum = Count {
                bad: counted(&[ratio.bad], found),
                all: counted(ratio.all, found),
            };
            if sum == Count::default() {
                continue;
            }
            let group = store.group;
            let shares: &mut Shares = store.shares.entry(ratio.name.to_owned()).or_default();
            if found.whose == ANY {
                shares.before = shares.before.and(sum);
            } else if is_own(group, found.whose) {
                shares.now = shares.now.and(sum);
            } else if matches!(group, Group::Mixed { .. }) {
                shares.others = shares.others.and(sum);
            }
        }
    }
}

fn add_volumes(
    stores: &mut BTreeMap<&str, Store>,
    [hours_now, hours_before]: [u32; 2],
    found: &[FoundSum],
) {
    for found in found {
        let Some(store) = stores.get_mut(&*found.store_id) else {
            continue;
        };
        let group = store.group;
        let volume = store.volume.get_or_insert(Volume {
            hours_now,
            hours_before,
            ..Volume::default()
        });
        if found.whose == ANY {
            volume.before = volume.before.saturating_add(found.total);
        } else if is_own(group, found.whose) {
            volume.now = volume.now.saturating_add(found.total);
        }
    }
}

/// How many terminals of the stores that have the release have it; of terminals that are moved one by one nobody expects
/// that.
fn adoption(situation: &Situation) -> Option<Adoption> {
    if situation.is_by_terminal {
        return None;
    }
    let histories = situation.histories.iter();
    let candidates = histories.filter(|history| group_of(situation, &history.store).is_candidate());
    let mut adoption = Adoption {
        adopted: 0,
        expected: 0,
    };
    for history in candidates {
        adoption.adopted += history.terminals_on;
        adoption.expected += history.terminals;
    }
    (adoption.expected > 0).then_some(adoption)
}

/// Which terminals of the candidates have delivered the hours of the look.
async fn arrival(sources: &Sources, situation: &Situation, now_ms: i64) -> Arrival {
    let windows = situation.windows();
    let (start_ms, until_ms) = (windows.start * HOUR_MS, windows.until * HOUR_MS);
    let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (store, terminal) in situation.fleet.terminals_with(&situation.release) {
        if group_of(situation, store).is_candidate() {
            let of_store = expected.entry(store.clone()).or_default();
            of_store.insert(terminal.clone());
        }
    }
    let look = move |holdings: &crate::holdings::Holdings| {
        let (mut arrival, mut place) = (Arrival::default(), 0);
        holdings.read_in_pieces(|aggregator: &Aggregator| {
            let stores = aggregator.terminals().stores();
            let mut seen = 0;
            while seen < PIECE
                && let Some(store) = stores.get(place)
            {
                place += 1;
                seen += 1 + store.len();
                let Some(wanted) = expected.get(&**store.store_id()) else {
                    continue;
                };
                for (terminal_id, terminal) in store.iter() {
                    if !wanted.contains(terminal_id) || terminal.is_retired {
                        continue;
                    }
                    arrival.expected += 1;
                    let misses = missing(terminal, start_ms, until_ms);
                    arrival.misses_batches |=
                        misses.is_some_and(|since_ms| now_ms - since_ms < MISSING_MS_MAX);
                    if misses.is_none() && terminal.last_seen_ms >= until_ms {
                        arrival.posted += 1;
                    } else if arrival.awaited.len() < AWAITED_MAX {
                        let store_id = store.store_id();
                        arrival.awaited.push(format!("{terminal_id} in {store_id}"));
                    }
                }
            }
            place < stores.len()
        });
        arrival.awaited.sort();
        arrival
    };
    sources.holdings.ask(look).await
}

/// Since when a terminal misses batches that were noticed to be missing between the two times, if it does.
fn missing(terminal: &Terminal, from_ms: i64, until_ms: i64) -> Option<i64> {
    let windows = terminal.queues.iter();
    let ranges = windows.flat_map(|(_, window)| window.missing_ranges());
    let since = ranges.map(|(_, _, since_ms)| since_ms);
    // One that is noticed in the hour after the look may be of its hours.
    since
        .filter(|since_ms| (from_ms..until_ms + HOUR_MS).contains(since_ms))
        .max()
}

/// How often what must not happen happened on the release, since it was first seen.
pub(super) async fn incidents(
    sources: &Sources,
    plan: &Plan,
    release: &str,
    (first, passed): (i64, i64),
) -> Result<BTreeMap<String, u64>, QueryError> {
    let metrics: Vec<&str> = plan.incidents.keys().map(String::as_str).collect();
    let Some(metric) = metrics
        .first()
        .and_then(|metric| sources.catalogue.named(metric))
    else {
        return Ok(BTreeMap::new());
    };
    // The hour under way counts as well: one is one too many.
    let hours = Hours::of(sources, first..passed + 2, metric).await;
    let read = Read {
        sources,
        hours: &hours,
        release,
    };
    let found = read.on_release(&metrics).await?.into_iter();
    Ok(found.map(|found| (found.metric, found.total)).collect())
}
