//! What both networks' programs are put together from.

use candle_core::{Result, bail};
use pixelcnn_conv::{ColourGroups, Convolution};
use pixelcnn_kernels::exact::{
    Activation, Buffer, Extent, Program, Run, Stage, Step, Store, Weights,
};
use pixelcnn_layers::Graph;

use crate::parts::{Order, Parts, Reads, in_a_row};

/// A program that grows layer by layer.
pub(crate) struct Builder {
    program: Program,
}

/// A stage's place in the network.
pub(crate) struct Layer<'a> {
    pub convolution: &'a Convolution,
    pub source: usize,
    /// The maps that are read, and those that come out.
    pub groups: (ColourGroups, ColourGroups),
    pub activation: Activation,
    pub residual: Option<usize>,
    pub targets: Vec<(usize, Store)>,
}

impl Builder {
    /// With the image as buffer 0; `first` are the convolutions that read it.
    pub fn new(channels: usize, levels: usize, first: &[&Convolution]) -> Result<Self> {
        let mut builder = Self {
            program: Program {
                channels,
                levels,
                buffers: Vec::new(),
                condition: None,
                once: Vec::new(),
                steps: Vec::new(),
                stages: Vec::new(),
            },
        };
        builder.maps_read_by(channels, first)?;
        Ok(builder)
    }

    /// A buffer of maps, with the rows and margins that its readers need.
    pub fn maps_read_by(&mut self, maps: usize, readers: &[&Convolution]) -> Result<usize> {
        let (mut rows, mut margin) = (1, 0);
        for reader in readers {
            let reach = Parts::new(reader)?.reach();
            (rows, margin) = (rows.max(reach.0 + 1), margin.max(reach.1));
        }
        Ok(self.buffer(maps, rows, margin, Extent::Row))
    }

    /// A buffer of maps at each position of one row.
    pub fn row(&mut self, maps: usize) -> usize {
        self.buffer(maps, 1, 0, Extent::Row)
    }

    /// A buffer of numbers of an image.
    pub fn of_image(&mut self, maps: usize) -> usize {
        self.buffer(maps, 1, 0, Extent::Image)
    }

    fn buffer(&mut self, maps: usize, rows: usize, margin: usize, extent: Extent) -> usize {
        self.program.buffers.push(Buffer {
            maps,
            rows,
            margin,
            extent,
        });
        self.program.buffers.len() - 1
    }

    /// The buffer of the condition.
    pub fn condition(&mut self, maps: usize, extent: Extent) -> usize {
        let buffer = self.buffer(maps, 1, 0, extent);
        self.program.condition = Some(buffer);
        buffer
    }

    pub fn once(&mut self, step: Step) {
        self.program.once.push(step);
    }

    pub fn step(&mut self, step: Step) {
        self.program.steps.push(step);
    }

    /// The step of a convolution over all its taps, outputs in a row.
    pub fn whole(&mut self, convolution: &Convolution, source: usize, target: usize) -> Result<()> {
        let parts = Parts::new(convolution)?;
        let lanes = in_a_row(parts.outputs());
        let bias = Some(parts.bias(&lanes));
        self.product(bias, source, parts.sum(Reads::Everything, &lanes), target);
        Ok(())
    }

    /// Begins the target's chains with a bias, or continues them.
    pub fn product(
        &mut self,
        bias: Option<Vec<f32>>,
        source: usize,
        sum: Option<(Vec<Run>, Weights)>,
        target: usize,
    ) {
        if let Some((runs, weights)) = sum {
            self.step(Step::Product {
                bias,
                source,
                runs,
                weights,
                target,
            });
        }
    }

    /// A stage whose chains begin with its bias and what it reads above.
    pub fn stage(&mut self, layer: Layer) -> Result<()> {
        let order = Order::by_colour(layer.groups.1, layer.activation);
        let sums = self.row(order.lanes.len());
        let parts = Parts::new(layer.convolution)?;
        let bias = parts.bias(&order.lanes);
        match parts.sum(Reads::Above, &order.lanes) {
            None => self.stage_from(layer, Some(bias), sums),
            above => {
                self.product(Some(bias), layer.source, above, sums);
                self.stage_from(layer, None, sums)
            }
        }
    }

    /// A stage whose chains begin with a bias, or where steps have begun them
    /// in `sums`.
    pub fn stage_from(&mut self, layer: Layer, bias: Option<Vec<f32>>, sums: usize) -> Result<()> {
        let order = Order::by_colour(layer.groups.1, layer.activation);
        let parts = Parts::new(layer.convolution)?;
        let (centre, seen) = parts.centre(&order.lanes, layer.groups.0);
        self.program.stages.push(Stage {
            source: layer.source,
            bias,
            left: parts.sum(Reads::Left, &order.lanes),
            centre,
            sums,
            groups: order.groups(&seen),
            activation: layer.activation,
            residual: layer.residual,
            targets: layer.targets,
        });
        Ok(())
    }

    /// The head, from rectified maps; the program is then complete.
    pub fn finish(mut self, graph: &Graph, source: usize, maps: ColourGroups) -> Result<Program> {
        let convolutions = graph.convolutions();
        let [.., hidden, logits] = &convolutions[..] else {
            bail!("a network without a head");
        };
        let channels = self.program.channels;
        let inside = ColourGroups::new(channels, hidden.weight().dim(0)?)?;
        let outputs = ColourGroups::new(channels, channels * self.program.levels)?;
        let between = self.row(inside.maps());
        self.stage(Layer {
            convolution: hidden,
            source,
            groups: (maps, inside),
            activation: Activation::None,
            residual: None,
            targets: vec![(between, Store::Rectified)],
        })?;
        self.stage(Layer {
            convolution: logits,
            source: between,
            groups: (inside, outputs),
            activation: Activation::None,
            residual: None,
            targets: Vec::new(),
        })?;
        self.program.check()?;
        Ok(self.program)
    }
}
