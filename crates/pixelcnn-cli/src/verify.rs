//! `pixelcnn verify`.

use std::process::ExitCode;

use anyhow::{Context, Error, Result};
use pixelcnn_codec::{Area, Entry, Wanted};
use pixelcnn_system::{counted, escaped};
use serde_json::json;

use crate::archive::{ArchiveArgument, CodecFlags};
use crate::arguments::JsonFlag;
use crate::progress::Progress;
use crate::{list, output};

/// Decodes an archive without writing, and says which tiles are damaged or missing
///
/// Fails if there are any. Of a picture, the first 16 are shown, and the number of the others.
/// The whole tiles of a damaged picture can be written with `pixelcnn decompress --incomplete`,
/// or those of a part with --crop.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    archive: ArchiveArgument,
    #[command(flatten)]
    codec: CodecFlags,
    #[command(flatten)]
    json: JsonFlag,
}

/// This many missing tiles of a picture are shown: a few bytes can claim millions of tiles, and
/// a name has up to 4096 bytes.
const MOST_SHOWN: usize = 16;

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let archive = arguments.archive.read()?;
    let codec = arguments.codec.codec()?;
    archive
        .check_model(&codec)
        .with_context(|| arguments.archive.name())?;
    let mut problems = list::problems(&archive);
    let whole = |(picture, entry): (usize, &Entry)| {
        let (height, width) = entry.size();
        let area = Area::whole(height, width);
        Wanted { picture, area }
    };
    let wanted: Vec<_> = archive.pictures().iter().enumerate().map(whole).collect();
    let mut bar = Progress::with_unit("verifying", wanted.len(), "pictures");
    let (mut tiles, mut seen) = (0, 0);
    archive.decode::<Error>(&codec, &wanted, &mut |archive, decoded| {
        let picture = &archive.pictures()[decoded.wanted.picture];
        let name = escaped(picture.name());
        tiles += picture.tile_count() - decoded.missing.len();
        let shown = decoded.missing.iter().take(MOST_SHOWN);
        problems.extend(shown.map(|missing| format!("{name}: {missing}")));
        if let Some(more) = decoded.missing.len().checked_sub(MOST_SHOWN + 1) {
            let more = counted(more + 1, "more tile");
            problems.push(format!("{name}: {more} damaged or missing"));
        }
        if let Err(error) = archive.metadata(picture) {
            problems.push(error.to_string());
        }
        seen += 1;
        bar.at(seen);
        Ok(())
    })?;
    drop(bar);
    match arguments.json.json {
        true => output::line(json!({
            "pictures": wanted.len(),
            "whole_tiles": tiles,
            "problems": problems,
        }))?,
        false => {
            problems.iter().try_for_each(output::line)?;
            let (pictures, tiles) = (counted(wanted.len(), "picture"), counted(tiles, "tile"));
            let found = counted(problems.len(), "problem");
            output::line(format_args!("{pictures}, {tiles} whole, {found}"))?;
        }
    }
    Ok(match problems.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
