//! What statements may reach: the engine's own tables, and nothing else of this machine.
//!
//! There are three fences, because no single fence is enough.
//!
//! - **Rights**: the one user of the engine has the rights that tables, views and functions need, and none
//!   for files, addresses and programs. A few settings that name files cannot be set. The engine itself
//!   checks these rights, whatever a statement looks like.
//! - **Landlock** (Linux): the function `file('…')` needs no right. The kernel therefore refuses this
//!   process every connection to elsewhere, and every file outside its storage path except what a program
//!   needs to run.
//! - **Words**: the client half of libchdb opens files for two clauses of the language, so statements with
//!   these words are refused before they reach it.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::error::{Exception, code};
use super::names::Names;

/// Rights on all databases. Not among them: sources (files, addresses, other servers), dictionaries
/// and named collections (they have sources), backups, users, and orders to the server.
const RIGHTS: &str = "SHOW, CHECK, SELECT, INSERT, ALTER TABLE, ALTER VIEW, CREATE DATABASE, \
    CREATE TABLE, CREATE VIEW, CREATE ARBITRARY TEMPORARY TABLE, CREATE FUNCTION, DROP DATABASE, \
    DROP TABLE, DROP VIEW, DROP FUNCTION, UNDROP TABLE, TRUNCATE, OPTIMIZE, KILL QUERY, \
    SYSTEM MERGES, SYSTEM TTL MERGES, SYSTEM JEMALLOC";

/// Rights that the ones above contain and nobody needs: they write beside the tables.
const NO_RIGHTS: &str = "ALTER FETCH PARTITION, ALTER FREEZE PARTITION, ALTER EXECUTE";

/// Engines of tables and databases. The engine asks for the right only where it knows that an engine
/// reads or writes elsewhere, and this list grants none of those.
const TABLE_ENGINES: [&str; 18] = [
    "Atomic",
    "MergeTree",
    "ReplacingMergeTree",
    "SummingMergeTree",
    "AggregatingMergeTree",
    "CollapsingMergeTree",
    "VersionedCollapsingMergeTree",
    "CoalescingMergeTree",
    "Memory",
    "Null",
    "View",
    "MaterializedView",
    "Merge",
    "Join",
    "Set",
    "Log",
    "TinyLog",
    "StripeLog",
];

/// Settings that name a file, an address or a disk, or evaluate a text: they stay as they are.
pub(super) const FIXED_SETTINGS: [&str; 14] = [
    "allow_experimental_eval_table_function",
    "allow_introspection_functions",
    "format_avro_schema_registry_url",
    "format_schema",
    "format_schema_source",
    "format_template_resultset",
    "format_template_row",
    "input_format_record_errors_file_path",
    "into_outfile_create_parent_directories",
    "output_format_schema",
    "url_base",
    "merge_tree_disk",
    "merge_tree_storage_policy",
    "merge_tree_table_disk",
];

/// Writes the engine's configuration and its users beside its own files, as at each start, and returns
/// the configuration's file. They hold no secret.
///
/// Given by name: without one the engine takes a `config.xml` from whatever folder it is started in.
pub(super) fn write_configuration(path: &Path, names: &Names) -> io::Result<PathBuf> {
    let users = path.join(names.file("users.xml"));
    write(&users, &users_xml())?;
    let config = path.join(names.file("config.xml"));
    let text = format!(
        "<clickhouse><users_config>{}</users_config></clickhouse>\n",
        escaped(&users.display().to_string())
    );
    write(&config, &text)?;
    Ok(config)
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(file)?.write_all(text.as_bytes())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn users_xml() -> String {
    let mut queries = vec![
        format!("GRANT {RIGHTS} ON *.*"),
        format!("REVOKE {NO_RIGHTS} ON *.*"),
    ];
    queries.extend(TABLE_ENGINES.map(|name| format!("GRANT TABLE ENGINE ON {name}")));
    let grants: String = queries
        .iter()
        .map(|query| format!("<query>{query}</query>\n"))
        .collect();
    let fixed: String = FIXED_SETTINGS
        .iter()
        .map(|name| format!("<{name}><const/></{name}>\n"))
        .collect();
    // The password is the front's affair: nobody else reaches the engine.
    format!(
        "<clickhouse>\n<profiles><default><constraints>\n{fixed}</constraints></default></profiles>\n\
         <users><default><password></password><networks><ip>::/0</ip></networks>\
         <profile>default</profile><quota>default</quota>\n<grants>\n{grants}</grants></default></users>\n\
         <quotas><default></default></quotas>\n</clickhouse>\n"
    )
}

/// Refuses a statement, without the data of an insert, that could make the engine's client half open
/// a file: that half asks for no right, and the answer's pipe comes to it in the same way.
///
/// The words are looked for as text, in names, quotes and comments, too: the engine takes more for a
/// blank or a comment than is known here, but no other spelling of a word of its language.
pub(super) fn check_words(sql: &str) -> Result<(), Exception> {
    let text = sql.to_ascii_uppercase();
    let Some(word) = ["OUTFILE", "INFILE"]
        .iter()
        .find(|word| text.contains(**word))
    else {
        return Ok(());
    };
    Err(Exception::new(
        code::NOT_IMPLEMENTED,
        "NOT_IMPLEMENTED",
        format!(
            "INTO OUTFILE and FROM INFILE are not allowed, and the word {word} must not stand \
             anywhere in a statement; a text that holds it can be a parameter, {{name:String}}"
        ),
    ))
}

/// How far the kernel helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confinement {
    /// Files and connections outside are refused.
    Full,
    /// Files outside are refused; this kernel knows nothing of connections.
    Files,
    /// This system cannot confine the engine.
    None,
}

