//! From codes in their narrow rings to the numbers of a job: what stands between stored reports and training.
//!
//! A reading is lifted into the ring, then its public line `slope * code + first` is taken with `g` fraction bits more than values have, as many as `k - 2`
//! bits hold, and truncated to `f`. A label's code becomes a one-hot row. Readings of one width go together, with the least `g` among them.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}. Whatever devices sent, any words are codes in range: values stay within the lines' declared
//!   ends, and labels past the last class become rows of zeros.
//! - **Cost:** [`lift`] and a truncation for each reading, [`one_hot`] for each label; rounds once a tile.
//! - **Result:** the line of the code, within a unit of `2^-f`, plus the rounding of the slope: half of `2^-(f + g)` for each code away from where the value is
//!   nearest to 0.
//! - **Memory:** a tile, and for labels 64 rows of `2^bits` words or a tile; in place but for the one-hot rows.

use super::{
    inputs::{InputTable, Inputs},
    table::rewrite,
};
use crate::{
    job::{Format, Job, Line, Target},
    lanes::Lanes,
    secret::Secret,
    storage::Words,
};
use symbolon_core::{
    function::classify::one_hot,
    link::Error,
    party::{NoTrace, Party},
    protocol::{lift::lift, truncate::truncate},
    word::Word,
};

/// Rows of labels that are looked up at a time, at least: what fills a plane.
const LABEL_ROWS: usize = 64;

/// The inputs of `job` in its numbers; those that are codes are lifted.
pub(super) fn into_ring<W: Word>(
    lanes: &mut Lanes<'_, W>,
    job: &Job,
    mut inputs: Inputs<W>,
) -> Result<Inputs<W>, Error> {
    let Format::Reports(reports) = &job.data.format else { return Ok(inputs) };
    let tile = job.lanes.tile;
    let widths = widths::<W>(job, &job.data.lines());
    readings(lanes, &widths, &mut inputs.train, job.data.features(), tile)?;
    readings(lanes, &widths, &mut inputs.test, job.data.features(), tile)?;
    let targets: Vec<Line> = job.data.target_line().into_iter().collect();
    let widths = self::widths::<W>(job, &targets);
    match reports.target {
        Target::Label(place) => {
            let mut hot = [
                InputTable::HotTrain.make_in_job(job, &inputs.storage)?,
                InputTable::HotTest.make_in_job(job, &inputs.storage)?,
            ];
            let tables = [&mut inputs.train_labels, &mut inputs.test_labels];
            for (codes, hot) in tables.iter().zip(&mut hot) {
                labels(lanes, codes, place.bits, (job.outputs(), hot), tile)?;
            }
            [inputs.train_labels, inputs.test_labels] = hot;
        }
        Target::Reading(_) => {
            readings(lanes, &widths, &mut inputs.train_labels, 1, tile)?;
            readings(lanes, &widths, &mut inputs.test_labels, 1, tile)?;
        }
    }
    Ok(inputs)
}

/// Returns the most words of a table that a lane has in hand while it lifts them.
pub(super) fn tile_words(job: &Job) -> usize {
    let Format::Reports(reports) = &job.data.format else { return 0 };
    let (tile, cols) = (job.lanes.tile, job.data.features());
    let of_width = |bits: u32| {
        let columns = reports.columns.iter().filter(|column| column.place.bits == bits).count();
        let fewest = if columns > tile { columns % tile } else { columns };
        if columns == 0 { 0 } else { tile / fewest.max(1) * cols }
    };
    let readings = [1, 8, 16, 32].map(of_width).into_iter().max().unwrap_or(0);
    let labels = match reports.target {
        Target::Label(place) => (tile >> place.bits).max(LABEL_ROWS) * job.outputs(),
        Target::Reading(_) => tile,
    };
    readings.max(labels)
}

/// The lines of a job's readings in integers, for rows that are lifted batch by batch; none for a
/// job that learns from files.
pub(super) struct RowLines<W>(Vec<Width<W>>);

impl<W: Word> RowLines<W> {
    /// The lines of `job`'s features.
    pub(super) fn new(job: &Job) -> Self {
        Self(widths(job, &job.data.lines()))
    }

    /// Lifts rows of `cols` codes, in place: all rows at once, about `tile` codes at a time.
    pub(super) fn lift(
        &self,
        party: &mut Party<'_, W>,
        table: &mut [W],
        (cols, tile): (usize, usize),
    ) -> Result<(), Error> {
        let at_once = (tile * cols / table.len().max(1)).max(1);
        for width in &self.0 {
            for columns in width.columns.chunks(at_once) {
                readings_tile(party, width, columns, table, cols)?;
            }
        }
        Ok(())
    }
}

