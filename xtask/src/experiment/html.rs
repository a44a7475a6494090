//! Markdown as an HTML page that needs no other files than its pictures.

use std::iter::once;

use pulldown_cmark::html::push_html;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// The page of a Markdown text whose first line is its title.
///
/// A block quote is a picture with its caption; a numbered list in it names the rows of
/// the picture. A list outside is a list of pages, and links to `NAME.md` lead to
/// `NAME.html`. HTML within the text is shown as text.
pub(super) fn page(markdown: &str) -> String {
    let heading = markdown.lines().next().unwrap_or_default();
    let heading = heading.trim_start_matches("# ");
    let (mut title, mut body) = (String::new(), String::new());
    push_html(&mut title, once(Event::Text(heading.into())));
    let events = Parser::new_ext(markdown, Options::ENABLE_TABLES);
    push_html(&mut body, events.flat_map(adapted));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{}</style>\n{body}</html>\n",
        include_str!("page.css")
    )
}

fn adapted(event: Event<'_>) -> Vec<Event<'_>> {
    let html = |text: &'static str| Event::Html(text.into());
    match event {
        Event::Start(Tag::BlockQuote(_)) => vec![html("<figure>\n")],
        Event::End(TagEnd::BlockQuote(_)) => vec![html("</figure>\n")],
        // A wide table scrolls, so that the page does not.
        Event::Start(Tag::Table(_)) => vec![html("<div class=\"table\">"), event],
        Event::End(TagEnd::Table) => vec![event, html("</div>\n")],
        Event::Start(Tag::Link {
            link_type,
            dest_url,
            title,
            id,
        }) => {
            let page = dest_url.strip_suffix(".md");
            let dest_url = match page {
                Some(page) => format!("{page}.html").into(),
                None => dest_url,
            };
            vec![Event::Start(Tag::Link {
                link_type,
                dest_url,
                title,
                id,
            })]
        }
        Event::Html(text) | Event::InlineHtml(text) => vec![Event::Text(text)],
        event => vec![event],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_tags_and_the_rest_is_text() {
        let page = page("# A & B\n\n**On `a<b`** see [it](x/y.md), <b>1</b> & [0, 1]\n");
        let expected = "<h1>A &amp; B</h1>\n\
             <p><strong>On <code>a&lt;b</code></strong> see <a href=\"x/y.html\">it</a>, \
             &lt;b&gt;1&lt;/b&gt; &amp; [0, 1]</p>\n</html>";
        assert!(page.contains("<title>A &amp; B</title>"), "{page}");
        assert!(page.contains(expected), "{page}");
    }

    #[test]
    fn quoted_pictures_are_figures_and_tables_scroll() {
        let page =
            page("> ![a \"row\"](run/it.png)\n>\n> 1. cats\n\n| a | b |\n|---|--:|\n| c | 2 |");
        let figure = "<figure>\n<p><img src=\"run/it.png\" alt=\"a &quot;row&quot;\" /></p>\n\
                      <ol>\n<li>cats</li>\n</ol>\n</figure>\n";
        assert!(page.contains(figure), "{page}");
        let table = page.split("<div class=\"table\">").nth(1);
        let table = table.and_then(|rest| rest.split("</div>").next());
        assert!(table.is_some_and(|it| it.contains("<td>c</td>")), "{page}");
    }
}
