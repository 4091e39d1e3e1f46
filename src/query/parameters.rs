//! The parameters of a request: known, each given once, and none of them empty.
//!
//! What cannot be right is refused by name. An answer to another question than the one that was meant looks
//! like an answer, and nobody notices.

use crate::query::error::QueryError;

/// The parameters of a request, in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Checks that every parameter is among the known ones and there once.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn check(&self, known: &[&str]) -> Result<Given<'_>, QueryError> {
        for (at, (key, _)) in self.0.iter().enumerate() {
            if !known.contains(&key.as_str()) {
                let known = if known.is_empty() {
                    "this address takes none".to_owned()
                } else {
                    format!("known are {}", known.join(", "))
                };
                return Err(bad(format!("there is no parameter {key:?}; {known}")));
            }
            if self.0.iter().take(at).any(|(before, _)| before == key) {
                return Err(bad(format!("{key} is given more than once")));
            }
        }
        Ok(Given(&self.0))
    }
}

impl FromIterator<(String, String)> for Parameters {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

/// Parameters that are known and there once.
#[derive(Debug, Clone, Copy)]
pub struct Given<'p>(&'p [(String, String)]);

impl<'p> Given<'p> {
    /// The text of a parameter, if it is given.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&'p str> {
        let found = self.0.iter().find(|(found, _)| found == key);
        found.map(|(_, text)| text.as_str())
    }

    /// The text of a parameter, if it is given, and then not empty.
    ///
    /// # Errors
    /// When the parameter is empty: left out, it would mean something else.
    pub fn get(&self, key: &str) -> Result<Option<&'p str>, QueryError> {
        match self.text(key) {
            Some("") => Err(bad(format!(
                "{key} is empty; give it a value, or leave it out"
            ))),
            text => Ok(text),
        }
    }

    /// A whole number between the least and the most, if it is given.
    ///
    /// # Errors
    /// When the parameter is anything else.
    pub fn number(
        &self,
        key: &str,
        least: usize,
        most: usize,
    ) -> Result<Option<usize>, QueryError> {
        let Some(text) = self.get(key)? else {
            return Ok(None);
        };
        let number = text.parse().ok();
        let number = number.filter(|number| (least..=most).contains(number));
        let number = number.ok_or_else(|| {
            bad(format!(
                "{key} must be a whole number from {least} to {most}, not {text:?}"
            ))
        })?;
        Ok(Some(number))
    }
}

/// A parameter that cannot be right, in a sentence that names it.
pub(super) fn bad(text: impl Into<String>) -> QueryError {
    QueryError::BadParameter(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_or_there_twice_or_empty_is_named() {
        let parameters = |pairs: &[(&str, &str)]| -> Parameters {
            let pairs = pairs.iter();
            pairs
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        let message = |error: QueryError| error.to_string();
        let one = parameters(&[("a", "1"), ("b", "")]);
        let given = one.check(&["a", "b", "c"]).unwrap();
        assert_eq!(given.get("a").unwrap(), Some("1"));
        assert_eq!(given.get("c").unwrap(), None);
        assert_eq!(given.text("b"), Some(""));
        assert!(message(given.get("b").unwrap_err()).contains("b is empty"));
        assert_eq!(given.number("a", 0, 1).unwrap(), Some(1));
        assert!(message(given.number("a", 2, 3).unwrap_err()).contains("a must be"));
        assert!(message(one.check(&["a"]).unwrap_err()).contains("\"b\""));
        assert!(message(one.check(&[]).unwrap_err()).contains("takes none"));
        // The same value twice is a slip as well.
        let twice = parameters(&[("a", "1"), ("a", "1")]);
        assert!(message(twice.check(&["a"]).unwrap_err()).contains("a is given more than once"));
    }
}
