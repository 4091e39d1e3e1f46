//! Reads Prometheus text.

use std::collections::BTreeMap;

/// A page: every line's value by its name and labels, as they were written.
#[derive(Debug, Clone, PartialEq)]
pub struct Exposition {
    /// `name{label="value"}` and its value.
    pub lines: BTreeMap<String, f64>,
    /// The page.
    pub text: String,
}

impl Exposition {
    /// Reads a page; every line must be a comment, or a series and a number.
    pub fn parse(text: &str) -> Self {
        let mut lines = BTreeMap::new();
        for line in text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let (series, value) = line
                .rsplit_once(' ')
                .unwrap_or_else(|| panic!("not a series: {line:?}"));
            let value = value
                .parse()
                .unwrap_or_else(|_| panic!("not a number: {line:?}"));
            let before = lines.insert(series.to_owned(), value);
            assert!(before.is_none(), "twice on the page: {line:?}");
        }
        Self {
            lines,
            text: text.to_owned(),
        }
    }

    /// The value of the one series with this name and, in any order, exactly or among others these labels.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found = self.matching(name, labels);
        assert!(
            found.len() <= 1,
            "{name} {labels:?} is ambiguous: {found:?}"
        );
        found.first().map(|(_, value)| *value)
    }

    /// The value of the series, 0 when there is none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.get(name, labels).unwrap_or(0.0)
    }

    /// The sum of the series of this name with these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels)
            .iter()
            .map(|(_, value)| value)
            .sum()
    }

    /// The series of this name with these labels.
    pub fn matching(&self, name: &str, labels: &[(&str, &str)]) -> Vec<(&str, f64)> {
        let wanted: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}=\"{value}\""))
            .collect();
        let is_wanted = |series: &str| {
            let (found, rest) = series.split_once('{').unwrap_or((series, ""));
            let rest = rest.trim_end_matches('}');
            found == name
                && wanted
                    .iter()
                    .all(|pair| rest.split(',').any(|part| part == pair))
        };
        let all = self
            .lines
            .iter()
            .map(|(series, value)| (series.as_str(), *value));
        all.filter(|(series, _)| is_wanted(series)).collect()
    }

    /// The lines of one family that bear a store's name, for comparing over a restart.
    pub fn of_store(&self, store_id: &str) -> BTreeMap<&str, f64> {
        let mark = format!("store_id=\"{store_id}\"");
        let all = self
            .lines
            .iter()
            .map(|(series, value)| (series.as_str(), *value));
        all.filter(|(series, _)| series.contains(&mark)).collect()
    }
}
