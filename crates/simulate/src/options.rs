//! The command's options.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use humantime::parse_duration;

pub use crate::pace::End;
use crate::pace::Hours;
use crate::progress::Display;
use crate::rollout::Step;
use crate::scenario;
use crate::trouble::Trouble;

/// How far back samples are accepted, less an hour for spans that have begun and clocks that differ.
pub const OFFLINE_MAX: Duration = Duration::from_secs(7 * 86_400 - 3_600);

/// Simulates a fleet of terminals that post measurements, and checks what the collector made of them.
///
/// Every terminal keeps a batch until it is acknowledged and sends it again when it is not, with full
/// jitter and honouring Retry-After. With --admin-url the run ends by reading all percentiles back and
/// comparing them with the exact ones; the exit status is not 0 when a sample was lost or counted
/// twice, or when a percentile is off by more than 0.1 %.
///
/// With --scenario a whole story is told: the scenario sets the options it needs (others given here win),
/// starts a collector of its own in a scratch folder unless --url names one, and says what it expected
/// and what it found. The exit status is not 0 when an expectation is not met.
#[derive(Debug, Clone, Args)]
#[command(args_override_self = true)]
pub struct Options {
    /// What is simulated, and what the collector must make of it.
    #[arg(long, value_name = "NAME", value_parser = scenario::names(), help_heading = "Scenario")]
    pub scenario: Option<String>,

    /// Where a scenario's own collector keeps its data; kept afterwards. Default: a folder that is removed.
    #[arg(long, value_name = "DIR", help_heading = "Scenario")]
    pub data_dir: Option<PathBuf>,

    /// A Markdown page whose section of this scenario is written anew; the rest of it stays.
    #[arg(long, value_name = "FILE", help_heading = "Scenario")]
    pub report: Option<PathBuf>,

    /// Where to post batches: the collector's public listener. Default: port 8080 of this machine, or
    /// a collector of the scenario's own.
    #[arg(long, value_name = "URL", help_heading = "Collector")]
    pub url: Option<String>,

    /// The collector's admin listener, whose query API is asked at the end. Without it nothing is
    /// compared.
    #[arg(long, value_name = "URL", help_heading = "Collector")]
    pub admin_url: Option<String>,

