//! Short programs, one file each. `cargo run --release --example NAME -- ARGUMENTS`:
//!
//! | name | what it shows |
//! |---|---|
//! | `bits_per_dim` | the bits/dim of one picture, in ten lines |
//! | `gated_block` | gated blocks in your own network |
//! | `train_on_folder` | training on a folder of pictures |
//! | `sample_checkpoint` | samples of a trained model |
//! | `prior_over_codes` | a prior over the codes in a `.npy` file |
//! | `photo_codes` | codes of photographs, and pictures of codes |
//!
//! The program `pixelcnn` knows only its own kinds of network. A kind of your own needs a
//! program of your own.
