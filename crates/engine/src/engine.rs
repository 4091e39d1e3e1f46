//! The engine as safe Rust: one storage path, many connections, statements on threads of their own.
//!
//! **A connection per statement.** Opening and closing one costs 0.06 ms, so a statement outside a
//! session gets a fresh one, made with its settings and its database, and closed after it: nothing
//! can leak from one request into another. A pool would have to undo every `SET`, `USE` and
//! temporary table of the statement before.
//!
//! **Answers through a pipe.** libchdb's own streaming call begins a new document for each block
//! (a second JSON object, a second header line), gives nothing at all for an empty result, and
//! cannot stream `SHOW`. So the engine writes its answer `INTO OUTFILE` into a pipe: every format
//! is exactly what a server sends, memory is bounded by the pipe, and a slow reader slows the
//! engine.

use std::collections::HashSet;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::confine;
use super::connection::{Connection, quoted_name};
use super::error::{EngineError, Exception, code};
use super::libchdb::Library;
use super::locate::locate;
use super::lock::PathLock;
use super::names::Names;

/// How the engine is opened.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// What the program calls things.
    pub names: &'static Names,
    /// The folder that holds the data; made if it is not there.
    pub path: PathBuf,
    /// The library's file; `None`: see [`locate`].
    pub libchdb: Option<PathBuf>,
    /// The most memory that all statements and merges together may take; a statement that would
    /// go past it fails with `MEMORY_LIMIT_EXCEEDED`. Default: 2 GiB. Unit: bytes.
    pub memory_bytes_max: u64,
    /// Threads that one statement may use. Default: 2.
    pub statement_threads_max: u16,
    /// How long a path that another process holds is waited for. Default: 10 s.
    pub lock_wait: Duration,
}

impl EngineSettings {
    /// The defaults, for a machine of two cores shared with the collector.
    pub fn new(names: &'static Names, path: impl Into<PathBuf>) -> Self {
        Self {
            names,
            path: path.into(),
            libchdb: None,
            memory_bytes_max: 2 * 1024 * 1024 * 1024,
            statement_threads_max: 2,
            lock_wait: Duration::from_secs(10),
        }
    }
}

/// Stack of a statement's thread. The engine's parser and planner recurse; this is what
/// ClickHouse gives its own threads.
const STATEMENT_STACK_BYTES: usize = 8 * 1024 * 1024;

/// How often a cancelled statement is told again: it may not have been registered yet when it was
/// told first.
const KILL_PAUSE: Duration = Duration::from_millis(100);

/// How often the answer of a cancelled statement is taken out of its pipe.
const FORGET_PAUSE: Duration = Duration::from_millis(5);

/// A setting no table of ours reads, which carries the mark by which a statement can be cancelled.
/// libchdb gives no way to choose the query id, and `log_comment` belongs to the client.
const MARK_SETTING: &str = "stream_like_engine_insert_queue";

/// Fixed options of the engine. Sizes suit a small machine: the defaults keep caches of gigabytes.
/// System log tables need no switch: libchdb does not have them.
const SERVER_OPTIONS: [&str; 14] = [
    "--mark_cache_size=67108864",
    "--primary_index_cache_size=67108864",
    "--index_mark_cache_size=16777216",
    "--query_condition_cache_size=16777216",
    "--vector_similarity_index_cache_size=1048576",
    "--text_index_tokens_cache_size=1048576",
    "--text_index_header_cache_size=1048576",
    "--text_index_postings_cache_size=1048576",
    "--parquet_metadata_cache_size=1048576",
    "--iceberg_metadata_files_cache_size=1048576",
    "--compiled_expression_cache_size=16777216",
    "--max_active_parts_loading_thread_pool_size=2",
    "--max_outdated_parts_loading_thread_pool_size=2",
    "--max_parts_cleaning_thread_pool_size=2",
];

/// Settings that every connection begins with, where the engine's own default is not a server's.
const CONNECTION_OPTIONS: [&str; 4] = [
    // Acknowledge an insert when it is written, not when it is queued.
    "--async_insert=0",
    // `1 + 1` is not a statement over HTTP.
    "--implicit_select=0",
    // What a server has: an answer must not depend on which of the two is behind a URL.
    "--storage_file_read_method=pread",
    "--allow_introspection_functions=0",
];

