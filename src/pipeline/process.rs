//! Looks up what this process and its disk take, when `/metrics` is asked for.

use std::path::Path;
use std::time::Duration;

use metrics::gauge;
use tillwatch_model::metric::to_float;
use tokio::runtime::Handle;

use crate::self_metrics as names;

/// Sets the gauges of the process. What this system does not tell stays away.
pub fn look_at_process(runtimes: &[Handle]) {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let spent = Duration::try_from(spent).unwrap_or_default();
    gauge!(names::PROCESS_CPU).set(spent.as_secs_f64());
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if let Some(limit) = limit {
        gauge!(names::PROCESS_FDS_LIMIT).set(to_float(limit));
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(kilobytes) = number_of(&status, "VmRSS:") {
        gauge!(names::PROCESS_MEMORY).set(to_float(kilobytes * 1_024));
    }
    if let Some(threads) = number_of(&status, "Threads:") {
        gauge!(names::PROCESS_THREADS).set(to_float(threads));
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // One of the open files is that of the folder itself.
        gauge!(names::PROCESS_FDS).set(to_float((open.count() as u64).saturating_sub(1)));
    }
    let runtimes = runtimes.iter().map(Handle::metrics);
    let (tasks, queued) = runtimes.fold((0, 0), |(tasks, queued), runtime| {
        let alive = runtime.num_alive_tasks();
        (tasks + alive, queued + runtime.global_queue_depth())
    });
    gauge!(names::TASKS).set(to_float(tasks as u64));
    gauge!(names::TASKS_QUEUED).set(to_float(queued as u64));
}

/// Sets the gauges of the data folder: the room on its disk, and what the state file takes of it.
pub fn look_at_disk(data_dir: &Path) {
    if let Ok(disk) = rustix::fs::statvfs(data_dir) {
        gauge!(names::DISK_FREE).set(to_float(disk.f_bavail.saturating_mul(disk.f_frsize)));
        gauge!(names::DISK_SIZE).set(to_float(disk.f_blocks.saturating_mul(disk.f_frsize)));
    }
    let bytes_of = |name: &str| {
        let file = std::fs::metadata(data_dir.join(name));
        file.map_or(0, |file| file.len())
    };
    let state = bytes_of("state.sqlite") + bytes_of("state.sqlite-wal");
    gauge!(names::STATE_BYTES).set(to_float(state));
}

/// The number behind a name in `/proc/self/status`.
fn number_of(status: &str, name: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_name() {
        let status = "Name:\ttillwatch\nVmRSS:\t   12345 kB\nThreads:\t7\n";
        assert_eq!(number_of(status, "VmRSS:"), Some(12_345));
        assert_eq!(number_of(status, "Threads:"), Some(7));
        assert_eq!(number_of(status, "VmSwap:"), None);
    }
}