    /// Requests under way at once, and so the most connections held open.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 64,
        help_heading = "Collector"
    )]
    pub connections: u32,

    /// Compress every body with gzip, as a terminal does.
    #[arg(long, help_heading = "Collector")]
    pub gzip: bool,

    /// A key that signs tokens, as `tillwatch token key new` makes it in the collector's data folder. Each terminal shows
    /// a token of its own then.
    #[arg(long, value_name = "FILE", help_heading = "Collector")]
    pub token_key: Option<PathBuf>,

    /// File with a key of the scopes metrics and read (`tillwatch key new`), which is shown to the admin listener.
    #[arg(
        long,
        env = "TILLWATCH_ADMIN_KEY_FILE",
        value_name = "FILE",
        help_heading = "Collector"
    )]
    pub admin_key_file: Option<PathBuf>,

    /// File of certificates (PEM) that are trusted beside those of the system, for URLs that begin with https.
    #[arg(
        long,
        env = "TILLWATCH_CA_FILE",
        value_name = "FILE",
        help_heading = "Collector"
    )]
    pub ca_file: Option<PathBuf>,

    /// How long one request may take before the terminal gives it up and tries again.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration, help_heading = "Collector")]
    pub timeout: Duration,

    /// The longest wait between two attempts of a terminal (the first is at most 1 s). Real terminals
    /// wait up to 5 minutes; this is shorter so that a run comes to an end. A longer Retry-After is
    /// always kept to.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration, help_heading = "Collector")]
    pub backoff_max: Duration,

    /// Stores in the fleet.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 50,
        help_heading = "Fleet"
    )]
    pub stores: u32,

    /// Terminals in the fleet, spread evenly over the stores.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 500,
        help_heading = "Fleet"
    )]
    pub terminals: u32,

    /// What store identifiers begin with: store-001, store-002, … A prefix that the collector has not
    /// seen before makes the comparison complete, because nothing else is in those stores.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "store-",
        help_heading = "Fleet"
    )]
    pub store_prefix: String,

    /// The release most stores run.
    #[arg(
        long,
        value_name = "RELEASE",
        default_value = "2.4.1",
        help_heading = "Fleet"
    )]
    pub release: String,

    /// The release the canary stores run.
    #[arg(
        long,
        value_name = "RELEASE",
        default_value = "2.5.0",
        help_heading = "Fleet"
    )]
    pub release_canary: String,

    /// Share of the stores that run the canary release, 0 to 1.
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 0.1,
        help_heading = "Fleet"
    )]
    pub canary_share: f64,

    /// How much longer everything takes on the canary release: 1 is the same, 1.5 half as long again.
    #[arg(
        long,
        value_name = "FACTOR",
        default_value_t = 1.0,
        help_heading = "Fleet"
    )]
    pub canary_slowdown: f64,

    /// When the canary release reaches which share of the stores, such as 15m=0.1,30m=0.25: after the
    /// beginning of the run, or before it (-2d=0.02) in what --backfill makes; in this order. Instead of
    /// --canary-share.
    #[arg(long, allow_hyphen_values = true, value_name = "TIME=SHARE", value_parser = Step::parse, value_delimiter = ',', help_heading = "Fleet")]
    pub rollout: Vec<Step>,

    /// How long everything takes on every release: 0.8 is a fifth shorter than usual.
    #[arg(
        long,
        value_name = "FACTOR",
        default_value_t = 1.0,
        help_heading = "Fleet"
    )]
    pub slowdown: f64,

    /// How much of a value is its store's, 0 to 0.9: at 0 all stores are alike, at 0.15 all are within their limits,
    /// at 0.35 two of sixty are past those for LCP and offline logins.
    #[arg(
        long,
        value_name = "WEIGHT",
        default_value_t = 0.15,
        help_heading = "Fleet"
    )]
    pub store_spread: f64,

    /// Batches a minute of the whole fleet. Default: one per terminal. 0: as fast as the collector
    /// answers.
    #[arg(long, value_name = "PER_MINUTE", help_heading = "Load")]
    pub rate: Option<u32>,

    /// Samples in each batch.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 40,
        help_heading = "Load"
    )]
    pub samples_per_batch: u32,

    /// How long terminals go on measuring, such as 90s, 10m or 24h, in simulated time. Of --duration,
    /// --batches and --forever the last one counts. Default: 60s.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, overrides_with_all = ["batches", "forever"], help_heading = "Load")]
    pub duration: Option<Duration>,

    /// Go on until this many batches of the normal trade are made (history comes on top).
    #[arg(long, value_name = "COUNT", overrides_with_all = ["duration", "forever"], help_heading = "Load")]
    pub batches: Option<u64>,

    /// Go on until interrupted (Ctrl-C or SIGTERM).
    #[arg(long, overrides_with_all = ["duration", "batches"], help_heading = "Load")]
    pub forever: bool,

    /// How fast simulated time passes: at 1440 a day takes a minute. Above 1 it lies in the past and ends
    /// when the run does, because a sample in the future is not accepted.
    #[arg(
        long,
        value_name = "FACTOR",
        default_value_t = 1,
        help_heading = "Load"
    )]
    pub speed: u32,

    /// When stores are open, in hours UTC such as 8-20; terminals measure only then, and more at noon
    /// and before closing. Saturdays are busier and Sundays quieter, and stores differ. So is the history
    /// of --backfill. Default: always, and as much at any time.
    #[arg(long, value_name = "HOURS", value_parser = Hours::parse, help_heading = "Load")]
    pub opening_hours: Option<Hours>,

    /// Let every terminal also deliver this much of the past, as histograms in requests of many
    /// batches, so that there is something to look at. At most 7 days.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration, help_heading = "Load")]
    pub backfill: Duration,

    /// Share of the terminals that were offline for one hour to 7 days when the run begins, and deliver
    /// that during its first half. 0 to 1.
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 0.05,
        help_heading = "Faults"
    )]
    pub late_share: f64,

    /// So many stores were offline with all their terminals for --offline-for, and come back during the
    /// run's first half.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 0,
        help_heading = "Faults"
    )]
    pub offline_stores: u32,

    /// How long those stores were offline.
    #[arg(long, value_name = "DURATION", default_value = "167h", value_parser = parse_duration, help_heading = "Faults")]
    pub offline_for: Duration,

    /// Within what time those that were offline come back. Default: the first half of the run.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Faults")]
    pub return_within: Option<Duration>,

    /// What is wrong in a store, and from when on: a kind, the store's number (else a tenth of the stores), and how long
    /// after the beginning, such as silent:7@20m. May be given several times. slow-sync, bad-network and memory make
    /// values worse; silent and dead-till end a store or its second till; stuck: that till cannot synchronise; lost:
    /// tills lose batches, told, untold or late; new-error: an error spreads from there. The report has the truth, and
    /// with --admin-url what the collector claimed wrongly or missed.
    #[arg(long, value_name = "KIND[:STORE][@TIME]", value_parser = Trouble::parse, value_delimiter = ',', help_heading = "Faults")]
    pub trouble: Vec<Trouble>,

    /// Share of the requests that are sent twice: half of them because the terminal hangs up before the
    /// answer, half although they were acknowledged. 0 to 1.
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 0.02,
        help_heading = "Faults"
    )]
    pub resend_share: f64,

    /// Share of the terminals whose clocks are wrong by 2 minutes up to --skew-max. 0 to 1.
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 0.04,
        help_heading = "Faults"
    )]
    pub skew_share: f64,

    /// The most a wrong clock is wrong by, in either direction.
    #[arg(long, value_name = "DURATION", default_value = "40m", value_parser = parse_duration, help_heading = "Faults")]
    pub skew_max: Duration,

    /// Share of the wrong clocks whose terminals do not say when they send, so that nothing can be
    /// corrected: what lies outside 8 days back and 5 minutes ahead must be rejected. 0 to 1.
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 0.0,
        help_heading = "Faults"
    )]
    pub unstamped_share: f64,

    /// What all values are drawn from: the same seed makes the same fleet and the same values.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, help_heading = "Run")]
    pub seed: u64,

    /// Names the run; with the seed it makes the terminals' queues. Two runs with one name post the same
    /// identities, so the second is all duplicates and cannot be compared. Default: random.
    #[arg(long, value_name = "TEXT", help_heading = "Run")]
    pub run_id: Option<String>,

    /// A file that keeps the terminals' queues from run to run, as a terminal's own storage does. Without
    /// it every run begins new ones, and a collector remembers 16 of a terminal for nine days.
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    pub queues: Option<PathBuf>,

    /// How long to go on sending what is queued once the terminals stop measuring.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration, help_heading = "Run")]
    pub drain: Duration,

    /// How long to wait until the query API has everything that was acknowledged.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration, help_heading = "Run")]
    pub compare_wait: Duration,

    /// Report as JSON.
    #[arg(long, help_heading = "Run")]
    pub json: bool,

    /// No progress on standard error.
    #[arg(long, help_heading = "Run")]
    pub quiet: bool,

    /// Makes what shows how far the run has come; without it nothing is shown.
    #[arg(skip)]
    pub display: Option<fn() -> Box<dyn Display>>,
}

