//! The table as Markdown, aligned so that it reads well in a terminal.

use std::collections::BTreeSet;

use super::plan::Preset;
use super::record::Results;
use super::table::{Row, Table};

/// The table with what must be known to read it.
pub fn markdown(table: &Table, results: &[(&str, Results)]) -> String {
    let test = counts(results.iter().map(|(_, it)| it.test.images));
    let train = counts(results.iter().map(|(_, it)| it.train.images));
    let header = [
        "Model".to_owned(),
        "Paper: CIFAR-10 test (train)".to_owned(),
        format!("Measured: test ({test} images)"),
        format!("Measured: train ({train} images)"),
        "Parameters".to_owned(),
        "Images seen".to_owned(),
        "Training time".to_owned(),
    ];
    let mut rows = vec![header];
    rows.extend(table.rows.iter().map(cells));
    format!("# Table 1, bits/dim\n\n{}\n{}", notes(table), align(&rows))
}

/// Hours, minutes and seconds, as far as they matter.
pub fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    // Rounded first, so that 59.9 s after the minute do not read 60 s.
    let whole = seconds.round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    match hours {
        0 => format!("{minutes} min {seconds:02} s"),
        _ => format!("{hours} h {minutes:02} min {seconds:02} s"),
    }
}

fn notes(table: &Table) -> String {
    let Table {
        preset, data, seed, ..
    } = table;
    let mut notes = format!(
        "The paper's column is CIFAR-10: the test set, the training set in brackets. The \
         measured\ncolumns are `{data}`, preset `{preset}`, seed {seed}; ± is one standard error \
         over images.\n`published only`: there is no such model here.\n"
    );
    if !is_cifar10(data) {
        notes += &format!(
            "\n**A run on `{data}` is not a CIFAR-10 number: the measured columns and the \
             paper's cannot be\ncompared.**\n"
        );
    }
    notes += match preset {
        Preset::Smoke => {
            "\n**Preset `smoke` only shows that everything runs: its numbers mean nothing.**\n"
        }
        Preset::Quick | Preset::Cpu => {
            "\n**This preset trains networks smaller than the paper's, and for less time: its \
             numbers are not\nwhat the models reach.**\n"
        }
        Preset::Paper => "",
    };
    notes
}

fn is_cifar10(data: &str) -> bool {
    data == "cifar10" || data.starts_with("cifar10:")
}

fn counts(images: impl Iterator<Item = u64>) -> String {
    let distinct: BTreeSet<u64> = images.collect();
    let texts: Vec<String> = distinct.into_iter().map(grouped).collect();
    texts.join(" or ")
}

fn cells(row: &Row) -> [String; 7] {
    let train = row.paper.train;
    let train = train.map_or_else(String::new, |train| format!(" ({train:.2})"));
    let paper = format!("{:.2}{train}", row.paper.test);
    let model = row.model.to_owned();
    let Some(measured) = &row.measured else {
        let none = String::new;
        let test = "published only".to_owned();
        return [model, paper, test, none(), none(), none(), none()];
    };
    [
        model,
        paper,
        format!("{:.3} ± {:.3}", measured.test, measured.test_std_err),
        format!("{:.3}", measured.train),
        grouped(measured.parameters),
        grouped(measured.images_seen),
        duration(measured.seconds),
    ]
}

/// The number with a comma between groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Pads every column to its widest cell: the first to the left, the others to
/// the right.
fn align<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let padded = row.iter().zip(widths).enumerate();
        let cells: Vec<String> = padded
            .map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        text += &format!("| {} |\n", cells.join(" | "));
        if index == 0 {
            text += &rule(&widths);
        }
    }
    text
}

fn rule(widths: &[usize]) -> String {
    let columns = widths.iter().enumerate();
    let cells: Vec<String> = columns
        .map(|(column, &width)| match column {
            0 => format!("{:-<width$}", ""),
            _ => format!("{:->width$}", ":"),
        })
        .collect();
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        assert_eq!(duration(0.04), "0.0 s");
        assert_eq!(duration(59.94), "59.9 s");
        assert_eq!(duration(119.7), "2 min 00 s");
        assert_eq!(duration(3725.0), "1 h 02 min 05 s");
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(180_732), "180,732");
        assert_eq!(grouped(1_000_000), "1,000,000");
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [["a", "± 1"], ["bcd", "2"]].map(|row| row.map(str::to_owned));
        let expected = "| a   | ± 1 |\n| --- | --: |\n| bcd |   2 |\n";
        assert_eq!(align(&rows), expected);
    }

    #[test]
    fn notes_depend_on_data_and_preset() {
        let notes = |preset, data: &str| {
            notes(&Table {
                preset,
                data: data.to_owned(),
                seed: 3,
                rows: Vec::new(),
            })
        };
        let paper = notes(Preset::Paper, "cifar10:/d");
        assert!(paper.contains("`cifar10:/d`, preset `paper`, seed 3"));
        assert!(!paper.contains("**"), "{paper}");
        let smoke = notes(Preset::Smoke, "cifar10");
        assert!(smoke.contains("its numbers mean nothing"));
        assert!(!smoke.contains("not a CIFAR-10 number"));
        let quick = notes(Preset::Quick, "cifar10-like");
        assert!(quick.contains("A run on `cifar10-like` is not a CIFAR-10 number"));
        assert!(quick.contains("numbers are not\nwhat the models reach"));
    }
}
