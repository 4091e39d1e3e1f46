//! `backup` and `restore`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tillwatch_model::time::wall_ms;

use crate::auth::KeyFolder;
use crate::chance::Chance;
use crate::cli::admin::Admin;
use crate::cli::{Failure, Outcome, say};
use crate::config::{Config, Flags};
use crate::logging::{self, Format};
use crate::persist::backup::{self, Manifest};
use crate::persist::identity::has_state;
use crate::persist::migrate::migrate;
use crate::persist::ship::used_epochs;
use crate::pipeline;
use crate::progress::Progress;
use crate::world::World;

#[derive(Debug, Args)]
pub(super) struct Backup {
    /// New folder for the backup. It appears whole or not at all. With --verify, the folder of a backup.
    #[arg(value_name = "DIR")]
    target: PathBuf,
    /// Make no backup: read the one in DIR whole, as a restore would, and say whether it is as it was written.
    #[arg(long, conflicts_with = "with_keys")]
    verify: bool,
    /// Data folder of the collector, which may be running.
    #[arg(
        long,
        env = "TILLWATCH_DATA_DIR",
        default_value = "tillwatch-data",
        value_name = "DIR"
    )]
    data_dir: PathBuf,
    /// Put the private keys that sign tokens into the backup, too. Whoever reads such a backup can sign tokens of every
    /// store.
    #[arg(long)]
    with_keys: bool,
    // The running collector is asked to seal first, so that the backup holds all that has been acknowledged.
    #[command(flatten)]
    admin: Admin,
}

