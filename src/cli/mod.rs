//! The commands.
//!
//! | file | command |
//! |---|---|
//! | `serve.rs` | `serve`, `clickhouse`, `migrate`, `check-config` |
//! | `backup.rs` | `backup`, `restore` |
//! | `store.rs` | `store retire` |
//! | `replay.rs` | `journal replay` |
//! | `query.rs` | `query`: percentiles as a table in the terminal |
//! | `sql.rs` | `sql`: a statement to the engine of a running `serve` |
//! | `sparkline.rs` | a row of windows in a few characters |
//! | `audit/` | `audit`: the ledger against what ClickHouse holds, and repair |
//! | `clock.rs` | `clock show`, `clock accept` |
//! | `token.rs` | `token`: keys that sign tokens of terminals, tokens, and their end |
//! | `sdk.rs` | `sdk`: the terminal's library, and how a page loads it |
//! | `key.rs` | `key`: static keys |
//! | `explain.rs` | `explain`: what became of one batch |
//! | `silent.rs` | `silent`: terminals that should report and do not |
//! | `errors.rs` | `errors`: groups of errors |
//! | `losses.rs` | `losses`: the ledger of losses |
//! | `rollout/` | `rollout`: what a release is judged by, and what the verdict is |
//! | `tap.rs` | `tap`: what arrives and what becomes of it |
//! | `validate.rs` | `validate`: whether a payload would be taken |
//! | `map.rs` | `map test`: what the rules of the settings make of a payload |
//! | `payload.rs` | a payload from a file: read, tried, shown |
//! | `admin.rs` | how a command asks a running collector |
//! | `pseudonym.rs` | `pseudonym`: what a session id is called in the tables |
//! | `journal.rs` | `journal inspect`, `verify`, `adopt`, `abandon` |

#![expect(
    clippy::doc_markdown,
    reason = "these comments are help texts, read in a terminal"
)]

mod admin;
mod audit;
mod backup;
mod clock;
mod journal;
mod errors;
mod explain;
mod key;
mod losses;
mod map;
mod payload;
mod pseudonym;
mod query;
mod replay;
mod rollout;
mod sdk;
mod serve;
mod silent;
mod sourcemaps;
mod sparkline;
mod sql;
mod store;
mod tap;
mod token;
mod validate;

use std::ffi::OsStr;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::{OsStr as Name, Resettable};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use comfy_table::CellAlignment;
use comfy_table::presets::NOTHING;

use crate::logging::{self, Format};
use crate::pipeline;
use crate::progress::Progress;

/// Collects what point-of-sale terminals measure: durable, counted once, true percentiles.
///
/// Terminals post batches to `serve`, which makes them durable before it answers, rolls them up into
/// HdrHistograms, ships those to ClickHouse and exports Prometheus series.
#[derive(Debug, Parser)]
#[command(name = "tillwatch", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the collector. Without --clickhouse-url it runs the embedded ClickHouse engine beside it.
    Serve(Box<serve::Serve>),
    /// Run the embedded ClickHouse engine alone, with ClickHouse's HTTP interface.
    Clickhouse(serve::Clickhouse),
    /// Make the database and its tables, or bring them forward. `serve` does so by itself.
    Migrate(Box<serve::Migrate>),
    /// Check a configuration file and print what it comes to.
    CheckConfig(Box<serve::CheckConfig>),
    /// Print percentiles from a running collector as a table.
    Query(Box<query::Query>),
    /// Run an SQL statement on the embedded engine of a running collector.
    Sql(sql::Sql),
    /// Compare the ledger of epochs with what ClickHouse holds, by epoch and day.
    Audit(Box<audit::Audit>),
    /// Copy the state of a collector, which may be running, into a new folder.
    Backup(backup::Backup),
    /// Put a backup into a new data folder, under a new collector id.
    Restore(Box<backup::Restore>),
    /// Act on one store of a running collector.
    #[command(subcommand)]
    Store(store::Store),
    /// Say that the clock of a running collector is right, or ask what it takes for the time.
    #[command(subcommand)]
    Clock(clock::Clock),
    /// Make, list and revoke the tokens with which terminals show who they are, and the keys that sign them.
    #[command(subcommand)]
    Token(token::Token),
    /// Make, list and revoke keys for servers that post, and for whoever scrapes, asks or operates.
    #[command(subcommand)]
    Key(key::Key),
    /// Say what became of one batch, sample by sample while the journal has it.
    Explain(explain::Explain),
    /// List what goes wrong in the fleet: groups of errors, or one of them with its frames.
    Errors(errors::Errors),
    /// Keep the source maps of releases, so that errors show where they were in the sources.
    #[command(subcommand)]
    Sourcemaps(sourcemaps::Sourcemaps),
    /// List what terminals numbered or dropped and the collector does not have: open, lost, explained, or come since.
    Losses(losses::Losses),
    /// List terminals that should report by their own habit and do not, those that hold sales first.
    Silent(silent::Silent),
    /// Judge a release that is rolled out step by step.
    #[command(subcommand)]
    Rollout(rollout::Rollout),
    /// Watch what arrives at a running collector and what becomes of it.
    Tap(tap::Tap),
    /// Say whether a payload in a file would be taken, and what is wrong with it, on which line.
    Validate(Box<validate::Validate>),
    /// Try out what the names of foreign clients mean ([[map]] in the settings).
    #[command(subcommand)]
    Map(map::Map),
    /// Print the lines with which a page loads the terminal's library, or the library.
    Sdk(sdk::Sdk),
    /// Print a script with which a shell completes the commands.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the pseudonyms of session ids on a day, from the key in the data folder.
    Pseudonym(pseudonym::Pseudonym),
    /// Look into the journal of a data folder, without changing it.
    #[command(subcommand)]
    Journal(journal::Journal),
    /// Post as a fleet of terminals would, and compare what is stored with what was measured.
    Simulate(Box<tillwatch_simulate::Options>),
}

