//! `symbolon bench`: throughput, bytes and rounds of every protocol and function, both word sizes;
//! `symbolon bench kernels`: ring matrices and convolutions; `symbolon bench records`: data beyond
//! memory; `symbolon bench reports`: the intake under load.

mod kernels;
mod predict;
mod records;
mod reports;

use super::exit::Failure;
use crate::{
    kernel::{HostWord, best},
    report::write_atomic,
    session::{random_bytes, random_seed},
};
use clap::ValueEnum;
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    time::Instant,
};
use symbolon_core::{
    correlation::View,
    function::{
        classify::predict,
        exponential::exponential,
        reciprocal::reciprocal,
        softmax::{self, Labels, Shape, Softmax},
    },
    kernel::plane_words,
    link::Error,
    optimizer::{Adam, AmsGrad, Dyadic, Kept, Moment, Moments, Momentum, Optimizer, Sgd, State, Turn},
    party::Party,
    prg::{Aes128Prg, Prg},
    protocol::{
        exact::floor,
        lift::lift,
        masked::{Masked, mask_and_open},
        maximum::maximum,
        product::{Factor, matmul, multiply},
        relu::{relu, relu_backward},
        select::Selector,
        sign::sign,
        truncate::{Cut, open, truncate},
    },
    word::Word,
};
use symbolon_parties::{MemoryLink, Parties, Planned, Program, planned};

/// Elements of an operation: what a lane of a job has in hand.
const ELEMENTS: usize = 1 << 16;
/// Classes of a row.
const CLASSES: usize = 10;
/// Side of the matrices.
const SIDE: usize = 256;
/// Each operation is repeated for so long.
const SECONDS: f64 = 0.2;

/// Arguments of `symbolon bench`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Only these operations
    #[arg(value_enum)]
    operations: Vec<Operation>,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE", value_parser = super::out_file())]
    json: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Run two servers, a gateway and many devices on this machine, and see what they take in
    Reports(reports::Args),
    /// Train on growing numbers of records, in scratch files of the servers
    Records(records::Args),
    /// Ask a published model from many clients side by side: latency, throughput, bytes, rounds
    Predict(predict::Args),
    /// Measure matrix products and convolutions in the ring, on one core
    Kernels(kernels::Args),
}

/// An operation to measure.
#[derive(Clone, Copy, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Operation {
    /// Mask and open.
    Open,
    /// Product of two masked values, their openings included.
    Multiply,
    /// The same of 256 by 256 matrices.
    MatrixProduct,
    /// Truncation with a dither.
    Truncate,
    /// Exact truncation.
    Floor,
    /// Sign as a shared bit, the word's opening included.
    Sign,
    /// ReLU with truncation.
    Relu,
    /// ReLU forwards and back.
    ReluAndBackward,
    /// From 8-bit shares into the ring.
    Lift8,
    /// The largest of ten words.
    Maximum,
    /// Which of ten words is the largest.
    Predict,
    /// By mapping.
    Exponential,
    /// By mapping.
    Reciprocal,
    /// Of ten classes.
    SoftmaxGradient,
    /// A step of stochastic gradient descent.
    Sgd,
    /// The same with momentum.
    Momentum,
    /// A step that chooses one of seven buckets.
    Adam,
    /// The same of buckets for every second moment.
    AdamEverySecondMoment,
    /// A step that keeps them.
    AdamKept,
    /// A step that keeps them and the second moment.
    AdamKeptLazy,
    /// A step that chooses buckets.
    AmsGrad,
}

/// Zeros, masked and open.
fn masked<W: Word>(party: &mut Party<'_, W>, n: usize) -> Result<(Vec<W>, View<'static>), Error> {
    let mut words = vec![W::default(); n];
    let mask = party.draw()?.mask(n);
    let view = mask_and_open(party, &mut words, mask)?;
    Ok((words, view))
}

impl Operation {
    /// Elements that its costs are divided by.
    fn elements(self) -> usize {
        match self {
            Self::MatrixProduct => SIDE * SIDE,
            Self::Maximum | Self::Predict | Self::SoftmaxGradient => self.inputs() / CLASSES,
            _ => ELEMENTS,
        }
    }

    /// What an element is.
    fn unit(self) -> &'static str {
        match self {
            Self::MatrixProduct => "output of 256 products",
            Self::Maximum | Self::Predict | Self::SoftmaxGradient => "row of 10",
            Self::Sgd
            | Self::Momentum
            | Self::Adam
            | Self::AdamEverySecondMoment
            | Self::AdamKept
            | Self::AdamKeptLazy
            | Self::AmsGrad => "parameter",
            _ => "word",
        }
    }

    fn inputs(self) -> usize {
        match self {
            Self::MatrixProduct => SIDE * SIDE,
            Self::Maximum | Self::Predict | Self::SoftmaxGradient => 8192 * CLASSES,
            _ => ELEMENTS,
        }
    }
}

/// Operations make their own inputs: zeros, which take as long as any.
impl Program for Operation {
    type Output<W: Word> = ();

