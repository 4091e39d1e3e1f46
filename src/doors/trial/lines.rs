//! Where something stands in a text: on which line each batch and each of its parts begins.

use std::collections::HashMap;

use crate::doors::foreign::json::{self, Raw};
use crate::doors::refusal::Refusal;

/// The lists of a batch.
const LISTS: [&str; 4] = ["samples", "histograms", "events", "drops"];

/// The lines of a request's batches and their parts, by the names of their places; empty if it is no JSON.
pub(super) fn places(body: &[u8]) -> HashMap<String, usize> {
    let mut places = HashMap::new();
    if let Ok(text) = json::text_of(body) {
        let lines = Lines::of(text);
        // What is no JSON has no places.
        let _broken = walk(text, &lines, &mut places);
    }
    places
}

fn walk(text: &str, lines: &Lines<'_>, places: &mut HashMap<String, usize>) -> Result<(), Refusal> {
    let first = text.len() - text.trim_ascii_start().len();
    places.insert(String::new(), lines.at(first));
    json::body(text, |key, value| {
        if key != "batches" {
            return list(key, "", value, lines, places);
        }
        let mut at = 0;
        json::elements(value, |batch| {
            let place = format!("batches[{at}]");
            places.insert(place.clone(), lines.of_value(batch));
            at += 1;
            json::members(batch, |key, value| {
                list(key, &format!("{place}."), value, lines, places)
            })?;
            Ok(())
        })?;
        Ok(())
    })
}

fn list(
    key: &str,
    before: &str,
    value: Raw<'_>,
    lines: &Lines<'_>,
    places: &mut HashMap<String, usize>,
) -> Result<(), Refusal> {
    if !LISTS.contains(&key) {
        return Ok(());
    }
    let mut at = 0;
    json::elements(value, |element| {
        places.insert(format!("{before}{key}[{at}]"), lines.of_value(element));
        at += 1;
        Ok(())
    })?;
    Ok(())
}

/// The lines of a text.
struct Lines<'t> {
    text: &'t str,
    /// Where each line begins.
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            text,
            starts: std::iter::once(0).chain(ends).collect(),
        }
    }

    /// The number of the line, from 1, that holds a byte of the text.
    fn at(&self, byte: usize) -> usize {
        self.starts.partition_point(|start| *start <= byte)
    }

    /// The line on which a value of the text begins.
    fn of_value(&self, value: Raw<'_>) -> usize {
        let byte = value.get().as_ptr().addr() - self.text.as_ptr().addr();
        self.at(byte)
    }
}
