//! Runs a scenario: collector, fleet, trouble, expectations.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use crate::campaign::{Run, SimulateError};
use crate::client::{admin_http, http};
use crate::options::End;
use crate::query::{Query, QueryError};
use crate::scenario::collector::Collector;
use crate::scenario::exposition::{Page, Pages};
use crate::scenario::finding::Scene;
use crate::scenario::hostile::{self, Harmed};
use crate::scenario::list::{Scenario, Trouble};
use crate::scenario::measured::{measured, over_time};
use crate::scenario::proxy::Link;
use crate::scenario::sizes;
use crate::scenario::vitals::{Health, Vitals, Watched};
use crate::scenario::{page, ramp};
use crate::{Options, Report};

/// How often is asked what waits in the outbox.
const OUTBOX_POLL: Duration = Duration::from_millis(500);

/// What was in the outbox.
#[derive(Debug, Default)]
struct Outbox {
    epochs_max: f64,
    epochs: f64,
    bytes_max: f64,
    open_rows: f64,
}

impl Outbox {
    async fn look(&mut self, http: &reqwest::Client, admin_url: &str) {
        let url = format!("{}/metrics", admin_url.trim_end_matches('/'));
        // A look that fails is made again soon.
        if let Ok(page) = Page::fetch(http, &url).await {
            self.open_rows = page.sum("tillwatch_open_rows", &[]);
            self.epochs = page.sum("tillwatch_outbox_epochs", &[]);
            self.epochs_max = self.epochs_max.max(self.epochs);
            self.bytes_max = self.bytes_max.max(page.sum("tillwatch_outbox_bytes", &[]));
        }
    }
}

/// Runs the scenario and reports. Starts a collector of its own unless the options name one.
///
/// # Errors
/// When an option makes no sense, or the collector does not start or answer.
pub async fn play<F: Future<Output = ()>>(
    scenario: &Scenario,
    mut options: Options,
    stop: impl Fn() -> F,
) -> Result<Report, SimulateError> {
    let collector = match (&options.url, scenario.trouble) {
        (None, _) => Some(Collector::start(scenario.setup, options.data_dir.as_deref()).await?),
        (Some(_), Trouble::None) => None,
        (Some(_), _) => {
            return Err(SimulateError::Option {
                option: "--url",
                rule: "must not be given: this scenario disturbs a ClickHouse of its own",
            });
        }
    };
    if let Some(collector) = &collector {
        options.url = Some(collector.url.clone());
        options.admin_url = Some(collector.admin_url.clone());
    }
    let Some(admin_url) = options.admin_url.clone() else {
        return Err(SimulateError::Option {
            option: "--admin-url",
            rule: "must be given with --url: a scenario looks at what the collector made of it",
        });
    };
    let vitals = collector.as_ref().and_then(|collector| {
        Some(Vitals::start(Watched {
            serve_pid: collector.serve_pid()?,
            engine_pid: collector.engine_pid(),
            folder: collector.folder().to_owned(),
        }))
    });
    let played = if scenario.is_ramp {
        ramp::climb(scenario, &options, vitals.as_ref(), &stop).await
    } else {
        let stage = Stage {
            scenario,
            options: &options,
            admin_url: &admin_url,
            collector: collector.as_ref(),
            vitals: vitals.as_ref(),
        };
        stage.play(&stop).await
    };
    let stopped = match collector {
        Some(collector) => collector.stop().await,
        None => Ok(()),
    };
    let mut report = played?;
    if let Err(error) = stopped {
        report.fault(error.to_string());
    }
    if let Some(file) = &options.report {
        page::write(file, &report)?;
    }
    Ok(report)
}

/// What was seen while a story was played.
struct Seen {
    before: Pages,
    after: Pages,
    health: Option<Health>,
    harmed: Option<Harmed>,
    outbox_epochs: [f64; 2],
    ended_ms: i64,
}

/// What a story is played on.
struct Stage<'a> {
    scenario: &'a Scenario,
    options: &'a Options,
    admin_url: &'a str,
    collector: Option<&'a Collector>,
    vitals: Option<&'a Vitals>,
}

