//! Faulty networks of other crates; each is refused by name when it is made.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Init, VarBuilder};
use pixelcnn_conv::{ColourGroups, Convolution, Mask};
use pixelcnn_layers::{ConditionShape, ConditionTerm, Graph, Maps};
use pixelcnn_models::{
    Condition, Conditioning, Definition, Distribution, Given, ImageShape, Model, ModelConfig, Score,
};
use pixelcnn_sample::{Engine, SampleConfig, nll_map, sample};
use pixelcnn_testkit::values;
use serde::{Deserialize, Serialize};

/// A network of one or two convolutions, with one thing wrong.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Faulty {
    fault: String,
    distribution: Distribution,
    conditioning: Option<Conditioning>,
}

const IMAGE: ImageShape = ImageShape {
    channels: 3,
    height: 4,
    width: 4,
    levels: 8,
};

#[typetag::serde(name = "faulty")]
impl Definition for Faulty {
    fn name(&self) -> &'static str {
        "Faulty network"
    }

    fn image(&self) -> ImageShape {
        IMAGE
    }

    fn distribution(&self) -> Distribution {
        self.distribution
    }

    fn conditioning(&self) -> Option<&Conditioning> {
        self.conditioning.as_ref()
    }

    fn network(&self, weights: VarBuilder) -> Result<Graph> {
        let is = |fault: &str| self.fault == fault;
        let colours = if is("one group") { 1 } else { 3 };
        let channels = if is("four channels") { 4 } else { 3 };
        let image = ColourGroups::new(colours, channels)?;
        let maps = ColourGroups::new(colours, 6)?;
        let outputs = match &self.distribution {
            Distribution::Softmax {} if is("too few outputs") => 21,
            Distribution::Softmax {} => 24,
            mixture => mixture.outputs(&IMAGE)?.maps(),
        };
        let outputs = ColourGroups::new(colours, outputs)?;
        let mut graph = Graph::new(image);
        if is("half the levels") {
            let init = Init::Const(0.5);
            graph.embedding(weights.get_with_hints((3, 4, 2), "table", init)?)?;
        }
        let first = Convolution::masked(Mask::A, image, maps, 3, weights.pp("first"))?;
        let begun = graph.convolution(first, graph.image());
        let last = match is("of a condition") {
            true => weights.pp("condition.last"),
            false => weights.pp("last"),
        };
        let kernel = if is("a head of 3x3") { 3 } else { 1 };
        let last = Convolution::masked(Mask::B, maps, outputs, kernel, last)?;
        let from = if is("another graph") {
            Maps::at(40)
        } else {
            begun
        };
        let output = graph.convolution(last, from);
        let conditioned = match is("a condition behind the head") {
            true => {
                let shape = ConditionShape::Vector { length: 2 };
                let term = ConditionTerm::new(shape, outputs.maps(), weights.pp("term"))?;
                graph.condition(term, output)
            }
            false => output,
        };
        Ok(match self.fault.as_str() {
            "a head behind the output" => graph.with_head(output, begun),
            "a head of the image" => {
                let image = graph.image();
                graph.with_head(image, output)
            }
            "no fault in one step" => graph.with_head(output, output),
            _ => graph.with_head(begun, conditioned),
        })
    }

    fn boxed(&self) -> Box<dyn Definition> {
        Box::new(self.clone())
    }
}

fn made(faulty: Faulty) -> std::result::Result<Model, String> {
    let config = ModelConfig::from(faulty);
    let made = Model::initialise(&config, 1, &Device::Cpu);
    made.map(|(model, _)| model)
        .map_err(|error| error.to_string())
}

fn faulty(fault: &str) -> Faulty {
    Faulty {
        fault: fault.to_string(),
        distribution: Distribution::default(),
        conditioning: None,
    }
}

fn mixture(components: usize, coupled: bool) -> Distribution {
    Distribution::LogisticMixture {
        components,
        coupled,
    }
}

