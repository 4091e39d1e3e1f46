//! SIGHUP: reads the settings again and takes those that can change while batches come in.
//!
//! Settings with an error change nothing: the collector keeps its settings, and the log names the wrong line.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use metrics::{counter, gauge};
use serde_json::json;
use tokio::sync::{Notify, watch};

use crate::admin::{AdminHosts, InForce};
use crate::audit_log::{AuditLog, Entry, Outcome};
use crate::config::{Config, ConfigError, SETTINGS};
use crate::doors::Hall;
use crate::doors::cors::Origins;
use crate::hosts::Schemes;
use crate::intake::Intake;
use crate::pipeline::limits::{door_limits, due, intake_settings, networks};
use crate::pipeline::seal::Due;
use crate::pipeline::setup::Front;
use crate::self_metrics as names;

/// Reads the settings as they were read at the start.
pub type Load = Box<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>;

/// Where the settings that can change are read from.
pub(super) struct Reloader {
    load: Load,
    hall: Arc<Hall>,
    intake: Arc<Intake>,
    pub(super) origins: Arc<Origins>,
    audit_log: AuditLog,
    pub(super) admin_hosts: Arc<AdminHosts>,
    pub(super) due: watch::Sender<Due>,
    outbox_budget_bytes: Arc<AtomicU64>,
    /// Wakes the shipper to look at the budget anew.
    ship_wanted: Arc<Notify>,
    /// The settings as they are in force.
    pub(super) in_force: InForce,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Reloader")
    }
}

/// Names of settings that differ: those that are taken now, and those that wait for a restart.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    taken: Vec<&'static str>,
    waiting: Vec<&'static str>,
}

impl Changes {
    fn between(old: &Config, new: &Config) -> Self {
        let mut changes = Self::default();
        for setting in SETTINGS {
            if old.text_of(setting.name) == new.text_of(setting.name) {
                continue;
            }
            if setting.is_reloadable {
                changes.taken.push(setting.name);
            } else {
                changes.waiting.push(setting.name);
            }
        }
        let (old, new) = (&old.declared, &new.declared);
        for (table, differs) in [
            ("[[metrics]]", !old.own_metrics().eq(new.own_metrics())),
            ("[[map]]", old.map != new.map),
        ] {
            if differs {
                changes.waiting.push(table);
            }
        }
        changes
    }
}

/// The settings as they are once the reloadable ones are taken from `new`.
fn merged(running: &Config, new: &Config) -> Config {
    let mut config = running.clone();
    for setting in SETTINGS.iter().filter(|setting| setting.is_reloadable) {
        config.take(setting.name, new);
    }
    config
}

impl Reloader {
    /// Makes a reloader for settings as `config` has them, which `load` may replace.
    pub(super) fn new(
        load: Load,
        config: &Config,
        front: Front,
        ship_wanted: Arc<Notify>,
        outbox_budget_bytes: Arc<AtomicU64>,
    ) -> Self {
        let has_tls = config.tls.admin_certificate.is_some();
        let admin_hosts = Arc::new(AdminHosts::new(Schemes {
            http: !has_tls,
            https: has_tls || config.auth.behind_proxy,
        }));
        admin_hosts.set(&config.listen.admin_hosts.0);
        Self {
            load,
            hall: front.hall,
            intake: front.intake,
            origins: front.origins,
            audit_log: front.audit_log,
            admin_hosts,
            due: watch::Sender::new(due(config)),
            outbox_budget_bytes,
            ship_wanted,
            in_force: Arc::new(ArcSwap::from_pointee(config.clone())),
        }
    }

    /// Notes that the settings that run are those that were read.
    pub(super) fn note_start() {
        gauge!(names::CONFIG_SUCCESS).set(1.0);
        for result in ["ok", "error"] {
            counter!(names::CONFIG_RELOADS, "result" => result).absolute(0);
        }
    }

    /// Reads the settings and takes what can be taken. Blocks for the file.
    pub(super) fn reload(&self, running: &mut Config) {
        let note = |about, outcome| {
            self.audit_log.note(&Entry {
                act: "settings.reload",
                by: "signal",
                about,
                outcome,
            });
        };
        let new = match (self.load)() {
            Ok(new) => new,
            Err(error) => {
                note(json!({}), Outcome::Failed);
                counter!(names::CONFIG_RELOADS, "result" => "error").increment(1);
                gauge!(names::CONFIG_SUCCESS).set(0.0);
                tracing::error!(
                    error = crate::logging::chain(&error),
                    "the settings were not reloaded: the old ones stay. Correct them, try `tillwatch check-config`, \
                     then send SIGHUP again"
                );
                return;
            }
        };
        let changes = Changes::between(running, &new);
        note(
            json!({"taken": changes.taken, "waiting": changes.waiting}),
            Outcome::Done,
        );
        let config = merged(running, &new);
        if changes.taken.contains(&"log_level") {
            let level = &config.log.level;
            if !crate::logging::set_level(level) {
                tracing::warn!(
                    level,
                    "log_level was not taken: the variable RUST_LOG is set and wins over it"
                );
            }
        }
        self.hall.reload(door_limits(&config), networks(&config));
        self.intake.reload(intake_settings(&config));
        self.origins.set(&config.listen.cors_origins.0);
        self.admin_hosts.set(&config.listen.admin_hosts.0);
        self.due.send_replace(due(&config));
        self.outbox_budget_bytes
            .store(config.outbox.budget.0, Ordering::Relaxed);
        self.ship_wanted.notify_one();
        self.in_force.store(Arc::new(config.clone()));
        *running = config;
        counter!(names::CONFIG_RELOADS, "result" => "ok").increment(1);
        gauge!(names::CONFIG_SUCCESS).set(1.0);
        tracing::info!(changed = ?changes.taken, "reloaded the settings");
        if !changes.waiting.is_empty() {
            tracing::warn!(settings = ?changes.waiting, "these settings changed and wait for a restart");
        }
        for doubt in running.doubts() {
            tracing::warn!("{doubt}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;

    #[test]
    fn what_cannot_change_stays_as_it_runs_and_is_named() {
        let load = |text: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("tillwatch.toml");
            std::fs::write(&path, text).unwrap();
            Config::load(Flags::default(), Some(&path)).unwrap()
        };
        let old = load("seal_interval = \"1h\"\nstores_max = 7\n");
        let new = load("seal_interval = \"2s\"\nstores_max = 8\nstore_burst = 9\n");
        let changes = Changes::between(&old, &new);
        assert_eq!(changes.taken, ["seal_interval", "store_burst"]);
        assert_eq!(changes.waiting, ["stores_max"]);
        let merged = merged(&old, &new);
        assert_eq!(merged.text_of("seal_interval"), "2s");
        assert_eq!(merged.text_of("stores_max"), "7");
        assert_eq!(Changes::between(&merged, &new).waiting, ["stores_max"]);
    }
}
