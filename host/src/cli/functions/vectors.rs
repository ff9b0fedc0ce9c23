//! Functions of vectors and comparisons: result, cost and speed a row.

use super::super::exit::Failure;
use crate::{
    kernel::{HostWord, best},
    session::{random_bytes, random_seed},
};
use serde::Serialize;
use std::time::Instant;
use symbolon_core::{
    function::{
        Numbers,
        classify::predict,
        division,
        log_softmax::log_softmax,
        method::{Bound, Function, Method},
        norm::Norm,
        scalar::{AnyScalar, Exponential, Reciprocal},
        softmax::{Shape, Softmax, probabilities},
        softmax_methods::Methods,
        top_k::{Largest, top_k},
    },
    kernel::plane_words,
    link::Error,
    party::Party,
    prg::{Aes128Prg, Prg},
    protocol::{
        clamp::clamp,
        equal::equal_words,
        maximum::maximum,
        pair::{less_than_words, minimum, select},
        sort::{Direction, sort},
        truncate::{Cut, open},
    },
    word::Word,
};
use symbolon_parties::{MemoryLink, Parties, Planned, Program, planned};

/// Rows of a run.
const ROWS: usize = 1 << 10;
/// Each function is repeated for this long, in seconds.
const SECONDS: f64 = 0.05;
/// Words of a row of classes.
const CLASSES: usize = 10;
/// Words of a row that is sorted, and of one whose norm is computed.
const SORTED: usize = 8;
const NORMED: usize = 16;
/// Largest words that top-k finds.
const TOP: usize = 3;

/// Names of all functions of vectors.
pub(super) const NAMES: [&str; 13] = [
    "division",
    "less-than",
    "equality",
    "minimum",
    "clamp",
    "select",
    "maximum",
    "argmax",
    "top-k",
    "sort",
    "softmax",
    "log-softmax",
    "norm",
];

/// A function, with its tables.
#[derive(Clone, Debug)]
enum VectorWork {
    Divide(Numbers),
    LessThan,
    Equality,
    Minimum,
    Clamp,
    Select,
    Maximum,
    Argmax,
    TopK,
    Sort,
    Softmax(Box<Softmax>),
    LogSoftmax(Box<Softmax>),
    Norm(Norm),
}

/// A function of rows of a fixed length.
#[derive(Clone, Debug)]
pub(super) struct VectorFunction {
    name: &'static str,
    /// The words of a row.
    row: String,
    work: VectorWork,
}

/// The figures of a function, each a row.
#[derive(Debug, Serialize)]
pub(super) struct VectorFigures {
    function: &'static str,
    row: String,
    ring_bits: u32,
    frac_bits: u32,
    /// The guaranteed bound in units of the last place; 0 where the result is exact.
    bound_units: f64,
    rounds: u64,
    bytes_each_way: f64,
    dealt_bytes: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_per_second: Option<f64>,
}

impl VectorFunction {
    /// All functions in `numbers`.
    pub(super) fn catalogue(numbers: &Numbers) -> Vec<Self> {
        let [exponential, reciprocal] = [AnyScalar::Exponential(Exponential {}), AnyScalar::Reciprocal(Reciprocal {})]
            .map(|scalar| Some(Function { scalar, method: Method::Auto }));
        let by_mapping = Methods { exponential, reciprocal, raw: false };
        #[allow(clippy::cast_possible_truncation)] // ten
        let shape = Shape { classes: CLASSES as u32, frac_bits: numbers.frac_bits, logit_frac_bits: numbers.frac_bits };
        let on_cells = Box::new(Softmax::new(shape));
        let precise = Box::new((*on_cells).clone().by(by_mapping.resolved(numbers)));
        let own = |name, row: String, work| Self { name, row, work };
        let words = |n: usize| format!("{n} words");
        let cells = || format!("{CLASSES} words, on cells");
        let two = || words(2);
        vec![
            own("division", two(), VectorWork::Divide(*numbers)),
            own("less-than", two(), VectorWork::LessThan),
            own("equality", two(), VectorWork::Equality),
            own("minimum", two(), VectorWork::Minimum),
            own("clamp", "a word".to_owned(), VectorWork::Clamp),
            own("select", "a bit, 2 words".to_owned(), VectorWork::Select),
            own("maximum", words(CLASSES), VectorWork::Maximum),
            own("argmax", words(CLASSES), VectorWork::Argmax),
            own("top-k", format!("{TOP} of {CLASSES} words"), VectorWork::TopK),
            own("sort", words(SORTED), VectorWork::Sort),
            own("softmax", cells(), VectorWork::Softmax(on_cells.clone())),
            own("softmax", words(CLASSES), VectorWork::Softmax(precise.clone())),
            own("log-softmax", cells(), VectorWork::LogSoftmax(on_cells)),
            own("log-softmax", words(CLASSES), VectorWork::LogSoftmax(precise)),
            own("norm", words(NORMED), VectorWork::Norm(Norm::new(*numbers, 0))),
        ]
    }

