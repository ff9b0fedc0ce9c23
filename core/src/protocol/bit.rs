//! Shared bits as words of the ring.
//!
//! Opens `β = s ^ ρ` under a free bit mask `ρ`, which is dealt as a word too: `[s] = β + (1 - 2 β)
//! [ρ]`. A bit that counts `2^shift` needs no more than `k - shift` bits of that word.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** 1 round, one bit each way; `k - shift` bits dealt.
//! - **Result:** exact.

use super::conjunction::hide_bits;
use crate::{
    correlation::{Draw, View, request::BitToWord},
    kernel::plane_words,
    link::Error,
    party::Party,
    word::Word,
};

/// `z = Σ 2^shifts[i] s_i` for the shared planes `s_i` of `z.len()` elements each, opened here: one round for all.
/// The planes are overwritten by their opened, masked bits.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If `planes` is not one plane a shift.
pub fn bits_to_words<W: Word>(
    party: &mut Party<'_, W>,
    planes: &mut [W],
    shifts: &[u32],
    z: &mut [W],
) -> Result<(), Error> {
    let mut draw = party.draw()?;
    z.fill(W::default());
    if party.is_clear() {
        return clear(party, planes, shifts, z);
    }
    let masks = hide_bits(party, &mut draw, planes)?;
    party.open_bits(planes)?; // the one round
    opened_bits_to_words(party, &mut draw, (planes, masks), shifts, z)
}

/// What [`bits_to_words`] does after its round, adding to `z`: for bits that are open already.
///
/// # Errors
///
/// The dealer's, and [`Error::Scratch`].
pub fn opened_bits_to_words<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    (open, masks): (&[W], View<'_>),
    shifts: &[u32],
    z: &mut [W],
) -> Result<(), Error> {
    let (n, lanes) = (z.len(), plane_words::<W>(z.len()));
    assert!(open.len() == shifts.len() * lanes, "bits_to_words: planes and shifts differ");
    let ([rho], mut party) = party.scratch([n])?;
    let first = party.role.first_mask();
    for (i, (shift, open)) in shifts.iter().zip(open.chunks_exact(lanes.max(1))).enumerate() {
        let request = BitToWord { bits: masks.slice(i * lanes, lanes), width: W::BITS - shift, len: n };
        party.take(draw, request, &mut [&mut *rho])?;
        party.kernels.bit_to_word(z, open, rho, *shift, first);
    }
    Ok(())
}

fn clear<W: Word>(party: &mut Party<'_, W>, planes: &[W], shifts: &[u32], z: &mut [W]) -> Result<(), Error> {
    let lanes = plane_words::<W>(z.len()).max(1);
    let ([bit], party) = party.scratch([z.len()])?;
    for (shift, plane) in shifts.iter().zip(planes.chunks_exact(lanes)) {
        party.kernels.spread(bit, plane);
        party.kernels.add_scaled(z, bit, W::from_u64(1 << shift));
    }
    Ok(())
}
