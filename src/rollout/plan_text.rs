//! A plan as the text of a plan file.

use std::fmt;

use super::criteria::Plan;

impl fmt::Display for Plan {
    /// As a plan file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, release) in [("release", &self.release), ("against", &self.against)] {
            if let Some(release) = release {
                writeln!(f, "{key} = {release:?}")?;
            }
        }
        writeln!(f, "steps = {:?}", self.steps)?;
        writeln!(f, "minimum = \"{}h\"", self.minimum_hours)?;
        let (levels, durations): (Vec<_>, Vec<_>) = self
            .values
            .iter()
            .partition(|(_, criterion)| criterion.is_level);
        for (name, criterion) in durations.into_iter().chain(levels) {
            let table = if criterion.is_level {
                "level"
            } else {
                "duration"
            };
            writeln!(f, "\n[{table}.{name}]")?;
            limit(f, "worse_at_most", criterion.worse_at_most)?;
            limit(f, "green_under", criterion.green_under)?;
            limit(f, "rollback_over", criterion.rollback_over)?;
            optional(f, criterion.is_optional)?;
        }
        for (name, criterion) in &self.ratios {
            writeln!(f, "\n[ratio.{name}]")?;
            let (green, rollback) = if criterion.is_success {
                ("green_over", "rollback_under")
            } else {
                ("green_under", "rollback_over")
            };
            let told = |limit: f64| turned(criterion.is_success, limit);
            limit(f, green, Some(told(criterion.green)))?;
            limit(f, rollback, criterion.rollback.map(told))?;
            optional(f, criterion.is_optional)?;
        }
        writeln!(f, "\n[incident]")?;
        for (name, most) in &self.incidents {
            writeln!(f, "{name} = {most}")?;
        }
        if !self.exclude.is_empty() {
            writeln!(f, "\n[exclude]")?;
        }
        for (store, reason) in &self.exclude {
            writeln!(f, "{} = {}", quoted(store), quoted(reason))?;
        }
        Ok(())
    }
}

/// A text as a basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            _ if character.is_control() => {
                quoted.push_str(&format!("\\u{:04X}", u32::from(character)));
            }
            _ => quoted.push(character),
        }
    }
    quoted + "\""
}

fn limit(f: &mut fmt::Formatter<'_>, key: &str, value: Option<f64>) -> fmt::Result {
    value.map_or(Ok(()), |value| writeln!(f, "{key} = {value}"))
}

fn optional(f: &mut fmt::Formatter<'_>, is_optional: bool) -> fmt::Result {
    if is_optional {
        writeln!(f, "optional = true")
    } else {
        Ok(())
    }
}

/// A limit on good ones in terms of bad ones, and back. Rounded, so that 0.99 comes back as 0.99.
pub(super) fn turned(is_success: bool, limit: f64) -> f64 {
    if is_success {
        ((1.0 - limit) * 1e9).round() / 1e9
    } else {
        limit
    }
}