    #[allow(clippy::too_many_lines)] // one arm an operation
    fn run<W: Word>(&self, party: &mut Party<'_, W>, _: Vec<Vec<W>>) -> Result<(), Error> {
        let (n, f) = (self.inputs(), if W::BITS == 32 { 11 } else { 12 });
        let mut z = vec![W::default(); n];
        match self {
            Self::Open => drop(masked(party, n)?),
            Self::Multiply => {
                let ((x, a), (y, b)) = (masked(party, n)?, masked(party, n)?);
                multiply(party, Masked { words: &x, mask: a }, Masked { words: &y, mask: b }, &mut z)?;
            }
            Self::MatrixProduct => {
                let ((x, a), (y, b)) = (masked(party, n)?, masked(party, n)?);
                let factor = |words, mask: View<'static>| Factor::plain(Masked { words, mask: mask.matrix(SIDE) });
                matmul(party, factor(&x, a), factor(&y, b), &mut z)?;
            }
            Self::Truncate => truncate(party, &mut z, f)?,
            Self::Floor => floor(party, &mut z, f)?,
            Self::Sign => {
                let (mut c, mut out) = (z.clone(), vec![W::default(); plane_words::<W>(n)]);
                let mut draw = party.draw()?;
                let word = open(party, &mut draw, &z, Cut::signed(f), &mut c)?;
                sign(party, &mut draw, &word, &mut out)?;
            }
            Self::Relu | Self::ReluAndBackward => {
                let (mut bit, mut rho) = (vec![W::default(); plane_words::<W>(n)], z.clone());
                let mask = relu(party, &mut z, f, &mut bit, &mut rho)?;
                if matches!(self, Self::ReluAndBackward) {
                    relu_backward(party, &mut z, f, Selector { open: &bit, mask, rho: &rho })?;
                }
            }
            Self::Lift8 => lift(party, &mut z, 8)?,
            Self::Maximum => {
                let (mut c, mut out) = (z.clone(), vec![W::default(); n / CLASSES]);
                let mut draw = party.draw()?;
                let word = open(party, &mut draw, &z, Cut::signed(f), &mut c)?;
                maximum(party, &word, CLASSES, &mut out)?;
            }
            Self::Predict => {
                let mut hot = vec![W::default(); CLASSES * plane_words::<W>(n / CLASSES)];
                predict(party, (&z, f), CLASSES, &mut hot)?;
            }
            Self::Exponential => exponential(party, &z.clone(), [f, f], &mut z)?,
            Self::Reciprocal => reciprocal(party, &z.clone(), [f, f], (16, 4), &mut z)?,
            Self::SoftmaxGradient => {
                let (labels, mask) = masked(party, n)?;
                let softmax = Softmax::new(Shape { classes: 10, frac_bits: f, logit_frac_bits: 2 * f });
                let labels = Labels { one_hot: Masked { words: &labels, mask }, weights: None };
                softmax::gradient(party, &softmax, &z.clone(), labels, &mut z, None)?;
            }
            Self::Sgd => {
                let sgd = Sgd { learning_rate: Dyadic { factor: 205, shift: 12 }, grad_shift: f + 7 };
                let state = State { durable: &mut [], volatile: &mut [], mask: &mut None };
                sgd.step(party, Moment::constant(0), &mut z.clone(), &mut z, state)?;
            }
            Self::Momentum => {
                let momentum = Momentum {
                    learning_rate: Dyadic { factor: 205, shift: 12 },
                    momentum: Dyadic { factor: 115, shift: 7 },
                    grad_shift: if W::BITS == 32 { 14 } else { 12 },
                    weight_shift: if W::BITS == 32 { 4 } else { 7 },
                    narrow: W::BITS == 32,
                };
                let velocity = &mut vec![W::default(); n];
                let state = State { durable: velocity, volatile: &mut [], mask: &mut None };
                momentum.step(party, Moment::constant(0), &mut z.clone(), &mut z, state)?;
            }
            Self::Adam | Self::AdamEverySecondMoment | Self::AdamKept | Self::AdamKeptLazy | Self::AmsGrad => {
                adam(*self, party, &mut z)?
            }
        }
        Ok(())
    }
}

