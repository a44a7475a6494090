//! The networks of other programs, evaluated number by number in f64 from the tensors under
//! their own names.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use pixelcnn_import::Format;

/// `[map][row][column]`.
pub(super) type Maps = Vec<Vec<Vec<f64>>>;

/// A kernel entry `[output, input, row, column]`.
type Entry = [usize; 4];

/// The tensors of a file, and one image.
pub(super) struct Reference {
    tensors: BTreeMap<String, (Vec<usize>, Vec<f64>)>,
    height: usize,
    width: usize,
    label: usize,
}

fn gate(maps: &Maps) -> Maps {
    let half = maps.len() / 2;
    zip(&maps[..half], &maps[half..], |a, b| {
        a.tanh() / (1.0 + (-b).exp())
    })
}

fn zip(one: &[Vec<Vec<f64>>], other: &[Vec<Vec<f64>>], act: impl Fn(f64, f64) -> f64) -> Maps {
    let row = |(a, b): (&Vec<f64>, &Vec<f64>)| {
        let pairs = a.iter().zip(b);
        pairs.map(|(a, b)| act(*a, *b)).collect()
    };
    let map = |(a, b): (&Vec<Vec<f64>>, &Vec<Vec<f64>>)| a.iter().zip(b).map(row).collect();
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(map).collect()
}

fn add(one: &Maps, other: &Maps) -> Maps {
    zip(one, other, |a, b| a + b)
}

fn each(maps: &Maps, act: impl Fn(f64) -> f64) -> Maps {
    zip(maps, maps, |a, _| act(a))
}

fn relu(maps: &Maps) -> Maps {
    each(maps, |x| x.max(0.0))
}

/// Whether a kernel entry at the own pixel is open: interleaved colours.
fn colour(mask_a: bool, [output, input, ..]: Entry) -> bool {
    match mask_a {
        true => input % 3 < output % 3,
        false => input % 3 <= output % 3,
    }
}

impl Reference {
    pub(super) fn new(
        tensors: &BTreeMap<String, Tensor>,
        (height, width): (usize, usize),
        label: usize,
    ) -> Self {
        let numbers = |tensor: &Tensor| {
            let flat = tensor.to_dtype(DType::F64).unwrap().flatten_all();
            (tensor.dims().to_vec(), flat.unwrap().to_vec1().unwrap())
        };
        let tensors = tensors.iter();
        Self {
            tensors: tensors
                .map(|(name, it)| (name.clone(), numbers(it)))
                .collect(),
            height,
            width,
            label,
        }
    }

    /// The logits `[channel * levels + level]` of values `[channel][row][column]`.
    pub(super) fn logits(&self, format: Format, values: &Maps, levels: usize) -> Maps {
        let scaled = |low: f64, high: f64| {
            let step = (high - low) / (levels - 1) as f64;
            each(values, |value| low + step * value)
        };
        match format {
            Format::Uvadlc => self.uvadlc(&scaled(-1.0, 1.0)),
            Format::PytorchVqvae => self.pytorch_vqvae(&values[0]),
            Format::Anordertoreclaim => {
                let made = self.anordertoreclaim(&scaled(0.0, 1.0));
                // Level-major to channel-major.
                let order = (0..3).flat_map(|c| (0..levels).map(move |level| level * 3 + c));
                order.map(|map| made[map].clone()).collect()
            }
            _ => {
                let made = self.pytorch_generative(&scaled(0.0, 1.0));
                match made.len() {
                    1 => vec![each(&made, |_| 0.0).remove(0), made[0].clone()],
                    _ => made,
                }
            }
        }
    }

    fn vector(&self, name: &str) -> &[f64] {
        &self.tensors[name].1
    }

    /// A convolution: `place` gives the row and column, relative to the output, that a kernel
    /// entry reads, or nothing if it is closed.
    fn conv(
        &self,
        name: &str,
        input: &Maps,
        place: impl Fn(Entry) -> Option<(isize, isize)>,
    ) -> Maps {
        let (shape, weight) = &self.tensors[&format!("{name}.weight")];
        let bias = self.vector(&format!("{name}.bias"));
        let [outputs, inputs, rows, columns] = shape[..] else {
            panic!("{name}: {shape:?}");
        };
        assert_eq!(inputs, input.len(), "{name}");
        let blank = vec![vec![0.0; self.width]; self.height];
        let mut made = vec![blank; outputs];
        for (output, map) in made.iter_mut().enumerate() {
            map.iter_mut()
                .flatten()
                .for_each(|number| *number = bias[output]);
            for index in 0..inputs * rows * columns {
                let (i, kr, kc) = (
                    index / rows / columns,
                    index / columns % rows,
                    index % columns,
                );
                let Some((dr, dc)) = place([output, i, kr, kc]) else {
                    continue;
                };
                let factor = weight[output * inputs * rows * columns + index];
                for (row, numbers) in map.iter_mut().enumerate() {
                    for (column, number) in numbers.iter_mut().enumerate() {
                        let from = |at: usize, by: isize| at.checked_add_signed(by);
                        let (r, c) = (from(row, dr), from(column, dc));
                        let line = r.and_then(|r| input[i].get(r));
                        let value = c.and_then(|c| line?.get(c)).unwrap_or(&0.0);
                        *number += factor * value;
                    }
                }
            }
        }
        made
    }

