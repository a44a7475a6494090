//! The definition of the mixture of logistics, in f64, one pixel at a time.

use super::super::LogisticMixture;

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn log_sum(logits: &[f64]) -> f64 {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    largest + total.ln()
}

/// `mean` in levels.
fn log_mass(mixture: &LogisticMixture, mean: f64, log_scale: f64, value: u32) -> f64 {
    let last = (mixture.levels - 1) as f64;
    let least = -7.0 - (last / 255.0).ln();
    let inverse = (-log_scale.max(least)).exp() * 2.0 / last;
    let distance = f64::from(value) - mean;
    let (below, above) = ((distance - 0.5) * inverse, (distance + 0.5) * inverse);
    match value {
        0 => -softplus(-above),
        value if f64::from(value) == last => -softplus(below),
        _ => {
            // ln(1 - e^-i); for a small i, ln i, from the logarithms because i can
            // underflow.
            let share = match inverse > 1e-8 {
                true => (-(-inverse).exp_m1()).ln(),
                false => -log_scale.max(least) + (2.0 / last).ln(),
            };
            share - softplus(-above) - softplus(below)
        }
    }
}

/// Nats of the values of a group of `values.len()` channels.
fn group(mixture: &LogisticMixture, parameters: &[f64], values: &[u32]) -> Vec<f64> {
    let (k, c) = (mixture.components, values.len());
    let half = 0.5 * (mixture.levels - 1) as f64;
    let mut joint = parameters[..k].to_vec();
    let mut before = log_sum(&joint);
    let mut nats = Vec::new();
    for j in 0..c {
        for (component, joint) in joint.iter_mut().enumerate() {
            let mut mean = parameters[k * (1 + j) + component];
            for (i, value) in values[..j].iter().enumerate() {
                let pair = j * (j - 1) / 2 + i;
                let coefficient = parameters[k * (1 + 2 * c + pair) + component];
                mean += coefficient.tanh() * (f64::from(*value) / half - 1.0);
            }
            let log_scale = parameters[k * (1 + c + j) + component];
            *joint += log_mass(mixture, (mean + 1.0) * half, log_scale, values[j]);
        }
        let after = log_sum(&joint);
        nats.push(before - after);
        before = after;
    }
    nats
}

/// Nats of each channel of a pixel.
pub(crate) fn nats(mixture: &LogisticMixture, parameters: &[f64], values: &[u32]) -> Vec<f64> {
    match mixture.coupled {
        true => group(mixture, parameters, values),
        false => parameters
            .chunks(3 * mixture.components)
            .zip(values)
            .flat_map(|(parameters, value)| group(mixture, parameters, &[*value]))
            .collect(),
    }
}
