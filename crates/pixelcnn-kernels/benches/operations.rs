//! Micro-benchmarks of the operations: `cargo bench --package pixelcnn-kernels`.

use std::error::Error;

use candle_core::{DType, Device, Result, Tensor, Var};
use criterion::Criterion;
use pixelcnn_kernels::exact::Frequencies;
use pixelcnn_kernels::{
    Block, ConditionTerms, Kernel, LogisticMixture, Moments, Padding, Rule, Update, convolve,
    cross_entropy, update,
};

const SIDE: usize = 32;
const BATCH: usize = 4;
const MAPS: usize = 48;

fn random(shape: &[usize]) -> Result<Var> {
    Var::rand(-0.1f32, 0.1, shape, &Device::Cpu)
}

/// Rows above and columns on both sides that keep the size.
fn padding(height: usize, width: usize) -> Padding {
    Padding {
        top: height as isize - 1,
        bottom: 0,
        left: width as isize / 2,
        right: (width as isize - 1) / 2,
    }
}

fn kernel(outputs: usize, inputs: usize, (height, width): (usize, usize)) -> Result<Kernel> {
    Ok(Kernel {
        weight: random(&[outputs, inputs, height, width])?.into_inner(),
        bias: None,
        padding: padding(height, width),
        dilation: 1,
    })
}

fn convolutions(criterion: &mut Criterion) -> Result<()> {
    let input = random(&[BATCH, MAPS, SIDE, SIDE])?;
    for (height, width) in [(2, 3), (1, 2), (1, 1)] {
        let weight = random(&[2 * MAPS, MAPS, height, width])?;
        let forward = || convolve(&input, &weight, None, padding(height, width), 1);
        let name = format!("convolve {height}x{width}");
        criterion.bench_function(&name, |bencher| bencher.iter(forward));
        let both = || forward()?.backward();
        criterion.bench_function(&format!("{name} and back"), |bencher| bencher.iter(both));
    }
    Ok(())
}

fn block(criterion: &mut Criterion) -> Result<()> {
    let block = Block {
        vertical: kernel(2 * MAPS, MAPS, (2, 3))?,
        link: kernel(2 * MAPS, 2 * MAPS, (1, 1))?,
        horizontal: kernel(2 * MAPS, MAPS, (1, 2))?,
        output: kernel(MAPS, MAPS, (1, 1))?,
        residual: true,
        vertical_residual: false,
        vertical_after: true,
    };
    let stacks = random(&[BATCH, 2 * MAPS, SIDE, SIDE])?;
    let forward = || block.forward(&stacks, &ConditionTerms::default());
    criterion.bench_function("block", |bencher| bencher.iter(forward));
    let both = || forward()?.backward();
    criterion.bench_function("block and back", |bencher| bencher.iter(both));
    Ok(())
}

fn loss(criterion: &mut Criterion) -> Result<()> {
    let logits = random(&[BATCH, 3, 256, SIDE, SIDE])?;
    let values = Tensor::ones((BATCH, 3, SIDE, SIDE), DType::U8, &Device::Cpu)?;
    let forward = || cross_entropy(&logits, &values);
    criterion.bench_function("cross-entropy", |bencher| bencher.iter(forward));
    let both = || forward()?.backward();
    criterion.bench_function("cross-entropy and back", |bencher| bencher.iter(both));
    Ok(())
}

fn mixture_of(coupled: bool) -> LogisticMixture {
    LogisticMixture {
        components: 10,
        levels: 256,
        channels: 3,
        coupled,
    }
}

/// The mixture against the softmax, both with 16 images.
fn mixture(criterion: &mut Criterion) -> Result<()> {
    let batch = 4 * BATCH;
    let values = Tensor::ones((batch, 3, SIDE, SIDE), DType::U8, &Device::Cpu)?;
    for coupled in [false, true] {
        let mixture = mixture_of(coupled);
        let parameters = random(&[batch, mixture.parameters(), SIDE, SIDE])?;
        let forward = || mixture.nats(&parameters, &values);
        let name = format!("mixture, coupled {coupled}, batch 16");
        criterion.bench_function(&name, |bencher| bencher.iter(forward));
        let both = || forward()?.backward();
        criterion.bench_function(&format!("{name} and back"), |bencher| bencher.iter(both));
    }
    let logits = random(&[batch, 3, 256, SIDE, SIDE])?;
    let both = || cross_entropy(&logits, &values)?.backward();
    criterion.bench_function("cross-entropy, batch 16 and back", |bencher| {
        bencher.iter(both);
    });
    Ok(())
}

/// One distribution of the exact engine.
fn distribution(criterion: &mut Criterion) -> Result<()> {
    let mut frequencies = Frequencies::default();
    let logits = random(&[256])?.to_vec1::<f32>()?;
    criterion.bench_function("distribution, softmax", |bencher| {
        bencher.iter(|| frequencies.set(&logits));
    });
    for (coupled, earlier) in [(false, &[][..]), (true, &[3, 200])] {
        let mixture = mixture_of(coupled);
        let count = match coupled {
            false => mixture.parameters() / mixture.channels,
            true => mixture.parameters(),
        };
        let parameters = random(&[count])?.to_vec1::<f32>()?;
        criterion.bench_function(
            &format!("distribution, mixture, coupled {coupled}"),
            |bencher| {
                bencher.iter(|| frequencies.set_mixture(&mixture, &parameters, earlier));
            },
        );
    }
    Ok(())
}

fn step(criterion: &mut Criterion) -> Result<()> {
    let [weight, gradient, first, second, average] = {
        let new = || random(&[1 << 20]);
        [
            new()?,
            new()?,
            new()?,
            new()?.abs().and_then(|v| Var::from_tensor(&v))?,
            new()?,
        ]
    };
    let rule = Rule::Adam {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        step: 10,
    };
    let step = Update {
        rule,
        learning_rate: 1e-6,
        scale: 1.0,
        weight_decay: 0.0,
        ema_decay: 0.999,
    };
    let moments = Moments {
        first: Some(&first),
        second: &second,
        average: Some(&average),
    };
    let run = || update(&weight, &gradient, moments, &step);
    criterion.bench_function("Adam, 2^20 weights", |bencher| bencher.iter(run));
    Ok(())
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    convolutions(&mut criterion)?;
    block(&mut criterion)?;
    loss(&mut criterion)?;
    mixture(&mut criterion)?;
    distribution(&mut criterion)?;
    step(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}
