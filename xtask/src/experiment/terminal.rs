//! A page for the terminal, at most 80 columns wide.

use textwrap::{fill, wrap};

use super::page::{Page, Table};

const WIDTH: usize = 80;
/// Spaces between two columns.
const GAP: usize = 2;

/// Title, notes and tables; pictures and commands are only on the page.
pub(crate) fn page(page: &Page) -> String {
    let mut parts = vec![page.title.clone()];
    for note in &page.notes {
        let plain = note.replace("**", "").replace('`', "");
        parts.push(fill(&plain, WIDTH));
    }
    for table in &page.tables {
        let caption = format!("{}:", table.caption.replace('`', ""));
        parts.push(format!("{}\n\n{}", fill(&caption, WIDTH), fit(table)));
    }
    parts.join("\n\n") + "\n"
}

/// The table; cells are wrapped if the columns are too wide.
fn fit(table: &Table) -> String {
    let plain = |row: &Vec<String>| row.iter().map(|cell| cell.replace('`', "")).collect();
    let rows: Vec<Vec<String>> = std::iter::once(&table.header)
        .chain(&table.rows)
        .map(plain)
        .collect();
    let longest = |text: &String| {
        let parts = text.split(' ').flat_map(|word| word.split_inclusive('-'));
        parts.map(|part| part.chars().count()).max()
    };
    let mut widths = vec![1; table.header.len()];
    let mut least = widths.clone();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            widths[column] = cell.chars().count().max(widths[column]);
            least[column] = longest(cell).unwrap_or_default().max(least[column]);
        }
    }
    shrink(&mut widths, &least);
    let mut lines = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        lines.extend(lines_of(row, &widths));
        if index == 0 {
            lines.push("-".repeat(widths.iter().sum::<usize>() + GAP * (widths.len() - 1)));
        }
    }
    lines.join("\n")
}

/// Narrows the widest column that can be narrowed until all columns fit. If words
/// are too long, narrows the widest column and breaks its words.
fn shrink(widths: &mut [usize], least: &[usize]) {
    let gaps = GAP * (widths.len() - 1);
    while widths.iter().sum::<usize>() + gaps > WIDTH {
        let columns = (0..widths.len()).filter(|&column| widths[column] > least[column]);
        let widest = columns.max_by_key(|&column| widths[column]);
        let any = (0..widths.len()).max_by_key(|&column| widths[column]);
        match widest.or(any).filter(|&column| widths[column] > 1) {
            Some(widest) => widths[widest] -= 1,
            None => return,
        }
    }
}

/// The lines of one row: the first column aligned left, the others right.
fn lines_of(row: &[String], widths: &[usize]) -> Vec<String> {
    let cells = row.iter().zip(widths);
    let cells: Vec<_> = cells.map(|(cell, &width)| wrap(cell, width)).collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or_default();
    let line = |number: usize| {
        let parts = cells.iter().zip(widths).enumerate();
        let parts = parts.map(|(column, (cell, &width))| {
            let text = cell.get(number).map_or("", |line| line);
            match column {
                0 => format!("{text:<width$}"),
                _ => format!("{text:>width$}"),
            }
        });
        let parts: Vec<String> = parts.collect();
        parts.join(&" ".repeat(GAP)).trim_end().to_owned()
    };
    (0..height).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_table_fits_into_eighty_columns_and_loses_no_word() {
        let header = [
            "Model",
            "Paper: CIFAR-10 test (train)",
            "Measured: test (512 images)",
            "Measured: train (512 images)",
            "Parameters",
            "Images seen",
            "Training time",
        ];
        let mut table = Table::new("Bits/dim", header);
        let row = [
            "Multivariate Gaussian",
            "4.70",
            "5.285 ± 0.056",
            "4.521",
            "4,723,200",
            "2,048",
            "6 min 13 s",
        ];
        table.rows.push(row.map(str::to_owned).to_vec());
        let text = fit(&table);
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(WIDTH), "{text}");
        for word in header.iter().chain(&row).flat_map(|cell| cell.split(' ')) {
            assert!(text.contains(word), "{word} in {text}");
        }
    }

    #[test]
    fn words_are_broken_after_hyphens() {
        let mut table = Table::new("names", ["", ""]);
        let names = ["class-conditional".to_owned(), "x".repeat(70)];
        table.rows.push(names.to_vec());
        let text = fit(&table);
        assert!(
            text.contains("\nclass-") && text.contains("\nconditional"),
            "{text}"
        );
    }

    #[test]
    fn a_narrow_table_stays_as_it_is() {
        let mut table = Table::new("numbers", ["a", "± 1"]);
        table.rows.push(["bcde", "2"].map(str::to_owned).to_vec());
        assert_eq!(fit(&table), "a     ± 1\n---------\nbcde    2");
    }
}
