//! `token`: keys that sign tokens of terminals, tokens, and the end of tokens.

use std::io::{IsTerminal, Read};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use tillwatch_model::dimension::is_identifier;
use tillwatch_token::{TOKEN_BYTES_MAX, VALID_S_MAX};

use crate::auth::KeyFolder;
use crate::cli::admin::DataDir;
use crate::cli::{Failure, Outcome, complain, say, table};
use crate::credentials::Order;
use crate::world::World;

const DAY_S: i64 = 86_400;

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make, list and retire the keys that sign tokens.
    #[command(subcommand)]
    Key(Key),
    /// Sign a token for a store or for one of its terminals, and print it, alone, on standard output.
    ///
    /// Whoever holds the token can post as that terminal (or as any of the store's) until it expires. It is a
    /// password: send it only over TLS, and keep it out of addresses and logs.
    Issue(Issue),
    /// Read a token from standard input, where nobody sees it in the list of processes, and print what it says if a key
    /// of the data folder has signed it.
    Inspect(DataDir),
    /// List what was revoked.
    List(DataDir),
    /// End tokens before they expire: those of one family (--id), which are one token and all that were made of it by renewal, or all of a store or of a
    /// terminal that were issued before now.
    ///
    /// It counts from the next request on, survives a crash, and keeps releases that know no revocations from opening the
    /// data folder. Tokens that are issued after the command has ended are good.
    Revoke(Revoke),
}

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Make a key that signs from now on. Tokens of older keys stay valid.
    New(DataDir),
    /// List the keys, the newest last. It signs.
    List(DataDir),
    /// Let a key sign no more; what it has signed stays valid. Only its public part is kept.
    Retire(OneKey),
    /// Take a key away, with its public part: every token that it has signed ends.
    Remove(OneKey),
}

#[derive(Debug, Args)]
pub(super) struct OneKey {
    #[command(flatten)]
    folder: DataDir,
    /// The key, as `token key list` names it.
    kid: String,
}

#[derive(Debug, Args)]
pub(super) struct Issue {
    #[command(flatten)]
    folder: DataDir,
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

#[derive(Debug, Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    folder: DataDir,
    /// The family, as `token inspect` and the audit log give it: all of its tokens end. The name (jti) of a token that was
    /// made by renewal ends that one alone.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["store", "terminal", "before"], required_unless_present = "store")]
    id: Option<String>,
    /// The store whose tokens end.
    #[arg(long, value_name = "STORE", value_parser = identifier)]
    store: Option<String>,
    /// The terminal of the store whose tokens end. Tokens of the whole store stay.
    #[arg(long, value_name = "TERMINAL", requires = "store", value_parser = identifier)]
    terminal: Option<String>,
    /// Only tokens issued before this: now, or a time such as 2026-11-29T08:00:00Z.
    #[arg(long, value_name = "TIME", default_value = "now")]
    before: String,
}

pub(super) fn identifier(text: &str) -> Result<String, String> {
    if is_identifier(text) {
        Ok(text.to_owned())
    } else {
        Err("must match [A-Za-z0-9_.:-]{1,64}".to_owned())
    }
}

impl Token {
    pub(super) async fn run(self) -> Outcome {
        match self {
            Self::Key(key) => key.run().await,
            Self::Issue(issue) => issue.run().await,
            Self::Inspect(folder) => inspect(&folder.data_dir),
            Self::List(folder) => list_revoked(&folder).await,
            Self::Revoke(revoke) => revoke.run().await,
        }
    }
}

