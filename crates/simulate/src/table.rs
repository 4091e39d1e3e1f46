//! A small table: columns for a terminal, or Markdown.

use std::fmt;

use comfy_table::presets::{ASCII_MARKDOWN, NOTHING};
use comfy_table::{CellAlignment, TableStyle};
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

    /// Writes the table as Markdown, without an end of line.
    pub fn to_markdown(&self) -> String {
        self.drawn(ASCII_MARKDOWN, (1, 1)).trim_fmt()
    }

    /// With this style and so many blanks before and after each cell. The first column is words, the
    /// others are numbers.
    fn drawn(&self, style: TableStyle, blanks: (u16, u16)) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        table
            .load_style(style)
            .set_header(&self.head)
            .add_rows(&self.rows);
        for (at, column) in table.column_iter_mut().enumerate() {
            column.set_padding(blanks);
            if at > 0 {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.drawn(NOTHING, (2, 0)).trim_fmt())
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
            "| what    | bytes |\n|---------|-------|\n| a table |     7 |"
        );
    }
}
