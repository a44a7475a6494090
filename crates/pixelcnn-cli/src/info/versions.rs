//! What a report of a bug must say of the program and the machine.

use std::env::consts::{ARCH, OS};

use anyhow::Result;
use pixelcnn_kernels::Level;
use serde_json::json;

use crate::{manual, output};

/// The version of candle that the workspace is built with.
const CANDLE: &str = "0.11.1";

/// Prints versions, features, platform, instructions and threads.
pub(super) fn print(as_json: bool) -> Result<()> {
    let instructions = match Level::current() {
        Level::Portable => "portable",
        Level::Avx2 => "AVX2",
        Level::Avx512 => "AVX-512",
    };
    let platform = format!("{ARCH} {OS} {}", environment())
        .trim_end()
        .to_owned();
    let threads = rayon::current_num_threads();
    if as_json {
        return output::line(json!({
            "pixelcnn": env!("CARGO_PKG_VERSION"),
            "candle": CANDLE,
            "features": manual::features(),
            "platform": platform,
            "instructions": instructions,
            "threads": threads,
        }));
    }
    output::line(format_args!("pixelcnn {}", manual::version()))?;
    output::line(format_args!("candle {CANDLE}"))?;
    output::line(format_args!("platform: {platform}"))?;
    output::line(format_args!("instructions: {instructions}"))?;
    output::line(format_args!("threads: {threads}"))
}

/// The C library or compiler that programs of this platform are linked with.
fn environment() -> &'static str {
    if cfg!(target_env = "gnu") {
        "gnu"
    } else if cfg!(target_env = "musl") {
        "musl"
    } else if cfg!(target_env = "msvc") {
        "msvc"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_candle_is_the_one_that_is_built() {
        let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock");
        let lock: toml::Table = std::fs::read_to_string(lock).unwrap().parse().unwrap();
        let packages = lock["package"].as_array().unwrap();
        let candle = packages
            .iter()
            .find(|package| package["name"].as_str() == Some("candle-core"));
        assert_eq!(candle.unwrap()["version"].as_str(), Some(CANDLE));
    }
}
