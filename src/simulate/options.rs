//! The command's options, and durations as people write them.

use std::time::Duration;

use clap::Args;

use crate::model::dimension::{is_identifier, is_release};

/// The longest store prefix, so that the identifiers made from it stay within 64 bytes.
const STORE_PREFIX_BYTES_MAX: usize = 48;

/// The most samples in one batch: a terminal's minute, with room.
const SAMPLES_PER_BATCH_MAX: u32 = 1_000;

/// The most terminals: the large fleet of the design, five times over.
const TERMINALS_MAX: u32 = 100_000;

/// How far back samples are accepted, less an hour for spans that have begun and clocks that differ.
pub const OFFLINE_MAX: Duration = Duration::from_secs(7 * 86_400 - 3_600);

/// Simulates a fleet of terminals that post measurements, and checks what the collector made of them.
///
/// Every terminal keeps a batch until it is acknowledged and sends it again when it is not, with full
/// jitter and honouring Retry-After. With --admin-url the run ends by reading all percentiles back and
/// comparing them with the exact ones; the exit status is not 0 when a sample was lost or counted
/// twice, or when a percentile is off by more than 0.1 %.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Where to post batches: the collector's public listener.
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        help_heading = "Collector"
    )]
    pub url: String,

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

    /// How long terminals go on measuring, such as 90s, 10m or 24h. Default: 60s.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, group = "end", help_heading = "Load")]
    pub duration: Option<Duration>,

    /// Go on until this many batches of the normal trade are made (history comes on top).
    #[arg(long, value_name = "COUNT", group = "end", help_heading = "Load")]
    pub batches: Option<u64>,

    /// Go on until interrupted (Ctrl-C or SIGTERM).
    #[arg(long, group = "end", help_heading = "Load")]
    pub forever: bool,

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

    /// Share of the requests that are sent twice: half of them because the terminal hangs up before the
    /// answer, half although they were acknowledged. 0 to 1.
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 0.02,
        help_heading = "Faults"
    )]
    pub resend_share: f64,

    /// Share of the terminals whose clocks are wrong by 2 to 40 minutes. 0 to 1.
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 0.04,
        help_heading = "Faults"
    )]
    pub skew_share: f64,

    /// What all values are drawn from: the same seed makes the same fleet and the same values.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, help_heading = "Run")]
    pub seed: u64,

    /// Names the run; with the seed it makes the terminals' queues. Two runs with one name post the same
    /// identities, so the second is all duplicates and cannot be compared. Default: random.
    #[arg(long, value_name = "TEXT", help_heading = "Run")]
    pub run_id: Option<String>,

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
}

/// When terminals stop measuring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// After this time.
    After(Duration),
    /// After so many batches of the normal trade.
    Batches(u64),
    /// When told to.
    Never,
}

impl Options {
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

    /// The time between two batches of a terminal; none when it measures as fast as it can send.
    pub fn interval_ms(&self) -> Option<u64> {
        let rate = self.rate.unwrap_or(self.terminals);
        (u64::from(self.terminals) * 60_000).checked_div(u64::from(rate))
    }

    /// The first thing about the options that makes no sense.
    pub fn first_fault(&self) -> Option<(&'static str, &'static str)> {
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let faults = [
            (
                !(1..=self.terminals).contains(&self.stores),
                "--stores",
                "must be between 1 and the number of terminals",
            ),
            (
                self.terminals > TERMINALS_MAX,
                "--terminals",
                "must be at most 100,000",
            ),
            (self.connections == 0, "--connections", "must be at least 1"),
            (
                !(1..=SAMPLES_PER_BATCH_MAX).contains(&self.samples_per_batch),
                "--samples-per-batch",
                "must be between 1 and 1,000",
            ),
            (
                !is_identifier(&self.store_prefix)
                    || self.store_prefix.len() > STORE_PREFIX_BYTES_MAX,
                "--store-prefix",
                "must match [A-Za-z0-9_.:-]{1,48}",
            ),
            (
                !is_release(&self.release),
                "--release",
                "must match [A-Za-z0-9_.:+-]{1,64}",
            ),
            (
                !is_release(&self.release_canary),
                "--release-canary",
                "must match [A-Za-z0-9_.:+-]{1,64}",
            ),
            (
                !share(self.canary_share),
                "--canary-share",
                "must be between 0 and 1",
            ),
            (
                !(0.1..=100.0).contains(&self.canary_slowdown),
                "--canary-slowdown",
                "must be between 0.1 and 100",
            ),
            (
                !share(self.late_share),
                "--late-share",
                "must be between 0 and 1",
            ),
            (
                !share(self.resend_share),
                "--resend-share",
                "must be between 0 and 1",
            ),
            (
                !share(self.skew_share),
                "--skew-share",
                "must be between 0 and 1",
            ),
            (
                self.backfill > OFFLINE_MAX + Duration::from_secs(3_600),
                "--backfill",
                "must be at most 7d: older samples are not accepted",
            ),
            (
                self.timeout.is_zero(),
                "--timeout",
                "must be longer than nothing",
            ),
        ];
        faults
            .into_iter()
            .find(|(is_fault, _, _)| *is_fault)
            .map(|(_, option, rule)| (option, rule))
    }
}

