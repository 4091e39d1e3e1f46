//! Memory for requests under way: how much there is, what each holds, and who gives way.
//!
//! A request sets aside the memory that it really takes: first the bytes of its body that have arrived (not
//! those that were announced), then what is parsed from them, then, while it waits for the disk, its record.
//! A request whose body is complete may take all the memory there is. Bodies that arrive in pieces share
//! three quarters of it, so that a body that arrives at once finds room. Without room, the slowest bodies
//! are cut, and their senders are told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// What a request takes beside its body and what is made of it: headers, its future, its answer. Measured.
pub const REQUEST_BYTES: usize = 8 * 1024;
/// Room is taken with so much to spare: mostly enough for all that will be made of a body.
const SPARE_BYTES: usize = 16 * 1024;
/// What a body that comes in pieces takes beside its bytes.
const PLACE_BYTES: usize = 512;
/// Room for the first piece of a body, at least: one that trickles does not ask for each byte.
const PIECE_BYTES: usize = 512;
/// Where there is no room, this part of all is made at once: looking for the slowest has its price.
const LUMP: usize = 64;
/// A body so young is only sent away when there is no older one: how fast it is remains to be seen.
const YOUNG: Duration = Duration::from_secs(2);
/// How fast a body is, is what has come of it since the window before this one began: short, so that one
/// that came at once for the most part and then stands still is not taken for a fast one.
const WINDOW: Duration = Duration::from_secs(1);

/// Why no memory could be set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// All of it is taken, and nothing would give way.
    Full,
    /// This body had to make room for others.
    Slowest,
}

/// Memory that requests may take together.
#[derive(Debug)]
pub struct Room {
    bytes_max: usize,
    used: AtomicUsize,
    /// Locked only for bodies that come in pieces, and where there is no room.
    arrivals: Mutex<Arrivals>,
}

/// Bodies that have come in part.
#[derive(Debug, Default)]
struct Arrivals {
    bytes: usize,
    places: HashMap<u64, Place, foldhash::fast::RandomState>,
    next: u64,
}

/// One of them.
#[derive(Debug)]
struct Place {
    bytes: usize,
    pace: Pace,
    /// Dropped with the place, it tells the request that its body has to go.
    _stay: oneshot::Sender<()>,
}

/// How fast a body comes.
#[derive(Debug)]
struct Pace {
    begun: Instant,
    window: Instant,
    bytes: u64,
    bytes_before: u64,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self {
            begun: now,
            window: now,
            bytes: 0,
            bytes_before: 0,
        }
    }

    fn roll(&mut self, now: Instant) {
        let past = now.saturating_duration_since(self.window);
        if past >= WINDOW {
            self.bytes_before = if past < 2 * WINDOW { self.bytes } else { 0 };
            self.bytes = 0;
            self.window = now;
        }
    }

    fn add(&mut self, bytes: usize, now: Instant) {
        self.roll(now);
        self.bytes += bytes as u64;
    }

    /// Who goes first: old before young, slow before fast.
    fn rank(&mut self, now: Instant) -> (bool, u64) {
        self.roll(now);
        let age = now.saturating_duration_since(self.begun);
        let since_window = now.saturating_duration_since(self.window);
        let span = age.min(WINDOW + since_window).max(Duration::from_secs(1));
        let span_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let bytes = self.bytes + self.bytes_before;
        (age < YOUNG, bytes.saturating_mul(1_000) / span_ms)
    }
}

impl Arrivals {
    /// Sends the slowest away until so much is free, and says how much is.
    fn make_room(&mut self, bytes: usize, now: Instant) -> usize {
        let places = self.places.iter_mut();
        let mut ranked: Vec<_> = places
            .map(|(id, place)| (place.pace.rank(now), *id))
            .collect();
        ranked.sort_unstable();
        let mut freed = 0;
        for (_, id) in ranked {
            if freed >= bytes {
                break;
            }
            freed += self.places.remove(&id).map_or(0, |place| place.bytes);
        }
        self.bytes -= freed;
        freed
    }
}

