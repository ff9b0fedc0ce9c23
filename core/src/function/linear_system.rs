//! Systems of linear equations with a symmetric positive definite matrix, by `A = Lᵀ D L`.
//!
//! Variables are eliminated from the last to the first, in an order that is public, with no search
//! for a pivot: a positive definite matrix needs none. The reciprocal of each pivot comes from its
//! [direct protocol](super::method::direct), so pivots may differ by many powers of two.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost** for order `m`: `m (R + 4) - 2` rounds for the elimination, where `R` is the
//!   reciprocal's, and `2 m - 1` for the substitution. Each way `m` reciprocals and about `m³ / 3`
//!   truncated words for the matrix, `m² / 2` for each right-hand side.
//! - **Result:** each eliminated variable adds about a unit of the last place to what is left, and
//!   each reciprocal a relative error of `2^-22` or a unit. The condition of the matrix enlarges
//!   them, by about `1 / d` for a least pivot `d`, which should be some units an equation.
//! - **Needs:** 64-bit words. Pivots, which are at most the diagonal's entries, at least some units
//!   and below `2^(n - f)` ([`Numbers::octaves`]); entries of `A` and `B` over pivots, multipliers
//!   times entries, and solutions times multipliers, below `2^(62 - 2f)`. Of a singular or negative
//!   matrix the reciprocals saturate and solutions are useless, without an error: add a ridge to
//!   the diagonal.
//! - **Memory:** about `3 m² / 2` words of scratch, `m` more for each right-hand side, and the
//!   reciprocal's; no heap.
//! - **Source:** Golub, Van Loan, "Matrix computations", 4.1 (the factorisation); Gascón and
//!   others, "Privacy-preserving distributed linear regression on high-dimensional data" (PETS
//!   2017), solve such systems in fixed point on shares.

use super::{
    Numbers,
    method::{Function, FunctionError, Method},
    scalar::{AnyScalar, Reciprocal},
};
use crate::{
    link::Error,
    party::Party,
    protocol::{
        masked::{Masked, mask_and_open},
        product::{Factor, matmul},
        truncate::truncate,
    },
    word::Word,
};

/// The reciprocal of pivots.
fn reciprocal() -> Function {
    Function { scalar: AnyScalar::Reciprocal(Reciprocal {}), method: Method::Direct }
}

/// Holds the numbers to what pivots need.
///
/// # Errors
///
/// [`FunctionError::Room`] for 32-bit words, and the reciprocal's.
pub fn check(numbers: &Numbers) -> Result<(), FunctionError> {
    if numbers.ring_bits < 64 {
        return Err(FunctionError::Room);
    }
    reciprocal().check(numbers)
}

/// `value` as a factor with `cols` columns.
fn matrix<W>(value: Masked<'_, W>, cols: usize) -> Factor<'_, W> {
    Factor::plain(Masked { mask: value.mask.matrix(cols), ..value })
}

/// Solves `A X = B`: `b`, of `order` rows, becomes `X`; `a` is overwritten. All have the job's
/// fraction bits.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ, or the numbers do not [suit](check).
pub fn solve<W: Word>(
    party: &mut Party<'_, W>,
    numbers: &Numbers,
    order: usize,
    (a, b): (&mut [W], &mut [W]),
) -> Result<(), Error> {
    assert!(order > 0 && a.len() == order * order, "a system has a square matrix");
    assert!(b.len().is_multiple_of(order), "a system's right-hand sides have a row for each equation");
    let columns = b.len() / order;
    let ([lower], mut party) = party.scratch([order * (order - 1) / 2])?;
    for j in (0..order).rev() {
        let own = &mut lower[j * j.saturating_sub(1) / 2..][..j];
        eliminate(&mut party, numbers, (j, order), (&mut *a, &mut b[..(j + 1) * columns]), own)?;
    }
    substitute(&mut party, numbers.frac_bits, (lower, b), columns)
}

/// Eliminates variable `j` from the equations above: `lower` becomes the multipliers `A_kj / d`,
/// for `k < j` and the pivot `d = A_jj`, and row `j` of `b` is divided by `d`.
fn eliminate<W: Word>(
    party: &mut Party<'_, W>,
    numbers: &Numbers,
    (j, order): (usize, usize),
    (a, b): (&mut [W], &mut [W]),
    lower: &mut [W],
) -> Result<(), Error> {
    let (f, columns) = (numbers.frac_bits, b.len() / (j + 1));
    let width = j + columns;
    let ([row, scaled, product], mut party) = party.scratch([width + 1, width, j * width])?;
    let (above, last) = b.split_at_mut(j * columns);
    row[..j].copy_from_slice(&a[j * order..][..j]);
    row[j..width].copy_from_slice(last);
    let pivot = &a[j * order + j..][..1];
    reciprocal().apply(&mut party, numbers, (pivot, &mut row[width..]), None)?;
    let mask = party.draw()?.mask(width + 1);
    let mask = mask_and_open(&mut party, row, mask)?; // a round
    let entries = Masked { words: &row[..width], mask: mask.slice(0, width) };
    let divisor = Masked { words: &row[width..], mask: mask.slice(width, 1) };
    matmul(&mut party, matrix(divisor, 1), matrix(entries, width), scaled)?;
    truncate(&mut party, scaled, f)?; // a round
    lower.copy_from_slice(&scaled[..j]);
    last.copy_from_slice(&scaled[j..]);
    if j == 0 {
        return Ok(());
    }
    let multipliers = &mut scaled[..j];
    let mask = party.draw()?.mask(j);
    let mask = mask_and_open(&mut party, multipliers, mask)?; // a round
    let multipliers = Masked { words: multipliers, mask };
    matmul(&mut party, matrix(multipliers, 1), matrix(entries, width), product)?;
    truncate(&mut party, product, f)?; // a round
    for ((product, a), b) in
        product.chunks_exact(width).zip(a.chunks_exact_mut(order)).zip(above.chunks_exact_mut(columns))
    {
        party.kernels.sub(&mut a[..j], &product[..j]);
        party.kernels.sub(b, &product[j..]);
    }
    Ok(())
}

/// Solves `L X = B` by forward substitution, for the unit lower triangular `L`.
fn substitute<W: Word>(
    party: &mut Party<'_, W>,
    frac_bits: u32,
    (lower, x): (&mut [W], &mut [W]),
    columns: usize,
) -> Result<(), Error> {
    let ([open, sum], mut party) = party.scratch([x.len(), columns])?;
    let mask = party.draw()?.mask(lower.len());
    let mask = mask_and_open(&mut party, lower, mask)?; // a round
    let mut rest = party.draw()?.mask(x.len());
    let all = rest.view();
    for j in 1..x.len() / columns {
        let (before, own) = ((j - 1) * columns, j * columns);
        let (fresh, others) = rest.split_at(columns);
        rest = others;
        open[before..own].copy_from_slice(&x[before..own]);
        mask_and_open(&mut party, &mut open[before..own], fresh)?; // a round
        let at = j * (j - 1) / 2;
        let multipliers = Masked { words: &lower[at..at + j], mask: mask.slice(at, j) };
        let known = Masked { words: &open[..own], mask: all.slice(0, own) };
        matmul(&mut party, matrix(multipliers, j), matrix(known, columns), sum)?;
        truncate(&mut party, sum, frac_bits)?; // a round
        party.kernels.sub(&mut x[own..own + columns], sum);
    }
    Ok(())
}
