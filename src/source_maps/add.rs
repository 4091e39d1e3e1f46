//! The maps in the folder of a build.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sourcemap::{DecodedMap, SourceMap};
use walkdir::WalkDir;

use crate::source_maps::error::{SourceMapsError, cannot, failed};
use crate::source_maps::{FILE_BYTES_MAX, RELEASES_MAX, SUFFIX, SourceMaps, read_bounded};

/// What a map may be long with the texts of its sources. Unit: bytes.
const BUILT_BYTES_MAX: u64 = 128 << 20;
/// What the maps of a release may take with their scripts. Unit: bytes.
const RELEASE_BYTES_MAX: u64 = 256 << 20;
/// Files in the folder of a build that are looked at.
const FILES_MAX: usize = 50_000;
/// How deep folders may lie in it.
const DEPTH_MAX: usize = 20;

/// What was added.
#[derive(Debug)]
pub struct Added {
    /// The names of the scripts that have a map now.
    pub scripts: Vec<String>,
    /// What was written. Unit: bytes.
    pub bytes: u64,
    /// Maps that were left out.
    pub left_out: Vec<LeftOut>,
    /// Releases whose maps were taken away, because there were too many.
    pub removed: Vec<String>,
}

/// A map that was left out.
#[derive(Debug)]
pub struct LeftOut {
    /// Its file.
    pub path: PathBuf,
    /// Why it was.
    pub why: String,
}

/// Where a script and its map are.
#[derive(Debug, Default)]
struct Found {
    script: Option<PathBuf>,
    /// The map, or the script in which it stands.
    map: Option<PathBuf>,
}

impl SourceMaps {
    /// Adds the maps in the folder of a build to those of a release. A map of the same name is replaced.
    ///
    /// # Errors
    /// When the folder has no map that can be used, or something cannot be read or written.
    pub fn add(&self, release: &str, build: &Path) -> Result<Added, SourceMapsError> {
        let folder = self
            .folder_of(release)
            .ok_or_else(|| SourceMapsError::BadRelease(release.to_owned()))?;
        let mut added = Added {
            scripts: Vec::new(),
            bytes: 0,
            left_out: Vec::new(),
            removed: Vec::new(),
        };
        let (found, looked_at) = look(build, &mut added.left_out)?;
        fs::create_dir_all(&folder).map_err(failed("make", &folder))?;
        for (name, found) in found {
            let Some(map) = found.map else { continue };
            let kept = kept(&map, found.script.as_deref()).and_then(|(map, script)| {
                let bytes = (map.len() + script.as_ref().map_or(0, Vec::len)) as u64;
                if added.bytes + bytes > RELEASE_BYTES_MAX {
                    let mebibytes = RELEASE_BYTES_MAX >> 20;
                    return Err(cannot(&format!(
                        "a release has {mebibytes} MiB of maps at most"
                    )));
                }
                Ok((map, script, bytes))
            });
            match kept {
                Ok((map, script, bytes)) => {
                    // The map comes last: it makes the script known.
                    if let Some(script) = script {
                        replace(&folder, &name, &script)?;
                    }
                    replace(&folder, &format!("{name}{SUFFIX}"), &map)?;
                    added.bytes += bytes;
                    added.scripts.push(name);
                }
                Err(why) => added.left_out.push(LeftOut {
                    path: map,
                    why: why.to_string(),
                }),
            }
        }
        if added.scripts.is_empty() {
            // It goes only if it is empty: maps that were added before stay.
            let _ignored = fs::remove_dir(&folder);
            let folder = build.to_owned();
            return Err(SourceMapsError::NoMaps { folder, looked_at });
        }
        for old in self.list()?.iter().skip(RELEASES_MAX) {
            self.remove(&old.name)?;
            added.removed.push(old.name.clone());
        }
        Ok(added)
    }
}

