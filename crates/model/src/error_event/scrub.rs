//! A text without what may name a person: quoted text, queries, addresses, tokens, long numbers.
//!
//! Every step leaves less to find for those before it, so that scrubbing a scrubbed text changes nothing.

use super::quotes::{MARK, is_word, without_quoted, without_stray};

/// What is behind so many characters is not read.
const READ_CHARS_MAX: usize = 4_096;
/// From so many letters and digits on, a mixture of them is taken for a token.
const TOKEN_CHARS_MIN: usize = 20;
/// From so many on, letters alone are taken for a token as well.
const LETTERS_CHARS_MIN: usize = 40;
/// From so many digits on, a number may be somebody's.
const DIGITS_MIN: usize = 4;

/// Takes out of a text what may name a person, and cuts it to so many characters.
#[must_use]
pub fn scrub(text: &str, chars_max: usize) -> String {
    if text.len() <= chars_max && is_short_name(text) {
        return text.to_owned();
    }
    // One more tells whether there is more.
    let chars: Vec<char> = text.chars().take(READ_CHARS_MAX + 1).collect();
    scrubbed(chars, chars_max).into_iter().collect()
}

/// Whether there is nothing in a text that could be taken out: most functions and modules of frames are such.
fn is_short_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_');
    bytes.len() < TOKEN_CHARS_MIN && digits < DIGITS_MIN && bytes.iter().all(is_part)
}

/// Scrubs characters as [`scrub`] does.
#[must_use]
pub fn scrubbed(mut chars: Vec<char>, chars_max: usize) -> Vec<char> {
    let is_cut = chars.len() > READ_CHARS_MAX;
    chars.truncate(READ_CHARS_MAX);
    for char in &mut chars {
        if is_space(*char) {
            *char = ' ';
        }
    }
    let chars = without_quoted(&chars, is_cut);
    let chars = without_queries(&chars);
    let chars = replaced(&chars, is_address_char, is_address, MARK);
    let chars = replaced(&chars, is_token_char, is_token, MARK);
    let chars = replaced(&chars, is_digit, |run| run.len() >= DIGITS_MIN, '0');
    let mut chars = without_double_spaces(&without_stray(&chars));
    chars.truncate(chars_max);
    // The cut may have taken the letter behind an apostrophe.
    while let Some(' ' | '\'' | '\u{2019}') = chars.last() {
        chars.pop();
    }
    chars
}

/// Whether this is a space, a control character, or a sign that nobody sees.
fn is_space(char: char) -> bool {
    matches!(char,
        '\0'..=' ' | '\u{7f}'..='\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200c}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{3000}' | '\u{feff}')
}

fn without_double_spaces(text: &[char]) -> Vec<char> {
    let words = text
        .split(|char| *char == ' ')
        .filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(&' ')
}

/// Cuts words at the query or fragment of an address.
fn without_queries(text: &[char]) -> Vec<char> {
    let words = text.split(|char| *char == ' ').map(|word| {
        let query = word.iter().position(|char| matches!(char, '?' | '#'));
        let Some((before, query)) = query.and_then(|at| word.split_at_checked(at)) else {
            return word;
        };
        let has_query =
            query.contains(&'=') || word.windows(3).any(|three| three == [':', '/', '/']);
        if has_query { before } else { word }
    });
    words.collect::<Vec<_>>().join(&' ')
}

/// Puts one character in place of each longest run of characters that is meant.
fn replaced(
    text: &[char],
    is_part: impl Fn(char) -> bool,
    is_meant: impl Fn(&[char]) -> bool,
    by: char,
) -> Vec<char> {
    let mut kept = Vec::with_capacity(text.len());
    for run in text.chunk_by(|left, right| is_part(*left) == is_part(*right)) {
        let is_run = run.first().is_some_and(|char| is_part(*char));
        if is_run && is_meant(run) {
            kept.push(by);
        } else {
            kept.extend_from_slice(run);
        }
    }
    kept
}

fn is_address_char(char: char) -> bool {
    is_word(char) || matches!(char, '.' | '_' | '%' | '+' | '-' | ':' | '@')
}

/// Whether there is an at sign, plain or as addresses write it, with something on either side.
fn is_address(run: &[char]) -> bool {
    let inside = |sign: &[char]| {
        let mut places = run.windows(sign.len()).enumerate().skip(1);
        places.any(|(at, window)| window == sign && at + sign.len() < run.len())
    };
    inside(&['@']) || inside(&['%', '4', '0'])
}

fn is_token_char(char: char) -> bool {
    char.is_ascii_alphabetic() || is_digit(char) || matches!(char, '_' | '-' | '+' | '/' | '=')
}

/// Whether this is a token: long, and no name or path as people write them.
fn is_token(run: &[char]) -> bool {
    let has = |part: &[char], is_it: fn(&char) -> bool| part.iter().any(is_it);
    let is_mixed =
        |part: &[char]| has(part, |char| is_digit(*char)) && has(part, char::is_ascii_alphabetic);
    if run.len() < TOKEN_CHARS_MIN {
        return false;
    }
    let is_base64 =
        is_mixed(run) && has(run, char::is_ascii_lowercase) && has(run, char::is_ascii_uppercase);
    let mut parts = run.split(|char| *char == '/');
    is_base64
        || parts.any(|part| {
            part.len() >= LETTERS_CHARS_MIN || (part.len() >= TOKEN_CHARS_MIN && is_mixed(part))
        })
}

fn is_digit(char: char) -> bool {
    matches!(char,
        '0'..='9' | '\u{660}'..='\u{669}' | '\u{6f0}'..='\u{6f9}' | '\u{966}'..='\u{96f}' | '\u{ff10}'..='\u{ff19}')
}
