//! Short programs, one file each. `cargo run --release --example NAME -- ARGUMENTS`:
//!
//! | name | what it shows |
//! |---|---|
//! | `bits_per_dim` | the bits/dim of one picture, in ten lines |
//! | `gated_block` | gated blocks in a network of one's own |
//! | `train_on_folder` | training on a folder of pictures |
//! | `sample_checkpoint` | samples of a model that was trained |
//! | `prior_over_codes` | a prior over the codes in a `.npy` file |
//! | `photo_codes` | such codes, of photographs, and pictures of codes |
