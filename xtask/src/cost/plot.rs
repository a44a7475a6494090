//! Validation scores against the time of training, as a picture.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// The validation scores of a run.
#[derive(Debug)]
pub(super) struct Curve {
    model: &'static str,
    /// Seconds of training, and bits/dim.
    points: Vec<(f64, f64)>,
}

/// A line of `metrics.jsonl`.
#[derive(Deserialize)]
struct Record {
    seconds: f64,
    valid_score: Option<f64>,
}

impl Curve {
    /// Reads the metrics of a run; without points if there are none, as in a dry run.
    ///
    /// # Errors
    /// When a line is not as expected.
    pub(super) fn read(model: &'static str, folder: &Path) -> Result<Self> {
        let path = folder.join("metrics.jsonl");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let mut points = Vec::new();
        for line in text.lines() {
            let record: Record =
                serde_json::from_str(line).with_context(|| path.display().to_string())?;
            points.extend(record.valid_score.map(|score| (record.seconds, score)));
        }
        Ok(Self { model, points })
    }

    /// The best score.
    pub(super) fn best(&self) -> Option<f64> {
        let scores = self.points.iter().map(|(_, score)| *score);
        scores.min_by(f64::total_cmp)
    }

    /// The time until a score was reached, by straight lines between the points.
    pub(super) fn time_to(&self, target: Option<f64>) -> Option<f64> {
        let target = target?;
        let mut before: Option<(f64, f64)> = None;
        for (seconds, score) in &self.points {
            if *score <= target {
                return Some(match before {
                    Some((start, first)) if first > *score => {
                        start + (seconds - start) * (first - target) / (first - score)
                    }
                    _ => *seconds,
                });
            }
            before = Some((*seconds, *score));
        }
        None
    }
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
/// Around the curves.
const SPACE: f64 = 60.0;
const COLOURS: [&str; 4] = ["#777777", "#1f77b4", "#d62728", "#2ca02c"];

/// A picture of all curves; `None` if none has a point.
pub(super) fn draw(curves: &[Curve]) -> Option<String> {
    let all = || curves.iter().flat_map(|curve| &curve.points);
    let longest = all().map(|(seconds, _)| *seconds).max_by(f64::total_cmp)?;
    let best = all().map(|(_, score)| *score).min_by(f64::total_cmp)?;
    let worst = all().map(|(_, score)| *score).max_by(f64::total_cmp)?;
    let (longest, range) = (longest.max(1e-9), (worst - best).max(1e-9));
    let x = |seconds: f64| SPACE + (WIDTH - 2.0 * SPACE) * seconds / longest;
    let y = |score: f64| SPACE + (HEIGHT - 2.0 * SPACE) * (worst - score) / range;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let text = |x: f64, y: f64, colour: &str, text: &str| {
        format!("<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{colour}\">{text}</text>\n")
    };
    for part in 0..=4 {
        let share = f64::from(part) / 4.0;
        let (seconds, score) = (longest * share, best + range * share);
        let label = format!("{seconds:.0} s");
        svg += &text(x(seconds) - 12.0, HEIGHT - SPACE + 20.0, "black", &label);
        svg += &text(8.0, y(score) + 4.0, "black", &format!("{score:.2}"));
        let _ = writeln!(
            svg,
            "<line x1=\"{SPACE}\" x2=\"{:.1}\" y1=\"{1:.1}\" y2=\"{1:.1}\" stroke=\"#dddddd\"/>",
            WIDTH - SPACE,
            y(score)
        );
    }
    for (index, (curve, colour)) in curves.iter().zip(COLOURS).enumerate() {
        let points = curve.points.iter();
        let points = points.map(|(seconds, score)| format!("{:.1},{:.1}", x(*seconds), y(*score)));
        let points = points.collect::<Vec<_>>().join(" ");
        let _ = writeln!(
            svg,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
        let line = 16.0 * index as f64;
        svg += &text(WIDTH - 260.0, SPACE + line, colour, curve.model);
    }
    svg += &text(8.0, 20.0, "black", "validation bits/dim");
    svg += "</svg>\n";
    Some(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(f64, f64)]) -> Curve {
        let (model, points) = ("one", points.to_vec());
        Curve { model, points }
    }

    #[test]
    fn a_score_is_reached_between_two_points() {
        let curve = curve(&[(10.0, 5.0), (20.0, 4.0), (30.0, 4.5)]);
        assert_eq!(curve.best(), Some(4.0));
        assert_eq!(curve.time_to(Some(4.5)), Some(15.0));
        assert_eq!(curve.time_to(Some(6.0)), Some(10.0));
        assert_eq!(curve.time_to(Some(3.0)), None);
        assert_eq!(curve.time_to(None), None);
    }

    #[test]
    fn curves_are_drawn_if_there_are_points() {
        assert!(draw(&[curve(&[])]).is_none());
        let svg = draw(&[curve(&[(1.0, 5.0), (2.0, 4.0)])]).unwrap();
        assert!(svg.contains("points=\"360.0,60.0 660.0,360.0\""), "{svg}");
    }

    #[test]
    fn metrics_without_a_validation_are_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let lines = "{\"seconds\": 1.0, \"valid_score\": null}\n\
                     {\"seconds\": 2.0, \"valid_score\": 4.5}\n";
        std::fs::write(folder.path().join("metrics.jsonl"), lines).unwrap();
        let curve = Curve::read("one", folder.path()).unwrap();
        assert_eq!(curve.points, [(2.0, 4.5)]);
    }
}
