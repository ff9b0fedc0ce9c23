//! Exponentials: `2^i` by a mapping, `2^t` by a polynomial.

use super::Precision;
use crate::{
    function::{
        Numbers, fit,
        method::{
            mapping::{bits_of, units},
            pieces::open_place,
            polynomial::Horner,
        },
        pow2,
    },
    link::Error,
    mapping::{Domain, Mapping, mapped},
    party::Party,
    protocol::{clamp::clamp, product::multiply_halves, truncate::truncate},
    word::Word,
};
use core::f64::consts::{LN_2, LOG2_E};

/// The interval of the exponential, as powers of two: from half a unit to what the ring has room
/// for.
pub(super) fn exponents(numbers: &Numbers) -> [i32; 2] {
    let low = -(numbers.frac_bits.cast_signed() + 1);
    let precision = Precision::new(numbers).frac_bits.cast_signed();
    [low, (numbers.ring_bits.cast_signed() - 5 - precision + low).clamp(0, 11)]
}

/// `e^x`, or `2^x`, clamped to its domain.
pub(super) fn exponential<W: Word>(
    party: &mut Party<'_, W>,
    natural: bool,
    numbers: &Numbers,
    (x, out): (&[W], &mut [W]),
) -> Result<(), Error> {
    let f = numbers.frac_bits;
    let ([z], mut party) = party.scratch([x.len()])?;
    z.copy_from_slice(x);
    let factor = if natural { LN_2 } else { 1.0 };
    let exponents = exponents(numbers);
    let [low, high] = exponents.map(|e| W::from_i64(units(f64::from(e) * factor, f)));
    clamp(&mut party, z, low, high)?;
    power_of_two(&mut party, natural, (z, f), (exponents, &Precision::new(numbers)), (out, f))
}

/// `e^z`, or `2^z`, of `z` between the exponents, with `out_bits` fraction bits.
pub(super) fn power_of_two<W: Word>(
    party: &mut Party<'_, W>,
    natural: bool,
    (z, in_bits): (&mut [W], u32),
    ([low, high], precision): ([i32; 2], &Precision),
    (out, out_bits): (&mut [W], u32),
) -> Result<(), Error> {
    let (n, bits) = (z.len(), precision.frac_bits);
    // t, with the precision's fraction bits.
    let reach = bits_of(f64::from((-low).max(high)) * pow2(in_bits));
    let factor_bits = if natural { 28.min(W::BITS - 4 - reach) } else { 0 };
    if natural {
        party.kernels.scale(z, W::from_i64(units(LOG2_E, factor_bits)));
    }
    match (in_bits + factor_bits).checked_sub(bits) {
        Some(0) => {}
        Some(surplus) => truncate(party, z, surplus)?, // a round
        None => party.kernels.scale(z, W::from_u64(1).shl(bits - in_bits - factor_bits)),
    }
    // Its whole part, from one below the least on, and what is left.
    party.kernels.add_constant(z, party.role.first(W::from_i64(i64::from(1 - low) << bits)));
    let index_bits = bits_of(f64::from(high - low + 3));
    let domain = Domain { shift: bits, bits: index_bits, signed: false };
    let mut powers = [0; 64];
    for (i, power) in powers.iter_mut().enumerate() {
        *power = 1i64 << i.min(usize::try_from(high - low + 2).unwrap_or(0));
    }
    let tables = [&powers[..domain.cells()]];
    let mapping = Mapping { domain, tables: &tables, one_hot: None, beyond: None };
    let ([c, u, factors], mut party) = party.scratch([n, n, 2 * n])?;
    let mut draw = party.draw()?;
    let place = open_place(&mut party, &mut draw, (mapping.cut(), bits), z, (c, u, &mut []))?; // a round
    let (p, e) = factors.split_at_mut(n);
    mapped(&mut party, &mut draw, &mapping, &place.word, e)?; // a round
    let polynomial = fit::interpolation(libm::exp2, [-1.0, 1.0], precision.exponential);
    let horner = Horner { shift: 0, u_bits: bits, frac_bits: bits, guard: 0 };
    horner.apply(&mut party, place.fraction, &[polynomial], p)?;
    multiply_halves(&mut party, factors, out)?; // a round
    truncate(&mut party, out, (bits + 1 - out_bits).saturating_add_signed(-low)) // a round
}