/// The readings of one width.
struct Width<W> {
    bits: u32,
    /// Fraction bits to truncate.
    extra_bits: u32,
    columns: Vec<Column<W>>,
}

/// A column of a table and its line.
struct Column<W> {
    index: usize,
    slope: W,
    first: W,
}

/// The lines of a table's columns in integers, width by width.
fn widths<W: Word>(job: &Job, lines: &[Line]) -> Vec<Width<W>> {
    let frac_bits = job.numbers.frac_bits;
    let of_width = |bits: u32| {
        let own = || lines.iter().enumerate().filter(move |(_, line)| line.bits == bits);
        // A valid job's lines fit.
        let extra_bits = own().filter_map(|(_, line)| line.extra_bits(W::BITS, frac_bits)).min()?;
        let columns = own().map(|(index, line)| {
            let (slope, first) = line.integers(frac_bits + extra_bits);
            // Scaled readings are multiples of 2^grain, so that their shares have no dither below;
            // the first value is rounded to such a multiple, too.
            let grain = slope.trailing_zeros().min(extra_bits);
            let first = ((first >> grain) + (first << 1 >> grain & 1)) << grain;
            Column { index, slope: W::from_i64(slope), first: W::from_i64(first) }
        });
        Some(Width { bits, extra_bits, columns: columns.collect() })
    };
    [1, 8, 16, 32].into_iter().filter_map(of_width).collect()
}

/// Lifts a table of `cols` codes a row, in place: width by width, each lane its rows, tile by tile.
fn readings<W: Word>(
    lanes: &mut Lanes<'_, W>,
    widths: &[Width<W>],
    table: &mut Words<W>,
    cols: usize,
    tile: usize,
) -> Result<(), Error> {
    for width in widths {
        for columns in width.columns.chunks(tile) {
            let (states, at_once) = (vec![(); lanes.len()], tile / columns.len() * cols);
            rewrite(lanes, table, (cols, at_once), states, |party, (), _, rows| {
                party.trace.enter(0, "lift readings");
                readings_tile(party, width, columns, rows, cols)
            })?;
        }
    }
    Ok(())
}

/// Lifts `columns` of a few rows.
fn readings_tile<W: Word>(
    party: &mut Party<'_, W>,
    width: &Width<W>,
    columns: &[Column<W>],
    table: &mut [W],
    cols: usize,
) -> Result<(), Error> {
    // By construction the words fill the range of an opening, whatever the data: nothing for an
    // audit or alarms to see.
    let mut unseen = NoTrace;
    let rows = table.len() / cols;
    let ([z], mut party) = party.scratch([rows * columns.len()])?;
    (party.trace, party.alarms) = (&mut unseen, None);
    for (z, column) in z.chunks_exact_mut(rows).zip(columns) {
        copy(z.iter_mut(), table[column.index..].iter().step_by(cols));
    }
    lift(&mut party, z, width.bits)?;
    for (z, column) in z.chunks_exact_mut(rows).zip(columns) {
        party.kernels.scale(z, column.slope);
        party.kernels.add_constant(z, party.role.first(column.first));
    }
    truncate(&mut party, z, width.extra_bits)?;
    for (z, column) in z.chunks_exact(rows).zip(columns) {
        copy(table[column.index..].iter_mut().step_by(cols), z.iter());
    }
    Ok(())
}

/// Copies words, unless they are dry: then nothing is there, and a dry run costs nothing.
fn copy<'a, W: Word>(to: impl Iterator<Item = &'a mut W>, from: impl Iterator<Item = &'a W>) {
    if size_of::<W>() > 0 {
        to.zip(from).for_each(|(to, from)| *to = *from);
    }
}

/// Writes the one-hot rows of the labels' codes to `hot`: each lane its rows, some at a time.
fn labels<W: Word>(
    lanes: &mut Lanes<'_, W>,
    codes: &Words<W>,
    bits: u32,
    (classes, hot): (usize, &mut Words<W>),
    tile: usize,
) -> Result<(), Error> {
    let rows = (tile >> bits).max(LABEL_ROWS);
    let states = (0..lanes.len()).map(|_| Secret::zeros(rows)).collect();
    rewrite(lanes, hot, (classes, rows * classes), states, |party, own: &mut Secret<W>, at, hot| {
        party.trace.enter(0, "look up labels");
        let own = &mut own[..hot.len() / classes];
        codes.read(at / classes, own)?;
        one_hot(party, own, bits, classes, hot)
    })
}

#[cfg(test)]
mod tests;