/// Why a text is not a duration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration; write a number and a unit, such as 250ms, 90s, 10m, 24h or 7d")]
pub struct DurationError;

/// Reads `250ms`, `90s`, `10m`, `24h`, `7d`, and sums of them such as `1h30m`.
fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    const UNITS: [(&str, u64); 5] = [
        ("ms", 1),
        ("s", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
    ];
    let mut rest = text.trim();
    let mut total_ms = 0_u64;
    if rest.is_empty() {
        return Err(DurationError);
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|letter: char| !letter.is_ascii_digit())
            .ok_or(DurationError)?;
        let (number, after) = rest.split_at(digits);
        let letters = after
            .find(|letter: char| letter.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(letters);
        let (_, unit_ms) = UNITS
            .iter()
            .find(|(name, _)| *name == unit.trim())
            .ok_or(DurationError)?;
        // An empty or an endless number is no number of milliseconds either.
        let number: u64 = number.parse().ok().ok_or(DurationError)?;
        total_ms = number
            .checked_mul(*unit_ms)
            .and_then(|part_ms| total_ms.checked_add(part_ms))
            .ok_or(DurationError)?;
        rest = next;
    }
    Ok(Duration::from_millis(total_ms))
}

#[cfg(test)]
pub mod tests {
    use clap::Parser;

    use super::*;

    // Later words win, so that tests can change their own defaults.
    #[derive(Parser)]
    #[command(args_override_self = true)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    /// The options of a command line.
    pub fn options(line: &[&str]) -> Options {
        let words = std::iter::once("simulate").chain(line.iter().copied());
        Line::parse_from(words).options
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        let seconds = |text| parse_duration(text).map(|duration| duration.as_secs());
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("1h30m"), Ok(5_400));
        assert_eq!(seconds("7d"), Ok(604_800));
        assert_eq!(seconds("0s"), Ok(0));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in [
            "",
            "90",
            "s",
            "1.5h",
            "-1s",
            "5 parsecs",
            "99999999999999999999d",
        ] {
            assert_eq!(parse_duration(bad), Err(DurationError), "{bad}");
        }
    }

    #[test]
    fn the_default_is_a_batch_per_terminal_and_minute_for_a_minute() {
        let defaults = options(&[]);
        assert_eq!(defaults.interval_ms(), Some(60_000));
        assert_eq!(defaults.end(), End::After(Duration::from_secs(60)));
        assert_eq!(defaults.first_fault(), None);
        assert_eq!(options(&["--rate", "20000"]).interval_ms(), Some(1_500));
        assert_eq!(options(&["--rate", "0"]).interval_ms(), None);
        assert_eq!(options(&["--batches", "7"]).end(), End::Batches(7));
        assert_eq!(options(&["--forever"]).end(), End::Never);
        assert!(Line::try_parse_from(["simulate", "--forever", "--batches", "7"]).is_err());
    }

    #[test]
    fn options_that_make_no_sense_are_named() {
        for (line, option) in [
            (["--stores", "501"], "--stores"),
            (["--stores", "0"], "--stores"),
            (["--late-share", "1.1"], "--late-share"),
            (["--resend-share", "NaN"], "--resend-share"),
            (["--store-prefix", "läden-"], "--store-prefix"),
            (["--backfill", "8d"], "--backfill"),
        ] {
            assert_eq!(options(&line).first_fault().unwrap().0, option);
        }
    }
}
