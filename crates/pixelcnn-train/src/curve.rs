//! The curve of a run as a picture.

use std::ops::Range;
use std::path::Path;

use pixelcnn_system::write_file;
use plotters::prelude::*;

use crate::metrics::Record;
use crate::{Result, TrainError};

const WIDTH_AND_HEIGHT: (u32, u32) = (800, 500);
/// Readable if the picture is shown at half its size.
const FONT: (&str, u32) = ("sans-serif", 22);
/// Series of at most this many points mark each point.
const MARKED_POINTS: usize = 100;
const TRAIN: RGBColor = RGBColor(31, 119, 180);
const VALIDATION: RGBColor = RGBColor(214, 39, 40);

/// One line of the plot.
struct Series {
    label: &'static str,
    colour: RGBColor,
    points: Vec<(usize, f64)>,
}

/// Draws the training loss and the validation score by step into an SVG file; `unit` is
/// their unit.
///
/// Values that are missing or not finite are left out.
///
/// # Errors
///
/// [`TrainError::Invalid`] if no record has a value to draw, [`TrainError::Write`] if the file
/// cannot be written.
///
/// ```
/// use pixelcnn_train::curve::write_curve;
/// use pixelcnn_train::metrics::Record;
///
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("curve.svg");
/// let records = [(10, 5.5), (20, 4.8), (30, 4.5)].map(|(step, score)| Record {
///     step,
///     train_score: Some(score),
///     ..Record::default()
/// });
/// write_curve(&records, "bits/dim", &path)?;
/// assert!(std::fs::read_to_string(&path).unwrap().starts_with("<svg"));
/// # Ok::<(), pixelcnn_train::TrainError>(())
/// ```
pub fn write_curve(records: &[Record], unit: &str, path: &Path) -> Result<()> {
    let series = [
        series("train", TRAIN, records, |record| record.train_score),
        series("validation", VALIDATION, records, |record| {
            record.valid_score
        }),
    ];
    let points = || series.iter().flat_map(|series| series.points.iter());
    let (Some(steps), Some(bits)) = (
        step_range(points().map(|point| point.0)),
        bits_range(points().map(|point| point.1)),
    ) else {
        return Err(TrainError::Invalid {
            what: "curve".into(),
            why: format!("none of {} records has a finite value", records.len()),
        });
    };
    let mut svg = String::new();
    // Drawing goes to memory and can only fail because of the layout of the chart.
    draw(&mut svg, &series, (steps, bits), unit).map_err(|error| TrainError::Invalid {
        what: "curve".into(),
        why: error.to_string(),
    })?;
    write_file(path, svg.as_bytes()).map_err(TrainError::write(path))
}

fn series(
    label: &'static str,
    colour: RGBColor,
    records: &[Record],
    value: impl Fn(&Record) -> Option<f64>,
) -> Series {
    let points = records
        .iter()
        .filter_map(|record| Some((record.step, value(record).filter(|v| v.is_finite())?)))
        .collect();
    Series {
        label,
        colour,
        points,
    }
}

/// The range of steps: never empty, because the chart could not be scaled to it.
fn step_range(steps: impl Iterator<Item = usize> + Clone) -> Option<Range<usize>> {
    let (low, high) = (steps.clone().min()?, steps.max()?);
    if low < high {
        return Some(low..high);
    }
    Some(low.saturating_sub(1)..high.saturating_add(1))
}

/// The range of values, with a margin above and below.
fn bits_range(bits: impl Iterator<Item = f64> + Clone) -> Option<Range<f64>> {
    let (low, high) = (bits.clone().reduce(f64::min)?, bits.reduce(f64::max)?);
    // A fraction of the magnitude keeps the range non-empty for large values, whose
    // floating-point neighbours are far apart.
    let least = 1e-3 * low.abs().max(high.abs()).max(1.0);
    let margin = (0.05 * (high - low)).max(least);
    Some(low - margin..high + margin)
}

type DrawingResult = std::result::Result<(), DrawingAreaErrorKind<std::io::Error>>;

