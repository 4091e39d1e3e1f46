//! Sets `serve` up with sockets, doors and intake, and what is held; and does its housekeeping.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tillwatch_journal::Journal;
use tillwatch_model::Catalogue;
use tillwatch_model::time::day_of;
use tokio::net::TcpListener;

use crate::aggregate::Aggregator;
use crate::auth::Gate;
use crate::clock::Clock;
use crate::config::Config;
use crate::doors::{self, Hall};
use crate::health::Health;
use crate::holdings::Holdings;
use crate::intake::counters::Counters;
use crate::intake::session::Pseudonyms;
use crate::intake::{self, Acknowledgement, Books, Desk, HeldBack, Intake};
use crate::persist::State;
use crate::pipeline::apply::hold_back;
use crate::pipeline::error::ServeError;
use crate::pipeline::limits::{door_limits, intake_settings};
use crate::pipeline::start::Started;
use crate::pipeline::state_keys::StateKeys;
use crate::pipeline::token_keys;
use crate::room::Room;
use crate::throttle;
use crate::world::World;

/// How often idle buckets and silent queues are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// How often the log says how many warnings were held back.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How many connections may wait to be accepted: a thousand terminals may come back in one second.
const BACKLOG: i32 = 4_096;

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
        TcpListener::from_std(socket.into())
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
) -> Front {
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
    let intake = Arc::new(Intake::new(settings, parts));
    let room = Room::new(config.requests.in_flight_bytes_max.in_memory());
    let gate = token_keys::gate(config);
    let parts = doors::Parts {
        gate: Arc::clone(&gate),
        room: Arc::clone(&room),
        intake: Arc::clone(&intake),
        clock: world.clock.clone(),
        chance: world.chance.clone(),
        is_stopping: Arc::clone(&health.is_stopping),
    };
    Front {
        hall: Hall::new(door_limits(config), parts),
        gate,
        intake,
        desk: Desk::new(started.journal.clone(), settings.acknowledge_max),
        room,
    }
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
pub(super) fn announce(ingest: SocketAddr, admin: SocketAddr) {
    let mut out = std::io::stdout().lock();
    let line = writeln!(
        out,
        "tillwatch ready ingest=http://{ingest} admin=http://{admin}"
    );
    if line.and_then(|()| out.flush()).is_err() {
        tracing::warn!("standard output is closed: nobody was told that tillwatch is ready");
    }
}
