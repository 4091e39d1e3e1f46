//! What `serve` is set up with: sockets, limits from the settings, session keys, housekeeping.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tillwatch_model::time::day_of;
use tillwatch_model::{Catalogue, FirstResult, KeyId};
use tokio::net::TcpListener;

use crate::aggregate::terminals::Limits;
use crate::aggregate::{self, Aggregator};
use crate::clock::Clock;
use crate::config::{Config, Span};
use crate::doors::{self, Hall};
use crate::health::Health;
use crate::holdings::Holdings;
use crate::intake::counters::Counters;
use crate::intake::keys::KeySource as IdempotencyKeys;
use crate::intake::session::{KeySource, Pseudonyms};
use crate::intake::{self, Books, Desk, Intake, rates};
use crate::listener;
use crate::persist::{State, StateError};
use crate::pipeline::error::ServeError;
use crate::pipeline::seal::Due;
use crate::pipeline::start::Started;
use crate::room::Room;
use crate::throttle::{self, Throttle};
use crate::world::World;

/// How often idle buckets and silent queues are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// How often it is said how many warnings were held back.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Connections that wait to be accepted: a thousand terminals may come back in one second.
const BACKLOG: i32 = 4_096;

pub(super) fn bind(
    setting: &'static str,
    address: Option<SocketAddr>,
) -> Result<TcpListener, ServeError> {
    let address = address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
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

static NO_KEY: Throttle = Throttle::new("no key for session pseudonyms");

/// Keys of the days in the state file.
pub(super) struct StateKeys(pub(super) Arc<State>);

impl KeySource for StateKeys {
    fn session_key(&self, day: i32) -> Option<[u8; 32]> {
        let key = self.0.session_key(day);
        key.inspect_err(|error| {
            // Every batch with a session asks for it.
            if let Some(suppressed) = NO_KEY.pass() {
                tracing::error!(
                    error = crate::logging::chain(error),
                    suppressed,
                    "no key for session pseudonyms: batches with a session are answered 503"
                );
            }
        })
        .ok()
    }
}

impl IdempotencyKeys for StateKeys {
    fn find(&self, ids: &[KeyId]) -> Option<Vec<(KeyId, FirstResult)>> {
        let found = self.0.find_keys(ids);
        found.inspect_err(log_keys).ok()
    }

    fn forget(&self, before_ms: i64, at_most: usize) -> usize {
        let forgotten = self.0.forget_keys(before_ms, at_most);
        forgotten.inspect_err(log_keys).unwrap_or(0)
    }
}

fn log_keys(error: &StateError) {
    tracing::error!(
        error = crate::logging::chain(error),
        "idempotency keys could not be read or deleted"
    );
}

/// Stages 0 and 1: doors, intake, and the operator's desk beside them.
#[derive(Debug, Clone)]
pub(super) struct Front {
    pub(super) hall: Arc<Hall>,
    pub(super) intake: Arc<Intake>,
    pub(super) desk: Desk,
    pub(super) room: Arc<Room>,
}

pub(super) fn make_front(
    config: &Config,
    catalogue: &Arc<Catalogue>,
    (state, health): (&Arc<State>, &Health),
    started: &Started,
    world: &World,
) -> Front {
    let settings = intake_settings(config);
    let parts = intake::Parts {
        clock: world.clock.clone(),
        catalogue: Arc::clone(catalogue),
        books: Books {
            dedup: Arc::clone(&started.dedup),
            keys: Arc::clone(&started.keys),
            counters: Counters::default(),
        },
        journal: started.journal.clone(),
        pseudonyms: Pseudonyms::new(Box::new(StateKeys(Arc::clone(state)))),
        is_outbox_full: Arc::clone(&health.is_outbox_full),
    };
    let intake = Arc::new(Intake::new(settings, parts));
    let room = Room::new(
        config
            .in_flight_bytes_max
            .map_or(doors::IN_FLIGHT_BYTES_MAX, size),
    );
    Front {
        hall: Hall::new(
            door_limits(config),
            Arc::clone(&room),
            Arc::clone(&intake),
            world.clock.clone(),
            world.chance.clone(),
            Arc::clone(&health.is_stopping),
        ),
        intake,
        desk: Desk::new(started.journal.clone(), settings.acknowledge_max),
        room,
    }
}

/// What is held: open, in the outbox, dirty.
pub(super) fn hold(
    state: &State,
    aggregator: Aggregator,
    durable: u64,
) -> Result<Arc<Holdings>, ServeError> {
    let sealed = (
        state.unconfirmed(usize::MAX)?,
        state.last_epoch()?,
        state.dirty_hours()?,
    );
    let collector_id = state.collector_id();
    Ok(Arc::new(Holdings::new(
        aggregator,
        sealed,
        collector_id,
        durable,
    )))
}

/// Caps of the aggregate.
pub(super) fn aggregate_settings(config: &Config) -> aggregate::Settings {
    aggregate::Settings {
        stores_max: config.stores_max.unwrap_or(5_000),
        releases_max: config.releases_max.unwrap_or(32),
        native_histograms: config.native_histograms.unwrap_or(false),
        terminals: Limits {
            terminals_max: config.queues_max.unwrap_or(400_000),
            store_terminals_max: config.store_terminals_max.unwrap_or(10_000),
        },
        window_bytes_max: config.window_memory.map_or(128 << 20, |bytes| {
            usize::try_from(bytes.0).unwrap_or(usize::MAX)
        }),
    }
}

/// When a seal is due.
pub(super) fn due(config: &Config) -> Due {
    let bytes =
        |bytes: Option<crate::config::Bytes>, default: u64| bytes.map_or(default, |bytes| bytes.0);
    Due {
        interval: config
            .seal_interval
            .map_or(Duration::from_secs(300), |span| span.0),
        journal_bytes: bytes(config.seal_journal_bytes, 64 << 20)
            + bytes(config.journal_segment, 0),
    }
}

/// The most that may wait for ClickHouse.
pub(super) fn outbox_budget_bytes(config: &Config) -> u64 {
    config.outbox_budget.map_or(16 << 30, |bytes| bytes.0)
}

fn size(bytes: crate::config::Bytes) -> usize {
    usize::try_from(bytes.0).unwrap_or(usize::MAX)
}

/// What a request may take.
pub(super) fn door_limits(config: &Config) -> doors::Limits {
    let defaults = doors::Limits::default();
    doors::Limits {
        body_bytes_max: config.body_bytes_max.map_or(defaults.body_bytes_max, size),
        decoded_bytes_max: config
            .decoded_bytes_max
            .map_or(defaults.decoded_bytes_max, size),
        body_timeout: config
            .body_timeout
            .map_or(defaults.body_timeout, |span| span.0),
        body_bytes_per_s_min: config
            .body_bytes_per_s_min
            .map_or(defaults.body_bytes_per_s_min, |bytes| bytes.0),
        body_first: defaults.body_first,
        batches_max: config.batches_max.unwrap_or(defaults.batches_max),
        samples_max: config.samples_max.unwrap_or(defaults.samples_max),
        slow: config.log_slow_request.map_or(defaults.slow, |span| span.0),
    }
}

/// What the intake grants.
pub(super) fn intake_settings(config: &Config) -> intake::Settings {
    let defaults = intake::Settings::default();
    intake::Settings {
        acknowledge_max: defaults.acknowledge_max,
        histogram_values_per_s: config
            .histogram_values_per_s
            .map_or(defaults.histogram_values_per_s, |values| values as u64),
        rates: rates::Settings {
            store_requests_per_s: config
                .store_requests_per_s
                .unwrap_or(defaults.rates.store_requests_per_s),
            store_burst: config.store_burst.unwrap_or(defaults.rates.store_burst),
        },
    }
}

/// Limits of the ingest listener and of the admin listener.
pub(super) fn listen_settings(config: &Config) -> (listener::Settings, listener::Settings) {
    let seconds = |span: Option<Span>, default: u32| {
        span.map_or(default, |span| {
            u32::try_from(span.0.as_secs()).unwrap_or(u32::MAX).max(1)
        })
    };
    let defaults = listener::Settings::default();
    let asked = config.connections_max;
    let asked = asked.unwrap_or(defaults.connections_max);
    let (connections_max, admin_connections_max) = listener::connections_allowed(asked);
    if connections_max < asked {
        tracing::warn!(
            connections_max = asked,
            allowed = connections_max,
            "fewer connections than connections_max: each is an open file; raise the limit (ulimit -n, LimitNOFILE, nofile)"
        );
    }
    let ingest = listener::Settings {
        name: "ingest",
        connections_max,
        head_s_max: seconds(config.head_timeout, defaults.head_s_max),
        idle_s_max: seconds(config.idle_timeout, defaults.idle_s_max),
        has_large_answers: false,
    };
    let admin = listener::Settings {
        connections_max: admin_connections_max,
        ..defaults
    };
    (ingest, admin)
}

pub(super) async fn forget(intake: Arc<Intake>, holdings: Arc<Holdings>, clock: Clock) {
    loop {
        let today = day_of(clock.now_ms());
        let keys = Arc::clone(&intake);
        let prepared = tokio::task::spawn_blocking(move || {
            keys.pseudonyms().prepare(today);
            keys.pseudonyms().prepare(today + 1);
        });
        // Without a key the sessions that need it are answered 503, and it is tried again.
        let _prepared = prepared.await;
        tokio::time::sleep(FORGET_EVERY).await;
        intake.rates().forget();
        // Nothing is forgotten on the word of a clock that may be wrong.
        if !clock.is_settled() {
            continue;
        }
        let now_ms = clock.now_ms();
        intake.books().dedup.forget(now_ms);
        holdings.forget_minutes(now_ms);
        let keys = Arc::clone(&intake.books().keys);
        let forgotten = tokio::task::spawn_blocking(move || keys.forget(now_ms));
        // What was not forgotten now is forgotten the next time.
        let _forgotten = forgotten.await;
    }
}

pub(super) async fn tell_what_was_held_back() {
    loop {
        tokio::time::sleep(TELL_EVERY).await;
        throttle::flush();
    }
}

/// The line that scripts wait for.
pub(super) fn announce((ingest, admin): (SocketAddr, SocketAddr)) {
    let mut out = std::io::stdout().lock();
    let line = writeln!(
        out,
        "tillwatch ready ingest=http://{ingest} admin=http://{admin}"
    );
    if line.and_then(|()| out.flush()).is_err() {
        tracing::warn!("standard output is closed: nobody was told that tillwatch is ready");
    }
}
