//! Expectations that need the query API: samples by hour, by minute, by release.

use std::collections::BTreeMap;

use tillwatch_model::time::{HOUR_MS, MINUTE_MS, window_start_ms};
use tillwatch_model::{Kind, Quantile};

use crate::fleet::store_ids;
use crate::query::QueryError;
use crate::report::grouped;
use crate::scenario::finding::{Finding, Scene};

/// What a terminal's minute and its right clock may add before the run's beginning, ms.
const BEFORE_MS: i64 = MINUTE_MS + 5_000;
/// What a right clock may add after its end, ms.
const AFTER_MS: i64 = 5_000;

/// Each hour of each store holds exactly what was measured in it, for every metric.
///
/// # Errors
/// When the query API does not answer.
pub async fn hours_exact(scene: &Scene<'_>) -> Result<Finding, QueryError> {
    let range = (
        scene.query.range_start_ms(),
        window_start_ms(scene.ended_ms, HOUR_MS) + HOUR_MS,
    );
    let stores = store_ids(scene.options);
    let (mut compared, mut differing, mut samples) = (0_u64, 0_u64, 0_u64);
    let mut first = None;
    for (position, measured) in scene.fleet.world.mix.measured().iter().enumerate() {
        let by_hour = [("group_by", "store_id"), ("step", "1h")];
        let series = scene
            .query
            .series(&measured.metric, range, &by_hour)
            .await?;
        let found: BTreeMap<String, BTreeMap<i64, u64>> = series
            .into_iter()
            .filter_map(|one| {
                let hours = one.points.iter().map(|point| (point.t, point.count));
                Some((
                    one.store_id?,
                    hours.filter(|(_, count)| *count > 0).collect(),
                ))
            })
            .collect();
        for (group, store) in stores.iter().enumerate() {
            let wanted = scene.fleet.ledger.hours(position, group);
            let none = BTreeMap::new();
            let got = found.get(store).unwrap_or(&none);
            let hours: std::collections::BTreeSet<&i64> = wanted.keys().chain(got.keys()).collect();
            for hour in hours {
                compared += 1;
                samples += wanted.get(hour).copied().unwrap_or(0);
                if wanted.get(hour) != got.get(hour) {
                    differing += 1;
                    first.get_or_insert_with(|| {
                        format!(
                            ", the first: {} of {store} in the hour from {hour}: {:?} measured, {:?} found",
                            measured.metric.name,
                            wanted.get(hour),
                            got.get(hour)
                        )
                    });
                }
            }
        }
    }
    Ok(Finding {
        expected: "each hour of each store holds what was measured in it, for every metric"
            .to_owned(),
        found: format!(
            "{} samples; {} hours of stores and metrics, {} of them differ{}",
            grouped(samples),
            grouped(compared),
            grouped(differing),
            first.unwrap_or_default()
        ),
        is_met: differing == 0 && samples > 0,
    })
}

/// Whatever the clocks said, all that was accepted lies in the minutes of the run.
///
/// # Errors
/// When the query API does not answer.
pub async fn windows_right(scene: &Scene<'_>) -> Result<Finding, QueryError> {
    let started_ms = scene.fleet.clock.started_ms();
    let range = (
        window_start_ms(started_ms - BEFORE_MS, MINUTE_MS),
        window_start_ms(scene.ended_ms + AFTER_MS, MINUTE_MS) + MINUTE_MS,
    );
    let (mut inside, mut sent) = (0, 0);
    for (position, measured) in scene.fleet.world.mix.measured().iter().enumerate() {
        let series = scene.query.series(&measured.metric, range, &[]).await?;
        inside += series
            .iter()
            .flat_map(|one| &one.points)
            .map(|point| point.count)
            .sum::<u64>();
        sent += scene.fleet.ledger.count(position);
    }
    Ok(Finding {
        expected: "corrected samples lie in the minutes in which they were measured".to_owned(),
        found: format!("{} of {} samples", grouped(inside), grouped(sent)),
        is_met: inside == sent && sent > 0,
    })
}

/// The p95 of each release is the exact one, and the slow release is as much slower as it is.
///
/// # Errors
/// When the query API does not answer.
pub async fn release_shows(scene: &Scene<'_>) -> Result<Finding, QueryError> {
    const METRICS: [&str; 3] = ["sync_duration_ms", "page_load_ms", "session_restore_ms"];
    const EXACT_WITHIN: f64 = crate::compare::ERROR_MAX;
    let range = (scene.query.range_start_ms(), scene.ended_ms + AFTER_MS);
    let slowdown = scene.options.canary_slowdown;
    let (usual, canary) = (&scene.options.release, &scene.options.release_canary);
    let releases = scene.fleet.releases();
    let p95: Vec<Quantile> = Quantile::parse("0.95").into_iter().collect();
    let mut is_met = true;
    let mut found = Vec::new();
    for name in METRICS {
        let position = scene.fleet.world.mix.position(name);
        let Some(measured) = scene.fleet.world.mix.measured().get(position) else {
            continue;
        };
        debug_assert_eq!(measured.metric.kind, Kind::Distribution);
        let series = scene
            .query
            .series(&measured.metric, range, &[("group_by", "release")])
            .await?;
        let stored = |release: &String| {
            let one = series
                .iter()
                .find(|one| one.release.as_ref() == Some(release))?;
            one.points.first()?.values.get("0.95").copied().flatten()
        };
        let exact = |release: &String| {
            let is_in = |group: usize| releases.get(&group) == Some(release);
            let values = scene.fleet.ledger.summary(position, is_in, &p95).values?;
            values
                .first()
                .map(|value| measured.metric.unit.to_wire(*value))
        };
        let both = [usual, canary].map(|release| (stored(release), exact(release)));
        let [
            (Some(slow_base), Some(base)),
            (Some(slow), Some(slow_exact)),
        ] = both
        else {
            is_met = false;
            found.push(format!("{name}: not of both releases"));
            continue;
        };
        is_met &= (slow_base / base - 1.0).abs() <= EXACT_WITHIN
            && (slow / slow_exact - 1.0).abs() <= EXACT_WITHIN
            // Stores differ, too: half of the difference must be seen.
            && slow / slow_base > 1.0 + (slowdown - 1.0) / 2.0;
        found.push(format!(
            "{name}: {slow_base:.0} and {slow:.0} ms, {:.2} times",
            slow / slow_base
        ));
    }
    Ok(Finding {
        expected: format!(
            "p95 by release is exact, and shows that {canary} takes {slowdown} times as long as {usual}"
        ),
        found: found.join("; "),
        is_met,
    })
}
