//! Binary cross-entropy of each output through a sigmoid.
//!
//! The loss is `ln(1 + e^z) - y z`, the gradient `σ(z) - y`. Both come from one opened word, the
//! cell `c` of `z`, a quarter wide: `σ(c) = [c >= 0] + g(c)` and `ln(1 + e^c) = max(0, c) + h(c)`,
//! where `g(c) = σ(c) - [c >= 0]` and `h(c) = ln(1 + e^-|c|)` vanish on both sides. So one table
//! with one value beyond its domain serves both ends, and no `z` is too large. There are 64
//! cells on `[-8, 8)`.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** rounds: one for the word, one or two for its sign, one or two for the digits above
//!   the index, one for the planes. Bits each way an output, for `f = 11`, 12 planes of `g` and 11
//!   of `h`:
//!
//!   | `k` | rounds | word | sign | above the index (with the loss) | planes (with the loss) |
//!   | --- | --- | --- | --- | --- | --- |
//!   | 32 | 4 | 12 | 2 | 17 (33) | 13 (24) |
//!   | 64 | 6 | 44 | 28 | 39 (57) | 13 (24) |
//!
//!   Rows' weights take a round more, and a word each way and dealt an output, twice with the loss.
//!   The loss takes no round, unless labels have more than `f - 2` fraction bits: then one, and
//!   `k - label_frac_bits - 2 + f` bits each way.
//! - **Result:** `σ` and the loss at a cell next to `z`, exact at multiples of a quarter. One
//!   result of the gradient is within `2^-4` of `σ(z) - y`, in the mean over the dither within
//!   `2^-10`; a term of the loss within 0.25, in the mean within 0.003. Beyond 8, `σ` is off by
//!   less than `e^-8` and the loss by as much. Half a unit comes on top.
//! - **Predictions:** `σ` by the [default method](Method::Auto) of the function, where the ring has
//!   room: within 0.002 of the exact one for `f >= 11`. Otherwise `σ` by the cells of the gradient.
//! - **Needs:** `-2^(k-2) <= z <= 2^(k-2) - 2^(2f-2)`: range alarms see each such word. Labels from
//!   0 to 1.
//! - **Memory:** scratch as a dry run says, and tables of 4 kB; no heap.
//! - **Source:** derived here.

use super::{Activation, Describe, Loss, LossError, Numbers, Target, minus_labels};
use crate::{
    correlation::{Draw, View, Words, request::BitToWord},
    function::{
        self, Table, exp, ln,
        method::{Function, Method},
        scalar::{AnyScalar, Sigmoid},
        tabulate,
    },
    kernel::plane_words,
    link::Error,
    mapping::{Domain, Mapping, OneHot, Saturation, mapped_beside},
    party::Party,
    protocol::{
        alarm::compared,
        masked::{Masked, mask_and_open},
        rows::multiply_rows,
        select::{Selector, select},
        sign::sign,
        times::times_masked,
        truncate::{Cut, Opened, open_compared, truncate, truncated},
    },
    word::Word,
};
use serde::{Deserialize, Serialize};

/// Bits of the index: 64 cells.
const BITS: u32 = 6;
/// Cells are `2^-CELL_FRAC_BITS` wide.
const CELL_FRAC_BITS: u32 = 2;

/// Binary cross-entropy of the sigmoid of each output, one term per output. Targets lie from 0 to
/// 1.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Logistic {}

/// A logistic loss that is ready to run, with its tables.
#[derive(Clone, Debug)]
pub struct Built {
    frac_bits: u32,
    label_frac_bits: u32,
    domain: Domain,
    /// `g` and `h`.
    tables: [Table; 2],
    /// For predictions, where the ring has room: cells serve gradients, and are up to 0.04 off.
    precise: Option<Function>,
}

impl Describe for Logistic {
    type Loss = Built;

    fn limits(&self, numbers: &Numbers) -> [i128; 2] {
        // For labels from 0 to 1: the largest output, and ln 2 with the error of a cell.
        let largest = 1 << (numbers.ring_bits - 2 - numbers.output_frac_bits);
        [-1, largest + 1].map(|limit: i128| limit << numbers.frac_bits)
    }

