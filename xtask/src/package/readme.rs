//! The number of packages in the README of a crate.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Package, cargo};
use crate::process;

/// The number depends on the target.
const TARGET: &str = "x86_64-unknown-linux-gnu";

const ALL: &str = " packages besides this one";
const FEWER: &str = " without default features";

/// Compares the numbers in a README with those of `cargo tree`; returns the wrong ones.
pub(super) fn check(root: &Path, package: &Package) -> Result<Vec<String>> {
    let path = package.manifest_path.with_file_name("README.md");
    let text = std::fs::read_to_string(&path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    let mut expected = vec![(ALL, count(root, package, &[])?)];
    if package.features.contains_key("default") {
        expected.push((FEWER, count(root, package, &["--no-default-features"])?));
    }
    expected.retain(|(words, count)| number_before(&text, words) != Some(*count));
    let wrong = expected.into_iter().map(|(words, count)| {
        let found = number_before(&text, words);
        let found = found.map_or("no number".to_owned(), |number| number.to_string());
        format!("{}: {count}{words} expected, found {found}", path.display())
    });
    Ok(wrong.collect())
}

/// The number of packages that are compiled for a crate, without itself.
fn count(root: &Path, package: &Package, flags: &[&str]) -> Result<usize> {
    let mut command = cargo(root);
    command.args(["tree", "--locked", "--target", TARGET, "--prefix", "none"]);
    command
        .args(["--edges", "normal,build", "-p", &package.name])
        .args(flags);
    Ok(names(&process::output(&mut command)?)
        .len()
        .saturating_sub(1))
}

/// The name and the version, which are the first two words of each line.
fn names(tree: &str) -> BTreeSet<(&str, &str)> {
    let words = tree.lines().map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.next()?))
    });
    words.flatten().collect()
}

fn number_before(text: &str, words: &str) -> Option<usize> {
    let before = text.split_once(words)?.0;
    before.split_whitespace().next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_a_tree_repeats_is_counted_once() {
        let tree = "a v1.0.0 (/w/a)\nb v0.2.0 (proc-macro)\nc v3.1.4\nb v0.2.0 (*)\nb v0.3.0\n";
        assert_eq!(names(tree).len(), 4);
    }

    #[test]
    fn numbers_are_read_before_their_words() {
        let text = "## Packages\n\n174 packages besides this one, 147 without default features.";
        assert_eq!(number_before(text, ALL), Some(174));
        assert_eq!(number_before(text, FEWER), Some(147));
        assert_eq!(number_before("few packages besides this one", ALL), None);
        assert_eq!(number_before("", ALL), None);
    }
}