/// One step of Adam's kind; where buckets are kept, they are masked zeros made before.
fn adam<W: Word>(operation: Operation, party: &mut Party<'_, W>, weights: &mut [W]) -> Result<(), Error> {
    let n = weights.len();
    let lazy_second_moment = matches!(operation, Operation::AdamKeptLazy);
    let second_shift = if lazy_second_moment { 8 } else { 10 };
    let (grad_shift, first_threshold_log2, shift) = if W::BITS == 32 { (14, 4, 0) } else { (12, 12, 3) };
    let (refresh_every, bias_correction, rate) = (1, false, Dyadic::ONE);
    let adam = Adam {
        grad_shift,
        first_threshold_log2,
        thresholds: 6,
        shift,
        second_shift,
        lazy_second_moment,
        refresh_every,
        mapped_root: None,
        bias_correction,
        rate,
    };
    let adam = if matches!(operation, Operation::AdamEverySecondMoment) {
        Adam {
            first_threshold_log2: 2,
            thresholds: Adam::thresholds(W::BITS, second_shift, 2),
            shift: shift - first_threshold_log2.cast_signed() / 2 + 1,
            ..adam
        }
    } else {
        adam
    };
    let zeros = || vec![W::default(); n];
    let (mut gradient, mut first, mut second) = (zeros(), zeros(), zeros());
    let keeps = matches!(operation, Operation::AdamKept | Operation::AdamKeptLazy);
    let (mut words, mut mask) = if keeps { masked(party, n).map(|(w, m)| (w, Some(m)))? } else { (zeros(), None) };
    let moments = Moments { first: &mut first, second: &mut second };
    let mut kept = Kept { words: &mut words, mask: &mut mask };
    let turn = Turn { choose: !keeps, rate, decay: None };
    if matches!(operation, Operation::AmsGrad) {
        let mut passed = vec![W::default(); AmsGrad(adam).passed_words::<W>(n)];
        return AmsGrad(adam).turn(party, (&mut gradient, weights), moments, &mut passed, &mut kept, turn);
    }
    adam.turn(party, (&mut gradient, weights), moments, &mut kept, turn)
}

/// One row of the report.
#[derive(Debug, Serialize)]
struct Row {
    operation: Operation,
    ring_bits: u32,
    unit: &'static str,
    elements: usize,
    rounds: u64,
    bytes_each_way_per_element: f64,
    dealt_bytes_per_element: f64,
    elements_per_second: f64,
}

/// `symbolon bench`.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    match &args.what {
        Some(What::Reports(args)) => reports::run(args),
        Some(What::Predict(args)) => predict::run(args),
        Some(What::Kernels(args)) => kernels::run(args),
        Some(What::Records(args)) => records::run(args),
        None => operations(&args.operations, args.json.as_deref()),
    }
}

/// Measures everything on this machine.
fn operations(only: &[Operation], json: Option<&Path>) -> Result<(), Failure> {
    say!(
        "Two servers and a dealer as threads of this process, over memory; kernels: {}. Setting up the inputs' masks is part of each\n\
         row that needs them, in time, bytes and rounds.\n",
        crate::kernel::available::<u64>().next().map_or("portable", |set| set.name)
    );
    say!(
        "{:<22}{:>5}{:>10}{:>16}{:>16}{:>16}  element",
        "operation",
        "k",
        "rounds",
        "bytes each way",
        "bytes dealt",
        "elements/s"
    );
    let mut rows = Vec::new();
    for operation in if only.is_empty() { Operation::value_variants() } else { only } {
        rows.push(measure::<u32>(*operation)?);
        rows.push(measure::<u64>(*operation)?);
    }
    write_json(&rows, json)
}

/// Writes figures where they are wanted.
fn write_json(figures: &impl Serialize, path: Option<&Path>) -> Result<(), Failure> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::to_string_pretty(figures).map_err(|error| Failure::Other(error.to_string()))?;
    write_atomic(path, (text + "\n").as_bytes()).map_err(|error| Failure::write(path, &error))
}

#[allow(clippy::cast_precision_loss)]
fn measure<W: HostWord + Word>(operation: Operation) -> Result<Row, Failure> {
    let failed = |error: Error| Failure::Other(format!("{operation:?}: {error}"));
    let Planned { count, dealt_bytes, arena } = planned::<W>(&operation, &[]).map_err(failed)?;
    let (started, mut runs) = (Instant::now(), 0u32);
    while runs < 2 || started.elapsed().as_secs_f64() < SECONDS {
        let session = random_bytes()?;
        let prgs = [Aes128Prg::new(&random_seed()?, &session), Aes128Prg::new(&random_seed()?, &session)];
        let prgs: [&dyn Prg; 2] = [&prgs[0], &prgs[1]];
        let parties = Parties { program: &operation, prgs, kernels: best::<W>(), arena, dithers: None };
        parties.play(MemoryLink::pair(), [vec![], vec![]]).map_err(failed)?;
        runs += 1;
    }
    let elements = operation.elements() as f64;
    let row = Row {
        operation,
        ring_bits: W::BITS,
        unit: operation.unit(),
        elements: operation.elements(),
        rounds: count.rounds,
        bytes_each_way_per_element: count.bytes as f64 / elements,
        dealt_bytes_per_element: dealt_bytes as f64 / elements,
        elements_per_second: elements * f64::from(runs) / started.elapsed().as_secs_f64(),
    };
    say!(
        "{:<22}{:>5}{:>10}{:>16.2}{:>16.2}{:>16.3e}  {}",
        format!("{operation:?}"),
        row.ring_bits,
        row.rounds,
        row.bytes_each_way_per_element,
        row.dealt_bytes_per_element,
        row.elements_per_second,
        row.unit
    );
    Ok(row)
}
