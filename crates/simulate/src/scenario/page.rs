//! A scenario's section of a Markdown page.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::Report;

/// Why the page could not be written.
#[derive(Debug, thiserror::Error)]
#[error("could not write the report into {file}")]
pub struct PageError {
    file: PathBuf,
    #[source]
    source: std::io::Error,
}

/// Writes the report into its section of a page, between `<!-- begin NAME -->` and `<!-- end NAME -->`;
/// at its end when there is none.
///
/// # Errors
/// When the page cannot be read or written.
pub fn write(file: &Path, report: &Report) -> Result<(), PageError> {
    let failed = |source| PageError {
        file: file.to_owned(),
        source,
    };
    let page = match std::fs::read_to_string(file) {
        Ok(page) => page,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error)),
    };
    let name = report.scenario.as_deref().unwrap_or("run");
    std::fs::write(file, replaced(&page, name, &section(report))).map_err(failed)
}

fn replaced(page: &str, name: &str, section: &str) -> String {
    let (begin, end) = (
        format!("<!-- begin {name} -->"),
        format!("<!-- end {name} -->"),
    );
    let inner = format!("{begin}\n{section}{end}");
    let around = page.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    match around {
        Some((before, after)) => format!("{before}{inner}{after}"),
        None => format!("{page}\n## {name}\n\n{inner}\n"),
    }
}

fn section(report: &Report) -> String {
    let mut text = String::new();
    // Writing to memory cannot fail.
    let _ = writeln!(text, "| expected | found | |\n|---|---|---|");
    for finding in &report.findings {
        let is_met = if finding.is_met { "met" } else { "**not met**" };
        let _ = writeln!(
            text,
            "| {} | {} | {is_met} |",
            finding.expected, finding.found
        );
    }
    let _ = writeln!(text, "\n| measured | |\n|---|---|");
    for (name, value) in &report.measured {
        let _ = writeln!(text, "| {name} | {value} |");
    }
    for table in &report.tables {
        let _ = writeln!(text, "\n{}", table.to_markdown());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_the_rest_stays() {
        let page = "# Load\n\n<!-- begin soak -->\nold\n<!-- end soak -->\n\nrest\n";
        assert_eq!(
            replaced(page, "soak", "new\n"),
            "# Load\n\n<!-- begin soak -->\nnew\n<!-- end soak -->\n\nrest\n"
        );
        let added = replaced(page, "ramp", "new\n");
        assert!(
            added.starts_with(page) && added.ends_with("<!-- end ramp -->\n"),
            "{added}"
        );
        assert_eq!(replaced(&added, "ramp", "new\n"), added);
    }
}