impl Room {
    /// So much of it.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            used: AtomicUsize::new(0),
            arrivals: Mutex::default(),
        })
    }

    /// Bytes taken, and the most that may be.
    pub fn used(&self) -> (usize, usize) {
        (self.used.load(Ordering::Relaxed), self.bytes_max)
    }

    /// What bodies that come in pieces may take of it.
    fn arriving_max(&self) -> usize {
        self.bytes_max - self.bytes_max / 4
    }

    fn lock(&self) -> MutexGuard<'_, Arrivals> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn try_take(&self, bytes: usize) -> bool {
        let more = |used: usize| {
            let used = used.checked_add(bytes)?;
            (used <= self.bytes_max).then_some(used)
        };
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    /// Takes memory for a request whose body is whole.
    fn take(&self, bytes: usize) -> Result<(), NoRoom> {
        if self.try_take(bytes) {
            return Ok(());
        }
        self.take_from(&mut self.lock(), bytes, Instant::now())
    }

    /// Takes what there may not be room for: bodies that come in pieces make some.
    #[cold]
    fn take_from(&self, arrivals: &mut Arrivals, bytes: usize, now: Instant) -> Result<(), NoRoom> {
        while !self.try_take(bytes) {
            let (used, _) = self.used();
            let others = used.saturating_sub(arrivals.bytes);
            // Then nobody has to go for nothing.
            if arrivals.places.is_empty() || others.saturating_add(bytes) > self.bytes_max {
                return Err(NoRoom::Full);
            }
            let missing = used.saturating_add(bytes).saturating_sub(self.bytes_max);
            self.give(arrivals.make_room(missing.max(self.bytes_max / LUMP), now));
        }
        Ok(())
    }

    /// A piece of a body has come, which takes so much more.
    fn arrived(&self, id: u64, piece_bytes: usize, more: usize) -> Result<(), NoRoom> {
        let now = Instant::now();
        let mut arrivals = self.lock();
        let place = arrivals.places.get_mut(&id).ok_or(NoRoom::Slowest)?;
        place.pace.add(piece_bytes, now);
        if more == 0 {
            return Ok(());
        }
        if place.bytes + more > self.arriving_max() {
            return Err(NoRoom::Full);
        }
        let missing = (arrivals.bytes + more).saturating_sub(self.arriving_max());
        if missing > 0 {
            self.give(arrivals.make_room(missing.max(self.bytes_max / LUMP), now));
        }
        if !arrivals.places.contains_key(&id) {
            // This body was the slowest itself.
            return Err(NoRoom::Slowest);
        }
        self.take_from(&mut arrivals, more, now)?;
        let Some(place) = arrivals.places.get_mut(&id) else {
            self.give(more);
            return Err(NoRoom::Slowest);
        };
        place.bytes += more;
        arrivals.bytes += more;
        Ok(())
    }
}

/// Memory set aside for a request, given back when it ends.
#[derive(Debug)]
pub struct Held {
    room: Arc<Room>,
    used: usize,
    /// Taken: mostly some more.
    taken: usize,
}

impl Held {
    /// Holds memory for a body that is whole.
    pub fn new(room: &Arc<Room>, body_bytes: usize) -> Result<Self, NoRoom> {
        let mut held = Self {
            room: Arc::clone(room),
            used: 0,
            taken: 0,
        };
        held.add(body_bytes + REQUEST_BYTES)?;
        Ok(held)
    }

    /// Sets more aside.
    pub fn add(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let used = self.used.saturating_add(bytes);
        self.set(used)
    }

    /// Sets this much aside in all.
    pub fn set(&mut self, bytes: usize) -> Result<(), NoRoom> {
        if bytes > self.taken {
            let missing = bytes - self.taken;
            let spare = missing.saturating_add(SPARE_BYTES);
            if self.room.try_take(spare) {
                self.taken += spare;
            } else {
                self.room.take(missing)?;
                self.taken += missing;
            }
        }
        self.used = bytes;
        Ok(())
    }

