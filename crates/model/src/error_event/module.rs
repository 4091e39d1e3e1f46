//! A file's name without its origin, its folders and the hash of its build.

use super::NAME_CHARS_MAX;
use super::quotes::MARK;
use super::scrub::scrubbed;

/// What a frame in an extension of the browser has in place of a module.
const EXTENSION: &str = "(extension)";
/// What a frame in the browser's own code has in place of a module.
const NATIVE: &str = "(native)";
/// How addresses of extensions begin.
const EXTENSION_SCHEMES: [&str; 5] = [
    "chrome-extension:",
    "moz-extension:",
    "safari-extension:",
    "safari-web-extension:",
    "webkit-masked-url:",
];
/// What browsers call their own code.
const NATIVE_NAMES: [&str; 3] = ["native", "native code", "[native code]"];
/// Of a longer name, what is behind so many characters is not read.
const READ_CHARS_MAX: usize = 400;
/// A name is looked through so many times at most.
const ROUNDS_MAX: usize = 8;
/// From so many hexadecimal digits on, a part of a name is a hash.
const HEX_CHARS_MIN: usize = 6;
/// Bundlers that write hashes in base 64 write so many characters of them.
const BASE64_CHARS: usize = 8;

/// Gives what is kept of a module, the address of a script: the last part of its path, without query, fragment and
/// the hash of its build, scrubbed.
#[must_use]
pub fn module(address: &str) -> String {
    if let Some(foreign) = foreign(address) {
        return foreign.to_owned();
    }
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let name = path.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut chars: Vec<char> = name.chars().take(READ_CHARS_MAX).collect();
    // What one step takes out may leave something for the other: fewer digits look like a hash, and without a
    // hash two parts are one token. Each step shortens the name, so this soon ends.
    for _ in 0..ROUNDS_MAX {
        let next = scrubbed(without_hashes(&chars), NAME_CHARS_MAX);
        let is_clean = next == chars;
        chars = next;
        if is_clean {
            break;
        }
    }
    let name: String = chars.into_iter().collect();
    foreign(&name).map_or(name, str::to_owned)
}

/// What stands in place of a module that is not the application's.
fn foreign(module: &str) -> Option<&'static str> {
    let begins_with = |scheme: &&str| {
        let start = module.as_bytes().get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
    };
    if EXTENSION_SCHEMES.iter().any(begins_with) {
        return Some(EXTENSION);
    }
    NATIVE_NAMES.contains(&module).then_some(NATIVE)
}

/// Whether a module, as [`module`] gives it, belongs to the application.
#[must_use]
pub fn is_in_app(module: &str) -> bool {
    module != EXTENSION && module != NATIVE
}

/// Leaves out the parts of a name that change with each build. Parts begin at a dot or a hyphen.
fn without_hashes(name: &[char]) -> Vec<char> {
    let mut kept = Vec::with_capacity(name.len());
    for (number, part) in name
        .chunk_by(|_, next| !matches!(next, '.' | '-'))
        .enumerate()
    {
        let word = part.strip_prefix(&['.']).or(part.strip_prefix(&['-']));
        match (is_hash(word.unwrap_or(part)), number) {
            (true, 0) => kept.push(MARK),
            (true, _) => {}
            (false, _) => kept.extend_from_slice(part),
        }
    }
    kept
}

fn is_hash(word: &[char]) -> bool {
    let has = |is_it: fn(&char) -> bool| word.iter().any(is_it);
    let is_hex = word.len() >= HEX_CHARS_MIN && word.iter().all(char::is_ascii_hexdigit);
    let is_base64 = word.len() == BASE64_CHARS
        && word
            .iter()
            .all(|char| char.is_ascii_alphanumeric() || *char == '_');
    let has_inner_capital =
        has(char::is_ascii_lowercase) && word.iter().skip(1).any(char::is_ascii_uppercase);
    (is_hex && has(char::is_ascii_digit))
        || (is_base64 && (has(char::is_ascii_digit) || has_inner_capital))
}
