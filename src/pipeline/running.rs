//! Everything that runs, built from what a start leaves.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::value::RawValue;
use tillwatch_journal::Keeper;
use tillwatch_model::Catalogue;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use crate::admin::Acts;
use crate::aggregate::Aggregator;
use crate::auth::Jwks;
use crate::config::Config;
use crate::credentials::Desk;
use crate::doors::Hall;
use crate::fleet::{self, Inventory, Readiness, Watch};
use crate::health::Health;
use crate::holdings::Holdings;
use crate::intake::{Acknowledgement, Keys};
use crate::live::{self, CHANGES_MAX, Change, Live};
use crate::persist::changes::KeptChange;
use crate::persist::{ClickHouse, State};
use crate::pipeline::apply::Applier;
use crate::pipeline::credentials;
use crate::pipeline::disk::DiskLook;
use crate::pipeline::engine::Database;
use crate::pipeline::error::ServeError;
use crate::pipeline::find::{Search, finder};
use crate::pipeline::folder::journal_dir;
use crate::pipeline::live::{Driver, series_of};
use crate::pipeline::pages::Pages;
use crate::pipeline::rebuild::Rebuilder;
use crate::pipeline::reload::{Load, Reloader};
use crate::pipeline::rollouts;
use crate::pipeline::seal::Sealer;
use crate::pipeline::setup::{Front, hold, make_front};
use crate::pipeline::ship::Shipper;
use crate::pipeline::start::Started;
use crate::query::explain::Explainer;
use crate::query::percentiles::{MERGE_BYTES_MAX, Sources};
use crate::query::{self, Query};
use crate::recorder;
use crate::rollout::Plan;
use crate::source_maps::SourceMaps;
use crate::tasks::Apart;
use crate::world::World;

/// What a start leaves, and what it began with.
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) load: Load,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) state: Arc<State>,
    pub(super) database: Database,
    pub(super) started: Started<Acknowledgement>,
    pub(super) recorder: recorder::Handle,
    /// Notified when the journal halts.
    pub(super) halted: Arc<Notify>,
    pub(super) world: World,
    pub(super) apart: Apart,
}

/// Everything that runs.
pub(super) struct Running {
    pub(super) world: World,
    /// Where those are served who look.
    pub(super) apart: Apart,
    pub(super) config: Config,
    pub(super) reloader: Arc<Reloader>,
    pub(super) acts: Arc<Acts>,
    pub(super) credentials: Arc<Desk>,
    /// The keys of the shop's own backend, until they are watched.
    pub(super) jwks: Mutex<Option<Jwks>>,
    pub(super) front: Front,
    pub(super) health: Arc<Health>,
    pub(super) pages: Arc<Pages>,
    pub(super) live: Arc<Live>,
    pub(super) query: Arc<Query>,
    pub(super) explainer: Arc<Explainer>,
    pub(super) sealer: Arc<Sealer>,
    pub(super) shipper: Arc<Shipper>,
    pub(super) rebuilder: Rebuilder,
    pub(super) database: Database,
    pub(super) aggregate: Option<JoinHandle<()>>,
    pub(super) seal_wanted: Arc<Notify>,
    pub(super) ship_wanted: Arc<Notify>,
}

