//! Cells by their keys, of which a reader can keep what they were at one moment.
//!
//! Cells lie in chunks, and what a reader keeps is the list of chunks: taking it costs microseconds however many
//! cells there are, and nobody waits while the reader looks at them. A chunk that is changed while somebody keeps it
//! is copied first, once for each reader at most. Cells keep their order, so those that are being filled lie together.

use std::hash::Hash;
use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

/// Entries of a chunk. A copy of one takes some ten microseconds.
const CHUNK: usize = 128;

/// A list to which others may add while somebody reads what it was.
#[derive(Debug, Clone)]
pub struct Chunks<T> {
    chunks: Vec<Arc<Vec<T>>>,
    len: usize,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            len: 0,
        }
    }
}

impl<T> Chunks<T> {
    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entry at a place.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&T> {
        self.chunks.get(place / CHUNK)?.get(place % CHUNK)
    }

    /// The entries, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }
}

impl<T: Clone> Chunks<T> {
    /// Adds an entry, and says where it is.
    pub fn push(&mut self, entry: T) -> usize {
        let place = self.len;
        if place.is_multiple_of(CHUNK) {
            self.chunks.push(Arc::new(Vec::with_capacity(CHUNK)));
        }
        if let Some(last) = self.chunks.last_mut() {
            Arc::make_mut(last).push(entry);
            self.len += 1;
        }
        place
    }

    /// What the list is now. The list itself goes on.
    #[must_use]
    pub fn keep(&self) -> Self {
        self.clone()
    }

    /// Takes all entries out. Those that somebody keeps are copied.
    pub fn take(&mut self) -> Vec<T> {
        let Self { chunks, len } = std::mem::take(self);
        let mut entries = Vec::with_capacity(len);
        for chunk in chunks {
            entries.append(&mut Arc::unwrap_or_clone(chunk));
        }
        entries
    }
}

/// Cells by key.
#[derive(Debug)]
pub struct Cells<K, V> {
    places: HashMap<K, usize, foldhash::fast::RandomState>,
    cells: Chunks<(K, V)>,
}

impl<K, V> Default for Cells<K, V> {
    fn default() -> Self {
        Self {
            places: HashMap::default(),
            cells: Chunks::default(),
        }
    }
}

impl<K: Copy + Eq + Hash, V: Default + Clone> Cells<K, V> {
    /// The cell of a key, made if need be.
    pub fn at(&mut self, key: K) -> &mut V {
        let place = match self.places.entry(key) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(free) => *free.insert(self.cells.push((key, V::default()))),
        };
        // A place is noted when its cell is made, and both go together.
        let chunk = &mut self.cells.chunks[place / CHUNK];
        &mut Arc::make_mut(chunk)[place % CHUNK].1
    }

    /// How many cells there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// What the cells are now. They themselves go on.
    #[must_use]
    pub fn keep(&self) -> Chunks<(K, V)> {
        self.cells.keep()
    }

    /// Takes all cells out, in the order in which they came.
    pub fn take(&mut self) -> Chunks<(K, V)> {
        self.places = HashMap::default();
        std::mem::take(&mut self.cells)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_stays_as_it_was_while_cells_are_filled_and_taken() {
        let mut cells = Cells::<usize, u64>::default();
        for key in 0..3 * CHUNK + 1 {
            *cells.at(key) += 1;
        }
        let before = cells.keep();
        for key in (0..4 * CHUNK).step_by(7) {
            *cells.at(key) += 1;
        }
        let between = cells.keep();
        *cells.at(0) += 1;
        let mut taken = cells.take();
        assert!(cells.is_empty());
        *cells.at(0) += 1;

        assert_eq!(before.len(), 3 * CHUNK + 1);
        assert!(
            (0..)
                .zip(before.iter())
                .all(|(key, cell)| *cell == (key, 1))
        );
        let find = |cells: &Chunks<(usize, u64)>, key| {
            let mut cells = cells.iter();
            cells.find(|cell| cell.0 == key).map(|cell| cell.1)
        };
        assert_eq!((find(&between, 0), find(&between, 1)), (Some(2), Some(1)));
        assert_eq!(between.len(), taken.len());
        assert_eq!((find(&taken, 0), find(&taken, 7)), (Some(3), Some(2)));
        assert_eq!(taken.take().len(), between.len());
        assert_eq!(find(&cells.keep(), 0), Some(1));
    }

    #[test]
    fn only_chunks_that_are_changed_are_copied() {
        let mut cells = Cells::<usize, u64>::default();
        for key in 0..10 * CHUNK {
            *cells.at(key) += 1;
        }
        let kept = cells.keep();
        *cells.at(5 * CHUNK) += 1;
        *cells.at(5 * CHUNK + 1) += 1;
        let pairs = kept.chunks.iter().zip(&cells.cells.chunks);
        let shared = pairs.filter(|(kept, now)| Arc::ptr_eq(kept, now));
        assert_eq!(shared.count(), 9);
    }

    #[test]
    fn entries_are_found_at_their_places() {
        let mut list = Chunks::default();
        for number in 0..2 * CHUNK + 3 {
            assert_eq!(list.push(number), number);
        }
        assert_eq!(list.get(2 * CHUNK + 2), Some(&(2 * CHUNK + 2)));
        assert_eq!(list.get(2 * CHUNK + 3), None);
        assert_eq!(list.len(), 2 * CHUNK + 3);
        assert!(list.take().into_iter().eq(0..2 * CHUNK + 3));
        assert_eq!((list.len(), list.get(0)), (0, None));
    }
}
