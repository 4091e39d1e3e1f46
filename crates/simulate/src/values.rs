//! Draws the values of each metric, and which metric a sample is of, from the recipes.
//!
//! Every value is the quantile function of its metric at a standard normal `z`. A store's and a
//! terminal's own share of `z` make them differ from each other, while the fleet as a whole keeps the
//! distribution written in [`crate::recipes`].

use fastrand::Rng;
use tillwatch_model::{Catalogue, Connection, Kind, Metric, Unit};

use crate::archive::Bins;
use crate::random::{inverse_normal, normal_share_below};
use crate::recipes::{RECIPES, Recipe, Shape};

/// Where the Pareto tail takes over from the log-normal body: the share above it.
const TAIL_SHARE: f64 = 0.03;
/// The `z` with that share above it.
const TAIL_Z: f64 = 1.880_794;

/// What a value depends on besides chance.
#[derive(Debug, Clone, Copy)]
pub struct Conditions {
    /// How the terminal is connected.
    pub connection: Connection,
    /// How much longer everything takes on its release.
    pub slowdown: f64,
    /// How much larger what is wrong in its store makes it.
    pub worse: f64,
}

/// A metric, and where it stands in the mix.
#[derive(Debug, Clone, Copy)]
pub struct InMix<'a> {
    /// Where the metric stands in the mix.
    pub position: usize,
    /// The metric.
    pub measured: &'a Measured,
}

/// One metric as terminals measure it.
#[derive(Debug)]
pub struct Measured {
    /// The catalogue's entry.
    pub metric: Metric,
    recipe: Recipe,
    bins: Option<Bins>,
}

impl Measured {
    /// Samples in a usual minute of a terminal connected like this.
    pub fn per_minute(&self, connection: Connection) -> f64 {
        self.recipe.per_minute[column(connection)]
    }

    /// Whether values are drawn, and not kept by the terminal.
    pub fn is_drawn(&self) -> bool {
        !matches!(self.recipe.shape, Shape::Kept)
    }

    /// The value at `z`, in the recording unit.
    pub fn at(&self, z: f64, conditions: Conditions) -> u64 {
        let wire = match self.recipe.shape {
            Shape::Always(amount) => return amount,
            Shape::Kept => return 0,
            Shape::Heavy {
                median,
                sigma,
                tail_exponent,
            } => heavy_at(z, median, sigma, tail_exponent),
            Shape::Archive => self
                .bins
                .as_ref()
                .map_or(0.0, |bins| bins.at(normal_share_below(z))),
        };
        let is_duration = self.metric.unit == Unit::Milliseconds;
        let release_factor = if is_duration {
            conditions.slowdown
        } else {
            1.0
        };
        let connection_factor = if self.recipe.is_networked {
            connection_factor(conditions.connection)
        } else {
            1.0
        };
        let recorded = wire
            * release_factor
            * connection_factor
            * conditions.worse
            * to_float(self.metric.unit.scale());
        let least = u64::from(self.metric.kind == Kind::Counter);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive; the cast saturates and the clamp bounds it"
        )]
        let recorded = recorded.round() as u64;
        recorded.clamp(least, self.metric.value_max)
    }

    /// A label, as often as each occurs; none for a metric without one.
    pub fn label(&self, rng: &mut Rng) -> &'static str {
        if self.recipe.labels.is_empty() {
            return "";
        }
        let mut left = rng.f64();
        let position = self.recipe.labels.iter().position(|share| {
            left -= share;
            left < 0.0
        });
        let position = position.unwrap_or(0);
        self.metric
            .label
            .and_then(|label| label.values.get(position).copied())
            .unwrap_or("")
    }
}

fn to_float(value: u64) -> f64 {
    tillwatch_model::metric::to_float(value)
}

fn column(connection: Connection) -> usize {
    match connection {
        Connection::Online
        | Connection::Slow
        | Connection::Metered
        | Connection::Unknown
        | Connection::Later => 0,
        Connection::Offline => 1,
        Connection::OfflineSync => 2,
    }
}

fn connection_factor(connection: Connection) -> f64 {
    match connection {
        Connection::Online | Connection::Offline | Connection::Unknown | Connection::Later => 1.0,
        Connection::Metered => 1.3,
        Connection::OfflineSync => 1.2,
        Connection::Slow => 2.5,
    }
}

fn heavy_at(z: f64, median: f64, sigma: f64, tail_exponent: f64) -> f64 {
    let body = |z: f64| median * (sigma * z).exp();
    if z <= TAIL_Z {
        return body(z);
    }
    let share_above = (1.0 - normal_share_below(z)).max(1e-9);
    body(TAIL_Z)
        * (TAIL_SHARE / share_above)
            .powf(1.0 / tail_exponent)
            .max(1.0)
}

/// All metrics, and which of them a sample is of.
#[derive(Debug)]
pub struct Mix {
    measured: Vec<Measured>,
    /// The running sums over the metrics, for each column of `per_minute`.
    running: [Vec<f64>; 3],
}

impl Mix {
    /// The mix of the built-in catalogue.
    pub fn new(catalogue: &Catalogue) -> Self {
        let measured: Vec<Measured> = catalogue
            .metrics()
            .iter()
            .filter_map(|metric| {
                let recipe = RECIPES.iter().find(|recipe| recipe.name == metric.name)?;
                let bins = matches!(recipe.shape, Shape::Archive).then(Bins::lcp);
                Some(Measured {
                    metric: *metric,
                    recipe: *recipe,
                    bins,
                })
            })
            .collect();
        let running = [0, 1, 2].map(|column| {
            let mut sum = 0.0;
            let add = |measured: &Measured| {
                // What the terminal keeps itself is in every batch already.
                if measured.is_drawn() {
                    sum += measured.recipe.per_minute[column];
                }
                sum
            };
            measured.iter().map(add).collect()
        });
        Self { measured, running }
    }

