//! The recurrent networks: the size of their fields, and the mistakes that are made in their
//! layers.

use candle_core::{DType, Device, Result, Tensor};
use pixelcnn_kernels::{Direction, lstm, lstm_paths};
use pixelcnn_models::audit::{Fault, Field, Frame, Offset, audit, compare};
use pixelcnn_models::{Model, PixelRnnConfig, RecurrentLayer};
use pixelcnn_testkit::models::networks;
use pixelcnn_testkit::wave;

/// The pixels of a field of one channel.
fn pixels(field: &Field) -> Vec<(isize, isize)> {
    field.iter().map(|it| (it.row, it.column)).collect()
}

/// The recurrent network of the table with one channel, and the field that gradients reach. The
/// image has 9 x 9 pixels, and the tested one is in row 6 and column 4.
fn reached(layer: RecurrentLayer) -> (PixelRnnConfig, Vec<(isize, isize)>) {
    let mut cases = networks().into_iter();
    let case = cases.find(|case| {
        let config = case.config.get::<PixelRnnConfig>();
        config.is_some_and(|it| it.layer == layer && it.image.channels == 1)
    });
    let config = case.expect("a recurrent network of one channel").config;
    let (model, _) = Model::initialise(&config, 1, &Device::Cpu).unwrap();
    let report = audit(&config, model.tensors()).unwrap();
    assert_eq!(report.findings, []);
    let sizes = config.get::<PixelRnnConfig>().cloned();
    (sizes.expect("a PixelRNN"), pixels(&report.reached[0]))
}

/// All pixels of the image that come before the tested one.
fn before() -> impl Iterator<Item = (isize, isize)> {
    let all = (-6..=0).flat_map(|row| (-4..=4).map(move |column| (row, column)));
    all.filter(|pixel| *pixel < (0, 0))
}

/// Each row up is wider by one on each side. To the left, each layer adds one column, and the
/// first kernel its half; to the right, the first kernel adds its half from the row above.
#[test]
fn the_row_lstm_sees_a_triangle() {
    let (config, found) = reached(RecurrentLayer::RowLstm);
    let (half, layers) = (config.first_kernel as isize / 2, config.blocks as isize);
    let expected = before().filter(|(row, column)| {
        let up = -row;
        (-(up + layers + half)..=up - 1 + half).contains(column)
    });
    assert_eq!(found, expected.collect::<Vec<_>>());
    assert!(found.len() < before().count(), "the triangle is cut off");
}

/// All but the last pixel of the row above, which nothing before the tested pixel contains.
#[test]
fn the_diagonal_bilstm_sees_the_image_before_the_pixel() {
    let (config, found) = reached(RecurrentLayer::DiagonalBilstm);
    assert!(config.first_kernel / 2 < 4);
    let expected: Vec<_> = before().filter(|pixel| *pixel != (-1, 4)).collect();
    assert_eq!(found, expected);
}

/// What can be wrong in a Diagonal BiLSTM.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mistake {
    None,
    /// The states of the second direction are shifted upwards.
    ShiftedUp,
    /// They are not shifted.
    NotShifted,
    /// The kernel reads the row below instead of the one above, as "same" padding does.
    RowBelow,
    /// The maps are read as `[w, h]`.
    Reinterpreted,
}

/// The states of one direction, computed by `scan`.
type Scan<'a> = &'a dyn Fn(&Tensor, Direction) -> Result<Tensor>;

/// Both directions over the image, whose pixels are first moved to the right by one, so that a
/// pixel does not see itself.
fn both_directions(image: &Tensor, scan: Scan, mistake: Mistake) -> Result<Tensor> {
    let (b, _, h, w) = image.dims4()?;
    let moved = image.pad_with_zeros(3, 1, 0)?.narrow(3, 0, w)?;
    let sums = Tensor::cat(&[&moved; 4], 1)?;
    let right = match mistake {
        Mistake::RowBelow => scan(&sums.flip(&[2])?, Direction::Right)?.flip(&[2])?,
        Mistake::Reinterpreted => {
            let states = scan(&sums.reshape((b, 4, w, h))?, Direction::Right)?;
            states.reshape((b, 1, h, w))?
        }
        _ => scan(&sums, Direction::Right)?,
    };
    let left = scan(&sums, Direction::Left)?;
    let left = match mistake {
        Mistake::ShiftedUp => left.narrow(2, 1, h - 1)?.pad_with_zeros(2, 0, 1)?,
        Mistake::NotShifted => left,
        _ => left.narrow(2, 0, h - 1)?.pad_with_zeros(2, 1, 0)?,
    };
    (right + left)?.unsqueeze(2)
}

fn faults(mistake: Mistake) -> Vec<Fault> {
    let frame = Frame {
        height: 7,
        width: 10,
        row: 4,
        column: 5,
    };
    // All pixels before this one, without the last one of each row, which is moved out.
    let rows = (-4..=0).flat_map(|row| (-5..=3).map(move |column| (row, column)));
    let seen = rows.filter(|pixel| *pixel < (0, 0));
    let field = seen.map(|(row, column)| Offset {
        row,
        column,
        channel: 0,
    });
    let weight = wave(&[4, 1, 2, 1], 0.3).unwrap();
    let initial = Tensor::zeros((2, 1), DType::F64, &Device::Cpu).unwrap();
    let real: Scan = &|sums, direction| lstm(sums, &weight, &initial, direction);
    let absolute = weight.abs().unwrap();
    let paths: Scan = &|sums, direction| lstm_paths(sums, &absolute, direction);
    let report = compare(
        frame,
        vec![field.collect()],
        &|image| both_directions(image, real, mistake),
        &|image| both_directions(image, paths, mistake),
    );
    let findings = report.unwrap().findings.into_iter();
    let mut faults: Vec<_> = findings.map(|finding| finding.fault).collect();
    faults.dedup();
    faults
}

#[test]
fn the_audit_finds_the_mistakes_of_a_diagonal_bilstm() {
    assert_eq!(faults(Mistake::None), []);
    for (mistake, fault) in [
        (Mistake::ShiftedUp, Fault::Leak),
        (Mistake::NotShifted, Fault::Leak),
        (Mistake::RowBelow, Fault::Leak),
        // The order of the pixels stays the same, but not which one is above which.
        (Mistake::Reinterpreted, Fault::BlindSpot),
    ] {
        assert!(faults(mistake).contains(&fault), "{mistake:?}");
    }
}