    fn error_bits(&self, numbers: &Numbers) -> u32 {
        numbers.ring_bits - 3 - numbers.output_frac_bits + numbers.frac_bits
    }

    fn activation(&self) -> Activation {
        Activation::Sigmoid
    }

    fn at_zero(&self, outputs: usize, _: f64) -> f64 {
        outputs as f64 * core::f64::consts::LN_2 // outputs are few
    }

    fn check(&self, numbers: &Numbers) -> Result<(), LossError> {
        // The word has a bit more than the index, and the bits of a comparison.
        let most = numbers.ring_bits - BITS - 2 + CELL_FRAC_BITS;
        numbers.frac_bits_within(CELL_FRAC_BITS, most / 2)?;
        numbers.output_frac_bits_within(numbers.frac_bits, most)?;
        numbers.labels_fit()
    }

    fn build(&self, numbers: &Numbers) -> Result<Built, LossError> {
        self.check(numbers)?;
        let Numbers { frac_bits, output_frac_bits, label_frac_bits, .. } = *numbers;
        let domain = Domain { shift: output_frac_bits - CELL_FRAC_BITS, bits: BITS, signed: true };
        let table = |function: fn(f64) -> f64| tabulate(&domain, output_frac_bits, frac_bits, function);
        let tables = [table(sigmoid_less_step), table(|x| ln(1.0 + exp(-x.abs())))];
        let own = function::Numbers { ring_bits: numbers.ring_bits, frac_bits };
        let sigmoid = Function { scalar: AnyScalar::Sigmoid(Sigmoid {}), method: Method::Auto }.resolved(&own);
        let precise = sigmoid.check(&own).is_ok().then_some(sigmoid);
        Ok(Built { frac_bits, label_frac_bits, domain, tables, precise })
    }
}

/// `σ(x) - [x >= 0]`.
fn sigmoid_less_step(x: f64) -> f64 {
    let tail = 1.0 / (1.0 + exp(x.abs()));
    if x >= 0.0 { -tail } else { tail }
}

impl<W: Word> Loss<W> for Built {
    fn gradient(
        &self,
        party: &mut Party<'_, W>,
        z: &mut [W],
        target: Target<'_, W>,
        loss: Option<&mut [W]>,
    ) -> Result<(), Error> {
        let n = z.len();
        let of_loss = if loss.is_some() { n } else { 0 };
        let lens = [n, n, n + of_loss, of_loss, n, plane_words::<W>(n)];
        let ([c, y, values, cells, rho, bit], mut party) = party.scratch(lens)?;
        let mut draw = party.draw()?;
        let word = open_compared(&mut party, &mut draw, z, Cut::signed(self.domain.shift), c)?; // round 1
        let tables = if of_loss > 0 { &self.tables[..] } else { &self.tables[..1] };
        let mask = self.functions(&mut party, &mut draw, (&word, tables), values, (&mut *bit, &mut *rho))?;
        if loss.is_some() {
            let sign = Selector { open: bit, mask, rho };
            self.ramp(&mut party, &mut draw, &word, sign, cells, &mut values[n..])?;
        }
        if let Some(weights) = target.weights {
            weigh(&mut party, values, weights, n)?;
        }
        z.copy_from_slice(&values[..n]);
        target.labels.share(&party, y);
        party.kernels.add_scaled(z, y, minus_labels(self.frac_bits, self.label_frac_bits));
        let Some(loss) = loss else { return Ok(()) };
        loss.copy_from_slice(&values[n..]);
        times_masked(&mut party, &mut draw, &word, target.labels, cells)?;
        let bits = self.frac_bits + self.loss_bits() - CELL_FRAC_BITS;
        party.kernels.add_scaled(loss, cells, minus_labels(bits, self.label_frac_bits));
        if self.loss_bits() > 0 { truncate(&mut party, loss, self.loss_bits()) } else { Ok(()) }
    }

