//! The table that shows the gain by a condition.

use super::format::{grouped, plus_minus};
use super::{Likelihood, Table};

impl Likelihood {
    /// The number for the index; `what` names the images or models.
    pub fn headline(&self, what: &str) -> String {
        let own = plus_minus(self.bits_per_dim, self.std_err);
        let other = self.shuffled.as_ref().map_or_else(String::new, |it| {
            format!(
                "; {:.3} given the condition of another image",
                it.bits_per_dim
            )
        });
        format!("{what}: {own} bits/dim{other}")
    }
}

/// Bits/dim of models on the test images, given the condition of each image and
/// given that of another image.
pub fn likelihoods(rows: &[(&str, &Likelihood)]) -> Table {
    let mut table = Table::new(
        "Bits/dim on the test images",
        [
            "Model",
            "Own condition, or none",
            "Another image's condition",
            "Difference",
            "Images",
        ],
    );
    for (model, likelihood) in rows {
        let shuffled = likelihood.shuffled.as_ref();
        table.rows.push(vec![
            (*model).to_owned(),
            plus_minus(likelihood.bits_per_dim, likelihood.std_err),
            shuffled.map_or_else(String::new, |it| format!("{:.3}", it.bits_per_dim)),
            shuffled.map_or_else(String::new, |it| plus_minus(it.difference, it.std_err)),
            grouped(likelihood.images),
        ]);
    }
    table
}
