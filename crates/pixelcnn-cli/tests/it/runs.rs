//! Every command checks that the files in the folder of a run belong together.

use crate::test_folder::{DATA, TestFolder, config};

#[test]
fn the_model_of_another_run_is_refused() {
    let place = TestFolder::with_run();
    place.write("other.toml", &config(4, 2).replace("seed = 1", "seed = 2"));
    place.json("train --config other.toml --out other --json");
    for file in ["config.json", "model.safetensors"] {
        let (from, to) = (format!("other/best/{file}"), format!("run/best/{file}"));
        std::fs::copy(place.path(&from), place.path(&to)).unwrap();
    }
    for command in [
        "eval --model run",
        "eval --model run/best",
        "info --model run",
        "sample --model run --count 1 --out a.png",
        "train --config tiny.toml --out run",
    ] {
        place.fails(
            command,
            &["best/model.safetensors", "other settings or data"],
        );
    }
    // A model outside a run belongs to no run.
    std::fs::rename(place.path("run/best"), place.path("alone")).unwrap();
    place.json(&format!("eval --model alone --data {} --json", DATA));
    place.fails(
        "eval --model run",
        &["finished run", "best/config.json is missing"],
    );
    let parts = ["best/model.safetensors", "its best model is missing"];
    place.fails("train --config tiny.toml --out run", &parts);
}

/// The folder of a run that was refused, or failed before its first checkpoint, can be used
/// again.
#[test]
fn a_folder_without_a_checkpoint_can_be_used_again() {
    let place = TestFolder::new();
    place.write(
        "bad.toml",
        &config(4, 2).replace("learning_rate = ", "learning_rate = 1e30 # "),
    );
    place.fails(
        "train --config bad.toml --out run",
        &["not finite", "training.learning_rate"],
    );
    assert!(place.path("run/run.toml").exists());
    place.json("train --config tiny.toml --out run --json");
    place.json("train --config tiny.toml --out whole --json");
    let model = "best/model.safetensors";
    assert!(place.bytes(&format!("run/{model}")) == place.bytes(&format!("whole/{model}")));
}
