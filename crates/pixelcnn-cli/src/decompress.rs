//! `pixelcnn decompress`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Error, Result, bail};
use pixelcnn_codec::{Archive, Area, Decoded, Entry, Metadata, Wanted};
use pixelcnn_system::{check_writable, counted, escaped, shown};
use serde_json::json;

use crate::archive::output::{self, Pixels};
use crate::archive::{ArchiveArgument, CodecFlags};
use crate::arguments::JsonFlag;
use crate::output::Channel;
use crate::progress::Progress;

/// Writes the pictures of an archive as PNG files
///
/// Every tile is checked. A picture with a damaged or missing tile is not written, the others
/// are, and the command fails at the end. No existing file is replaced.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    archive: ArchiveArgument,
    #[command(flatten)]
    codec: CodecFlags,
    /// The folder for the pictures
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    out_dir: PathBuf,
    /// Only the picture with this name; can be repeated
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    only: Vec<String>,
    /// Only this part of each picture: left column and upper row, from 0, width and height.
    /// Only the tiles of this part are decoded
    #[arg(long, value_name = "X,Y,W,H")]
    crop: Option<Area>,
    /// Also write pictures with damaged or missing tiles; these are transparent
    #[arg(long)]
    incomplete: bool,
    #[command(flatten)]
    json: JsonFlag,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let archive = arguments.archive.read()?;
    let wanted = wanted(arguments, &archive)?;
    check_files(arguments, &archive, &wanted)?;
    let codec = arguments.codec.codec()?;
    archive
        .check_model(&codec)
        .with_context(|| arguments.archive.name())?;
    let start = Instant::now();
    let mut bar = Progress::with_unit("decompressing", wanted.len(), "pictures");
    let (mut seen, mut written, mut values) = (0, 0, 0);
    let (mut damaged, mut problems) = (0, Vec::new());
    archive.decode::<Error>(&codec, &wanted, &mut |archive, decoded| {
        let (picture, count) = (
            &archive.pictures()[decoded.wanted.picture],
            decoded.values.len(),
        );
        if let Some(missing) = decoded.missing.first() {
            problems.push(format!("{}: {missing}", escaped(picture.name())));
        }
        let metadata = archive.metadata(picture);
        let is_whole = decoded.missing.is_empty() && metadata.is_ok();
        let metadata = metadata.unwrap_or_else(|error| {
            problems.push(error.to_string());
            Vec::new()
        });
        damaged += usize::from(!is_whole);
        if is_whole || arguments.incomplete {
            write(arguments, archive, &decoded, &metadata)?;
            written += 1;
            values += count;
        }
        seen += 1;
        bar.at(seen);
        Ok(())
    })?;
    drop(bar);
    let seconds = start.elapsed().as_secs_f64();
    problems.extend(lost(&archive, arguments, wanted.len()));
    if written > 0 || problems.is_empty() {
        report(arguments, (written, values), damaged, seconds)?;
    }
    match problems.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => bail!("{}: {}", arguments.archive.name(), problems.join("; ")),
    }
}

/// What is missing in an archive of which all pictures are wanted.
fn lost(archive: &Archive, arguments: &Arguments, wanted: usize) -> Option<String> {
    let is_part = !arguments.only.is_empty();
    match archive.end() {
        _ if is_part || archive.is_whole() => None,
        None => Some("its end is missing, so pictures may be missing".into()),
        Some((pictures, _)) if pictures > wanted => Some(format!(
            "{wanted} of {} found",
            counted(pictures, "picture")
        )),
        // The pictures themselves say what they miss.
        Some(_) => None,
    }
}

/// The chosen pictures, and the part of each.
fn wanted(arguments: &Arguments, archive: &Archive) -> Result<Vec<Wanted>> {
    let pictures = archive.pictures();
    let number = |name: &String| {
        let number = pictures.iter().position(|picture| picture.name() == name);
        number.with_context(|| {
            let archive = arguments.archive.name();
            format!(
                "--only {}: no such picture in {archive}; `pixelcnn list` shows all",
                escaped(name)
            )
        })
    };
    let numbers: Vec<usize> = match arguments.only.is_empty() {
        true => (0..pictures.len()).collect(),
        false => {
            let numbers = arguments.only.iter().map(number);
            // A name that is given twice is one picture.
            let numbers = numbers.collect::<Result<BTreeSet<_>>>()?;
            numbers.into_iter().collect()
        }
    };
    let part = |picture: usize| {
        let (height, width) = pictures[picture].size();
        let area = arguments.crop.unwrap_or(Area::whole(height, width));
        if !area.is_within(height, width) {
            bail!(
                "--crop {area}: {} has {width} x {height} pixels (width x height)",
                escaped(pictures[picture].name())
            );
        }
        Ok(Wanted { picture, area })
    };
    numbers.into_iter().map(part).collect()
}

fn file(arguments: &Arguments, picture: &Entry) -> PathBuf {
    output::path(&arguments.out_dir, picture.name())
}

/// Refuses to replace a file, and to write two pictures to one.
fn check_files(arguments: &Arguments, archive: &Archive, wanted: &[Wanted]) -> Result<()> {
    let mut seen = BTreeMap::new();
    for part in wanted {
        let picture = &archive.pictures()[part.picture];
        let path = file(arguments, picture);
        let name = escaped(picture.name());
        if path.symlink_metadata().is_ok() {
            bail!(
                "{} exists: remove it, or choose another folder with --out-dir",
                shown(&path)
            );
        }
        if let Some(other) = seen.insert(path.clone(), name.clone()) {
            bail!(
                "{other} and {name} would both be written to {}: choose one with --only",
                shown(&path)
            );
        }
        if path.parent().is_some_and(|folder| folder.is_dir()) {
            check_writable(&path).with_context(|| format!("cannot write {}", shown(&path)))?;
        }
    }
    remove_abandoned(seen.keys());
    Ok(())
}

/// Removes partial files that a killed command left of these files.
fn remove_abandoned<'a>(files: impl Iterator<Item = &'a PathBuf>) {
    let mut folders: BTreeMap<&Path, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        if let (Some(folder), Some(name)) = (file.parent(), file.file_name()) {
            let names = folders.entry(folder).or_default();
            names.insert(name.to_string_lossy().into_owned());
        }
    }
    for (folder, names) in folders.into_iter().filter(|(folder, _)| folder.is_dir()) {
        // A file that cannot be removed does no harm.
        if let Err(error) = pixelcnn_system::remove_abandoned(folder, |name| names.contains(name)) {
            tracing::debug!("{}: {error}", shown(folder));
        }
    }
}

fn write(
    arguments: &Arguments,
    archive: &Archive,
    decoded: &Decoded,
    metadata: &[Metadata],
) -> Result<()> {
    let picture = &archive.pictures()[decoded.wanted.picture];
    let model = &archive.header().model;
    let pixels = Pixels {
        decoded,
        channels: model.channels,
        levels: model.levels,
        metadata,
    };
    pixels.write(&file(arguments, picture))
}

/// Prints how many pictures were written.
fn report(
    arguments: &Arguments,
    (written, values): (usize, usize),
    damaged: usize,
    seconds: f64,
) -> Result<()> {
    let folder = arguments.out_dir.display().to_string();
    if arguments.json.json {
        return Channel::Output.line(json!({
            "out_dir": folder,
            "pictures": written,
            "values": values,
            "damaged": damaged,
            "seconds": seconds,
        }));
    }
    Channel::Output.line(format_args!(
        "{folder}: {}, {seconds:.2} s",
        counted(written, "picture")
    ))
}