impl Backup {
    pub(super) async fn run(self) -> Outcome {
        logging::init(Format::Text, "warn");
        if self.verify {
            return verify(self.target).await;
        }
        backup::check_empty(&self.target).map_err(|error| Failure::of(&error))?;
        if !has_state(&self.data_dir) {
            let error = backup::BackupError::NoState(self.data_dir);
            return Err(Failure::of(&error));
        }
        // The lock is held while the backup copies: nobody starts meanwhile.
        let lock = match pipeline::lock_data_dir(&self.data_dir, &World::of_machine()) {
            Ok(lock) => Some(lock),
            Err(pipeline::ServeError::InUse { .. }) => None,
            Err(error) => return Err(Failure::of(&error)),
        };
        let left_out = if lock.is_some() {
            self.left_out().await?
        } else {
            let sealed = self.admin.post("/api/v1/seal").await;
            sealed.err().map(|failure| {
                format!(
                    "The running collector was not asked to seal first ({failure}). What it has acknowledged since \
                     its last seal is not in the backup; name its admin listener with --admin-url."
                )
            })
        };
        let (data_dir, target, with_keys) = (self.data_dir, self.target.clone(), self.with_keys);
        let made = tokio::task::spawn_blocking(move || {
            let mut progress = Progress::new();
            let chance = Chance::of_system();
            let keys = with_keys.then(|| KeyFolder::of(&data_dir).path().to_owned());
            backup::create(
                &data_dir,
                (&target, keys.as_deref()),
                wall_ms(),
                &chance,
                &mut |done, all| {
                    progress.step("backup", done >> 20, all >> 20, "MiB");
                },
            )
        });
        let manifest = made
            .await
            .map_err(|error| Failure::of(&error))?
            .map_err(|error| Failure::of(&error))?;
        drop(lock);
        say(&format!(
            "{}: collector {}, epochs up to {}, {} of them not confirmed, {} bytes",
            self.target.display(),
            manifest.collector_id,
            manifest.last_epoch,
            manifest.unconfirmed_epochs,
            manifest.state_bytes
        ));
        if let Some(left_out) = left_out {
            say(&left_out);
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Of a collector that is not running: what only its journal holds.
    async fn left_out(&self) -> Result<Option<String>, Failure> {
        let data_dir = self.data_dir.clone();
        let counted = tokio::task::spawn_blocking(move || {
            let mut progress = Progress::new();
            pipeline::unsealed_records(&data_dir, &World::of_machine(), &mut |done, all| {
                progress.step("reading the journal", done, all, "segments");
            })
        });
        let records = counted
            .await
            .map_err(|error| Failure::of(&error))?
            .map_err(|error| Failure::of(&error))?;
        Ok((records > 0).then(|| {
            format!(
                "{records} batches lie in the journal alone and are not in the backup: the collector was killed. \
                 Start it, stop it, and back up again to have them."
            )
        }))
    }
}

async fn verify(folder: PathBuf) -> Outcome {
    let reading = folder.clone();
    let verified = tokio::task::spawn_blocking(move || backup::verify(&reading));
    let manifest = verified
        .await
        .map_err(|error| Failure::of(&error))?
        .map_err(|error| Failure::of(&error))?;
    say(&format!(
        "{}: as it was written on {}: collector {}, epochs up to {}, {} of them not confirmed, {} bytes",
        folder.display(),
        time_text(manifest.created_at_ms),
        manifest.collector_id,
        manifest.last_epoch,
        manifest.unconfirmed_epochs,
        manifest.state_bytes
    ));
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    /// Folder of the backup.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// File with settings (TOML).
    #[arg(long, env = "TILLWATCH_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

impl Restore {
    pub(super) async fn run(self) -> Outcome {
        logging::init(Format::Text, "warn");
        let mut config = Config::load(self.flags, self.config.as_deref())
            .map_err(|error| Failure::of(&error))?;
        let data_dir = config.data.dir.clone();
        backup::check_empty(&data_dir).map_err(|error| Failure::of(&error))?;
        // Made aside: the data folder appears once its state has its new id, and never before.
        let aside = backup::sibling(&data_dir, "restoring", &Chance::of_system());
        config.data.dir.clone_from(&aside);
        let restored = restore(&self.from, &config).await.and_then(|restored| {
            std::fs::rename(&aside, &data_dir).map_err(|error| Failure::of(&error))?;
            backup::sync_parent(&data_dir).map_err(|error| Failure::of(&error))?;
            Ok(restored)
        });
        if restored.is_err() {
            // Whatever went wrong is worth more to know than that this did, too.
            let _ignored = std::fs::remove_dir_all(&aside);
        }
        let (manifest, id, moved) = restored?;
        say(&format!(
            "{}: restored from a backup of {} with epochs up to {}; collector {} goes on as {id}",
            data_dir.display(),
            time_text(manifest.created_at_ms),
            manifest.last_epoch,
            manifest.collector_id,
        ));
        say(&format!(
            "{} epochs wait to be shipped, {moved} of them under the new id. Never start the original again: both \
             would ship.",
            manifest.unconfirmed_epochs
        ));
        Ok(ExitCode::SUCCESS)
    }
}

async fn restore(from: &Path, config: &Config) -> Result<(Manifest, uuid::Uuid, usize), Failure> {
    let folder = config.data.dir.clone();
    let (source, target) = (from.to_owned(), folder.clone());
    let restored = tokio::task::spawn_blocking(move || {
        let manifest = backup::restore(&source, &target)?;
        if let Some(keys) = backup::keys_in(&source) {
            backup::copy_keys(&keys, KeyFolder::of(&target).path())?;
        }
        Ok::<_, backup::BackupError>(manifest)
    });
    let manifest = restored
        .await
        .map_err(|error| Failure::of(&error))?
        .map_err(|error| Failure::of(&error))?;
    let (id, moved) = new_collector_id(config).await?;
    Ok((manifest, id, moved))
}

/// Gives the state file a new collector id. ClickHouse says which epoch numbers have been used by
/// another copy of the file; what waits under these moves to the new id. Says how many did.
pub(super) async fn new_collector_id(config: &Config) -> Result<(uuid::Uuid, usize), Failure> {
    let data_dir = config.data.dir.clone();
    let world = World::of_machine();
    let _lock = pipeline::lock_data_dir(&data_dir, &world).map_err(|error| Failure::of(&error))?;
    let database = pipeline::open_database(config, &world.tasks)
        .await
        .map_err(|error| Failure::of(&error))?;
    let renewed = async {
        migrate(database.clickhouse())
            .await
            .map_err(|error| Failure::of(&error))?;
        let state =
            Arc::new(pipeline::open_state(&data_dir, &world).map_err(|error| Failure::of(&error))?);
        pipeline::pass_over_sealed(&state, &data_dir, &world)
            .map_err(|error| Failure::of(&error))?;
        let used = used_epochs(database.clickhouse(), &state)
            .await
            .map_err(|error| Failure::of(&error))?;
        let id = state
            .renew_collector_id(&used)
            .map_err(|error| Failure::of(&error))?;
        Ok((id, used.len()))
    }
    .await;
    database.close().await;
    renewed
}

pub(super) fn time_text(t_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(t_ms).map_or_else(
        |_| t_ms.to_string(),
        |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}
