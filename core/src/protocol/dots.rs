//! Sums of products of masked values.
//!
//! As [`super::product`], with the products of a row added in `G` sums: `z_ig = Σ_t x_i(g + t G)
//! y_i(g + t G)`. Only the sums of the masks' products are dealt.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** no round, no byte; one word dealt a sum.
//! - **Result:** exact in the ring; it has the sum of the factors' fraction bits.
//! - **Memory:** three words of scratch for each word of a factor, and one for each sum.

use super::masked::Masked;
use crate::{
    correlation::request::{Dots, fold_rows},
    link::Error,
    party::Party,
    word::Word,
};

/// Sums of the products of `x` and `y`, for each row of `cols` words as many as `z` has room for.
///
/// # Errors
///
/// The dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths do not fit.
pub fn dots<W: Word>(
    party: &mut Party<'_, W>,
    x: Masked<'_, W>,
    y: Masked<'_, W>,
    cols: usize,
    z: &mut [W],
) -> Result<(), Error> {
    let n = x.words.len();
    let rows = n.checked_div(cols).unwrap_or(0);
    let sums = z.len().checked_div(rows).unwrap_or(0);
    assert!(x.mask.len() == n && y.words.len() == n && y.mask.len() == n, "dots: lengths differ");
    assert!(rows * cols == n && rows * sums == z.len() && sums <= cols, "dots: not the same sums a row");
    let ([products, a, b], mut party) = party.scratch([n; 3])?;
    let mut draw = party.draw()?;
    if party.is_clear() {
        products.copy_from_slice(x.words);
        party.kernels.multiply(products, y.words);
        fold_rows(party.kernels, z, products, cols);
        return Ok(());
    }
    let ([dealt], mut party) = party.scratch([z.len()])?;
    party.take(&mut draw, Dots { a: x.mask, b: y.mask, cols, sums }, &mut [&mut *dealt])?;
    party.expand(x.mask, a);
    y.share(&party, b);
    products.copy_from_slice(x.words);
    party.kernels.multiply(products, b);
    party.kernels.mul_add(products, a, y.words);
    fold_rows(party.kernels, z, products, cols);
    party.kernels.add(z, dealt);
    Ok(())
}
