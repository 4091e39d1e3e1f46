//! What a log of disk operations leaves after a power cut: all that was synced, and of the rest as
//! much as the kind of loss says.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

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

impl Image {
    pub(super) fn apply_name(&mut self, event: &Event) {
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

    pub(super) fn apply_write(&mut self, file: usize, offset: usize, bytes: &[u8]) {
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
pub(super) struct PowerCut {
    certain: Image,
    writes: Vec<(usize, usize, Vec<u8>)>,
    names: Vec<Event>,
}

impl PowerCut {
    pub(super) fn new(certain: Image) -> Self {
        Self {
            certain,
            writes: Vec::new(),
            names: Vec::new(),
        }
    }

    pub(super) fn follow(&mut self, event: &Event) {
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

    pub(super) fn leaves(self, loss: Loss) -> Image {
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
