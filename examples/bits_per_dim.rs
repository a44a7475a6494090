//! The bits/dim of one picture: `cargo run --release --example bits_per_dim -- MODEL PICTURE`
//!
//! `MODEL` is the name of a model, such as `photos`, or a folder.

use candle_core::Device;
use pixelcnn_data::read_picture;
use pixelcnn_models::{Given, Model};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, picture] = &arguments[..] else {
        return Err("MODEL PICTURE expected".into());
    };
    let model = Model::from_pretrained(model, &Device::Cpu)?;
    let values = read_picture(picture.as_ref())?;
    println!(
        "{}",
        model.density()?.bits_per_dim(&values, &Given::Nothing)?
    );
    Ok(())
}
