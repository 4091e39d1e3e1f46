//! A payload from a file: read, tried, and shown number by number.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use tillwatch_model::{Catalogue, Reason};

use crate::cli::{Failure, Outcome, say, table};
use crate::config::Config;
use crate::doors::codings::Packing;
use crate::doors::otlp::Encoding;
use crate::doors::terminal_v1;
use crate::doors::trial::{By, Format, Item, Trial, shown, trial};
use crate::pipeline;
use crate::world::World;

/// How long a payload may be, as it lies in the file and unpacked. Unit: bytes.
const BYTES_MAX: u64 = 64 << 20;
/// Faults that are shown.
const SHOWN_MAX: usize = 200;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The format; without this option it is recognised by what the payload begins with.
    #[arg(long, value_enum)]
    format: Option<Named>,
    /// When the payload arrives, as RFC 3339 (2026-01-31T12:00:00Z); without this option when it says that it was sent, else now.
    #[arg(long, value_name = "TIME")]
    received_at: Option<jiff::Timestamp>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Named {
    Native,
    Messagepack,
    Legacy,
    Faro,
    Otlp,
    OtlpProtobuf,
}

impl From<Named> for Format {
    fn from(named: Named) -> Self {
        match named {
            Named::Native => Self::Native(terminal_v1::Format::Json),
            Named::Messagepack => Self::Native(terminal_v1::Format::MessagePack),
            Named::Legacy => Self::Legacy,
            Named::Faro => Self::Faro,
            Named::Otlp => Self::Otlp(Encoding::Json),
            Named::OtlpProtobuf => Self::Otlp(Encoding::Protobuf),
        }
    }
}

impl Options {
    /// Tries a payload of `path` (`-` is standard input), with the settings, and prints what would become of it.
    pub(super) fn try_out(&self, path: &Path, config: &Config, shows_all: bool) -> Outcome {
        let body = read(path)?;
        let format = self.format.map_or_else(|| Format::of(&body), Format::from);
        let own = config.declared.own_metrics().cloned().collect();
        let by = By {
            rules: &pipeline::door_rules(config),
            catalogue: &Catalogue::with_own(own, Vec::new()),
            limits: pipeline::door_limits(config),
            histogram_values_per_s: config.requests.histogram_values_per_s as u64,
            now_ms: World::of_machine().clock.now_ms(),
            received_at_ms: self.received_at.map(|time| time.as_millisecond()),
        };
        say(&format!("This is {}.", format.name()));
        let trial = trial(&body, format, by).map_err(|refusal| {
            let why: String = refusal
                .to_string()
                .chars()
                .filter(|c| !c.is_control())
                .collect();
            Failure(format!("it would be refused whole: {why}"))
        })?;
        names(&trial);
        items(&trial, shows_all);
        Ok(summary(&trial))
    }
}

/// Reads a payload, and unpacks it if it is gzip.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed =
        |error: std::io::Error| Failure(format!("could not read {}: {error}", path.display()));
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(path).map_err(failed)?)
    };
    let mut body = Vec::new();
    source
        .take(BYTES_MAX + 1)
        .read_to_end(&mut body)
        .map_err(failed)?;
    let most = usize::try_from(BYTES_MAX).unwrap_or(usize::MAX);
    if body.len() > most {
        return Err(Failure(format!(
            "{} is over {BYTES_MAX} bytes",
            path.display()
        )));
    }
    if !body.starts_with(&[0x1f, 0x8b]) {
        return Ok(body);
    }
    let unpacked = Packing::GZIP.open(body.into(), most, |_| false);
    let unpacked = unpacked.map_err(|refusal| Failure(refusal.to_string()))?;
    Ok(unpacked.body.into())
}

/// What became of foreign names.
fn names(trial: &Trial) {
    let rows: Vec<Vec<String>> = trial
        .heard
        .iter()
        .map(|(name, (times, meaning))| {
            let (metric, by) = match meaning {
                Some((metric, Some(rule))) => (metric.clone(), format!("the rule {rule:?}")),
                Some((metric, None)) => (metric.clone(), "the catalogue".to_owned()),
                None => ("(none)".to_owned(), "no rule and no metric".to_owned()),
            };
            vec![shown(name), metric, by, times.to_string()]
        })
        .collect();
    if !rows.is_empty() {
        say(&format!(
            "\n{}",
            table(&["name", "metric", "because of", "times"], &rows)
        ));
    }
}

fn items(trial: &Trial, shows_all: bool) {
    let is_shown = |item: &&Item| shows_all || item.rejected.is_some() || !item.ignored.is_empty();
    let shown: Vec<&Item> = trial.items.iter().filter(is_shown).collect();
    let rows: Vec<Vec<String>> = shown
        .iter()
        .take(SHOWN_MAX)
        .map(|item| {
            let verdict = match item.rejected {
                Some(reason) => reason.name().to_owned(),
                None if item.ignored.is_empty() => "accepted".to_owned(),
                None => item.ignored.join(", "),
            };
            let line = item.line.map_or(String::new(), |line| line.to_string());
            let place = if item.place.is_empty() {
                "(all)"
            } else {
                &item.place
            };
            let texts = [place, &line, &item.name, &item.value, &item.label, &verdict];
            texts.map(str::to_owned).to_vec()
        })
        .collect();
    if !rows.is_empty() {
        say(&format!(
            "\n{}",
            table(
                &["place", "line", "name", "value", "label", "outcome"],
                &rows
            )
        ));
    }
    if shown.len() > SHOWN_MAX {
        say(&format!("… and {} more", shown.len() - SHOWN_MAX));
    }
}

/// What the reasons mean, and how much would be taken.
fn summary(trial: &Trial) -> ExitCode {
    let mut reasons: Vec<Reason> = trial
        .items
        .iter()
        .filter_map(|item| item.rejected)
        .collect();
    reasons.sort_by_key(|reason| reason.code());
    reasons.dedup();
    if !reasons.is_empty() {
        say("");
    }
    for reason in &reasons {
        say(&format!("{}: {}", reason.name(), reason.message()));
    }
    if reasons.contains(&Reason::TooOld) || reasons.contains(&Reason::InFuture) {
        say("Times were held against the time of arrival; --received-at says another one.");
    }
    if trial.unknown_keys > 0 {
        say(&format!(
            "\n{} keys mean nothing in this format and would be passed over.",
            trial.unknown_keys
        ));
    }
    let outcomes = trial.outcomes;
    say(&format!(
        "\n{} would be accepted, {} rejected.",
        outcomes.accepted, outcomes.rejected
    ));
    if outcomes.rejected == 0 && outcomes.accepted > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Where `-` stands for standard input.
pub(super) fn standard_input() -> PathBuf {
    PathBuf::from("-")
}
