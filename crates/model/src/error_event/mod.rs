//! What is kept of an error that a terminal reports: its texts without what may name a person, and the fingerprint
//! that tells which reports are of the same error.
//!
//! Terminals do a coarser version before they send. The collector does it again, because it cannot know who sent.
//! `docs/formats.md` describes the rules; `tests/fixtures/scrub.json` and `tests/fixtures/fingerprint.json` are
//! examples.
//!
//! | file | what |
//! |---|---|
//! | `scrub.rs` | a text without quoted text, addresses, tokens and long numbers |
//! | `quotes.rs` | where quoted text begins and ends |
//! | `module.rs` | a file's name without its origin, its folders and the hash of its build |
//! | `fingerprint.rs` | the fingerprint |
//! | `frames.rs` | the frames as the JSON text that is kept of them |

mod fingerprint;
mod frames;
mod module;
mod quotes;
mod scrub;

pub use fingerprint::{Fingerprint, IN_APP_FRAMES_MAX, of_error, of_event};
pub use frames::{Frame, frames_json};
pub use module::{is_in_app, module};
pub use scrub::{scrub, scrubbed};

/// The most characters that are kept of a message.
pub const MESSAGE_CHARS_MAX: usize = 300;
/// The most characters that are kept of the type of an error, the name of a function or a module.
pub const NAME_CHARS_MAX: usize = 100;
/// The type of an error that names none.
pub const TYPE_UNKNOWN: &str = "Error";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn list(text: &str) -> Vec<Value> {
        serde_json::from_str(text).expect("the fixture is a list")
    }

    #[test]
    fn the_vectors_that_terminals_share_hold() {
        let vectors = list(include_str!("../../../../tests/fixtures/scrub.json"));
        assert!(vectors.len() >= 25);
        for vector in &vectors {
            let text = |key: &str| vector[key].as_str().expect("it is text");
            let out = scrub(text("in"), MESSAGE_CHARS_MAX);
            assert_eq!(out, text("out"), "of {:?}", text("in"));
            assert_eq!(scrub(&out, MESSAGE_CHARS_MAX), out);
        }
    }

    #[test]
    fn the_fingerprints_that_terminals_share_hold() {
        for vector in list(include_str!("../../../../tests/fixtures/fingerprint.json")) {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let frames = vector["frames"].as_array().expect("it is a list");
            let frames: Vec<(String, String)> = frames
                .iter()
                .map(|frame| {
                    let function = scrub(&text(&frame["fn"]), NAME_CHARS_MAX);
                    (function, module(&text(&frame["module"])))
                })
                .collect();
            let modules: Vec<&str> = frames.iter().map(|(_, module)| module.as_str()).collect();
            assert_eq!(Value::from(modules), vector["modules"]);
            let type_name = match &*scrub(&text(&vector["type"]), NAME_CHARS_MAX) {
                "" => TYPE_UNKNOWN.to_owned(),
                name => name.to_owned(),
            };
            let message = scrub(&text(&vector["message"]), MESSAGE_CHARS_MAX);
            let frames = frames
                .iter()
                .map(|(function, module)| (&**function, &**module));
            let fingerprint = of_error(&type_name, frames, &message);
            let expected = vector["fingerprint"].as_str().expect("it is text");
            assert_eq!(format!("{fingerprint:016x}"), expected, "{vector}");
        }
    }

    /// Texts in which the rules meet.
    fn text() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "'",
            "\"",
            "`",
            "\u{201c}",
            "\u{201d}",
            "\u{201e}",
            "\u{ab}",
            "\u{bb}",
            "\u{2018}",
            "\u{2019}",
            "\u{201a}",
            "\\",
            " ",
            "\n",
            "a",
            "Z9",
            "it",
            "4711",
            "12",
            "0",
            "@",
            "%40",
            "%",
            ".",
            "-",
            "_",
            ":",
            "://",
            "/",
            "?",
            "#",
            "=",
            "*",
            "\u{fc}",
            "\u{1f389}",
            "\u{200b}",
            "x.de",
            "app",
            ".js",
            "abcdef12",
            "BkX3a9Zq",
            "eyJhbGciOiJFZERTQSJ9",
            "facade",
            "\u{661}\u{662}\u{663}\u{664}",
            "chrome-extension:",
            "native",
            "a long word of letters alone",
        ]);
        let pieces = prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat());
        prop_oneof![8 => pieces, 1 => "\\PC{0,400}", 1 => any::<String>()]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn what_is_clean_stays_as_it_is(text in text(), chars_max in 1_usize..120) {
            let once = scrub(&text, chars_max);
            prop_assert!(once.chars().count() <= chars_max);
            prop_assert_eq!(&scrub(&once, chars_max), &once);
            prop_assert!(!once.contains(|char: char| char.is_control()));
            let once = module(&text);
            prop_assert!(once.chars().count() <= NAME_CHARS_MAX);
            prop_assert_eq!(&module(&once), &once);
        }

        #[test]
        fn the_quick_way_says_what_the_long_one_does(text in "[A-Za-z0-9._]{0,24}|[ -~]{0,24}", chars_max in 1_usize..30) {
            let long = scrubbed(text.chars().collect(), chars_max);
            prop_assert_eq!(scrub(&text, chars_max), long.into_iter().collect::<String>());
        }

        #[test]
        fn no_address_and_no_long_number_is_left(text in text(), local in "[a-z]{1,9}", number in 1_000_u64..) {
            let text = format!("{text} {local}@shop.example {number} {text}");
            let clean = scrub(&text, MESSAGE_CHARS_MAX);
            prop_assert!(!clean.contains("@shop"), "{}", clean);
            prop_assert!(!clean.contains(&number.to_string()), "{}", clean);
        }
    }

    #[test]
    fn the_longest_text_costs_no_more_than_its_length() {
        for piece in ["'a ", "\u{2018} ", "\u{ab}", "\"", "@", "a?", "9", "a'"] {
            let text = piece.repeat(700_000 / piece.len());
            let begun = std::time::Instant::now();
            let clean = scrub(&text, MESSAGE_CHARS_MAX);
            assert!(clean.chars().count() <= MESSAGE_CHARS_MAX);
            assert!(begun.elapsed().as_secs() < 5, "{piece}");
        }
        // Marks with a long tail behind them: whoever looks for the last mark each time never ends.
        let text = format!("{}{}", "`` ".repeat(680), "x ".repeat(1_000));
        let begun = std::time::Instant::now();
        for _ in 0..1_000 {
            assert!(scrub(&text, MESSAGE_CHARS_MAX).starts_with("* *"));
        }
        assert!(begun.elapsed().as_secs() < 5);
    }

    #[test]
    fn a_quotation_that_ends_behind_what_is_read_is_one() {
        for (opens, closes) in [
            ('\'', '\''),
            ('\u{ab}', '\u{bb}'),
            ('"', '"'),
            ('\u{201a}', '\u{2018}'),
        ] {
            let text = format!(
                "not valid: {opens}Anna Schmidt {}{closes}",
                "x ".repeat(5_000)
            );
            assert_eq!(scrub(&text, MESSAGE_CHARS_MAX), "not valid: *");
        }
    }
}
