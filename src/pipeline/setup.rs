//! Sets `serve` up with sockets, doors and intake, and what is held; and does its housekeeping.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tillwatch_journal::Journal;
use tillwatch_model::Catalogue;
use tillwatch_model::time::day_of;

use crate::aggregate::Aggregator;
use crate::audit_log::AuditLog;
use crate::auth::Gate;
use crate::clock::Clock;
use crate::config::Config;
use crate::doors::cors::Origins;
use crate::doors::{self, Hall};
use crate::health::Health;
use crate::holdings::Holdings;
use crate::intake::counters::Counters;
use crate::intake::session::Pseudonyms;
use crate::intake::{self, Acknowledgement, Books, Desk, HeldBack, Intake};
use crate::persist::State;
use crate::pipeline::apply::hold_back;
use crate::pipeline::certificates::Certificates;
use crate::pipeline::credentials;
use crate::pipeline::error::ServeError;
use crate::pipeline::limits::{door_limits, door_rules, intake_settings, networks};
use crate::pipeline::start::Started;
use crate::pipeline::state_keys::StateKeys;
use crate::room::Room;
use crate::throttle;
use crate::world::World;

/// How often idle buckets and silent queues are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// How often the log says how many warnings were held back.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How many connections may wait to be accepted: a thousand terminals may come back in one second.
const BACKLOG: i32 = 4_096;

/// Opens a socket. It is served on the threads on which it is handed to the runtime.
pub(super) fn bind(setting: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    let open = || -> std::io::Result<TcpListener> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().map_err(|source| ServeError::Listen {
        setting,
        address,
        source,
    })
}

/// Stages 0 and 1 are the doors and the intake; the operator's desk is beside them.
#[derive(Debug, Clone)]
pub(super) struct Front {
    pub(super) gate: Arc<Gate>,
    pub(super) origins: Arc<Origins>,
    pub(super) audit_log: AuditLog,
    pub(super) tls: Certificates,
    pub(super) hall: Arc<Hall>,
    pub(super) intake: Arc<Intake>,
    pub(super) desk: Desk,
    pub(super) room: Arc<Room>,
}

pub(super) fn make_front(
    config: &Config,
    catalogue: &Arc<Catalogue>,
    state: &Arc<State>,
    health: &Health,
    started: &Started<Acknowledgement>,
    world: &World,
) -> Result<Front, ServeError> {
    let settings = intake_settings(config);
    let parts = intake::Parts {
        clock: world.clock.clone(),
        catalogue: Arc::clone(catalogue),
        books: Books {
            dedup: Arc::clone(&started.dedup),
            keys: Arc::clone(&started.keys),
            held_back: HeldBack::default(),
            counters: Counters::default(),
        },
        journal: started.journal.clone(),
        pseudonyms: Pseudonyms::new(Box::new(StateKeys(Arc::clone(state)))),
        is_outbox_full: Arc::clone(&health.is_outbox_full),
    };
    let acknowledge_max = settings.acknowledge_max;
    let intake = Arc::new(Intake::new(settings, parts));
    let room = Room::new(config.requests.in_flight_bytes_max.in_memory());
    let gate = credentials::gate(config);
    let audit_log = credentials::audit_log(&config.data.dir, world)?;
    let origins = Arc::new(Origins::default());
    origins.set(&config.listen.cors_origins.0);
    let parts = doors::Parts {
        gate: Arc::clone(&gate),
        networks: networks(config),
        origins: Arc::clone(&origins),
        audit_log: audit_log.clone(),
        room: Arc::clone(&room),
        intake: Arc::clone(&intake),
        clock: world.clock.clone(),
        chance: world.chance.clone(),
        rules: door_rules(config),
        tap: Arc::default(),
        is_stopping: Arc::clone(&health.is_stopping),
    };
    Ok(Front {
        hall: Hall::new(door_limits(config), parts),
        gate,
        origins,
        audit_log,
        tls: Certificates::load(config)?,
        intake,
        desk: Desk::new(started.journal.clone(), acknowledge_max),
        room,
    })
}

/// Makes the holdings: what is open, in the outbox and dirty. Whom the replay found to have made too many rows is
/// held back.
pub(super) fn hold(
    state: &State,
    mut aggregator: Aggregator,
    journal: &Journal<Acknowledgement>,
    front: &Front,
) -> Result<Arc<Holdings>, ServeError> {
    let overdrawn = aggregator.take_overdrawn();
    hold_back(&front.intake.books().held_back, overdrawn);
    let holdings = Holdings::new(
        aggregator,
        state.unconfirmed(usize::MAX)?,
        state.last_epoch()?,
        state.dirty_hours()?,
        state.collector_id(),
        journal.durable().0,
    );
    holdings.give_up_minutes(state.minutes_from_day()?);
    Ok(Arc::new(holdings))
}

pub(super) async fn forget(intake: Arc<Intake>, holdings: Arc<Holdings>, clock: Clock) {
    loop {
        let today = day_of(clock.now_ms());
        let keys = Arc::clone(&intake);
        let prepared = tokio::task::spawn_blocking(move || {
            keys.pseudonyms().prepare(today);
            keys.pseudonyms().prepare(today + 1);
        });
        // A failed key needs no care: its sessions are answered 503, and it is tried again.
        let _prepared = prepared.await;
        tokio::time::sleep(FORGET_EVERY).await;
        let (intake, holdings) = (Arc::clone(&intake), Arc::clone(&holdings));
        // Nothing is forgotten on the word of a clock that may be wrong.
        let now_ms = clock.now_ms();
        let settled_ms = clock.is_settled().then_some(now_ms);
        let forgotten = tokio::task::spawn_blocking(move || {
            intake.rates().forget();
            intake.limits().forget();
            intake.books().held_back.forget(now_ms);
            if let Some(now_ms) = settled_ms {
                intake.books().dedup.forget(now_ms);
                holdings.forget_minutes(now_ms);
                intake.books().keys.forget(now_ms);
            }
        });
        // Nothing is lost by failing: what was not forgotten now is forgotten the next time.
        let _forgotten = forgotten.await;
    }
}

pub(super) async fn tell_what_was_held_back() {
    loop {
        tokio::time::sleep(TELL_EVERY).await;
        throttle::flush();
    }
}

/// Prints the line that scripts wait for.
pub(super) fn announce(config: &Config, ingest: SocketAddr, admin: SocketAddr) {
    let scheme = |has_tls| if has_tls { "https" } else { "http" };
    let ingest_scheme = scheme(config.tls.certificate.is_some());
    let admin_scheme = scheme(config.tls.admin_certificate.is_some());
    let mut out = std::io::stdout().lock();
    // In one piece: whoever waits for the first line may close the pipe behind it.
    let lines = format!(
        "tillwatch ready ingest={ingest_scheme}://{ingest} admin={admin_scheme}://{admin}\n\
         Open {admin_scheme}://{admin}/ in a browser to see the fleet.\n"
    );
    let line = out.write_all(lines.as_bytes());
    if line.and_then(|()| out.flush()).is_err() {
        tracing::warn!("standard output is closed: nobody was told that tillwatch is ready");
    }
}