/// The opened engine. One per process.
pub struct Engine {
    names: &'static Names,
    library: &'static Library,
    path: PathBuf,
    arguments: Vec<String>,
    /// Kept open, because the engine shuts down with its last connection; runs `KILL QUERY`.
    keeper: Mutex<Connection>,
    setting_names: HashSet<String>,
    version: String,
    time_zone: String,
    marks: AtomicU64,
    _lock: PathLock,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Engine")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What a fresh connection is made with.
#[derive(Debug, Clone, Default)]
pub(super) struct ConnectOptions {
    pub(super) database: Option<String>,
    pub(super) settings: Vec<(String, String)>,
}

impl Engine {
    /// Takes the path's lock, loads the library and opens the engine. Blocks.
    pub fn open(settings: &EngineSettings) -> Result<Self, EngineError> {
        let names = settings.names;
        let file = locate(settings.libchdb.as_deref(), names)?;
        let lock = PathLock::acquire(&settings.path, &names.file("lock"), settings.lock_wait)?;
        let path = settings
            .path
            .canonicalize()
            .map_err(|source| EngineError::Path {
                path: settings.path.clone(),
                source,
            })?;
        let library: &'static Library = Box::leak(Box::new(Library::load(&file)?));
        let mut arguments = vec![
            format!("--path={}", path.display()),
            format!("--max_server_memory_usage={}", settings.memory_bytes_max),
            format!("--max_threads={}", settings.statement_threads_max),
        ];
        arguments.extend(CONNECTION_OPTIONS.map(str::to_owned));
        let config =
            confine::write_configuration(&path, names).map_err(|source| EngineError::Path {
                path: path.clone(),
                source,
            })?;
        let mut boot = arguments.clone();
        boot.extend(SERVER_OPTIONS.map(str::to_owned));
        boot.push(format!("--config-file={}", config.display()));
        let raw = library
            .connect(names.program, &boot)
            .ok_or_else(|| EngineError::Refused { path: path.clone() })?;
        let mut keeper = Connection { raw };
        let mut ask = |sql: &str| {
            keeper.text(sql).map_err(|source| EngineError::Unwell {
                path: path.clone(),
                source,
            })
        };
        let version = ask("SELECT version() FORMAT TSVRaw")?.trim().to_owned();
        let time_zone = ask("SELECT timezone() FORMAT TSVRaw")?.trim().to_owned();
        let known = ask("SELECT name FROM system.settings FORMAT TSVRaw")?;
        let setting_names = known.lines().map(str::to_owned).collect();
        Ok(Self {
            names,
            library,
            path,
            arguments,
            keeper: Mutex::new(keeper),
            setting_names,
            version,
            time_zone,
            marks: AtomicU64::new(1),
            _lock: lock,
        })
    }

    /// What the program calls things.
    pub(super) fn names(&self) -> &'static Names {
        self.names
    }

    /// The engine's version, such as `26.7.2.1`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The engine's time zone.
    pub fn time_zone(&self) -> &str {
        &self.time_zone
    }

    /// Where the data is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the engine knows a setting of this name.
    pub(super) fn knows_setting(&self, name: &str) -> bool {
        self.setting_names.contains(name)
    }

    /// A mark for one statement or session, by which it can be cancelled.
    pub(super) fn next_mark(&self) -> String {
        format!("statement-{}", self.marks.fetch_add(1, Ordering::Relaxed))
    }

    /// Opens a connection. Blocks for 0.06 ms, with a database for a further 0.1 ms.
    pub(super) fn connect(
        &self,
        options: &ConnectOptions,
        mark: &str,
    ) -> Result<Connection, Exception> {
        let mut arguments = self.arguments.clone();
        let own = arguments.len();
        arguments.extend(
            options
                .settings
                .iter()
                .map(|(name, value)| format!("--{name}={value}")),
        );
        // Last, so that no client can take the mark off its statement.
        arguments.push(format!("--{MARK_SETTING}={mark}"));
        let Some(raw) = self.library.connect(self.names.program, &arguments) else {
            // libchdb does not say which value it refused; a `SET` does.
            arguments.truncate(own);
            let raw = self
                .library
                .connect(self.names.program, &arguments)
                .ok_or_else(cannot_connect)?;
            Connection { raw }.set(&options.settings)?;
            return Err(cannot_connect());
        };
        let mut connection = Connection { raw };
        if let Some(database) = &options.database {
            connection.text(&format!("USE {}", quoted_name(database)))?;
        }
        Ok(connection)
    }

