//! `sourcemaps`: what minified frames were.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::admin::DataDir;
use crate::cli::{Failure, Outcome, complain, say, table};
use crate::clock::time_text;
use crate::source_maps::{Release, SourceMaps};

#[derive(Debug, Subcommand)]
pub(super) enum Sourcemaps {
    /// Keep the source maps of a release's build. From then on `errors FINGERPRINT` shows frames as they were in the sources.
    ///
    /// The collector may be running. Texts of sources are left out of what is kept. Maps of a release that has some are added to
    /// them, and replace those of the same name.
    Add(Add),
    /// List the releases that have source maps, the last added first.
    List(DataDir),
    /// Take away the source maps of a release.
    Remove(OneRelease),
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// The release, as terminals name it.
    release: String,
    /// Folder of the build: every script in it and below that has a map, beside it or inside it.
    #[arg(value_name = "DIR")]
    build: PathBuf,
    #[command(flatten)]
    folder: DataDir,
}

#[derive(Debug, Args)]
pub(super) struct OneRelease {
    /// The release, as `sourcemaps list` names it.
    release: String,
    #[command(flatten)]
    folder: DataDir,
}

/// Scripts that are named.
const NAMED_MAX: usize = 20;

impl Sourcemaps {
    pub(super) async fn run(self) -> Outcome {
        let done = tokio::task::spawn_blocking(move || match self {
            Self::Add(add) => add.run(),
            Self::List(folder) => list(&folder),
            Self::Remove(one) => one.run(),
        });
        done.await.map_err(|error| Failure::of(&error))?
    }
}

impl Add {
    fn run(self) -> Outcome {
        let maps = SourceMaps::of(&self.folder.data_dir);
        let added = maps.add(&self.release, &self.build);
        let added = added.map_err(|error| Failure::of(&error))?;
        for left_out in &added.left_out {
            complain(&format!(
                "left out: {}: {}",
                left_out.path.display(),
                left_out.why
            ));
        }
        let count = added.scripts.len();
        let mut names: Vec<&str> = added.scripts.iter().map(String::as_str).collect();
        names.truncate(NAMED_MAX);
        if names.len() < count {
            names.push("…");
        }
        say(&format!(
            "{}: {count} source map{} kept ({} kB): {}",
            self.release,
            if count == 1 { "" } else { "s" },
            added.bytes.div_ceil(1_000),
            names.join(", ")
        ));
        if !added.removed.is_empty() {
            say(&format!(
                "The maps of {} were taken away: those of the last hundred releases are kept.",
                added.removed.join(", ")
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list(folder: &DataDir) -> Outcome {
    let releases = SourceMaps::of(&folder.data_dir).list();
    let releases = releases.map_err(|error| Failure::of(&error))?;
    if releases.is_empty() {
        say(
            "No release has source maps; `tillwatch sourcemaps add RELEASE DIR` keeps those of a build.",
        );
        return Ok(ExitCode::SUCCESS);
    }
    let row = |release: &Release| {
        vec![
            release.name.clone(),
            release.maps.to_string(),
            release.bytes.div_ceil(1_000).to_string(),
            time_text(release.added_ms),
        ]
    };
    let rows: Vec<Vec<String>> = releases.iter().map(row).collect();
    say(&table(&["release", "maps", "kB", "added"], &rows));
    Ok(ExitCode::SUCCESS)
}

impl OneRelease {
    fn run(self) -> Outcome {
        let removed = SourceMaps::of(&self.folder.data_dir).remove(&self.release);
        removed.map_err(|error| Failure::of(&error))?;
        say(&format!(
            "The source maps of {} were taken away.",
            self.release
        ));
        Ok(ExitCode::SUCCESS)
    }
}
