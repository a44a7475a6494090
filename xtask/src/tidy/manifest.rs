//! The manifests of the workspace.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::{Finding, files};

/// Every manifest of the workspace.
pub(super) struct Workspace {
    pub root: Manifest,
    pub xtask: Manifest,
    /// The manifests under `crates/`, sorted by path.
    pub crates: Vec<Manifest>,
}

/// One `Cargo.toml`.
pub(super) struct Manifest {
    /// The path, relative to the root of the workspace.
    pub path: PathBuf,
    pub package: String,
    pub table: Table,
    text: String,
}

/// A dependency in a manifest.
#[derive(Debug, PartialEq)]
pub(super) struct Dependency {
    /// The name in the features of the manifest.
    pub key: String,
    pub package: String,
    pub section: String,
}

impl Workspace {
    /// Reads the manifests of the root, of xtask and under `crates/`.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut crates = Vec::new();
        for folder in files::sorted_entries(&root.join("crates"))? {
            let path = folder.join("Cargo.toml");
            if path.is_file() {
                crates.push(Manifest::read(root, &path)?);
            }
        }
        Ok(Self {
            root: Manifest::read(root, &root.join("Cargo.toml"))?,
            xtask: Manifest::read(root, &root.join("xtask/Cargo.toml"))?,
            crates,
        })
    }

    /// The crates under `crates/`, then xtask.
    pub(super) fn members(&self) -> impl Iterator<Item = &Manifest> {
        self.crates.iter().chain([&self.xtask])
    }

    /// The build dependencies of the manifest, for any target.
    pub(super) fn normal_dependencies(&self, manifest: &Manifest) -> Vec<Dependency> {
        self.dependencies(manifest, &["dependencies", "build-dependencies"])
    }

    /// As [`Self::normal_dependencies`], with the dependencies of its tests.
    pub(super) fn all_dependencies(&self, manifest: &Manifest) -> Vec<Dependency> {
        let kinds = ["dependencies", "build-dependencies", "dev-dependencies"];
        self.dependencies(manifest, &kinds)
    }

    fn dependencies(&self, manifest: &Manifest, kinds: &[&str]) -> Vec<Dependency> {
        let mut found = Vec::new();
        for (prefix, table) in manifest.tables_with_dependencies() {
            for kind in kinds {
                for (key, value) in subtable(table, kind).into_iter().flatten() {
                    found.push(Dependency {
                        key: key.clone(),
                        package: self.package_of(key, value),
                        section: format!("{prefix}{kind}"),
                    });
                }
            }
        }
        found
    }

    fn package_of(&self, key: &str, value: &Value) -> String {
        let inherited = value.get("workspace").and_then(Value::as_bool) == Some(true);
        let shared = || {
            let workspace = subtable(&self.root.table, "workspace")?;
            subtable(workspace, "dependencies")?.get(key)
        };
        let definition = if inherited { shared() } else { Some(value) };
        let renamed = definition.and_then(|value| value.get("package"));
        renamed.and_then(Value::as_str).unwrap_or(key).to_owned()
    }
}

impl Manifest {
    fn read(root: &Path, path: &Path) -> Result<Self> {
        let text = files::read(path)?;
        let table: Table = text
            .parse()
            .with_context(|| format!("cannot parse {}", path.display()))?;
        let package = subtable(&table, "package").and_then(|package| package.get("name"));
        Ok(Self {
            path: path.strip_prefix(root).unwrap_or(path).to_owned(),
            package: package
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            table,
            text,
        })
    }

    /// The names under `[features]`.
    pub(super) fn features(&self) -> BTreeSet<&str> {
        let table = subtable(&self.table, "features");
        table
            .into_iter()
            .flatten()
            .map(|(name, _)| &**name)
            .collect()
    }

    /// The values of a feature, or `None` if it does not exist.
    pub(super) fn feature(&self, name: &str) -> Option<Vec<&str>> {
        let values = subtable(&self.table, "features")?.get(name)?.as_array()?;
        Some(values.iter().filter_map(Value::as_str).collect())
    }

    /// A finding at the line of `[section]` that sets `key`.
    pub(super) fn finding(&self, section: &str, key: &str, message: String) -> Finding {
        Finding {
            file: self.path.clone(),
            line: self.line(section, key),
            message,
        }
    }

    fn line(&self, section: &str, key: &str) -> Option<usize> {
        let mut current = "";
        for (index, line) in self.text.lines().enumerate() {
            let line = line.trim();
            if let Some(header) = line
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
            {
                current = header.trim();
            }
            let in_section = current == section && is_key(line, key);
            if in_section || current == format!("{section}.{key}") {
                return Some(index + 1);
            }
        }
        None
    }

    fn tables_with_dependencies(&self) -> Vec<(String, &Table)> {
        let mut tables = vec![(String::new(), &self.table)];
        for (name, value) in subtable(&self.table, "target").into_iter().flatten() {
            if let Some(table) = value.as_table() {
                tables.push((format!("target.'{name}'."), table));
            }
        }
        tables
    }
}

fn is_key(line: &str, key: &str) -> bool {
    line.strip_prefix(key)
        .is_some_and(|rest| rest.trim_start().starts_with(['=', '.']))
}

fn subtable<'a>(table: &'a Table, key: &str) -> Option<&'a Table> {
    table.get(key).and_then(Value::as_table)
}
