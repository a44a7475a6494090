//! The gates and states of some pixels, and their gradients.

use crate::Level;
use crate::arithmetic::{sigmoid, tanh_and_sigmoid};
use crate::lanes::Lanes;
use crate::level::dispatch;

/// Some pixels of a step, `[pixel, map]` each.
pub(super) struct Forward<'a> {
    pub maps: usize,
    /// The sums before the gates; then the gates, in the order o, f, i, g.
    pub gates: &'a mut [f32],
    pub cells_before: &'a [f32],
    pub cells: &'a mut [f32],
    pub hidden: &'a mut [f32],
}

pub(super) fn forward(level: Level, pixels: Forward) {
    dispatch!(level, forward_by_lanes(pixels: Forward));
}

#[inline(always)]
fn forward_by_lanes<L: Lanes>(pixels: Forward) {
    let maps = pixels.maps;
    let states = pixels.cells.chunks_exact_mut(maps);
    let states = states.zip(pixels.hidden.chunks_exact_mut(maps));
    let before = pixels.cells_before.chunks_exact(maps);
    for ((gates, before), (cells, hidden)) in pixels
        .gates
        .chunks_exact_mut(4 * maps)
        .zip(before)
        .zip(states)
    {
        let (o, rest) = gates.split_at_mut(maps);
        let (f, rest) = rest.split_at_mut(maps);
        let (i, g) = rest.split_at_mut(maps);
        for map in 0..maps {
            let (content, input) = tanh_and_sigmoid::<L>(g[map], i[map]);
            let forget = sigmoid::<L>(f[map]);
            let cell = forget * before[map] + input * content;
            let (tanh, output) = tanh_and_sigmoid::<L>(cell, o[map]);
            (o[map], f[map], i[map], g[map]) = (output, forget, input, content);
            (cells[map], hidden[map]) = (cell, output * tanh);
        }
    }
}

/// Some pixels of a step, `[pixel, map]` each.
pub(super) struct Backward<'a> {
    pub maps: usize,
    /// The gates; then the gradients of the sums before them.
    pub gates: &'a mut [f32],
    pub cells_before: &'a [f32],
    /// The gradients of the hidden states.
    pub of_hidden: &'a [f32],
    /// The gradients of the cells; then of the cells before.
    pub of_cells: &'a mut [f32],
}

pub(super) fn backward(level: Level, pixels: Backward) {
    dispatch!(level, backward_by_lanes(pixels: Backward));
}

#[inline(always)]
fn backward_by_lanes<L: Lanes>(pixels: Backward) {
    let maps = pixels.maps;
    let before = pixels.cells_before.chunks_exact(maps);
    let gradients = pixels.of_cells.chunks_exact_mut(maps);
    let gradients = gradients.zip(pixels.of_hidden.chunks_exact(maps));
    for ((gates, before), (of_cells, of_hidden)) in pixels
        .gates
        .chunks_exact_mut(4 * maps)
        .zip(before)
        .zip(gradients)
    {
        let (o, rest) = gates.split_at_mut(maps);
        let (f, rest) = rest.split_at_mut(maps);
        let (i, g) = rest.split_at_mut(maps);
        for map in 0..maps {
            let (output, forget, input, content) = (o[map], f[map], i[map], g[map]);
            let cell = forget * before[map] + input * content;
            let (tanh, _) = tanh_and_sigmoid::<L>(cell, 0.0);
            let of_output = of_hidden[map] * tanh;
            let of_cell = of_cells[map] + of_hidden[map] * output * (1.0 - tanh * tanh);
            o[map] = of_output * output * (1.0 - output);
            f[map] = of_cell * before[map] * forget * (1.0 - forget);
            i[map] = of_cell * content * input * (1.0 - input);
            g[map] = of_cell * input * (1.0 - content * content);
            of_cells[map] = of_cell * forget;
        }
    }
}