/// Each faulty network with its error.
fn graphs() -> [(Faulty, &'static str); 9] {
    [
        (faulty("one group"), "3 channels in 3 groups expected"),
        (faulty("four channels"), "found 4 in 3"),
        (
            faulty("too few outputs"),
            "24 outputs expected for the distribution, found 21",
        ),
        (
            faulty("half the levels"),
            "an embedding of 8 levels expected, found 4",
        ),
        (faulty("another graph"), "reads maps 40"),
        (faulty("a head of 3x3"), "neighbouring pixels, by last"),
        (
            faulty("a head of the image"),
            "neighbouring pixels, by first",
        ),
        (
            faulty("a head behind the output"),
            "the end must come after the start",
        ),
        (
            faulty("of a condition"),
            "condition.last: names that begin with condition.",
        ),
    ]
}

fn settings() -> [(Faulty, &'static str); 5] {
    let class = Some(Conditioning::Class { classes: 2.into() });
    [
        (
            Faulty {
                conditioning: class.clone(),
                ..faulty("a condition behind the head")
            },
            "the head reads a condition",
        ),
        (
            Faulty {
                conditioning: class,
                ..faulty("none")
            },
            "the blocks take []",
        ),
        (
            Faulty {
                distribution: mixture(3, true),
                ..faulty("coupled in three groups")
            },
            "3 channels in 1 groups expected",
        ),
        (
            Faulty {
                distribution: mixture(0, false),
                ..faulty("none")
            },
            "model.distribution",
        ),
        (
            Faulty {
                conditioning: Some(Conditioning::Map { maps: 1 << 40 }),
                ..faulty("none")
            },
            "model.conditioning.maps",
        ),
    ]
}

#[test]
fn faulty_networks_are_refused_when_they_are_made() {
    for (faulty, named) in graphs().into_iter().chain(settings()) {
        let error = made(faulty.clone()).unwrap_err();
        assert!(error.contains(named), "{faulty:?}: {error}");
    }
    for fine in ["none", "no fault in one step"] {
        assert!(made(faulty(fine)).is_ok(), "{fine}");
    }
}

/// NaN before the head, which its rectifiers would replace by zeros.
#[test]
fn every_reading_detects_nan() {
    let mut conditional = 0;
    for case in pixelcnn_testkit::models::networks() {
        let ConditionShape::Vector { length } = case.config.condition_shape() else {
            continue;
        };
        conditional += 1;
        let (model, _) = Model::initialise(&case.config, 1, &Device::Cpu).unwrap();
        let (density, image) = (model.density().unwrap(), case.config.image());
        let images = values(&[1, image.channels, 3, 3], image.levels).unwrap();
        let nan = Tensor::full(f32::NAN, (1, length), &Device::Cpu).unwrap();
        let nan = Condition::Vector(nan);
        let sum = |tensor: Tensor| {
            let sum = tensor.to_dtype(DType::F64).unwrap().sum_all().unwrap();
            sum.to_scalar::<f64>().unwrap()
        };
        let name = &case.name;
        assert!(sum(density.nats(&images, &nan).unwrap()).is_nan(), "{name}");
        let found = density.network().unwrap().outputs(&images, &nan);
        assert!(sum(found.unwrap()).is_nan(), "{name}");
        let engine = Engine::new(density).unwrap();
        assert!(nll_map(&engine, &images, &nan).is_err(), "{name}");
        let drawing = SampleConfig {
            count: 1,
            height: 3,
            width: 3,
            ..SampleConfig::new(image)
        };
        let drawn = sample(&engine, &drawing, &nan, &|_, _, _| ());
        assert!(drawn.is_err(), "{name}");
    }
    assert!(conditional > 0);
}

#[test]
fn large_numbers_are_numbers_and_sizes_beyond_memory_are_refused() {
    let vector = Conditioning::Vector {
        length: 3,
        spatial: None,
    };
    let weights = pixelcnn_models::Parameters::drawn(0).builder(DType::F32, &Device::Cpu);
    let encoder = pixelcnn_models::ConditionEncoder::new(Some(&vector), IMAGE, weights).unwrap();
    let of = |numbers: [f32; 3]| {
        let vector = Tensor::new(&[numbers], &Device::Cpu).unwrap();
        encoder.encode(&Given::Vector(vector), (4, 4))
    };
    assert!(of([3e38; 3]).is_ok());
    for none in [f32::NAN, f32::INFINITY] {
        let error = of([0.0, none, 0.0]).unwrap_err().to_string();
        assert!(error.contains("not finite"), "{error}");
    }
    let classes = Conditioning::Class {
        classes: 65_536.into(),
    };
    let weights = pixelcnn_models::Parameters::drawn(0).builder(DType::F32, &Device::Cpu);
    let encoder = pixelcnn_models::ConditionEncoder::new(Some(&classes), IMAGE, weights).unwrap();
    let many = Given::Labels(vec![0; 4_000_000]);
    let error = encoder.encode(&many, (4, 4)).unwrap_err().to_string();
    assert!(error.contains("memory"), "{error}");
}

#[test]
fn the_score_with_a_given_code_is_not_a_bound() {
    let vector = Tensor::zeros((1, 2), DType::F32, &Device::Cpu).unwrap();
    let vector = Given::Vector(vector);
    assert_eq!(Score::Bound.with(&vector), Score::GivenNumbers);
    assert_eq!(Score::GivenGrey.with(&vector), Score::GivenNumbers);
    assert_eq!(Score::Likelihood.with(&vector), Score::Likelihood);
    assert_eq!(Score::Bound.with(&Given::Nothing), Score::Bound);
}
