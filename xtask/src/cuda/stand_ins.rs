//! Libraries that stand in for CUDA's: a program with CUDA links with them, and runs on them
//! without a device.
//!
//! Each defines every function that the crate cudarc declares for it. Those that the program
//! calls come from `stand_ins/*.c`; the others return an error. Nothing of them ends up in the
//! program, which asks the loader for `libcuda.so.1` and the others by name.
//!
//! With the variable `STAND_IN_EXECUTES=1` they compute: libcuda has the kernels of
//! `pixelcnn-cuda` as functions of the CPU.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{Folders, toolkit::link};
use crate::process;

struct Library {
    /// As in `-lNAME`, and of its C file if there is one.
    name: &'static str,
    /// The module of cudarc.
    module: &'static str,
    /// The name that the loader looks for.
    file: &'static str,
    /// What a function returns that is not written out.
    error: i32,
}

/// libcuda first: the others count with its function.
const LIBRARIES: [Library; 5] = [
    Library {
        name: "cuda",
        module: "driver",
        file: "libcuda.so.1",
        error: 801, // CUDA_ERROR_NOT_SUPPORTED
    },
    Library {
        name: "nvrtc",
        module: "nvrtc",
        file: "libnvrtc.so.13",
        error: 7, // NVRTC_ERROR_BUILTIN_OPERATION_FAILURE
    },
    Library {
        name: "curand",
        module: "curand",
        file: "libcurand.so.10",
        error: 203, // CURAND_STATUS_INITIALIZATION_FAILED
    },
    Library {
        name: "cublas",
        module: "cublas",
        file: "libcublas.so.13",
        error: 15, // CUBLAS_STATUS_NOT_SUPPORTED
    },
    Library {
        name: "cublasLt",
        module: "cublaslt",
        file: "libcublasLt.so.13",
        error: 15,
    },
];

/// Compiles the libraries into a folder.
///
/// # Errors
/// When the source of cudarc is not found or the compiler fails.
pub(crate) fn make(folders: &Folders, out: &Path) -> Result<()> {
    let cudarc = source_of_cudarc(&folders.root)?;
    std::fs::create_dir_all(out)?;
    for library in &LIBRARIES {
        let module = cudarc.join("src").join(library.module).join("sys/mod.rs");
        let declared = std::fs::read_to_string(&module)
            .with_context(|| format!("cannot read {}", module.display()))?;
        let rest = out.join(format!("{}.c", library.name));
        std::fs::write(&rest, errors(&functions(&declared), library.error))?;
        let mut sources = sources(folders, library);
        sources.push(rest);
        process::run(compile(library, &sources, out).env_remove("LD_LIBRARY_PATH"))?;
        link(library.file, &out.join(format!("lib{}.so", library.name)))?;
    }
    Ok(())
}

/// What a library has besides errors.
fn sources(folders: &Folders, library: &Library) -> Vec<PathBuf> {
    let own = folders.sources().join("stand_ins");
    let mut sources = vec![own.join(format!("{}.c", library.name))];
    sources.retain(|source| source.is_file());
    if library.name == "cuda" {
        let kernels = folders.root.join("crates/pixelcnn-cuda/kernels");
        sources.extend(["host.cpp", "fibres.cpp"].map(|file| kernels.join(file)));
    }
    sources
}

/// `-march=native`: the libraries run where they are made. Kernels read several numbers as one
/// of another type, hence no strict aliasing.
fn compile(library: &Library, sources: &[PathBuf], out: &Path) -> Command {
    let mut command = Command::new("g++");
    command
        .args(["-O2", "-march=native", "-fno-strict-aliasing"])
        .args(["-w", "-fPIC", "-shared", "-pthread"])
        .arg(format!("-Wl,-soname,{}", library.file))
        .arg("-o")
        .arg(out.join(library.file));
    for source in sources {
        let is_c = source.extension().is_some_and(|extension| extension == "c");
        command
            .args(["-x", if is_c { "c" } else { "c++" }])
            .arg(source);
    }
    if library.name != "cuda" {
        command.args(["-x", "none"]).arg(out.join("libcuda.so.1"));
    }
    command
}

/// C functions that return an error, unless the library has one of the same name.
fn errors(functions: &BTreeSet<&str>, error: i32) -> String {
    let mut text = String::new();
    for function in functions {
        let weak = "__attribute__((weak)) int";
        let _ = writeln!(text, "{weak} {function}(void) {{ return {error}; }}");
    }
    text
}

