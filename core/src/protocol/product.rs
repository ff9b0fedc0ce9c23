//! Products of masked values, element by element and of matrices.
//!
//! For `x` open as `X = x - a`, `y` as `Y = y - b` and dealt `c = a∘b`, server 0 computes `X∘(Y +
//! [b]) + [a]∘Y + [c]` and server 1 `X∘[b] + [a]∘Y + [c]` (Beaver, CRYPTO '91).
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** no round, no byte; one word dealt an output.
//! - **Result:** exact in the ring; a product of fixed-point values has the sum of their fraction
//!   bits.
//! - **Memory:** scratch for `[a]`, `[b]`.

use super::masked::{Masked, mask_and_open};
use crate::{
    correlation::{
        Rows,
        request::{MatMul, Product},
    },
    kernel::Matrix,
    link::Error,
    party::Party,
    word::Word,
};

/// `z = x y`, element by element.
///
/// # Errors
///
/// The dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ.
pub fn multiply<W: Word>(
    party: &mut Party<'_, W>,
    x: Masked<'_, W>,
    y: Masked<'_, W>,
    z: &mut [W],
) -> Result<(), Error> {
    let n = z.len();
    assert!(x.words.len() == n && y.words.len() == n, "multiply: lengths differ");
    let ([a, b], mut party) = party.scratch([n; 2])?;
    let mut draw = party.draw()?;
    if party.is_clear() {
        z.fill(W::default());
        party.kernels.mul_add(z, x.words, y.words);
        return Ok(());
    }
    party.take(&mut draw, Product { a: x.mask, b: y.mask }, &mut [&mut *z])?;
    party.expand(x.mask, a);
    y.share(&party, b);
    party.kernels.mul_add(z, x.words, b);
    party.kernels.mul_add(z, a, y.words);
    Ok(())
}

/// `z = x y` of the two halves `x`, `y` of `factors`, which are shares and are opened here, masked,
/// in place: one round, two words each way an element.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ.
pub fn multiply_halves<W: Word>(party: &mut Party<'_, W>, factors: &mut [W], z: &mut [W]) -> Result<(), Error> {
    let n = z.len();
    let mask = party.draw()?.mask(2 * n);
    let mask = mask_and_open(party, factors, mask)?; // the one round
    let half = |at| Masked { words: &factors[at..at + n], mask: mask.slice(at, n) };
    multiply(party, half(0), half(n), z)
}

/// A masked matrix as a factor; `transposed` exchanges its rows and columns.
#[derive(Clone, Copy, Debug)]
pub struct Factor<'a, W> {
    /// Public words and mask, `mask.rows.len()` by `mask.cols`.
    pub value: Masked<'a, W>,
    /// Whether the factor is the transpose.
    pub transposed: bool,
    /// Rows that each row of the value is cut into, as records are into the steps of a sequence; 1
    /// for the matrix as it is. Divides the columns.
    pub cuts: usize,
}

impl<'a, W> Factor<'a, W> {
    /// The matrix as it is.
    pub const fn plain(value: Masked<'a, W>) -> Self {
        Self { value, transposed: false, cuts: 1 }
    }

    /// Its transpose.
    pub const fn transposed(value: Masked<'a, W>) -> Self {
        Self { value, transposed: true, cuts: 1 }
    }

    /// The matrix with each row cut into `cuts` rows of equal length.
    #[must_use]
    pub const fn cut(self, cuts: usize) -> Self {
        Self { cuts, ..self }
    }

    fn cols(&self) -> usize {
        self.value.mask.cols / self.cuts
    }
}

/// `z = x y` of matrices: one ring product with each factor's public words.
///
/// # Errors
///
/// The dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If shapes do not fit.
pub fn matmul<W: Word>(party: &mut Party<'_, W>, x: Factor<'_, W>, y: Factor<'_, W>, z: &mut [W]) -> Result<(), Error> {
    let (a_view, b_view) = (x.value.mask, y.value.mask);
    let request = MatMul { a: a_view, b: b_view, transposed: [x.transposed, y.transposed], cuts: [x.cuts, y.cuts] };
    let dims = request.dims();
    assert!(z.len() == dims[0] * dims[2], "matmul: the output has another shape");
    assert!(
        x.value.words.len() == a_view.len() && y.value.words.len() == b_view.len(),
        "matmul: words and mask differ"
    );
    let matrix = |words, cols, transposed| Matrix { words, stride: cols, transposed };
    let (x_open, y_open) =
        (matrix(x.value.words, x.cols(), x.transposed), matrix(y.value.words, y.cols(), y.transposed));
    let ([a, b], mut party) = party.scratch([a_view.len(), b_view.len()])?;
    let mut draw = party.draw()?;
    if party.is_clear() {
        z.fill(W::default());
        party.kernels.gemm(z, x_open, y_open, dims);
        return Ok(());
    }
    party.take(&mut draw, request, &mut [&mut *z])?;
    party.expand(a_view, a);
    y.value.share(&party, b);
    party.kernels.gemm(z, x_open, matrix(b, y.cols(), y.transposed), dims);
    party.kernels.gemm(z, matrix(a, x.cols(), x.transposed), y_open, dims);
    Ok(())
}

/// Rows `mask.rows` of the public words of a matrix with `stride` columns, from column `from` on:
/// the words of [`Masked`] for a gathered view.
pub fn gather<W: Word>(words: &[W], stride: usize, rows: Rows<'_>, from: usize, cols: usize, out: &mut [W]) {
    for (out, row) in out.chunks_exact_mut(cols.max(1)).zip(rows.iter()) {
        out.copy_from_slice(&words[row * stride + from..][..cols]);
    }
}
