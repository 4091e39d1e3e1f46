//! The shape of the source: which module may use which, what stays out of it, how long files are.
//!
//! Between the crates of the workspace the compiler holds these rules, from their manifests. Inside the
//! server it does not know them, so the checks below read its text: a path made by a macro would escape them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module and those it may import, beside itself. A row names only rows above it, so that the graph
/// has no cycle; every module of `lib.rs` has a row.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("listed", &[]),
    ("clock", &["listed"]),
    ("chance", &[]),
    ("tasks", &[]),
    ("world", &["clock", "chance", "tasks"]),
    ("logging", &[]),
    ("throttle", &[]),
    ("request_id", &["chance"]),
    ("audit_log", &["clock", "tasks", "throttle"]),
    ("peer", &[]),
    ("surface", &[]),
    ("recorder", &[]),
    ("self_metrics", &["recorder"]),
    ("health", &["clock"]),
    ("hosts", &["listed"]),
    (
        "listener",
        &[
            "listed",
            "chance",
            "world",
            "self_metrics",
            "request_id",
            "throttle",
            "peer",
            "surface",
        ],
    ),
    ("progress", &[]),
    ("room", &[]),
    ("sdk", &[]),
    ("console", &[]),
    ("auth", &["listed"]),
    ("mapping", &[]),
    ("tap", &[]),
    ("config", &["logging", "hosts", "auth", "mapping"]),
    (
        "intake",
        &[
            "listed",
            "clock",
            "tasks",
            "self_metrics",
            "throttle",
            "room",
            "auth",
            "tap",
        ],
    ),
    (
        "doors",
        &[
            "listed",
            "clock",
            "chance",
            "recorder",
            "self_metrics",
            "throttle",
            "request_id",
            "room",
            "auth",
            "mapping",
            "tap",
            "intake",
            "audit_log",
            "peer",
            "sdk",
        ],
    ),
    ("aggregate", &[]),
    (
        "persist",
        &["listed", "clock", "chance", "world", "auth", "aggregate"],
    ),
    (
        "credentials",
        &["clock", "world", "auth", "audit_log", "persist"],
    ),
    ("holdings", &["tasks", "aggregate", "persist"]),
    ("fleet", &["aggregate"]),
    ("rollout", &[]),
    ("source_maps", &[]),
    (
        "query",
        &[
            "listed",
            "clock",
            "tasks",
            "aggregate",
            "persist",
            "holdings",
            "fleet",
            "rollout",
            "source_maps",
            "self_metrics",
        ],
    ),
    ("export", &["aggregate", "fleet"]),
    (
        "live",
        &[
            "clock",
            "tasks",
            "self_metrics",
            "aggregate",
            "holdings",
            "fleet",
        ],
    ),
    (
        "admin",
        &[
            "listed",
            "clock",
            "tasks",
            "logging",
            "throttle",
            "request_id",
            "self_metrics",
            "health",
            "hosts",
            "auth",
            "tap",
            "config",
            "audit_log",
            "intake",
            "aggregate",
            "holdings",
            "console",
            "query",
            "export",
            "live",
        ],
    ),
    (
        "pipeline",
        &[
            "clock",
            "chance",
            "tasks",
            "world",
            "logging",
            "throttle",
            "request_id",
            "recorder",
            "self_metrics",
            "health",
            "hosts",
            "peer",
            "surface",
            "audit_log",
            "credentials",
            "listener",
            "config",
            "mapping",
            "room",
            "auth",
            "intake",
            "doors",
            "aggregate",
            "persist",
            "holdings",
            "fleet",
            "source_maps",
            "rollout",
            "query",
            "export",
            "live",
            "admin",
        ],
    ),
    (
        "cli",
        &[
            "clock",
            "chance",
            "world",
            "logging",
            "hosts",
            "auth",
            "tap",
            "audit_log",
            "config",
            "doors",
            "persist",
            "credentials",
            "fleet",
            "rollout",
            "source_maps",
            "pipeline",
            "progress",
            "sdk",
        ],
    ),
];

/// Crates that stay out of a module, so that it can be tested, and replayed, without them.
const STAYS_OUT: &[(&str, &[&str])] = &[
    (
        "aggregate",
        &["tokio", "axum", "hyper", "metrics", "tracing"],
    ),
    ("fleet", &["tokio", "axum", "hyper", "metrics", "tracing"]),
    (
        "rollout",
        &[
            "tokio",
            "axum",
            "hyper",
            "metrics",
            "tracing",
            "rusqlite",
            "clickhouse",
        ],
    ),
    ("room", &["axum", "hyper", "metrics", "tracing"]),
    (
        "source_maps",
        &["tokio", "axum", "hyper", "metrics", "tracing"],
    ),
    ("auth", &["tokio", "axum", "hyper", "metrics"]),
    // What reads bytes of a format, or speaks HTTP, is a door.
    (
        "intake",
        &["axum", "hyper", "http_body_util", "serde_json", "rmp_serde"],
    ),
    ("clock", &["tokio", "axum", "hyper", "metrics", "tracing"]),
    ("export", &["tokio", "axum", "hyper", "metrics"]),
    ("persist", &["axum", "hyper"]),
];

