//! Links between the documents of the workspace.

use std::path::{Path, PathBuf};

use anyhow::Result;
use pulldown_cmark::{Event, LinkType, Options, Parser, Tag};

use super::{Finding, files};

/// Findings for broken relative links in README.md, CHANGELOG.md, CONTRIBUTING.md and the
/// documents below `docs/`.
///
/// # Errors
/// When one of these files cannot be read.
pub(super) fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut documents = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"]
        .map(|name| root.join(name))
        .to_vec();
    documents.retain(|path| path.is_file());
    let docs = root.join("docs");
    if docs.is_dir() {
        documents.extend(files::below(&docs, "md")?);
    }
    let mut findings = Vec::new();
    for path in documents {
        for (line, target) in relative_links(&files::read(&path)?) {
            if !resolve(root, &path, &target).exists() {
                findings.push(Finding {
                    file: path.strip_prefix(root).unwrap_or(&path).to_owned(),
                    line: Some(line),
                    message: format!("the link leads to no file: {target}"),
                });
            }
        }
    }
    Ok(findings)
}

/// The file of a link. A leading slash means the root of the repository, as on web
/// pages of repositories.
fn resolve(root: &Path, document: &Path, target: &str) -> PathBuf {
    let file = target.split('#').next().unwrap_or_default();
    match file.strip_prefix('/') {
        Some(from_root) => root.join(from_root),
        None => document.parent().unwrap_or(root).join(file),
    }
}

/// The links and pictures that lead to files, with their lines counted from 1.
fn relative_links(text: &str) -> Vec<(usize, String)> {
    let events = Parser::new_ext(text, Options::ENABLE_FOOTNOTES).into_offset_iter();
    let links = events.filter_map(|(event, place)| match event {
        Event::Start(
            Tag::Link {
                link_type,
                dest_url,
                ..
            }
            | Tag::Image {
                link_type,
                dest_url,
                ..
            },
        ) if link_type != LinkType::Email && is_relative(&dest_url) => {
            let line = 1 + text[..place.start].matches('\n').count();
            Some((line, dest_url.into_string()))
        }
        _ => None,
    });
    links.collect()
}

fn is_relative(target: &str) -> bool {
    let scheme = target.split_once(':').map_or("", |(scheme, _)| scheme);
    let absolute = !scheme.is_empty() && scheme.chars().all(|it| it.is_ascii_alphanumeric());
    !absolute && !target.starts_with('#') && !target.starts_with("//")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_every_form_are_found() {
        let text = "\
[a](one.md) and ![b](two.png \"title\")[c](<three.md#part>)

[![d](four.svg)](five.md), [e][name]

[name]: six.md
";
        let expected = [
            (1, "one.md"),
            (1, "two.png"),
            (1, "three.md#part"),
            (3, "five.md"),
            (3, "four.svg"),
            (3, "six.md"),
        ];
        let found = relative_links(text);
        let found: Vec<_> = found.iter().map(|(line, it)| (*line, &**it)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn code_addresses_anchors_and_footnotes_lead_to_no_file() {
        let text = "\
`[a](one.md)` [b](https://example.org/x) [c](#part) [d](mailto:a@b.org) <a@b.org>
```
[e](two.md)
```
a note[^1], a [range]: [0, 1]

[^1]: note
";
        assert_eq!(relative_links(text), []);
    }
}
