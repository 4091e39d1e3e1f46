//! Knows where each sample is: open, being sealed, in the outbox, or confirmed. One lock guards all of it,
//! so that a reader sees each sample exactly once.
//!
//! A reader copies, at one moment, the open windows, the epoch that is being sealed, the list of epochs in
//! the outbox, and the highest confirmed epoch E. From ClickHouse the reader then takes only epochs up to E
//! of this collector, so a sample that moves on meanwhile is seen where it was.
//!
//! From the hourly rollups the reader takes only hours that were not dirty at that moment, because these
//! hold all epochs up to E and nothing later until they are rebuilt. Afterwards the reader asks whether a
//! rebuild has begun meanwhile ([`Holdings::rebuilt_since`]), and reads the minutes of such hours instead.
//!
//! The lock is held for about a millisecond at most, except while a seal takes out the open windows: records are applied
//! in small groups, and a reader keeps what is open ([`crate::aggregate::kept`]) to look at it later. Even so no task waits for the lock on
//! a thread that serves requests: tasks ask through [`Holdings::ask`] and [`Holdings::view`].
//!
//! | file | what |
//! |---|---|
//! | `view.rs` | what a reader sees at one moment, and how much is held |

mod view;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tillwatch_model::hours::HOUR_S;
use tillwatch_model::{DirtyHours, StoreHour};
use tokio::sync::watch;
use uuid::Uuid;

use crate::aggregate::kept::{Filter, OpenRollups};
use crate::aggregate::{Aggregator, Cut};
use crate::persist::Sealing;
use crate::persist::{EpochInfo, SealedEpoch};
use crate::tasks::Jobs;

pub use view::{Levels, View};

/// What is held, and where.
#[derive(Debug)]
pub struct Holdings {
    inner: Mutex<Inner>,
    /// Signalled when a cut has emptied the open windows.
    emptied: Condvar,
    /// The position up to which everything is applied, for those who wait for it.
    applied: watch::Sender<u64>,
    /// Turns true while a cut is being encoded: its rows are nowhere to be read for that moment.
    is_cutting: watch::Sender<bool>,
    collector_id: Uuid,
    /// Where tasks wait for the lock.
    asking: Jobs,
}

#[derive(Debug)]
struct Inner {
    aggregator: Aggregator,
    /// A cut has been taken and is not encoded yet, or never will be: no other may be taken, because
    /// its seal would release what only the journal holds.
    is_cut_open: bool,
    sealing: Option<Arc<Sealing>>,
    /// Samples of a cut that is not yet an epoch: from the cut to the commit.
    sealing_samples: u64,
    unconfirmed: VecDeque<Arc<EpochInfo>>,
    confirmed: u64,
    last_epoch: u64,
    dirty: DirtyHours,
    /// The last times that hours began to be summed up anew, oldest first.
    rebuilds: VecDeque<Arc<[StoreHour]>>,
    /// How often that was, from the start.
    rebuilds_begun: u64,
    /// The first day whose minutes have not been given up.
    minutes_from_day: u32,
}

impl Inner {
    fn minutes_from_hour(&self) -> u32 {
        self.minutes_from_day.saturating_mul(24)
    }
}

/// How long others may have the aggregate between two pieces.
const BETWEEN_PIECES: Duration = Duration::from_micros(200);

/// Tasks that wait for the lock, or use what it guards, at once.
const ASKING_MAX: usize = 4;

/// So many of the last rebuilds are remembered; a reader that took longer reads again.
const REBUILDS_KEPT: usize = 64;