    /// The name that selects it.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// The largest error of a result, in units of the last place: of norms from 1 on, of quotients
    /// up to 1. Exact results have 0.
    fn bound(&self, numbers: &Numbers) -> f64 {
        match &self.work {
            VectorWork::Divide(numbers) => {
                let Bound { units, relative } = division::bound(numbers);
                units + relative * f64::from(1u32 << numbers.frac_bits)
            }
            VectorWork::Softmax(softmax) => softmax.bounds(numbers.ring_bits).probability,
            VectorWork::LogSoftmax(softmax) => softmax.bounds(numbers.ring_bits).logarithm,
            VectorWork::Norm(norm) => norm.bound(1.0).max(norm.bound(norm.largest())),
            _ => 0.0,
        }
    }

    /// Words of each input.
    fn lens<W: Word>(&self) -> Vec<usize> {
        match &self.work {
            VectorWork::Divide(_) | VectorWork::LessThan | VectorWork::Equality | VectorWork::Minimum => vec![ROWS; 2],
            VectorWork::Clamp => vec![ROWS],
            VectorWork::Select => vec![plane_words::<W>(ROWS), ROWS, ROWS],
            VectorWork::Sort => vec![SORTED * ROWS],
            VectorWork::Norm(_) => vec![NORMED * ROWS],
            _ => vec![CLASSES * ROWS],
        }
    }

    /// Counts its cost by a dry run, and measures its speed if `timed`.
    pub(super) fn figures(&self, numbers: &Numbers, timed: bool) -> Result<VectorFigures, Failure> {
        if numbers.ring_bits == 32 { self.of::<u32>(numbers, timed) } else { self.of::<u64>(numbers, timed) }
    }

    #[allow(clippy::cast_precision_loss)] // figures
    fn of<W: HostWord + Word>(&self, numbers: &Numbers, timed: bool) -> Result<VectorFigures, Failure> {
        let failed = |error: Error| Failure::Other(format!("{}: {error}", self.name));
        let Planned { count, dealt_bytes, arena } = planned::<W>(self, &self.lens::<W>()).map_err(failed)?;
        let rows_per_second = if timed { Some(self.speed::<W>(arena)?) } else { None };
        let rows = ROWS as f64;
        Ok(VectorFigures {
            function: self.name,
            row: self.row.clone(),
            ring_bits: W::BITS,
            frac_bits: numbers.frac_bits,
            bound_units: self.bound(numbers),
            rounds: count.rounds,
            bytes_each_way: count.bytes as f64 / rows,
            dealt_bytes: dealt_bytes as f64 / rows,
            rows_per_second,
        })
    }

    /// Rows a second of two servers and a dealer that are threads.
    #[allow(clippy::cast_precision_loss)] // figures
    fn speed<W: HostWord + Word>(&self, arena: usize) -> Result<f64, Failure> {
        let session = random_bytes()?;
        let seeds = [Aes128Prg::new(&random_seed()?, &session), Aes128Prg::new(&random_seed()?, &session)];
        let prgs: [&dyn Prg; 2] = [&seeds[0], &seeds[1]];
        let parties = Parties { program: self, prgs, kernels: best::<W>(), arena, dithers: None };
        let (started, mut runs) = (Instant::now(), 0u32);
        while runs < 2 || started.elapsed().as_secs_f64() < SECONDS {
            let zeros = || self.lens::<W>().into_iter().map(|len| vec![W::default(); len]).collect();
            parties
                .play(MemoryLink::pair(), [zeros(), zeros()])
                .map_err(|error| Failure::Other(format!("{}: {error}", self.name)))?;
            runs += 1;
        }
        Ok(ROWS as f64 * f64::from(runs) / started.elapsed().as_secs_f64())
    }
}

