//! LCP of real page views: the RUM archive's histogram, read as a distribution.

/// LCP of real page views; the file says whose.
const LCP_BINS: &str = include_str!("../data/lcp_desktop_visible.csv");

/// How far a bin's values spread around its own, of the way to its edges: the archive's quantiles are its
/// bins' values, and are kept to within half a percent.
const BIN_SPREAD: f64 = 0.5;

/// A histogram of bins, read as a distribution: each bin's values lie evenly around its own.
#[derive(Debug)]
pub struct Bins {
    /// The ends of each bin's values, with the share of all values up to there, ascending.
    ends: Vec<[(f64, f64); 2]>,
}

impl Bins {
    /// LCP as in the archive.
    pub fn lcp() -> Self {
        let bins: Vec<(f64, f64)> = LCP_BINS
            .lines()
            .filter_map(|line| line.split_once(','))
            .filter_map(|(bin_ms, count)| Some((bin_ms.parse().ok()?, count.parse().ok()?)))
            .collect();
        let total: f64 = bins.iter().map(|(_, count)| count).sum();
        let mut below = 0.0;
        let mut ends = Vec::with_capacity(bins.len());
        for (position, (bin_ms, count)) in bins.iter().enumerate() {
            let neighbour = |at: Option<usize>| at.and_then(|at| bins.get(at)).map(|(ms, _)| *ms);
            let previous_ms = neighbour(position.checked_sub(1)).unwrap_or(-bin_ms);
            let next_ms = neighbour(Some(position + 1)).unwrap_or(2.0 * bin_ms - previous_ms);
            let towards = |other_ms: f64| bin_ms + (other_ms - bin_ms) / 2.0 * BIN_SPREAD;
            let low = (towards(previous_ms), below / total);
            below += count;
            ends.push([low, (towards(next_ms), below / total)]);
        }
        Self { ends }
    }

    /// The value that has this share of all values below it.
    pub fn at(&self, share: f64) -> f64 {
        let position = self.ends.partition_point(|[_, (_, below)]| *below < share);
        let bin = self.ends.get(position).or(self.ends.last());
        bin.map_or(0.0, |[(low_ms, low), (high_ms, high)]| {
            low_ms + (high_ms - low_ms) * ((share - low) / (high - low)).clamp(0.0, 1.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_whole_and_its_quantiles_are_the_archives() {
        let counts = LCP_BINS
            .lines()
            .filter_map(|line| line.split_once(',')?.1.parse::<u64>().ok());
        assert_eq!(counts.sum::<u64>(), 27_013_373);
        let bins = Bins::lcp();
        assert_eq!(bins.ends.len(), 100);
        for (share, wanted_ms) in [(0.5, 1_448.0), (0.75, 2_448.0), (0.95, 5_348.0)] {
            assert!(
                (bins.at(share) / wanted_ms - 1.0_f64).abs() < 0.006,
                "{}",
                bins.at(share)
            );
        }
        assert!(bins.at(0.0) >= 0.0 && bins.at(1.0) < 10_000.0);
    }
}
