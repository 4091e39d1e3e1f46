//! Measures memory, processor time, disk and `fdatasync` while a scenario runs. Only Linux is measured; on
//! other systems the report says that nothing was measured.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::tally::{AnswerTimes, Stopwatch};

/// How often is looked.
const EVERY: Duration = Duration::from_secs(1);
/// Looks between two of the data folder, which takes longer.
const DISK_EVERY: u64 = 5;
/// Looks that are kept: a day. Later ones are dropped.
const LOOKS_MAX: usize = 86_400;
/// What is synced to learn how long a sync takes here: a group of a few batches.
const PROBE_BYTES: usize = 4_096;
/// Linux counts processor time in hundredths of a second.
const TICKS_PER_SECOND: u64 = 100;

/// One look.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Look {
    /// Seconds since the beginning.
    pub at_secs: f64,
    /// Resident memory of `serve`.
    pub serve_bytes: u64,
    /// Resident memory of the engine.
    pub engine_bytes: u64,
    /// Processor seconds of `serve` since its start.
    pub serve_cpu_secs: f64,
    /// Processor seconds of the engine since its start.
    pub engine_cpu_secs: f64,
    /// Processor seconds of the simulator since its start.
    pub own_cpu_secs: f64,
    /// The data folder; 0 when it was not looked at.
    pub disk_bytes: u64,
}

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    looks: Vec<Look>,
    syncs: Stopwatch,
}

/// Whom to watch.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The process of `serve`.
    pub serve_pid: u32,
    /// The engine's, if it is not a child of that.
    pub engine_pid: Option<u32>,
    /// The folder whose size is measured, and in which syncs are timed.
    pub folder: PathBuf,
}

/// Looks once a second until it is dropped.
#[derive(Debug)]
pub struct Vitals {
    seen: Arc<Mutex<Seen>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Vitals {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What was seen, summed up.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Health {
    /// The looks, first to last.
    pub looks: Vec<Look>,
    /// `fdatasync` of 4 KiB in the same folder, once a second.
    pub sync_times: AnswerTimes,
}

impl Vitals {
    /// Begins to look.
    pub fn start(watched: Watched) -> Self {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let into = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let started = Instant::now();
            let mut ticks = tokio::time::interval(EVERY);
            for number in 0.. {
                ticks.tick().await;
                let (watched, into) = (watched.clone(), Arc::clone(&into));
                let look = move || look(&watched, started, number, &into);
                if tokio::task::spawn_blocking(look).await.is_err() {
                    break;
                }
            }
        });
        Self { seen, task }
    }

    /// What was seen so far.
    pub fn health(&self) -> Health {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Health {
            looks: seen.looks.clone(),
            sync_times: seen.syncs.times(),
        }
    }
}

impl Health {
    /// The most memory `serve` had.
    pub fn serve_bytes_max(&self) -> u64 {
        self.looks
            .iter()
            .map(|look| look.serve_bytes)
            .max()
            .unwrap_or(0)
    }

    /// Processors kept busy between two moments, in seconds since the beginning: by `serve`, the engine
    /// and the simulator.
    pub fn processors(&self, from_secs: f64, to_secs: f64) -> [f64; 3] {
        let mut within = self
            .looks
            .iter()
            .filter(|look| (from_secs..=to_secs).contains(&look.at_secs));
        let (Some(first), Some(last)) = (within.next(), within.next_back()) else {
            return [0.0; 3];
        };
        let span = (last.at_secs - first.at_secs).max(0.001);
        [
            (last.serve_cpu_secs - first.serve_cpu_secs) / span,
            (last.engine_cpu_secs - first.engine_cpu_secs) / span,
            (last.own_cpu_secs - first.own_cpu_secs) / span,
        ]
    }

    /// How much the folder grew.
    pub fn disk_growth_bytes(&self) -> u64 {
        let mut sizes = self
            .looks
            .iter()
            .map(|look| look.disk_bytes)
            .filter(|bytes| *bytes > 0);
        let first = sizes.next().unwrap_or(0);
        sizes.next_back().unwrap_or(first).saturating_sub(first)
    }
}