impl Stage<'_> {
    async fn play<F: Future<Output = ()>>(
        &self,
        stop: &impl Fn() -> F,
    ) -> Result<Report, SimulateError> {
        let options = self.options;
        let client = admin_http(options)?;
        let mut run = Run::prepare(options, None).await?;
        let before = Pages::fetch(&client, self.admin_url).await?;
        let mut outbox = Outbox::default();
        let hostile_client = http(options)?;
        // On a thread of its own, so that it does not slow the fleet down.
        let attack = self.scenario.is_hostile.then(|| {
            let attack = hostile::attack(options.url().to_owned(), hostile_client.clone());
            tokio::spawn(attack)
        });
        let attack = async {
            match attack {
                Some(attack) => attack.await.map(Some),
                None => Ok(None),
            }
        };
        // The trouble never ends by itself; dropped half-way it leaves a link, which is set below.
        let (gone, harmed) = tokio::select! {
            both = async { tokio::join!(run.go(options, stop), attack) } => both,
            never = self.make_trouble(&client, &mut outbox) => match never {},
        };
        gone?;
        let harmed = harmed?;
        let ended_ms = run.fleet.clock.now_ms();
        self.wait_for_outbox(&client, &mut outbox).await;
        let mut report = run.report(options);
        run.compare(&mut report, options, ended_ms).await;
        let after = Pages::fetch(&client, self.admin_url).await?;
        let health = self.vitals.map(Vitals::health);
        report.scenario = Some(self.scenario.name.to_owned());
        report.measured = measured(&report, health.as_ref(), [&before, &after]);
        report.tables.extend(health.as_ref().and_then(over_time));
        let seen = Seen {
            before,
            after,
            health,
            harmed,
            outbox_epochs: [outbox.epochs_max, outbox.epochs],
            ended_ms,
        };
        self.check(&mut report, &run, &seen).await?;
        if self.scenario.trouble == Trouble::AwayToTheEnd
            && let Some(collector) = self.collector
        {
            let days = options.simulated().as_secs_f64() / 86_400.0;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "bytes of a disk, below 2^53"
            )]
            let outbox_bytes = outbox.bytes_max as u64;
            match sizes::measure(collector, &client, outbox_bytes, days).await {
                Ok(table) => report.tables.insert(0, table),
                Err(error) => report.fault(format!("sizes not measured: {error}")),
            }
        }
        Ok(report)
    }

    async fn check(&self, report: &mut Report, run: &Run, seen: &Seen) -> Result<(), QueryError> {
        let from_ms = crate::compare::range_start_ms(self.options, run.fleet.clock.started_ms());
        let query = Query::new(self.admin_url, self.options, from_ms)?;
        let mut findings = Vec::new();
        for expectation in self.scenario.expected {
            let scene = Scene {
                options: self.options,
                report,
                fleet: &run.fleet,
                query: &query,
                before: &seen.before,
                after: &seen.after,
                health: seen.health.as_ref(),
                harmed: seen.harmed.as_ref(),
                outbox_epochs: seen.outbox_epochs,
                ended_ms: seen.ended_ms,
            };
            findings.push(expectation.check(&scene).await?);
        }
        report.found(findings);
        Ok(())
    }

    /// Spoils the link when it is time to, and looks into the outbox all the while.
    async fn make_trouble(&self, http: &reqwest::Client, outbox: &mut Outbox) -> Infallible {
        let length = match self.options.end() {
            End::After(length) => length / self.options.speed,
            End::Batches(_) | End::Never => Duration::from_secs(60),
        };
        let started = tokio::time::Instant::now();
        let mut link = Link::Open;
        loop {
            let is_middle = (length / 3..length * 2 / 3).contains(&started.elapsed());
            let wanted = match self.scenario.trouble {
                Trouble::Slow(later) if is_middle => Link::Slow(later),
                Trouble::Away if is_middle => Link::Cut,
                Trouble::AwayToTheEnd => Link::Cut,
                Trouble::None | Trouble::Slow(_) | Trouble::Away => Link::Open,
            };
            if let Some(collector) = self.collector
                && std::mem::replace(&mut link, wanted) != wanted
            {
                collector.set_link(wanted);
            }
            if self.scenario.trouble == Trouble::None {
                return std::future::pending().await;
            }
            outbox.look(http, self.admin_url).await;
            tokio::time::sleep(OUTBOX_POLL).await;
        }
    }

    /// After trouble: until ClickHouse has everything, or for as long as a comparison may wait.
    async fn wait_for_outbox(&self, http: &reqwest::Client, outbox: &mut Outbox) {
        if self.scenario.trouble == Trouble::None {
            return;
        }
        let deadline = tokio::time::Instant::now() + self.options.compare_wait;
        // What is acknowledged is sealed soon; the outbox is at its fullest then.
        if self.scenario.trouble == Trouble::AwayToTheEnd {
            loop {
                tokio::time::sleep(OUTBOX_POLL).await;
                outbox.look(http, self.admin_url).await;
                if outbox.open_rows < 1.0 || tokio::time::Instant::now() >= deadline {
                    break;
                }
            }
        }
        if let Some(collector) = self.collector {
            collector.set_link(Link::Open);
        }
        loop {
            outbox.look(http, self.admin_url).await;
            if outbox.epochs < 1.0 || tokio::time::Instant::now() >= deadline {
                break;
            }
            tokio::time::sleep(OUTBOX_POLL).await;
        }
    }
}
