//! Divides shared words by `2^f` and rounds down: the deterministic truncation.
//!
//! `z - (z mod 2^f)` is a multiple of `2^f`, and truncation is exact there. The low bits come from
//! a [lift](super::lift).
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** what [`lift`] of `f` bits and [`truncate`] by `f` bits cost: 3 to 5 rounds; nothing
//!   for `f = 0`.
//! - **Result:** `floor(z / 2^f)`: at most one unit below `z / 2^f`, half a unit on average.

use super::{lift::lift, truncate::truncate};
use crate::{link::Error, party::Party, word::Word};

/// `z = floor(z / 2^frac_bits)` in place, for `-2^(k-2) <= z < 2^(k-2)`.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If `frac_bits > k - 2`.
pub fn floor<W: Word>(party: &mut Party<'_, W>, z: &mut [W], frac_bits: u32) -> Result<(), Error> {
    if frac_bits == 0 {
        return Ok(());
    }
    let ([low], mut party) = party.scratch([z.len()])?;
    low.copy_from_slice(z);
    lift(&mut party, low, frac_bits)?;
    party.kernels.sub(z, low);
    truncate(&mut party, z, frac_bits)
}
