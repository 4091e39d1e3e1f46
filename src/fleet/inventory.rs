//! Which terminals exist, and when their stores are open, if an operator says so: a file of comma-separated values.
//!
//! ```text
//! store_id,terminal_id,opening_hours,time_zone
//! store-001,till-1,Mo-Sa 08:00-20:00,Europe/Berlin
//! store-001,till-2,Mo-Sa 08:00-20:00,Europe/Berlin
//! store-002,till-1,,
//! ```

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use tillwatch_model::dimension::is_identifier;

use crate::aggregate::terminals::TerminalRef;
use crate::fleet::opening::Opening;

/// Terminals that may be listed.
const TERMINALS_MAX: usize = 500_000;

/// A line of the file.
#[derive(Debug, serde::Deserialize)]
struct Written {
    store_id: String,
    terminal_id: String,
    #[serde(default)]
    opening_hours: String,
    #[serde(default)]
    time_zone: String,
}

/// The terminals of a store, each with its opening hours.
type Listed = BTreeMap<Box<str>, Option<Arc<Opening>>>;

/// The terminals that exist, by store; each with the opening hours that count for it, if any are given.
#[derive(Debug, Default)]
pub struct Inventory {
    stores: HashMap<Box<str>, Listed>,
}

impl Inventory {
    /// Reads a file.
    ///
    /// # Errors
    /// Names the file, the line and what would be right.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read(path);
        let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let mut inventory = Self::default();
        let mut openings: HashMap<(String, String), Arc<Opening>> = HashMap::new();
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(text);
        let mut count = 0;
        for (number, line) in (2..).zip(reader.deserialize::<Written>()) {
            let line = line.map_err(|error| error.to_string())?;
            let wrong = |what: String| format!("line {number}: {what}");
            for name in [&line.store_id, &line.terminal_id] {
                if !is_identifier(name) {
                    return Err(wrong(format!(
                        "{name:?} is not a name of 1 to 64 of A-Z a-z 0-9 _ . : -"
                    )));
                }
            }
            let opening = if line.opening_hours.is_empty() {
                None
            } else {
                let key = (line.opening_hours, line.time_zone);
                let known = openings.get(&key).map(Arc::clone);
                let opening = match known {
                    Some(opening) => opening,
                    None => {
                        let opening = Opening::parse(&key.0, &key.1).map_err(wrong)?;
                        let opening = Arc::new(opening);
                        openings.insert(key, Arc::clone(&opening));
                        opening
                    }
                };
                Some(opening)
            };
            let of_store = inventory.stores.entry(line.store_id.into()).or_default();
            let before = of_store.insert(line.terminal_id.clone().into(), opening);
            if before.is_some() {
                return Err(wrong(format!("{} is there twice", line.terminal_id)));
            }
            count += 1;
            if count > TERMINALS_MAX {
                return Err(format!("there may be {TERMINALS_MAX} terminals"));
            }
        }
        Ok(inventory)
    }

    /// Whether a terminal is listed; and then its opening hours, if there are any.
    #[must_use]
    pub fn find(&self, terminal: TerminalRef<'_>) -> Option<Option<&Opening>> {
        let of_store = self.stores.get(terminal.store_id)?;
        of_store.get(terminal.terminal_id).map(Option::as_deref)
    }

    /// The terminals of a store that are listed.
    pub fn of_store(&self, store_id: &str) -> impl Iterator<Item = (&str, Option<&Opening>)> {
        let of_store = self.stores.get(store_id).into_iter().flatten();
        of_store.map(|(terminal_id, opening)| (&**terminal_id, opening.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'i>(
        inventory: &'i Inventory,
        store_id: &str,
        terminal_id: &str,
    ) -> Option<Option<&'i Opening>> {
        inventory.find(TerminalRef {
            store_id,
            terminal_id,
        })
    }

    #[test]
    fn terminals_are_found_with_their_hours_and_mistakes_with_their_line() {
        let text = "store_id,terminal_id,opening_hours,time_zone\n\
                    a,till-1,Mo-Sa 08:00-20:00,Europe/Berlin\n\
                    a,till-2,\"Mo-Fr 08:00-20:00; Sa 09:00-13:00,14:00-18:00\",Europe/Berlin\n\
                    b,till-1,,\n";
        let inventory = Inventory::parse(text.as_bytes()).unwrap();
        assert!(find(&inventory, "a", "till-2").unwrap().is_some());
        assert_eq!(find(&inventory, "b", "till-1"), Some(None));
        assert_eq!(find(&inventory, "b", "till-2"), None);
        assert_eq!(inventory.of_store("a").count(), 2);
        assert_eq!(inventory.of_store("c").count(), 0);
        // The last two columns may be left out.
        assert!(Inventory::parse(b"store_id,terminal_id\na,till-1\n").is_ok());
        for (line, said) in [
            ("a b,till-1,,", "line 2: \"a b\" is not a name"),
            (
                "a,till-1,Mo 8-20,UTC",
                "line 2: opening hours are written as",
            ),
            ("a,till-1,Mo 08:00-20:00,", "line 2: there is no time zone"),
            ("a,till-1,,\na,till-1,,", "line 3: till-1 is there twice"),
            ("a", "line: 2"),
        ] {
            let text = format!("store_id,terminal_id,opening_hours,time_zone\n{line}\n");
            let error = Inventory::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(said), "{line}: {error}");
        }
        assert!(
            Inventory::parse(b"store;terminal\na;b\n")
                .unwrap_err()
                .contains("store_id")
        );
    }
}
