//! Softmax and the gradient of its cross-entropy.
//!
//! With `x_j = max_i z_i - z_j`, `e_j = exp(-x_j)` and `S = Σ e_j`, the probabilities are `p_j = e_j / S`. The gradient is **not** computed as `p_j - y_j`: with any approximate
//! reciprocal `r` that does not sum to zero over the classes, nothing stops the drift, and training diverges. It is `δ_j = r (e_j - y_j S)`, which sums to zero whatever `r` is.
//!
//! The maximum, the exponential's arguments and the loss are those of truncated logits, which one
//! opening gives.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** [`gradient`] of three to ten classes: 10 rounds for `k = 32`, 12 for `k = 64`; one
//!   fewer with two. A row of ten, 11 fraction bits, logits of 22: 1615 bits each way for
//!   `k = 32`, 405 of them the maximum's; 4439 for `k = 64`.
//! - **Result:** `e_j` by [`exponential`], `1 / S` by [`reciprocal`] on cells of a quarter. Each entry of the gradient is within 0.3 of the exact one, in the mean over the
//!   dithers within 0.04, and the entries of a row sum to zero within as many units of the last place as there are classes (up to 63 classes). The loss of a row is within 0.72, in the mean within 0.03.
//! - **Needs:** logits with `|z_i - z_j| <= 2^(k-2) - 2^(t+1)` units, `t` the bits that are
//!   truncated. The sums of a row fit their table by construction: no term is above 1.
//! - **Memory:** scratch as a dry run says, and a [`Softmax`], 6 kB; no heap.

use super::{Numbers, Table, exponential, logarithm, reciprocal, softmax_methods::Methods};
use crate::{
    correlation::{Draw, View},
    kernel::{packed_words, plane_words},
    link::{Error, Fold},
    mapping::{Domain, Mapping, OneHot, blind_index, map, mapped, open_index},
    party::Party,
    protocol::{
        masked::{Masked, hide, mask_and_open},
        maximum::{argmax, choose},
        product::multiply,
        rows::multiply_rows,
        times::times_masked,
        truncate::{Cut, Opened, open, truncate, truncate_two, truncated},
    },
    word::Word,
};

/// Cells of the sum are a quarter wide, as far as 8 bits of index go: up to 63 classes.
const SUM_FRAC_BITS: u32 = 2;

/// Shape and numbers of a softmax.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shape {
    /// Words a row: 2 to 255.
    pub classes: u32,
    /// Fraction bits of the results, of the truncated logits and of the functions within.
    pub frac_bits: u32,
    /// Fraction bits of the logits, as many or more: twice as many for sums of products.
    pub logit_frac_bits: u32,
}

/// A softmax, with its tables: 6 kB.
#[derive(Clone, Debug)]
pub struct Softmax {
    shape: Shape,
    exponential: (Domain, Table),
    /// The domain of a row's sum, and its reciprocal and logarithm.
    of_sum: (Domain, [Table; 2]),
    methods: Methods,
}

impl Softmax {
    /// Tabulates the functions of `shape`.
    ///
    /// # Panics
    ///
    /// If its numbers are out of range.
    pub fn new(shape: Shape) -> Self {
        let Shape { classes, frac_bits, logit_frac_bits, .. } = shape;
        assert!((2..256).contains(&classes), "softmax: 2 to 255 classes");
        assert!(logit_frac_bits >= frac_bits, "softmax: logits of fewer fraction bits than results");
        let domain = exponential::domain(frac_bits);
        let exponential = (domain, exponential::table(&domain, frac_bits, frac_bits));
        let bits = (u32::BITS - classes.leading_zeros() + SUM_FRAC_BITS).min(8);
        let domain = reciprocal::domain(classes, frac_bits, bits);
        let of_sum = [reciprocal::table, logarithm::table].map(|table| table(&domain, frac_bits, frac_bits));
        Self { shape, exponential, of_sum: (domain, of_sum), methods: Methods::default() }
    }

    /// The same with functions that are computed otherwise, which are
    /// [resolved](Methods::resolved).
    #[must_use]
    pub fn by(self, methods: Methods) -> Self {
        Self { methods, ..self }
    }

    fn numbers<W: Word>(&self) -> Numbers {
        Numbers { ring_bits: W::BITS, frac_bits: self.shape.frac_bits }
    }
}

/// What the rows should be.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a, W> {
    /// Row after row: 1 for the right class, 0 for the others.
    pub one_hot: Masked<'a, W>,
    /// A word a row: 1, or 0 for a row that weighs nothing. Without it, each row weighs 1. Weights
    /// cost a word each way and a word dealt for each logit, and as much for each row's loss; no
    /// round.
    pub weights: Option<Masked<'a, W>>,
}

