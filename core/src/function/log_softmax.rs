//! The logarithm of a softmax, and error bounds of both.
//!
//! `ln p_j = z_j - max z - ln S` is linear in the shared values that a [softmax](super::softmax)
//! has before it divides: the logits, their largest, and the logarithm of the sum `S` of
//! exponentials.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** that of [`probabilities`](super::softmax::probabilities) up to the sum, and the
//!   logarithm, without the reciprocal, the product and its truncation. On cells, ten classes and
//!   logits that are truncated, that is 8 rounds for `k = 32`; 10 for `k = 64`, or without
//!   truncation. With [methods](Softmax::by), the rounds of the
//!   maximum, 5, of the exponential and of the logarithm by [mapping](super::method::mapping).
//! - **Result:** [`Softmax::bounds`]. Probabilities that their own fraction bits round to zero have
//!   logarithms like all others.
//! - **Needs:** those of the softmax.
//! - **Memory:** scratch as a dry run says; no heap.

use super::{Numbers, pow2, softmax::Softmax, softmax_methods::Methods};
use crate::{link::Error, party::Party, word::Word};

/// Error bounds of a softmax, in units of the last place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Of each [probability](super::softmax::probabilities).
    pub probability: f64,
    /// Of each [logarithm](log_softmax).
    pub logarithm: f64,
}

/// Shares of the logarithms of the probabilities, with `frac_bits` fraction bits.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths do not fit.
pub fn log_softmax<W: Word>(
    party: &mut Party<'_, W>,
    softmax: &Softmax,
    logits: &[W],
    out: &mut [W],
) -> Result<(), Error> {
    let (n, rows) = softmax.dims(logits.len());
    assert!(out.len() == n, "softmax: lengths differ");
    let ([c, largest, terms, logarithm], mut party) = party.scratch([n, rows, n + rows, rows])?;
    let mut draw = party.draw()?;
    softmax.terms(&mut party, &mut draw, logits, c, [out, largest, terms])?;
    softmax.logarithm_of_sum(&mut party, &terms[n..], logarithm)?;
    party.kernels.add(logarithm, largest);
    party.kernels.scale(logarithm, W::from_i64(-1));
    party.kernels.add_rows(out, logarithm, n.checked_div(rows).unwrap_or(1));
    Ok(())
}

impl Softmax {
    /// How far results are at most from those of the truncated logits in real numbers: on cells
    /// 0.3 and 0.72, up to 63 classes. With [methods](Self::by) of an exponential and a
    /// reciprocal, which subtract the maximum, what follows from their own bounds: each of `n`
    /// terms is off by at most `ε`, the sum, which is at least 1, by `n ε`.
    pub fn bounds(&self, ring_bits: u32) -> Bounds {
        let (classes, frac_bits, methods) = self.parts();
        let (numbers, one) = (Numbers { ring_bits, frac_bits }, pow2(frac_bits));
        let (Some(exponential), Some(reciprocal)) = (methods.exponential, methods.reciprocal) else {
            return Bounds { probability: 0.3 * one, logarithm: 0.72 * one };
        };
        let n = f64::from(classes);
        let (own, low) = (exponential.bound(&numbers), exponential.domain(&numbers)[0]);
        let of_term = own.units + (own.relative + super::exp(low)) * one;
        // The computed sum is at least this.
        let least = 1.0 - n * of_term / one;
        let of_reciprocal = reciprocal.bound(&numbers);
        let of_reciprocal = of_reciprocal.units + of_reciprocal.relative * one / least;
        let own = Methods::logarithm(&numbers).bound(&numbers);
        let most = super::ln(n + n * of_term / one);
        Bounds {
            probability: (1.0 + n) * of_term / least + (1.0 + of_term / one) * of_reciprocal + 1.0,
            logarithm: n * of_term / least + own.units + own.relative * most * one,
        }
    }
}
