//! What really happened in a run: what its collector should claim, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use crate::fleet::Profile;
use crate::report::grouped;
use crate::terminal::{Fate, Story};

/// Tills, losses and errors that are named in a text.
const NAMED_MAX: usize = 5;

/// A till that fell silent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SilentTill {
    /// The till's store.
    pub store_id: String,
    /// The till.
    pub terminal_id: String,
    /// Since when it measures nothing, simulated Unix ms.
    pub since_ms: i64,
}

/// A till that cannot synchronise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StuckTill {
    /// The till's store.
    pub store_id: String,
    /// The till.
    pub terminal_id: String,
    /// Since when it cannot, simulated Unix ms.
    pub since_ms: i64,
    /// How many transactions waited when it last said so and was acknowledged.
    pub pending: u64,
    /// How many it has given up, as far as that was acknowledged.
    pub given_up: u64,
}

/// Batches of neighbouring numbers that a till has lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// The till's store.
    pub store_id: String,
    /// The till.
    pub terminal_id: String,
    /// The queue.
    pub queue: Uuid,
    /// The first number.
    pub from: u64,
    /// The last number.
    pub to: u64,
    /// How many samples they held.
    pub samples: u64,
    /// What became of them.
    pub fate: Fate,
    /// When the first of them was lost, simulated Unix ms.
    pub lost_at_ms: i64,
    /// When the last of those that came late was acknowledged, Unix ms.
    pub came_at_ms: Option<i64>,
    /// Whether the till has said that it dropped them, and that was acknowledged.
    pub is_told: bool,
    /// Whether a later batch of the queue was acknowledged: without one nobody can know that they are missing.
    pub is_noticeable: bool,
}

/// An error that nobody had seen before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NewError {
    /// Sixteen hexadecimal digits.
    pub fingerprint: String,
    /// When it happened first, Unix ms.
    pub first_ms: i64,
    /// In which stores.
    pub stores: BTreeSet<String>,
    /// On how many terminals.
    pub terminals: u64,
    /// How often.
    pub count: u64,
    /// How often in batches of which nobody knows whether they were taken.
    pub unsure: u64,
}

/// One till, with all that is true of it.
#[derive(Debug, Clone)]
pub struct Till {
    /// The position of the till's store.
    pub store: usize,
    /// The till's store.
    pub store_id: String,
    /// The till.
    pub terminal_id: String,
    /// Its queue.
    pub queue: Uuid,
    /// What is true of it.
    pub story: Story,
}

/// What really happened.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Truth {
    /// Tills that fell silent, alone or with their stores.
    pub silent_tills: Vec<SilentTill>,
    /// Tills that cannot synchronise.
    pub stuck_tills: Vec<StuckTill>,
    /// What was lost.
    pub losses: Vec<Loss>,
    /// Errors that nobody had seen before.
    pub new_errors: Vec<NewError>,
    /// Errors that every fleet has.
    pub known_errors: Vec<NewError>,
    /// Every till.
    #[serde(skip)]
    pub tills: Vec<Till>,
}

