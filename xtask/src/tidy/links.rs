//! Links between the documents of the workspace.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Finding, sources};

/// Findings for relative links in README.md, CHANGELOG.md and `docs/*.md` that
/// lead nowhere.
///
/// # Errors
/// When one of these files cannot be read.
pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in documents(root)? {
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        for (line, target) in links(&text) {
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

fn documents(root: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    let docs = root.join("docs");
    if docs.is_dir() {
        paths.extend(sources::sorted_entries(&docs)?);
    }
    paths.retain(|path| path.is_file() && path.extension().is_some_and(|it| it == "md"));
    Ok(paths)
}

/// The file that a link means. A leading slash stands for the root, as it does
/// where repositories are shown on the web.
fn resolve(root: &Path, document: &Path, target: &str) -> PathBuf {
    let file = target.split('#').next().unwrap_or_default();
    match file.strip_prefix('/') {
        Some(from_root) => root.join(from_root),
        None => document.parent().unwrap_or(root).join(file),
    }
}

/// The relative links outside code, with their lines counted from 1.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fence = None;
    for (index, line) in text.lines().enumerate() {
        let mark = ["```", "~~~"]
            .into_iter()
            .find(|mark| line.trim_start().starts_with(mark));
        match (fence, mark) {
            (None, Some(_)) => fence = mark,
            (Some(_), _) if fence == mark => fence = None,
            (Some(_), _) => {}
            (None, None) => {
                let targets = targets(&without_code(line));
                found.extend(targets.into_iter().map(|target| (index + 1, target)));
            }
        }
    }
    found.retain(|(_, target)| is_relative(target));
    found
}

fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

fn targets(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (opening, closing) in [("](", ')'), ("src=\"", '"'), ("href=\"", '"')] {
        for part in line.split(opening).skip(1) {
            let end = part.find(closing).unwrap_or(part.len());
            found.extend(first_word(&part[..end]));
        }
    }
    found.extend(definition(line));
    found
}

/// The target of a line `[name]: target`, which is no footnote.
fn definition(line: &str) -> Option<String> {
    let name = line.trim_start().strip_prefix('[')?;
    let (name, target) = name.split_once("]:")?;
    first_word(target).filter(|_| !name.starts_with('^') && !name.contains(']'))
}

/// A title may follow the target.
fn first_word(text: &str) -> Option<String> {
    let word = text.split_whitespace().next()?;
    Some(word.trim_matches(['<', '>']).to_owned())
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
<img src=\"four.svg\"> <a href=\"five.md\">x</a>
[name]: six.md
";
        let expected = [
            (1, "one.md"),
            (1, "two.png"),
            (1, "three.md#part"),
            (2, "four.svg"),
            (2, "five.md"),
            (3, "six.md"),
        ];
        let found = links(text);
        let found: Vec<_> = found.iter().map(|(line, it)| (*line, &**it)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn code_addresses_and_anchors_are_no_relative_links() {
        let text = "\
`[a](one.md)` [b](https://example.org/x) [c](#part) [d](mailto:a@b.org)
```
[e](two.md)
~~~
```
[^1]: note
a [range]: [0, 1]
~~~text
[f](three.md)
~~~
";
        assert_eq!(links(text), []);
    }
}
