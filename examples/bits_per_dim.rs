//! The bits/dim of one picture: `cargo run --release --example bits_per_dim -- MODEL PICTURE`

use candle_core::Device;
use pixelcnn_data::read_picture;
use pixelcnn_models::{Given, Model};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [model, picture] = [1, 2].map(|index| std::env::args().nth(index).unwrap_or_default());
    let model = Model::load(&model, &Device::Cpu)?;
    let values = read_picture(picture.as_ref())?;
    println!(
        "{}",
        model.density()?.bits_per_dim(&values, &Given::Nothing)?
    );
    Ok(())
}
