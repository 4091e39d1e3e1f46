//! The dozen C functions of libchdb, loaded at run time; the only `unsafe` in the tree.
//!
//! Everything above this file is safe Rust. The types here keep three rules that libchdb leaves
//! to its caller: a connection runs one statement at a time (`&mut self`), a result and an insert
//! stream are freed exactly once (`Drop`), and nothing outlives the library (it is never unloaded).

#![expect(
    unsafe_code,
    reason = "libchdb has a C interface; this file is the one place that calls it"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;

use super::error::EngineError;

/// What `chdb_connect` returns: a pointer to the handle that all other calls take.
type ConnectionSlot = *mut *mut c_void;

type ConnectFn = unsafe extern "C" fn(c_int, *mut *mut c_char) -> ConnectionSlot;
type CloseFn = unsafe extern "C" fn(ConnectionSlot);
/// Statement, format, and parameters as parallel arrays of names and values with their lengths.
type StatementFn = unsafe extern "C" fn(
    *mut c_void,
    *const u8,
    usize,
    *const u8,
    usize,
    *const *const u8,
    *const usize,
    *const *const u8,
    *const usize,
    usize,
) -> *mut c_void;
type HandleFn = unsafe extern "C" fn(*mut c_void);
type HandleToHandleFn = unsafe extern "C" fn(*mut c_void) -> *mut c_void;
type HandleToTextFn = unsafe extern "C" fn(*mut c_void) -> *const c_char;
type HandleToCountFn = unsafe extern "C" fn(*mut c_void) -> u64;
type AppendFn = unsafe extern "C" fn(*mut c_void, *const u8, usize) -> c_int;

/// The loaded library. One per process, never unloaded: its threads outlive every connection.
pub(super) struct Library {
    connect: ConnectFn,
    close_conn: CloseFn,
    query_with_params: StatementFn,
    destroy_query_result: HandleFn,
    result_buffer: HandleToTextFn,
    result_length: HandleToCountFn,
    result_error: HandleToTextFn,
    result_rows: HandleToCountFn,
    result_bytes: HandleToCountFn,
    result_storage_rows: HandleToCountFn,
    result_storage_bytes: HandleToCountFn,
    result_rows_written: HandleToCountFn,
    result_bytes_written: HandleToCountFn,
    stream_insert_with_params: StatementFn,
    stream_append: AppendFn,
    stream_done: HandleToHandleFn,
    stream_cancel_insert: HandleFn,
    stream_insert_error: HandleToTextFn,
    destroy_insert_stream: HandleFn,
}

impl Library {
    /// Loads the library and tells it to leave this process's signal handlers alone.
    pub(super) fn load(file: &Path) -> Result<Self, EngineError> {
        let unloadable = |source| EngineError::LibraryUnloadable {
            file: file.to_owned(),
            source,
        };
        // SAFETY: the initialisers of libchdb are those of ClickHouse and have no preconditions;
        // the file is the operator's choice, as the executable itself is.
        let library = unsafe { libloading::Library::new(file) }.map_err(unloadable)?;
        // The library's threads run until the process ends, so its code must stay where it is.
        let library: &'static libloading::Library = Box::leak(Box::new(library));

        macro_rules! symbol {
            ($name:literal) => {
                // SAFETY: the declared type is the one libchdb's header gives this function on
                // 64-bit platforms (`size_t` and `uint64_t` are the same there).
                *unsafe { library.get($name) }.map_err(unloadable)?
            };
        }
        let set_signal_handlers_enabled: unsafe extern "C" fn(c_int) =
            symbol!(b"chdb_set_signal_handlers_enabled\0");
        // SAFETY: called before the first connection, as the header asks.
        unsafe { set_signal_handlers_enabled(0) };
        Ok(Self {
            connect: symbol!(b"chdb_connect\0"),
            close_conn: symbol!(b"chdb_close_conn\0"),
            query_with_params: symbol!(b"chdb_query_with_params_n\0"),
            destroy_query_result: symbol!(b"chdb_destroy_query_result\0"),
            result_buffer: symbol!(b"chdb_result_buffer\0"),
            result_length: symbol!(b"chdb_result_length\0"),
            result_error: symbol!(b"chdb_result_error\0"),
            result_rows: symbol!(b"chdb_result_rows_read\0"),
            result_bytes: symbol!(b"chdb_result_bytes_read\0"),
            result_storage_rows: symbol!(b"chdb_result_storage_rows_read\0"),
            result_storage_bytes: symbol!(b"chdb_result_storage_bytes_read\0"),
            result_rows_written: symbol!(b"chdb_result_rows_written\0"),
            result_bytes_written: symbol!(b"chdb_result_bytes_written\0"),
            stream_insert_with_params: symbol!(b"chdb_stream_insert_with_params_n\0"),
            stream_append: symbol!(b"chdb_stream_append\0"),
            stream_done: symbol!(b"chdb_stream_done\0"),
            stream_cancel_insert: symbol!(b"chdb_stream_cancel_insert\0"),
            stream_insert_error: symbol!(b"chdb_stream_insert_error\0"),
            destroy_insert_stream: symbol!(b"chdb_destroy_insert_stream\0"),
        })
    }

