//! `key`: static keys, of servers that post and of whoever scrapes, asks or operates.

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::admin::DataDir;
use crate::cli::token::{date_of, identifier};
use crate::cli::{Failure, Outcome, complain, say, table};
use crate::credentials::Order;

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Make a key and print it, alone, on standard output. It is shown this once: only its SHA-256 is kept.
    ///
    /// Scopes: metrics (scrape /metrics and /metrics/fleet), read (questions), operate (retire a store, seal, accept the
    /// clock), post (batches, of the stores named with --store or of all), app (a browser application, whose key everybody
    /// can read: needs --name and --store).
    New(New),
    /// List the keys, without their secrets.
    List(DataDir),
    /// Take a key away. It is refused from the next request on.
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct New {
    #[command(flatten)]
    folder: DataDir,
    /// What the key is good for; may be given several times.
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<String>,
    /// A store that the key may post for; may be given several times. Without one: all.
    #[arg(long = "store", value_name = "STORE", value_parser = identifier)]
    stores: Vec<String>,
    /// What the key is for, for lists; of a browser application, its name.
    #[arg(long, value_name = "NAME", default_value = "")]
    name: String,
    /// Write the key into this file instead, which only its owner can read. A file that is there already stays as it is,
    /// and no key is made: a start script may run this every time.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Who may read that file, as octal digits: 640 lets its group, for a scraper that runs as another user.
    #[arg(long, value_name = "MODE", default_value = "600", requires = "to", value_parser = mode)]
    mode: u32,
}

fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok();
    // Nobody outside of the group, and nobody but the owner to write.
    let mode = mode.filter(|mode| mode & !0o640 == 0 && mode & 0o400 != 0);
    mode.ok_or_else(|| "must be 600, 640, 400 or 440".to_owned())
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    folder: DataDir,
    /// The key's id: the part between the first two underscores.
    #[arg(long)]
    id: String,
}

impl Key {
    pub(super) async fn run(self) -> Outcome {
        match self {
            Self::New(new) => new.run().await,
            Self::List(folder) => list(&folder).await,
            Self::Revoke(Revoke { folder, id }) => {
                folder.order(Order::RemoveKey { id: id.clone() }).await?;
                say(&format!("key {id} is gone"));
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl New {
    async fn run(self) -> Outcome {
        if let Some(path) = &self.to
            && std::fs::metadata(path).is_ok_and(|file| file.len() > 0)
        {
            complain(&format!(
                "{} is there already; no key was made",
                path.display()
            ));
            return Ok(ExitCode::SUCCESS);
        }
        let order = Order::NewKey {
            scopes: self.scopes,
            stores: self.stores,
            name: self.name,
        };
        let made = self.folder.order(order).await?;
        let secret = made.secret.unwrap_or_default();
        match &self.to {
            None => say(&secret),
            Some(path) => {
                if let Err(error) = write(path, self.mode, &secret) {
                    let id = made.id.unwrap_or_default();
                    self.folder.order(Order::RemoveKey { id }).await?;
                    return Err(Failure(format!(
                        "{}: {error}; no key was made",
                        path.display()
                    )));
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes a key so that a reader never sees a part of it, and nobody else any of it.
fn write(path: &Path, mode: u32, secret: &str) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    // Made anew: a file or a link that somebody has put there has another mode, or leads elsewhere.
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(&unfinished)?;
    writeln!(file, "{secret}")?;
    // Not by the mask of the process, which leaves the group out.
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

async fn list(folder: &DataDir) -> Outcome {
    let keys = folder.order(Order::List).await?.keys;
    if keys.is_empty() {
        say("there is no key; `tillwatch key new` makes one");
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Vec<String>> = keys
        .into_iter()
        .map(|key| {
            let stores = match key.stores.as_slice() {
                [] if key.scopes.iter().any(|scope| scope == "post") => "all".to_owned(),
                stores => stores.join(","),
            };
            let made = date_of(key.created_at_ms / 1_000);
            vec![key.id, key.scopes.join(","), stores, key.name, made]
        })
        .collect();
    say(&table(&["id", "scopes", "stores", "name", "made"], &rows));
    Ok(ExitCode::SUCCESS)
}
