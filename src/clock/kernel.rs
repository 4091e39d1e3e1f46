//! The clocks of the machine, and what its kernel says of them.

use rustix::time::ClockId;

pub(super) use tillwatch_model::time::wall_ms;

/// The clock that runs since the machine was started, also while it sleeps, ms.
#[inline]
pub(super) fn boot_ms() -> i64 {
    #[cfg(target_os = "linux")]
    let clock = ClockId::Boottime;
    // There it runs through sleep.
    #[cfg(not(target_os = "linux"))]
    let clock = ClockId::Monotonic;
    let time = rustix::time::clock_gettime(clock);
    time.tv_sec * 1_000 + time.tv_nsec / 1_000_000
}

/// Whether the kernel says that its clock is synchronised, and means by it the clock that says `wall_ms`.
#[cfg(target_os = "linux")]
pub(super) fn is_synchronised(wall_ms: i64) -> bool {
    /// Read a moment apart.
    const APART_MS_MAX: i64 = 1_000;
    // SAFETY: `timex` is plain numbers, for which zeros are valid.
    #[expect(
        unsafe_code,
        reason = "the kernel's word has no safe wrapper in the crates used here"
    )]
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: with `modes` 0 the call only writes into the `timex` that it is given.
    #[expect(
        unsafe_code,
        reason = "the kernel's word has no safe wrapper in the crates used here"
    )]
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    let kernel_ms = timex.time.tv_sec.saturating_mul(1_000);
    let is_this_clock = (kernel_ms - wall_ms).abs() <= APART_MS_MAX + 1_000;
    let is_synchronised = timex.status & libc::STA_UNSYNC == 0;
    state >= 0 && state != libc::TIME_ERROR && is_synchronised && is_this_clock
}

/// Nobody is asked there.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_synchronised(_wall_ms: i64) -> bool {
    false
}
