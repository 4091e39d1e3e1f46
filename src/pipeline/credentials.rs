//! Keeps the gate up to date: own keys from the data folder, those of the shop's own backend, static keys, revocations;
//! and carries out what comes over the socket.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::audit_log::AuditLog;
use crate::auth::jwks::{JwksFault, JwksLookError};
use crate::auth::{
    Gate, GateSettings, Jwks, JwksLooked, JwksSettings, KeyFolder, KeyFolderError, Looked, Mode,
    SessionKey,
};
use crate::config::Config;
use crate::credentials::Desk;
use crate::persist::State;
use crate::pipeline::error::ServeError;
use crate::throttle::Throttle;
use crate::world::World;

/// How often files are looked at, and whether a URL is due.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The file in the data folder with the secret of the console's sessions. No backup holds it.
const SESSION_KEY: &str = "console_session.key";

/// Makes a gate that knows nobody yet.
pub(super) fn gate(config: &Config) -> Arc<Gate> {
    let family_s = config.auth.family_life.0.as_secs();
    Arc::new(Gate::new(GateSettings {
        posting: config.auth_mode(),
        admin: config.admin_auth_mode(),
        are_apps_let_in: config.auth.are_apps_let_in,
        family_s_max: i64::try_from(family_s).unwrap_or(i64::MAX),
    }))
}

/// Makes the desk where credentials are made and ended, and tells the gate of all there are.
pub(super) fn desk(
    config: &Config,
    state: &Arc<State>,
    gate: &Arc<Gate>,
    log: &AuditLog,
    world: &World,
) -> Result<(Arc<Desk>, Option<Jwks>), ServeError> {
    let desk = Desk::new(
        &config.data.dir,
        Arc::clone(state),
        Some(Arc::clone(gate)),
        log.clone(),
        world.clone(),
    );
    if let Err(error) = KeyFolder::of(&config.data.dir).tidy() {
        let error = crate::logging::chain(&error);
        tracing::warn!(
            error,
            "what was left half written among the keys of tokens stays"
        );
    }
    desk.tell_gate()?;
    if gate.settings().admin == Mode::Required {
        match session_key(&config.data.dir, world) {
            Ok(key) => gate.set_session_key(key),
            Err(error) => tracing::error!(
                %error,
                "nobody can sign in at the console: its secret in the data folder can be neither read nor made"
            ),
        }
    }
    tell_keys(&desk.look_at_keys());
    let jwks = jwks_settings(config).map(|settings| {
        let mut jwks = Jwks::new(settings, &config.data.dir);
        let looked = jwks.recall(world.clock.now_ms());
        take(&desk, &jwks, &looked);
        jwks
    });
    if gate.settings().posting == Mode::Required && desk.verifying() == 0 {
        tracing::error!(
            "tokens are required and no key verifies one: no terminal can post. Make a key with `tillwatch token key new`"
        );
    }
    Ok((Arc::new(desk), jwks))
}

/// The secret of the console's sessions, made when it is asked for first.
fn session_key(data_dir: &Path, world: &World) -> io::Result<SessionKey> {
    let path = data_dir.join(SESSION_KEY);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = hex::encode(world.chance.secret::<32>()?);
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            text
        }
        Err(error) => return Err(error),
    };
    let mut secret = [0; 32];
    hex::decode_to_slice(text.trim(), &mut secret).map_err(|_no_hex| {
        io::Error::other(format!(
            "{SESSION_KEY} does not hold 64 hexadecimal digits; remove it"
        ))
    })?;
    Ok(SessionKey::new(secret))
}

fn jwks_settings(config: &Config) -> Option<JwksSettings> {
    let auth = &config.auth;
    Some(JwksSettings {
        source: auth.jwks.clone()?.0,
        refresh: auth.jwks_refresh.0,
        stale_max: auth.jwks_stale_max.0,
        extra_roots: auth.jwks_ca_file.clone(),
    })
}

/// Looks at the files of the collector's own keys again and again.
pub(super) async fn watch_keys(desk: Arc<Desk>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let looking = Arc::clone(&desk);
        let looked = tokio::task::spawn_blocking(move || looking.look_at_keys());
        let Ok(looked) = looked.await else {
            // Only a runtime that ends gives up the look.
            return;
        };
        if tell_keys(&looked) {
            tracing::info!(keys = desk.verifying(), "took the keys of tokens");
        }
    }
}

/// Says what is wrong with the keys; whether one has come or gone.
fn tell_keys(looked: &Result<Looked, KeyFolderError>) -> bool {
    match looked {
        Ok(Looked {
            has_changed,
            faults,
        }) => {
            for fault in faults {
                tracing::error!(
                    error = crate::logging::chain(fault),
                    "a key of tokens cannot be used; one that was read under this name before still counts"
                );
            }
            *has_changed
        }
        Err(error) => {
            if let Some(suppressed) = UNREADABLE.pass() {
                tracing::error!(
                    error = crate::logging::chain(error),
                    suppressed,
                    "the keys of tokens cannot be read; those from before still count"
                );
            }
            false
        }
    }
}

static UNREADABLE: Throttle = Throttle::new("looks at the keys of tokens that failed");
static NO_SET: Throttle = Throttle::new("looks at the key set of jwks that failed");

/// Asks for the keys of the shop's own backend again and again.
pub(super) async fn watch_jwks(jwks: Option<Jwks>, desk: Arc<Desk>, gate: Arc<Gate>, world: World) {
    let Some(mut jwks) = jwks else {
        return;
    };
    loop {
        let draw = world.chance.between(0..=u64::MAX);
        let wants_early = gate.take_unknown_key();
        let (runtime, now_ms) = (tokio::runtime::Handle::current(), world.clock.now_ms());
        // It reads and writes small files.
        let taking = Arc::clone(&desk);
        let looking = tokio::task::spawn_blocking(move || {
            let looked = runtime.block_on(jwks.look(now_ms, wants_early, draw));
            if take(&taking, &jwks, &looked) {
                tracing::info!(keys = jwks.keys().count(), "took the key set of jwks");
            }
            jwks
        });
        let Ok(back) = looking.await else {
            return;
        };
        jwks = back;
        tokio::time::sleep(LOOK_EVERY).await;
        // A clock that is wrong would call the keys too old.
        while world.clock.received_at_ms().is_err() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Takes what a look has found, and says what is wrong with it; whether a key has come or gone.
fn take(desk: &Desk, jwks: &Jwks, looked: &JwksLooked) -> bool {
    for fault in &looked.faults {
        let fault: &JwksFault = fault;
        let error = crate::logging::chain(fault);
        tracing::warn!(error, "the key set of jwks has a fault");
    }
    if let Some(error) = &looked.error
        && let Some(suppressed) = NO_SET.pass()
    {
        let error: &JwksLookError = error;
        let error = crate::logging::chain(error);
        tracing::error!(error, suppressed, "no key set came from jwks");
    }
    if looked.has_changed {
        let keys = jwks.keys().map(|(kid, key)| (kid.to_owned(), key.clone()));
        desk.set_foreign(keys.collect());
    }
    looked.has_changed
}

/// The log beside everything, in the data folder.
pub(super) fn audit_log(data_dir: &Path, world: &World) -> Result<AuditLog, ServeError> {
    let log = AuditLog::start(data_dir, world.clock.clone(), &world.tasks);
    log.map_err(|error| ServeError::Setup(error.to_string()))
}
