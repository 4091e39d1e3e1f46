//! `journal inspect`, `verify`, `adopt`, `abandon`; `journal replay` is in `replay.rs`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use tillwatch_journal::{Position, Verification, holder, inspect, verify_with};

use crate::cli::replay::Replay;
use crate::cli::{Failure, Outcome, say};
use crate::persist::identity::{Belonging, look};
use crate::pipeline::{self, ServeError, check_belonging, journal_dir};
use crate::progress::Progress;
use crate::world::World;

#[derive(Debug, Subcommand)]
pub(super) enum Journal {
    /// List the segments and what is in them.
    Inspect(Folder),
    /// Read every record; fails when acknowledged records are damaged or missing, and when the journal is
    /// not there.
    Verify(Folder),
    /// Let a new state file take over the journal beside it, after the old one was lost: what no state file
    /// had sealed is read at the next start. Stop `serve` first.
    Adopt(Folder),
    /// Let the state file go on without its journal, after that was lost: notes what is lost, and sets aside
    /// what there is. Stop `serve` first.
    Abandon(Folder),
    /// Replay a journal that is not in use into a new database, to look at what it holds.
    Replay(Box<Replay>),
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

impl Journal {
    pub(super) async fn run(self) -> Outcome {
        match self {
            Self::Replay(replay) => replay.run().await,
            Self::Inspect(folder) => {
                let dir = folder.data_dir.join("journal");
                for segment in inspect(&*World::of_machine().disk, &dir)
                    .map_err(|error| Failure::of(&error))?
                {
                    say(&format!(
                        "{:?}",
                        segment.map_err(|error| Failure::of(&error))?
                    ));
                }
                Ok(ExitCode::SUCCESS)
            }
            Self::Verify(folder) => verify(&folder.data_dir),
            Self::Adopt(folder) => adopt(&folder.data_dir),
            Self::Abandon(folder) => abandon(&folder.data_dir),
        }
    }
}

/// How often a journal in use is read again when it seems damaged: what is sealed meanwhile looks missing.
const TRIES: usize = 3;

fn verify(data_dir: &Path) -> Outcome {
    let fail = |error: &ServeError| Failure::of(error);
    let known = look(data_dir).map_err(|error| Failure::of(&error))?;
    if let Some(known) = known {
        check_belonging(known, data_dir, &World::of_machine()).map_err(|error| fail(&error))?;
    } else {
        say(
            "There is no state file beside the journal: everything before its first segment is taken to be at rest.",
        );
    }
    let verification = verified(data_dir, known)?;
    for line in describe(&verification) {
        say(&line);
    }
    Ok(if verification.is_intact() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Reads the journal of a data folder, as its state file would have it opened.
pub(super) fn verified(data_dir: &Path, known: Option<Belonging>) -> Result<Verification, Failure> {
    let dir = journal_dir(data_dir);
    let mut known = known;
    let mut tries = 0;
    loop {
        let applied = known.map(|known| Position(known.applied));
        let mut progress = Progress::new();
        let verification = verify_with(
            &*World::of_machine().disk,
            &dir,
            applied,
            &mut |done, all| {
                progress.step("verify", done, all, "segments");
            },
        )
        .map_err(|error| Failure::of(&error))?;
        progress.finish();
        tries += 1;
        let is_in_use = holder(&dir).is_ok_and(|holder| holder.is_some());
        if verification.is_intact() || !is_in_use || tries >= TRIES {
            return Ok(verification);
        }
        known = look(data_dir).map_err(|error| Failure::of(&error))?;
    }
}

/// What a journal holds and lacks, for people.
pub(super) fn describe(found: &Verification) -> Vec<String> {
    let range = found.range.map_or_else(String::new, |(first, last)| {
        format!(", positions {first} to {last}")
    });
    let mut lines = vec![format!(
        "journal: {} segments, {} records that are not sealed{range}, durable up to position {}",
        found.segments, found.records, found.durable
    )];
    let mut say_if = |number: u64, text: &str| {
        if number > 0 {
            lines.push(format!("journal: {number} {text}"));
        }
    };
    say_if(
        found.torn.records,
        "records of a torn end, never acknowledged",
    );
    say_if(
        found.damaged.records,
        "acknowledged records LOST: unreadable or not there",
    );
    say_if(found.damaged.bytes, "bytes of them unreadable");
    say_if(
        found.damaged_applied_records,
        "records unreadable, but sealed before",
    );
    say_if(found.missing_segments, "segments MISSING");
    say_if(
        found.damaged_headers,
        "segments DAMAGED: their head cannot be read, or is that of another",
    );
    say_if(
        found.short_segments,
        "segments DAMAGED: shorter than they were made",
    );
    if found.is_note_unusable {
        lines.push(
            "journal: the note beside its folder cannot be used; whether its end is missing is not known".to_owned(),
        );
    }
    let verdict = if found.is_intact() {
        "journal: intact"
    } else {
        "journal: DAMAGED"
    };
    lines.push(verdict.to_owned());
    lines
}

fn adopt(data_dir: &Path) -> Outcome {
    let adopted =
        pipeline::adopt(data_dir, &World::of_machine()).map_err(|error| Failure::of(&error))?;
    if adopted.is_noted {
        say(&format!(
            "The state file goes with the journal now. Records up to position {} had been sealed by another state file \
             and are not read: what it had shipped is in ClickHouse under its collector id, the rest went with it.",
            adopted.sealed
        ));
    } else {
        say(
            "The state file goes with the journal now. Nothing tells what another state file had sealed of it: all of it is read, and what had been shipped counts twice.",
        );
    }
    say(&format!(
        "{} records wait for the next start. What terminals send again of what was sealed counts again.",
        adopted.records
    ));
    Ok(ExitCode::SUCCESS)
}

fn abandon(data_dir: &Path) -> Outcome {
    let abandoned =
        pipeline::abandon(data_dir, &World::of_machine()).map_err(|error| Failure::of(&error))?;
    match abandoned.lost {
        Some((first, last)) => say(&format!(
            "Lost: what was acknowledged from position {first} to {last}, and what came after; {} records at least. It is noted; `tillwatch \
             audit` lists it.",
            last - first + 1
        )),
        None => say(
            "Nothing is known to be lost: all that the journal is known to have held was sealed.",
        ),
    }
    if let Some(aside) = abandoned.aside {
        say(&format!(
            "The journal lies in {} now; look into it: tillwatch journal replay --journal {}",
            aside.display(),
            aside.display()
        ));
    }
    say("The next start makes a new journal.");
    Ok(ExitCode::SUCCESS)
}
