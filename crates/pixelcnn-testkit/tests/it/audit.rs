//! The audit: every network of the table is correct, its field has the size of the formula,
//! and faults of every kind are found.

use candle_core::{Device, Tensor};
use pixelcnn_models::audit::{Fault, Field, Frame, Offset, Report, audit, compare};
use pixelcnn_models::{GatedPixelCnnConfig, Model, ModelConfig, PixelCnnConfig};
use pixelcnn_testkit::models::networks;

fn report(config: &ModelConfig) -> Report {
    let (model, _) = Model::initialise(config, 1, &Device::Cpu).unwrap();
    audit(config, model.tensors()).unwrap()
}

/// Causality, reach and colour order are exact.
#[test]
fn every_network_is_sound() {
    for case in networks() {
        let report = report(&case.config);
        assert_eq!(report.findings, [], "{}", case.name);
        assert_eq!(report.reached, report.analytic, "{}", case.name);
    }
}

/// Rows -R..-1 by columns -R..R, columns -R..-1 of the current row, and the
/// earlier colours of the pixel itself.
fn rectangle(reach: isize, channels: usize, output: usize) -> Field {
    let above = (-reach..=-1).flat_map(|row| (-reach..=reach).map(move |column| (row, column)));
    let left = (-reach..=-1).map(|column| (0, column));
    let pixels = above.chain(left);
    let whole = pixels.flat_map(|(row, column)| {
        (0..channels).map(move |channel| Offset {
            row,
            column,
            channel,
        })
    });
    let own = (0..output).map(|channel| Offset {
        row: 0,
        column: 0,
        channel,
    });
    whole.chain(own).collect()
}

#[test]
fn the_gated_field_is_the_whole_rectangle() {
    for case in networks() {
        let Some(config) = case.config.get::<GatedPixelCnnConfig>() else {
            continue;
        };
        if config.dilations == [3] {
            continue; // gaps by design
        }
        let dilations = config.dilations.iter().cycle().take(config.blocks);
        let later: usize = dilations
            .map(|dilation| dilation * (config.kernel - 1) / 2)
            .sum();
        let reach = (config.first_kernel - 1) / 2 + later;
        let (model, _) = Model::initialise(&case.config, 1, &Device::Cpu).unwrap();
        let found = model.network().unwrap().graph().reach();
        assert_eq!(found, Some([reach; 3]), "{}", case.name);
        let report = report(&case.config);
        if config.one_stack {
            // Figure 1, top right.
            assert!(report.blind_by_design > 0, "{}", case.name);
            continue;
        }
        for (output, field) in report.reached.iter().enumerate() {
            // Coupled channels are predicted together.
            let groups = config.distribution.groups(&config.image).unwrap();
            let earlier = if groups.channels() == 1 { 0 } else { output };
            let expected = rectangle(reach as isize, config.image.channels, earlier);
            assert!(*field == expected, "{}", case.name);
        }
        assert_eq!(report.blind_by_design, 0, "{}", case.name);
    }
}

/// Figure 1, top right: the plain network does not reach all earlier pixels.
#[test]
fn the_plain_network_has_its_blind_spot() {
    for case in networks() {
        if let Some(config) = case.config.get::<PixelCnnConfig>() {
            let report = report(&case.config);
            assert!(report.blind_by_design > 0, "{}", case.name);
            // A path reaches row -1 by one step up and right, in the first kernel or in a
            // later one. After a later one, the first kernel follows; with one channel it
            // has no centre, so the path goes one pixel back to the left.
            let no_centre = usize::from(config.image.channels == 1);
            let (first, later) = (config.first_kernel / 2, config.kernel / 2 - no_centre);
            let row = report.reached[0].iter().filter(|offset| offset.row == -1);
            let right = row.map(|offset| offset.column).max();
            assert_eq!(right, Some(first.max(later) as isize), "{}", case.name);
        }
    }
}

/// A weight of zeros cuts a path; the audit names what is missing.
#[test]
fn a_cut_path_is_a_blind_spot() {
    let case = networks()
        .into_iter()
        .find(|case| case.name == "gated, kernel 3, 3 channels");
    let config = case.unwrap().config;
    let (model, _) = Model::initialise(&config, 1, &Device::Cpu).unwrap();
    for name in [
        "blocks.0.link.weight",
        "first.link.weight",
        "blocks.1.vertical.weight",
    ] {
        let mut tensors = model.tensors().clone();
        tensors.insert(name.to_string(), tensors[name].zeros_like().unwrap());
        let report = audit(&config, &tensors).unwrap();
        // Later links replace the first one.
        let cut = name != "first.link.weight" && name != "blocks.0.link.weight";
        assert_eq!(!report.findings.is_empty(), cut, "{name}");
        assert!(
            report.findings.iter().all(|f| f.fault == Fault::BlindSpot),
            "{name}"
        );
    }
}

/// Masked entries have no effect, whatever the file contains.
#[test]
fn a_file_cannot_open_the_mask() {
    for case in networks() {
        let (model, _) = Model::initialise(&case.config, 1, &Device::Cpu).unwrap();
        let ones = model
            .tensors()
            .iter()
            .map(|(name, tensor)| (name.clone(), (tensor + 0.01).unwrap()));
        let report = audit(&case.config, &ones.collect()).unwrap();
        assert_eq!(report.findings, [], "{}", case.name);
    }
}

fn shifted(image: &Tensor, rows: usize, columns: usize) -> candle_core::Result<Tensor> {
    // Position (y, x) of the result is (y + rows, x + columns) of the image.
    let (_, _, h, w) = image.dims4()?;
    let image = image.pad_with_zeros(2, 0, rows)?.narrow(2, rows, h)?;
    image
        .pad_with_zeros(3, 0, columns)?
        .narrow(3, columns, w)?
        .unsqueeze(2)
}

fn faults(
    network: impl Fn(&Tensor) -> candle_core::Result<Tensor>,
    fields: Vec<Field>,
) -> Vec<Fault> {
    let report = compare(Frame::around(&fields), fields, &network, &network).unwrap();
    let mut faults: Vec<_> = report
        .findings
        .iter()
        .map(|finding| finding.fault)
        .collect();
    faults.dedup();
    faults
}

#[test]
fn faults_of_every_kind_are_found() {
    let nothing = || vec![Field::new(); 2];
    let right = faults(|image| shifted(image, 0, 1), nothing());
    assert_eq!(right, [Fault::Leak]);
    let below = faults(|image| shifted(image, 1, 0), nothing());
    assert_eq!(below, [Fault::Leak]);
    let itself = faults(|image| image.unsqueeze(2), nothing());
    assert_eq!(itself, [Fault::ColourOrder]);
    // Channels in reverse order: the first sees the second of its own pixel.
    let swapped = |image: &Tensor| {
        let (first, second) = (image.narrow(1, 0, 1)?, image.narrow(1, 1, 1)?);
        Tensor::cat(&[&second, &first.zeros_like()?], 1)?.unsqueeze(2)
    };
    assert_eq!(faults(swapped, nothing()), [Fault::ColourOrder]);
    let above = |image: &Tensor| {
        let (_, _, h, _) = image.dims4()?;
        image.pad_with_zeros(2, 1, 0)?.narrow(2, 0, h)?.unsqueeze(2)
    };
    assert_eq!(faults(above, nothing()), [Fault::Outside]);
    let blind = |image: &Tensor| (image * 0.0)?.unsqueeze(2);
    let field = Field::from([Offset {
        row: -1,
        column: 0,
        channel: 0,
    }]);
    assert_eq!(
        faults(blind, vec![field.clone(), field]),
        [Fault::BlindSpot]
    );
}
