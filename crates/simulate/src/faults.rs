//! Options that make no sense.

use std::time::Duration;

use tillwatch_model::dimension::{is_identifier, is_release};

use crate::Options;
use crate::options::{End, OFFLINE_MAX};

/// The longest store prefix, so that the identifiers made from it stay within 64 bytes.
const STORE_PREFIX_BYTES_MAX: usize = 48;

/// The most samples in one batch: a terminal's minute, with room.
const SAMPLES_PER_BATCH_MAX: u32 = 1_000;

/// The most terminals: the large fleet of the design, five times over.
const TERMINALS_MAX: u32 = 100_000;

/// How fast simulated time may pass: a week in a minute.
const SPEED_MAX: u32 = 10_000;

/// Wrong clocks begin at two minutes, so their largest error must be past that.
const SKEW_MIN: Duration = Duration::from_secs(180);
const SKEW_MAX: Duration = Duration::from_secs(1_000 * 86_400);

impl Options {
    /// The first thing about the options that makes no sense.
    #[expect(clippy::too_many_lines, reason = "a table of rules")]
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
                "must match [A-Za-z0-9_.:+@-]{1,64} and be no e-mail address",
            ),
            (
                !is_release(&self.release_canary),
                "--release-canary",
                "must match [A-Za-z0-9_.:+@-]{1,64} and be no e-mail address",
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
                !(0.1..=100.0).contains(&self.slowdown),
                "--slowdown",
                "must be between 0.1 and 100",
            ),
            (
                !(0.0..=0.9).contains(&self.store_spread),
                "--store-spread",
                "must be between 0 and 0.9",
            ),
            (
                !self.rollout.is_sorted_by(|one, next| {
                    one.from_ms <= next.from_ms && one.share <= next.share
                }),
                "--rollout",
                "must reach more stores at every step, one after the other",
            ),
            (
                self.trouble
                    .iter()
                    .any(|trouble| trouble.store > Some(self.stores)),
                "--trouble",
                "must be in a store of the fleet",
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
                self.offline_for > OFFLINE_MAX + Duration::from_secs(3_600)
                    || self.offline_stores > self.stores,
                "--offline-stores",
                "must be at most --stores, and --offline-for at most 7d",
            ),
            (
                !share(self.unstamped_share),
                "--unstamped-share",
                "must be between 0 and 1",
            ),
            (
                self.skew_max < SKEW_MIN || self.skew_max > SKEW_MAX,
                "--skew-max",
                "must be between 3m and 1000d",
            ),
            (
                !(1..=SPEED_MAX).contains(&self.speed),
                "--speed",
                "must be between 1 and 10,000",
            ),
            (
                self.speed > 1
                    && !matches!(self.end(), End::After(length) if length <= OFFLINE_MAX),
                "--speed",
                "above 1 needs a --duration of at most 7d (simulated time), which then ends now",
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

#[cfg(test)]
mod tests {
    use crate::options::tests::options;

    #[test]
    fn options_that_make_no_sense_are_named() {
        for (line, option) in [
            (["--stores", "501"], "--stores"),
            (["--stores", "0"], "--stores"),
            (["--late-share", "1.1"], "--late-share"),
            (["--resend-share", "NaN"], "--resend-share"),
            (["--store-prefix", "läden-"], "--store-prefix"),
            (["--backfill", "8d"], "--backfill"),
            (["--offline-stores", "51"], "--offline-stores"),
            (["--unstamped-share", "1.1"], "--unstamped-share"),
            (["--skew-max", "1m"], "--skew-max"),
            (["--slowdown", "0"], "--slowdown"),
            (["--store-spread", "1"], "--store-spread"),
            (["--rollout", "5m=0.2,9m=0.1"], "--rollout"),
            (["--trouble", "memory:51"], "--trouble"),
            (["--speed", "0"], "--speed"),
            (["--speed", "10001"], "--speed"),
        ] {
            assert_eq!(options(&line).first_fault().unwrap().0, option);
        }
        let line = ["--speed", "60", "--duration", "8d"];
        assert_eq!(options(&line).first_fault().unwrap().0, "--speed");
        let line = ["--speed", "60", "--forever"];
        assert_eq!(options(&line).first_fault().unwrap().0, "--speed");
        let line = ["--speed", "60", "--duration", "1d"];
        assert_eq!(options(&line).first_fault(), None);
    }
}