impl Key {
    async fn run(self) -> Outcome {
        match self {
            Self::New(folder) => {
                let made = folder.order(Order::NewSigningKey).await?;
                let kid = made.id.unwrap_or_default();
                let path = KeyFolder::of(&folder.data_dir).path().display().to_string();
                say(&format!("key {kid} signs from now on; it lies in {path}"));
                complain(
                    "Whoever reads that file can sign tokens. A backup of the data folder leaves it out, unless it is made \
                     with --with-keys.",
                );
            }
            Self::List(folder) => {
                let listed = folder.order(Order::List).await?.signing_keys;
                if listed.is_empty() {
                    return Err(no_key(&folder.data_dir));
                }
                for key in listed {
                    let made = date_of(key.created_at_ms / 1_000);
                    let state = key.retired_at_ms.map_or_else(String::new, |ms| {
                        format!("  retired {}", date_of(ms / 1_000))
                    });
                    say(&format!("{}  made {made}{state}", key.kid));
                }
            }
            Self::Retire(OneKey { folder, kid }) => {
                let order = Order::RetireSigningKey { kid: kid.clone() };
                folder.order(order).await?;
                say(&format!(
                    "key {kid} signs no more; what it has signed stays valid"
                ));
            }
            Self::Remove(OneKey { folder, kid }) => {
                let order = Order::RemoveSigningKey { kid: kid.clone() };
                folder.order(order).await?;
                say(&format!(
                    "key {kid} is gone, and with it every token that it has signed"
                ));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn no_key(data_dir: &Path) -> Failure {
    Failure(format!(
        "there is no key in {}: make one with `tillwatch token key new --data-dir {}`",
        KeyFolder::of(data_dir).path().display(),
        data_dir.display()
    ))
}

pub(super) fn date_of(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

impl Issue {
    async fn run(self) -> Outcome {
        let order = Order::Issue {
            store: self.store,
            terminal: self.terminal,
            valid_s: i64::from(self.days) * DAY_S,
        };
        let made = self.folder.order(order).await?;
        say(&made.secret.unwrap_or_default());
        Ok(ExitCode::SUCCESS)
    }
}

impl Revoke {
    async fn run(self) -> Outcome {
        let before_ms = match self.before.as_str() {
            "now" => None,
            text => {
                let time: Result<jiff::Timestamp, _> = text.parse();
                let time = time.map_err(|error| Failure(format!("--before {text}: {error}")))?;
                Some(time.as_millisecond())
            }
        };
        let (order, what) = match (self.id, self.store) {
            (Some(family), _) => {
                let what = format!("family {family}");
                (Order::RevokeFamily { family }, what)
            }
            (None, Some(store)) => {
                let what = match &self.terminal {
                    Some(terminal) => format!("all tokens of terminal {terminal} of {store}"),
                    None => format!("all tokens of {store}"),
                };
                let order = Order::RevokeBefore {
                    store,
                    terminal: self.terminal,
                    before_ms,
                };
                (order, what)
            }
            (None, None) => {
                return Err(Failure(
                    "name a token (--id) or a store (--store)".to_owned(),
                ));
            }
        };
        let answer = self.folder.order(order).await?;
        // A token says the second of its issue: one that is issued from the next second on is good.
        let now_ms = World::of_machine().clock.now_ms();
        let wait_ms = answer.before_ms.map_or(0, |before_ms| before_ms - now_ms);
        let wait_ms = u64::try_from(wait_ms).unwrap_or(0).min(1_000);
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        say(&format!("revoked {what}"));
        Ok(ExitCode::SUCCESS)
    }
}

async fn list_revoked(folder: &DataDir) -> Outcome {
    let revoked = folder.order(Order::List).await?.revocations;
    if revoked.is_empty() {
        say("nothing is revoked");
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Vec<String>> = revoked
        .into_iter()
        .map(|one| {
            let before = if one.kind == "family" {
                "always".to_owned()
            } else {
                format!("before {}", date_of(one.before_ms / 1_000))
            };
            let name = match one.terminal {
                Some(terminal) => format!("{} {terminal}", one.name),
                None => one.name,
            };
            vec![one.kind, name, before]
        })
        .collect();
    say(&table(&["what", "name", "issued"], &rows));
    Ok(ExitCode::SUCCESS)
}

fn inspect(data_dir: &Path) -> Outcome {
    let token = from_input()?;
    let mut keys = KeyFolder::of(data_dir).keys();
    let looked = keys.look().map_err(|error| Failure::of(&error))?;
    for fault in &looked.faults {
        complain(&Failure::of(fault).to_string());
    }
    let verifying = keys.verifying();
    if verifying.is_empty() {
        return Err(no_key(data_dir));
    }
    let verified = verifying
        .verify(token.trim())
        .map_err(|error| Failure::of(&error))?;
    let claims = &verified.claims;
    let now_s = World::of_machine().clock.now_ms() / 1_000;
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
