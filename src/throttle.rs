//! Bounds the number of warnings that others can provoke, and counts the rest.
//!
//! A throttle belongs to one place in the code, or to one cause there. It writes the first lines, and then
//! one line in [`EVERY`]. Each line says how many lines were held back before it, and [`flush`] says so for
//! the last ones. Lines and held-back lines add up to what happened.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Lines that are written at once after a quiet time.
pub const BURST: u64 = 10;
/// After a burst, one line is let through in this time.
pub const EVERY: Duration = Duration::from_secs(6);

const EVERY_NS: u64 = 6_000_000_000;
const _: () = assert!(EVERY.as_nanos() == EVERY_NS as u128);

/// Lets a bounded number of lines through.
#[derive(Debug)]
pub struct Throttle {
    /// What the lines are about, for [`flush`].
    about: &'static str,
    /// When the lines let through so far will have been worth their time (ns since the first look at
    /// the clock): one number, so that there is no lock.
    paid_ns: AtomicU64,
    held_back: AtomicU64,
    is_listed: AtomicBool,
}

/// The throttles that have held something back.
static LISTED: Mutex<Vec<&'static Throttle>> = Mutex::new(Vec::new());

fn now_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

impl Throttle {
    /// Makes a throttle of lines about this.
    #[must_use]
    pub const fn new(about: &'static str) -> Self {
        Self {
            about,
            paid_ns: AtomicU64::new(0),
            held_back: AtomicU64::new(0),
            is_listed: AtomicBool::new(false),
        }
    }

    /// Whether a line may be written now; `Some` says how many were held back since the last one.
    pub fn pass(&'static self) -> Option<u64> {
        if self.pays(now_ns()) {
            return Some(self.held_back.swap(0, Ordering::Relaxed));
        }
        self.held_back.fetch_add(1, Ordering::Relaxed);
        if !self.is_listed.swap(true, Ordering::Relaxed) {
            LISTED
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(self);
        }
        None
    }

    /// Takes the time of one line, if there is some.
    fn pays(&self, now_ns: u64) -> bool {
        let pay = |paid_ns: u64| {
            let from_ns = paid_ns.max(now_ns);
            let has_time = from_ns - now_ns <= (BURST - 1) * EVERY_NS;
            has_time.then(|| from_ns + EVERY_NS)
        };
        self.paid_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay)
            .is_ok()
    }
}

/// Says what was held back and has not been said. Call it now and then, and at the end.
pub fn flush() {
    let listed = LISTED.lock().unwrap_or_else(PoisonError::into_inner);
    for throttle in listed.iter() {
        let suppressed = throttle.held_back.swap(0, Ordering::Relaxed);
        if suppressed > 0 {
            tracing::warn!(about = throttle.about, suppressed, "more of the same");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_one_line_in_six_seconds() {
        let throttle = Throttle::new("test");
        let second = 1_000_000_000;
        let passed = |from_s: u64, to_s: u64| {
            let tries = (from_s * 1_000..to_s * 1_000).map(|ms| ms * second / 1_000);
            tries.filter(|now_ns| throttle.pays(*now_ns)).count()
        };
        assert_eq!(passed(0, 1), 10);
        assert_eq!(passed(1, 61), 10);
        // Time that was not used is saved, up to a burst.
        assert_eq!(passed(1_000, 1_001), 10);
    }

    #[test]
    fn lines_and_what_was_held_back_add_up_on_every_thread() {
        static THROTTLE: Throttle = Throttle::new("test");
        let count = || -> u64 {
            let told = (0..25_000).filter_map(|_| THROTTLE.pass().map(|held_back| held_back + 1));
            told.sum()
        };
        let told: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(
            told + THROTTLE.held_back.swap(0, Ordering::Relaxed),
            100_000
        );
        assert!(told < 100_000);
    }
}