    /// Opens a connection for a program of this name; `None` when libchdb refuses, for which it gives no reason here.
    pub(super) fn connect(
        &'static self,
        program: &str,
        arguments: &[String],
    ) -> Option<RawConnection> {
        let owned: Vec<CString> = std::iter::once(program)
            .chain(arguments.iter().map(String::as_str))
            .map(CString::new)
            .collect::<Result<_, _>>()
            .ok()?;
        let mut argv: Vec<*mut c_char> =
            owned.iter().map(|text| text.as_ptr().cast_mut()).collect();
        let argc = c_int::try_from(argv.len()).ok()?;
        argv.push(ptr::null_mut());
        // SAFETY: `argv` holds `argc` valid C strings and a closing null; libchdb copies them.
        let slot = unsafe { (self.connect)(argc, argv.as_mut_ptr()) };
        if slot.is_null() {
            return None;
        }
        Some(RawConnection {
            slot,
            library: self,
        })
    }
}

/// An open connection. Closed when dropped.
pub(super) struct RawConnection {
    slot: ConnectionSlot,
    library: &'static Library,
}

// SAFETY: libchdb guards each connection with a lock of its own and keeps no thread-local state
// between calls, so a connection may be used from another thread than the one that opened it.
unsafe impl Send for RawConnection {}

impl RawConnection {
    /// Runs one statement to its end.
    pub(super) fn query(
        &mut self,
        sql: &str,
        format: &str,
        parameters: &[(String, String)],
    ) -> RawResult {
        let handle = self.call(self.library.query_with_params, sql, format, parameters);
        RawResult {
            handle,
            library: self.library,
        }
    }

    /// Begins an insert whose data comes in pieces.
    pub(super) fn insert(
        &mut self,
        sql: &str,
        format: &str,
        parameters: &[(String, String)],
    ) -> RawInsert<'_> {
        let handle = self.call(
            self.library.stream_insert_with_params,
            sql,
            format,
            parameters,
        );
        RawInsert {
            handle,
            connection: self,
        }
    }

    fn call(
        &self,
        function: StatementFn,
        sql: &str,
        format: &str,
        parameters: &[(String, String)],
    ) -> *mut c_void {
        let names: Vec<*const u8> = parameters.iter().map(|(name, _)| name.as_ptr()).collect();
        let name_lengths: Vec<usize> = parameters.iter().map(|(name, _)| name.len()).collect();
        let values: Vec<*const u8> = parameters.iter().map(|(_, value)| value.as_ptr()).collect();
        let value_lengths: Vec<usize> = parameters.iter().map(|(_, value)| value.len()).collect();
        // SAFETY: the slot came from `chdb_connect` and is closed only in `drop`; every pointer is
        // valid for the length passed with it until the call returns; libchdb copies the texts.
        unsafe {
            function(
                *self.slot,
                sql.as_ptr(),
                sql.len(),
                format.as_ptr(),
                format.len(),
                names.as_ptr(),
                name_lengths.as_ptr(),
                values.as_ptr(),
                value_lengths.as_ptr(),
                parameters.len(),
            )
        }
    }
}

impl Drop for RawConnection {
    fn drop(&mut self) {
        // SAFETY: the slot came from `chdb_connect` and is closed only here.
        unsafe { (self.library.close_conn)(self.slot) };
    }
}

