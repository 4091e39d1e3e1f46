//! Starts everything, waits, stops everything.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use tillwatch_model::Catalogue;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task;

use crate::config::Config;
use crate::doors;
use crate::health::{self, Health};
use crate::holdings::Holdings;
use crate::listener;
use crate::persist::State;
use crate::pipeline::admin::{self, Admin};
use crate::pipeline::apply;
use crate::pipeline::clock::Watcher;
use crate::pipeline::disk::{self, DiskLook};
use crate::pipeline::engine::{self, Database};
use crate::pipeline::error::ServeError;
use crate::pipeline::folder;
use crate::pipeline::guard;
use crate::pipeline::modes;
use crate::pipeline::pages::{self, Pages};
use crate::pipeline::rebuild::Rebuilder;
use crate::pipeline::reload::{Load, Reloader};
use crate::pipeline::seal::Sealer;
use crate::pipeline::setup::{
    Front, announce, bind, forget, hold, listen_settings, make_front, outbox_budget_bytes,
    tell_what_was_held_back,
};
use crate::pipeline::ship::Shipper;
use crate::pipeline::start::{self, Started};
use crate::pipeline::stop::{self, Stop};
use crate::query::{self, percentiles::Sources};
use crate::world::World;
use crate::{recorder, self_metrics, throttle};

/// Runs the collector until SIGTERM or SIGINT, then drains, seals, tries to ship, and returns. On SIGHUP
/// it takes what `load` gives.
///
/// # Errors
/// When it cannot start, or when the journal halts.
pub async fn serve(config: Config, load: Load) -> Result<(), ServeError> {
    listener::raise_open_files();
    let world = World::of_machine();
    let data_dir: PathBuf = config.data_dir.clone().unwrap_or_default();
    // From the beginning: without a receiver the signal ends the process.
    let hangup =
        signal(SignalKind::hangup()).map_err(|error| ServeError::Setup(error.to_string()))?;
    let recorder = self_metrics::install().map_err(|error| ServeError::Setup(error.to_string()))?;
    // Held until the end: nobody else may change the state file meanwhile.
    let _lock = folder::lock_data_dir(&data_dir, &world)?;
    modes::close(&data_dir);
    let state = Arc::new(folder::open_state(&data_dir, &world)?);
    let public = bind("listen", config.listen)?;
    let admin = bind("admin_listen", config.admin_listen)?;
    let database = engine::open(&config, &data_dir, &world.tasks)?;
    let catalogue = Arc::new(Catalogue::default());
    let halted = Arc::new(Notify::new());

    let started = {
        let (config, catalogue, state) =
            (config.clone(), Arc::clone(&catalogue), Arc::clone(&state));
        let (halted, world) = (Arc::clone(&halted), world.clone());
        let work =
            task::spawn_blocking(move || start::start(&config, &catalogue, &state, halted, &world));
        work.await
            .map_err(|_panicked| ServeError::Died("replay"))??
    };
    // Before anything is judged.
    world.clock.start(started.aggregator.journal_ms());
    pages::note_recovery(&started.recovery, world.clock.now_ms());
    start::tell_recovery(&started.recovery);
    let running = Running::start(
        (config, load),
        (catalogue, state, database, started),
        recorder,
        Arc::clone(&halted),
        world,
    )?;
    running
        .until_stopped((public, admin), (halted, hangup))
        .await
}

fn rebuilder(
    config: &Config,
    (database, state, holdings): (&Database, &Arc<State>, &Arc<Holdings>),
    world: &World,
) -> Rebuilder {
    Rebuilder {
        clickhouse: database.clickhouse.clone(),
        state: Arc::clone(state),
        holdings: Arc::clone(holdings),
        world: world.clone(),
        quiet: config
            .rebuild_quiet
            .map_or(Duration::from_secs(600), |span| span.0),
    }
}

/// Reloads whenever the signal comes.
async fn reload_on(mut hangup: Signal, reloader: Arc<Reloader>, mut running: Config) {
    while hangup.recv().await.is_some() {
        let reloader = Arc::clone(&reloader);
        let mut config = running.clone();
        let reloaded = task::spawn_blocking(move || {
            reloader.reload(&mut config);
            config
        });
        match reloaded.await {
            Ok(config) => running = config,
            Err(error) => tracing::error!(%error, "a reload failed; the old settings stay"),
        }
    }
}

