//! The terminals' queues, kept from run to run as a terminal's own storage keeps them.
//!
//! A collector remembers sixteen queues of a terminal, so it would soon refuse a fleet that begins new
//! queues at every run. The file says where each queue stands, and is marked as in use during a run. If a
//! run finds the mark, the run before was cut off and nobody knows what it sent last. Every terminal then
//! begins a new queue, like a terminal that lost its storage.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Queues that a terminal may begin; the collector remembers sixteen.
const GENERATIONS_MAX: u32 = 15;

/// The file's layout.
const VERSION: u32 = 1;

/// Where one terminal's queue stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// How many queues the terminal began before.
    pub generation: u32,
    /// The number of the queue's next batch.
    pub next_seq: u64,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            generation: 0,
            next_seq: 1,
        }
    }
}

/// The queues of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queues {
    version: u32,
    /// What the queues' names are made from, with the seed.
    pub run_id: String,
    /// Whether a run uses the queues.
    is_in_use: bool,
    /// The places of the terminals' queues, by terminal.
    pub places: Vec<Place>,
}

/// Why the queues cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum QueuesError {
    /// The file cannot be read or written.
    #[error("could not use the queues in {file}")]
    File {
        /// The file.
        file: PathBuf,
        /// Why the file could not be read or written.
        #[source]
        source: std::io::Error,
    },
    /// The file is none of ours.
    #[error("{file} does not hold a fleet's queues; remove it to begin new ones")]
    Content {
        /// The file.
        file: PathBuf,
        /// Why the text cannot be read.
        #[source]
        source: serde_json::Error,
    },
    /// A later release wrote the file.
    #[error("{0} was written by a later release; use that, or remove it to begin new queues")]
    Version(PathBuf),
    /// A terminal would need more queues than a collector remembers.
    #[error(
        "the fleet in {0} was cut off {GENERATIONS_MAX} times, and a collector remembers 16 queues of a \
         terminal for nine days; remove the file and use another --store-prefix or an empty data folder"
    )]
    TooMany(PathBuf),
}

impl Queues {
    /// New queues under this name.
    pub fn new(run_id: String) -> Self {
        Self {
            version: VERSION,
            run_id,
            is_in_use: true,
            places: Vec::new(),
        }
    }

    /// The queues of so many terminals in a file, or new ones under this name; marked as in use.
    ///
    /// # Errors
    /// When the file cannot be used, or when the terminals have begun too many queues.
    pub fn take(file: &Path, run_id: String, terminals: usize) -> Result<Self, QueuesError> {
        let failed = |source| QueuesError::File {
            file: file.to_owned(),
            source,
        };
        let mut queues = match std::fs::read(file) {
            Ok(bytes) => {
                let queues: Self =
                    serde_json::from_slice(&bytes).map_err(|source| QueuesError::Content {
                        file: file.to_owned(),
                        source,
                    })?;
                if queues.version != VERSION {
                    return Err(QueuesError::Version(file.to_owned()));
                }
                queues
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut queues = Self::new(run_id);
                queues.is_in_use = false;
                queues
            }
            Err(error) => return Err(failed(error)),
        };
        // Before they are marked: whatever a run may begin stands in the file while it lasts.
        if queues.places.len() < terminals {
            queues.places.resize(terminals, Place::default());
        }
        if queues.is_in_use {
            queues.places.iter_mut().for_each(Place::begin_anew);
        }
        if queues
            .places
            .iter()
            .any(|place| place.generation > GENERATIONS_MAX)
        {
            return Err(QueuesError::TooMany(file.to_owned()));
        }
        queues.is_in_use = true;
        queues.write(file)?;
        Ok(queues)
    }

    /// Gives them back: where they stand now.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn give_back(&mut self, file: &Path) -> Result<(), QueuesError> {
        self.is_in_use = false;
        self.write(file)
    }

    /// Written beside the file and renamed, so that it is whole whenever the run ends.
    fn write(&self, file: &Path) -> Result<(), QueuesError> {
        let write = || -> std::io::Result<()> {
            let beside = file.with_extension("new");
            std::fs::write(&beside, serde_json::to_vec(self)?)?;
            std::fs::rename(&beside, file)
        };
        write().map_err(|source| QueuesError::File {
            file: file.to_owned(),
            source,
        })
    }
}

impl Place {
    /// A new queue.
    pub fn begin_anew(&mut self) {
        self.generation += 1;
        self.next_seq = 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_go_on_and_begin_anew_after_a_cut() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("queues.json");
        let mut queues = Queues::take(&file, "one".to_owned(), 2).unwrap();
        queues.places[1].next_seq = 41;
        queues.give_back(&file).unwrap();

        let again = Queues::take(&file, "two".to_owned(), 3).unwrap();
        assert_eq!(again.run_id, "one");
        assert_eq!(again.places[..2], queues.places);
        assert_eq!(again.places[2], Place::default());

        // Not given back: it was cut off, and may have sent anything.
        for generation in 1..=GENERATIONS_MAX {
            let cut = Queues::take(&file, "three".to_owned(), 3).unwrap();
            let place = Place {
                generation,
                next_seq: 1,
            };
            assert_eq!(cut.places, [place; 3]);
        }
        let error = Queues::take(&file, "four".to_owned(), 3).unwrap_err();
        assert!(matches!(error, QueuesError::TooMany(_)), "{error}");
        std::fs::write(&file, "{}").unwrap();
        let error = Queues::take(&file, "five".to_owned(), 3).unwrap_err();
        assert!(matches!(error, QueuesError::Content { .. }), "{error}");
    }
}
