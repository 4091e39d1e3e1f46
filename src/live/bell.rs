//! Wakes those who read, a few at a time.

use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

/// Readers that are woken at once. A thousand at once would keep processors busy for milliseconds, four times a second.
const ROW: usize = 10;
/// How long after one row the next is woken: the last of a thousand readers within a fifth of a second.
const APART: Duration = Duration::from_millis(2);

/// Wakes those who read.
#[derive(Debug)]
pub(super) struct Bell {
    rows: Vec<watch::Sender<()>>,
    rung: Notify,
}

impl Bell {
    /// For so many readers at most.
    pub(super) fn new(readers_max: usize) -> Self {
        let rows = readers_max.div_ceil(ROW).max(1);
        Self {
            rows: (0..rows).map(|_| watch::Sender::new(())).collect(),
            rung: Notify::new(),
        }
    }

    /// What a reader in this place waits for.
    pub(super) fn listen(&self, place: usize) -> watch::Receiver<()> {
        let last = self.rows.len() - 1;
        self.rows[(place / ROW).min(last)].subscribe()
    }

    /// There is something to read. The first row is woken at once, and the others by [`Bell::walk`].
    pub(super) fn ring(&self) {
        for row in self.rows.iter().take(1) {
            row.send_replace(());
        }
        self.rung.notify_one();
    }

    /// Wakes all at once.
    pub(super) fn ring_all(&self) {
        for row in &self.rows {
            row.send_replace(());
        }
    }

    /// Wakes row after row whenever it was rung, until it is aborted.
    pub(super) async fn walk(&self) {
        loop {
            self.rung.notified().await;
            let mut next = Instant::now();
            let rows = self.rows.iter().skip(1);
            for row in rows.filter(|row| row.receiver_count() > 0) {
                next += APART;
                sleep_until(next).await;
                row.send_replace(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::READERS_MAX;

    #[test]
    fn the_last_reader_is_woken_within_a_quarter_of_a_second() {
        let rows = u32::try_from(READERS_MAX.div_ceil(ROW)).unwrap();
        assert!(APART * rows < Duration::from_millis(250));
    }

    #[tokio::test]
    async fn rows_are_woken_one_after_the_other_and_none_is_forgotten() {
        let bell = Bell::new(25);
        let mut readers = [0, 9, 10, 24, 1_000].map(|place| bell.listen(place));
        let woken = |readers: &[watch::Receiver<()>]| {
            let woken = readers
                .iter()
                .filter(|reader| reader.has_changed().unwrap());
            woken.count()
        };
        bell.ring();
        assert_eq!(woken(&readers), 2);
        let began = Instant::now();
        tokio::select! {
            result = readers[4].changed() => result.unwrap(),
            () = bell.walk() => unreachable!("it walks until it is aborted"),
        }
        assert!(began.elapsed() >= APART * 2);
        assert_eq!(woken(&readers[..4]), 4);
        readers.iter_mut().for_each(watch::Receiver::mark_unchanged);
        bell.ring_all();
        assert_eq!(woken(&readers), 5);
    }
}
