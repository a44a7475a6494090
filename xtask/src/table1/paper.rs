//! Table 1 as published, CIFAR-10, bits/dim; and the row that is only measured here.

use serde::Serialize;

/// One row of the table.
pub(super) struct Row {
    pub model: &'static str,
    /// `None` for a model that the paper does not have.
    pub paper: Option<Published>,
    /// The name of the run here, if there is one.
    pub run: Option<&'static str>,
}

/// The paper's numbers in bits/dim.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Published {
    pub test: f64,
    pub train: Option<f64>,
}

/// The rows in the paper's order, and the Gated PixelCNN with what lowers bits/dim in the same
/// time (`cargo xtask ablations`).
#[expect(clippy::approx_constant, reason = "PixelCNN reached 3.14 bits/dim")]
pub(super) const ROWS: [Row; 13] = [
    row("Uniform Distribution", 8.00, None, Some("uniform")),
    row("Multivariate Gaussian", 4.70, None, Some("gaussian")),
    row("NICE", 4.48, None, None),
    row("Deep Diffusion", 4.20, None, None),
    row("DRAW", 4.13, None, None),
    row("Deep GMMs", 4.00, None, None),
    row("Conv DRAW", 3.58, Some(3.57), None),
    row("RIDE", 3.47, None, None),
    row("PixelCNN", 3.14, Some(3.08), Some("pixelcnn")),
    // The paper has only the Diagonal BiLSTM; its reference 30 has both.
    row("PixelRNN (Row LSTM)", 3.07, None, Some("pixelrnn-row-lstm")),
    row(
        "PixelRNN (Diagonal BiLSTM)",
        3.00,
        Some(2.93),
        Some("pixelrnn-diagonal-bilstm"),
    ),
    row("Gated PixelCNN", 3.03, Some(2.90), Some("gated-pixelcnn")),
    Row {
        model: "Gated PixelCNN, ours",
        paper: None,
        run: Some("gated-pixelcnn-ours"),
    },
];

const fn row(model: &'static str, test: f64, train: Option<f64>, run: Option<&'static str>) -> Row {
    let paper = Some(Published { test, train });
    Row { model, paper, run }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table1::NAMES;

    #[test]
    fn every_run_has_its_row() {
        let runs: Vec<_> = ROWS.iter().filter_map(|row| row.run).collect();
        assert_eq!(runs, NAMES);
    }
}