impl Running {
    /// Builds everything that runs from what a start leaves.
    pub(super) fn start(parts: Parts) -> Result<Self, ServeError> {
        let Parts {
            config,
            load,
            catalogue,
            state,
            database,
            started,
            recorder,
            halted,
            world,
            apart,
        } = parts;
        let health = Arc::new(Health::new(world.clock.clone()));
        let front = make_front(&config, &catalogue, &state, &health, &started, &world)?;
        let (credentials, jwks) =
            credentials::desk(&config, &state, &front.gate, &front.audit_log, &world)?;
        let watch = watch_of(&config, &state, &started.aggregator)?;
        let holdings = hold(&state, started.aggregator, &started.journal, &front)?;
        let (seal_wanted, ship_wanted) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let aggregate = Applier {
            holdings: Arc::clone(&holdings),
            groups: started.groups,
            backlog: Arc::clone(&started.backlog),
            rows_max: config.seal.rows,
            seal_wanted: Arc::clone(&seal_wanted),
            books: front.intake.shared_books(),
        }
        .spawn(&world.tasks)?;
        let outbox_budget = Arc::new(AtomicU64::new(config.outbox.budget.0));
        let stored = Stored::new(&database, &state, &holdings, &world);
        let plan = rollouts::plan_of(&config, &catalogue)?;
        let query = stored.query(
            &config,
            &catalogue,
            started.journal.keeper(),
            (&watch, plan),
        );
        let disk = DiskLook::start(Arc::clone(&state), config.data.dir.clone(), &world)?;
        let pages = Arc::new(Pages {
            recorder,
            runtimes: runtimes(&apart),
            holdings: Arc::clone(&holdings),
            clock: world.clock.clone(),
            watch,
            disk,
            journal: started.journal.keeper(),
            intake: Arc::clone(&front.intake),
            room: Arc::clone(&front.room),
            backlog: started.backlog,
            native_histograms: config.series.native_histograms,
            outbox_budget_bytes: Arc::clone(&outbox_budget),
            showing: Arc::default(),
        });
        let live = Arc::new(Live::new(stored.live(&pages)?));
        let sealed = (started.keys, started.sealed_position);
        let sealer = stored.sealer(sealed, started.journal.keeper(), &ship_wanted, halted);
        let rebuilder = stored.rebuilder(&config);
        let shipper = stored.shipper(&health, &outbox_budget);
        let reloader = Arc::new(Reloader::new(
            load,
            &config,
            front.clone(),
            Arc::clone(&ship_wanted),
            outbox_budget,
        ));
        let acts = acts(&front, holdings, &world, (&seal_wanted, &sealer));
        Ok(Self {
            explainer: stored.explainer(&config, &catalogue, &front.hall),
            world,
            apart,
            config,
            reloader,
            acts,
            credentials,
            jwks: Mutex::new(jwks),
            front,
            health,
            pages,
            live,
            query,
            sealer,
            shipper,
            rebuilder,
            database,
            aggregate: Some(aggregate),
            seal_wanted,
            ship_wanted,
        })
    }
}

impl Running {
    /// What drives what people see.
    pub(super) fn driver(&self) -> Driver {
        Driver {
            live: Arc::clone(&self.live),
            holdings: Arc::clone(&self.pages.holdings),
            state: Arc::clone(&self.shipper.state),
            query: Arc::clone(&self.query),
            recorder: self.pages.recorder.clone(),
            pages: Arc::clone(&self.pages),
        }
    }
}

/// The threads that serve terminals, and those that stand apart.
fn runtimes(apart: &Apart) -> Vec<Handle> {
    let here = Handle::try_current().ok();
    here.into_iter().chain(apart.handle().cloned()).collect()
}

/// What the silence of terminals is judged by.
fn watch_of(
    config: &Config,
    state: &State,
    aggregator: &Aggregator,
) -> Result<Arc<Watch>, ServeError> {
    let layout = aggregator.live().layout();
    let pending = layout.catalogue().named(fleet::silence::PENDING);
    let inventory = config.terminals.inventory.as_deref();
    let inventory = inventory.map(|path| {
        let setup = |error| ServeError::Setup(format!("terminal_inventory: {error}"));
        Inventory::read(path).map_err(setup)
    });
    Ok(Arc::new(Watch {
        readiness: Readiness::of_saved(state.readiness()?.as_deref()),
        after: config.terminals.silent_after.0,
        pending: pending.and_then(|metric| layout.place(metric).level),
        inventory: inventory.transpose()?.map(Arc::new),
    }))
}

fn acts(
    front: &Front,
    holdings: Arc<Holdings>,
    world: &World,
    (seal_wanted, sealer): (&Arc<Notify>, &Sealer),
) -> Arc<Acts> {
    Arc::new(Acts {
        desk: front.desk.clone(),
        audit_log: front.audit_log.clone(),
        holdings,
        clock: world.clock.clone(),
        seal_wanted: Arc::clone(seal_wanted),
        sealed: sealer.sealed_position.subscribe(),
    })
}

/// The places where rollups lie: whatever moves rollups needs all of them.
struct Stored {
    clickhouse: ClickHouse,
    state: Arc<State>,
    holdings: Arc<Holdings>,
    world: World,
    /// Whether ClickHouse is the embedded engine, on the same processors.
    is_engine_here: bool,
}

impl Stored {
    fn new(
        database: &Database,
        state: &Arc<State>,
        holdings: &Arc<Holdings>,
        world: &World,
    ) -> Self {
        Self {
            clickhouse: database.clickhouse.clone(),
            state: Arc::clone(state),
            holdings: Arc::clone(holdings),
            world: world.clone(),
            is_engine_here: database.supervisor.is_some(),
        }
    }

