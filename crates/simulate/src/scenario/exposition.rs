//! Reads `/metrics` and `/metrics/fleet`.

use std::collections::BTreeMap;

use crate::query::QueryError;

/// The longest page that is read: 2,000 stores, and room.
const PAGE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// One line's labels, as they are written, and its value.
type Line = (String, f64);

/// A page of series.
#[derive(Debug, Clone, Default)]
pub struct Page {
    series: BTreeMap<String, Vec<Line>>,
}

impl Page {
    /// Fetches a page.
    ///
    /// # Errors
    /// When nobody answers, or not with a page.
    pub async fn fetch(http: &reqwest::Client, url: &str) -> Result<Self, QueryError> {
        let failed = |source| QueryError::Query {
            url: url.to_owned(),
            source,
        };
        let response = http.get(url).send().await.map_err(failed)?;
        let mut response = response.error_for_status().map_err(failed)?;
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if text.len() + chunk.len() > PAGE_BYTES_MAX {
                break;
            }
            text.extend_from_slice(&chunk);
        }
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    /// Reads a page.
    pub fn parse(text: &str) -> Self {
        let mut series: BTreeMap<String, Vec<Line>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, rest) = match line.split_once('{') {
                Some((name, rest)) => (name, rest),
                None => line
                    .split_once(' ')
                    .map_or((line, ""), |(name, rest)| (name, rest)),
            };
            let (labels, value) = rest.rsplit_once('}').unwrap_or(("", rest));
            let value = value
                .split_whitespace()
                .next()
                .and_then(|text| text.parse().ok());
            if let Some(value) = value {
                let lines = series.entry(name.to_owned()).or_default();
                lines.push((labels.to_owned(), value));
            }
        }
        Self { series }
    }

    /// The sum of a metric's series whose labels have these values.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{value}\""))
            .collect();
        let lines = self.series.get(name).into_iter().flatten();
        lines
            .filter(|(written, _)| {
                wanted
                    .iter()
                    .all(|label| written.split(',').any(|one| one == label))
            })
            .fold(0.0, |sum, (_, value)| sum + value)
    }
}

/// Both pages at one moment.
#[derive(Debug, Clone, Default)]
pub struct Pages {
    /// About the collector.
    pub own: Page,
    /// About the terminals.
    pub fleet: Page,
}

impl Pages {
    /// Fetches both from the admin listener.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn fetch(http: &reqwest::Client, admin_url: &str) -> Result<Self, QueryError> {
        let base = admin_url.trim_end_matches('/');
        Ok(Self {
            own: Page::fetch(http, &format!("{base}/metrics")).await?,
            fleet: Page::fetch(http, &format!("{base}/metrics/fleet")).await?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_label() {
        let text =
            "# HELP a A.\na{x=\"1\",y=\"2\"} 3\na{x=\"1\"} 4 1700000000\na{x=\"10\"} 5\nb 7\n";
        let page = Page::parse(text);
        let sums = [
            page.sum("a", &[]),
            page.sum("a", &[("x", "1")]),
            page.sum("a", &[("y", "2"), ("x", "1")]),
            page.sum("b", &[]),
            page.sum("c", &[]),
        ];
        assert_eq!(sums.map(|sum| format!("{sum}")), ["12", "7", "3", "7", "0"]);
    }
}
