//! A few of the mutated inputs of `cargo xtask fuzz`, for each target.

use std::process::Command;

#[test]
fn mutated_files_are_refused_or_read_as_they_should_be() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_fuzz"))
        .args(["all", "--runs", "200", "--seed", "7", "--keep"])
        .arg(folder.path())
        .output()
        .unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{table}\n{errors}");
    // A header, and a line for each target.
    assert_eq!(table.lines().count(), 17, "{table}");
    for line in table.lines().skip(1) {
        let accepted: u32 = line.split_whitespace().nth(2).unwrap().parse().unwrap();
        // If all inputs were refused, only the first lines of the readers would be tested.
        assert!(accepted > 0, "{line}");
    }
}
