//! A small table: columns for a terminal, or Markdown.

use std::fmt;

use serde::Serialize;

/// Rows under a head; as many cells in each.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty one.
    pub fn new(head: &[&'static str]) -> Self {
        Self {
            head: head.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn add(&mut self, row: impl IntoIterator<Item = String>) {
        self.rows.push(row.into_iter().collect());
    }

    /// As Markdown, without an end of line.
    pub fn to_markdown(&self) -> String {
        let mut lines = vec![
            format!("| {} |", self.head.join(" | ")),
            format!("|{}", "---|".repeat(self.head.len())),
        ];
        lines.extend(
            self.rows
                .iter()
                .map(|row| format!("| {} |", row.join(" | "))),
        );
        lines.join("\n")
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            widest.max(self.head.get(column).map_or(0, |cell| cell.chars().count()))
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let head: Vec<String> = self.head.iter().map(|cell| (*cell).to_owned()).collect();
        for row in std::iter::once(&head).chain(&self.rows) {
            let mut line = String::from(" ");
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                // The first column is words, the others are numbers.
                line.push_str(&if column == 0 {
                    format!(" {cell:<width$}")
                } else {
                    format!("  {cell:>width$}")
                });
            }
            writeln!(formatter, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["what", "bytes"]);
        table.add(["a table".to_owned(), "7".to_owned()]);
        assert_eq!(table.to_string(), "  what     bytes\n  a table      7\n");
        assert_eq!(
            table.to_markdown(),
            "| what | bytes |\n|---|---|\n| a table | 7 |"
        );
    }
}