    fn pixel(&self, name: &str, input: &Maps) -> Maps {
        self.conv(name, input, |_| Some((0, 0)))
    }

    /// Adds a vector of the label to all positions.
    fn with_class(&self, name: &str, maps: &Maps) -> Maps {
        let table = self.vector(name);
        let mut made = maps.clone();
        for (index, map) in made.iter_mut().enumerate() {
            let number = table[self.label * maps.len() + index];
            map.iter_mut().flatten().for_each(|it| *it += number);
        }
        made
    }

    fn side(&self, name: &str, side: usize) -> isize {
        self.tensors[&format!("{name}.weight")].0[side] as isize
    }

    fn uvadlc(&self, x: &Maps) -> Maps {
        const DILATIONS: [isize; 2] = [1, 2];
        let half = self.side("conv_vstack.conv", 3) / 2;
        let at = |[_, _, r, c]: Entry| (r as isize - half, c as isize - half);
        let mut v = self.conv("conv_vstack.conv", x, |entry| {
            Some(at(entry)).filter(|(r, _)| *r < 0)
        });
        let mut s = self.conv("conv_hstack.conv", x, |entry| {
            Some((0, at(entry).1)).filter(|(_, c)| *c < 0)
        });
        for (i, d) in DILATIONS.iter().enumerate() {
            let name = |part: &str| format!("conv_layers.{i}.{part}");
            let half = self.side(&name("conv_vert.conv"), 3) / 2;
            let at = |[_, _, r, c]: Entry| (d * (r as isize - half), d * (c as isize - half));
            let vertical = self.conv(&name("conv_vert.conv"), &v, |entry| {
                Some(at(entry)).filter(|(r, _)| *r <= 0)
            });
            let horizontal = self.conv(&name("conv_horiz.conv"), &s, |entry| {
                Some((0, at(entry).1)).filter(|(_, c)| *c <= 0)
            });
            let link = self.pixel(&name("conv_vert_to_horiz"), &vertical);
            v = gate(&vertical);
            let gated = gate(&add(&horizontal, &link));
            s = add(&s, &self.pixel(&name("conv_horiz_1x1"), &gated));
        }
        let elu = each(&s, |x| if x > 0.0 { x } else { x.exp() - 1.0 });
        self.pixel("conv_out", &elu)
    }

    fn pytorch_vqvae(&self, codes: &[Vec<f64>]) -> Maps {
        let (shape, table) = &self.tensors["embedding.weight"];
        let d = shape[1];
        let embedded = (0..d).map(|map| {
            let rows = codes.iter();
            let rows = rows.map(|row| row.iter().map(|code| table[*code as usize * d + map]));
            rows.map(Iterator::collect).collect()
        });
        let mut v: Maps = embedded.collect();
        let mut s = v.clone();
        for i in (0..).take_while(|i| {
            self.tensors
                .contains_key(&format!("layers.{i}.vert_stack.weight"))
        }) {
            let name = |part: &str| format!("layers.{i}.{part}");
            let half = self.side(&name("vert_stack"), 3) / 2;
            let first = i == 0;
            let vertical = self.conv(&name("vert_stack"), &v, |[_, _, r, c]| {
                let place = (r as isize - half, c as isize - half);
                Some(place).filter(|(r, _)| !first || *r < 0)
            });
            let horizontal = self.conv(&name("horiz_stack"), &s, |[_, _, _, c]| {
                let column = c as isize - half;
                Some((0, column)).filter(|(_, c)| !first || *c < 0)
            });
            let class = name("class_cond_embedding.weight");
            let link = self.pixel(&name("vert_to_horiz"), &vertical);
            v = gate(&self.with_class(&class, &vertical));
            let u = gate(&self.with_class(&class, &add(&link, &horizontal)));
            let made = self.pixel(&name("horiz_resid"), &u);
            s = if first { made } else { add(&s, &made) };
        }
        self.pixel("output_conv.2", &relu(&self.pixel("output_conv.0", &s)))
    }

