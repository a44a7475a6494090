//! A page as HTML that needs nothing beside it but its pictures.

use super::page::{Entry, Page, Picture, Table};

const STYLE: &str = "\
:root { color-scheme: light dark; --text: #222; --page: #fff; --line: #ccc; --code: #f4f4f4; --link: #05c }
@media (prefers-color-scheme: dark) { :root { --text: #ddd; --page: #181818; --line: #444; --code: #262626; --link: #7ab8ff } }
body { max-width: 72rem; margin: 1.5rem auto; padding: 0 1rem; font: 1rem/1.5 sans-serif; color: var(--text); background: var(--page) }
a { color: var(--link) }
h1 { font-size: 1.6rem; line-height: 1.25 }
h2 { font-size: 1rem; margin: 0 0 .3rem }
.scrolling { overflow-x: auto; margin: 0 0 1rem }
table { border-collapse: collapse }
.scrolling + h2, p + h2 { margin-top: 1.6rem }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .8rem; text-align: right }
th:first-child, td:first-child { text-align: left }
td { font-variant-numeric: tabular-nums }
td:first-child { min-width: 9rem }
td:not(:first-child) { white-space: nowrap }
figure { display: inline-block; vertical-align: top; margin: 1rem 1rem 1rem 0; max-width: 100% }
figure img { display: block; max-width: 100%; height: auto; image-rendering: pixelated; background: #fff }
figure img[src$=\".svg\"] { width: 34rem }
.labelled { display: grid; grid-template-columns: minmax(3rem, max-content) minmax(0, max-content); gap: .6rem }
.rows { display: grid; grid-auto-rows: minmax(0, 1fr); font-size: .8rem; line-height: 1; text-align: right }
.rows span { align-self: center; max-width: 9rem; max-height: 100%; overflow: hidden; overflow-wrap: break-word }
figcaption { max-width: 44rem; min-width: 10rem }
.entries { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)); gap: 1rem }
.entry { border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; overflow: hidden }
.entry h2 { font-size: 1.1rem; margin: 0 0 .5rem }
.entry img { display: block; width: 100%; height: 10rem; object-fit: cover; object-position: left top; image-rendering: pixelated; background: #fff }
.entry p { margin: .5rem 0 0 }
pre { background: var(--code); padding: 1rem; overflow-x: auto }
@media (max-width: 40rem) { body { margin: .5rem auto } th, td { padding: .3rem .5rem } .rows span { max-width: 6rem } }";

const HEAD: &str = "\
<!DOCTYPE html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">";

/// The whole page.
pub fn page(page: &Page) -> String {
    let title = inline(&page.title);
    let mut parts = vec![
        HEAD.to_owned(),
        format!("<title>{title}</title>\n<style>\n{STYLE}\n</style>"),
        format!("<h1>{title}</h1>"),
    ];
    // Pictures come first: they are what most people have come for.
    parts.extend(page.pictures.iter().map(picture));
    if !page.entries.is_empty() {
        let entries: Vec<String> = page.entries.iter().map(entry).collect();
        let entries = entries.join("\n");
        parts.push(format!("<div class=\"entries\">\n{entries}\n</div>"));
    }
    parts.extend(page.notes.iter().map(|it| format!("<p>{}</p>", inline(it))));
    parts.extend(page.tables.iter().map(table));
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
    format!(
        "<h2>{caption}</h2>\n<div class=\"scrolling\"><table>\n{header}\n{rows}\n</table></div>"
    )
}

fn row(cells: &[String], tag: &str) -> String {
    let cell = |text: &String| format!("<{tag}>{}</{tag}>", inline(text));
    let cells: String = cells.iter().map(cell).collect();
    format!("<tr>{cells}</tr>")
}

fn picture(picture: &Picture) -> String {
    let (file, text) = (escape(&picture.file), escape(&picture.caption));
    let caption = inline(&picture.caption);
    let image = format!("<img src=\"{file}\" alt=\"{text}\">");
    let image = match picture.rows.is_empty() {
        true => image,
        false => {
            let rows = picture.rows.iter().map(|row| {
                let row = escape(row);
                format!("<span title=\"{row}\">{row}</span>")
            });
            let rows: String = rows.collect();
            format!("<div class=\"labelled\"><div class=\"rows\">{rows}</div>{image}</div>")
        }
    };
    format!("<figure>{image}<figcaption>{caption}</figcaption></figure>")
}

fn entry(entry: &Entry) -> String {
    let title = inline(&entry.title);
    let linked = |text: &str| match &entry.page {
        Some(page) => format!("<a href=\"{}.html\">{text}</a>", escape(page)),
        None => text.to_owned(),
    };
    let picture = entry.picture.as_ref().map_or_else(String::new, |file| {
        linked(&format!("<img src=\"{}\" alt=\"\">", escape(file)))
    });
    let headline = inline(&entry.headline);
    let heading = linked(&title);
    format!("<div class=\"entry\"><h2>{heading}</h2>{picture}<p>{headline}</p></div>")
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
                rows: vec!["cats & dogs".to_owned()],
            }],
            ..Page::default()
        });
        assert!(text.contains("<tr><td>c</td><td>2</td></tr>"), "{text}");
        assert!(text.contains("<img src=\"run/it.png\" alt=\"a &quot;row&quot;\">"));
        assert!(text.contains("cats &amp; dogs</span></div><img"), "{text}");
        assert!(!text.contains("<pre>"));
    }
}
