//! The path of batches, second by second, for the last quarter of an hour.

use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::Serialize;

/// Seconds that are kept.
const SECONDS: usize = 900;

/// What was counted since the start.
#[derive(Debug, Clone, Default)]
pub struct Counted {
    /// Batches that were applied.
    pub batches: u64,
    /// Samples that were accepted.
    pub samples: u64,
    /// Requests that were answered with an error.
    pub refused: u64,
    /// Upper bounds of the buckets below. Unit: s.
    pub bounds: &'static [f64],
    /// Requests by how long they took, not cumulative; the last bucket has no bound.
    pub durations: Vec<u64>,
}

/// One second.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "PipelinePoint")]
pub struct Point {
    /// When the second ended, Unix ms.
    pub t: i64,
    /// Batches that were applied in it.
    pub batches: u64,
    /// Samples that were accepted in it.
    pub samples: u64,
    /// Requests that were answered in it.
    pub requests: u64,
    /// Of those, how many were answered with an error.
    pub refused: u64,
    /// Median of the time from the end of a request's head to its answer, up to the bound of its bucket; `null`: none was
    /// answered. Unit: ms.
    pub p50_ms: Option<f64>,
    /// 99th percentile of the same. Unit: ms.
    pub p99_ms: Option<f64>,
}

/// The last points.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    points: VecDeque<Point>,
    last: Option<Counted>,
    /// How many points there ever were.
    pub(super) count: u64,
}

impl Pulse {
    /// Notes what was counted by now.
    pub(super) fn note(&mut self, t_ms: i64, counted: Counted) {
        if let Some(last) = &self.last {
            self.points.push_back(point(t_ms, last, &counted));
            self.count += 1;
            if self.points.len() > SECONDS {
                self.points.pop_front();
            }
        }
        self.last = Some(counted);
    }

    /// All points.
    pub(super) fn points(&self) -> &VecDeque<Point> {
        &self.points
    }

    /// The latest point.
    pub(super) fn latest(&self) -> Option<&Point> {
        self.points.back()
    }
}

fn point(t: i64, last: &Counted, now: &Counted) -> Point {
    let before = last.durations.iter().chain(std::iter::repeat(&0));
    let new = now.durations.iter().zip(before);
    let new: Vec<u64> = new
        .map(|(now, before)| now.saturating_sub(*before))
        .collect();
    let requests: u64 = new.iter().sum();
    let at = |percent: u64| {
        let rank = (requests * percent).div_ceil(100).max(1);
        let mut passed = 0;
        let bucket = new.iter().position(|count| {
            passed += count;
            passed >= rank
        })?;
        // Of the last bucket only the lower bound is known.
        let bound = now.bounds.get(bucket).or(now.bounds.last())?;
        Some(bound * 1_000.0)
    };
    Point {
        t,
        batches: now.batches.saturating_sub(last.batches),
        samples: now.samples.saturating_sub(last.samples),
        requests,
        refused: now.refused.saturating_sub(last.refused),
        p50_ms: at(50),
        p99_ms: at(99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_what_came_since_the_last_one() {
        let mut pulse = Pulse::default();
        let counted = |batches, durations: &[u64]| Counted {
            batches,
            samples: batches * 10,
            refused: 1,
            bounds: &[0.001, 0.01],
            durations: durations.to_vec(),
        };
        pulse.note(1_000, counted(5, &[3, 2, 0]));
        assert!(pulse.latest().is_none());
        pulse.note(2_000, counted(105, &[101, 3, 1]));
        let point = pulse.latest().unwrap();
        assert_eq!(
            (point.batches, point.samples, point.requests),
            (100, 1_000, 100)
        );
        assert_eq!(
            (point.p50_ms, point.p99_ms, point.refused),
            (Some(1.0), Some(10.0), 0)
        );
        pulse.note(3_000, counted(105, &[101, 3, 1]));
        assert_eq!(pulse.latest().unwrap().p99_ms, None);
        for second in 0..2_000 {
            pulse.note(second, counted(105, &[101, 3, 1]));
        }
        assert_eq!(pulse.points().len(), SECONDS);
    }
}
