//! How many files this process may have open, and how the listeners share them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More files are never asked for: some libraries look at every number up to the limit.
const FILES_MAX: u64 = 1 << 20;
/// How many files are taken to be allowed by a system that names no limit and refuses [`FILES_MAX`].
const FILES_FALLBACK: u64 = 10_240;
/// Files for journal segments, the state file, ClickHouse and the listeners themselves. Unit: files.
const OTHER_FILES: u64 = 256;
/// Connections for people, Prometheus and Grafana; more of them would take files that terminals need.
const ADMIN_MAX: usize = 512;

/// Raises the limit of open files to the most that this process may set. Each connection is one.
///
/// Left as it is where that is not allowed: connections are limited to what there is.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX).min(FILES_MAX);
    for wanted in [most, most.min(FILES_FALLBACK)] {
        // `None` means that there is no limit at all.
        if limit.current.is_none_or(|current| current >= wanted) {
            return;
        }
        let raised = Rlimit {
            current: Some(wanted),
            maximum: limit.maximum,
        };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            return;
        }
    }
}

/// The most connections that the ingest listener and the admin listener may hold open, given what was
/// asked for the first.
#[must_use]
pub fn connections_allowed(asked: usize) -> (usize, usize) {
    shares(asked, getrlimit(Resource::Nofile).current)
}

fn shares(asked: usize, limit: Option<u64>) -> (usize, usize) {
    let free = limit.map_or(u64::MAX, |limit| limit.saturating_sub(OTHER_FILES).max(64));
    let free = usize::try_from(free).unwrap_or(usize::MAX);
    let admin = ADMIN_MAX.min(free / 8);
    (asked.min(free - admin), admin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_raised_to_the_most_there_is() {
        let before = getrlimit(Resource::Nofile);
        let low = Rlimit {
            current: Some(1_000),
            maximum: before.maximum,
        };
        setrlimit(Resource::Nofile, low).unwrap();
        raise_open_files();
        let most = before.maximum.unwrap_or(u64::MAX).min(FILES_MAX);
        assert_eq!(getrlimit(Resource::Nofile).current, Some(most));
        // The limit is not lowered again.
        setrlimit(Resource::Nofile, before).unwrap();
        raise_open_files();
        let after = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        assert!(after >= before.current.unwrap_or(u64::MAX) || after == most);
    }

    #[test]
    fn both_listeners_together_leave_files_for_the_rest() {
        assert_eq!(shares(25_000, None), (25_000, 512));
        assert_eq!(shares(25_000, Some(65_536)), (25_000, 512));
        assert_eq!(shares(25_000, Some(1_024)), (672, 96));
        assert_eq!(shares(10, Some(1_024)), (10, 96));
        assert_eq!(shares(25_000, Some(0)), (56, 8));
    }
}