impl Options {
    /// Where batches go.
    pub fn url(&self) -> &str {
        self.url.as_deref().unwrap_or("http://127.0.0.1:8080")
    }

    /// When terminals stop measuring.
    pub fn end(&self) -> End {
        const DURATION_DEFAULT: Duration = Duration::from_secs(60);
        if self.forever {
            End::Never
        } else if let Some(batches) = self.batches {
            End::Batches(batches)
        } else {
            End::After(self.duration.unwrap_or(DURATION_DEFAULT))
        }
    }

    /// Simulated time of a run, if it has an end.
    pub fn simulated(&self) -> Duration {
        match self.end() {
            End::After(duration) => duration,
            End::Batches(_) | End::Never => Duration::ZERO,
        }
    }

    /// How far back samples of a run may lie.
    pub fn past(&self) -> Duration {
        let late = if self.late_share > 0.0 {
            OFFLINE_MAX
        } else {
            Duration::ZERO
        };
        let offline = if self.offline_stores > 0 {
            self.offline_for
        } else {
            Duration::ZERO
        };
        let simulated = if self.speed > 1 {
            self.simulated()
        } else {
            Duration::ZERO
        };
        self.backfill.max(late).max(offline) + simulated
    }

    /// The simulated time between two batches of a terminal; none when it measures as fast as it can send.
    pub fn interval_ms(&self) -> Option<u64> {
        let rate = self.rate.unwrap_or(self.terminals);
        (u64::from(self.terminals) * 60_000).checked_div(u64::from(rate))
    }
}

#[cfg(test)]
pub mod tests {
    use std::ffi::OsString;

    use clap::Parser;

    use super::*;
    use crate::preset::Line;

    /// The options of a command line.
    pub fn options(line: &[&str]) -> Options {
        let words = std::iter::once("simulate").chain(line.iter().copied());
        Line::parse_from(words).options
    }

    #[test]
    fn a_scenario_sets_options_and_the_command_line_wins() {
        for scenario in scenario::SCENARIOS {
            let line = ["--scenario", scenario.name];
            let set = options(&line)
                .with_preset(line.map(OsString::from))
                .unwrap();
            assert_eq!(set.first_fault(), None, "{}", scenario.name);
        }
        let line = ["--scenario", "soak", "--duration", "90s"];
        let set = options(&line)
            .with_preset(line.map(OsString::from))
            .unwrap();
        assert_eq!((set.rate, set.late_share), (Some(5_000), 0.0));
        assert_eq!(set.end(), End::After(Duration::from_secs(90)));
        let line = ["--scenario", "soak", "--batches", "9"];
        let set = options(&line)
            .with_preset(line.map(OsString::from))
            .unwrap();
        assert_eq!(set.end(), End::Batches(9));
        let other = options(&["--rate", "7"]).with_preset([]).unwrap();
        assert_eq!(other.rate, Some(7));
    }

    #[test]
    fn the_default_is_a_batch_per_terminal_and_minute_for_a_minute() {
        let defaults = options(&[]);
        assert_eq!(defaults.interval_ms(), Some(60_000));
        assert_eq!(defaults.end(), End::After(Duration::from_secs(60)));
        assert_eq!(defaults.first_fault(), None);
        assert_eq!(options(&["--rate", "20000"]).interval_ms(), Some(1_500));
        let troubled = options(&["--trouble", "memory:1", "--trouble", "silent:2@5m,memory:3"]);
        assert_eq!(troubled.trouble.len(), 3);
        assert_eq!(options(&["--rate", "0"]).interval_ms(), None);
        assert_eq!(options(&["--batches", "7"]).end(), End::Batches(7));
        assert_eq!(options(&["--forever"]).end(), End::Never);
        assert_eq!(
            options(&["--forever", "--batches", "7"]).end(),
            End::Batches(7)
        );
    }
}
