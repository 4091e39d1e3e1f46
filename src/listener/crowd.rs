//! All open connections of a listener: who is over its time, and who makes room for a new one.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::AbortHandle;

use crate::listener::counts::Counts;
use crate::listener::status::{Order, Phase, State, Status, Ticks};
use crate::listener::{BODY_MS_MAX, CLOSING_MS_MAX, LEFT_MS_MAX, ListenerSettings, UNREAD_MS_MAX};

/// A connection of this age is no longer one that has just come.
const YOUNG_MS: u64 = 1_000;
/// A connection that has been idle for so long is parked: most terminals post once a minute.
const PARK_MS: u64 = 1_000;
/// At the limit one in so many is closed at once, so that a flood of new connections does not cost a look
/// at all of them each.
const ONE_IN: usize = 64;
const AT_ONCE_MAX: usize = 256;
/// When nobody can make room, nobody is looked for again for a millisecond for each so many: a look at all
/// of them takes a small part of that.
const LOOKED_AT_IN_MS: u64 = 1_000;

/// Counts a connection as open until it is dropped, however it ends.
pub(super) struct Open {
    gauge: metrics::Gauge,
    open: Arc<AtomicUsize>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gauge.decrement(1);
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The open connections.
pub(super) struct Crowd {
    settings: ListenerSettings,
    counts: Counts,
    ticks: Ticks,
    members: Vec<(Arc<Status>, AbortHandle)>,
    open: Arc<AtomicUsize>,
    /// Places that are being freed and not yet taken.
    freed: usize,
    full_until_ms: u64,
}

impl Crowd {
    pub(super) fn new(settings: ListenerSettings, counts: Counts, ticks: Ticks) -> Self {
        Self {
            settings,
            counts,
            ticks,
            members: Vec::new(),
            open: Arc::default(),
            freed: 0,
            full_until_ms: 0,
        }
    }

    /// Adds a new connection, which is open until what is returned is dropped.
    pub(super) fn enters(&self) -> (Arc<Status>, Open) {
        self.counts.accepted.increment(1);
        self.counts.open.increment(1);
        self.open.fetch_add(1, Ordering::Relaxed);
        let open = Open {
            gauge: self.counts.open.clone(),
            open: Arc::clone(&self.open),
        };
        (Arc::new(Status::new(&self.ticks)), open)
    }

    pub(super) fn push(&mut self, status: Arc<Status>, task: AbortHandle) {
        self.members.push((status, task));
    }

    /// Says whether one more connection may be open; others are closed for it if need be.
    pub(super) fn has_room(&mut self) -> bool {
        if self.open.load(Ordering::Relaxed) < self.settings.connections_max {
            self.freed = 0;
            return true;
        }
        if self.freed == 0 && self.ticks.now_ms() >= self.full_until_ms {
            self.freed = self.make_room();
        }
        if self.freed == 0 {
            self.counts.no_room.increment(1);
            return false;
        }
        self.freed -= 1;
        true
    }

    /// Tells the connections that lose the least to leave, and says how many there are.
    pub(super) fn make_room(&mut self) -> usize {
        self.forget();
        let now_ms = self.ticks.now_ms();
        let ranks = self.members.iter().enumerate();
        let mut ranks: Vec<_> = ranks
            .filter(|(_, (status, _))| !status.is_told_to_close())
            .filter_map(|(index, (status, _))| {
                let state = status.state();
                rank(state, now_ms).map(|rank| (Reverse(rank), index, state))
            })
            .collect();
        let wanted = (self.settings.connections_max / ONE_IN).clamp(1, AT_ONCE_MAX);
        if ranks.len() > wanted {
            ranks.select_nth_unstable_by_key(wanted, |(rank, index, _)| (*rank, *index));
            ranks.truncate(wanted);
        }
        for (_, index, state) in &ranks {
            if let Some((status, _)) = self.members.get(*index) {
                status.tell(Order::Leave, *state);
            }
        }
        self.counts.made_room.increment(ranks.len() as u64);
        if ranks.is_empty() {
            self.full_until_ms = now_ms + self.members.len() as u64 / LOOKED_AT_IN_MS;
        }
        ranks.len()
    }

    fn forget(&mut self) {
        self.members.retain(|(_, task)| !task.is_finished());
    }

    /// Closes connections that are in a phase for too long, parks idle ones, and forgets ended ones.
    pub(super) fn sweep(&mut self) {
        self.forget();
        let now_ms = self.ticks.now_ms();
        for (status, task) in &self.members {
            let state = status.state();
            let age_ms = state.age_ms(now_ms);
            if state.phase() == Phase::Closing && age_ms > CLOSING_MS_MAX {
                task.abort();
            } else if let Some((over, order)) = self.is_over(state.phase(), age_ms) {
                if !status.is_told_to_close() {
                    over.increment(1);
                    status.tell(order, state);
                }
            } else if age_ms > PARK_MS && status.may_park() && !status.is_told_to_close() {
                status.tell(Order::Park, state);
            }
        }
    }

