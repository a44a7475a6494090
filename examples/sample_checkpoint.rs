//! Sixteen samples of a model as a picture:
//! `cargo run --release --example sample_checkpoint -- MODEL OUT.png`
//!
//! `MODEL` is the name of a model of colour images without a condition, such as `photos`, or a folder.

use std::error::Error;

use candle_core::{DType, Device};
use image::RgbImage;
use pixelcnn_models::{Condition, Model};
use pixelcnn_sample::{Engine, SampleConfig, sample};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, out] = &arguments[..] else {
        return Err("MODEL OUT.png expected".into());
    };
    let model = Model::from_pretrained(model, &Device::Cpu)?;
    let engine = Engine::new(model.density()?)?;
    let image = engine.image();
    if (image.channels, image.levels) != (3, 256) {
        return Err("a model of three channels of 256 levels expected".into());
    }
    let config = SampleConfig {
        count: 16,
        seed: 1,
        ..SampleConfig::new(image)
    };
    let images = sample(&engine, &config, &Condition::None, &|_, _, _| ())?;
    // [16, c, h, w] to four rows of four: [4 h, 4 w, c].
    let (height, width) = (4 * image.height, 4 * image.width);
    let grid = images.reshape((4, 4, 3, image.height, image.width))?;
    let grid = grid.permute((0, 3, 1, 4, 2))?.flatten_all()?;
    let bytes = grid.to_dtype(DType::U8)?.to_vec1()?;
    let picture = RgbImage::from_raw(width as u32, height as u32, bytes);
    picture.ok_or("numbers and size differ")?.save(out)?;
    println!("{out}: {width} x {height}");
    Ok(())
}
