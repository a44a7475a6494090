//! Where the workspace lies.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root of the workspace: the folder that holds `xtask`.
///
/// # Errors
/// When the folder no longer exists, as after moving a checkout without
/// building again.
pub fn root() -> Result<PathBuf> {
    // `cargo run` names the package it started; what was compiled in serves a
    // binary that is started by hand.
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let root = Path::new(&package).join("..");
    root.canonicalize()
        .with_context(|| format!("cannot find the workspace at {}", root.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_this_crate() {
        assert!(root().unwrap().join("xtask/src/workspace.rs").is_file());
    }
}