    /// Says whether a phase has lasted too long: what is counted then, and what is to be done.
    fn is_over(&self, phase: Phase, age_ms: u64) -> Option<(&metrics::Counter, Order)> {
        let (counts, idle_ms_max) = (&self.counts, u64::from(self.settings.idle_s_max) * 1_000);
        let head_ms_max = u64::from(self.settings.head_s_max) * 1_000;
        let (limit_ms, counter, order) = match phase {
            Phase::Idle | Phase::Parked => (idle_ms_max, &counts.idle_timeout, Order::TimeOut),
            Phase::Head => (head_ms_max, &counts.head_timeout, Order::TimeOut),
            Phase::Body => (BODY_MS_MAX, &counts.body_timeout, Order::TimeOut),
            Phase::Left => (LEFT_MS_MAX.min(idle_ms_max), &counts.left, Order::Leave),
            Phase::Answer => (UNREAD_MS_MAX.min(idle_ms_max), &counts.unread, Order::Leave),
            // The handler has limits of its own: the client has done its part.
            Phase::Work | Phase::Closing => return None,
        };
        (age_ms > limit_ms).then_some((counter, order))
    }

    /// Asks all connections to finish what is under way.
    pub(super) fn stop(&self) {
        for (status, _) in &self.members {
            status.tell(Order::Stop, status.state());
        }
    }

    /// Closes connections that wait for their clients, forgets ended ones, and says if none is left.
    pub(super) fn only_work(&mut self) -> bool {
        self.forget();
        for (status, task) in &self.members {
            if status.phase() != Phase::Work {
                task.abort();
            }
        }
        self.is_empty()
    }

    /// Says whether no connection is left.
    pub(super) fn is_empty(&mut self) -> bool {
        self.forget();
        self.members.is_empty()
    }

    /// Closes all connections.
    pub(super) fn end(&mut self) {
        for (_, task) in self.members.drain(..) {
            task.abort();
        }
    }
}

/// Who makes room first: the greatest. `None`: never.
///
/// First who loses nothing by it: what is said already, the longest idle. Then who has had a second for a
/// head, for reading a bit of an answer, for a body. Then whoever came first, so that a new connection
/// has as long for its request as it takes to open as many others as may be open, whatever they do.
fn rank(state: State, now_ms: u64) -> Option<(u8, u64)> {
    let age_ms = state.age_ms(now_ms);
    let is_young = age_ms < YOUNG_MS;
    let class = match state.phase() {
        Phase::Work => return None,
        Phase::Closing => 5,
        _ if is_young => 0,
        Phase::Idle | Phase::Parked => 4,
        Phase::Head => 3,
        Phase::Answer | Phase::Left => 2,
        Phase::Body => 1,
    };
    Some((class, age_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_idle_for_a_second_is_parked_and_nobody_else() {
        let ticks = Ticks::new();
        let settings = ListenerSettings::default();
        let mut crowd = Crowd::new(settings, Counts::new(settings), ticks.clone());
        let task = tokio::spawn(std::future::pending::<()>());
        let mut enters = |phase| {
            let (status, _open) = crowd.enters();
            status.enter(phase);
            crowd.push(Arc::clone(&status), task.abort_handle());
            status
        };
        let [idle, body, streaming] = [Phase::Idle, Phase::Body, Phase::Idle].map(&mut enters);
        streaming.answers(true);
        ticks.set(PARK_MS);
        crowd.sweep();
        assert_eq!(idle.order(), Order::GoOn);
        ticks.set(PARK_MS + 1);
        crowd.sweep();
        assert_eq!(idle.order(), Order::Park);
        assert_eq!(
            (body.order(), streaming.order()),
            (Order::GoOn, Order::GoOn)
        );
        // A request that comes meanwhile overtakes the order.
        idle.enter(Phase::Head);
        assert_eq!(idle.order(), Order::GoOn);
        task.abort();
    }

    #[test]
    fn who_loses_the_least_makes_room_first() {
        let now_ms = 100_000;
        let rank = |phase, age_ms| rank(State::new(phase, now_ms - age_ms), now_ms);
        let order = [
            rank(Phase::Closing, 10),
            rank(Phase::Idle, 60_000),
            rank(Phase::Parked, 2_000),
            rank(Phase::Idle, 1_000),
            rank(Phase::Head, 4_000),
            rank(Phase::Answer, 9_000),
            rank(Phase::Left, 1_000),
            rank(Phase::Body, 50_000),
            // Connections that have just come make room late, whatever they do.
            rank(Phase::Body, 999),
            rank(Phase::Idle, 998),
            rank(Phase::Head, 0),
            rank(Phase::Work, 99_000),
        ];
        assert!(
            order.is_sorted_by(|first, second| first > second),
            "{order:?}"
        );
        assert_eq!(order.last(), Some(&None));
    }
}
