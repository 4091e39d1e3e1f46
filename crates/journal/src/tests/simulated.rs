//! A disk in memory that can lose power after any operation, tear writes, fail and fill up.
//!
//! It keeps a log of everything asked of it. A crash is computed from the log up to some entry, so
//! one run is crashed at every place and in every way.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::power_cut::PowerCut;
pub(super) use super::power_cut::{Event, Image, Loss};
use crate::{Disk, DiskFile, Lock};

/// What goes wrong without a power cut; counted down.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// The sync that fails, 1 the next.
    pub(super) sync_fails_in: Option<u64>,
    /// The write that fails half way, 1 the next.
    pub(super) write_fails_in: Option<u64>,
    /// The most bytes that all files may have.
    pub(super) capacity_bytes: Option<usize>,
}

#[derive(Debug)]
pub(super) struct SimulatedDisk {
    state: Arc<Mutex<State>>,
    is_locked: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct State {
    base: Image,
    /// As running processes see it.
    now: Image,
    log: Vec<Event>,
    faults: Faults,
}

impl SimulatedDisk {
    pub(super) fn new(base: Image) -> Arc<Self> {
        let state = State {
            now: base.clone(),
            base,
            ..State::default()
        };
        Arc::new(Self {
            state: Arc::new(Mutex::new(state)),
            is_locked: Arc::default(),
        })
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn note(&self, event: Event) {
        self.lock_state().log.push(event);
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        self.lock_state().faults = faults;
    }

    pub(super) fn log(&self) -> Vec<Event> {
        self.lock_state().log.clone()
    }

    /// As processes see it, synced or not.
    pub(super) fn now(&self) -> Image {
        self.lock_state().now.clone()
    }

    /// What a power cut after the first `events` entries of the log leaves.
    pub(super) fn crash(&self, events: usize, loss: Loss) -> Image {
        let state = self.lock_state();
        let mut power_cut = PowerCut::new(state.base.clone());
        for event in &state.log[..events] {
            power_cut.follow(event);
        }
        power_cut.leaves(loss)
    }
}

fn not_found() -> io::Error {
    io::Error::from(ErrorKind::NotFound)
}

#[derive(Debug)]
struct SimulatedFile {
    state: Arc<Mutex<State>>,
    file: usize,
}

impl DiskFile for SimulatedFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let offset = usize::try_from(offset).unwrap();
        let used: usize = state
            .now
            .names
            .values()
            .map(|file| state.now.contents[*file].len())
            .sum();
        let grows = (offset + bytes.len()).saturating_sub(state.now.contents[self.file].len());
        if grows > 0
            && state
                .faults
                .capacity_bytes
                .is_some_and(|capacity| used + grows > capacity)
        {
            return Err(io::Error::from(ErrorKind::StorageFull));
        }
        let fails = count_down(&mut state.faults.write_fails_in);
        let written = if fails {
            &bytes[..bytes.len() / 2]
        } else {
            bytes
        };
        state.now.apply_write(self.file, offset, written);
        state.log.push(Event::Write {
            file: self.file,
            offset,
            bytes: written.to_vec(),
        });
        if fails {
            Err(io::Error::other("simulated write error"))
        } else {
            Ok(())
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        if count_down(&mut state.faults.sync_fails_in) {
            state.log.push(Event::SyncFailed { file: self.file });
            return Err(io::Error::other("simulated sync error"));
        }
        state.log.push(Event::Sync { file: self.file });
        Ok(())
    }
}

fn count_down(counter: &mut Option<u64>) -> bool {
    match counter {
        Some(1) => {
            *counter = None;
            true
        }
        Some(count) => {
            *count -= 1;
            false
        }
        None => false,
    }
}

impl Disk for SimulatedDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.lock_state();
        let inside = state
            .now
            .names
            .keys()
            .filter(|path| path.parent() == Some(dir));
        Ok(inside
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock_state();
        if state.now.names.contains_key(path) {
            return Err(io::Error::from(ErrorKind::AlreadyExists));
        }
        let file = state.now.contents.len();
        state.now.contents.push(Vec::new());
        let event = Event::Create {
            path: path.to_owned(),
            file,
        };
        state.now.apply_name(&event);
        state.log.push(event);
        Ok(Box::new(SimulatedFile {
            state: Arc::clone(&self.state),
            file,
        }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = *self
            .lock_state()
            .now
            .names
            .get(path)
            .ok_or_else(not_found)?;
        Ok(Box::new(SimulatedFile {
            state: Arc::clone(&self.state),
            file,
        }))
    }

    fn read(&self, path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
        let state = self.lock_state();
        let content = &state.now.contents[*state.now.names.get(path).ok_or_else(not_found)?];
        let limit = usize::try_from(limit_bytes).unwrap().min(content.len());
        Ok(content[..limit].to_vec())
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let state = self.lock_state();
        Ok(state.now.contents[*state.now.names.get(path).ok_or_else(not_found)?].len() as u64)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock_state();
        if !state.now.names.contains_key(from) {
            return Err(not_found());
        }
        let event = Event::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
        };
        state.now.apply_name(&event);
        state.log.push(event);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock_state();
        if !state.now.names.contains_key(path) {
            return Err(not_found());
        }
        let event = Event::Remove {
            path: path.to_owned(),
        };
        state.now.apply_name(&event);
        state.log.push(event);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.lock_state().log.push(Event::SyncDir {
            dir: dir.to_owned(),
        });
        Ok(())
    }

    fn lock(&self, _path: &Path) -> io::Result<Lock> {
        if self.is_locked.swap(true, Ordering::SeqCst) {
            return Ok(Lock::HeldBy(None));
        }
        Ok(Lock::Held(Box::new(Unlock(Arc::clone(&self.is_locked)))))
    }
}

struct Unlock(Arc<AtomicBool>);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}