impl Program for VectorFunction {
    type Output<W: Word> = Vec<W>;

    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<W>, Error> {
        let room = |n: usize| vec![W::default(); n];
        let mut out = room(ROWS);
        match (&self.work, &mut inputs[..]) {
            (VectorWork::Divide(numbers), [x, y]) => division::divide(party, numbers, (x, y), &mut out)?,
            (VectorWork::LessThan, [x, y]) => less_than_words(party, x, y, &mut out)?,
            (VectorWork::Equality, [x, y]) => equal_words(party, x, y, &mut out)?,
            (VectorWork::Minimum, [x, y]) => minimum(party, x, y, &mut out)?,
            (VectorWork::Select, [bit, x, y]) => select(party, bit, (x, y), &mut out)?,
            (VectorWork::Clamp, [x]) => clamp(party, x, W::from_i64(-1), W::from_i64(1))?,
            (VectorWork::Sort, [x]) => sort(party, x, SORTED, Direction::Ascending)?,
            (VectorWork::Maximum, [x]) => {
                let (mut c, mut draw) = (room(x.len()), party.draw()?);
                let word = open(party, &mut draw, x, Cut::signed(0), &mut c)?;
                maximum(party, &word, CLASSES, &mut out)?;
            }
            (VectorWork::Argmax, [x]) => predict(party, (x, 0), CLASSES, &mut room(CLASSES * plane_words::<W>(ROWS)))?,
            (VectorWork::TopK, [x]) => {
                let (mut values, mut indices) = (room(TOP * ROWS), room(TOP * ROWS));
                let out = Largest { values: &mut values, indices: &mut indices, one_hot: &mut [] };
                top_k(party, (x, 0), (CLASSES, TOP), out)?;
            }
            (VectorWork::Softmax(softmax), [x]) => probabilities(party, softmax, x, &mut room(x.len()))?,
            (VectorWork::LogSoftmax(softmax), [x]) => log_softmax(party, softmax, x, &mut room(x.len()))?,
            (VectorWork::Norm(norm), [x]) => norm.apply(party, (x, NORMED), &mut out)?,
            _ => unreachable!("inputs are those of `lens`"),
        }
        Ok(out)
    }
}

/// Describes a bound.
fn units(bound: f64) -> String {
    if bound == 0.0 { "exact".to_owned() } else { format!("{bound:.1}") }
}

/// Prints bounds and costs as a table.
pub(super) fn markdown(vectors: &[VectorFunction], numbers: &Numbers) -> Result<(), Failure> {
    say!("| function of vectors | row | units | rounds | bytes each way | bytes dealt |");
    say!("| --- | --- | --- | --- | --- | --- |");
    for vector in vectors {
        let VectorFigures { function, row, bound_units, rounds, bytes_each_way, dealt_bytes, .. } =
            vector.figures(numbers, false)?;
        let bound = units(bound_units);
        say!("| {function} | {row} | {bound} | {rounds} | {bytes_each_way:.1} | {dealt_bytes:.0} |");
    }
    Ok(())
}

/// Prints bounds, costs and speeds, and returns them.
pub(super) fn list(vectors: &[VectorFunction], numbers: &Numbers) -> Result<Vec<VectorFigures>, Failure> {
    say!(
        "Functions of vectors and comparisons. `units` is the guaranteed bound in units of 2^-{}, of norms from 1 on,\n\
         of quotients up to 1. Bytes sent each way and bytes dealt are per row.\n",
        numbers.frac_bits
    );
    let titles = ["function", "row", "units", "rounds", "sent", "dealt", "rows/s"];
    let [function, row, bound, rounds, sent, dealt, speed] = titles;
    say!("{function:<20}{row:<24}{bound:>12}{rounds:>8}{sent:>9}{dealt:>9}{speed:>10}");
    let mut all = Vec::new();
    for vector in vectors {
        let figures = vector.figures(numbers, true)?;
        say!(
            "{:<20}{:<24}{:>12}{:>8}{:>9.1}{:>9.1}{:>10.2e}",
            figures.function,
            figures.row,
            units(figures.bound_units),
            figures.rounds,
            figures.bytes_each_way,
            figures.dealt_bytes,
            figures.rows_per_second.unwrap_or_default()
        );
        all.push(figures);
    }
    Ok(all)
}
