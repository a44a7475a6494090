//! Programs that do not fit together, and runs with invalid requests.

use candle_core::Result;

use super::*;

fn buffer(maps: usize, rows: usize, extent: Extent) -> Buffer {
    let margin = match extent {
        Extent::Row => 1,
        Extent::Image => 0,
    };
    Buffer {
        maps,
        rows,
        margin,
        extent,
    }
}

fn chain(stage: &mut Stage) -> &mut Chain {
    stage
        .chain
        .as_mut()
        .expect("each stage of the program sums")
}

fn buffers() -> Vec<Buffer> {
    vec![
        buffer(1, 2, Extent::Row),
        buffer(16, 1, Extent::Row),
        buffer(3, 1, Extent::Row),
        buffer(16, 1, Extent::Row),
        buffer(1, 1, Extent::Image),
        buffer(16, 1, Extent::Image),
        buffer(2, 1, Extent::Row),
    ]
}

fn program() -> Program {
    Program::new(parts()).unwrap()
}

/// One channel of two levels: three maps from the row above, the left
/// neighbour and a condition, then logits.
fn parts() -> ProgramParts {
    let run = |row, column| Run {
        row,
        column,
        length: 1,
    };
    let lanes: Vec<_> = (0..3).map(Some).collect();
    let weight = |output: usize, input: usize| (output as f32 - 1.0) * (input as f32 + 0.5);
    let stage = |source, sums, inputs: usize, outputs: usize, operations| Stage {
        chain: Some(Chain {
            source,
            bias: None,
            left: None,
            state: None,
            centre: Weights::pack(inputs, &lanes[..outputs], weight),
            sums,
        }),
        groups: vec![Group {
            tiles: 0..1,
            inputs,
            outputs: 0..outputs,
        }],
        operations,
    };
    let mut maps = stage(0, 1, 0, 3, vec![Pointwise::Relu, Pointwise::Store(2)]);
    let left = Some((vec![run(0, -1)], Weights::pack(1, &lanes, weight)));
    chain(&mut maps).left = left;
    let mut logits = stage(2, 3, 3, 2, vec![Pointwise::Store(6)]);
    chain(&mut logits).bias = Some(vec![0.25; 16]);
    let product = |bias, source, runs, target| Instruction::Product {
        bias,
        source,
        runs,
        weights: Weights::pack(1, &lanes, weight),
        target,
    };
    ProgramParts {
        channels: 1,
        levels: 2,
        groups: 1,
        buffers: buffers(),
        inputs: vec![Input {
            buffer: 0,
            maps: 1,
            numbers: vec![-1.0, 1.0],
        }],
        condition: Some(4),
        once: vec![product(Some(vec![0.5; 16]), 4, vec![run(0, 0)], 5)],
        instructions: vec![
            Instruction::Copy {
                source: 5,
                target: 1,
            },
            product(None, 0, vec![run(-1, 1)], 1),
        ],
        stages: vec![maps, logits],
        output: 6,
    }
}

/// Values of a pattern; the first rows are known.
struct Pattern(usize, Vec<f32>);

impl Driver for Pattern {
    fn known(&mut self, row: usize, values: &mut [u32]) -> Result<bool> {
        for (column, value) in values.iter_mut().enumerate() {
            *value = (row + column) as u32 % 2;
        }
        Ok(row < self.0)
    }

    fn value(&mut self, index: ValueIndex, logits: &[f32]) -> Result<u32> {
        self.1.extend_from_slice(logits);
        Ok((index.row + index.column) as u32 % 2)
    }
}

fn job(condition: &[f32]) -> Job<'_> {
    Job {
        height: 3,
        width: 4,
        condition,
        threads: 2,
        sharing: Sharing::ALL,
    }
}

