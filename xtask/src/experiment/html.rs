//! A page as HTML that needs nothing beside it but its pictures.

use super::page::{Page, Picture, Table};

const STYLE: &str = "\
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 sans-serif; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 }
caption { text-align: left; font-weight: bold; padding: .3rem 0 }
th, td { border-bottom: 1px solid #ccc; padding: .3rem .8rem; text-align: right }
th:first-child, td:first-child { text-align: left }
figure { display: inline-block; vertical-align: top; margin: 1rem 1rem 1rem 0; width: min-content; max-width: 100%; overflow-x: auto }
figure img { image-rendering: pixelated }
figcaption { min-width: 10rem }
pre { background: #f4f4f4; padding: 1rem; overflow-x: auto }";

/// The whole page.
pub fn page(page: &Page) -> String {
    let title = inline(&page.title);
    let mut parts = vec![
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">".to_owned(),
        format!("<title>{title}</title>\n<style>\n{STYLE}\n</style>"),
        format!("<h1>{title}</h1>"),
    ];
    parts.extend(page.notes.iter().map(|it| format!("<p>{}</p>", inline(it))));
    parts.extend(page.tables.iter().map(table));
    parts.extend(page.pictures.iter().map(picture));
    if !page.commands.is_empty() {
        let commands = escape(&page.commands.join("\n"));
        parts.push("<p>Commands, from the root of the workspace:</p>".to_owned());
        parts.push(format!("<pre>{commands}</pre>"));
    }
    parts.join("\n") + "\n</html>\n"
}

fn table(table: &Table) -> String {
    let caption = inline(&table.caption);
    let header = row(&table.header, "th");
    let rows: Vec<String> = table.rows.iter().map(|it| row(it, "td")).collect();
    let rows = rows.join("\n");
    format!("<table>\n<caption>{caption}</caption>\n{header}\n{rows}\n</table>")
}

fn row(cells: &[String], tag: &str) -> String {
    let cell = |text: &String| format!("<{tag}>{}</{tag}>", inline(text));
    let cells: String = cells.iter().map(cell).collect();
    format!("<tr>{cells}</tr>")
}

fn picture(picture: &Picture) -> String {
    let (file, text) = (escape(&picture.file), escape(&picture.caption));
    let caption = inline(&picture.caption);
    format!(
        "<figure><img src=\"{file}\" alt=\"{text}\"><figcaption>{caption}</figcaption></figure>"
    )
}

fn inline(text: &str) -> String {
    let code = paired(&escape(text), "`", ["<code>", "</code>"]);
    links(&paired(&code, "**", ["<strong>", "</strong>"]))
}

/// Puts one tag and the other in turn where the mark stands.
fn paired(text: &str, mark: &str, tags: [&str; 2]) -> String {
    let mut parts = text.split(mark);
    let mut result = parts.next().unwrap_or_default().to_owned();
    for (part, tag) in parts.zip(tags.iter().cycle()) {
        result.push_str(tag);
        result.push_str(part);
    }
    result
}

/// `[text](page.md)` leads to the page's HTML.
fn links(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, name, target, after)) = next_link(rest) {
        let page = target.strip_suffix(".md");
        let target = page.map_or_else(|| target.to_owned(), |page| format!("{page}.html"));
        result += &format!("{before}<a href=\"{target}\">{name}</a>");
        rest = after;
    }
    result + rest
}

fn next_link(text: &str) -> Option<(&str, &str, &str, &str)> {
    let (before, rest) = text.split_once('[')?;
    let (name, rest) = rest.split_once("](")?;
    let (target, after) = rest.split_once(')')?;
    Some((before, name, target, after))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_tags_and_the_rest_is_escaped() {
        assert_eq!(
            inline("**On `a<b`** see [it](x/y.md), 1 & 2"),
            "<strong>On <code>a&lt;b</code></strong> see <a href=\"x/y.html\">it</a>, 1 &amp; 2"
        );
        assert_eq!(inline("[0, 1]"), "[0, 1]");
    }

    #[test]
    fn pictures_have_their_text_and_tables_their_cells() {
        let mut numbers = Table::new("Numbers", ["a", "b"]);
        numbers.rows.push(["c", "2"].map(str::to_owned).to_vec());
        let text = page(&Page {
            title: "T".to_owned(),
            tables: vec![numbers],
            pictures: vec![Picture {
                file: "run/it.png".to_owned(),
                caption: "a \"row\"".to_owned(),
            }],
            ..Page::default()
        });
        assert!(text.contains("<tr><td>c</td><td>2</td></tr>"), "{text}");
        assert!(text.contains("<img src=\"run/it.png\" alt=\"a &quot;row&quot;\">"));
        assert!(!text.contains("<pre>"));
    }
}
