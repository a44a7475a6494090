//! Common parts of pages: bits/dim under conditions, and the origin of the numbers.

use serde_json::json;

use super::format::{duration, plus_minus, with_commas};
use super::run::describe_data;
use super::{ExperimentRunner, Likelihood, Page, Table};

impl Likelihood {
    /// The number for the index; `what` names the images or models.
    pub(crate) fn headline(&self, what: &str) -> String {
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

/// Bits/dim of models on the test images, with the condition of each image and with that of
/// another image.
pub(crate) fn likelihood_table(rows: &[(&str, &Likelihood)]) -> Table {
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
            with_commas(likelihood.images),
        ]);
    }
    table
}

impl ExperimentRunner<'_> {
    /// Adds the preset, the runs, the commands and all answers to a page.
    pub(super) fn add_summary(&self, page: &mut Page) {
        let (preset, device) = (self.preset(), self.device());
        page.notes.push(format!(
            "Preset `{preset}`, device `{device}`; ± is one standard error over images."
        ));
        page.notes.extend(preset.warning().map(str::to_owned));
        page.tables.push(self.table_of_runs());
        let commands = self.answered.iter().map(|it| it.command.clone());
        page.commands.extend(commands);
        let numbers = [
            ("preset", json!(preset.to_string())),
            ("device", json!(device)),
            ("runs", json!(self.trained)),
            ("answers", json!(self.answered)),
        ];
        let numbers = numbers.map(|(name, value)| (name.to_owned(), value));
        page.numbers.extend(numbers);
    }

    fn table_of_runs(&self) -> Table {
        let mut table = Table::new(
            "Runs",
            [
                "Run",
                "Data",
                "Seed",
                "Parameters",
                "Updates",
                "Images seen",
                "Training time",
                "Validation",
            ],
        );
        for run in &self.trained {
            let training = &run.training;
            let score = training.valid_score;
            table.rows.push(vec![
                run.name.to_owned(),
                describe_data(&run.data, run.shrink),
                run.seed.to_string(),
                with_commas(training.parameters),
                with_commas(training.steps),
                with_commas(training.images_seen),
                duration(training.seconds),
                score.map_or_else(String::new, |it| format!("{it:.3} {}", training.unit)),
            ]);
        }
        table
    }
}
