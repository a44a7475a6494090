//! Compiles the kernels to PTX if the feature `cuda` asks for them.

#[cfg(feature = "cuda")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    let kernels = cudaforge::KernelBuilder::new()
        .source_dir("kernels")
        .watch([
            "kernels/chunks.cuh",
            "kernels/device.cuh",
            "kernels/rows.cuh",
        ])
        .arg("-std=c++17")
        .arg("-O3")
        .build_ptx()?;
    kernels.write(out.join("ptx.rs"))?;
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=kernels");
    Ok(())
}

#[cfg(not(feature = "cuda"))]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