impl Command {
    /// Whether it makes files that hold what terminals sent, or keys.
    fn keeps_data(&self) -> bool {
        matches!(
            self,
            Self::Serve(_)
                | Self::Clickhouse(_)
                | Self::Migrate(_)
                | Self::Audit(_)
                | Self::Backup(_)
                | Self::Restore(_)
                | Self::Pseudonym(_)
                | Self::Journal(_)
                | Self::Token(_)
                | Self::Sourcemaps(_)
                | Self::Key(_)
        )
    }
}

/// Why a command failed: one line, with its causes, for the terminal.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failure(String);

impl Failure {
    fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        Self(logging::chain(error))
    }
}

type Outcome = Result<ExitCode, Failure>;

/// Threads beside the workers, for what blocks and for long bodies. Under load the runtime's own limit, 512, is used
/// up, and each thread keeps a stock of large blocks in the allocator: gigabytes. Unit: threads.
fn blocking_threads_max() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    16 + 2 * processors
}

/// How long work that blocks may go on after everything else has ended.
const BLOCKED_MAX: Duration = Duration::from_millis(300);

/// An empty variable is as good as none: it is how a service manager or a compose file leaves one out.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    command
        .mut_args(|argument| match argument.get_env() {
            Some(name) if is_empty(name) => argument.env(Resettable::<Name>::Reset),
            _ => argument,
        })
        .mut_subcommands(without_empty_variables)
}

/// Reads the command line, runs the command, and says what became of it.
#[must_use]
pub fn main() -> ExitCode {
    let line = without_empty_variables(Arguments::command()).get_matches();
    let arguments = Arguments::from_arg_matches(&line).unwrap_or_else(|error| error.exit());
    // The one provider of cryptography for every client and listener; nobody else installs another.
    let _is_second = rustls::crypto::ring::default_provider().install_default();
    if arguments.command.keeps_data() {
        pipeline::keep_to_oneself();
    }
    if let Command::Clickhouse(clickhouse) = &arguments.command
        && let Err(failure) = clickhouse.prepare()
    {
        complain(&format!("tillwatch: {failure}"));
        return ExitCode::FAILURE;
    }
    let outcome = match tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(blocking_threads_max())
        .enable_all()
        .build()
    {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(arguments.command));
            // What still blocks then hangs: a disk, as a rule.
            runtime.shutdown_timeout(BLOCKED_MAX);
            outcome
        }
        Err(error) => Err(Failure::of(&error)),
    };
    outcome.unwrap_or_else(|failure| {
        complain(&format!("tillwatch: {failure}"));
        ExitCode::FAILURE
    })
}

async fn run(command: Command) -> Outcome {
    match command {
        Command::Serve(serve) => Box::pin(serve.run()).await,
        Command::Clickhouse(clickhouse) => clickhouse.run().await,
        Command::Migrate(migrate) => migrate.run().await,
        Command::CheckConfig(check) => check.run(),
        Command::Query(query) => query.run().await,
        Command::Sql(sql) => sql.run().await,
        Command::Audit(audit) => audit.run().await,
        Command::Pseudonym(pseudonym) => pseudonym.run(),
        Command::Backup(backup) => backup.run().await,
        Command::Restore(restore) => restore.run().await,
        Command::Store(store) => store.run().await,
        Command::Clock(clock) => clock.run().await,
        Command::Token(token) => token.run().await,
        Command::Key(key) => key.run().await,
        Command::Explain(explain) => explain.run().await,
        Command::Errors(errors) => errors.run().await,
        Command::Sourcemaps(sourcemaps) => sourcemaps.run().await,
        Command::Losses(losses) => losses.run().await,
        Command::Silent(silent) => silent.run().await,
        Command::Rollout(rollout) => rollout.run().await,
        Command::Tap(tap) => tap.run().await,
        Command::Validate(validate) => validate.run(),
        Command::Map(map) => map.run(),
        Command::Sdk(sdk) => sdk.run(),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            let mut command = Arguments::command();
            clap_complete::generate(shell, &mut command, "tillwatch", &mut script);
            say(String::from_utf8_lossy(&script).trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Command::Journal(journal) => journal.run().await,
        Command::Simulate(options) => {
            logging::init(Format::Text, "warn");
            // A scenario's options come before those that were given.
            let words = std::env::args_os()
                .skip_while(|word| word != "simulate")
                .skip(1);
            let mut options = options
                .with_preset(words)
                .map_err(|error| Failure::of(&error))?;
            if !options.quiet {
                options.display = Some(|| Box::new(Progress::new()));
            }
            let is_json = options.json;
            let report = tillwatch_simulate::run(options)
                .await
                .map_err(|error| Failure::of(&error))?;
            let text = if is_json {
                report.to_json().map_err(|error| Failure::of(&error))?
            } else {
                report.to_string()
            };
            say(&text);
            Ok(if report.is_good {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
    }
}

/// Prints a line to standard output; a closed pipe is no error.
fn say(line: &str) {
    use std::io::Write;
    let _closed = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints a line to standard error.
fn complain(line: &str) {
    use std::io::Write;
    let _closed = writeln!(std::io::stderr().lock(), "{line}");
}

/// Rows in columns: the first left, the others right aligned.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(NOTHING).set_header(head).add_rows(rows);
    for (at, column) in table.column_iter_mut().enumerate() {
        if at == 0 {
            column.set_padding((0, 0));
        } else {
            column.set_padding((2, 0));
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}