    /// Parts with some of it, which is held for something else from now on.
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.taken);
        self.taken -= bytes;
        self.used = self.used.saturating_sub(bytes);
        Self {
            room: Arc::clone(&self.room),
            used: bytes,
            taken: bytes,
        }
    }

    /// What is in use of it.
    pub fn bytes(&self) -> usize {
        self.used
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.give(self.taken);
    }
}

/// A body that comes in pieces, and the room it has.
#[derive(Debug)]
pub struct Arriving {
    room: Arc<Room>,
    id: u64,
    leave: oneshot::Receiver<()>,
    buffer: Vec<u8>,
    /// What the head said, if it did.
    announced: usize,
}

impl Arriving {
    /// Begins the arrival of a body of which nothing is there yet.
    pub fn new(room: &Arc<Room>, announced: Option<usize>) -> Result<Self, NoRoom> {
        let (stay, leave) = oneshot::channel();
        let place = Place {
            bytes: 0,
            pace: Pace::new(Instant::now()),
            _stay: stay,
        };
        let mut arrivals = room.lock();
        let id = arrivals.next;
        arrivals.next += 1;
        arrivals.places.insert(id, place);
        drop(arrivals);
        let arriving = Self {
            room: Arc::clone(room),
            id,
            leave,
            buffer: Vec::new(),
            announced: announced.unwrap_or(usize::MAX),
        };
        room.arrived(id, 0, PLACE_BYTES)?;
        Ok(arriving)
    }