#[test]
fn logits_are_those_that_the_program_says() {
    let scaled = |row: isize, column: isize| match (row, column) {
        (0.., 0..4) => ((row + column) % 2) as f32 * 2.0 - 1.0,
        _ => 0.0,
    };
    // Also with more threads than processors, and with fewer threads for pixels than for rows.
    let leader = Sharing {
        row: 1,
        pixel: usize::MAX,
    };
    let two = Sharing {
        row: 1,
        pixel: parts().bytes_between_barriers() / 2,
    };
    let cases = [(0, 1), (0, 2), (2, 2), (3, 2), (0, 40), (2, 40)];
    let sharings = [Sharing::ALL, leader, two, Sharing::default()];
    let cases = cases.iter().flat_map(|case| sharings.map(|it| (*case, it)));
    for ((known, threads), sharing) in cases {
        let mut drivers = [Pattern(known, Vec::new())];
        let job = Job {
            threads,
            sharing,
            ..job(&[0.75])
        };
        run(&program(), &job, &mut drivers).unwrap();
        let mut found = drivers[0].1.iter();
        for (row, column) in (0..12).map(|index| (index / 4, index % 4)) {
            let map = |output: usize| {
                let weight = 0.5 * (output as f32 - 1.0);
                let inputs = [0.75, scaled(row - 1, column + 1), scaled(row, column - 1)];
                let sum = inputs.iter().fold(0.5f32, |sum, x| x.mul_add(weight, sum));
                sum.max(0.0)
            };
            for output in 0..2 {
                let weight = |input: usize| (output as f32 - 1.0) * (input as f32 + 0.5);
                let sum = (0..3).fold(0.25f32, |sum, input| map(input).mul_add(weight(input), sum));
                assert_eq!(*found.next().unwrap(), sum, "{row} {column} {output}");
            }
        }
    }
}

/// Makes the last stage's sums, with two lanes in use, the output.
fn with_bare_output(program: &mut ProgramParts) {
    program.stages[1].operations.clear();
    program.stages[1].groups[0].outputs = 0..LANES;
    program.output = 3;
}

#[test]
fn sums_that_are_the_output_are_those_that_would_be_stored() {
    let mut bare = parts();
    with_bare_output(&mut bare);
    let bare = Program::new(bare).unwrap();
    for known in [0, 3] {
        let found = [program(), bare.clone()].map(|program| {
            let mut drivers = [Pattern(known, Vec::new())];
            run(&program, &job(&[0.75]), &mut drivers).unwrap();
            let [Pattern(_, found)] = drivers;
            found
        });
        let [stored, sums] = &found;
        let first = sums.chunks(LANES).flat_map(|sums| &sums[..2]);
        assert!(first.eq(stored));
    }
}

fn pointwise(maps: usize, operations: &[Pointwise]) -> Instruction {
    Instruction::Pointwise {
        maps,
        operations: operations.to_vec(),
    }
}

type Change = &'static dyn Fn(&mut ProgramParts);

fn broken_operations() -> Vec<(&'static str, Change)> {
    vec![
        ("a run far away", &|p| {
            if let Instruction::Product { runs, .. } = &mut p.instructions[1] {
                runs[0].column = isize::MAX;
            }
        }),
        ("no runs", &|p| {
            if let Some((runs, _)) = &mut chain(&mut p.stages[0]).left {
                runs.clear();
            }
        }),
        ("an instruction that writes an image", &|p| {
            p.instructions
                .push(pointwise(1, &[Pointwise::Load(2), Pointwise::Store(5)]));
        }),
        ("an instruction that writes the condition", &|p| {
            p.instructions
                .push(pointwise(1, &[Pointwise::Load(2), Pointwise::Store(4)]));
        }),
        ("an instruction that begins with nothing", &|p| {
            p.instructions
                .push(pointwise(1, &[Pointwise::Relu, Pointwise::Store(2)]));
        }),
        ("a gate of too few maps", &|p| {
            let gate = [Pointwise::Load(2), Pointwise::Gate, Pointwise::Store(2)];
            p.instructions.push(pointwise(2, &gate));
        }),
        ("two gates", &|p| {
            let operations = &mut p.stages[1].operations;
            operations.splice(0..0, [Pointwise::Gate, Pointwise::Gate]);
        }),
        ("a load after sums", &|p| {
            p.stages[1].operations.insert(0, Pointwise::Load(2))
        }),
    ]
}