/// Lines of a file before its tests. Past it, it holds more than one idea.
const LINES_MAX: usize = 400;

/// Files that are longer, how long they may be, and why.
const LONGER: &[(&str, usize, &str)] = &[(
    "crates/model/src/catalogue.rs",
    810,
    "one entry for each metric; a table is not split",
)];

struct Source {
    /// Below the root of the workspace.
    path: String,
    /// The module of the server, of its files.
    module: Option<String>,
    text: String,
}

impl Source {
    /// The lines that are no comment.
    fn code(&self) -> String {
        let lines = self
            .text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn lines_before_tests(&self) -> usize {
        self.text
            .lines()
            .take_while(|line| *line != "#[cfg(test)]")
            .count()
    }

    fn is_tests(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root().join("src"), root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the source is readable") {
            let path = entry.expect("the source is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path
                    .strip_prefix(root())
                    .expect("found below it")
                    .to_string_lossy()
                    .into_owned();
                let module = below
                    .strip_prefix("src/")
                    .and_then(|path| path.split(['/', '.']).next())
                    .map(str::to_owned);
                found.push(Source {
                    path: below,
                    module,
                    text: fs::read_to_string(&path).expect("source is UTF-8"),
                });
            }
        }
    }
    found
}

/// What stands after `crate::`, also inside braces.
fn imports(code: &str) -> BTreeSet<String> {
    code.split("crate::")
        .skip(1)
        .flat_map(first_names)
        .collect()
}

/// The first name of a path, or those at the first level of a group.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start()
            .chars()
            .take_while(|character| character.is_alphanumeric() || *character == '_')
            .collect()
    };
    let Some(group) = path.strip_prefix('{') else {
        return vec![name(path)];
    };
    let (mut names, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(name(group.get(start..at).unwrap_or_default()));
                start = at + 1;
                if character == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Whether a path of this crate is used: `name::` that is not the end of a longer path or name.
fn uses(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = code.get(..at).unwrap_or_default().chars().next_back();
        before.is_none_or(|character| {
            !character.is_alphanumeric() && character != '_' && character != ':'
        })
    })
}