fn draw(
    svg: &mut String,
    series: &[Series],
    (steps, bits): (Range<usize>, Range<f64>),
    unit: &str,
) -> DrawingResult {
    let area = SVGBackend::with_string(svg, WIDTH_AND_HEIGHT).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        // The last step is at the edge.
        .margin_right(48)
        .x_label_area_size(60)
        .y_label_area_size(92)
        .build_cartesian_2d(steps, bits)?;
    chart
        .configure_mesh()
        .x_desc("step")
        .y_desc(unit)
        .x_labels(6)
        .y_labels(7)
        .y_label_formatter(&|value| format!("{value:.3}"))
        .label_style(FONT)
        .axis_desc_style(FONT)
        .light_line_style(WHITE)
        .draw()?;
    for Series {
        label,
        colour,
        points,
    } in series.iter().filter(|s| !s.points.is_empty())
    {
        let size = if points.len() <= MARKED_POINTS { 3 } else { 0 };
        let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(size);
        let key = |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2));
        chart.draw_series(line)?.label(*label).legend(key);
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .label_font(FONT)
        .draw()?;
    area.present()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(step: usize, train: Option<f64>, valid: Option<f64>) -> Record {
        Record {
            step,
            train_score: train,
            valid_score: valid,
            ..Record::default()
        }
    }

    fn svg(records: &[Record]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("curve.svg");
        write_curve(records, "bits/dim", &path).unwrap();
        std::fs::read_to_string(&path).unwrap()
    }

    /// The points of the first line of a colour.
    fn line(svg: &str, colour: &str) -> Vec<(i32, i32)> {
        let stroke = format!("stroke=\"{colour}\"");
        let mut lines = svg
            .lines()
            .filter(|l| l.starts_with("<polyline") && l.contains(&stroke));
        let line = lines.next().unwrap_or_default();
        let points = line.split("points=\"").nth(1).unwrap_or_default();
        let points = points.split('"').next().unwrap_or_default();
        points
            .split_whitespace()
            .map(|point| {
                let (x, y) = point.split_once(',').unwrap();
                (x.parse().unwrap(), y.parse().unwrap())
            })
            .collect()
    }

    #[test]
    fn lines_follow_the_values_and_skip_non_finite_ones() {
        let svg = svg(&[
            record(0, Some(8.0), Some(7.0)),
            record(10, Some(f64::NAN), None),
            record(50, Some(6.0), Some(f64::INFINITY)),
            record(100, Some(4.0), Some(5.0)),
        ]);
        let train = line(&svg, "#1F77B4");
        assert_eq!(train.len(), 3, "{svg}");
        assert!(
            (train[0].0 + train[2].0 - 2 * train[1].0).abs() <= 1,
            "{train:?}"
        );
        assert!(
            (train[0].1 + train[2].1 - 2 * train[1].1).abs() <= 1,
            "{train:?}"
        );
        // SVG counts rows from the top: a falling curve has growing rows.
        assert!(
            train[0].0 < train[2].0 && train[0].1 < train[2].1,
            "{train:?}"
        );
        let valid = line(&svg, "#D62728");
        assert_eq!(valid.len(), 2);
        assert_eq!((valid[0].0, valid[1].0), (train[0].0, train[2].0));
        assert!(valid[0].1 > train[0].1 && valid[1].1 < train[2].1);
    }

    #[test]
    fn axes_and_lines_are_labelled() {
        let both = svg(&[
            record(1, Some(8.0), Some(7.0)),
            record(2, Some(4.0), Some(5.0)),
        ]);
        for label in ["step", "bits/dim", "train", "validation"] {
            assert!(
                both.lines().any(|line| line.trim() == label),
                "{label}: {both}"
            );
        }
        let train = svg(&[record(1, Some(8.0), None), record(2, Some(4.0), None)]);
        assert!(!train.contains("validation"));
    }

    #[test]
    fn degenerate_ranges_still_draw_their_points() {
        for (records, circles) in [
            (vec![record(0, Some(4.0), None)], 1),
            (vec![record(7, None, Some(4.0))], 1),
            (
                vec![
                    record(5, Some(4.0), Some(4.0)),
                    record(9, Some(4.0), Some(4.0)),
                ],
                4,
            ),
            (
                vec![record(5, Some(0.0), None), record(5, Some(0.0), None)],
                2,
            ),
            (vec![record(usize::MAX, Some(1e-300), None)], 1),
            (
                vec![
                    record(0, Some(1e300), None),
                    record(usize::MAX, Some(-1e300), None),
                ],
                2,
            ),
        ] {
            let svg = svg(&records);
            assert_eq!(svg.matches("<circle").count(), circles, "{svg}");
            assert!(!svg.contains("NaN"), "{svg}");
        }
    }

    #[test]
    fn a_single_point_is_in_the_middle_of_the_plot() {
        let svg = svg(&[record(7, Some(4.0), None)]);
        let circle = svg.lines().find(|line| line.starts_with("<circle"));
        let circle = circle.unwrap();
        assert!(circle.contains("cx=\"429\" cy=\"220\""), "{circle}");
    }

    #[test]
    fn long_runs_are_drawn_without_marks() {
        let records: Vec<_> = (0..101).map(|step| record(step, Some(4.0), None)).collect();
        let svg = svg(&records);
        assert_eq!(svg.matches("<circle").count(), 0);
        assert_eq!(line(&svg, "#1F77B4").len(), 101);
    }

    #[test]
    fn nothing_to_draw_is_an_error_and_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("curve.svg");
        for records in [vec![], vec![record(1, None, Some(f64::NAN))]] {
            let error = write_curve(&records, "bits/dim", &path)
                .unwrap_err()
                .to_string();
            let count = records.len();
            assert_eq!(
                error,
                format!("invalid curve: none of {count} records has a finite value")
            );
            assert!(!path.exists());
        }
        let absent = folder.path().join("absent").join("curve.svg");
        let error = write_curve(&[record(1, Some(4.0), None)], "bits/dim", &absent).unwrap_err();
        let absent = absent.parent().unwrap().display();
        assert_eq!(
            error.to_string(),
            format!("{absent}: there is no such folder")
        );
    }
}