    /// R, and the horizontal sums without a class.
    fn colour_block(&self, name: &str, v: &Maps, s: &Maps, class: Option<&str>) -> [Maps; 2] {
        let first = class.is_none();
        let part = |part: &str| format!("{name}.{part}");
        let half = self.side(&part("v_conv"), 3) / 2;
        let above = self.conv(&part("v_conv"), v, |[_, _, r, c]| {
            Some((r as isize - half, c as isize - half))
        });
        let mut sums = add(&above, &self.pixel(&part("v_fc"), v));
        if let Some(class) = class {
            sums = self.with_class(class, &sums);
        }
        let bias = self.vector(&part("v_conv.bias"));
        let mut shifted = sums.clone();
        for (map, number) in shifted.iter_mut().zip(bias) {
            map.pop();
            map.insert(0, vec![*number; self.width]);
        }
        let link = self.conv(&part("v_to_h"), &shifted, |entry| {
            Some((0, 0)).filter(|_| first || colour(false, entry))
        });
        let half = self.side(&part("h_conv"), 3) / 2;
        let row = self.conv(&part("h_conv"), s, |entry| {
            let column = entry[3] as isize - half;
            let open = column < 0 || (column == 0 && colour(first, entry));
            open.then_some((0, column))
        });
        [sums, add(&row, &link)]
    }

    fn coloured(&self, name: &str, input: &Maps, mask_a: bool) -> Maps {
        self.conv(name, input, |entry| {
            Some((0, 0)).filter(|_| colour(mask_a, entry))
        })
    }

    fn anordertoreclaim(&self, x: &Maps) -> Maps {
        let [sums, row] = self.colour_block("causal_conv", x, x, None);
        let mut v = gate(&sums);
        let mut s = self.coloured("causal_conv.h_fc", &gate(&row), true);
        let mut skip = each(&s, |_| 0.0);
        for i in (0..).take_while(|i| {
            self.tensors
                .contains_key(&format!("hidden_conv.{i}.v_fc.bias"))
        }) {
            let name = format!("hidden_conv.{i}");
            let class = format!("{name}.label_embedding.weight");
            let [sums, row] = self.colour_block(&name, &v, &s, Some(&class));
            v = add(&v, &gate(&sums));
            let u = gate(&self.with_class(&class, &row));
            skip = add(&skip, &self.coloured(&format!("{name}.h_skip"), &u, false));
            s = add(&s, &self.coloured(&format!("{name}.h_fc"), &u, false));
        }
        let o = relu(&self.with_class("label_embedding.weight", &skip));
        let o = relu(&self.coloured("out_hidden_conv", &o, false));
        self.coloured("out_conv", &o, false)
    }

    fn pytorch_generative(&self, x: &Maps) -> Maps {
        let (mut v, mut s) = (x.clone(), x.clone());
        let mut skip: Option<Maps> = None;
        let layers = (0..).map(|i| format!("_gated_layers.{i}"));
        let layers = std::iter::once("_input".to_string()).chain(layers);
        for name in
            layers.take_while(|name| self.tensors.contains_key(&format!("{name}._link.bias")))
        {
            let first = name == "_input";
            let part = |part: &str| format!("{name}.{part}");
            let half = self.side(&part("_vstack_1xN"), 3) / 2;
            let across = self.conv(&part("_vstack_1xN"), &v, |[_, _, _, c]| {
                Some((0, c as isize - half))
            });
            let above = self.conv(&part("_vstack_Nx1"), &across, |[_, _, r, _]| {
                Some((r as isize - half - 1, 0))
            });
            let link = self.pixel(&part("_link"), &above);
            v = gate(&add(&above, &self.pixel(&part("_vstack_1x1"), &v)));
            let row = self.conv(&part("_hstack_1xN"), &s, |[_, _, _, c]| {
                Some((0, c as isize - half - isize::from(first)))
            });
            let u = gate(&add(&row, &link));
            let made = self.pixel(&part("_hstack_skip"), &u);
            skip = Some(skip.map_or(made.clone(), |skip| add(&skip, &made)));
            let made = self.pixel(&part("_hstack_residual"), &u);
            s = if first { made } else { add(&made, &s) };
        }
        let o = relu(&skip.unwrap());
        self.pixel("_head.3", &relu(&self.pixel("_head.1", &o)))
    }
}
