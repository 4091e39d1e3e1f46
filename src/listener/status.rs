//! The state of a connection, and since when: the connection's own task writes it, and the listener reads it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use tokio::time::Instant;

use crate::listed::listed;

listed! {
    /// What a connection is about.
    pub(super) enum Phase {
        /// The connection is between two requests.
        Idle,
        /// The connection is idle for so long that what hyper takes has been given back.
        Parked,
        /// Some of a request's head has come, or of a handshake before it.
        Head,
        /// The request's head is whole, its body is not.
        Body,
        /// The request is whole and worked on: its client has done what it has to.
        Work,
        /// A request is worked on, but its client closed its side: it is gone, or waits for the answer.
        Left,
        /// The answer is made, and not all of it is out.
        Answer,
        /// All is said; what the client still sends is read off.
        Closing,
    }
}

/// What the listener wants of a connection. The greater one stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Order {
    /// The connection is left as it is.
    GoOn,
    /// Give back what is not needed between two requests.
    Park,
    /// Finish what is under way, and close.
    Stop,
    /// Close now, and say that it took too long.
    TimeOut,
    /// Close now, without a word.
    Leave,
}

/// Time since the listener began, as of its last look at the clock: a request's path reads it with one
/// load.
#[derive(Debug, Clone)]
pub(super) struct Ticks {
    began: Instant,
    now_ms: Arc<AtomicU64>,
}

impl Ticks {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            now_ms: Arc::default(),
        }
    }

    pub(super) fn advance(&self) {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX >> 3);
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn set(&self, now_ms: u64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }
}

/// A phase and when it began, as one number: nobody sees half of a change, and two equal ones mean that
/// nothing has happened in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State(u64);

impl State {
    const PHASE_BITS: u32 = 3;
    /// A state that no connection ever is in.
    const NONE: Self = Self(u64::MAX);

    pub(super) fn new(phase: Phase, since_ms: u64) -> Self {
        Self(since_ms << Self::PHASE_BITS | phase as u64)
    }

    pub(super) fn phase(self) -> Phase {
        let at = usize::try_from(self.0 & ((1 << Self::PHASE_BITS) - 1));
        let phase = at.ok().and_then(|at| Phase::ALL.get(at));
        phase.copied().unwrap_or(Phase::Closing)
    }

    /// The state in another phase that began at the same time.
    fn also(self, phase: Phase) -> Self {
        Self::new(phase, self.0 >> Self::PHASE_BITS)
    }

    pub(super) fn age_ms(self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.0 >> Self::PHASE_BITS)
    }
}

