//! The fingerprint of an error: which reports are of the same one, whatever the build.
//!
//! It is made of 32-bit operations alone, so that a browser can make it at once and in a few lines.

use super::is_in_app;

/// So many frames make a fingerprint: the innermost ones of the application.
pub const IN_APP_FRAMES_MAX: usize = 5;

/// A fingerprint, written as 16 hexadecimal digits.
pub type Fingerprint = u64;

/// Gives the fingerprint of an error from what is kept of it: its type, the functions and modules of its frames,
/// and its message, which counts only where no frame is the application's.
pub fn of_error<'a>(
    type_name: &str,
    frames: impl IntoIterator<Item = (&'a str, &'a str)>,
    message: &str,
) -> Fingerprint {
    let frames = frames.into_iter().filter(|(_, module)| is_in_app(module));
    let frames: Vec<(&str, &str)> = frames.take(IN_APP_FRAMES_MAX).collect();
    let mut hash = Hash::new();
    hash.add(type_name);
    for (function, module) in &frames {
        for part in ["\n", function, "@", module] {
            hash.add(part);
        }
    }
    if frames.is_empty() {
        hash.add("\n");
        hash.add(message);
    }
    hash.end()
}

/// Gives the fingerprint of an event that is no error: of its kind and its name.
#[must_use]
pub fn of_event(kind: &str, name: &str) -> Fingerprint {
    let mut hash = Hash::new();
    for part in [kind, "\n", name] {
        hash.add(part);
    }
    hash.end()
}

/// Two hashes of 32 bits side by side, each as FNV-1a goes, over UTF-16, with multipliers of their own.
struct Hash {
    high: u32,
    low: u32,
}

impl Hash {
    fn new() -> Self {
        Self {
            high: 0x811c_9dc5,
            low: 0x9747_b28c,
        }
    }

    fn add(&mut self, text: &str) {
        for unit in text.encode_utf16() {
            self.high = (self.high ^ u32::from(unit)).wrapping_mul(0x0100_0193);
            self.low = (self.low ^ u32::from(unit)).wrapping_mul(0x85eb_ca6b);
        }
    }

    fn end(self) -> Fingerprint {
        (u64::from(mixed(self.high)) << 32) | u64::from(mixed(self.low))
    }
}

/// The last step of `MurmurHash3`: every bit depends on every other.
fn mixed(mut hash: u32) -> u32 {
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}