/// Public constants of a loss: smoothed labels and weights of the classes. The default has neither,
/// and costs nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Constants<'a> {
    /// `o`: the target of each wrong class is `o / 2^b`, that of the right one what is left of 1.
    pub smoothing: u32,
    /// `b`.
    pub smoothing_bits: u32,
    /// A row counts `c_j / 2^s` times, `j` its class: one number a class, or none at all.
    pub class_weights: &'a [u16],
    /// `s`.
    pub class_weight_bits: u32,
}

impl Constants<'_> {
    /// Fraction bits that they add.
    fn bits(&self) -> u32 {
        self.smoothing_bits + self.class_weight_bits
    }
    /// `2^b`.
    fn one<W: Word>(&self) -> W {
        W::from_u64(1 << self.smoothing_bits)
    }
    /// The difference of the right class's target and a wrong one's, times `2^b`.
    fn right<W: Word>(&self, classes: u32) -> W {
        self.one::<W>().sub(W::from_u64(u64::from(self.smoothing) * u64::from(classes)))
    }
    /// `z_ij = z_ij c_j`; nothing without weights of classes.
    fn weigh<W: Word>(&self, party: &mut Party<'_, W>, z: &mut [W]) -> Result<(), Error> {
        if self.class_weights.is_empty() {
            return Ok(());
        }
        let ([weights], party) = party.scratch([self.class_weights.len()])?;
        for (word, weight) in weights.iter_mut().zip(self.class_weights) {
            *word = W::from_u64(u64::from(*weight));
        }
        for row in z.chunks_exact_mut(weights.len()) {
            party.kernels.multiply(row, weights);
        }
        Ok(())
    }
}

/// Shares of `δ_j = r (w e_j - y_j S)` with `frac_bits` fraction bits, and, if asked, of each row's
/// cross-entropy `w (max z - z_y + ln S)`, with as many.
///
/// Rounds: the logits' opening, the maximum's ([`argmax`]) and one to choose it; the exponential's
/// mapping, 3 or 4; the opening of `S`, of `e_j - y_j S` and `r`, and of the products for their
/// truncation.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths do not fit.
pub fn gradient<W: Word>(
    party: &mut Party<'_, W>,
    softmax: &Softmax,
    logits: &[W],
    labels: Labels<'_, W>,
    delta: &mut [W],
    loss: Option<&mut [W]>,
) -> Result<(), Error> {
    gradient_with(party, softmax, logits, (labels, Constants::default()), delta, loss)
}

/// [`gradient`] with public constants: `δ_j = r ω (e_j - y'_j S)` and
/// `ω (max z + ln S - Σ y'_j z_j)`, for the targets `y'` and the row's weight `ω`, which is that
/// of its class; a row of no class weighs nothing, and needs no [`Labels::weights`].
///
/// Constants take no round. Smoothing costs a word dealt a row where rows have weights. Weights of
/// classes cost as [`Labels::weights`] do, and a word each way a row. Where there are constants,
/// the loss is truncated with the gradient: `k - b - s` bits each way and `2 (b + s + 1)` dealt a
/// row.
///
/// Needs `2 frac_bits + b` and the bits of the largest class weight to be at most `k - 3`; and, if
/// the loss is asked for, losses below `2^(k-2)` once they have `b + s` fraction bits more.
///
/// # Errors
///
/// As [`gradient`].
///
/// # Panics
///
/// If lengths do not fit.
pub fn gradient_with<W: Word>(
    party: &mut Party<'_, W>,
    softmax: &Softmax,
    logits: &[W],
    (labels, constants): (Labels<'_, W>, Constants<'_>),
    delta: &mut [W],
    loss: Option<&mut [W]>,
) -> Result<(), Error> {
    let (n, rows) = softmax.dims(logits.len());
    let of_loss = if loss.is_some() { rows } else { 0 };
    let of_classes = if constants.class_weights.is_empty() { 0 } else { rows };
    let loss = loss.unwrap_or_default();
    let lengths = [delta.len(), labels.one_hot.words.len(), loss.len()];
    assert!(lengths == [n, n, of_loss], "softmax: lengths differ");
    assert!([0, softmax.cols()].contains(&constants.class_weights.len()), "softmax: not one weight a class");
    let lens = [n, n, rows, n + rows + of_classes, n + rows + of_loss];
    let ([c, y, largest, terms, parts], mut party) = party.scratch(lens)?;
    let mut draw = party.draw()?;
    let (own, row_weights) = terms.split_at_mut(n + rows);
    let word = softmax.terms(&mut party, &mut draw, logits, c, [y, largest, own])?;
    if of_classes > 0 {
        let ([hot], mut party) = party.scratch([n])?;
        labels.one_hot.share(&party, hot);
        constants.weigh(&mut party, hot)?;
        party.kernels.sum_rows(row_weights, hot, softmax.cols());
    }

    // In the round that reads the index off S: S itself for its product with the labels, and e and
    // weights of classes where rows have weights.
    let from = if labels.weights.is_some() || of_classes > 0 { 0 } else { n };
    let (t, functions) = parts.split_at_mut(n);
    let hidden = softmax.functions_of_sum(&mut party, (&mut *terms, n), from, functions)?;
    let part = |at, len| Masked { words: &terms[at..at + len], mask: hidden.slice(at - from, len) };
    let weights = if of_classes > 0 { Some(part(n + rows, rows)) } else { labels.weights };
    let weighed = weights.map(|weights| [part(0, n), weights]);
    softmax.errors(&mut party, (labels.one_hot, &constants), (&terms[..n], part(n, rows)), weighed, t)?;
    if of_loss > 0 {
        let (entropies, logits) = (&mut functions[rows..], (&word, &*y, &*largest));
        softmax.entropies(&mut party, &mut draw, logits, (labels.one_hot, &constants), entropies)?;
    }
    softmax.divide(&mut party, &mut draw, parts, (weights, constants.bits()), delta, loss)
}

