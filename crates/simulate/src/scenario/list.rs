//! The scenarios.

use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser};

use crate::scenario::expect::Expectation;

/// How a scenario's own collector runs.
#[derive(Debug, Clone, Copy)]
pub enum Setup {
    /// The collector as it is shipped: `serve` starts the embedded engine itself.
    Shipped,
    /// The engine apart, behind a network that the scenario can spoil; `serve` seals this often.
    Apart {
        /// `--seal-interval`.
        seal_interval: &'static str,
    },
}

/// What happens to ClickHouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// ClickHouse is left alone.
    None,
    /// Every piece of ClickHouse's answers comes this much later, in the middle third of the run.
    Slow(Duration),
    /// ClickHouse is not there, in the middle third of the run.
    Away,
    /// ClickHouse is not there until the run is over.
    AwayToTheEnd,
}

/// One story.
#[derive(Debug)]
pub struct Scenario {
    /// The scenario's name on the command line.
    pub name: &'static str,
    /// What happens in the scenario.
    pub what: &'static str,
    /// The options the scenario sets; what is given on the command line wins.
    pub preset: &'static [&'static str],
    /// The collector that the scenario starts when none is named.
    pub setup: Setup,
    /// What happens to ClickHouse.
    pub trouble: Trouble,
    /// Whether a hostile terminal takes part.
    pub is_hostile: bool,
    /// Whether it is a row of runs, each with more load.
    pub is_ramp: bool,
    /// What is expected.
    pub expected: &'static [Expectation],
}

use Expectation::{
    AcceptedAsAcknowledged, AllDelivered, AnsweredWithin, ClocksJudged, ErrorsUnder, FoundOnce,
    HostileRefused, HoursExact, LiveUnmoved, MemoryUnder, NeverDeferred, OutboxHeld, ReleaseShows,
    WindowsRight,
};

/// The p95 that a load must not pass.
const P95_MS: u32 = 500;

const STORY: Scenario = Scenario {
    name: "",
    what: "",
    preset: &[],
    setup: Setup::Shipped,
    trouble: Trouble::None,
    is_hostile: false,
    is_ramp: false,
    expected: &[AllDelivered, FoundOnce],
};

