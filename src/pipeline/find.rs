//! Looks for the records of a batch in the journal that is in use.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tillwatch_journal::Position;
use tillwatch_model::journal_record_v1::decode;
use tillwatch_model::{BatchHeader, KeyId};

use crate::doors::Hall;
use crate::intake::keys::Key;
use crate::query::explain::{Find, FindError, Found, Wanted};
use crate::request_id::RequestId;
use crate::world::World;

/// Batches of one request with a key that are shown.
const BATCHES_MAX: usize = 20;

/// What a record is recognised by.
enum Mark<'w> {
    Number(&'w str, &'w str, [u8; 16], u64),
    Keys(Vec<KeyId>),
    At(Position),
}

impl Mark<'_> {
    fn is_of(&self, position: Position, header: &BatchHeader<'_>) -> bool {
        match self {
            Self::Number(store_id, terminal_id, queue, seq) => {
                !header.is_keyed
                    && header.seq == *seq
                    && header.queue == *queue
                    && header.store_id == *store_id
                    && header.terminal_id == *terminal_id
            }
            Self::Keys(ids) => header.is_keyed && ids.contains(&header.queue),
            Self::At(wanted) => *wanted == position,
        }
    }

    fn found_max(&self) -> usize {
        match self {
            Self::Number(..) | Self::At(_) => 1,
            Self::Keys(_) => BATCHES_MAX,
        }
    }
}

/// Where and for how long records are looked for.
pub(super) struct Search {
    /// The journal's folder.
    pub(super) journal_dir: PathBuf,
    /// How old a record may be. A file holds older ones until all of it is used again: they are nobody's any more.
    pub(super) age_max: Duration,
    /// What knows the requests.
    pub(super) hall: Arc<Hall>,
    /// Disk and clock.
    pub(super) world: World,
}

/// A search through the journal.
pub(super) fn finder(search: Search) -> Arc<Find> {
    let age_ms_max = i64::try_from(search.age_max.as_millis()).unwrap_or(i64::MAX);
    Arc::new(move |wanted: &Wanted| {
        let Search {
            journal_dir,
            hall,
            world,
            ..
        } = &search;
        let Some(mark) = mark(wanted, hall)? else {
            return Ok(Vec::new());
        };
        let since_ms = world.clock.now_ms().saturating_sub(age_ms_max);
        let mut found = Vec::new();
        let mut visit = |position: Position, payload: &[u8]| {
            // Of a record that cannot be read nobody knows whose it is.
            let is_wanted = decode(payload).is_ok_and(|(header, _)| {
                header.received_at_ms >= since_ms && mark.is_of(position, &header)
            });
            if is_wanted {
                found.push(Found {
                    position: position.0,
                    payload: payload.to_vec(),
                });
            }
            if found.len() < mark.found_max() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        tillwatch_journal::search(&*world.disk, journal_dir, &mut visit)
            .map_err(|error| FindError::Journal(crate::logging::chain(&error)))?;
        Ok(found)
    })
}

/// What is looked for; `None`: nothing is known of it.
fn mark<'w>(wanted: &'w Wanted, hall: &Hall) -> Result<Option<Mark<'w>>, FindError> {
    Ok(match wanted {
        Wanted::Batch {
            store_id,
            terminal_id,
            queue,
            seq,
        } => Some(Mark::Number(
            store_id,
            terminal_id,
            queue.into_bytes(),
            *seq,
        )),
        Wanted::Key {
            store_id,
            terminal_id,
            key,
        } => {
            let key = Key::new(key.as_bytes()).ok_or(FindError::NotAKey)?;
            let id = |place| key.id(store_id, terminal_id, place);
            Some(Mark::Keys((0..BATCHES_MAX).map(id).collect()))
        }
        Wanted::Request(name) => {
            let mut numbers = RequestId::numbers_of(name);
            let at = numbers.find_map(|number| hall.recent().position(number));
            at.map(|at| Mark::At(Position(at)))
        }
    })
}