    fn predict(&self, party: &mut Party<'_, W>, z: &mut [W]) -> Result<(), Error> {
        let n = z.len();
        if let Some(sigmoid) = &self.precise {
            let ([x], mut party) = party.scratch([n])?;
            match self.domain.shift + CELL_FRAC_BITS - self.frac_bits {
                0 => {}
                more => truncate(&mut party, z, more)?,
            }
            x.copy_from_slice(z);
            let numbers = function::Numbers { ring_bits: W::BITS, frac_bits: self.frac_bits };
            return sigmoid.apply(&mut party, &numbers, (x, z), None);
        }
        let ([c, values, rho, bit], mut party) = party.scratch([n, n, n, plane_words::<W>(n)])?;
        let mut draw = party.draw()?;
        let word = open_compared(&mut party, &mut draw, z, Cut::signed(self.domain.shift), c)?;
        self.functions(&mut party, &mut draw, (&word, &self.tables[..1]), values, (bit, rho))?;
        z.copy_from_slice(values);
        Ok(())
    }
}

impl Built {
    /// Fraction bits that the loss has more than its result until it is truncated: those that the
    /// product of a cell and a label needs.
    fn loss_bits(&self) -> u32 {
        (self.label_frac_bits + CELL_FRAC_BITS).saturating_sub(self.frac_bits)
    }

    /// Writes shares of `σ` of the opened cells to `values`, and of `h` if `tables` has it. Opens
    /// the cells' signs in `bit`, names their mask, and writes its share to `rho`.
    fn functions<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        draw: &mut Draw,
        (word, tables): (&Opened<'_, W>, &[Table]),
        values: &mut [W],
        (bit, rho): (&mut [W], &mut [W]),
    ) -> Result<View<'static>, Error> {
        let n = word.c.len();
        let [g, h] = self.tables.each_ref().map(|table| &table[..self.domain.cells()]);
        let mapping = Mapping {
            domain: self.domain,
            tables: &[g, h][..tables.len()],
            one_hot: Some(OneHot::Boolean),
            beyond: Some(Saturation { below: &[0; 2][..tables.len()], above: &[0; 2][..tables.len()], range: None }),
        };
        sign(party, draw, word, bit)?; // a round, or two
        let mask = mapped_beside(party, draw, &mapping, word, values, bit)?; // two rounds, or three
        if party.is_clear() {
            rho.fill(W::default());
        } else {
            party.take(draw, BitToWord { bits: mask, len: n, width: W::BITS }, &mut [&mut *rho])?;
        }
        compared(party, draw, (word.c, Words::Mask(word.mask), n, word.cut.bits()), (bit, mask))?;
        party.kernels.bit_to_word(&mut values[..n], bit, rho, self.frac_bits, party.role.first_mask());
        Ok(mask)
    }

    /// Writes shares of the cells to `cells` and adds `max(0, c)` to `softplus`, which has
    /// [`Self::loss_bits`] more from then on: no round.
    fn ramp<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        draw: &mut Draw,
        word: &Opened<'_, W>,
        sign: Selector<'_, W>,
        cells: &mut [W],
        softplus: &mut [W],
    ) -> Result<(), Error> {
        let ([positive], mut party) = party.scratch([cells.len()])?;
        truncated(&mut party, draw, word, cells)?;
        positive.copy_from_slice(cells);
        select(&mut party, draw, word, sign, positive)?;
        let bits = self.loss_bits();
        party.kernels.scale(softplus, W::from_u64(1 << bits));
        party.kernels.add_scaled(softplus, positive, W::from_u64(1 << (self.frac_bits + bits - CELL_FRAC_BITS)));
        Ok(())
    }
}

/// Multiplies `values`, once or twice `n` words, by a masked word a row: one round.
fn weigh<W: Word>(party: &mut Party<'_, W>, values: &mut [W], weights: Masked<'_, W>, n: usize) -> Result<(), Error> {
    let ([open], mut party) = party.scratch([values.len()])?;
    open.copy_from_slice(values);
    let mask = party.draw()?.mask(open.len());
    let mask = mask_and_open(&mut party, open, mask)?; // the one round
    for (i, values) in values.chunks_exact_mut(n.max(1)).enumerate() {
        let part = Masked { words: &open[i * n..][..n], mask: mask.slice(i * n, n) };
        multiply_rows(&mut party, part, weights, values)?;
    }
    Ok(())
}
