//! A page as Markdown, aligned so that it reads well in a terminal.

use super::page::{Entry, Page, Table};

/// The whole page.
pub fn page(page: &Page) -> String {
    let mut parts = vec![format!("# {}", page.title)];
    for Entry {
        title,
        page,
        headline,
        ..
    } in &page.entries
    {
        let title = match page {
            Some(page) => format!("[{title}]({page}.md)"),
            None => title.clone(),
        };
        parts.push(wrap(&format!("- {title}: {headline}")));
    }
    parts.extend(page.notes.iter().map(|note| wrap(note)));
    for table in &page.tables {
        parts.push(format!("{}:", table.caption));
        parts.push(align(table));
    }
    for picture in &page.pictures {
        let caption = &picture.caption;
        parts.push(format!("![{caption}]({})", picture.file));
        parts.push(wrap(caption));
    }
    if !page.commands.is_empty() {
        parts.push("Commands, from the root of the workspace:".to_owned());
        parts.push(format!("```sh\n{}\n```", page.commands.join("\n")));
    }
    parts.join("\n\n") + "\n"
}

/// Lines of at most 88 characters, unless a word is longer.
fn wrap(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= 88 {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n")
}

/// Pads every column to its widest cell: the first to the left, the others to
/// the right.
fn align(table: &Table) -> String {
    // Three, for the line below the header.
    let mut widths = vec![3; table.header.len()];
    for row in std::iter::once(&table.header).chain(&table.rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut lines = vec![line(&table.header, &widths), rule(&widths)];
    lines.extend(table.rows.iter().map(|row| line(row, &widths)));
    lines.join("\n")
}

fn line(row: &[String], widths: &[usize]) -> String {
    let padded = row.iter().zip(widths).enumerate();
    let cells: Vec<String> = padded
        .map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        })
        .collect();
    format!("| {} |", cells.join(" | "))
}

fn rule(widths: &[usize]) -> String {
    let columns = widths.iter().enumerate();
    let cells: Vec<String> = columns
        .map(|(column, &width)| match column {
            0 => format!("{:-<width$}", ""),
            _ => format!("{:->width$}", ":"),
        })
        .collect();
    format!("| {} |", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new("numbers", ["a", "± 1"]);
        table.rows.push(["bcde", "2"].map(str::to_owned).to_vec());
        let expected = "| a    | ± 1 |\n| ---- | --: |\n| bcde |   2 |";
        assert_eq!(align(&table), expected);
    }

    #[test]
    fn long_notes_are_wrapped_between_words() {
        let text = wrap(&"word ".repeat(40));
        let lengths: Vec<usize> = text.lines().map(str::len).collect();
        assert_eq!(lengths, [84, 84, 29]);
    }
}
