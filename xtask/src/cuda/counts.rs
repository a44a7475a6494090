//! What a program asked of the driver that stands in for CUDA's.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

/// Calls by name, and their amounts: threads of a kernel, operations of a product, bytes else.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Counts(BTreeMap<String, (f64, f64)>);

impl Counts {
    /// Reads the file that the driver wrote.
    ///
    /// # Errors
    /// When it cannot be read or a line is not three columns.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("no counts in {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let line = |line: &str| {
            let columns: Vec<&str> = line.split('\t').collect();
            let [name, calls, amount] = columns[..] else {
                anyhow::bail!("three columns expected, found {line:?}");
            };
            Ok((name.to_owned(), (calls.parse()?, amount.parse()?)))
        };
        Ok(Self(text.lines().map(line).collect::<Result<_>>()?))
    }

    /// What one step asked for: `self` counts `steps` steps more than `fewer`.
    pub(crate) fn per_step(&self, fewer: &Self, steps: f64) -> Self {
        let difference = |(name, (calls, amount)): (&String, &(f64, f64))| {
            let (less, smaller) = fewer.0.get(name).copied().unwrap_or_default();
            let per_step = ((calls - less) / steps, (amount - smaller) / steps);
            (per_step.0 != 0.0).then(|| (name.clone(), per_step))
        };
        Self(self.0.iter().filter_map(difference).collect())
    }

    /// The calls whose name has this start.
    pub(crate) fn calls(&self, start: &str) -> f64 {
        let fitting = self.0.iter().filter(|(name, _)| name.starts_with(start));
        // A sum of nothing is -0.
        fitting.map(|(_, (calls, _))| calls).sum::<f64>() + 0.0
    }

    /// The most bytes that were allocated at a time.
    pub(crate) fn peak(&self) -> f64 {
        self.0.get("peak").map_or(0.0, |(_, bytes)| *bytes)
    }

    /// Kernels, products and fills: everything that the device starts.
    pub(crate) fn launches(&self) -> f64 {
        ["kernel ", "product", "fill", "random numbers"]
            .map(|start| self.calls(start))
            .iter()
            .sum()
    }

    /// A line for each name, the most frequent first.
    pub(crate) fn table(&self) -> String {
        let mut rows: Vec<_> = self.0.iter().collect();
        rows.sort_by(|a, b| b.1.0.total_cmp(&a.1.0));
        let row = |(name, (calls, amount)): (&String, &(f64, f64))| {
            format!("  {name:<44}{calls:>9.1}{amount:>18.0}\n")
        };
        rows.into_iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_the_difference_of_two_runs() {
        let long = "kernel add\t30\t300\nproduct\t12\t48\npeak\t1\t99\ncopy to the device\t7\t7\n";
        let short = "kernel add\t10\t100\nproduct\t2\t8\npeak\t1\t99\ncopy to the device\t7\t7\n";
        let [long, short] = [long, short].map(|text| Counts::parse(text).unwrap());
        let step = long.per_step(&short, 10.0);
        assert_eq!(step.launches(), 3.0);
        assert_eq!(step.calls("copy"), 0.0);
        assert_eq!(long.peak(), 99.0);
        assert_eq!(step.table().lines().count(), 2);
        assert!(step.table().starts_with("  kernel add"));
    }

    #[test]
    fn a_line_that_is_cut_off_is_an_error() {
        let error = Counts::parse("kernel add\t30").unwrap_err().to_string();
        assert!(error.contains("three columns"), "{error}");
    }
}