impl Holdings {
    /// What a start finds: the aggregate after replay, the outbox, the dirty hours, and the journal's last
    /// position, which lies above the last record's when the numbers of a torn tail were skipped.
    #[must_use]
    pub fn new(
        aggregator: Aggregator,
        unconfirmed: Vec<EpochInfo>,
        last_epoch: u64,
        dirty: DirtyHours,
        collector_id: Uuid,
        durable: u64,
    ) -> Self {
        let confirmed = unconfirmed
            .first()
            .map_or(last_epoch, |first| first.epoch - 1);
        let (applied, _) = watch::channel(aggregator.applied().max(durable));
        let (is_cutting, _) = watch::channel(false);
        Self {
            inner: Mutex::new(Inner {
                aggregator,
                is_cut_open: false,
                sealing: None,
                sealing_samples: 0,
                unconfirmed: unconfirmed.into_iter().map(Arc::new).collect(),
                confirmed,
                last_epoch,
                dirty,
                rebuilds: VecDeque::new(),
                rebuilds_begun: 0,
                minutes_from_day: 0,
            }),
            emptied: Condvar::new(),
            applied,
            is_cutting,
            collector_id,
            asking: Jobs::new(ASKING_MAX),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies durable records with `apply`, then waits while there are more than `rows_max` rows:
    /// the seal that is due has to catch up.
    pub fn apply(&self, rows_max: usize, apply: impl FnOnce(&mut Aggregator)) {
        let mut inner = self.lock();
        apply(&mut inner.aggregator);
        self.applied.send_replace(inner.aggregator.applied());
        while inner.aggregator.rows() > rows_max {
            inner = self
                .emptied
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Reads the aggregate.
    pub fn read<R>(&self, read: impl FnOnce(&Aggregator) -> R) -> R {
        read(&self.lock().aggregator)
    }

    /// Lets go of what no window gauge can read at `now_ms`: it goes with the records that come, and so
    /// when none comes.
    pub fn forget_minutes(&self, now_ms: i64) {
        self.lock().aggregator.forget_minutes(now_ms);
    }

    /// Asks, or tells, what is held: the lock is waited for where no request is served.
    pub async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        ask: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> T {
        let holdings = Arc::clone(self);
        self.asking.run(move || ask(&holdings)).await
    }

    /// Reads the aggregate a piece at a time, until `read` says that there is no more: what is long to look at
    /// must not keep records waiting. Blocks.
    pub fn read_in_pieces(&self, mut read: impl FnMut(&Aggregator) -> bool) {
        while self.read(&mut read) {
            // A lock that is taken again at once goes to whoever had it, not to whoever waits for it.
            std::thread::sleep(BETWEEN_PIECES);
        }
    }

    /// Takes a cut, unless nothing has been applied since the last one. Its rows can be read again
    /// once [`Holdings::sealing`] has been called.
    pub fn cut(&self, sealed_position: u64) -> Option<(Cut, u64)> {
        let mut inner = self.lock();
        if inner.is_cut_open || inner.aggregator.applied() <= sealed_position {
            return None;
        }
        inner.is_cut_open = true;
        self.is_cutting.send_replace(true);
        let cut = inner.aggregator.take();
        inner.sealing_samples = cut.samples;
        self.emptied.notify_all();
        Some((cut, inner.last_epoch + 1))
    }

    /// The cut could not be encoded. Its rows are only in the journal now: the process must end.
    pub fn abandon_cut(&self) {
        self.is_cutting.send_replace(false);
    }

    /// The cut is encoded, and can be read. Its hours are dirty from now on: it may be confirmed before
    /// [`Holdings::sealed`] is called.
    pub fn sealing(&self, sealing: Arc<Sealing>, now_ms: i64) {
        let mut inner = self.lock();
        inner.dirty.mark(sealing.hours(), sealing.epoch(), now_ms);
        inner.sealing = Some(sealing);
        inner.is_cut_open = false;
        drop(inner);
        self.is_cutting.send_replace(false);
    }

    /// The epoch is durable.
    pub fn sealed(&self, sealed: SealedEpoch, info: EpochInfo) {
        let mut inner = self.lock();
        inner.last_epoch = sealed.epoch;
        inner.sealing = None;
        inner.sealing_samples = 0;
        // The epoch may have been shipped and confirmed in the moment since its commit.
        if info.epoch > inner.confirmed {
            inner.unconfirmed.push_back(Arc::new(info));
        }
    }

    /// ClickHouse holds every epoch up to this one.
    pub fn confirmed(&self, epoch: u64) {
        let mut inner = self.lock();
        inner.confirmed = inner.confirmed.max(epoch);
        while inner
            .unconfirmed
            .front()
            .is_some_and(|info| info.epoch <= epoch)
        {
            inner.unconfirmed.pop_front();
        }
        if inner
            .sealing
            .as_ref()
            .is_some_and(|sealing| sealing.epoch() <= epoch)
        {
            inner.sealing = None;
            inner.sealing_samples = 0;
        }
    }

    /// Tells whenever more is applied.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Waits until everything up to `position` is applied.
    pub async fn wait_applied(&self, position: u64) {
        let mut applied = self.applied.subscribe();
        // An error means that the holdings are gone, and with them whoever asked.
        drop(applied.wait_for(|applied| *applied >= position).await);
    }

    /// Waits until everything up to `position` is applied, then takes a view. What was acknowledged
    /// before the call is in it.
    pub async fn view(self: &Arc<Self>, position: u64, filter: Filter) -> View<OpenRollups> {
        let hours = filter.from_s / HOUR_S..filter.to_s.div_ceil(HOUR_S);
        let read = move |open: &Aggregator| open.open_rollups(&filter);
        self.look(position, read, hours).await
    }

    /// Takes a view as [`view`](Self::view) does, with whatever `read` takes out of what is open.
    pub async fn view_of<T: Send + 'static>(
        self: &Arc<Self>,
        position: u64,
        read: impl Fn(&Aggregator) -> T + Send + Sync + 'static,
    ) -> View<T> {
        self.look(position, read, 0..0).await
    }

    /// Takes a view as [`view_of`](Self::view_of) does, with what is known of these hours (since 1970).
    pub async fn look<T: Send + 'static>(
        self: &Arc<Self>,
        position: u64,
        read: impl Fn(&Aggregator) -> T + Send + Sync + 'static,
        hours: Range<u32>,
    ) -> View<T> {
        self.wait_applied(position).await;
        let mut is_cutting = self.is_cutting.subscribe();
        let read = Arc::new(read);
        loop {
            drop(is_cutting.wait_for(|is_cutting| !is_cutting).await);
            let (read, hours) = (Arc::clone(&read), hours.clone());
            let look = self.ask(move |holdings| holdings.look_now(&*read, hours));
            if let Some(view) = look.await {
                return view;
            }
        }
    }

    /// A view; `None` while a cut is being encoded. Blocks.
    fn look_now<T>(&self, read: impl Fn(&Aggregator) -> T, hours: Range<u32>) -> Option<View<T>> {
        let inner = self.lock();
        if *self.is_cutting.borrow() {
            return None;
        }
        Some(View {
            open: read(&inner.aggregator),
            sealing: inner.sealing.clone(),
            unconfirmed: inner.unconfirmed.iter().cloned().collect(),
            confirmed: inner.confirmed,
            collector_id: self.collector_id,
            dirty: inner.dirty.within(hours),
            rebuilds_begun: inner.rebuilds_begun,
            stores: inner.aggregator.name_counts().0,
            minutes_from_hour: inner.minutes_from_hour(),
        })
    }

    /// Hours before this one have no minutes any more.
    #[must_use]
    pub fn minutes_from_hour(&self) -> u32 {
        self.lock().minutes_from_hour()
    }

    /// The minutes of days before this one are given up: from now on readers take their hours alone.
    pub fn give_up_minutes(&self, first_day: u32) {
        let mut inner = self.lock();
        inner.minutes_from_day = inner.minutes_from_day.max(first_day);
    }

    /// Whether something is still to be done with a day's minutes: an epoch with rows of it is not confirmed, or
    /// an hour of it is not summed up.
    #[must_use]
    pub fn needs_minutes(&self, day: u32) -> bool {
        let inner = self.lock();
        let is_of_day = |info: &Arc<EpochInfo>| {
            let mut sides = info.sides.values();
            info.days.contains_key(&day) || sides.any(|days| days.contains_key(&day))
        };
        let is_dirty =
            |hour| inner.dirty.is_unchecked(hour) || inner.dirty.stores_of(hour).next().is_some();
        inner.unconfirmed.iter().any(is_of_day) || (day * 24..(day + 1) * 24).any(is_dirty)
    }

    /// A copy of the dirty hours, and the epoch up to which all are confirmed.
    #[must_use]
    pub fn dirty(&self) -> (DirtyHours, u64) {
        let inner = self.lock();
        (inner.dirty.clone(), inner.confirmed)
    }

    /// These hours are about to be summed up anew, from every epoch up to the one returned. To be called
    /// before the statement is sent: a reader that has not seen it looks again.
    pub fn begin_rebuild(&self, hours: Arc<[StoreHour]>) -> u64 {
        let mut inner = self.lock();
        inner.rebuilds_begun += 1;
        inner.rebuilds.push_back(hours);
        if inner.rebuilds.len() > REBUILDS_KEPT {
            inner.rebuilds.pop_front();
        }
        inner.confirmed
    }

    /// The hourly rollups hold these hours as of `epoch`.
    pub fn rebuilt(&self, hours: &[StoreHour], epoch: u64) {
        self.lock().dirty.clean(hours, epoch);
    }

    /// The hours that have begun to be summed up anew since `begun`; `None` when that was too long ago.
    #[must_use]
    pub fn rebuilt_since(&self, begun: u64) -> Option<Vec<Arc<[StoreHour]>>> {
        let inner = self.lock();
        let since = usize::try_from(inner.rebuilds_begun.saturating_sub(begun)).ok()?;
        let first = inner.rebuilds.len().checked_sub(since)?;
        Some(inner.rebuilds.range(first..).cloned().collect())
    }

    /// A day was looked at when every epoch up to this one was confirmed: these of its hours are dirty.
    pub fn checked(&self, day: u32, epoch: u64, touched_ms: i64, found: &[StoreHour]) {
        let mut inner = self.lock();
        inner.dirty.mark(found, epoch, touched_ms);
        inner.dirty.check(day, epoch);
    }

    /// Nobody knows which hours of these days are dirty, until the epoch of each is confirmed.
    pub fn uncheck(&self, days: &[(u32, u64)]) {
        let mut inner = self.lock();
        for (day, epoch) in days {
            inner.dirty.uncheck([*day], *epoch);
        }
    }

    /// How much is held.
    #[must_use]
    pub fn levels(&self) -> Levels {
        let inner = self.lock();
        let (dirty_hours, unchecked_days) = inner.dirty.counts();
        Levels {
            applied: *self.applied.borrow(),
            accepted_samples: inner.aggregator.totals().accepted,
            open_samples: inner.aggregator.open_samples() + inner.sealing_samples,
            outbox_samples: inner.unconfirmed.iter().map(|info| info.samples()).sum(),
            confirmed: inner.confirmed,
            sealed: inner.last_epoch,
            dirty_hours,
            unchecked_days,
        }
    }
}
