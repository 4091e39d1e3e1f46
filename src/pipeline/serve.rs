//! Starts everything, waits, stops everything.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task;

use crate::admin::{self, Admin};
use crate::config::Config;
use crate::doors;
use crate::health;
use crate::listener::{self, ListenerSettings, Secured};
use crate::pipeline::backups;
use crate::pipeline::catalogue;
use crate::pipeline::clock::Watcher;
use crate::pipeline::credentials;
use crate::pipeline::disk;
use crate::pipeline::engine;
use crate::pipeline::error::ServeError;
use crate::pipeline::folder;
use crate::pipeline::limits::listen_settings;
use crate::pipeline::modes;
use crate::pipeline::pages;
use crate::pipeline::readiness::ReadyWatcher;
use crate::pipeline::reload::{Load, Reloader};
use crate::pipeline::rollouts::Sweeper;
use crate::pipeline::running::{Parts, Running};
use crate::pipeline::setup::{announce, bind, forget, tell_what_was_held_back};
use crate::pipeline::socket;
use crate::pipeline::start;
use crate::pipeline::stop::{self, Stop};
use crate::pipeline::upkeep::Upkeep;
use crate::tasks::Apart;
use crate::world::World;
use crate::{self_metrics, throttle};

/// Runs the collector until SIGTERM or SIGINT, then drains, seals, tries to ship, and returns. On SIGHUP
/// it takes what `load` gives.
///
/// # Errors
/// When it cannot start, or when the journal halts.
pub async fn serve(config: Config, load: Load) -> Result<(), ServeError> {
    listener::raise_open_files();
    let world = World::of_machine();
    let data_dir = config.data.dir.clone();
    // The signal is caught from the beginning: without a receiver it ends the process.
    let hangup =
        signal(SignalKind::hangup()).map_err(|error| ServeError::Setup(error.to_string()))?;
    let recorder = self_metrics::install().map_err(|error| ServeError::Setup(error.to_string()))?;
    // The lock is held until the end: nobody else may change the state file meanwhile.
    let _lock = folder::lock_data_dir(&data_dir, &world)?;
    modes::close(&data_dir);
    backups::check_apart(&config)?;
    let state = Arc::new(folder::open_state(&data_dir, &world)?);
    let public = bind("listen", config.listen.ingest)?;
    let admin = bind("admin_listen", config.listen.admin)?;
    let apart = Apart::start().map_err(|error| ServeError::Setup(error.to_string()))?;
    let database = engine::open(&config, &data_dir, &world.tasks)?;
    let catalogue = Arc::new(catalogue::of(&config.declared, &state)?);
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
    // The clock starts before anything is judged by it.
    world.clock.start(started.aggregator.journal_ms());
    pages::note_recovery(&started.recovery, world.clock.now_ms());
    start::tell_recovery(&started.recovery);
    let running = Running::start(Parts {
        config,
        load,
        catalogue,
        state,
        database,
        started,
        recorder,
        halted: Arc::clone(&halted),
        world,
        apart,
    })?;
    let listeners = Listeners { public, admin };
    Box::pin(running.until_stopped(listeners, halted, hangup)).await
}

