//! The part of every page that says how its numbers were computed.

use serde_json::json;

use super::format::{duration, grouped};
use super::run::named;
use super::{Laboratory, Page, Table};

impl Laboratory<'_> {
    /// Adds the preset, the runs, the commands and all answers to a page.
    pub(super) fn summarise(&self, page: &mut Page) {
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
                named(&run.data, run.shrink),
                run.seed.to_string(),
                grouped(training.parameters),
                grouped(training.steps),
                grouped(training.images_seen),
                duration(training.seconds),
                score.map_or_else(String::new, |it| format!("{it:.3} {}", training.unit)),
            ]);
        }
        table
    }
}