/// What the listener and a connection know of each other.
#[derive(Debug)]
pub(super) struct Status {
    state: AtomicU64,
    now_ms: Arc<AtomicU64>,
    order: AtomicU8,
    /// The listener is closing: an order that stays, whatever overtakes the others.
    is_stopping: AtomicBool,
    /// The state for which an order to park or to close was given: it means nothing in another.
    judged: AtomicU64,
    /// The body of an answer is not whole: between two parts of it a connection looks idle.
    is_answering: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Status {
    pub(super) fn new(ticks: &Ticks) -> Self {
        Self {
            state: AtomicU64::new(State::new(Phase::Idle, ticks.now_ms()).0),
            now_ms: Arc::clone(&ticks.now_ms),
            order: AtomicU8::new(Order::GoOn as u8),
            is_stopping: AtomicBool::new(false),
            judged: AtomicU64::new(State::NONE.0),
            is_answering: AtomicBool::new(false),
            waker: Mutex::new(None),
        }
    }

    pub(super) fn state(&self) -> State {
        State(self.state.load(Ordering::Relaxed))
    }

    pub(super) fn phase(&self) -> Phase {
        self.state().phase()
    }

    /// Enters a phase from now on. Only the connection's own task calls it.
    pub(super) fn enter(&self, phase: Phase) {
        let now_ms = self.now_ms.load(Ordering::Relaxed);
        self.state
            .store(State::new(phase, now_ms).0, Ordering::Relaxed);
    }

    /// Enters `to` from now on, if the connection is in `from`.
    pub(super) fn turn(&self, from: Phase, to: Phase) {
        if self.phase() == from {
            self.enter(to);
        }
    }

    /// Goes from idle to parked, or back; the time without a request goes on. Says whether it was so.
    pub(super) fn rests(&self, from: Phase, to: Phase) -> bool {
        let state = self.state();
        let is_so = state.phase() == from;
        if is_so {
            let rested = state.also(to);
            self.state.store(rested.0, Ordering::Relaxed);
            // An order that was given for the one holds for the other: the client has done nothing between.
            let _other = self.judged.compare_exchange(
                state.0,
                rested.0,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
        is_so
    }

    /// Notes that the body of an answer is there, or is over.
    pub(super) fn answers(&self, is_answering: bool) {
        self.is_answering.store(is_answering, Ordering::Relaxed);
    }

    /// Says whether the body of an answer is there and not over.
    pub(super) fn is_answering(&self) -> bool {
        self.is_answering.load(Ordering::Relaxed)
    }

    /// Says whether nothing is under way, so that hyper is not needed.
    pub(super) fn may_park(&self) -> bool {
        self.phase() == Phase::Idle && !self.is_answering()
    }

    /// Keeps whom to wake when there is an order.
    pub(super) fn wakes(&self, waker: &Waker) {
        *self.lock_waker() = Some(waker.clone());
    }

    fn lock_waker(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives an order; one to park or to close holds only while the connection is still as it was judged.
    pub(super) fn tell(&self, order: Order, judged: State) {
        if order == Order::Stop {
            self.is_stopping.store(true, Ordering::Relaxed);
        } else {
            self.judged.store(judged.0, Ordering::Relaxed);
        }
        self.order.fetch_max(order as u8, Ordering::Relaxed);
        // The lock orders this with `wakes`: either the waker is there, or the order is seen.
        if let Some(waker) = self.lock_waker().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Says whether the connection was told to close, and has not done so.
    pub(super) fn is_told_to_close(&self) -> bool {
        self.order.load(Ordering::Relaxed) > Order::Stop as u8
    }

    /// The order that stands. An order that something has overtaken is taken back.
    pub(super) fn order(&self) -> Order {
        let given = self.order.load(Ordering::Relaxed);
        let order = match given {
            0 => return self.standing(),
            1 => Order::Park,
            2 => return Order::Stop,
            3 => Order::TimeOut,
            _ => Order::Leave,
        };
        if self.judged.load(Ordering::Relaxed) == self.state().0 {
            return order;
        }
        self.take_back(given);
        self.standing()
    }

    /// What holds when no other order does.
    fn standing(&self) -> Order {
        if self.is_stopping.load(Ordering::Relaxed) {
            Order::Stop
        } else {
            Order::GoOn
        }
    }

    /// Notes that an order to park has been followed.
    pub(super) fn has_parked(&self) {
        self.take_back(Order::Park as u8);
    }

    /// Takes an order back, unless a greater one has come since.
    fn take_back(&self, given: u8) {
        let order = &self.order;
        let _greater = order.compare_exchange(
            given,
            Order::GoOn as u8,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_and_its_beginning_are_one_number() {
        for phase in Phase::ALL {
            let state = State::new(phase, 1 << 50);
            assert_eq!(state.phase(), phase);
            assert_eq!(state.age_ms((1 << 50) + 7), 7);
            assert_eq!(state.age_ms(0), 0);
            assert_ne!(state, State::NONE);
        }
    }

    #[test]
    fn an_order_to_close_holds_only_for_what_was_judged() {
        let status = Status::new(&Ticks::new());
        status.tell(Order::Leave, status.state());
        assert_eq!(status.order(), Order::Leave);
        // A request has come meanwhile.
        status.enter(Phase::Work);
        assert_eq!(status.order(), Order::GoOn);
        assert!(!status.is_told_to_close());
        status.tell(Order::Stop, status.state());
        status.enter(Phase::Answer);
        assert_eq!(status.order(), Order::Stop);
    }

    #[test]
    fn the_end_of_the_listener_stays_when_an_order_to_leave_is_overtaken() {
        let status = Status::new(&Ticks::new());
        status.tell(Order::Leave, status.state());
        status.tell(Order::Stop, status.state());
        status.enter(Phase::Work);
        assert_eq!(status.order(), Order::Stop);
    }

    #[test]
    fn an_order_to_leave_holds_for_a_connection_that_is_parked_meanwhile() {
        let status = Status::new(&Ticks::new());
        status.tell(Order::Leave, status.state());
        assert!(status.rests(Phase::Idle, Phase::Parked));
        assert_eq!(status.order(), Order::Leave);
    }
}