/// The sockets, open and not served yet.
struct Listeners {
    public: std::net::TcpListener,
    admin: std::net::TcpListener,
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

impl Running {
    async fn until_stopped(
        mut self,
        Listeners { public, admin }: Listeners,
        halted: Arc<Notify>,
        hangup: Signal,
    ) -> Result<(), ServeError> {
        let setup = |error: std::io::Error| ServeError::Setup(error.to_string());
        let mut terminate = signal(SignalKind::terminate()).map_err(setup)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(setup)?;
        let (close_public, public_closed) = watch::channel(false);
        let (close_admin, admin_closed) = watch::channel(false);
        let (end_tasks, stopping) = watch::channel(false);
        let (settings, admin_settings) = listen_settings(&self.config);
        let public_address = public.local_addr().map_err(setup)?;
        let admin_address = admin.local_addr().map_err(setup)?;
        let tasks = self.world.tasks.clone();
        let (public_tls, admin_tls) = (self.front.tls.public.clone(), self.front.tls.admin.clone());
        let public = TcpListener::from_std(public).map_err(setup)?;
        let serving = listener::serve(
            Secured::new(public, public_tls, settings.name),
            self.public_router(),
            settings,
            public_closed,
            stop::DRAIN,
            self.world.clone(),
        );
        let public = tasks.spawn("ingest listener", serving);
        let (admin, driving) = {
            let _apart = self.apart.enter();
            let admin = TcpListener::from_std(admin).map_err(setup)?;
            let serving = listener::serve(
                Secured::new(admin, admin_tls, admin_settings.name),
                self.admin_router(),
                admin_settings,
                admin_closed,
                stop::ADMIN_DRAIN,
                self.world.clone(),
            );
            let driving = tasks.spawn("driver of the live view", self.driver().run());
            (tasks.spawn("admin listener", serving), driving)
        };
        self.serve_orders(admin_settings, close_public.subscribe())?;
        let sealing = Arc::clone(&self.sealer).run(
            self.reloader.due.subscribe(),
            Arc::clone(&self.seal_wanted),
            stopping.clone(),
        );
        let sealing = tasks.spawn("sealer", sealing);
        let shipping =
            Arc::clone(&self.shipper).run(Arc::clone(&self.ship_wanted), stopping.clone());
        let shipping = tasks.spawn("shipper", shipping);
        // The rebuilder ends by itself; what it was about is found dirty at the next start.
        tasks.spawn("rebuilder", self.rebuilder.clone().run(stopping.clone()));
        let upkeep = Upkeep {
            clickhouse: self.shipper.clickhouse.clone(),
            state: Arc::clone(&self.shipper.state),
            holdings: Arc::clone(&self.shipper.holdings),
            world: self.world.clone(),
            budget_bytes: self.config.clickhouse.budget.0,
        };
        tasks.spawn("upkeep", upkeep.run(stopping));
        let beside = self.start_beside(hangup);
        Reloader::note_start();
        announce(&self.config, public_address, admin_address);
        let asked = tokio::select! {
            // In this order: when the aggregate's thread dies, the next group halts the journal, and the disk is not
            // to blame.
            biased;
            name = tasks.died() => Err(ServeError::Died(name)),
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            () = halted.notified() => Err(ServeError::Halted),
        };
        let is_halted = matches!(asked, Err(ServeError::Halted));
        self.health.is_stopping.store(true, Ordering::Relaxed);
        self.health.is_halted.store(is_halted, Ordering::Relaxed);
        let beside = beside.iter().chain([&driving]);
        beside.for_each(task::JoinHandle::abort);
        self.live.end();
        let end = Stop::begin();
        if let Err(error) = asked {
            // Nobody knows what is on disk, or in memory: nothing is sealed. The next start replays.
            tokio::time::sleep(Duration::from_millis(500)).await;
            end.end_engine(self.database.supervisor.take()).await;
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

    /// Serves orders about credentials, over the socket in the data folder.
    fn serve_orders(
        &self,
        settings: ListenerSettings,
        closed: watch::Receiver<bool>,
    ) -> Result<(), ServeError> {
        let orders = socket::bind(&self.config.data.dir);
        let orders = orders.map_err(|error| ServeError::Setup(error.to_string()))?;
        let settings = ListenerSettings {
            name: "control",
            ..settings
        };
        let router = socket::router(Arc::clone(&self.credentials));
        let serving = listener::serve(
            orders,
            router,
            settings,
            closed,
            stop::ADMIN_DRAIN,
            self.world.clone(),
        );
        self.world.tasks.spawn("control socket", serving);
        Ok(())
    }

    /// Starts what goes on beside, until it is aborted.
    fn start_beside(&self, hangup: Signal) -> [task::JoinHandle<()>; 11] {
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
        let keys = credentials::watch_keys(Arc::clone(&self.credentials));
        let jwks = self.jwks.lock().ok().and_then(|mut jwks| jwks.take());
        let jwks = credentials::watch_jwks(
            jwks,
            Arc::clone(&self.credentials),
            Arc::clone(&self.front.gate),
            self.world.clone(),
        );
        let ready = ReadyWatcher {
            clock: self.world.clock.clone(),
            health: Arc::clone(&self.health),
            journal: self.sealer.journal.clone(),
            state: Arc::clone(&self.shipper.state),
            watch: Arc::clone(&self.pages.watch),
        };
        let backing_up = backups::run(
            self.config.clone(),
            Arc::clone(&self.shipper.state),
            Arc::clone(&self.acts),
            self.world.clone(),
        );
        let sweeper = Sweeper {
            judge: self.query.judge(),
            showing: Arc::clone(&self.pages.showing),
            world: self.world.clone(),
        };
        let reloading = reload_on(hangup, Arc::clone(&self.reloader), self.config.clone());
        [
            tasks.spawn("housekeeper", forgetting),
            tasks.spawn("teller of what was held back", tell_what_was_held_back()),
            tasks.spawn("watcher of the clock", watcher.run()),
            tasks.spawn("watcher of the disk", looking),
            tasks.spawn("watcher of readiness", ready.run()),
            tasks.spawn("maker of backups", backing_up),
            tasks.spawn("judge of rollouts", sweeper.run()),
            tasks.spawn("reloader", reloading),
            tasks.spawn("watcher of the keys", keys),
            tasks.spawn("watcher of the key set", jwks),
            tasks.spawn(
                "watcher of the certificates",
                self.front.tls.clone().watch(),
            ),
        ]
    }

    fn public_router(&self) -> Router {
        let hall = Arc::clone(&self.front.hall);
        doors::cors::allow(doors::router(Arc::clone(&hall)), hall)
            .merge(health::router(Arc::clone(&self.health)))
    }

    fn admin_router(&self) -> Router {
        admin::router(Admin {
            query: Arc::clone(&self.query),
            acts: Arc::clone(&self.acts),
            renders: Arc::clone(&self.pages),
            tasks: self.world.tasks.clone(),
            health: Arc::clone(&self.health),
            gate: Arc::clone(&self.front.gate),
            audit_log: self.front.audit_log.clone(),
            explainer: Arc::clone(&self.explainer),
            live: Arc::clone(&self.live),
            tap: Arc::clone(self.front.hall.tap()),
            hosts: Arc::clone(&self.reloader.admin_hosts),
            clock: self.world.clock.clone(),
            about: admin::About {
                started_ms: self.live.started_ms(),
                grafana_url: self.config.console.grafana_url.clone(),
            },
            in_force: Arc::clone(&self.reloader.in_force),
        })
    }
}
