//! A disk in memory that can lose power after any operation, tear writes, fail and fill up.
//!
//! It keeps a log of everything asked of it. A crash is computed from the log up to some entry, so
//! one run is crashed at every place and in every way.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::journal::{Disk, DiskFile, Lock};

/// Names and contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) names: BTreeMap<PathBuf, usize>,
    pub(super) contents: Vec<Vec<u8>>,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Create {
        path: PathBuf,
        file: usize,
    },
    Write {
        file: usize,
        offset: usize,
        bytes: Vec<u8>,
    },
    Sync {
        file: usize,
    },
    /// The kernel gives up on what was not written and counts it as clean.
    SyncFailed {
        file: usize,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    SyncDir {
        dir: PathBuf,
    },
    /// The journal said that this position is durable.
    Acknowledged(u64),
    /// The caller has everything up to here at rest.
    Applied(u64),
}

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loss {
    All,
    Nothing,
    /// Each write, and a prefix of the names, by chance.
    Some {
        seed: u64,
    },
    /// Each sector of each write by chance.
    Torn {
        seed: u64,
        sector_bytes: usize,
    },
}

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

impl Image {
    fn apply_name(&mut self, event: &Event) {
        match event {
            Event::Create { path, file } => {
                self.names.insert(path.clone(), *file);
            }
            Event::Rename { from, to } => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            Event::Remove { path } => {
                self.names.remove(path);
            }
            _ => {}
        }
    }

    fn apply_write(&mut self, file: usize, offset: usize, bytes: &[u8]) {
        if self.contents.len() <= file {
            self.contents.resize(file + 1, Vec::new());
        }
        let content = &mut self.contents[file];
        content.resize(content.len().max(offset + bytes.len()), 0);
        content[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    pub(super) fn file(&mut self, path: &Path) -> &mut Vec<u8> {
        let file = self.names[path];
        &mut self.contents[file]
    }

    /// Segments with records, in order.
    pub(super) fn segments(&self) -> Vec<PathBuf> {
        let is_segment = |path: &&PathBuf| {
            let name = path.file_name().and_then(OsStr::to_str).unwrap();
            name.starts_with("j-")
                && path
                    .parent()
                    .is_some_and(|dir| !dir.ends_with("quarantine"))
        };
        self.names.keys().filter(is_segment).cloned().collect()
    }
}

/// Follows a log and knows what is certain.
struct PowerCut {
    certain: Image,
    writes: Vec<(usize, usize, Vec<u8>)>,
    names: Vec<Event>,
}

impl PowerCut {
    fn new(certain: Image) -> Self {
        Self {
            certain,
            writes: Vec::new(),
            names: Vec::new(),
        }
    }

    fn follow(&mut self, event: &Event) {
        match event {
            Event::Write {
                file,
                offset,
                bytes,
            } => self.writes.push((*file, *offset, bytes.clone())),
            Event::Sync { file } => {
                for (_, offset, bytes) in self.writes.extract_if(.., |(of, _, _)| of == file) {
                    self.certain.apply_write(*file, offset, &bytes);
                }
            }
            Event::SyncFailed { file } => self.writes.retain(|(of, _, _)| of != file),
            Event::SyncDir { dir } => {
                let is_inside = |event: &mut Event| match event {
                    Event::Create { path, .. } | Event::Remove { path } => {
                        path.parent() == Some(dir)
                    }
                    Event::Rename { to, .. } => to.parent() == Some(dir),
                    _ => false,
                };
                for event in self.names.extract_if(.., is_inside) {
                    self.certain.apply_name(&event);
                }
            }
            Event::Acknowledged(_) | Event::Applied(_) => {}
            Event::Create { .. } | Event::Rename { .. } | Event::Remove { .. } => {
                self.names.push(event.clone())
            }
        }
    }

    fn leaves(self, loss: Loss) -> Image {
        let mut image = self.certain;
        let seed = match loss {
            Loss::Some { seed } | Loss::Torn { seed, .. } => seed,
            Loss::All | Loss::Nothing => 0,
        };
        let mut chance = fastrand::Rng::with_seed(seed);
        for (file, offset, bytes) in &self.writes {
            match loss {
                Loss::All => {}
                Loss::Nothing => image.apply_write(*file, *offset, bytes),
                Loss::Some { .. } => {
                    if chance.bool() {
                        image.apply_write(*file, *offset, bytes);
                    }
                }
                Loss::Torn { sector_bytes, .. } => {
                    let mut start = *offset;
                    while start < offset + bytes.len() {
                        let end = (start + 1)
                            .next_multiple_of(sector_bytes)
                            .min(offset + bytes.len());
                        if chance.bool() {
                            image.apply_write(*file, start, &bytes[start - offset..end - offset]);
                        }
                        start = end;
                    }
                }
            }
        }
        let names_kept = match loss {
            Loss::All => 0,
            Loss::Nothing => self.names.len(),
            Loss::Some { .. } | Loss::Torn { .. } => chance.usize(0..=self.names.len()),
        };
        for event in &self.names[..names_kept] {
            image.apply_name(event);
        }
        let files = image
            .names
            .values()
            .copied()
            .max()
            .map_or(0, |file| file + 1);
        image
            .contents
            .resize(files.max(image.contents.len()), Vec::new());
        image
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