impl Truth {
    /// What is true of these terminals.
    pub fn of<'p>(terminals: impl IntoIterator<Item = (&'p Profile, Story)>) -> Self {
        let mut truth = Self::default();
        let mut errors: BTreeMap<u64, NewError> = BTreeMap::new();
        let mut new: BTreeSet<u64> = BTreeSet::new();
        for (profile, story) in terminals {
            new.extend(
                profile
                    .new_errors
                    .iter()
                    .map(|(_, fingerprint)| *fingerprint),
            );
            truth.add_till(profile, &story);
            for (fingerprint, happened) in &story.errors {
                let error = errors.entry(*fingerprint).or_insert_with(|| NewError {
                    fingerprint: format!("{fingerprint:016x}"),
                    first_ms: happened.first_ms,
                    ..NewError::default()
                });
                error.first_ms = error.first_ms.min(happened.first_ms);
                error.count += happened.count;
                error.unsure += happened.unsure;
                if happened.count > 0 {
                    error.terminals += 1;
                    error.stores.insert(profile.store_id.clone());
                }
            }
            truth.tills.push(Till {
                store: profile.store,
                store_id: profile.store_id.clone(),
                terminal_id: profile.terminal_id.clone(),
                queue: profile.queue,
                story,
            });
        }
        for (fingerprint, error) in errors {
            if new.contains(&fingerprint) {
                truth.new_errors.push(error);
            } else {
                truth.known_errors.push(error);
            }
        }
        truth
    }

    fn add_till(&mut self, profile: &Profile, story: &Story) {
        let name = || (profile.store_id.clone(), profile.terminal_id.clone());
        if let Some(since_ms) = story.silent_since_ms {
            let (store_id, terminal_id) = name();
            self.silent_tills.push(SilentTill {
                store_id,
                terminal_id,
                since_ms,
            });
        }
        if let Some(since_ms) = story.stuck_since_ms {
            let (store_id, terminal_id) = name();
            self.stuck_tills.push(StuckTill {
                store_id,
                terminal_id,
                since_ms,
                pending: story.pending.map_or(0, |(_, transactions)| transactions),
                given_up: story.given_up,
            });
        }
        for range in &story.ranges {
            let (store_id, terminal_id) = name();
            self.losses.push(Loss {
                store_id,
                terminal_id,
                queue: profile.queue,
                from: range.from,
                to: range.to,
                samples: range.samples,
                fate: range.fate,
                lost_at_ms: range.lost_at_ms,
                came_at_ms: range.came_at_ms,
                is_told: range.is_told,
                is_noticeable: story.highest > Some(range.to),
            });
        }
    }

    /// Whether nothing went wrong.
    pub fn is_calm(&self) -> bool {
        self.silent_tills.is_empty()
            && self.stuck_tills.is_empty()
            && self.losses.is_empty()
            && self.new_errors.is_empty()
    }
}

impl fmt::Display for Truth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line =
            |formatter: &mut fmt::Formatter<'_>, name: &str, count: usize, named: Vec<String>| {
                if count == 0 {
                    return Ok(());
                }
                let more = if count > named.len() { ", …" } else { "" };
                writeln!(
                    formatter,
                    "  {name:<13} {count}: {}{more}",
                    named.join(", ")
                )
            };
        let silent = self.silent_tills.iter().take(NAMED_MAX);
        let silent = silent.map(|till| {
            let since = humantime::format_rfc3339_seconds(at(till.since_ms));
            format!("{} {} since {since}", till.store_id, till.terminal_id)
        });
        line(
            formatter,
            "silent",
            self.silent_tills.len(),
            silent.collect(),
        )?;
        let stuck = self.stuck_tills.iter().take(NAMED_MAX);
        let stuck = stuck.map(|till| {
            format!(
                "{} {} since {} ({} transactions wait, {} given up)",
                till.store_id,
                till.terminal_id,
                humantime::format_rfc3339_seconds(at(till.since_ms)),
                grouped(till.pending),
                grouped(till.given_up)
            )
        });
        line(formatter, "stuck", self.stuck_tills.len(), stuck.collect())?;
        let lost = |fate| self.losses.iter().filter(move |loss| loss.fate == fate);
        for (fate, name) in [
            (Fate::Explained, "lost, told"),
            (Fate::Unexplained, "lost, untold"),
            (Fate::Late, "late"),
        ] {
            let named = lost(fate).take(NAMED_MAX).map(|loss| {
                format!(
                    "{} {} {}..{}",
                    loss.store_id, loss.terminal_id, loss.from, loss.to
                )
            });
            line(formatter, name, lost(fate).count(), named.collect())?;
        }
        let errors = self.new_errors.iter().take(NAMED_MAX);
        let errors = errors.map(|error| {
            format!(
                "{} since {} ({} times, {} stores, {} terminals)",
                error.fingerprint,
                humantime::format_rfc3339_seconds(at(error.first_ms)),
                grouped(error.count),
                error.stores.len(),
                error.terminals
            )
        });
        line(
            formatter,
            "new errors",
            self.new_errors.len(),
            errors.collect(),
        )
    }
}

fn at(ms: i64) -> std::time::SystemTime {
    let since = std::time::Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    std::time::SystemTime::UNIX_EPOCH + since
}