fn broken_sizes() -> Vec<(&'static str, Change)> {
    vec![
        ("colour turned round", &|p| {
            p.stages[1].groups[0].tiles = std::ops::Range { start: 1, end: 0 };
        }),
        ("two beginnings", &|p| {
            chain(&mut p.stages[0]).bias = Some(vec![0.0; 16])
        }),
        ("no stage", &|p| p.stages.clear()),
        ("one level", &|p| p.levels = 1),
        ("channels", &|p| p.buffers[0].maps = 2),
        ("groups", &|p| p.groups = 2),
        ("too few numbers of the levels", &|p| {
            p.inputs[0].numbers.pop();
        }),
    ]
}

fn broken_buffers() -> Vec<(&'static str, Change)> {
    vec![
        ("empty buffer", &|p| p.buffers[2].rows = 0),
        ("no such buffer", &|p| chain(&mut p.stages[0]).source = 9),
        ("rows not kept", &|p| p.buffers[0].rows = 1),
        ("no margin", &|p| p.buffers[0].margin = 0),
        ("short bias", &|p| {
            chain(&mut p.stages[1]).bias = Some(vec![0.0; 2])
        }),
        ("output", &|p| p.buffers[6].maps = 3),
        ("no output", &|p| {
            p.stages[1].operations.pop();
        }),
        ("an output of sums with empty lanes", &|p| {
            with_bare_output(p);
            p.stages[1].groups[0].outputs = 0..2;
        }),
        ("an output of sums that a stage reads", &|p| {
            with_bare_output(p);
            p.stages[0].operations.insert(0, Pointwise::Add(3));
        }),
        ("inputs", &|p| p.stages[1].groups[0].inputs = 4),
        ("tiles", &|p| p.stages[1].groups[0].tiles = 0..2),
        ("image written", &|p| {
            p.stages[0].operations[1] = Pointwise::Store(0)
        }),
        ("source written", &|p| {
            p.stages[1].operations.insert(0, Pointwise::Store(2));
        }),
        ("sums shared", &|p| chain(&mut p.stages[1]).sums = 1),
        ("sums read", &|p| {
            p.stages[1].operations.insert(0, Pointwise::Add(1))
        }),
        ("too many operations", &|p| {
            p.stages[0]
                .operations
                .splice(0..0, [Pointwise::Relu; MOST_POINTWISE]);
        }),
    ]
}

/// The program with an LSTM of one map that is computed a row late: its gates are in buffer 7, its
/// hidden states in 8 and its cell states in 9.
fn with_scan(program: &mut ProgramParts, column: isize) {
    program.buffers.extend([
        buffer(16, 2, Extent::Row),
        buffer(1, 3, Extent::Row),
        buffer(1, 1, Extent::Row),
    ]);
    let lanes: Vec<_> = (0..4).map(Some).collect();
    program.once.push(Instruction::Beside {
        side: Side::Right,
        numbers: vec![0.5],
        target: 8,
    });
    let scan = Scan {
        source: 8,
        runs: vec![Run {
            row: 0,
            column,
            length: 1,
        }],
        weights: Weights::pack(1, &lanes, |_, _| 1.0),
        target: 7,
        maps: 1,
        operations: vec![
            Pointwise::Load(7),
            Pointwise::Lstm {
                before: 9,
                column,
                cell: 9,
            },
            Pointwise::Store(8),
        ],
    };
    let late = Instruction::Late(Box::new(Instruction::Scan(scan)));
    program.instructions.push(late);
}