    /// Asks the engine's allocator to give freed memory back to the system. Blocks for about 10 ms.
    ///
    /// It keeps much of it otherwise: 500 MB resident after a client's test suite, of which the
    /// engine used 20 MB, and its memory limit counts all of it. What single large statements
    /// took can stay for a minute or two all the same.
    pub(super) fn release_memory(&self) {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = keeper.text("SYSTEM JEMALLOC PURGE") {
            tracing::debug!(%error, "could not give memory back");
        }
    }

    /// Cancels the statement that carries `mark`, if it runs. Blocks.
    fn kill(&self, mark: &str) {
        let sql =
            format!("KILL QUERY WHERE Settings['{MARK_SETTING}'] = '{mark}' ASYNC FORMAT Null");
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = keeper.text(&sql) {
            tracing::warn!(%error, "could not cancel a statement");
        }
    }
}

fn cannot_connect() -> Exception {
    Exception::new(
        code::UNKNOWN_EXCEPTION,
        "UNKNOWN_EXCEPTION",
        "The engine refused a connection with these settings",
    )
}

/// Cancels a statement when it is dropped before the statement has ended.
///
/// The statement's thread holds the other half ([`Running`]) and drops it at its end.
pub(super) struct Canceller {
    engine: Arc<Engine>,
    mark: String,
    running: Weak<()>,
    answer: Option<PipeReader>,
}

impl Canceller {
    /// Keeps a reading end of the answer's pipe open for as long as the statement runs.
    ///
    /// Opening a pipe for writing blocks while nobody has it open for reading, and no `KILL QUERY`
    /// ends that; nor does it end a write into a full pipe. So a reader stays to the end, and a
    /// cancelled statement's answer is read and forgotten.
    pub(super) fn keep_answer(&mut self, answer: PipeReader) {
        self.answer = Some(answer);
    }
}

/// Proof that a statement still runs.
pub(super) struct Running {
    _alive: Arc<()>,
}

/// Makes the two halves for a statement with this mark.
pub(super) fn cancellable(engine: &Arc<Engine>, mark: &str) -> (Canceller, Running) {
    let alive = Arc::new(());
    let canceller = Canceller {
        engine: Arc::clone(engine),
        mark: mark.to_owned(),
        running: Arc::downgrade(&alive),
        answer: None,
    };
    (canceller, Running { _alive: alive })
}

impl Drop for Canceller {
    fn drop(&mut self) {
        if self.running.strong_count() == 0 {
            return;
        }
        let (engine, mark) = (Arc::clone(&self.engine), self.mark.clone());
        let (running, mut answer) = (self.running.clone(), self.answer.take());
        // A thread per cancelled statement; statements are bounded, so these are.
        let work = move || {
            while running.strong_count() > 0 {
                engine.kill(&mark);
                let told = Instant::now();
                while running.strong_count() > 0 && told.elapsed() < KILL_PAUSE {
                    answer.as_mut().map(forget_answer);
                    thread::sleep(FORGET_PAUSE);
                }
            }
        };
        let spawned = thread::Builder::new()
            .name("ch-cancel".to_owned())
            .spawn(work);
        if let Err(error) = spawned {
            tracing::warn!(%error, "could not cancel a statement");
        }
    }
}

/// Reads what is in the pipe now. The pipe does not block: the client's end of it is read by tokio.
fn forget_answer(answer: &mut PipeReader) {
    let mut buffer = [0; 64 * 1024];
    // Not until it is empty: a quick engine would keep us here and never be told again.
    for _ in 0..16 {
        if !matches!(answer.read(&mut buffer), Ok(count) if count > 0) {
            return;
        }
    }
}

/// From now on the current thread only gets the processor when nobody else wants it. On a kernel that has no such
/// threads it goes on as it is.
pub(super) fn stand_back() {
    #[cfg(target_os = "linux")]
    {
        use thread_priority::unix::{
            NormalThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
            thread_native_id,
        };
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        let lowest = thread_priority::ThreadPriority::Min;
        if let Err(error) = set_thread_priority_and_policy(thread_native_id(), lowest, idle) {
            tracing::debug!(?error, "a statement in the background runs like any other");
        }
    }
}

/// Runs `work` on a thread of its own, with a stack as deep as ClickHouse's.
pub(super) fn spawn_statement(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new()
        .name("ch-statement".to_owned())
        .stack_size(STATEMENT_STACK_BYTES)
        .spawn(work)
        .map(drop)
}

/// The pipe that carries an answer from the engine.
pub(super) fn answer_pipe() -> io::Result<(PipeReader, PipeWriter)> {
    io::pipe()
}
