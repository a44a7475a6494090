//! The path of the workspace.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root of the workspace: the folder that contains `xtask`.
///
/// # Errors
/// When the folder no longer exists, for example after a checkout was moved
/// without a new build.
pub(crate) fn root() -> Result<PathBuf> {
    // `cargo run` sets the path of the package. A binary started by hand uses the path
    // at compile time.
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