/// What a statement did, in rows and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Rows of the result.
    pub(super) result_rows: u64,
    /// Bytes of the result in the engine's own layout.
    pub(super) result_bytes: u64,
    /// Rows read from tables.
    pub(super) read_rows: u64,
    /// Bytes read from tables.
    pub(super) read_bytes: u64,
    /// Rows written to tables, also through views.
    pub(super) written_rows: u64,
    /// Bytes written to tables.
    pub(super) written_bytes: u64,
}

/// The result of a statement. Freed when dropped.
pub(super) struct RawResult {
    handle: *mut c_void,
    library: &'static Library,
}

impl RawResult {
    /// The exception, if the statement failed.
    pub(super) fn error(&self) -> Option<String> {
        if self.handle.is_null() {
            return Some("the engine returned no result".to_owned());
        }
        // SAFETY: the handle is valid until `drop`; the text lives as long as the handle.
        unsafe { owned_text((self.library.result_error)(self.handle)) }
    }

    /// The result's bytes in the format asked for.
    pub(super) fn bytes(&self) -> &[u8] {
        if self.handle.is_null() {
            return &[];
        }
        // SAFETY: buffer and length describe one allocation that lives as long as the handle,
        // and the borrow of `self` keeps the handle alive.
        unsafe {
            let buffer = (self.library.result_buffer)(self.handle).cast::<u8>();
            let length = usize::try_from((self.library.result_length)(self.handle)).unwrap_or(0);
            if buffer.is_null() || length == 0 {
                return &[];
            }
            std::slice::from_raw_parts(buffer, length)
        }
    }

    /// Rows and bytes read, written and returned.
    pub(super) fn counts(&self) -> Counts {
        if self.handle.is_null() {
            return Counts::default();
        }
        // SAFETY: the handle is valid until `drop`.
        unsafe {
            Counts {
                result_rows: (self.library.result_rows)(self.handle),
                result_bytes: (self.library.result_bytes)(self.handle),
                read_rows: (self.library.result_storage_rows)(self.handle),
                read_bytes: (self.library.result_storage_bytes)(self.handle),
                written_rows: (self.library.result_rows_written)(self.handle),
                written_bytes: (self.library.result_bytes_written)(self.handle),
            }
        }
    }
}

impl Drop for RawResult {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: the handle is freed only here.
            unsafe { (self.library.destroy_query_result)(self.handle) };
        }
    }
}

/// An insert whose data is still coming. Dropping it without `finish` cancels it.
pub(super) struct RawInsert<'connection> {
    handle: *mut c_void,
    connection: &'connection mut RawConnection,
}

impl RawInsert<'_> {
    /// Why the insert could not begin or go on.
    pub(super) fn error(&self) -> Option<String> {
        // SAFETY: libchdb never returns a null stream, and it is freed only in `drop`.
        unsafe { owned_text((self.connection.library.stream_insert_error)(self.handle)) }
    }

    /// Hands over the next bytes; waits while the engine is behind. False: see `error`.
    pub(super) fn append(&mut self, data: &[u8]) -> bool {
        // SAFETY: `data` is valid for its length during the call; libchdb copies it.
        unsafe {
            (self.connection.library.stream_append)(self.handle, data.as_ptr(), data.len()) == 0
        }
    }

    /// Says that all data was handed over, and waits until it is written.
    pub(super) fn finish(self) -> RawResult {
        // SAFETY: the stream is valid; `drop` frees it after this, as the header asks.
        let handle = unsafe { (self.connection.library.stream_done)(self.handle) };
        RawResult {
            handle,
            library: self.connection.library,
        }
    }

    /// Gives up: what the engine has not written yet is dropped.
    pub(super) fn cancel(self) {
        // SAFETY: the stream is valid; `drop` frees it after this.
        unsafe { (self.connection.library.stream_cancel_insert)(self.handle) };
    }
}

impl Drop for RawInsert<'_> {
    fn drop(&mut self) {
        // SAFETY: freed only here; libchdb cancels first when the stream was not finished. The
        // connection is still open, because it is borrowed.
        unsafe { (self.connection.library.destroy_insert_stream)(self.handle) };
    }
}

/// Copies a C string that may be null.
///
/// # Safety
/// `text` is null or points to a C string that stays valid during the call.
unsafe fn owned_text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: promised by the caller.
    let text = unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned();
    (!text.is_empty()).then_some(text)
}
