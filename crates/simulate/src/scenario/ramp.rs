//! Doubles the load until it is too much, and says what the bottleneck was.

use std::future::Future;

use tillwatch_model::metric::to_float;

use crate::campaign::{Run, SimulateError};
use crate::client::admin_http;
use crate::query::Query;
use crate::queues::Queues;
use crate::report::grouped;
use crate::scenario::exposition::Pages;
use crate::scenario::finding::Scene;
use crate::scenario::list::Scenario;
use crate::scenario::measured::measured;
use crate::scenario::vitals::Vitals;
use crate::table::Table;
use crate::{Options, Report};

/// The p95 past which a load is too much, ms.
const P95_MS_MAX: f64 = 500.0;
/// The share of failed requests past which it is.
const ERRORS_MAX: f64 = 0.001;
/// The share of the batches that must be acknowledged while they are being made.
const KEPT_UP: f64 = 0.95;
/// The share of the processors below which nobody here is short of them.
const BUSY_SHARE: f64 = 0.5;
/// From here on no machine of this kind follows, batches a minute.
const RATE_MAX: u32 = 20_000_000;
/// Steps between the last rate that went well and the first that did not.
const REFINEMENTS: u32 = 2;

/// Why a step ended the climb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Holds,
    Slow,
    Errors,
    Generator,
    /// Batches were late and no processor was busy with them.
    Waits,
}

impl Verdict {
    fn words(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Slow => "collector too slow",
            Self::Errors => "errors",
            Self::Generator => "simulator cannot keep up",
            Self::Waits => "waits for the disk, or for other work of the machine",
        }
    }

    /// The collector is to blame only for what it takes from a request's sending to its answer. When that
    /// is the smaller part, batches were sent late. When the three leave most of the machine free, it is
    /// neither: `busy_share` is what they take of it, if that is known.
    fn of(report: &Report, made_ratio: f64, busy_share: Option<f64>) -> Self {
        let counts = &report.counts;
        let failed = to_float(counts.errors() + counts.deferred());
        let is_late = report.intended_times.p95_ms > P95_MS_MAX || made_ratio < KEPT_UP;
        if failed > to_float(counts.requests) * ERRORS_MAX {
            Self::Errors
        } else if !is_late {
            Self::Holds
        } else if busy_share.is_some_and(|share| share < BUSY_SHARE) {
            Self::Waits
        } else if report.answer_times.p95_ms > report.intended_times.p95_ms / 2.0 {
            Self::Slow
        } else {
            Self::Generator
        }
    }
}

/// How far the climb has come.
#[derive(Debug, Default)]
struct Climb {
    /// The highest rate that went well.
    holds: Option<u32>,
    /// The lowest that did not, and why.
    fails: Option<(u32, Verdict)>,
    refinements: u32,
}

impl Climb {
    /// Notes how a rate went; the next one to try.
    fn next(&mut self, rate: u32, verdict: Verdict) -> Option<u32> {
        if verdict == Verdict::Holds {
            self.holds = Some(rate);
        } else {
            self.fails = Some((rate, verdict));
        }
        match (self.holds, self.fails) {
            (_, None) if rate <= RATE_MAX / 2 => Some(rate * 2),
            (Some(good), Some((bad, _))) if self.refinements < REFINEMENTS => {
                self.refinements += 1;
                Some(good + (bad - good) / 2)
            }
            _ => None,
        }
    }

    fn knee(&self) -> String {
        match (self.holds, self.fails) {
            (Some(good), Some((bad, why))) => format!(
                "{} batches a minute hold; at {}: {}",
                grouped(good.into()),
                grouped(bad.into()),
                why.words()
            ),
            (Some(good), None) => format!(
                "{} batches a minute hold, the most that is tried",
                grouped(good.into())
            ),
            (None, fails) => format!(
                "not even the first step holds: {}",
                fails.map_or("nothing was tried", |(_, why)| why.words())
            ),
        }
    }
}

