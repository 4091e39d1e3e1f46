//! The console: the pages that the admin listener shows a person, as they are built into the program.
//!
//! `console/build.mjs` makes the files; they are committed, so that the program is built without Node.

use std::sync::LazyLock;

use include_dir::{Dir, include_dir};
use serde::Deserialize;

static BUILT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/console/dist");

/// What to do about each alert.
pub static RUNBOOKS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/docs/runbooks");

#[derive(Deserialize)]
struct Manifest {
    views: Vec<String>,
    files: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    content_type: String,
    is_immutable: bool,
}

/// One file of the console.
#[derive(Debug, Clone)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Its content type.
    pub content_type: String,
    /// Whether its name says what is in it, so that it may be kept for ever.
    pub is_immutable: bool,
    /// Its bytes as they are, under gzip and under brotli.
    pub bytes: [&'static [u8]; 3],
}

/// The document that all views share.
pub const DOCUMENT: &str = "index.html";

/// The paths of the views, without their first slash, and the files.
pub static CONSOLE: LazyLock<(Vec<String>, Vec<File>)> = LazyLock::new(|| {
    let bytes = |name: &str| BUILT.get_file(name).map_or(&[][..], |file| file.contents());
    // A test reads the manifest that was built in.
    let manifest = serde_json::from_slice(bytes("files.json"));
    let Manifest { views, files } = manifest.unwrap_or(Manifest {
        views: Vec::new(),
        files: Vec::new(),
    });
    let files = files.into_iter().map(|listed| File {
        bytes: ["", ".gz", ".br"].map(|packed| bytes(&format!("{}{packed}", listed.name))),
        name: listed.name,
        content_type: listed.content_type,
        is_immutable: listed.is_immutable,
    });
    (views, files.collect())
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_there_and_all_of_them_are_small() {
        let (views, files) = &*CONSOLE;
        assert!(views.iter().any(String::is_empty), "{views:?}");
        assert!(files.iter().any(|file| file.name == DOCUMENT));
        for file in files {
            assert!(
                file.bytes.iter().all(|bytes| !bytes.is_empty()),
                "{}",
                file.name
            );
        }
        let gzipped: usize = files.iter().map(|file| file.bytes[1].len()).sum();
        assert!(gzipped <= 60_000, "{gzipped} bytes under gzip");
    }
}