    /// Every metric, in the order of the catalogue.
    pub fn measured(&self) -> &[Measured] {
        &self.measured
    }

    /// The metric at a position.
    pub fn at(&self, position: usize) -> Option<InMix<'_>> {
        let measured = self.measured.get(position)?;
        Some(InMix { position, measured })
    }

    /// The position of a metric.
    pub fn position(&self, name: &str) -> usize {
        self.measured
            .iter()
            .position(|measured| measured.metric.name == name)
            .unwrap_or(0)
    }

    /// What a sample is of, on a terminal connected like this.
    pub fn pick(&self, rng: &mut Rng, connection: Connection) -> usize {
        let running = &self.running[column(connection)];
        let total = running.last().copied().unwrap_or(0.0);
        let wanted = rng.f64() * total;
        running
            .partition_point(|sum| *sum <= wanted)
            .min(self.measured.len().saturating_sub(1))
    }
}

/// The evenly spaced quantiles of a standard normal distribution: `z` values for `count` stores that
/// together are exactly as different as they should be.
pub fn even_normals(count: usize) -> impl Iterator<Item = f64> {
    let total = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    (0..u32::try_from(count).unwrap_or(u32::MAX))
        .map(move |position| inverse_normal((f64::from(position) + 0.5) / total))
}

#[cfg(test)]
mod tests {
    use tillwatch_model::catalogue::BUILT_IN;

    use super::*;
    use crate::random::normal;

    const ONLINE: Conditions = Conditions {
        connection: Connection::Online,
        slowdown: 1.0,
        worse: 1.0,
    };

    fn draws(name: &str, count: usize) -> Vec<f64> {
        let mix = Mix::new(&Catalogue::default());
        let measured = &mix.measured()[mix.position(name)];
        let mut rng = Rng::with_seed(20_261_121);
        let mut values: Vec<f64> = (0..count)
            .map(|_| {
                measured
                    .metric
                    .unit
                    .to_wire(measured.at(normal(&mut rng), ONLINE))
            })
            .collect();
        values.sort_by(f64::total_cmp);
        values
    }

    fn is_near(value: f64, wanted: f64, tolerance: f64) -> bool {
        (value / wanted - 1.0).abs() < tolerance
    }

    #[test]
    fn every_metric_has_a_recipe_and_labels_that_fit() {
        let mix = Mix::new(&Catalogue::default());
        // Only events make samples of `events`, and these terminals report none.
        let measures = BUILT_IN.len() - 1;
        assert_eq!((mix.measured().len(), RECIPES.len()), (measures, measures));
        for measured in mix.measured() {
            let labels = measured.metric.label.map_or(0, |label| label.values.len());
            let weighted = measured.recipe.labels;
            if measured.metric.name != "mode_switches" {
                assert_eq!(weighted.len(), labels, "{}", measured.metric.name);
                assert!(labels == 0 || is_near(weighted.iter().sum(), 1.0, 1e-9));
            }
        }
    }

    #[test]
    fn lcp_is_the_archives() {
        let values = draws("lcp_ms", 200_000);
        assert!(
            is_near(values[150_000], 2_448.0, 0.01),
            "{}",
            values[150_000]
        );
        assert!(
            is_near(values[100_000], 1_448.0, 0.02),
            "{}",
            values[100_000]
        );
        assert!(
            is_near(values[190_000], 5_348.0, 0.02),
            "{}",
            values[190_000]
        );
    }

    #[test]
    fn durations_have_a_log_normal_body_and_a_heavy_tail() {
        let values = draws("sync_duration_ms", 200_000);
        assert!(is_near(values[100_000], 560.0, 0.01), "{}", values[100_000]);
        // The body: one sigma above the median.
        assert!(is_near(values[168_269], 560.0 * 0.55_f64.exp(), 0.02));
        // The tail: from the 97th percentile a hundredth of the values is 100^(1/2.2) times as slow.
        let ratio = values[199_940] / values[194_000];
        assert!(is_near(ratio, 100_f64.powf(1.0 / 2.2), 0.25), "{ratio}");
    }

    #[test]
    fn offline_metrics_occur_only_offline() {
        let mix = Mix::new(&Catalogue::default());
        let mut rng = Rng::with_seed(3);
        let mut seen = |connection| -> Vec<&str> {
            (0..20_000)
                .map(|_| mix.measured()[mix.pick(&mut rng, connection)].metric.name)
                .collect()
        };
        assert!(!seen(Connection::Online).contains(&"offline_logins"));
        let offline = seen(Connection::Offline);
        assert!(offline.contains(&"offline_login_duration_ms"));
        assert!(!offline.contains(&"network_latency_ms"));
        assert!(seen(Connection::OfflineSync).contains(&"reconnect_to_synced_ms"));
    }

    #[test]
    fn a_slow_release_and_a_slow_network_show() {
        let mix = Mix::new(&Catalogue::default());
        let at = |name: &str, connection, slowdown| {
            let conditions = Conditions {
                connection,
                slowdown,
                worse: 1.0,
            };
            mix.measured()[mix.position(name)].at(0.0, conditions)
        };
        assert_eq!(at("sync_duration_ms", Connection::Online, 1.0), 560_000);
        assert_eq!(at("sync_duration_ms", Connection::Slow, 2.0), 2_800_000);
        assert_eq!(at("idb_write_ms", Connection::Slow, 1.0), 8_500);
        assert_eq!(at("sync_payload_bytes", Connection::Online, 2.0), 5_600);
    }
}
