//! Reads what a file declares in tables: metrics of a shop's own (`[[metrics]]`), and what the names of foreign clients
//! mean (`[[map]]`). Neither can be given by a flag or a variable.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use tillwatch_model::Catalogue;
use tillwatch_model::own_metric::{METRICS_MAX, OwnMetric};
use toml::Spanned;

use super::{ConfigError, line_at, map, own_metrics};
use crate::mapping::Rule;

/// How many rules there may be: the names of a payload are held against each of them.
const RULES_MAX: usize = 256;
/// How long a name with `*` may be. Unit: bytes.
const GLOB_LENGTH_MAX: usize = 256;

/// What a file declares.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Declarations {
    /// Metrics of the shop's own.
    pub metrics: Vec<DeclaredMetric>,
    /// What the names of foreign clients mean.
    pub map: Vec<Rule>,
}

/// A metric, and where it is declared.
#[derive(Debug, Clone, PartialEq)]
pub struct DeclaredMetric {
    /// The metric.
    pub metric: OwnMetric,
    /// The file.
    pub path: PathBuf,
    /// The line in the file.
    pub line: usize,
}

impl Declarations {
    /// The names of the tables.
    pub(super) const TABLES: [&str; 2] = ["metrics", "map"];

    /// The metrics alone.
    pub fn own_metrics(&self) -> impl Iterator<Item = &OwnMetric> {
        self.metrics.iter().map(|declared| &declared.metric)
    }
}

/// All tables as they are written.
#[derive(Deserialize)]
struct Tables {
    #[serde(default)]
    metrics: Vec<Spanned<own_metrics::Written>>,
    #[serde(default)]
    map: Vec<Spanned<map::Written>>,
}

/// Reads the tables of a file.
///
/// # Errors
/// Names the line, and what would be right.
pub(super) fn read(path: &Path, text: &str) -> Result<Declarations, ConfigError> {
    let fault = |line: usize, name: String, message: String| ConfigError::Value {
        path: path.to_owned(),
        line,
        name,
        message,
    };
    let tables: Tables = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_at(text, span.start));
        fault(
            line,
            "[[metrics]] or [[map]]".to_owned(),
            error.message().to_owned(),
        )
    })?;
    let mut declarations = Declarations::default();
    let mut taken = own_metrics::Taken::default();
    for written in tables.metrics {
        let line = line_at(text, written.span().start);
        let name = format!("[[metrics]] {:?}", written.as_ref().name);
        if declarations.metrics.len() == METRICS_MAX {
            let message = format!("there may be {METRICS_MAX} metrics of your own");
            return Err(fault(line, name, message));
        }
        let metric = written.into_inner().metric();
        let taken = metric.and_then(|metric| taken.take(&metric).map(|()| metric));
        declarations.metrics.push(DeclaredMetric {
            metric: taken.map_err(|message| fault(line, name, message))?,
            path: path.to_owned(),
            line,
        });
    }
    if tables.map.is_empty() {
        return Ok(declarations);
    }
    let catalogue = Catalogue::with_own(declarations.own_metrics().cloned().collect(), Vec::new());
    for written in tables.map {
        let line = line_at(text, written.span().start);
        let name = format!("[[map]] {:?}", written.as_ref().name);
        if declarations.map.len() == RULES_MAX || written.as_ref().name.len() > GLOB_LENGTH_MAX {
            let message =
                format!("there may be {RULES_MAX} rules, with names of {GLOB_LENGTH_MAX} bytes");
            return Err(fault(line, name, message));
        }
        let rule = written.into_inner().rule(&catalogue);
        declarations
            .map
            .push(rule.map_err(|message| fault(line, name, message))?);
    }
    Ok(declarations)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn declared(names: &[&str]) -> Result<Declarations, ConfigError> {
        let one = |name: &&str| {
            format!(
                "[[metrics]]\nname = \"{name}\"\nkind = \"counter\"\nunit = \"count\"\nhelp = \"Counts.\"\n"
            )
        };
        let text: String = names.iter().map(one).collect();
        read(Path::new("tillwatch.toml"), &text)
    }

    #[test]
    fn two_names_of_one_code_are_refused_because_a_journal_could_not_tell_them_apart() {
        let mut names = HashMap::new();
        let pair = (0..10_000).find_map(|number| {
            let name = format!("m{number}");
            let code = declared(&[&name]).unwrap().metrics[0].metric.code();
            names.insert(code, name.clone()).map(|other| (other, name))
        });
        let (one, other) = pair.unwrap();
        let said = declared(&[&one, &other]).unwrap_err().to_string();
        assert!(
            said.contains("line 6: ") && said.contains("the code of another"),
            "{said}"
        );
    }

    #[test]
    fn there_are_no_more_metrics_than_there_may_be() {
        let names: Vec<String> = (0..=METRICS_MAX)
            .map(|number| format!("m{number}"))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(declared(&names[1..]).unwrap().metrics.len(), METRICS_MAX);
        let said = declared(&names).unwrap_err().to_string();
        assert!(said.contains("there may be 64"), "{said}");
    }
}
