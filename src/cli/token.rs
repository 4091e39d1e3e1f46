//! `token`: keys that sign tokens of terminals, and tokens.

use std::io::{IsTerminal, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use tillwatch_model::dimension::is_identifier;
use tillwatch_token::{AUDIENCE, Claims, SEED_BYTES, TOKEN_BYTES_MAX, VALID_S_MAX};

use crate::auth::{KeyFolder, Keys};
use crate::cli::{Failure, Outcome, complain, say};
use crate::pipeline;
use crate::world::World;

const DAY_S: i64 = 86_400;

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make and list the keys that sign tokens.
    #[command(subcommand)]
    Key(Key),
    /// Sign a token for a store or for one of its terminals, and print it, alone, on standard output.
    ///
    /// Whoever holds the token can post as that terminal (or as any of the store's) until it expires. It is a
    /// password: send it only over TLS, and keep it out of addresses and logs.
    Issue(Issue),
    /// Read a token from standard input, where nobody sees it in the list of processes, and print what it says if a key
    /// of the data folder has signed it.
    Inspect(Folder),
}

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Make a key that signs from now on. Tokens of older keys stay valid as long as their files lie in token_keys. A
    /// running collector takes the key within seconds.
    New(Folder),
    /// List the keys, the newest last. It signs.
    List(Folder),
}

#[derive(Debug, Args)]
pub(super) struct Folder {
    /// Data folder of the collector, which may be running.
    #[arg(
        long,
        env = "TILLWATCH_DATA_DIR",
        default_value = "tillwatch-data",
        value_name = "DIR"
    )]
    data_dir: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Issue {
    #[command(flatten)]
    folder: Folder,
    /// The store of which the bearer may post.
    #[arg(long, value_name = "STORE", value_parser = identifier)]
    store: String,
    /// The terminal of which the bearer may post. Without one the token is good for all terminals of the store, and
    /// each of them can pass for any other.
    #[arg(long, value_name = "TERMINAL", value_parser = identifier)]
    terminal: Option<String>,
    /// How many days the token is valid.
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=VALID_S_MAX / DAY_S))]
    days: u32,
}

fn identifier(text: &str) -> Result<String, String> {
    if is_identifier(text) {
        Ok(text.to_owned())
    } else {
        Err("must match [A-Za-z0-9_.:-]{1,64}".to_owned())
    }
}

impl Token {
    pub(super) fn run(self) -> Outcome {
        let world = World::of_machine();
        match self {
            Self::Key(Key::New(folder)) => new_key(&folder.data_dir, &world),
            Self::Key(Key::List(folder)) => list_keys(&folder.data_dir),
            Self::Issue(issue) => issue.run(&world),
            Self::Inspect(folder) => inspect(&folder.data_dir, &world),
        }
    }
}

fn new_key(data_dir: &Path, world: &World) -> Outcome {
    let seed = world.chance.secret::<SEED_BYTES>();
    let seed = seed.map_err(|error| Failure::of(&error))?;
    let kid = world.chance.uuid().simple().to_string();
    let kid = kid.get(..16).unwrap_or(&kid).to_owned();
    pipeline::make_data_dir(data_dir).map_err(|error| Failure::of(&error))?;
    check_owner(data_dir)?;
    let folder = KeyFolder::of(data_dir);
    let made = folder.add(seed, kid, world.clock.now_ms());
    let (key, path) = made.map_err(|error| Failure::of(&error))?;
    say(&format!(
        "key {} signs from now on; it lies in {}",
        key.kid(),
        path.display()
    ));
    complain("Whoever reads that file can sign tokens. A backup of the data folder leaves it out.");
    Ok(ExitCode::SUCCESS)
}

/// A collector that runs as another user could not read the key.
fn check_owner(data_dir: &Path) -> Result<(), Failure> {
    let about = std::fs::metadata(data_dir).map_err(|error| Failure::of(&error))?;
    let (own, user) = (about.uid(), rustix::process::geteuid().as_raw());
    if own == user {
        return Ok(());
    }
    Err(Failure(format!(
        "{} belongs to user {own}, and a key of user {user} could not be read by its collector: run this as user {own} (sudo -u '#{own}' …)",
        data_dir.display()
    )))
}

/// The keys of a data folder. What cannot be used is told of.
fn keys_of(data_dir: &Path) -> Result<Keys, Failure> {
    let mut keys = KeyFolder::of(data_dir).keys();
    let looked = keys.look().map_err(|error| Failure::of(&error))?;
    for fault in &looked.faults {
        complain(&Failure::of(fault).to_string());
    }
    if keys.all().is_empty() {
        return Err(no_key(data_dir));
    }
    Ok(keys)
}

fn list_keys(data_dir: &Path) -> Outcome {
    for key in keys_of(data_dir)?.all() {
        say(&format!(
            "{}  made {}",
            key.kid(),
            date_of(key.created_at_ms() / 1_000)
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn no_key(data_dir: &Path) -> Failure {
    Failure(format!(
        "there is no key in {}: make one with `tillwatch token key new --data-dir {}`",
        KeyFolder::of(data_dir).path().display(),
        data_dir.display()
    ))
}

fn date_of(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

impl Issue {
    fn run(self, world: &World) -> Outcome {
        let keys = keys_of(&self.folder.data_dir)?;
        let keys = keys.all();
        let key = keys.last().ok_or_else(|| no_key(&self.folder.data_dir))?;
        let now_s = world.clock.now_ms() / 1_000;
        let claims = Claims {
            aud: AUDIENCE.to_owned(),
            store: self.store,
            terminal: self.terminal,
            cohort: None,
            jti: world.chance.uuid().simple().to_string(),
            fam: None,
            iat: now_s,
            auth_time: None,
            nbf: None,
            exp: now_s + i64::from(self.days) * DAY_S,
        };
        let token = key.sign(&claims).map_err(|error| Failure::of(&error))?;
        say(&token);
        Ok(ExitCode::SUCCESS)
    }
}

fn inspect(data_dir: &Path, world: &World) -> Outcome {
    let token = from_input()?;
    let keys = keys_of(data_dir)?.verifying();
    let verified = keys
        .verify(token.trim())
        .map_err(|error| Failure::of(&error))?;
    let claims = &verified.claims;
    let now_s = world.clock.now_ms() / 1_000;
    let terminal = claims.terminal.as_deref().unwrap_or("any of the store");
    say(&format!("store     {}", claims.store));
    say(&format!("terminal  {terminal}"));
    say(&format!("key       {}", verified.kid));
    say(&format!(
        "token     {} of family {}",
        claims.jti,
        claims.family()
    ));
    say(&format!("issued    {}", date_of(claims.iat)));
    let is_over = now_s >= claims.exp;
    let state = if is_over { "expired" } else { "expires" };
    say(&format!("{state}   {}", date_of(claims.exp)));
    Ok(if is_over {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn from_input() -> Result<String, Failure> {
    let mut text = String::new();
    let most = TOKEN_BYTES_MAX as u64 + 2;
    let mut input = std::io::stdin().lock();
    if input.is_terminal() {
        complain("The token; end with Ctrl-D:");
    }
    let read = input.by_ref().take(most).read_to_string(&mut text);
    read.map_err(|error| Failure::of(&error))?;
    Ok(text)
}
