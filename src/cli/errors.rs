//! `errors`: groups of errors.

use std::process::ExitCode;

use clap::Args;
use tillwatch_model::time::wall_ms;

use crate::cli::admin::Admin;
use crate::cli::query::time;
use crate::cli::{Failure, Outcome, say, table};
use crate::clock::time_text;

#[derive(Debug, Args)]
pub(super) struct Errors {
    /// One group, by its fingerprint: its frames, releases, stores and some of its terminals.
    fingerprint: Option<String>,
    /// Only this release.
    #[arg(long)]
    release: Option<String>,
    /// Only this store.
    #[arg(long = "store", alias = "store-id", value_name = "STORE_ID")]
    store_id: Option<String>,
    /// Count from: how long ago (1h, 7d), or Unix milliseconds.
    #[arg(long, default_value = "1d", value_name = "TIME")]
    since: String,
    /// What comes first: count, first_seen or stores.
    #[arg(
        long,
        default_value = "count",
        value_name = "WHAT",
        conflicts_with = "fingerprint"
    )]
    order_by: String,
    /// At most so many groups.
    #[arg(long, default_value_t = 20, conflicts_with = "fingerprint")]
    limit: u8,
    /// Print the answer as it came.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: Admin,
}

#[derive(serde::Deserialize)]
struct Answer {
    is_whole: bool,
    groups: Vec<Group>,
}

#[derive(serde::Deserialize)]
struct Group {
    fingerprint: String,
    #[serde(rename = "type")]
    type_name: String,
    message: String,
    count: u64,
    fatal: u64,
    first_seen: i64,
    last_seen: i64,
    stores: u64,
    terminals: u64,
    releases: Vec<String>,
}

#[derive(serde::Deserialize)]
struct OneGroup {
    #[serde(flatten)]
    group: Group,
    frames: Vec<Frame>,
    frames_release: String,
    by_release: Vec<Part>,
    by_store: Vec<Part>,
    some_terminals: Vec<Terminal>,
}

#[derive(serde::Deserialize)]
struct Frame {
    #[serde(rename = "fn", default)]
    function: String,
    #[serde(default)]
    module: String,
    line: Option<u32>,
    col: Option<u32>,
    original: Option<Original>,
}

/// Where a frame was in the sources.
#[derive(serde::Deserialize)]
struct Original {
    source: String,
    line: u32,
    col: u32,
    #[serde(rename = "fn")]
    function: Option<String>,
}

impl Frame {
    fn text(&self) -> String {
        let built = self.built();
        let Some(original) = &self.original else {
            return built;
        };
        let function = original.function.as_ref().unwrap_or(&self.function);
        let (line, col) = (original.line, original.col);
        format!("{function} {}:{line}:{col}  ({built})", original.source)
    }

    /// The frame as the browser had it.
    fn built(&self) -> String {
        let place =
            |number: Option<u32>| number.map_or(String::new(), |number| format!(":{number}"));
        let function = if self.function.is_empty() {
            "(anonymous)"
        } else {
            &self.function
        };
        let (line, column) = (place(self.line), place(self.col));
        format!("{function} {}{line}{column}", self.module)
    }
}

#[derive(serde::Deserialize)]
struct Part {
    release: Option<String>,
    store_id: Option<String>,
    count: u64,
}

#[derive(serde::Deserialize)]
struct Terminal {
    store_id: String,
    terminal_id: String,
}

/// Characters of a message in the table.
const MESSAGE_CHARS: usize = 60;

impl Group {
    fn row(&self) -> Vec<String> {
        let said: String = if self.message.is_empty() {
            self.type_name.clone()
        } else {
            format!("{}: {}", self.type_name, self.message)
        };
        let mut short: String = said.chars().take(MESSAGE_CHARS).collect();
        if short.len() < said.len() {
            short.push('…');
        }
        vec![
            format!("{} {short}", self.fingerprint),
            self.count.to_string(),
            self.fatal.to_string(),
            self.stores.to_string(),
            self.terminals.to_string(),
            time_text(self.first_seen),
            time_text(self.last_seen),
            self.releases.join(", "),
        ]
    }
}

const HEAD: [&str; 8] = [
    "error",
    "count",
    "fatal",
    "stores",
    "tills",
    "first seen",
    "last seen",
    "releases",
];

impl Errors {
    pub(super) async fn run(self) -> Outcome {
        let mut parameters = vec![("since", time(&self.since, wall_ms())?.to_string())];
        for (name, value) in [("release", &self.release), ("store_id", &self.store_id)] {
            if let Some(value) = value {
                parameters.push((name, value.clone()));
            }
        }
        let Some(fingerprint) = &self.fingerprint else {
            parameters.push(("order_by", self.order_by.clone()));
            parameters.push(("limit", self.limit.to_string()));
            let text = self.admin.query("/api/v1/errors", &parameters).await?;
            if self.json {
                say(&text);
                return Ok(ExitCode::SUCCESS);
            }
            let answer: Answer =
                serde_json::from_str(&text).map_err(|error| Failure::of(&error))?;
            if answer.groups.is_empty() {
                say("No errors were reported in this time.");
                return Ok(ExitCode::SUCCESS);
            }
            let rows: Vec<Vec<String>> = answer.groups.iter().map(Group::row).collect();
            say(&table(&HEAD, &rows));
            if !answer.is_whole {
                say("There are more; --limit shows them.");
            }
            return Ok(ExitCode::SUCCESS);
        };
        let is_one =
            fingerprint.len() == 16 && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_one {
            return Err(Failure(format!(
                "{fingerprint:?} is no fingerprint: it has 16 digits of 0-9 a-f"
            )));
        }
        let path = format!("/api/v1/errors/{fingerprint}");
        let text = self.admin.query(&path, &parameters).await?;
        if self.json {
            say(&text);
            return Ok(ExitCode::SUCCESS);
        }
        let one: OneGroup = serde_json::from_str(&text).map_err(|error| Failure::of(&error))?;
        say(&format!("{}: {}\n", one.group.type_name, one.group.message));
        for frame in &one.frames {
            say(&format!("    at {}", frame.text()));
        }
        let is_unmapped = |frame: &Frame| frame.line.is_some() && frame.original.is_none();
        if one.frames.iter().any(is_unmapped) {
            say(&format!(
                "\nThere are no source maps of all frames; `tillwatch sourcemaps add {} DIR` keeps those of a build.",
                one.frames_release
            ));
        }
        say(&format!("\n{}", table(&HEAD, &[one.group.row()])));
        for (what, parts) in [("release", &one.by_release), ("store", &one.by_store)] {
            let row = |part: &Part| {
                let name = part.release.as_ref().or(part.store_id.as_ref());
                vec![name.cloned().unwrap_or_default(), part.count.to_string()]
            };
            let rows: Vec<Vec<String>> = parts.iter().map(row).collect();
            say(&format!("\n{}", table(&[what, "count"], &rows)));
        }
        let terminals = one.some_terminals.iter();
        let terminals: Vec<String> = terminals
            .map(|terminal| format!("{} {}", terminal.store_id, terminal.terminal_id))
            .collect();
        if !terminals.is_empty() {
            say(&format!(
                "\nSome of the terminals: {}",
                terminals.join(", ")
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}
