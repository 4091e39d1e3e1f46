//! Frames, looked up in the maps of their release.

use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use sourcemap::{SourceMap, SourceView};

use crate::source_maps::{FILE_BYTES_MAX, SUFFIX, SourceMaps, read_bounded};

/// Where a frame was in the sources.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OriginalPlace")]
pub struct Original<'a> {
    /// The name of the source.
    source: &'a str,
    /// The line, from 1.
    line: u32,
    /// The column, from 1.
    col: u32,
    /// The function's name, if the map has it.
    #[serde(rename = "fn", skip_serializing_if = "Option::is_none")]
    function: Option<&'a str>,
}

/// The map of a script, and the script's text if it was kept.
struct Script {
    map: SourceMap,
    text: Option<SourceView>,
}

/// Adds to frames where they were in the sources (`original`), as far as the release has maps. Blocks: maps are read
/// and decoded.
pub fn original_frames(maps: &SourceMaps, release: &str, frames: &mut [Value]) {
    let Some(folder) = maps.folder_of(release).filter(|folder| folder.is_dir()) else {
        return;
    };
    let mut names: Vec<String> = frames.iter().filter_map(script_of).collect();
    names.sort_unstable();
    names.dedup();
    // One map at a time: each takes memory.
    for name in names {
        let Some(script) = Script::read(&folder, &name) else {
            continue;
        };
        for frame in frames.iter_mut() {
            if script_of(frame).is_some_and(|of| of == name)
                && let Some(original) = script.original(frame)
                && let Some(fields) = frame.as_object_mut()
            {
                fields.insert("original".to_owned(), original);
            }
        }
    }
}

/// The name of a frame's script: without its folders, and without what follows it in an address.
fn script_of(frame: &Value) -> Option<String> {
    let module = frame.get("module")?.as_str()?;
    let path = module.split(['?', '#']).next()?;
    let name = path.rsplit('/').next()?;
    // Nothing but a file of the folder.
    let is_name = !name.is_empty() && !name.starts_with('.') && !name.contains(['\\', '\0']);
    is_name.then(|| name.to_owned())
}

impl Script {
    fn read(folder: &Path, name: &str) -> Option<Self> {
        let path = folder.join(format!("{name}{SUFFIX}"));
        let bytes = read_bounded(&path, FILE_BYTES_MAX).ok()?;
        let map = SourceMap::from_slice(&bytes).ok()?;
        let text = read_bounded(&folder.join(name), FILE_BYTES_MAX).ok();
        let text = text.and_then(|text| String::from_utf8(text).ok());
        Some(Self {
            map,
            text: text.map(|text| SourceView::new(Arc::from(text))),
        })
    }

    fn original(&self, frame: &Value) -> Option<Value> {
        let number = |key: &str| {
            let number = frame.get(key)?.as_u64()?;
            // Frames count from 1, maps from 0.
            u32::try_from(number).ok()?.checked_sub(1)
        };
        let (line, col) = (number("line")?, number("col")?);
        let token = self.map.lookup_token(line, col)?;
        // What lies on an earlier line is of something else.
        if token.get_dst_line() != line {
            return None;
        }
        let source = token.get_source()?;
        let function = frame.get("fn").and_then(Value::as_str).unwrap_or_default();
        // A method is named with what it is of.
        let function = function.rsplit('.').next().unwrap_or_default();
        let text = self.text.as_ref();
        let original = Original {
            source,
            line: token.get_src_line() + 1,
            col: token.get_src_col() + 1,
            function: text.and_then(|text| {
                self.map
                    .get_original_function_name(line, col, function, text)
            }),
        };
        serde_json::to_value(original).ok()
    }
}
