//! The threads of a block on the CPU: barriers of blocks and warps, shuffles, and places.

use std::path::Path;
use std::process::Command;

use crate::host::{compile, source};

#[test]
fn threads_wait_for_each_other_as_on_a_device() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels/fibres.cpp");
    let Some(program) = compile("fibres-on-the-host", &[tests, source("fibres.cpp")]) else {
        return;
    };
    let run = |arguments: &[&str]| {
        let output = Command::new(&program).args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.success(), said)
    };
    assert_eq!(run(&[]), (true, String::new()));
    for (what, expected) in [
        ("mask", "a mask without all threads of the warp"),
        (
            "barriers",
            "threads wait for each other at different barriers",
        ),
    ] {
        let (succeeded, said) = run(&[what]);
        assert!(!succeeded && said.contains(expected), "{what}: {said}");
    }
}
