//! The frames of an error as the JSON text that is kept of them.

use std::fmt::Write as _;

/// One frame, scrubbed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// The name of the function.
    pub function: String,
    /// The name of its script.
    pub module: String,
    /// The line in the script.
    pub line: Option<u32>,
    /// The column in the line.
    pub column: Option<u32>,
}

/// Writes frames as JSON, with the keys that terminals use. Without frames it is the empty text.
#[must_use]
pub fn frames_json(frames: &[Frame]) -> String {
    let mut json = String::new();
    for (number, frame) in frames.iter().enumerate() {
        json.push_str(if number == 0 { "[" } else { "," });
        json.push_str("{\"fn\":");
        push_text(&mut json, &frame.function);
        json.push_str(",\"module\":");
        push_text(&mut json, &frame.module);
        for (key, number) in [("line", frame.line), ("col", frame.column)] {
            if let Some(number) = number {
                // Writing to a `String` cannot fail.
                let _written = write!(json, ",\"{key}\":{number}");
            }
        }
        json.push('}');
    }
    if !frames.is_empty() {
        json.push(']');
    }
    json
}

/// A scrubbed text has no control characters, so two characters are left that JSON escapes.
fn push_text(json: &mut String, text: &str) {
    json.push('"');
    for char in text.chars() {
        if matches!(char, '"' | '\\') {
            json.push('\\');
        }
        json.push(char);
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_the_json_that_terminals_write() {
        let frames = [
            Frame {
                function: "pay \\ \u{fc}".to_owned(),
                module: "app.js".to_owned(),
                line: Some(1),
                column: Some(5_120),
            },
            Frame::default(),
        ];
        let json: serde_json::Value = serde_json::from_str(&frames_json(&frames)).unwrap();
        let expected = serde_json::json!([
            {"fn": "pay \\ \u{fc}", "module": "app.js", "line": 1, "col": 5_120},
            {"fn": "", "module": ""},
        ]);
        assert_eq!(json, expected);
        assert_eq!(frames_json(&[]), "");
    }
}