/// The scripts and maps in the folder of a build by the names of the scripts, and how many files there are.
fn look(
    build: &Path,
    left_out: &mut Vec<LeftOut>,
) -> Result<(BTreeMap<String, Found>, usize), SourceMapsError> {
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    let mut looked_at = 0;
    let files = WalkDir::new(build).max_depth(DEPTH_MAX).sort_by_file_name();
    for entry in files {
        let entry = entry.map_err(|error| failed("read", build)(error.into()))?;
        if !entry.file_type().is_file() {
            continue;
        }
        looked_at += 1;
        if looked_at > FILES_MAX {
            let (folder, max) = (build.to_owned(), FILES_MAX);
            return Err(SourceMapsError::TooMany { folder, max });
        }
        let path = entry.into_path();
        let Some(name) = path.file_name().and_then(OsStr::to_str) else {
            continue;
        };
        let (script, map) = if is_script(name) {
            let map = map_of(&path).map_err(failed("read", &path))?;
            (name.to_owned(), map)
        } else if let Some(script) = name.strip_suffix(SUFFIX).filter(|name| is_script(name)) {
            (script.to_owned(), Some(path.clone()))
        } else {
            continue;
        };
        let known = found.entry(script).or_default();
        let is_other = |known: &Option<PathBuf>, path: &Path| {
            known
                .as_ref()
                .is_some_and(|known| known.parent() != path.parent())
        };
        // A frame has a script's name without its folder.
        if is_other(&known.script, &path) || is_other(&known.map, &path) {
            let why = "another folder has a script of this name".to_owned();
            left_out.push(LeftOut { path, why });
            continue;
        }
        known.map = known.map.take().or(map);
        if is_script(name) {
            known.script = Some(path);
        }
    }
    Ok((found, looked_at))
}

fn is_script(name: &str) -> bool {
    [".js", ".mjs", ".cjs"]
        .iter()
        .any(|suffix| name.ends_with(suffix))
}

/// Where the map of a script is if the script's last lines say so: in a file beside it, or in itself.
fn map_of(script: &Path) -> io::Result<Option<PathBuf>> {
    let Ok(text) = read_bounded(script, BUILT_BYTES_MAX) else {
        return Ok(None);
    };
    let reference = sourcemap::locate_sourcemap_reference_slice(&text)
        .ok()
        .flatten();
    let Some(reference) = reference else {
        return Ok(None);
    };
    if reference.get_url().starts_with("data:") {
        return Ok(Some(script.to_owned()));
    }
    // Only beside it: an address elsewhere is nothing that lies here.
    let name = Path::new(reference.get_url()).file_name();
    let beside = name.map(|name| script.with_file_name(name));
    Ok(beside.filter(|path| path.is_file()))
}

/// What is kept of a map and of its script.
fn kept(map: &Path, script: Option<&Path>) -> io::Result<(Vec<u8>, Option<Vec<u8>>)> {
    let bytes = read_bounded(map, BUILT_BYTES_MAX)?;
    let unreadable = |error: sourcemap::Error| cannot(&format!("no source map: {error}"));
    let decoded = if script == Some(map) {
        let reference = sourcemap::locate_sourcemap_reference_slice(&bytes).map_err(unreadable)?;
        let url = reference
            .as_ref()
            .map_or("", |reference| reference.get_url());
        sourcemap::decode_data_url(url).map_err(unreadable)?
    } else {
        sourcemap::decode_slice(&bytes).map_err(unreadable)?
    };
    let mut decoded: SourceMap = match decoded {
        DecodedMap::Regular(map) => map,
        DecodedMap::Index(index) => index.flatten().map_err(unreadable)?,
        DecodedMap::Hermes(_) => return Err(cannot("of React Native, which is no page")),
    };
    for source in 0..decoded.get_source_count() {
        decoded.set_source_contents(source, None);
    }
    let mut map = Vec::new();
    decoded.to_writer(&mut map).map_err(unreadable)?;
    if map.len() as u64 > FILE_BYTES_MAX {
        let mebibytes = FILE_BYTES_MAX >> 20;
        let why = format!("longer than {mebibytes} MiB, without the texts of its sources");
        return Err(cannot(&why));
    }
    // Without its text only the names of functions are missing.
    let script = script.and_then(|script| read_bounded(script, FILE_BYTES_MAX).ok());
    Ok((map, script))
}

/// Writes a file so that whoever reads it meanwhile has the old or the new one.
fn replace(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), SourceMapsError> {
    let (path, new) = (folder.join(name), folder.join(format!(".{name}.new")));
    fs::write(&new, bytes).map_err(failed("write", &new))?;
    fs::rename(&new, &path).map_err(failed("write", &path))
}
