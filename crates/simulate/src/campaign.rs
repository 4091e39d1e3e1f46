//! One fleet at one collector: what a plain run and every scenario are made of.

use std::error::Error as _;
use std::future::Future;

use tillwatch_model::time::wall_ms;
use tokio::task::JoinError;

use crate::claims::{Judge, Span};
use crate::client::{Client, ClientError};
use crate::compare::Comparer;
use crate::driver::Fleet;
use crate::ledger::{EXACT_VALUES_MAX, Keep, Ledger};
use crate::query::QueryError;
use crate::queues::{Queues, QueuesError};
use crate::scenario::{CollectorError, PageError};
use crate::world::World;
use crate::{Options, Report};

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// An option makes no sense. Nothing was sent.
    #[error("{option} {rule}")]
    Option {
        /// The option.
        option: &'static str,
        /// What the option must be.
        rule: &'static str,
    },
    /// An address makes no sense. Nothing was sent.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The query API does not answer as it should. Nothing was sent.
    #[error("could not ask what the collector holds")]
    Query(#[from] QueryError),
    /// The terminals' queues cannot be used. Nothing was sent.
    #[error(transparent)]
    Queues(#[from] QueuesError),
    /// The scenario's own collector did not start.
    #[error(transparent)]
    Collector(#[from] CollectorError),
    /// The report could not be written.
    #[error(transparent)]
    Page(#[from] PageError),
    /// A request's task ended by a panic: a bug.
    #[error("a request's task did not end well")]
    Task(#[from] JoinError),
}

/// One fleet at one collector, from its beginning to the comparison.
pub struct Run {
    /// The fleet.
    pub fleet: Fleet,
    client: Client,
    comparer: Option<Comparer>,
    judge: Option<Judge>,
}

impl Run {
    /// Makes the fleet, and asks what the collector holds before. The queues are those given, those of
    /// the options' file, or new ones.
    ///
    /// # Errors
    /// When an address makes no sense, or the query API or the queues' file does not answer.
    pub async fn prepare(options: &Options, queues: Option<Queues>) -> Result<Self, SimulateError> {
        let run_id = options.run_id.clone();
        let run_id = run_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let client = Client::new(options)?;
        let world = World::new(options.samples_per_batch, options.opening_hours)
            .measured_every(options.interval_ms());
        let comparer = match &options.admin_url {
            Some(url) => Some(Comparer::start(url, options, &world, wall_ms()).await?),
            None => None,
        };
        let keep = if comparer.is_some() {
            Keep::Values(EXACT_VALUES_MAX)
        } else {
            Keep::Sums
        };
        let groups = comparer.as_ref().map_or(1, Comparer::groups);
        let ledger = Ledger::new(world.mix.measured().len(), groups, keep);
        // Last, because from now on they are marked as in use.
        let queues = match (queues, &options.queues) {
            (Some(queues), _) => queues,
            (None, Some(file)) => Queues::take(file, run_id, options.terminals as usize)?,
            (None, None) => Queues::new(run_id),
        };
        let fleet = Fleet::new(options, queues, world, ledger);
        let judge = match &options.admin_url {
            Some(url) => Some(Box::pin(Judge::start(url, options, fleet.span())).await?),
            None => None,
        };
        Ok(Self {
            fleet,
            client,
            comparer,
            judge,
        })
    }

    /// Lets the fleet trade until its end, and send what it has.
    ///
    /// # Errors
    /// When a request's task panicked.
    pub async fn go<F: Future<Output = ()>>(
        &mut self,
        options: &Options,
        stop: &impl Fn() -> F,
    ) -> Result<(), JoinError> {
        self.fleet.go(options, &self.client, stop).await
    }

    /// What happened so far.
    pub fn report(&mut self, options: &Options) -> Report {
        self.fleet.report(options)
    }

    /// Adds what the collector made of the run and what it claims, if the collector can be asked.
    pub async fn compare(&mut self, report: &mut Report, options: &Options, ended_ms: i64) {
        // First, because the longer nobody reports, the more may be called silent.
        if let Some(judge) = self.judge.take() {
            let span = Span {
                end_ms: ended_ms,
                ..self.fleet.span()
            };
            match Box::pin(judge.finish(&report.truth, options, span)).await {
                Ok(claims) => report.claimed(claims),
                Err(error) => report.not_compared(&error, error.source()),
            }
        }
        if let Some(comparer) = self.comparer.take() {
            let fleet = &self.fleet;
            match comparer.finish(&fleet.world, &fleet.ledger, ended_ms).await {
                Ok(comparison) => report.compared(comparison),
                // What was sent is still worth reporting.
                Err(error) => report.not_compared(&error, error.source()),
            }
        }
    }
}