    /// Bytes that have come.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Adds a piece, if there is room for it.
    ///
    /// # Errors
    /// When there is none, or this body has had to make some.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), NoRoom> {
        let length = self.buffer.len() + piece.len();
        let capacity = self.buffer.capacity();
        // Doubled, so that a long body is not copied with each piece; but never past what was announced.
        let wanted = length
            .max((2 * capacity).min(self.announced))
            .max(PIECE_BYTES);
        let more = if length > capacity {
            wanted - capacity
        } else {
            0
        };
        self.room.arrived(self.id, piece.len(), more)?;
        if more > 0 {
            self.buffer.reserve_exact(wanted - self.buffer.len());
        }
        self.buffer.extend_from_slice(piece);
        Ok(())
    }

    /// Returns when this body has to make room.
    pub async fn has_to_go(&mut self) {
        let _dropped = (&mut self.leave).await;
    }

    /// Ends the arrival of a body that is whole.
    ///
    /// # Errors
    /// When the body has had to make room, or there is none for what follows.
    pub fn whole(mut self) -> Result<(Bytes, Held), NoRoom> {
        let body = std::mem::take(&mut self.buffer);
        let taken = self.leave_place().ok_or(NoRoom::Slowest)?;
        let mut held = Held {
            room: Arc::clone(&self.room),
            used: body.capacity(),
            taken,
        };
        held.add(REQUEST_BYTES)?;
        Ok((body.into(), held))
    }

    /// What it had room for, if it still has.
    fn leave_place(&self) -> Option<usize> {
        let mut arrivals = self.room.lock();
        let place = arrivals.places.remove(&self.id)?;
        arrivals.bytes -= place.bytes;
        Some(place.bytes)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if let Some(bytes) = self.leave_place() {
            self.room.give(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    /// A body of which so much has come.
    fn arriving(room: &Arc<Room>, bytes: usize) -> Arriving {
        let mut arriving = Arriving::new(room, Some(bytes)).unwrap();
        arriving.push(&vec![0; bytes]).unwrap();
        arriving
    }

    async fn has_to_go(body: &mut Arriving) -> bool {
        let going = body.has_to_go();
        tokio::time::timeout(Duration::ZERO, going).await.is_ok()
    }

    #[test]
    fn what_is_set_aside_is_what_has_come_and_all_of_it_is_given_back() {
        let room = Room::new(1024 * KIB);
        let mut announced = Arriving::new(&room, Some(64 * KIB)).unwrap();
        assert!(room.used().0 <= KIB, "an announcement takes nothing");
        for _ in 0..1_000 {
            announced.push(&[0; 10]).unwrap();
        }
        let (used, _) = room.used();
        assert!((10_000..22_000).contains(&used), "{used} for 10,000 bytes");
        announced.push(&vec![0; 54 * KIB]).unwrap();
        let (used, _) = room.used();
        assert!(used <= 65 * KIB, "never past what was announced: {used}");
        let (body, mut held) = announced.whole().unwrap();
        assert_eq!(body.len(), 10_000 + 54 * KIB);
        held.set(100 * KIB).unwrap();
        let half = held.split(60 * KIB);
        drop(held);
        assert_eq!(room.used().0, 60 * KIB);
        drop(half);
        drop(arriving(&room, 5 * KIB));
        assert_eq!(room.used().0, 0);
        assert_eq!(room.lock().bytes, 0);
    }

    #[tokio::test]
    async fn the_slowest_goes_and_a_share_stays_for_bodies_that_come_at_once() {
        let room = Room::new(256 * KIB);
        let mut slow = arriving(&room, 40 * KIB);
        let mut faster = arriving(&room, 60 * KIB);
        let mut fastest = arriving(&room, 80 * KIB);
        // Three quarters are taken, nearly: another piece does not fit in.
        assert!(fastest.push(&[0; 20 * KIB]).is_ok());
        assert!(has_to_go(&mut slow).await && !has_to_go(&mut faster).await);
        assert!(matches!(slow.push(&[0]), Err(NoRoom::Slowest)));
        assert!(matches!(slow.whole(), Err(NoRoom::Slowest)));
        // The last quarter is there for those that are whole, and they may have the others' as well.
        let first = Held::new(&room, 60 * KIB).unwrap();
        assert!(!has_to_go(&mut faster).await);
        let second = Held::new(&room, 60 * KIB).unwrap();
        assert!(has_to_go(&mut faster).await && !has_to_go(&mut fastest).await);
        // Nobody goes for what there can never be room for.
        assert!(matches!(Held::new(&room, 200 * KIB), Err(NoRoom::Full)));
        assert!(!has_to_go(&mut fastest).await);
        drop((first, second, faster, fastest));
        assert_eq!(room.used().0, 0);
    }

    #[tokio::test]
    async fn the_slowest_may_be_the_one_that_asks() {
        let room = Room::new(256 * KIB);
        let mut others = [arriving(&room, 90 * KIB), arriving(&room, 90 * KIB)];
        let mut small = Arriving::new(&room, None).unwrap();
        let pushed = (0..20).find_map(|_| small.push(&[0; KIB]).err());
        assert!(matches!(pushed, Some(NoRoom::Slowest)));
        for other in &mut others {
            assert!(!has_to_go(other).await);
        }
        drop(small);
        drop(others);
        assert_eq!(room.used().0, 0);
    }

    #[test]
    fn who_stands_still_is_slower_than_who_comes_slowly_and_the_young_go_last() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        // A large piece, and nothing more.
        let mut burst = Pace::new(start);
        burst.add(60_000, start);
        // 8 kB a second.
        let mut steady = Pace::new(start);
        for second in 0..20 {
            steady.add(8_000, at(second));
        }
        assert!(
            burst.rank(at(2)) < steady.rank(at(20)),
            "also soon after it"
        );
        assert!(burst.rank(at(20)) < steady.rank(at(20)));
        let (_, rate) = steady.rank(at(20));
        assert!((7_000..=9_000).contains(&rate), "{rate}");
        steady.add(8_000, at(20));
        let mut young = Pace::new(at(19));
        young.add(1, at(19));
        assert!(young.rank(at(20)) > steady.rank(at(20)));
        assert!(young.rank(at(21)) < steady.rank(at(21)));
    }
}
