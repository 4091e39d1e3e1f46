//! A real build's maps, and what may be wrong with others.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;

/// A build, made by `build.sh` beside it.
fn build() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/source_maps/dist")
}

/// The stack that Node prints when a line of the cart has no product.
fn frames(module: &str) -> Vec<Value> {
    let frame =
        |function: &str, col: u32| json!({"fn": function, "module": module, "line": 1, "col": col});
    vec![frame("e", 98), frame("r", 50), frame("Object.i", 196)]
}

fn originals(maps: &SourceMaps, release: &str, module: &str) -> Vec<Value> {
    let mut frames = frames(module);
    original_frames(maps, release, &mut frames);
    let taken = frames.iter_mut().map(|frame| frame["original"].take());
    taken.collect()
}

fn wanted() -> Vec<Value> {
    let original = |source: &str, line: u32, col: u32, function: &str| json!({"source": source, "line": line, "col": col, "fn": function});
    vec![
        original("../total.js", 10, 28, "priceOf"),
        original("../total.js", 4, 14, "totalOf"),
        original("../cart.js", 5, 18, "payTheCart"),
    ]
}

#[test]
fn frames_are_what_they_were_in_the_sources_of_their_release() {
    let folder = tempfile::tempdir().unwrap();
    let maps = SourceMaps::of(folder.path());
    let nothing = vec![Value::Null; 3];
    assert_eq!(originals(&maps, "2.4.1", "app.js"), nothing);
    let added = maps.add("2.4.1", &build()).unwrap();
    assert_eq!(added.scripts, ["app.js", "worker.js"]);
    assert!(added.left_out.is_empty() && added.removed.is_empty());
    for module in [
        "app.js",
        "worker.js",
        "https://pos/assets/app.js?v=3",
        "assets/app.js",
    ] {
        assert_eq!(originals(&maps, "2.4.1", module), wanted(), "{module}");
    }
    // Another release, another script, a path out of the folder.
    for (release, module) in [
        ("2.4.2", "app.js"),
        ("2.4.1", "other.js"),
        ("2.4.1", ".."),
        ("2.4.1", ""),
        ("..", "app.js"),
    ] {
        assert_eq!(
            originals(&maps, release, module),
            nothing,
            "{release} {module}"
        );
    }
    // Without the script's text there are no names.
    fs::remove_file(folder.path().join("source_maps/2.4.1/app.js")).unwrap();
    let mut nameless = wanted();
    for original in &mut nameless {
        original.as_object_mut().unwrap().remove("fn");
    }
    assert_eq!(originals(&maps, "2.4.1", "app.js"), nameless);
}

#[test]
fn what_no_map_knows_has_no_original() {
    let folder = tempfile::tempdir().unwrap();
    let maps = SourceMaps::of(folder.path());
    maps.add("1", &build()).unwrap();
    let mut frames = vec![
        json!({"fn": "e", "module": "app.js", "line": 0, "col": 1}),
        json!({"fn": "e", "module": "app.js", "line": 2, "col": 5}),
        json!({"fn": "e", "module": "app.js", "line": u64::MAX, "col": 5}),
        json!({"fn": "e", "module": "app.js"}),
        json!({"fn": "e"}),
        json!("no frame"),
        json!({"module": "app.js", "line": 1, "col": 98}),
    ];
    original_frames(&maps, "1", &mut frames);
    let known: Vec<bool> = frames
        .iter()
        .map(|frame| frame.get("original").is_some())
        .collect();
    assert_eq!(known, [false, false, false, false, false, false, true]);
    // A map that was cut short is as good as none.
    let map = folder.path().join("source_maps/1/app.js.map");
    let half = fs::read(&map).unwrap();
    fs::write(&map, &half[..half.len() / 2]).unwrap();
    assert_eq!(originals(&maps, "1", "app.js"), vec![Value::Null; 3]);
}

#[test]
fn texts_of_sources_are_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let maps = SourceMaps::of(folder.path());
    maps.add("1", &build()).unwrap();
    for name in ["app.js.map", "worker.js.map"] {
        let kept = fs::read_to_string(folder.path().join("source_maps/1").join(name)).unwrap();
        assert!(!kept.contains("could be made of"), "{kept}");
        assert!(kept.contains("priceOf"));
    }
}

#[test]
fn what_cannot_be_used_is_left_out_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let maps = SourceMaps::of(folder.path());
    let dist = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &[u8]| {
        let path = dist.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let added = maps.add("1", dist.path());
    assert!(matches!(
        added,
        Err(SourceMapsError::NoMaps { looked_at: 0, .. })
    ));
    put("a.js.map", b"{\"version\": 3");
    put("style.css.map", b"{}");
    put("plain.js", b"let one = 1;");
    // It names a file that lies elsewhere.
    put(
        "far.js",
        b"1;\n//# sourceMappingURL=https://maps.example/far.js.map",
    );
    let added = maps.add("1", dist.path());
    assert!(
        matches!(added, Err(SourceMapsError::NoMaps { looked_at: 4, .. })),
        "{added:?}"
    );
    assert!(maps.list().unwrap().is_empty());
    let map = fs::read(build().join("app.js.map")).unwrap();
    put("en/b.js.map", &map);
    put("fr/b.js.map", &map);
    // Its map has a name of its own.
    put("c.js", b"1;\n//# sourceMappingURL=c.min.map");
    put("c.min.map", &map);
    // A circle.
    symlink(dist.path(), dist.path().join("en/again")).unwrap();
    let added = maps.add("1", dist.path()).unwrap();
    assert_eq!(added.scripts, ["b.js", "c.js"]);
    let left_out = added
        .left_out
        .iter()
        .map(|one| one.path.strip_prefix(dist.path()).unwrap());
    let left_out: Vec<_> = left_out
        .map(|path| path.to_str().unwrap().to_owned())
        .collect();
    assert_eq!(left_out, ["fr/b.js.map", "a.js.map"]);
    // More of the same release is added to it.
    maps.add("1", &build()).unwrap();
    assert_eq!(maps.list().unwrap()[0].maps, 4);
    for bad in ["", "..", ".hidden", "a/b", "cashier@shop.example"] {
        let added = maps.add(bad, &build());
        assert!(
            matches!(added, Err(SourceMapsError::BadRelease(_))),
            "{bad}"
        );
        assert!(
            matches!(maps.remove(bad), Err(SourceMapsError::None(_))),
            "{bad}"
        );
    }
    maps.remove("1").unwrap();
    assert!(matches!(maps.remove("1"), Err(SourceMapsError::None(_))));
    assert!(maps.list().unwrap().is_empty());
}

#[test]
fn only_so_many_releases_are_kept_and_the_oldest_go() {
    let folder = tempfile::tempdir().unwrap();
    let maps = SourceMaps::of(folder.path());
    for release in 0..RELEASES_MAX {
        let path = folder.path().join("source_maps").join(release.to_string());
        fs::create_dir_all(&path).unwrap();
        let age = Duration::from_secs(1_000 - release as u64);
        let at = UNIX_EPOCH + Duration::from_secs(1_000_000_000) - age;
        fs::File::open(&path).unwrap().set_modified(at).unwrap();
    }
    let added = maps.add("new", &build()).unwrap();
    assert_eq!(added.removed, ["0"]);
    let left = maps.list().unwrap();
    assert_eq!(left.len(), RELEASES_MAX);
    assert_eq!(left[0].name, "new");
}
