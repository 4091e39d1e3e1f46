//! The terminal's library as it is built into the program: what pages load, and by what they know that it is the right
//! one.

use std::io::Write;
use std::sync::LazyLock;

use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha384};

/// The classic script with everything in it, as `sdk/build.mjs` makes it.
pub const SCRIPT: &str = include_str!("../sdk/dist/tillwatch.js");

/// What `sdk/build.mjs` says of the script.
const BUILT: &str = include_str!("../sdk/dist/integrity.json");

/// The library's version: a page that names it always gets the same bytes.
pub static VERSION: LazyLock<String> = LazyLock::new(|| {
    let built: serde_json::Value = serde_json::from_str(BUILT).unwrap_or_default();
    built["version"].as_str().unwrap_or_default().to_owned()
});

/// What a page's `integrity` attribute says of the script (Subresource Integrity, W3C).
pub static INTEGRITY: LazyLock<String> = LazyLock::new(|| {
    let digest = Sha384::digest(SCRIPT.as_bytes());
    format!("sha384-{}", BASE64_STANDARD.encode(digest))
});

/// The script compressed with gzip.
pub static GZIPPED: LazyLock<Bytes> = LazyLock::new(|| {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // Memory takes everything.
    let _ = encoder.write_all(SCRIPT.as_bytes());
    Bytes::from(encoder.finish().unwrap_or_default())
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_says_what_it_is() {
        let package: serde_json::Value =
            serde_json::from_str(include_str!("../sdk/package.json")).unwrap();
        assert_eq!(*VERSION, package["version"]);
        let built: serde_json::Value = serde_json::from_str(BUILT).unwrap();
        assert_eq!(*INTEGRITY, built["integrity"]);
        assert!(GZIPPED.len() <= 8_100, "{} bytes", GZIPPED.len());
    }
}