fn look(watched: &Watched, started: Instant, number: u64, into: &Mutex<Seen>) {
    let engine_pid = watched.engine_pid.or_else(|| only_child(watched.serve_pid));
    let engine = engine_pid.and_then(process).unwrap_or_default();
    let serve = process(watched.serve_pid).unwrap_or_default();
    let own = process(std::process::id()).unwrap_or_default();
    let is_disk_due = number.is_multiple_of(DISK_EVERY);
    let look = Look {
        at_secs: started.elapsed().as_secs_f64(),
        serve_bytes: serve.0,
        engine_bytes: engine.0,
        serve_cpu_secs: serve.1,
        engine_cpu_secs: engine.1,
        own_cpu_secs: own.1,
        disk_bytes: if is_disk_due {
            folder_bytes(&watched.folder)
        } else {
            0
        },
    };
    let synced = time_a_sync(&watched.folder.join("probe"));
    let mut seen = into.lock().unwrap_or_else(PoisonError::into_inner);
    if seen.looks.len() < LOOKS_MAX {
        seen.looks.push(look);
    }
    if let Ok(elapsed) = synced {
        seen.syncs.record(elapsed);
    }
}

/// Resident bytes and processor seconds of a process.
fn process(pid: u32) -> Option<(u64, f64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = resident.split_whitespace().next()?.parse().ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the fields after it are numbered from 3.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let user: u64 = times.next()?.parse().ok()?;
    let system: u64 = times.next()?.parse().ok()?;
    let secs = Duration::from_millis((user + system) * 1_000 / TICKS_PER_SECOND).as_secs_f64();
    Some((kilobytes * 1_024, secs))
}

fn only_child(pid: u32) -> Option<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let mut children = tasks.flatten().filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("children")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    });
    children.next()
}

/// The blocks that all files below a folder take. What disappears meanwhile counts as nothing.
pub fn folder_bytes(folder: &Path) -> u64 {
    const BLOCK_BYTES: u64 = 512;
    let mut folders = vec![folder.to_owned()];
    let mut bytes = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => {
                    bytes += std::os::unix::fs::MetadataExt::blocks(&metadata) * BLOCK_BYTES;
                }
                Err(_) => {}
            }
        }
    }
    bytes
}

fn time_a_sync(file: &Path) -> std::io::Result<Duration> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(file)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&[1; PROBE_BYTES])?;
    let started = Instant::now();
    file.sync_data()?;
    Ok(started.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_and_a_folder_are_measured() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("below")).unwrap();
        std::fs::write(folder.path().join("below/file"), vec![7; 100_000]).unwrap();
        let bytes = folder_bytes(folder.path());
        assert!((100_000..200_000).contains(&bytes), "{bytes}");
        assert!(time_a_sync(&folder.path().join("probe")).unwrap() > Duration::ZERO);
        let (resident, _) = process(std::process::id()).unwrap();
        assert!(resident > 1_000_000, "{resident}");
        assert_eq!(process(u32::MAX), None);
    }

    #[test]
    fn processors_are_seconds_per_second() {
        let look = |at_secs: f64| Look {
            at_secs,
            serve_cpu_secs: at_secs * 0.5,
            own_cpu_secs: at_secs * 1.5,
            disk_bytes: if at_secs > 3.0 { 700 } else { 500 },
            ..Look::default()
        };
        let health = Health {
            looks: [0.0, 1.0, 2.0, 3.0, 4.0, 5.0].map(look).to_vec(),
            ..Health::default()
        };
        let [serve, engine, own] = health.processors(1.0, 4.5);
        assert!((serve - 0.5).abs() < 1e-9 && engine.abs() < 1e-9 && (own - 1.5).abs() < 1e-9);
        assert_eq!(health.disk_growth_bytes(), 200);
    }
}