/// Shares of the probabilities `r e_j`, with `frac_bits` fraction bits: the forward pass alone, for inference. As many rounds as [`gradient`]. They sum to
/// 1 only as well as `r` is the reciprocal of the sum.
///
/// # Errors
///
/// As [`gradient`].
///
/// # Panics
///
/// As [`gradient`].
pub fn probabilities<W: Word>(
    party: &mut Party<'_, W>,
    softmax: &Softmax,
    logits: &[W],
    out: &mut [W],
) -> Result<(), Error> {
    let (n, rows) = softmax.dims(logits.len());
    assert!(out.len() == n, "softmax: lengths differ");
    let ([c, y, largest, terms, parts], mut party) = party.scratch([n, n, rows, n + rows, n + rows])?;
    let mut draw = party.draw()?;
    softmax.terms(&mut party, &mut draw, logits, c, [y, largest, terms])?;
    let (e, r) = parts.split_at_mut(n);
    e.copy_from_slice(&terms[..n]);
    softmax.functions_of_sum(&mut party, (&mut *terms, n), n + rows, r)?;
    softmax.divide(&mut party, &mut draw, parts, (None, 0), out, &mut [])
}

/// Shares of each row's cross-entropy `max z - z_y + ln S`, with `frac_bits` fraction bits: for
/// test rows, without the gradient. If `may_lack` is set, rows whose label is all zeros get 0, for
/// one round and a word each way and `classes` words dealt a row more.
///
/// Rounds: those of [`gradient`] but the last two.
///
/// # Errors
///
/// As [`gradient`].
///
/// # Panics
///
/// As [`gradient`].
pub fn cross_entropies<W: Word>(
    party: &mut Party<'_, W>,
    softmax: &Softmax,
    logits: &[W],
    (one_hot, may_lack): (Masked<'_, W>, bool),
    out: &mut [W],
) -> Result<(), Error> {
    let (n, rows) = softmax.dims(logits.len());
    assert!(out.len() == rows && one_hot.words.len() == n, "softmax: lengths differ");
    let ([c, y, largest, terms, functions], mut party) = party.scratch([n, n, rows, n + rows, 2 * rows])?;
    let mut draw = party.draw()?;
    let word = softmax.terms(&mut party, &mut draw, logits, c, [y, largest, terms])?;
    softmax.functions_of_sum(&mut party, (&mut *terms, n), n + rows, functions)?;
    let logarithm = &mut functions[rows..];
    if !may_lack {
        let labels = (one_hot, &Constants::default());
        softmax.entropies(&mut party, &mut draw, (&word, y, largest), labels, logarithm)?;
        out.copy_from_slice(logarithm);
        return Ok(());
    }
    // Σ_j y_j (max z + ln S - z_j)
    party.kernels.add(logarithm, largest);
    times_masked(&mut party, &mut draw, &word, one_hot, y)?;
    let mask = mask_and_open(&mut party, logarithm, draw.mask(rows))?;
    let products = &mut terms[..n];
    multiply_rows(&mut party, one_hot, Masked { words: logarithm, mask }, products)?;
    party.kernels.sub(products, y);
    party.kernels.sum_rows(out, products, softmax.cols());
    Ok(())
}

impl Softmax {
    /// Words and rows.
    pub(super) fn dims(&self, len: usize) -> (usize, usize) {
        let rows = len / self.cols();
        assert!(rows * self.cols() == len, "softmax: not whole rows");
        (len, rows)
    }

    fn cols(&self) -> usize {
        self.shape.classes as usize
    }

    /// Opens the logits into `c`; writes shares of their truncated values `y`, of each row's
    /// largest, and of all `e_j` followed by each row's sum of them to `terms`.
    pub(super) fn terms<'c, W: Word>(
        &self,
        party: &mut Party<'_, W>,
        draw: &mut Draw,
        logits: &[W],
        c: &'c mut [W],
        [y, largest, terms]: [&mut [W]; 3],
    ) -> Result<Opened<'c, W>, Error> {
        let cols = self.cols();
        let ([hot, x], mut party) = party.scratch([cols * plane_words::<W>(largest.len()), logits.len()])?;
        let cut = Cut::signed(self.shape.logit_frac_bits - self.shape.frac_bits);
        let word = open(&mut party, draw, logits, cut, c)?; // the logits
        truncated(&mut party, draw, &word, y)?;
        if self.methods.raw {
            largest.fill(W::default());
        } else {
            argmax(&mut party, &word, cols, hot)?;
            choose(&mut party, (&word, y), cols, hot, largest)?;
        }
        x.fill(W::default());
        party.kernels.sub(x, y);
        party.kernels.add_rows(x, largest, cols);
        let (e, sum) = terms.split_at_mut(logits.len());
        if let Some(function) = &self.methods.exponential {
            party.kernels.scale(x, W::from_i64(-1));
            function.apply(&mut party, &self.numbers::<W>(), (x, e), None)?;
        } else {
            let (domain, table) = &self.exponential;
            // Differences of words of n bits are below 2^(n-2).
            exponential::mapped(&mut party, (domain, table), Some(cut.bits() - 2), x, e)?;
        }
        party.kernels.sum_rows(sum, e, cols);
        Ok(word)
    }

    /// Classes, fraction bits, and how functions are computed.
    pub(super) fn parts(&self) -> (u32, u32, &Methods) {
        (self.shape.classes, self.shape.frac_bits, &self.methods)
    }

    /// Writes shares of the logarithms of the sums: one round on cells.
    pub(super) fn logarithm_of_sum<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        sums: &[W],
        out: &mut [W],
    ) -> Result<(), Error> {
        if self.methods.reciprocal.is_some() {
            let numbers = self.numbers::<W>();
            return Methods::logarithm(&numbers).apply(party, &numbers, (sums, out), None);
        }
        let (domain, [_, table]) = &self.of_sum;
        let tables = [&table[..domain.cells()]];
        let mapping = Mapping { domain: *domain, tables: &tables, one_hot: Some(OneHot::Arithmetic), beyond: None };
        map(party, &mapping, sums, out)
    }

    /// In one round, opens the words of `terms` from `from` on, under the mask returned, and each
    /// sum for its index; the sums are those from `at` on. Writes shares of the sums' reciprocals
    /// to `functions`, and of their logarithms if there is room.
    fn functions_of_sum<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        (terms, at): (&mut [W], usize),
        from: usize,
        functions: &mut [W],
    ) -> Result<View<'static>, Error> {
        let (domain, tables) = &self.of_sum;
        let sum = &terms[at..at + at / self.cols()];
        if self.methods.reciprocal.is_some() {
            let ([sums], mut party) = party.scratch([sum.len()])?;
            sums.copy_from_slice(sum);
            let open = &mut terms[from..];
            let mask = party.draw()?.mask(open.len());
            let mask = mask_and_open(&mut party, open, mask)?; // the sums
            self.methods.of_sum(&mut party, &self.numbers::<W>(), sums, functions)?;
            return Ok(mask);
        }
        let ([c, packed], mut party) = party.scratch([sum.len(), packed_words::<W>(sum.len(), domain.bits)])?;
        let mut draw = party.draw()?;
        let index = blind_index(&mut party, &mut draw, domain, sum, c, packed);
        let open = &mut terms[from..];
        let mask = draw.mask(open.len()).view();
        if !party.is_clear() {
            hide(&mut party, open, mask)?;
        }
        party.exchange(&mut [(Fold::Add, open), (Fold::Swap, &mut *packed)])?; // the sums
        let word = open_index(&mut party, domain, c, index, packed)?;
        let tables = tables.each_ref().map(|t| &t[..domain.cells()]);
        let wanted = functions.len().checked_div(word.c.len()).unwrap_or(1);
        let mapping =
            Mapping { domain: *domain, tables: &tables[..wanted], one_hot: Some(OneHot::Arithmetic), beyond: None };
        mapped(&mut party, &mut draw, &mapping, &word, functions)?;
        Ok(mask)
    }

    /// `t = 2^b w (e - y' S)`, without constants `w e - y S`: no round. `weighed` are `e`, masked,
    /// and the weights of rows; without them, `e` is shared.
    fn errors<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        (one_hot, constants): (Masked<'_, W>, &Constants<'_>),
        (e, sum): (&[W], Masked<'_, W>),
        weighed: Option<[Masked<'_, W>; 2]>,
        t: &mut [W],
    ) -> Result<(), Error> {
        multiply_rows(party, one_hot, sum, t)?;
        constants.weigh(party, t)?;
        party.kernels.scale(t, W::default().sub(constants.right(self.shape.classes)));
        let wrong_rows = if constants.smoothing > 0 { sum.words.len() } else { 0 };
        let ([wrong], mut party) = party.scratch([wrong_rows])?;
        if let Some([e, weights]) = weighed {
            let ([weighed], mut party) = party.scratch([t.len()])?;
            multiply_rows(&mut party, e, weights, weighed)?;
            party.kernels.add_scaled(t, weighed, constants.one());
            if wrong_rows > 0 {
                multiply(&mut party, sum, weights, wrong)?;
            }
        } else {
            party.kernels.add_scaled(t, e, constants.one());
            if wrong_rows > 0 {
                sum.share(&party, wrong);
            }
        }
        if wrong_rows > 0 {
            party.kernels.scale(wrong, W::from_i64(-i64::from(constants.smoothing)));
            party.kernels.add_rows(t, wrong, self.cols());
        }
        Ok(())
    }

    /// From shares of the sums' logarithms to those of each row's cross-entropy: no round.
    fn entropies<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        draw: &mut Draw,
        (word, y, largest): (&Opened<'_, W>, &[W], &[W]),
        (one_hot, constants): (Masked<'_, W>, &Constants<'_>),
        entropy: &mut [W],
    ) -> Result<(), Error> {
        let ([own, sums], mut party) = party.scratch([y.len(), largest.len()])?;
        own.copy_from_slice(y);
        times_masked(&mut party, draw, word, one_hot, own)?;
        party.kernels.add(entropy, largest);
        party.kernels.scale(entropy, constants.one());
        party.kernels.sum_rows(sums, own, self.cols());
        party.kernels.add_scaled(entropy, sums, W::default().sub(constants.right(self.shape.classes)));
        if constants.smoothing > 0 {
            party.kernels.sum_rows(sums, y, self.cols());
            party.kernels.add_scaled(entropy, sums, W::from_i64(-i64::from(constants.smoothing)));
        }
        Ok(())
    }

    /// From `parts`, shares of `t_j`, then `r`, then perhaps entropies, to `out_j = r t_j`,
    /// truncated, and the (weighed) entropies: two rounds. `t` and entropies have `more_bits`
    /// fraction bits more than `frac_bits`.
    fn divide<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        draw: &mut Draw,
        parts: &mut [W],
        (weights, more_bits): (Option<Masked<'_, W>>, u32),
        out: &mut [W],
        entropies: &mut [W],
    ) -> Result<(), Error> {
        let n = out.len();
        let rows = n / self.cols();
        let ([products], mut party) = party.scratch([parts.len() - rows])?;
        let opened = if weights.is_some() { parts.len() } else { n + rows };
        let mask = draw.mask(opened).view();
        if !party.is_clear() {
            hide(&mut party, &mut parts[..opened], mask)?;
        }
        party.open(&mut parts[..opened])?; // t and r
        let part = |at, len| Masked { words: &parts[at..at + len], mask: mask.slice(at, len) };
        multiply_rows(&mut party, part(0, n), part(n, rows), &mut products[..n])?;
        match weights {
            Some(weights) if products.len() > n => {
                multiply(&mut party, part(n + rows, rows), weights, &mut products[n..])?;
            }
            _ => products[n..].copy_from_slice(&parts[n + rows..]),
        }
        // The products have twice the fraction bits; entropies, if weighed, by 1 or 0.
        let (products, weighed) = products.split_at_mut(n);
        let frac_bits = self.shape.frac_bits + more_bits;
        if more_bits == 0 || weighed.is_empty() {
            truncate(&mut party, products, frac_bits)?; // the last round
        } else {
            truncate_two(&mut party, [(products, frac_bits), (weighed, more_bits)])?; // the last round
        }
        out.copy_from_slice(products);
        entropies.copy_from_slice(weighed);
        Ok(())
    }
}