/// Everything that runs.
pub(super) struct Running {
    world: World,
    config: Config,
    reloader: Arc<Reloader>,
    admin: Arc<Admin>,
    front: Front,
    health: Arc<Health>,
    pages: Arc<Pages>,
    query: Arc<query::Query>,
    pub(super) sealer: Arc<Sealer>,
    pub(super) shipper: Arc<Shipper>,
    rebuilder: Rebuilder,
    pub(super) database: Database,
    pub(super) aggregate: Option<JoinHandle<()>>,
    seal_wanted: Arc<Notify>,
    ship_wanted: Arc<Notify>,
}

impl Running {
    fn start(
        (config, load): (Config, Load),
        (catalogue, state, database, started): (Arc<Catalogue>, Arc<State>, Database, Started),
        recorder: recorder::Handle,
        halted: Arc<Notify>,
        world: World,
    ) -> Result<Self, ServeError> {
        let health = Arc::new(Health::new(world.clock.clone()));
        let front = make_front(&config, &catalogue, (&state, &health), &started, &world);
        let durable = started.journal.durable().0;
        let holdings = hold(&state, started.aggregator, durable)?;
        let (seal_wanted, ship_wanted) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let rows_max = config.seal_rows.unwrap_or(200_000);
        let aggregate = apply::spawn(
            Arc::clone(&holdings),
            (started.groups, Arc::clone(&started.backlog)),
            (rows_max, Arc::clone(&seal_wanted)),
            &world.tasks,
        )?;
        let outbox_budget = Arc::new(AtomicU64::new(outbox_budget_bytes(&config)));
        let sources = Sources {
            catalogue,
            holdings: Arc::clone(&holdings),
            state: Arc::clone(&state),
            clickhouse: database.clickhouse.clone(),
        };
        let journal = started.journal.clone();
        let clock = &world.clock;
        let durable = Box::new(move || journal.durable().0);
        let query = query::Query::new(sources, durable, clock.clone());
        let data_dir = config.data_dir.clone().unwrap_or_default();
        let disk = DiskLook::start(Arc::clone(&state), data_dir, &world)
            .map_err(|error| ServeError::Setup(error.to_string()))?;
        let pages = Arc::new(Pages {
            recorder,
            holdings: Arc::clone(&holdings),
            world: world.clone(),
            disk,
            journal: started.journal.clone(),
            intake: Arc::clone(&front.intake),
            room: Arc::clone(&front.room),
            backlog: started.backlog,
            native_histograms: config.native_histograms.unwrap_or(false),
            outbox_budget_bytes: Arc::clone(&outbox_budget),
        });
        let sealer = Arc::new(Sealer {
            clock: clock.clone(),
            holdings: Arc::clone(&holdings),
            state: Arc::clone(&state),
            keys: started.keys,
            journal: started.journal,
            sealed_position: watch::Sender::new(started.sealed_position),
            ship_wanted: Arc::clone(&ship_wanted),
            failed: halted,
        });
        let rebuilder = rebuilder(&config, (&database, &state, &holdings), &world);
        let shipper = Arc::new(Shipper {
            world: world.clone(),
            clickhouse: database.clickhouse.clone(),
            state,
            holdings: Arc::clone(&holdings),
            is_outbox_full: Arc::clone(&health.is_outbox_full),
            budget_bytes: Arc::clone(&outbox_budget),
            is_embedded: database.supervisor.is_some(),
            is_prepared: std::sync::atomic::AtomicBool::new(false),
        });
        let reloader = Arc::new(Reloader::new(
            load,
            &config,
            front.clone(),
            Arc::clone(&ship_wanted),
            outbox_budget,
        ));
        let admin = Arc::new(Admin {
            clock: clock.clone(),
            desk: front.desk.clone(),
            holdings,
            sealer: Arc::clone(&sealer),
            seal_wanted: Arc::clone(&seal_wanted),
        });
        Ok(Self {
            world,
            config,
            reloader,
            admin,
            front,
            health,
            pages,
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

    async fn until_stopped(
        self,
        (public, admin): (TcpListener, TcpListener),
        (halted, hangup): (Arc<Notify>, Signal),
    ) -> Result<(), ServeError> {
        let setup = |error: std::io::Error| ServeError::Setup(error.to_string());
        let mut terminate = signal(SignalKind::terminate()).map_err(setup)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(setup)?;
        let (close_public, public_closed) = watch::channel(false);
        let (close_admin, admin_closed) = watch::channel(false);
        let (end_tasks, stopping) = watch::channel(false);
        let (settings, admin_settings) = listen_settings(&self.config);
        let addresses = (
            public.local_addr().map_err(setup)?,
            admin.local_addr().map_err(setup)?,
        );
        let tasks = self.world.tasks.clone();
        let serving = listener::serve(
            public,
            self.public_router(),
            settings,
            public_closed,
            stop::DRAIN,
            self.world.clone(),
        );
        let public = tasks.spawn("ingest listener", serving);
        let serving = listener::serve(
            admin,
            self.admin_router(),
            admin_settings,
            admin_closed,
            stop::ADMIN_DRAIN,
            self.world.clone(),
        );
        let admin = tasks.spawn("admin listener", serving);
        let sealing = Arc::clone(&self.sealer).run(
            self.reloader.due.subscribe(),
            Arc::clone(&self.seal_wanted),
            stopping.clone(),
        );
        let sealing = tasks.spawn("sealer", sealing);
        let shipping =
            Arc::clone(&self.shipper).run(Arc::clone(&self.ship_wanted), stopping.clone());
        let shipping = tasks.spawn("shipper", shipping);
        // Ends by itself; what it was about is found dirty at the next start.
        tasks.spawn("rebuilder", self.rebuilder.clone().run(stopping));
        let beside = self.start_beside(hangup);
        Reloader::note_start();
        announce(addresses);
        let asked = tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            () = halted.notified() => Err(ServeError::Halted),
            name = tasks.died() => Err(ServeError::Died(name)),
        };
        let is_halted = matches!(asked, Err(ServeError::Halted));
        self.health.is_stopping.store(true, Ordering::Relaxed);
        self.health.is_halted.store(is_halted, Ordering::Relaxed);
        beside.iter().for_each(task::JoinHandle::abort);
        let end = Stop::begin();
        if let Err(error) = asked {
            // What is on disk, or in memory, is not known: nothing is sealed. The next start replays.
            tokio::time::sleep(Duration::from_millis(500)).await;
            end.end_engine(self.database.supervisor).await;
            return Err(error);
        }
        let _listening = close_public.send(true);
        end.close(public, stop::DRAINED_BY).await;
        let outcome = self.drain(end, (end_tasks, sealing, shipping)).await;
        let _listening = close_admin.send(true);
        end.close_admin(admin).await;
        throttle::flush();
        outcome
    }

    /// Starts what goes on beside, until it is aborted.
    fn start_beside(&self, hangup: Signal) -> [task::JoinHandle<()>; 5] {
        let tasks = &self.world.tasks;
        let forgetting = forget(
            Arc::clone(&self.front.intake),
            Arc::clone(&self.pages.holdings),
            self.world.clock.clone(),
        );
        let watcher = Watcher {
            clock: self.world.clock.clone(),
            desk: self.front.desk.clone(),
            dedup: Arc::clone(&self.front.intake.books().dedup),
            state: Arc::clone(&self.shipper.state),
        };
        let looking = disk::watch(self.sealer.journal.clone(), Arc::clone(&self.health));
        let reloading = reload_on(hangup, Arc::clone(&self.reloader), self.config.clone());
        [
            tasks.spawn("housekeeper", forgetting),
            tasks.spawn("teller of what was held back", tell_what_was_held_back()),
            tasks.spawn("watcher of the clock", watcher.run()),
            tasks.spawn("watcher of the disk", looking),
            tasks.spawn("reloader", reloading),
        ]
    }

    fn public_router(&self) -> Router {
        let origins = Arc::clone(&self.reloader.origins);
        doors::cors::allow(doors::router(Arc::clone(&self.front.hall)), origins)
            .merge(health::router(Arc::clone(&self.health)))
    }

    fn admin_router(&self) -> Router {
        let asked = query::router(Arc::clone(&self.query))
            .merge(admin::router(Arc::clone(&self.admin)))
            .merge(pages::router(Arc::clone(&self.pages)));
        // Whoever probes may do so by any name: health tells nothing that is anybody's.
        let guarded = guard::guard(asked, Arc::clone(&self.reloader.admin_hosts));
        health::router(Arc::clone(&self.health)).fallback_service(guarded)
    }
}
