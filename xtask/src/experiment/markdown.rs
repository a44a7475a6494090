//! A page as Markdown, its tables aligned so that they read well as text.

use super::page::{Entry, Page, Picture, Table};

/// Characters of a line of text.
const WIDTH: usize = 88;

/// The whole page.
pub(crate) fn page(page: &Page) -> String {
    let mut parts = vec![format!("# {}", page.title)];
    // Pictures are first because most readers look for them.
    parts.extend(page.pictures.iter().map(picture));
    parts.extend(page.entries.iter().map(entry));
    parts.extend(page.notes.iter().map(|note| wrap(note)));
    for table in &page.tables {
        parts.push(format!("## {}", table.caption));
        parts.push(align(table));
    }
    // Tables are what is measured; a curve for each run would stand between them and the pictures.
    parts.extend(page.curves.iter().map(picture));
    if !page.commands.is_empty() {
        parts.push("## Commands, from the root of the workspace".to_owned());
        parts.push(format!("```sh\n{}\n```", page.commands.join("\n")));
    }
    parts.join("\n\n") + "\n"
}

/// Text in which no character has a special meaning in Markdown.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for symbol in text.chars() {
        match symbol {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '|' | '#' => {
                escaped.extend(['\\', symbol]);
            }
            _ if symbol.is_control() => escaped.push(' '),
            _ => escaped.push(symbol),
        }
    }
    escaped
}

/// A quote of the picture, the names of its rows and its caption.
fn picture(picture: &Picture) -> String {
    let Picture { file, caption, .. } = picture;
    let mut parts = vec![format!("![{caption}]({file})")];
    let rows = picture.rows.iter().enumerate();
    let rows = rows.map(|(index, row)| format!("{}. {}", index + 1, escape(row)));
    parts.extend(rows.reduce(|rows, row| format!("{rows}\n{row}")));
    parts.push(wrap(caption));
    textwrap::indent(&parts.join("\n\n"), "> ").replace("\n\n", "\n>\n")
}

/// An item of a list of pages.
fn entry(entry: &Entry) -> String {
    let linked = |text: &str| match &entry.page {
        Some(page) => format!("[{text}]({page}.md)"),
        None => text.to_owned(),
    };
    let mut parts = vec![format!("**{}**", linked(&entry.title))];
    parts.extend(
        entry
            .picture
            .iter()
            .map(|file| linked(&format!("![]({file})"))),
    );
    parts.push(wrap(&entry.headline));
    format!(
        "- {}",
        textwrap::indent(&parts.join("\n\n"), "  ").trim_start()
    )
}

fn wrap(text: &str) -> String {
    textwrap::fill(text, textwrap::Options::new(WIDTH).break_words(false))
}

/// Pads every column to its widest cell. The first column is aligned left, the
/// others right.
fn align(table: &Table) -> String {
    let count = |text: &String| text.chars().count();
    let rows = || std::iter::once(&table.header).chain(&table.rows);
    // At least three, for the line below the header.
    let widths = (0..table.header.len()).map(|column| {
        let cells = rows().filter_map(|row| row.get(column));
        cells.map(count).max().unwrap_or_default().max(3)
    });
    let widths: Vec<usize> = widths.collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
    };
    let mut rule = widths
        .iter()
        .map(|width| format!("{}:", "-".repeat(width - 1)))
        .collect::<Vec<_>>();
    rule[0] = "-".repeat(widths[0]);
    let mut lines: Vec<String> = rows().map(line).collect();
    lines.insert(1, line(&rule));
    lines.join("\n")
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
    fn pictures_are_quoted_and_their_rows_numbered() {
        let text = picture(&Picture {
            file: "run/it.png".to_owned(),
            caption: "word ".repeat(20).trim().to_owned(),
            rows: vec!["a_b".to_owned(), "c".to_owned()],
        });
        let long = ["word"; 17].join(" ");
        let alt = ["word"; 20].join(" ");
        assert_eq!(
            text,
            format!("> ![{alt}](run/it.png)\n>\n> 1. a\\_b\n> 2. c\n>\n> {long}\n> word word word")
        );
    }

    #[test]
    fn a_page_in_a_list_has_its_picture_and_its_number() {
        let text = entry(&Entry {
            title: "T".to_owned(),
            page: Some("t/t".to_owned()),
            picture: Some("t/p.png".to_owned()),
            headline: "1.5 bits/dim".to_owned(),
        });
        assert_eq!(
            text,
            "- **[T](t/t.md)**\n\n  [![](t/p.png)](t/t.md)\n\n  1.5 bits/dim"
        );
    }
}
