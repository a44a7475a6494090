//! Grids of codes.

use std::fmt;
use std::path::PathBuf;

use super::options::Options;

/// Files of grids of codes, such as those of a VQ-VAE: integers `[n, h, w]`, or
/// `[n, c, h, w]` with several codes per position, each from 0 to `levels - 1`.
///
/// A `.npy` file has the codes; labels are read from `NAME.labels.npy` beside
/// `NAME.npy` if this file exists. A `.safetensors` file has the tensor `codes`
/// and optionally `labels`. Types are u8, u16, u32, i32 and i64 (`.npy`: also
/// i16), little-endian.
///
/// ```
/// use pixelcnn_data::{DataSpec, TokensSpec};
///
/// let spec = TokensSpec {
///     train: "codes.npy".into(),
///     valid: None,
///     test: Some("test.npy".into()),
///     levels: Some(512),
/// };
/// let text = "tokens:codes.npy,test=test.npy,levels=512";
/// assert_eq!(text.parse::<DataSpec>()?, DataSpec::Tokens(spec));
/// # Ok::<(), pixelcnn_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokensSpec {
    /// The training grids.
    pub train: PathBuf,
    /// The validation grids; without them, every tenth training grid.
    pub valid: Option<PathBuf>,
    /// The test grids; without them, the split is empty.
    pub test: Option<PathBuf>,
    /// Number of codes; without it, the largest code of all files plus one.
    pub levels: Option<usize>,
}

/// The text after `tokens:` in a spec.
impl fmt::Display for TokensSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.train.display())?;
        for (key, file) in [("valid", &self.valid), ("test", &self.test)] {
            if let Some(path) = file {
                write!(formatter, ",{key}={}", path.display())?;
            }
        }
        match self.levels {
            Some(levels) => write!(formatter, ",levels={levels}"),
            None => Ok(()),
        }
    }
}

/// Parses the text after `tokens:`; the error is only the reason.
pub(super) fn parse(text: &str) -> Result<TokensSpec, String> {
    let needs = "it needs a file of codes: use tokens:FILE.npy or tokens:FILE.safetensors";
    let options = Options::read(text, needs, &["valid=FILE", "test=FILE", "levels=N"])?;
    let file = |key| options.value(key).map(PathBuf::from);
    let levels = options.value("levels").map(|text| {
        let levels = text
            .parse()
            .ok()
            .filter(|levels| (2..=1 << 16).contains(levels));
        levels.ok_or_else(|| format!("levels={text} is not a number from 2 to 65536"))
    });
    Ok(TokensSpec {
        train: options.path(),
        valid: file("valid"),
        test: file("test"),
        levels: levels.transpose()?,
    })
}