/// Runs step after step; the terminals and their queues go on from one to the next.
///
/// # Errors
/// When a step cannot be run.
pub async fn climb<F: Future<Output = ()>>(
    scenario: &Scenario,
    options: &Options,
    vitals: Option<&Vitals>,
    stop: &impl Fn() -> F,
) -> Result<Report, SimulateError> {
    let admin_url = options.admin_url.clone().unwrap_or_default();
    let client = admin_http(options)?;
    let before = Pages::fetch(&client, &admin_url).await?;
    let mut queues = Queues::new(uuid::Uuid::new_v4().to_string());
    let mut table = Table::new(&[
        "batches a minute",
        "acknowledged",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "answer p95 ms",
        "failed",
        "`serve`",
        "engine",
        "simulator",
        "",
    ]);
    let mut climb = Climb::default();
    let mut next = Some(options.rate.unwrap_or(options.terminals).max(1));
    let mut sum = Report::default();
    let mut last = None;
    while let Some(rate) = next {
        let mut step = options.clone();
        step.rate = Some(rate);
        // Only the sums are compared, at the end.
        step.admin_url = None;
        let from_secs = last_look_secs(vitals);
        let mut run = Run::prepare(&step, Some(queues)).await?;
        run.go(&step, stop).await?;
        queues = run.fleet.queues();
        let report = run.report(&step);
        let busy = vitals.map_or([0.0; 3], |vitals| {
            let to_secs = last_look_secs(Some(vitals));
            vitals.health().processors(from_secs, to_secs)
        });
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let share = busy.iter().sum::<f64>() / to_float(processors as u64);
        let made = made_in_time(rate, &report, options);
        let verdict = Verdict::of(&report, made, (share > 0.0).then_some(share));
        table.add(row(rate, &report, busy, verdict));
        sum.counts.samples_acknowledged += report.counts.samples_acknowledged;
        sum.counts.batches_acknowledged += report.counts.batches_acknowledged;
        sum.elapsed_secs += report.elapsed_secs;
        next = climb.next(rate, verdict);
        last = Some((report, run));
    }
    let Some((mut report, run)) = last else {
        return Ok(sum);
    };
    report.counts.samples_acknowledged = sum.counts.samples_acknowledged;
    report.counts.batches_acknowledged = sum.counts.batches_acknowledged;
    report.elapsed_secs = sum.elapsed_secs;
    let after = Pages::fetch(&client, &admin_url).await?;
    report.scenario = Some(scenario.name.to_owned());
    let health = vitals.map(Vitals::health);
    let query = Query::new(&admin_url, options, 0)?;
    let mut findings = Vec::new();
    for expectation in scenario.expected {
        let scene = Scene {
            options,
            report: &report,
            fleet: &run.fleet,
            query: &query,
            before: &before,
            after: &after,
            health: health.as_ref(),
            harmed: None,
            outbox_epochs: [0.0; 2],
            ended_ms: 0,
        };
        findings.push(expectation.check(&scene).await?);
    }
    report.found(findings);
    let lines = measured(&report, health.as_ref(), [&before, &after]);
    // Times of all steps together say nothing.
    let lines = lines
        .into_iter()
        .filter(|(name, _)| !name.starts_with("from "));
    let knee = ("knee".to_owned(), climb.knee());
    report.measured = std::iter::once(knee).chain(lines).collect();
    report.tables.push(table);
    Ok(report)
}

/// The share of a step's batches that were acknowledged by the time its terminals should have made them.
fn made_in_time(rate: u32, report: &Report, options: &Options) -> f64 {
    let length_secs = options.simulated().as_secs_f64();
    let wanted = f64::from(rate) * length_secs / 60.0 * ONLINE_SHARE;
    let overrun = (report.elapsed_secs / length_secs.max(1e-3)).max(1.0);
    to_float(report.counts.batches_acknowledged) / wanted.max(1.0) / overrun
}

/// Terminals that are offline for a moment keep what they make: a few in a hundred.
const ONLINE_SHARE: f64 = 0.97;

fn last_look_secs(vitals: Option<&Vitals>) -> f64 {
    vitals
        .and_then(|vitals| vitals.health().looks.last().map(|look| look.at_secs))
        .unwrap_or(0.0)
}

fn row(rate: u32, report: &Report, busy: [f64; 3], verdict: Verdict) -> Vec<String> {
    let times = &report.intended_times;
    let failed = report.counts.errors() + report.counts.deferred();
    let mut cells = vec![
        grouped(rate.into()),
        grouped(report.counts.batches_acknowledged),
    ];
    cells.extend(
        [
            times.p50_ms,
            times.p95_ms,
            times.p99_ms,
            report.answer_times.p95_ms,
        ]
        .map(|ms| format!("{ms:.1}")),
    );
    cells.push(grouped(failed));
    cells.extend(busy.map(|processors| format!("{processors:.2}")));
    cells.push(verdict.words().to_owned());
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::{AnswerTimes, Counts};

    #[test]
    fn the_simulator_is_named_when_it_is_the_bottleneck() {
        let times = |p95_ms| AnswerTimes {
            p95_ms,
            ..AnswerTimes::default()
        };
        let report = |intended_ms, answer_ms, failed| Report {
            intended_times: times(intended_ms),
            answer_times: times(answer_ms),
            counts: Counts {
                requests: 10_000,
                unavailable: failed,
                ..Counts::default()
            },
            ..Report::default()
        };
        for (intended_ms, answer_ms, failed, made_ratio, busy, verdict) in [
            (20.0, 3.0, 10, 1.0, Some(0.1), Verdict::Holds),
            (20.0, 3.0, 11, 1.0, Some(0.9), Verdict::Errors),
            (501.0, 450.0, 0, 1.0, Some(0.9), Verdict::Slow),
            (501.0, 450.0, 0, 1.0, Some(0.2), Verdict::Waits),
            (501.0, 30.0, 0, 1.0, Some(0.9), Verdict::Generator),
            (20.0, 3.0, 0, 0.9, None, Verdict::Generator),
        ] {
            let report = report(intended_ms, answer_ms, failed);
            assert_eq!(Verdict::of(&report, made_ratio, busy), verdict);
        }
    }

    #[test]
    fn the_rate_doubles_until_it_is_too_much_and_then_closes_in() {
        let mut climb = Climb::default();
        let mut tried = vec![5_000];
        while let Some(&rate) = tried.last() {
            let verdict = if rate <= 24_000 {
                Verdict::Holds
            } else {
                Verdict::Slow
            };
            match climb.next(rate, verdict) {
                Some(next) => tried.push(next),
                None => break,
            }
        }
        assert_eq!(tried, [5_000, 10_000, 20_000, 40_000, 30_000, 25_000]);
        assert_eq!(
            climb.knee(),
            "20,000 batches a minute hold; at 25,000: collector too slow"
        );
    }
}
