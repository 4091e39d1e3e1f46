//! The bytes of a journal segment.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _scan = tillwatch_journal::reader::scan(bytes);
});
