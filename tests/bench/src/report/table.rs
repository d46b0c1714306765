//! The table: Markdown, so that it can stand in a document as it is.

use std::{collections::BTreeSet, fmt::Write};

use super::{Row, Sheet, State};
use crate::figures::{Figures, Measure};

/// A work's table. Behind a figure: ×F how it stands to the floor, ×P to the best peer.
pub(crate) fn table(sheet: &Sheet) -> String {
    let measures: BTreeSet<Measure> = sheet.rows.iter().flat_map(|row| row.medians().into_keys()).collect();
    let headings = measures.iter().map(|measure| measure.heading().to_owned());
    let mut lines = vec![std::iter::once(sheet.work.name()).chain(headings).collect::<Vec<_>>()];
    let mut notes = String::new();
    for row in &sheet.rows {
        if row.state == State::Measured {
            let (own, floor, peer) = (row.medians(), sheet.to_base(row), sheet.to_best_peer(row));
            let cells = measures.iter().map(|measure| cell(*measure, &own, &floor, &peer));
            lines.push(std::iter::once(row.name.clone()).chain(cells).collect());
        } else {
            note(&mut notes, row);
        }
    }
    format!("\n{}: {}\n\n{}{notes}", sheet.work.name(), sheet.work.description(), align(&lines))
}

fn note(notes: &mut String, row: &Row) {
    let (word, reason) = row.state.words();
    let _ = writeln!(notes, "\n{} is {word}: {reason}", row.name);
}

fn cell(measure: Measure, own: &Figures, floor: &Figures, peer: &Figures) -> String {
    let Some(value) = own.get(&measure) else { return String::new() };
    let mut text = number(*value);
    if measure.is_compared() {
        for (ratio, to) in [(floor.get(&measure), 'F'), (peer.get(&measure), 'P')] {
            if let Some(ratio) = ratio {
                let _ = write!(text, " ×{to}{}", number(*ratio));
            }
        }
    }
    text
}

/// Three digits that count.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

fn align(lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..lines.first().map_or(0, Vec::len)).map(width).collect();
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
        if index == 0 {
            widths.iter().for_each(|width| {
                let _ = write!(text, "|{}", "-".repeat(width + 2));
            });
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_count() {
        assert_eq!(
            ["1235", "12.3", "1.23", "0.123"].map(String::from),
            [1234.5678, 12.345_678, 1.234_567, 0.123_456].map(number)
        );
    }

    #[test]
    fn a_table_has_every_server_measured_or_not() {
        let text = table(&super::super::tests::sheet());
        let wanted = "
bulk: 512 MiB in one PATCH

| bulk          | CPU s/GB             | MB/s                |
|---------------|----------------------|---------------------|
| floor-splice  | 0.400                | 2500                |
| ours-eventual | 0.600 ×F1.50 ×P0.500 | 2000 ×F0.800 ×P2.00 |
| quick         | 3.00 ×F7.50          | 1000 ×F0.400        |
| frugal        | 1.20 ×F3.00          | 500 ×F0.200         |

gone is absent: no such package
";
        assert_eq!(text, wanted);
    }
}