    fn query(
        &self,
        config: &Config,
        catalogue: &Arc<Catalogue>,
        journal: Keeper,
        (watch, plan): (&Arc<Watch>, Arc<Plan>),
    ) -> Arc<Query> {
        let sources = Sources {
            catalogue: Arc::clone(catalogue),
            holdings: Arc::clone(&self.holdings),
            state: Arc::clone(&self.state),
            clickhouse: self.clickhouse.clone(),
            source_maps: SourceMaps::of(&config.data.dir),
            merge_bytes_max: MERGE_BYTES_MAX,
            jobs: query::jobs(),
            is_engine_here: self.is_engine_here,
        };
        let durable = Box::new(move || journal.durable().0);
        Query::new(
            sources,
            durable,
            self.world.clock.clone(),
            Arc::clone(watch),
            plan,
        )
    }

    /// What people are shown, with what was told before the start.
    fn live(&self, pages: &Arc<Pages>) -> Result<live::Parts, ServeError> {
        let kept = self.state.changes()?.into_iter().filter_map(|kept| {
            Some(Change {
                t_ms: kept.t_ms,
                store_id: kept.store_id,
                to: kept.to,
                json: RawValue::from_string(kept.json).ok()?,
            })
        });
        let (state, shown, durable) = (
            Arc::clone(&self.state),
            Arc::clone(pages),
            pages.journal.clone(),
        );
        let keep = move |change: &Change| {
            let kept = KeptChange {
                t_ms: change.t_ms,
                store_id: change.store_id.clone(),
                to: change.to.clone(),
                json: change.json.get().to_owned(),
            };
            if let Err(error) = state.add_change(&kept, CHANGES_MAX) {
                tracing::warn!(
                    error = crate::logging::chain(&error),
                    "a change is shown now and not after a restart"
                );
            }
        };
        Ok(live::Parts {
            holdings: Arc::clone(&self.holdings),
            watch: Arc::clone(&pages.watch),
            clock: self.world.clock.clone(),
            durable: Box::new(move || durable.durable().0),
            series: Box::new(move || series_of(&shown.own_text())),
            keep: Box::new(keep),
            kept: kept.collect(),
        })
    }

    fn explainer(
        &self,
        config: &Config,
        catalogue: &Arc<Catalogue>,
        hall: &Arc<Hall>,
    ) -> Arc<Explainer> {
        let find = finder(Search {
            journal_dir: journal_dir(&config.data.dir),
            age_max: config.journal.keep.0 + config.seal.interval.0,
            hall: Arc::clone(hall),
            world: self.world.clone(),
        });
        let holdings = Arc::clone(&self.holdings);
        Arc::new(Explainer::new(Arc::clone(catalogue), holdings, find))
    }

    fn sealer(
        &self,
        (keys, sealed_position): (Arc<Keys>, u64),
        journal: Keeper,
        ship_wanted: &Arc<Notify>,
        failed: Arc<Notify>,
    ) -> Arc<Sealer> {
        Arc::new(Sealer {
            clock: self.world.clock.clone(),
            holdings: Arc::clone(&self.holdings),
            state: Arc::clone(&self.state),
            keys,
            journal,
            sealed_position: watch::Sender::new(sealed_position),
            ship_wanted: Arc::clone(ship_wanted),
            failed,
        })
    }

    fn rebuilder(&self, config: &Config) -> Rebuilder {
        Rebuilder {
            clickhouse: self.clickhouse.clone(),
            state: Arc::clone(&self.state),
            holdings: Arc::clone(&self.holdings),
            world: self.world.clone(),
            quiet: config.rebuild.quiet.0,
        }
    }

    fn shipper(&self, health: &Health, outbox_budget: &Arc<AtomicU64>) -> Arc<Shipper> {
        Arc::new(Shipper {
            world: self.world.clone(),
            clickhouse: self.clickhouse.clone(),
            state: Arc::clone(&self.state),
            holdings: Arc::clone(&self.holdings),
            is_outbox_full: Arc::clone(&health.is_outbox_full),
            budget_bytes: Arc::clone(outbox_budget),
            is_embedded: self.is_engine_here,
            is_prepared: AtomicBool::new(false),
        })
    }
}