/// Every scenario there is.
#[rustfmt::skip]
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "trade",
        what: "A day of normal trade in 20 stores that open at 8 and close at 20 (UTC), in about a minute",
        preset: &["--stores", "20", "--terminals", "100", "--duration", "24h", "--speed", "1440", "--opening-hours", "8-20", "--late-share", "0", "--skew-share", "0"],
        expected: &[AllDelivered, FoundOnce, HoursExact],
        ..STORY
    },
    Scenario {
        name: "offline-week",
        what: "A store with ten terminals comes back after a week without network, while four others trade",
        preset: &["--stores", "5", "--terminals", "50", "--offline-stores", "1", "--duration", "60s", "--late-share", "0", "--skew-share", "0"],
        expected: &[AllDelivered, FoundOnce, HoursExact, LiveUnmoved],
        ..STORY
    },
    Scenario {
        name: "storm",
        what: "1,000 terminals that were offline for an hour to a week come back within one second",
        preset: &["--stores", "100", "--terminals", "1000", "--late-share", "1", "--return-within", "1s", "--connections", "1000", "--timeout", "30s", "--duration", "30s", "--drain", "5m"],
        expected: &[AllDelivered, FoundOnce],
        ..STORY
    },
    Scenario {
        name: "canary",
        what: "A quarter of the stores run a release on which everything takes half as long again",
        preset: &["--stores", "40", "--terminals", "400", "--canary-share", "0.25", "--canary-slowdown", "1.5", "--duration", "2m", "--rate", "1200", "--late-share", "0"],
        expected: &[AllDelivered, FoundOnce, ReleaseShows],
        ..STORY
    },
    Scenario {
        name: "wrong-clock",
        what: "All clocks are wrong by minutes to two years, and a quarter of the terminals do not say when they send",
        preset: &["--stores", "10", "--terminals", "200", "--skew-share", "1", "--skew-max", "700d", "--unstamped-share", "0.25", "--late-share", "0", "--duration", "60s", "--rate", "600"],
        expected: &[AllDelivered, FoundOnce, ClocksJudged, WindowsRight],
        ..STORY
    },
    Scenario {
        name: "hostile",
        what: "A terminal sends damage, bombs, floods and made-up names while 20 stores trade",
        preset: &["--stores", "20", "--terminals", "100", "--late-share", "0", "--resend-share", "0", "--duration", "30s", "--rate", "600"],
        is_hostile: true,
        expected: &[AllDelivered, FoundOnce, HostileRefused, MemoryUnder(512), AnsweredWithin(P95_MS)],
        ..STORY
    },
    Scenario {
        name: "clickhouse-slow",
        what: "ClickHouse answers two seconds late for a third of the run",
        preset: &["--stores", "20", "--terminals", "200", "--duration", "60s", "--rate", "1200", "--compare-wait", "3m"],
        setup: Setup::Apart { seal_interval: "2s" },
        trouble: Trouble::Slow(Duration::from_secs(2)),
        expected: &[AllDelivered, FoundOnce, NeverDeferred, AnsweredWithin(P95_MS), OutboxHeld],
        ..STORY
    },
    Scenario {
        name: "clickhouse-away",
        what: "ClickHouse is not there for a third of the run",
        preset: &["--stores", "20", "--terminals", "200", "--duration", "60s", "--rate", "1200", "--compare-wait", "3m"],
        setup: Setup::Apart { seal_interval: "2s" },
        trouble: Trouble::Away,
        expected: &[AllDelivered, FoundOnce, NeverDeferred, AnsweredWithin(P95_MS), OutboxHeld],
        ..STORY
    },
    Scenario {
        name: "soak",
        what: "5,000 batches a minute from 500 terminals for ten minutes, on the shipped settings",
        preset: &["--rate", "5000", "--duration", "10m", "--connections", "256", "--late-share", "0", "--resend-share", "0"],
        expected: &[AllDelivered, FoundOnce, AnsweredWithin(P95_MS), ErrorsUnder(0.001)],
        ..STORY
    },
    Scenario {
        name: "ramp",
        what: "From 5,000 batches a minute on the rate doubles until p95 passes 500 ms, errors pass 0.1 %, or the simulator cannot keep up",
        preset: &["--rate", "5000", "--duration", "15s", "--drain", "30s", "--connections", "256", "--late-share", "0", "--resend-share", "0"],
        is_ramp: true,
        expected: &[AcceptedAsAcknowledged],
        ..STORY
    },
    Scenario {
        name: "large",
        what: "A batch a minute from each of 20,000 terminals in 2,000 stores for five minutes, on the shipped settings",
        preset: &["--stores", "2000", "--terminals", "20000", "--rate", "20000", "--duration", "5m", "--connections", "2048", "--late-share", "0", "--resend-share", "0", "--compare-wait", "5m"],
        expected: &[AllDelivered, FoundOnce, AnsweredWithin(P95_MS), ErrorsUnder(0.001), MemoryUnder(2_048)],
        ..STORY
    },
    Scenario {
        name: "disk",
        what: "A day of 50 stores with ten terminals each, round the clock, sealed every five simulated minutes: what it takes on disk",
        preset: &["--duration", "24h", "--speed", "300", "--late-share", "0", "--skew-share", "0", "--resend-share", "0", "--compare-wait", "10m"],
        setup: Setup::Apart { seal_interval: "1s" },
        trouble: Trouble::AwayToTheEnd,
        expected: &[AllDelivered, FoundOnce, NeverDeferred, OutboxHeld],
        ..STORY
    },
];

/// The scenario of this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

/// The scenarios' names, with what happens in each, for the command line.
pub fn names() -> PossibleValuesParser {
    let value = |scenario: &Scenario| PossibleValue::new(scenario.name).help(scenario.what);
    PossibleValuesParser::new(SCENARIOS.iter().map(value))
}
