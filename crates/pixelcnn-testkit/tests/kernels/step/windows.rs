//! The views of convolutions.

use super::{CHANNELS, GRIDS, Rows, TYPES, Type, noise, stride_of};
use crate::host::{Launch, can_run};

const IMAGES: usize = 2;

/// A convolution whose output has the size of its input.
#[derive(Clone, Copy, Debug)]
struct Window {
    size: (usize, usize),
    kernel: (usize, usize),
    /// Rows above and columns to the left of an output that its first tap sees.
    before: (isize, isize),
    dilation: usize,
    maps: usize,
    /// Of the maps and of the views.
    strides: (usize, usize),
}

impl Window {
    /// All sizes, kernels and paddings, with maps, dilations and strides in turn.
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for size in [(1, 1), (1, 5), (3, 1), (4, 6)] {
            for kernel in [(1, 1), (1, 3), (2, 2), (3, 1), (2, 3), (3, 4)] {
                // The last sees only what is outside.
                for before in [(0, 0), (1, 2), (-1, -2), (2, -1), (5, 7), (-9, 30)] {
                    let index = all.len();
                    let maps = CHANNELS[index % CHANNELS.len()];
                    let seen = kernel.0 * kernel.1 * maps;
                    all.push(Self {
                        size,
                        kernel,
                        before,
                        dilation: 1 + index / CHANNELS.len() % 2,
                        maps,
                        strides: (
                            [stride_of(maps), maps + 1, stride_of(maps) + 8][index / 3 % 3],
                            stride_of(seen) + 8 * (index / 2 % 2),
                        ),
                    });
                }
            }
        }
        all
    }

    fn rows(&self) -> usize {
        IMAGES * self.size.0 * self.size.1
    }

    fn seen(&self) -> usize {
        self.kernel.0 * self.kernel.1 * self.maps
    }

    /// All outputs, columns of views and inputs of which the column of the output is the input:
    /// `(row, column, row of the input, channel)`.
    fn pairs(&self) -> Vec<[usize; 4]> {
        let mut pairs = Vec::new();
        let (height, width) = self.size;
        let seen = |at: usize, tap: usize, before: isize, size: usize| {
            let seen = at.checked_add_signed((tap * self.dilation) as isize - before);
            seen.filter(|at| *at < size)
        };
        for (image, y, x) in places([IMAGES, height, width]) {
            for (r, s, channel) in places([self.kernel.0, self.kernel.1, self.maps]) {
                let from = (
                    seen(y, r, self.before.0, height),
                    seen(x, s, self.before.1, width),
                );
                if let (Some(from_y), Some(from_x)) = from {
                    pairs.push([
                        (image * height + y) * width + x,
                        (r * self.kernel.1 + s) * self.maps + channel,
                        (image * height + from_y) * width + from_x,
                        channel,
                    ]);
                }
            }
        }
        pairs
    }

    /// `Window` of step.cu.
    fn bytes(&self) -> Vec<u8> {
        let whole = [self.size.0, self.size.1, self.kernel.0, self.kernel.1];
        let before = [self.before.0, self.before.1].map(|it| it as i32);
        let rest = [self.dilation, self.maps, self.strides.0, self.strides.1];
        let whole = whole.map(|it| it as i32).into_iter().chain(before);
        let all = whole.chain(rest.map(|it| it as i32));
        all.flat_map(i32::to_le_bytes).collect()
    }

    fn launch(&self, name: &str, kind: Type) -> Launch {
        let start = kind.launch(name, GRIDS[self.maps % 2]);
        start.number(self.rows() as f64).bytes(&self.bytes())
    }

    /// What the kernel makes of maps, of which it writes every number.
    fn views(&self, maps: &Rows) -> Rows {
        let sizes = [self.rows(), self.strides.1, self.strides.1];
        let empty = Rows::written(maps.kind, sizes, false);
        let launch = self.launch("row_views", maps.kind).buffer(&maps.bytes());
        empty.left(&launch.buffer(&empty.bytes()).run()[1])
    }

    /// What the kernel makes of views, added to `before` if there is something to add to.
    fn sums(&self, views: &Rows, adds: bool, before: &Rows) -> Rows {
        let launch = self
            .launch("sums_of_row_views", views.kind)
            .buffer(&views.bytes())
            .number(before.stride as f64)
            .number(f64::from(u8::from(adds)));
        before.left(&launch.buffer(&before.bytes()).run()[1])
    }
}

fn places([a, b, c]: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a * b * c).map(move |it| (it / (b * c), it / c % b, it % c))
}

/// Views are the numbers that taps see, and zero outside; then 1 and zeros.
#[test]
fn views_are_what_taps_see() {
    if !can_run() {
        return;
    }
    for window in Window::all() {
        for kind in TYPES {
            let sizes = [window.rows(), window.maps, window.strides.0];
            let maps = Rows::read(kind, sizes, |row, channel| noise(1, row, channel));
            let mut expected = vec![0.0; window.rows() * window.strides.1];
            for [row, column, from, channel] in window.pairs() {
                expected[row * window.strides.1 + column] = maps.at(from, channel);
            }
            for row in expected.chunks_mut(window.strides.1) {
                row[window.seen()] = 1.0;
            }
            let found = window.views(&maps).numbers.into_iter().map(f64::from);
            assert_eq!(found.collect::<Vec<_>>(), expected, "{kind:?}, {window:?}");
        }
    }
}

/// The sums are the adjoint of the views: `<views(x), v> = <x, sums(v)>`.
#[test]
fn sums_of_views_are_their_adjoint() {
    if !can_run() {
        return;
    }
    for window in Window::all() {
        for kind in TYPES {
            let what = format!("{kind:?}, {window:?}");
            let sizes = [window.rows(), window.seen(), window.strides.1];
            let views = Rows::read(kind, sizes, |row, column| noise(2, row, column));
            let mut expected = vec![0.0; window.rows() * window.maps];
            for [row, column, to, channel] in window.pairs() {
                expected[to * window.maps + channel] += views.at(row, column);
            }
            let sizes = [window.rows(), window.maps, window.strides.0];
            for adds in [false, true] {
                let before = Rows::written(kind, sizes, adds);
                let found = window.sums(&views, adds, &before);
                found.check(&what, &before, 10.0, |row, channel| {
                    let base = if adds { before.at(row, channel) } else { 0.0 };
                    base + expected[row * window.maps + channel]
                });
            }

            let maps = Rows::read(kind, sizes, |row, channel| noise(1, row, channel));
            let seen = window.views(&maps);
            let sums = window.sums(&views, false, &Rows::written(kind, sizes, false));
            let product = |one: &Rows, other: &Rows, columns: usize| {
                let all = places([window.rows(), 1, columns]);
                let terms = all.map(|(row, _, it)| one.at(row, it) * other.at(row, it));
                terms.fold((0.0, 1e-30), |(sum, size), it| (sum + it, size + it.abs()))
            };
            let (there, _) = product(&seen, &views, window.seen());
            let (back, size) = product(&maps, &sums, window.maps);
            let allowed = kind.allowed(size, size);
            assert!((there - back).abs() <= allowed, "{what}: {there} {back}");
        }
    }
}
