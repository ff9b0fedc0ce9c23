//! The error of a function over its domain, and what it costs, measured now.

use super::super::exit::Failure;
use crate::{
    kernel::{HostWord, best},
    session::{random_bytes, random_seed},
    values::Values,
};
use serde::Serialize;
use std::time::Instant;
use symbolon_core::{
    function::{
        Numbers,
        method::{Function, FunctionFile},
        scalar::{RangeReduction, Scalar as _},
    },
    link::Error,
    party::Party,
    prg::{Aes128Prg, Prg},
    word::Word,
};
use symbolon_parties::{MemoryLink, Parties, Planned, Program, planned};

/// Arguments of a sweep.
const SWEPT: u32 = 20_000;
/// Values of a timed run.
const ELEMENTS: usize = 1 << 13;
/// Each function is repeated for so long.
const SECONDS: f64 = 0.05;

/// Results of a sweep and a timed run.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    #[serde(flatten)]
    function: FunctionFile,
    ring_bits: u32,
    frac_bits: u32,
    /// Where the function is computed.
    pub(super) domain: [f64; 2],
    /// Largest error of results up to 1, in units of the last place, and where.
    pub(super) units: f64,
    at: f64,
    /// Largest relative error of larger results.
    pub(super) relative: f64,
    /// The guaranteed bound, in units.
    pub(super) bound_units: f64,
    bound_relative: f64,
    /// How far the method is from the function, relative where that is above 1.
    pub(super) approximation: f64,
    pub(super) rounds: u64,
    pub(super) bytes_each_way: f64,
    pub(super) dealt_bytes: f64,
    pub(super) per_second: f64,
    /// Arguments, values of the function and results, for pictures.
    #[serde(skip)]
    pub(super) points: Vec<[f64; 3]>,
}

/// The cost of a function, for each of many values.
pub(super) struct Cost {
    pub(super) rounds: u64,
    pub(super) bytes_each_way: f64,
    pub(super) dealt_bytes: f64,
}

/// Counts the cost of `function` by a dry run.
#[allow(clippy::cast_precision_loss)] // figures
pub(super) fn cost(function: &Function, numbers: &Numbers) -> Result<Cost, Failure> {
    let program = Apply { function, numbers };
    let planned = if numbers.ring_bits == 32 {
        planned::<u32>(&program, &[ELEMENTS])
    } else {
        planned::<u64>(&program, &[ELEMENTS])
    };
    let Planned { count, dealt_bytes, .. } =
        planned.map_err(|error| Failure::Other(format!("{}: {error}", function.scalar.name())))?;
    let elements = ELEMENTS as f64;
    Ok(Cost {
        rounds: count.rounds,
        bytes_each_way: count.bytes as f64 / elements,
        dealt_bytes: dealt_bytes as f64 / elements,
    })
}

/// A function on shares.
pub(super) struct Apply<'a> {
    pub(super) function: &'a Function,
    pub(super) numbers: &'a Numbers,
}

impl Program for Apply<'_> {
    type Output<W: Word> = Vec<W>;

    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<W>, Error> {
        let x = inputs.pop().unwrap_or_default();
        let mut y = vec![W::default(); x.len()];
        self.function.apply(party, self.numbers, (&x, &mut y), None)?;
        Ok(y)
    }
}

/// The signed number of a word.
pub(super) fn whole<W: Word>(word: W) -> i64 {
    let mut bytes = [0; 8];
    let word = [word];
    bytes[..W::bytes(&word).len()].copy_from_slice(W::bytes(&word));
    let above = 64 - W::BITS;
    (i64::from_le_bytes(bytes) << above) >> above
}

/// Whole arguments: evenly over the domain, at its ends and beyond, and at every scale.
#[allow(clippy::cast_possible_truncation)] // far inside
fn arguments(function: &Function, numbers: &Numbers) -> Vec<i64> {
    let (edge, one) = (1i64 << (numbers.ring_bits - 3), f64::from(1u32 << numbers.frac_bits));
    let [low, high] = function.domain(numbers).map(|x| (x * one) as i64);
    let [low, high] = [low.max(-edge), high.min(edge - 1)];
    let step = ((high - low) / i64::from(SWEPT)).max(1);
    let mut all: Vec<i64> = (0..).map(|i| low + i * step).take_while(|x| *x <= high).collect();
    let mut values = Values(1);
    all.extend((0..SWEPT / 4).map(|_| {
        let octave = 1 + values.bits(5) as u32 * numbers.octaves() / 32;
        values.bits(octave).cast_signed()
    }));
    let ends = [low, high].into_iter().flat_map(|x| [x - 1, x, x + 1, x.saturating_mul(10), x.saturating_mul(1000)]);
    all.extend(ends.chain(-40..40).chain([-edge, edge - 1]));
    let most = if function.scalar.range_reduction() == RangeReduction::Periodic { high } else { edge };
    all.retain(|x| (-most..most).contains(x));
    all
}