#[test]
fn modules_import_only_what_their_row_names() {
    let rows: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut faults = Vec::new();
    for source in sources() {
        // Two steps up may leave the module without a word about where they lead.
        if !source.is_tests() && source.code().contains("super::super::") {
            faults.push(format!("{}: climbs by `super::super::`", source.path));
        }
        let Some(module) = source.module.as_deref() else {
            continue;
        };
        if ["lib", "main"].contains(&module) {
            continue;
        }
        let Some(row) = rows.get(module) else {
            faults.push(format!("{}: `{module}` has no row", source.path));
            continue;
        };
        for import in imports(&source.code()) {
            if import != module
                && rows.contains_key(import.as_str())
                && !row.contains(&import.as_str())
            {
                faults.push(format!("{}: imports `crate::{import}`", source.path));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn rows_name_only_rows_above_and_every_module_has_one() {
    let mut above = BTreeSet::new();
    for (module, row) in MAY_IMPORT {
        for import in *row {
            assert!(
                above.contains(import),
                "`{module}` names `{import}`, which is not above it"
            );
        }
        assert!(above.insert(*module), "`{module}` has two rows");
    }
    let library = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let declared = library
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    assert_eq!(declared.collect::<BTreeSet<_>>(), above);
}

#[test]
fn crates_stay_out_where_they_would_be_in_the_way() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.is_tests()) {
        let banned = STAYS_OUT
            .iter()
            .filter(|(module, _)| Some(*module) == source.module.as_deref());
        for name in banned.flat_map(|(_, names)| *names) {
            if uses(&source.code(), name) {
                faults.push(format!("{}: uses the crate `{name}`", source.path));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// A crate that the workspace has beside the server.
struct Member {
    name: &'static str,
    /// What of the workspace it leans on.
    leans_on: &'static [&'static str],
    /// What stays out of it, but for its tests.
    stays_out: &'static [&'static str],
}

const MEMBERS: &[Member] = &[
    Member {
        name: "engine",
        leans_on: &[],
        stays_out: &["axum", "rusqlite", "clickhouse"],
    },
    Member {
        name: "journal",
        leans_on: &[],
        stays_out: &["tokio", "axum", "hyper", "metrics"],
    },
    Member {
        name: "model",
        leans_on: &[],
        stays_out: &["tokio", "axum", "hyper", "metrics", "tracing"],
    },
    // Speaks only the wire format: it can never lean on the server that it tests.
    Member {
        name: "simulate",
        leans_on: &["tillwatch-model", "tillwatch-token"],
        stays_out: &["axum", "hyper", "rusqlite", "clickhouse"],
    },
    Member {
        name: "token",
        leans_on: &["tillwatch-model"],
        stays_out: &["tokio", "axum", "hyper", "metrics", "tracing"],
    },
];

#[test]
fn each_crate_leans_only_on_what_its_row_names() {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let lines = manifest
            .lines()
            .take_while(|line| *line != "[dev-dependencies]");
        let first_words: Vec<&str> = lines
            .filter_map(|line| line.split(['.', ' ']).next())
            .collect();
        let row = MEMBERS.iter().find(|member| member.name == name);
        let row = row.unwrap_or_else(|| panic!("crates/{name} has no row"));
        let ours = first_words
            .iter()
            .filter(|word| word.starts_with("tillwatch-"));
        assert!(ours.eq(row.leans_on), "{name}");
        let banned = row.stays_out.iter().find(|word| first_words.contains(word));
        assert_eq!(banned, None, "{name}");
        found.insert(name);
    }
    assert_eq!(found.len(), MEMBERS.len());
}

#[test]
fn the_engine_has_none_of_our_names() {
    let sources = sources();
    let of_engine: Vec<&Source> = sources
        .iter()
        .filter(|source| source.path.starts_with("crates/engine/src/"))
        .collect();
    assert!(!of_engine.is_empty());
    for source in of_engine {
        // Another program may embed it: names come in with `Names`.
        let text = source.text.to_lowercase();
        assert!(!text.contains("tillwatch"), "{}", source.path);
    }
}

/// Which modules of the server may use them. The vocabulary, `tillwatch_model`, is everybody's.
const CRATE_USERS: &[(&str, &[&str])] = &[
    ("tillwatch_engine", &["pipeline", "cli"]),
    ("tillwatch_journal", &["world", "intake", "pipeline", "cli"]),
    ("tillwatch_simulate", &["progress", "cli"]),
    ("tillwatch_token", &["auth", "credentials", "cli"]),
];

#[test]
fn modules_use_only_the_crates_that_are_for_them() {
    let mut faults = Vec::new();
    for source in sources() {
        let Some(module) = source.module.as_deref() else {
            continue;
        };
        for (name, users) in CRATE_USERS {
            if uses(&source.code(), name) && !users.contains(&module) {
                faults.push(format!("{}: uses `{name}`", source.path));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// What the server asks of the world through a handle, the one file or folder that may ask otherwise, and whom the
/// others ask instead.
const BY_HANDLE: &[(&str, &str, &str)] = &[
    ("tokio::spawn(", "src/tasks/", "Tasks"),
    ("task::spawn(", "src/tasks/", "Tasks"),
    ("thread::spawn(", "src/tasks/", "Tasks"),
    ("thread::Builder", "src/tasks/", "Tasks"),
    ("fastrand::", "src/chance.rs", "Chance"),
    ("getrandom::", "src/chance.rs", "Chance"),
    ("::new_v4(", "src/chance.rs", "Chance"),
    ("RealDisk", "src/world.rs", "World"),
    ("ClockId::Boottime", "src/clock/kernel.rs", "Clock"),
];

#[test]
fn the_world_is_asked_only_through_what_is_handed_in() {
    let mut faults = Vec::new();
    for source in sources() {
        // The crates beside the server stand alone.
        if source.module.is_none() || source.is_tests() {
            continue;
        }
        let code = source.code();
        let code = code
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        for (words, file, handle) in BY_HANDLE {
            if code.contains(words) && !source.path.starts_with(file) {
                faults.push(format!("{}: `{words}`; ask `{handle}`", source.path));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn files_are_short_and_begin_with_what_they_are() {
    let mut faults = Vec::new();
    let sources = sources();
    for source in &sources {
        if !source.text.starts_with("//! ") {
            faults.push(format!("{}: does not begin with `//! `", source.path));
        }
        let longer = LONGER.iter().find(|(path, ..)| *path == source.path);
        let most = longer.map_or(LINES_MAX, |(_, most, _)| *most);
        let lines = source.lines_before_tests();
        if lines > most && !source.is_tests() {
            faults.push(format!(
                "{}: {lines} lines before its tests, over {most}",
                source.path
            ));
        }
        if longer.is_some() && lines <= LINES_MAX {
            faults.push(format!(
                "{}: is short now and needs no exception",
                source.path
            ));
        }
    }
    for (path, ..) in LONGER {
        assert!(
            sources.iter().any(|source| source.path == *path),
            "{path} is gone"
        );
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_checks_see_imports_in_every_form() {
    let code = "use crate::model::Batch;\nuse crate::{doors::a::B, journal::{C, D},\n    persist};\nlet x = crate::query::y();";
    let expected = ["doors", "journal", "model", "persist", "query"];
    assert_eq!(imports(code).into_iter().collect::<Vec<_>>(), expected);
    assert!(uses("use tokio::sync;", "tokio") && uses("(tokio::spawn)", "tokio"));
    assert!(!uses("self_metrics::A", "metrics") && !uses("crate::metrics::A", "metrics"));
}