/// The functions of CUDA that a module of cudarc declares.
fn functions(text: &str) -> BTreeSet<&str> {
    let name = |line: &'_ str| -> Option<usize> {
        line.find(|symbol: char| !symbol.is_ascii_alphanumeric() && symbol != '_')
    };
    text.lines()
        .filter_map(|line| line.split_once("fn ").map(|(_, rest)| rest))
        .filter_map(|rest| rest.get(..name(rest)?))
        .filter(|name| name.starts_with("cu") || name.starts_with("nvrtc"))
        .collect()
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
}

fn source_of_cudarc(root: &Path) -> Result<PathBuf> {
    let mut command = Command::new("cargo");
    command.args(["metadata", "--format-version", "1", "--locked"]);
    command.args(["--features", "pixelcnn-cli/cuda"]);
    let output = process::output(command.current_dir(root))?;
    let metadata: Metadata = serde_json::from_str(&output).context("cargo metadata")?;
    let mut packages = metadata.packages.into_iter();
    match packages.find(|package| package.name == "cudarc") {
        Some(Package { manifest_path, .. }) => Ok(manifest_path.with_file_name("")),
        None => bail!("the workspace does not depend on cudarc"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_functions_are_found() {
        let text = "extern \"C\" {\n    pub fn cuInit(flags: u32) -> CUresult;\n    fn cuInit();\n\
            \n    fn bitand(self) -> Self\n pub unsafe fn nvrtcVersion(\n}";
        let found = functions(text);
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            ["cuInit", "nvrtcVersion"]
        );
    }

    #[test]
    fn a_function_that_is_written_out_replaces_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let [rest, own, main] = ["rest.c", "own.c", "main.c"].map(|name| folder.path().join(name));
        let names = BTreeSet::from(["cuOne", "cuTwo"]);
        std::fs::write(&rest, errors(&names, 9)).unwrap();
        std::fs::write(&own, "int cuTwo(int x) { return x; }").unwrap();
        std::fs::write(
            &main,
            "int cuOne(int); int cuTwo(int); int main() { return cuOne(1) * 10 + cuTwo(5); }",
        )
        .unwrap();
        let program = folder.path().join("main");
        let compiled = Command::new("cc")
            .args([&rest, &own, &main])
            .arg("-o")
            .arg(&program)
            .status();
        if compiled.is_err() {
            println!("skipped: there is no C compiler");
            return;
        }
        assert_eq!(Command::new(&program).status().unwrap().code(), Some(95));
    }

    /// libcuda and libcublas, and the program that computes on them.
    fn compile_tests(folders: &Folders, out: &Path) -> Result<PathBuf> {
        for library in LIBRARIES {
            if ["cuda", "cublas"].contains(&library.name) {
                process::run(&mut compile(&library, &sources(folders, &library), out))?;
            }
        }
        let program = out.join("test");
        let mut command = Command::new("g++");
        command.args(["-x", "c"]);
        command.arg(folders.sources().join("stand_ins/test.c"));
        command.args(["-x", "none"]);
        command.args(["libcuda.so.1", "libcublas.so.13"].map(|file| out.join(file)));
        process::run(command.args(["-lm", "-o"]).arg(&program))?;
        Ok(program)
    }

    #[test]
    fn kernels_products_and_copies_are_computed() {
        let missing = |error| println!("skipped: there is no C++ compiler ({error})");
        if Command::new("g++")
            .arg("--version")
            .output()
            .map_err(missing)
            .is_err()
        {
            return;
        }
        let folders = Folders::new(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap());
        let scratch = tempfile::tempdir().unwrap();
        let program = compile_tests(&folders, scratch.path()).unwrap();
        let run = |test: &str, executes: &str| {
            let mut command = Command::new(&program);
            command.arg(test).env("LD_LIBRARY_PATH", scratch.path());
            let output = command.env("STAND_IN_EXECUTES", executes).output();
            let output = output.unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{test}: {said}");
            said
        };
        for test in [
            "a_kernel_runs",
            "products_are_those_of_a_plain_loop",
            "bf16_is_rounded_to_the_nearest_and_ties_to_even",
        ] {
            assert_eq!(run(test, "1"), "");
        }
        assert_eq!(run("results_are_zeros", "0"), "");
        for (test, expected) in [
            (
                "memory_holds_what_was_written",
                "beyond an allocation: fill",
            ),
            (
                "a_write_beyond_an_allocation_is_reported",
                "a write beyond an allocation: gate_f32",
            ),
            ("an_unknown_kernel_is_refused", "cannot execute: uexp_f32"),
            (
                "products_that_cublas_refuses_are_refused",
                "a leading dimension is too small: product",
            ),
            (
                "a_product_beyond_an_allocation_is_refused",
                "beyond an allocation: product",
            ),
        ] {
            let said = run(test, "1");
            assert!(said.contains(expected), "{test}: {said}");
        }
    }
}