impl Measured {
    /// Measures `function`.
    pub(super) fn new(function: &Function, numbers: &Numbers) -> Result<Self, Failure> {
        let failed = |error: Error| Failure::Other(format!("{}: {error}", function.scalar.name()));
        if numbers.ring_bits == 32 {
            Self::of::<u32>(function, numbers).map_err(failed)?
        } else {
            Self::of::<u64>(function, numbers).map_err(failed)?
        }
    }

    #[allow(clippy::cast_precision_loss)] // figures
    fn of<W: HostWord + Word>(function: &Function, numbers: &Numbers) -> Result<Result<Self, Failure>, Error> {
        let (program, one) = (Apply { function, numbers }, f64::from(1u32 << numbers.frac_bits));
        let x = arguments(function, numbers);
        let seeds = || -> Result<[Aes128Prg; 2], Failure> {
            let session = random_bytes()?;
            Ok([Aes128Prg::new(&random_seed()?, &session), Aes128Prg::new(&random_seed()?, &session)])
        };
        let (swept, timed) = match (seeds(), seeds()) {
            (Ok(swept), Ok(timed)) => (swept, timed),
            (Err(error), _) | (_, Err(error)) => return Ok(Err(error)),
        };
        let arena = planned::<W>(&program, &[x.len()])?.arena;
        let prgs: [&dyn Prg; 2] = [&swept[0], &swept[1]];
        let parties = Parties { program: &program, prgs, kernels: best::<W>(), arena, dithers: None };
        let y = parties.clear(vec![x.iter().map(|x| W::from_i64(*x)).collect()])?;
        let points: Vec<[f64; 3]> = x
            .iter()
            .zip(y)
            .map(|(x, y)| {
                let x = *x as f64 / one;
                [x, function.scalar.value(x), whole(y) as f64 / one]
            })
            .collect();

        let Planned { count, dealt_bytes, arena } = planned::<W>(&program, &[ELEMENTS])?;
        let prgs: [&dyn Prg; 2] = [&timed[0], &timed[1]];
        let parties = Parties { program: &program, prgs, kernels: best::<W>(), arena, dithers: None };
        let (started, mut runs) = (Instant::now(), 0u32);
        while runs < 2 || started.elapsed().as_secs_f64() < SECONDS {
            let zeros = || vec![vec![W::default(); ELEMENTS]];
            parties.play(MemoryLink::pair(), [zeros(), zeros()])?;
            runs += 1;
        }
        let per_second = ELEMENTS as f64 * f64::from(runs) / started.elapsed().as_secs_f64();
        let (bound, elements) = (function.bound(numbers), ELEMENTS as f64);
        let mut own = Self {
            function: (*function).into(),
            ring_bits: W::BITS,
            frac_bits: numbers.frac_bits,
            domain: function.domain(numbers),
            units: 0.0,
            at: 0.0,
            relative: 0.0,
            bound_units: bound.units,
            bound_relative: bound.relative,
            approximation: 0.0,
            rounds: count.rounds,
            bytes_each_way: count.bytes as f64 / elements,
            dealt_bytes: dealt_bytes as f64 / elements,
            per_second,
            points,
        };
        own.find_errors(function, numbers);
        Ok(Ok(own))
    }

    fn find_errors(&mut self, function: &Function, numbers: &Numbers) {
        let one = f64::from(1u32 << numbers.frac_bits);
        let [low, high] = self.domain;
        for [x, value, y] in &self.points {
            if function.is_blurred(*x) {
                continue;
            }
            let ideal = function.ideal(numbers, *x);
            let error = (y - ideal).abs();
            if ideal.abs() <= 1.0 && error * one > self.units {
                (self.units, self.at) = (error * one, *x);
            } else if ideal.abs() > 1.0 {
                self.relative = self.relative.max(error / ideal.abs());
            }
            if (low..=high).contains(x) {
                self.approximation = self.approximation.max((ideal - value).abs() / value.abs().max(1.0));
            }
        }
    }
}