#[test]
fn scans_that_do_not_fit_are_refused() {
    let made = |change: Change| {
        let mut parts = parts();
        with_scan(&mut parts, 1);
        change(&mut parts);
        Program::new(parts)
    };
    assert!(made(&|_| ()).is_ok());
    let broken: [(&str, Change); 5] = [
        ("no margin", &|p| p.buffers[8].margin = 0),
        ("cells beyond the margin", &|p| p.buffers[9].margin = 0),
        ("rows not kept", &|p| p.buffers[8].rows = 1),
        ("too few gates", &|p| p.buffers[7].maps = 2),
        ("two maps", &|p| p.buffers[8].maps = 2),
    ];
    for (what, change) in broken {
        assert!(made(change).is_err(), "{what}");
    }
    let mut parts = parts();
    with_scan(&mut parts, 2);
    assert!(Program::new(parts).is_err(), "columns beyond the margin");
    let pointwise = |column: isize| {
        let mut parts = self::parts();
        with_scan(&mut parts, 1);
        let lstm = Pointwise::Lstm {
            before: 9,
            column,
            cell: 9,
        };
        parts.instructions.pop();
        parts.instructions.push(Instruction::Pointwise {
            maps: 1,
            operations: vec![Pointwise::Load(7), lstm, Pointwise::Store(8)],
        });
        Program::new(parts)
    };
    assert!(pointwise(0).is_ok());
    for column in [-1, 1] {
        assert!(
            pointwise(column).is_err(),
            "cells that another thread writes"
        );
    }
}

#[test]
fn programs_that_do_not_fit_together_are_refused() {
    let broken = [broken_operations(), broken_sizes(), broken_buffers()].concat();
    for (what, change) in broken {
        let mut parts = parts();
        change(&mut parts);
        assert!(Program::new(parts).is_err(), "{what}");
    }
}

#[test]
fn runs_with_invalid_requests_are_refused() {
    let program = program();
    let mut drivers = [Pattern(0, Vec::new()), Pattern(0, Vec::new())];
    let condition = &[0.0, 1.0];
    assert!(run(&program, &job(condition), &mut drivers).is_ok());
    assert!(run::<Pattern>(&program, &job(condition), &mut []).is_err());
    for condition in [&[][..], &[0.0], &[0.0, 1.0, 2.0]] {
        assert!(run(&program, &job(condition), &mut drivers).is_err());
    }
    for (height, width) in [(0, 4), (3, 0), (1, usize::MAX / 2), (1, usize::MAX / 64)] {
        let job = Job {
            height,
            width,
            ..job(condition)
        };
        assert!(
            run(&program, &job, &mut drivers).is_err(),
            "{height} {width}"
        );
    }
}

#[test]
fn a_value_beyond_the_levels_is_an_error() {
    struct High(usize);
    impl Driver for High {
        fn known(&mut self, _: usize, values: &mut [u32]) -> Result<bool> {
            values.fill(7);
            Ok(self.0 == 0)
        }
        fn value(&mut self, _: ValueIndex, _: &[f32]) -> Result<u32> {
            Ok(7)
        }
    }
    for known in 0..2 {
        let error = run(&program(), &job(&[0.0]), &mut [High(known)]);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("below 2 expected, found 7"), "{error}");
    }
}

#[test]
fn stages_that_only_the_output_needs_are_found() {
    // The maps are read at their own pixel only, so later rows need no stage.
    let mut parts = parts();
    assert_eq!(parts.stages_before_output(), 0);
    parts.instructions.push(Instruction::Pointwise {
        maps: 3,
        operations: vec![Pointwise::Load(2), Pointwise::Store(2)],
    });
    assert_eq!(parts.stages_before_output(), 1);
}

#[test]
fn rows_that_nobody_scores_are_not_asked_for() {
    struct Unscored(Pattern);

    impl Driver for Unscored {
        fn known(&mut self, row: usize, values: &mut [u32]) -> Result<bool> {
            self.0.known(row, values)
        }
        fn scores(&mut self, row: usize) -> bool {
            row != 1
        }
        fn value(&mut self, index: ValueIndex, logits: &[f32]) -> Result<u32> {
            self.0.value(index, logits)
        }
    }

    let (width, condition) = (3, [0.5]);
    let job = Job {
        height: 4,
        width,
        condition: &condition,
        threads: 1,
        sharing: Sharing::ALL,
    };
    let mut all = [Pattern(3, Vec::new())];
    run(&program(), &job, &mut all).unwrap();
    let mut some = [Unscored(Pattern(3, Vec::new()))];
    run(&program(), &job, &mut some).unwrap();
    let row = 2 * width;
    let expected = [&all[0].1[..row], &all[0].1[2 * row..]].concat();
    assert_eq!(some[0].0.1, expected);
}
