//! Finds libchdb: what the operator says, else where npm or a package puts it.

use std::env;
use std::path::{Path, PathBuf};

use super::error::EngineError;
use super::names::Names;

/// libchdb's npm packages call the file so on every platform.
const FILE_NAME: &str = "libchdb.so";

/// Where packages of an operating system put libraries.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/local/lib", "/usr/lib"];

/// Finds the library's file: `setting`, else what the variable says, else beside the executable, else
/// in `node_modules` of the current folder, the executable's folder or one above them, else in
/// `/usr/local/lib` or `/usr/lib`.
///
/// A file that was named and is not there is an error: another one found by chance would be worse.
pub fn locate(setting: Option<&Path>, names: &'static Names) -> Result<PathBuf, EngineError> {
    let named = setting.map(Path::to_owned).or_else(|| {
        env::var_os(names.library_variable)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    });
    if let Some(file) = named {
        if file.is_file() {
            return Ok(file);
        }
        return Err(EngineError::LibraryMissing {
            searched: vec![file],
            names,
        });
    }
    let executable_folder = env::current_exe()
        .ok()
        .and_then(|file| file.parent().map(Path::to_owned));
    let candidates = candidates(
        env::current_dir().ok().as_deref(),
        executable_folder.as_deref(),
    );
    first_present(candidates, names)
}

fn first_present(candidates: Vec<PathBuf>, names: &'static Names) -> Result<PathBuf, EngineError> {
    match candidates.iter().position(|file| file.is_file()) {
        Some(index) => Ok(candidates.into_iter().nth(index).unwrap_or_default()),
        None => Err(EngineError::LibraryMissing {
            searched: worth_telling(candidates),
            names,
        }),
    }
}

/// Every place to look at, best first.
fn candidates(current: Option<&Path>, executable: Option<&Path>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    found.extend(executable.map(|folder| folder.join(FILE_NAME)));
    if let Some(platform) = platform() {
        let inside = Path::new("node_modules/@chdb")
            .join(format!("lib-{platform}"))
            .join(FILE_NAME);
        for start in [current, executable].into_iter().flatten() {
            found.extend(start.ancestors().map(|folder| folder.join(&inside)));
        }
    }
    found.extend(
        SYSTEM_FOLDERS
            .iter()
            .map(|folder| Path::new(folder).join(FILE_NAME)),
    );
    found
}

/// Shortens the list for a person: the ancestors of a folder are one idea.
fn worth_telling(candidates: Vec<PathBuf>) -> Vec<PathBuf> {
    let in_modules = |file: &PathBuf| file.components().any(|part| part.as_os_str() == "@chdb");
    let first_in_modules = candidates.iter().find(|file| in_modules(file)).cloned();
    candidates
        .into_iter()
        .filter(|file| !in_modules(file) || Some(file) == first_in_modules.as_ref())
        .collect()
}

/// The platform as npm names it, if libchdb exists for it.
fn platform() -> Option<&'static str> {
    match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => Some("linux-x64-gnu"),
        ("linux", "aarch64") => Some("linux-arm64-gnu"),
        ("macos", "aarch64") => Some("darwin-arm64"),
        ("macos", "x86_64") => Some("darwin-x64"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_that_is_missing_is_not_replaced_by_another() {
        let error = locate(Some(Path::new("/nowhere/libchdb.so")), Names::TEST).unwrap_err();
        assert!(error.to_string().contains("/nowhere/libchdb.so"), "{error}");
    }

    #[test]
    fn node_modules_is_searched_upward() {
        let folder = tempfile::tempdir().unwrap();
        let Some(platform) = platform() else { return };
        let package = folder
            .path()
            .join("node_modules/@chdb")
            .join(format!("lib-{platform}"));
        std::fs::create_dir_all(&package).unwrap();
        std::fs::write(package.join(FILE_NAME), b"").unwrap();
        let below = folder.path().join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        let found = first_present(candidates(Some(&below), None), Names::TEST).unwrap();
        assert_eq!(found, package.join(FILE_NAME));
    }

    #[test]
    fn the_error_lists_node_modules_once() {
        let listed = worth_telling(candidates(
            Some(Path::new("/a/b/c")),
            Some(Path::new("/x/y")),
        ));
        let count = listed
            .iter()
            .filter(|file| file.to_string_lossy().contains("@chdb"))
            .count();
        assert_eq!(count, 1);
    }
}
