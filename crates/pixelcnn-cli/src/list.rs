//! `pixelcnn list`.

use std::process::ExitCode;

use anyhow::Result;
use pixelcnn_codec::{Archive, Entry};
use pixelcnn_system::{counted, escaped};
use serde_json::{Value, json};

use crate::archive::ArchiveArgument;
use crate::arguments::JsonFlag;
use crate::output;

/// Lists the pictures of an archive, and the model that it needs
///
/// It needs no model, and does not check the pixels: see `pixelcnn verify`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    archive: ArchiveArgument,
    #[command(flatten)]
    json: JsonFlag,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let archive = arguments.archive.read()?;
    match arguments.json.json {
        true => output::line(all(&archive))?,
        false => print(&archive)?,
    }
    for problem in problems(&archive) {
        tracing::warn!("{}: {problem}", arguments.archive.name());
    }
    Ok(ExitCode::SUCCESS)
}

/// What is missing or damaged, as far as the records show it.
pub(crate) fn problems(archive: &Archive) -> Vec<String> {
    let gaps = archive.gaps().iter();
    let mut problems: Vec<_> = gaps.map(|gap| format!("{gap} are damaged")).collect();
    match archive.end() {
        None => problems.push("the end is missing".to_string()),
        Some((pictures, _)) if pictures != archive.pictures().len() => {
            let found = archive.pictures().len();
            problems.push(format!("{found} of {} found", counted(pictures, "picture")));
        }
        Some(_) => {}
    }
    problems
}

/// Bytes of the compressed tiles.
fn bytes(picture: &Entry) -> usize {
    picture.tiles().map(|tile| tile.length).sum()
}

fn all(archive: &Archive) -> Value {
    let model = &archive.header().model;
    let picture = |picture: &Entry| {
        let (height, width) = picture.size();
        json!({
            "name": picture.name(),
            "height": height,
            "width": width,
            "tile": picture.tile_side().to_string(),
            "tiles": picture.tile_count(),
            "found_tiles": picture.tiles().count(),
            "bytes": bytes(picture),
            "metadata_bytes": picture.metadata_length(),
            "offset": picture.offset(),
        })
    };
    json!({
        "version": archive.header().version,
        "arithmetic": archive.header().arithmetic,
        "model": {
            "hash": model.hexadecimal(),
            "name": model.name,
            "channels": model.channels,
            "levels": model.levels,
        },
        "bytes": archive.length(),
        "whole": archive.is_whole(),
        "pictures": archive.pictures().iter().map(picture).collect::<Vec<_>>(),
    })
}

fn print(archive: &Archive) -> Result<()> {
    let model = &archive.header().model;
    output::line(format_args!("model {model}"))?;
    for picture in archive.pictures() {
        let (height, width) = picture.size();
        let values = (height * width * model.channels) as f64;
        let bytes = bytes(picture);
        let tiles = match (picture.tiles().count(), picture.tile_count()) {
            (found, all) if found == all => counted(all, "tile"),
            (found, all) => format!("{found} of {}", counted(all, "tile")),
        };
        output::line(format_args!(
            "{}: {width} x {height}, {tiles}, {bytes} bytes, {:.3} bits/dim",
            escaped(picture.name()),
            8.0 * bytes as f64 / values
        ))?;
    }
    output::line(format_args!(
        "{}, {} bytes",
        counted(archive.pictures().len(), "picture"),
        archive.length()
    ))
}
