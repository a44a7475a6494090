//! Codes of photographs by k-means, for a prior over codes.
//!
//! `encode DIR K` learns `K` colours of patches of 4x4 pixels from the training images of
//! `photos32`, and writes to `DIR` the grids of codes of each split, `[n, 8, 8]`, with their
//! labels, and the patches, `codebook.npy`. `decode DIR GRIDS.npy OUT.png` draws grids
//! with these patches, eight in a row.

use std::error::Error;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use image::{Rgb, RgbImage};
use pixelcnn_data::{Images, Split, load, read_npy};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The side of a patch in pixels.
const SIDE: usize = 4;
/// The values of a patch with three channels.
const SIZE: usize = 3 * SIDE * SIDE;
/// Rounds of k-means.
const ROUNDS: usize = 12;

type Patch = [f32; SIZE];

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["encode", folder, count] => encode(Path::new(folder), count.parse()?),
        ["decode", folder, grids, out] => decode(Path::new(folder), Path::new(grids), out),
        _ => Err("encode DIR K, or decode DIR GRIDS.npy OUT.png".into()),
    }
}

fn encode(folder: &Path, count: usize) -> Outcome<()> {
    let dataset = load(&"photos32".parse()?)?;
    std::fs::create_dir_all(folder)?;
    let codebook = learn(&patches(dataset.split(Split::Train)?)?, count)?;
    let numbers: Vec<f32> = codebook.iter().flatten().copied().collect();
    Tensor::from_vec(numbers, (count, SIZE), &Device::Cpu)?
        .write_npy(folder.join("codebook.npy"))?;
    for name in [Split::Train, Split::Valid, Split::Test] {
        let images = dataset.split(name)?;
        let patches = patches(images)?;
        let codes: Vec<u32> = patches
            .iter()
            .map(|patch| nearest(&codebook, patch).0 as u32)
            .collect();
        let (_, height, width) = images.shape();
        let shape = (images.len(), height / SIDE, width / SIDE);
        Tensor::from_vec(codes, shape, &Device::Cpu)?
            .write_npy(folder.join(format!("{name}.npy")))?;
        Tensor::new(images.labels(), &Device::Cpu)?
            .write_npy(folder.join(format!("{name}.labels.npy")))?;
        let error: f64 = patches
            .iter()
            .map(|patch| f64::from(nearest(&codebook, patch).1))
            .sum();
        let error = error / (patches.len() * SIZE) as f64;
        println!(
            "{name}: {} grids, mean squared error {error:.1}",
            images.len()
        );
    }
    Ok(())
}

/// The patches of all images, row by row.
fn patches(images: &Images) -> Outcome<Vec<Patch>> {
    let (_, height, width) = images.shape();
    let values = images.tensor(0..images.len(), &Device::Cpu)?;
    let values = values.to_dtype(DType::F32)?.flatten_all()?;
    let values: Vec<f32> = values.to_vec1()?;
    let mut all = Vec::new();
    for image in values.chunks(3 * height * width) {
        for top in (0..height).step_by(SIDE) {
            for left in (0..width).step_by(SIDE) {
                all.push(std::array::from_fn(|index| {
                    let (channel, place) = (index / (SIDE * SIDE), index % (SIDE * SIDE));
                    let (row, column) = (top + place / SIDE, left + place % SIDE);
                    image[(channel * height + row) * width + column]
                }));
            }
        }
    }
    Ok(all)
}

/// k-means, starting from patches at equal distances in the data set.
fn learn(patches: &[Patch], count: usize) -> Outcome<Vec<Patch>> {
    if count < 2 || count > patches.len() {
        return Err(format!("2 to {} patches expected, found {count}", patches.len()).into());
    }
    let every = patches.len() / count;
    let mut codebook: Vec<Patch> = patches.iter().step_by(every).take(count).copied().collect();
    for _ in 0..ROUNDS {
        let mut sums = vec![([0f32; SIZE], 0f32); count];
        for patch in patches {
            let (sum, number) = &mut sums[nearest(&codebook, patch).0];
            sum.iter_mut()
                .zip(patch)
                .for_each(|(sum, value)| *sum += value);
            *number += 1.0;
        }
        for (mean, (sum, number)) in codebook.iter_mut().zip(&sums) {
            // An entry that is nearest to no patch stays as it is.
            if *number > 0.0 {
                *mean = sum.map(|sum| sum / number);
            }
        }
    }
    Ok(codebook)
}

/// The nearest patch of the codebook, and its squared distance.
fn nearest(codebook: &[Patch], patch: &Patch) -> (usize, f32) {
    let distance = |mean: &Patch| -> f32 {
        mean.iter()
            .zip(patch)
            .map(|(one, other)| (one - other) * (one - other))
            .sum()
    };
    let mut best = (0, f32::INFINITY);
    for (code, mean) in codebook.iter().enumerate() {
        let found = distance(mean);
        if found < best.1 {
            best = (code, found);
        }
    }
    best
}

fn decode(folder: &Path, grids: &Path, out: &str) -> Outcome<()> {
    const COLUMNS: usize = 8;
    const ZOOM: usize = 3;
    let codebook = read_npy(&folder.join("codebook.npy"))?.to_vec2::<f32>()?;
    let grids = read_npy(grids)?.to_dtype(DType::U32)?;
    let (height, width) = match *grids.dims() {
        [_, height, width] | [_, 1, height, width] => (height, width),
        _ => return Err(format!("grids [n, h, w] expected, found {:?}", grids.dims()).into()),
    };
    let grids = grids.reshape(((), height * width))?.to_vec2::<u32>()?;
    let (tall, wide) = (height * SIDE * ZOOM, width * SIDE * ZOOM);
    let rows = grids.len().div_ceil(COLUMNS);
    let (gap, size) = (4, |count: usize, side: usize| count * (side + 4) - 4);
    let mut picture = RgbImage::from_pixel(
        size(COLUMNS.min(grids.len()), wide) as u32,
        size(rows, tall) as u32,
        Rgb([255; 3]),
    );
    for (index, grid) in grids.iter().enumerate() {
        let (top, left) = (
            index / COLUMNS * (tall + gap),
            index % COLUMNS * (wide + gap),
        );
        for row in 0..tall {
            for column in 0..wide {
                let (y, x) = (row / ZOOM, column / ZOOM);
                let code = grid[y / SIDE * width + x / SIDE] as usize;
                let patch = codebook.get(code).ok_or("a code beyond the codebook")?;
                let place = y % SIDE * SIDE + x % SIDE;
                let colour = [0, 1, 2].map(|c| patch[c * SIDE * SIDE + place].round() as u8);
                picture.put_pixel((left + column) as u32, (top + row) as u32, Rgb(colour));
            }
        }
    }
    picture.save(out)?;
    Ok(())
}