/// Confines this process, for good, to a storage path, which is made if it is not there. Call it
/// before there is a second thread: threads that are there already are not confined.
///
/// # Errors
/// When the path cannot be made, or the kernel refuses what it said it could do.
#[cfg(target_os = "linux")]
pub fn confine(path: &Path, libchdb: Option<&Path>) -> io::Result<Confinement> {
    landlocked::confine(path, libchdb)
}

/// As on Linux, but nothing is confined.
///
/// # Errors
/// When the path cannot be made.
#[cfg(not(target_os = "linux"))]
pub fn confine(path: &Path, _libchdb: Option<&Path>) -> io::Result<Confinement> {
    std::fs::create_dir_all(path)?;
    Ok(Confinement::None)
}

#[cfg(target_os = "linux")]
mod landlocked {
    use std::io;
    use std::path::Path;

    use landlock::{
        ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
        RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus,
    };

    use super::Confinement;

    /// What a program reads of its system: libraries, time zones, processors and memory. Of
    /// `/proc` nothing about other processes, and not this one's environment, which may hold secrets.
    const READABLE: [&str; 33] = [
        "/dev/null",
        "/dev/random",
        "/dev/urandom",
        "/dev/zero",
        "/etc/ld.so.cache",
        "/etc/localtime",
        "/etc/timezone",
        "/lib",
        "/lib64",
        "/nix/store",
        "/proc/cpuinfo",
        "/proc/loadavg",
        "/proc/meminfo",
        "/proc/self/cgroup",
        "/proc/self/fd",
        "/proc/self/io",
        "/proc/self/limits",
        "/proc/self/maps",
        "/proc/self/mountinfo",
        "/proc/self/mounts",
        "/proc/self/stat",
        "/proc/self/statm",
        "/proc/self/status",
        "/proc/stat",
        "/proc/sys/kernel",
        "/proc/sys/vm",
        "/proc/uptime",
        "/sys/devices/system",
        "/sys/fs/cgroup",
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/usr/share/zoneinfo",
    ];

    /// The first that knows connections.
    const ABI_USED: ABI = ABI::V4;

    pub(super) fn confine(path: &Path, libchdb: Option<&Path>) -> io::Result<Confinement> {
        std::fs::create_dir_all(path)?;
        let restricted = rules(path, libchdb).and_then(RulesetCreated::restrict_self);
        let status = restricted.map_err(io::Error::other)?;
        Ok(match status.ruleset {
            RulesetStatus::FullyEnforced => Confinement::Full,
            RulesetStatus::PartiallyEnforced => Confinement::Files,
            RulesetStatus::NotEnforced => Confinement::None,
        })
    }

    fn rules(
        path: &Path,
        libchdb: Option<&Path>,
    ) -> Result<RulesetCreated, landlock::RulesetError> {
        let all = AccessFs::from_all(ABI_USED);
        // Nothing may be executed: the engine starts nothing.
        let reading = AccessFs::ReadFile | AccessFs::ReadDir;
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(all)?
            .handle_access(AccessNet::ConnectTcp)?
            .create()?;
        let mut ruleset = beneath(ruleset, path, all & !AccessFs::Execute)?;
        // A folder of the engine that was moved to another disk, with a link in its place.
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                ruleset = beneath(ruleset, &entry.path(), all & !AccessFs::Execute)?;
            }
        }
        ruleset = beneath(
            ruleset,
            Path::new("/dev/null"),
            AccessFs::from_file(ABI_USED),
        )?;
        let program = std::env::current_exe().ok();
        let own = [libchdb, program.as_deref()].into_iter().flatten();
        for readable in READABLE.map(Path::new).into_iter().chain(own) {
            ruleset = beneath(ruleset, readable, reading)?;
        }
        Ok(ruleset)
    }

    /// Allows this below a path; what is not there needs no rule.
    fn beneath(
        ruleset: RulesetCreated,
        path: &Path,
        access: landlock::BitFlags<AccessFs>,
    ) -> Result<RulesetCreated, landlock::RulesetError> {
        let Ok(opened) = PathFd::new(path) else {
            return Ok(ruleset);
        };
        let access = if path.is_dir() {
            access
        } else {
            access & AccessFs::from_file(ABI_USED)
        };
        let ruleset = ruleset.add_rule(PathBeneath::new(&opened, access));
        // A rule is about the file as the kernel knows it, and of those in `/proc` it may forget one
        // and make another in its place. Not while the first one is open.
        if path.starts_with("/proc") || path.starts_with("/sys") {
            std::mem::forget(opened);
        }
        ruleset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_marks_of_xml_is_written_as_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a&<b>");
        std::fs::create_dir(&path).unwrap();
        let config = write_configuration(&path, Names::TEST).unwrap();
        let text = std::fs::read_to_string(config).unwrap();
        assert!(text.contains("a&amp;&lt;b&gt;/program.users.xml"), "{text}");
    }
}
