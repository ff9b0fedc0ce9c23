//! Compares two shared vectors, element by element: less-than, minimum, maximum, selection.
//!
//! The difference `d = x - y` is opened once; its sign `s = [d >= 0]` keeps it ([`super::select`]):
//! the larger value is `y + s d`, the smaller one `x - s d`. [`order`] gives both for the cost of
//! one, and carries a second value along.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** an element of a vector, a bit being a plane's, rounded up to whole words:
//!
//!   | | rounds | each way | dealt |
//!   | --- | --- | --- | --- |
//!   | [`less_than`] | 3 | a word, `C` bits | `D` bits |
//!   | [`less_than_words`] | 4 | a word, `C + 1` bits | a word, `D` bits |
//!   | [`order`], [`minimum`], [`maximum`] | 4 | a word, `C + 1` bits | 2 words, `D + 1` bits |
//!   | [`order_with`] | 4 | 2 words, `C + 1` bits | 3 words, `D + 2` bits |
//!   | [`select`] | 1 | a word, a bit | 2 words, a bit |
//!   | [`select_by_words`] | 1 | 2 words | a word |
//!
//!   with `C = 21`, `D = 105` for `k = 32` and `C = 42`, `D = 297` for `k = 64`
//!   ([`super::compare`]).
//! - **Result:** exact.
//! - **Needs:** `-2^(k-2) <= x - y < 2^(k-2)` where values are compared. A selected or carried
//!   value is any word.
//! - **Alarms:** of each difference: of a sample for [`less_than`], for 2 bits dealt elsewhere
//!   ([`super::alarm`]).
//! - **Memory:** at most 8.3 words of scratch an element, 9.3 with second values; no heap.

use super::{
    alarm::compared,
    conjunction::hide_bits,
    product::multiply_halves,
    select::{Selector, open_selector, select as keep},
    sign::sign,
    truncate::{Cut, Opened, blind_compared, blind_cut, open},
};
use crate::{
    correlation::{Words, request::BitToWord},
    kernel::plane_words,
    link::{Error, Fold},
    party::Party,
    word::Word,
};

/// XOR shares of `[x < y]`, a plane: three rounds.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ, or `out` is not one plane.
pub fn less_than<W: Word>(party: &mut Party<'_, W>, x: &[W], y: &[W], out: &mut [W]) -> Result<(), Error> {
    let ([d, c], mut party) = party.scratch([x.len(); 2])?;
    let mut draw = party.draw()?;
    subtract(&party, (x, y), d);
    let word = open(&mut party, &mut draw, d, Cut::signed(0), c)?; // round 1
    sign(&mut party, &mut draw, &word, out)?; // rounds 2 and 3
    let first = party.role.first_mask::<W>();
    out.iter_mut().for_each(|bit| *bit = bit.xor(first));
    Ok(())
}

/// Shares of `[x < y]`, a word of 0 or 1 for each element: four rounds.
///
/// # Errors
///
/// As [`less_than`].
///
/// # Panics
///
/// If lengths differ.
pub fn less_than_words<W: Word>(party: &mut Party<'_, W>, x: &[W], y: &[W], out: &mut [W]) -> Result<(), Error> {
    let n = x.len();
    assert!(out.len() == n, "less_than: lengths differ");
    let ([d, c, rho, bit], mut party) = party.scratch([n, n, n, plane_words::<W>(n)])?;
    let mut draw = party.draw()?;
    subtract(&party, (x, y), d);
    let cut = Cut::signed(0);
    let mask = blind_compared(&mut party, &mut draw, d, cut, c);
    party.open(c)?; // round 1
    let word = Opened { c, mask, cut };
    sign(&mut party, &mut draw, &word, bit)?; // rounds 2 and 3
    let mask = open_selector(&mut party, &mut draw, bit, rho)?; // round 4
    compared(&mut party, &mut draw, (word.c, Words::Mask(word.mask), n, cut.bits()), (bit, mask))?;
    Selector { open: bit, mask, rho }.words(&party, out);
    party.kernels.scale(out, W::from_i64(-1));
    party.kernels.add_constant(out, party.role.first(W::from_u64(1)));
    Ok(())
}

/// `x` becomes the larger and `y` the smaller of both, in place: four rounds.
///
/// # Errors
///
/// As [`less_than`].
///
/// # Panics
///
/// If lengths differ.
pub fn order<W: Word>(party: &mut Party<'_, W>, x: &mut [W], y: &mut [W]) -> Result<(), Error> {
    order_with(party, [x, y], [&mut [], &mut []])
}

/// [`order`] that exchanges the second values, too, wherever it exchanges the first: never where
/// those are equal. Second values are any words; without them, this is [`order`].
///
/// # Errors
///
/// As [`less_than`].
///
/// # Panics
///
/// If lengths differ.
pub fn order_with<W: Word>(
    party: &mut Party<'_, W>,
    [x, y]: [&mut [W]; 2],
    [x_with, y_with]: [&mut [W]; 2],
) -> Result<(), Error> {
    let (n, all) = (x.len(), x.len() + x_with.len());
    assert!([0, n].contains(&x_with.len()) && y_with.len() == x_with.len(), "order: lengths differ");
    let ([d, c, rho, bit], mut party) = party.scratch([all, all, n, plane_words::<W>(n)])?;
    let mut draw = party.draw()?;
    subtract(&party, (x, y), &mut d[..n]);
    subtract(&party, (x_with, y_with), &mut d[n..]);
    let cut = Cut::signed(0);
    let mask = blind_compared(&mut party, &mut draw, &d[..n], cut, &mut c[..n]);
    let mask_with = blind_cut(&mut party, &mut draw, cut, &d[n..], &mut c[n..]);
    party.open(c)?; // round 1
    let word = Opened { c: &c[..n], mask, cut };
    sign(&mut party, &mut draw, &word, bit)?; // rounds 2 and 3
    let bits = open_selector(&mut party, &mut draw, bit, rho)?; // round 4
    compared(&mut party, &mut draw, (word.c, Words::Mask(mask), n, cut.bits()), (bit, bits))?;
    let selector = Selector { open: bit, mask: bits, rho };
    keep(&mut party, &mut draw, &word, selector, &mut d[..n])?;
    if all > n {
        let word = Opened { c: &c[n..], mask: mask_with, cut };
        keep(&mut party, &mut draw, &word, selector, &mut d[n..])?;
    }
    let (kept, kept_with) = d.split_at(n);
    let (moved, moved_with) = c.split_at_mut(n);
    exchange(&party, [x, y], kept, moved);
    exchange(&party, [x_with, y_with], kept_with, moved_with);
    Ok(())
}

/// Moves `x - y - kept` from `x` to `y`: nothing where `kept` is all of the difference.
fn exchange<W: Word>(party: &Party<'_, W>, [x, y]: [&mut [W]; 2], kept: &[W], moved: &mut [W]) {
    subtract(party, (x, y), moved);
    party.kernels.sub(moved, kept);
    party.kernels.sub(x, moved);
    party.kernels.add(y, moved);
}

/// `d = x - y`.
fn subtract<W: Word>(party: &Party<'_, W>, (x, y): (&[W], &[W]), d: &mut [W]) {
    assert!(x.len() == d.len() && y.len() == d.len(), "compared values differ in length");
    d.copy_from_slice(x);
    party.kernels.sub(d, y);
}

/// Shares of `min(x, y)`: four rounds.
///
/// # Errors
///
/// As [`less_than`].
///
/// # Panics
///
/// If lengths differ.
pub fn minimum<W: Word>(party: &mut Party<'_, W>, x: &[W], y: &[W], out: &mut [W]) -> Result<(), Error> {
    let ([larger], mut party) = party.scratch([x.len()])?;
    larger.copy_from_slice(x);
    out.copy_from_slice(y);
    order(&mut party, larger, out)
}

/// Shares of `max(x, y)`: four rounds.
///
/// # Errors
///
/// As [`less_than`].
///
/// # Panics
///
/// If lengths differ.
pub fn maximum<W: Word>(party: &mut Party<'_, W>, x: &[W], y: &[W], out: &mut [W]) -> Result<(), Error> {
    let ([smaller], mut party) = party.scratch([y.len()])?;
    out.copy_from_slice(x);
    smaller.copy_from_slice(y);
    order(&mut party, out, smaller)
}

/// Shares of `x` where the shared plane `bit` is set and of `y` elsewhere: one round. Values are
/// any words.
///
/// # Errors
///
/// As [`less_than`].
///
/// # Panics
///
/// If lengths differ, or `bit` is not one plane.
pub fn select<W: Word>(party: &mut Party<'_, W>, bit: &[W], (x, y): (&[W], &[W]), out: &mut [W]) -> Result<(), Error> {
    let n = out.len();
    let ([open, rho, c], mut party) = party.scratch([plane_words::<W>(n), n, n])?;
    let mut draw = party.draw()?;
    open.copy_from_slice(bit);
    subtract(&party, (x, y), out);
    if party.is_clear() {
        party.kernels.keep_where(out, open);
        party.kernels.add(out, y);
        return Ok(());
    }
    let cut = Cut::signed(0);
    let mask = blind_cut(&mut party, &mut draw, cut, out, c);
    let bits = hide_bits(&mut party, &mut draw, open)?;
    party.exchange(&mut [(Fold::Add, &mut *c), (Fold::Xor, &mut *open)])?; // the one round
    party.take(&mut draw, BitToWord { bits, len: n, width: W::BITS }, &mut [&mut *rho])?;
    keep(&mut party, &mut draw, &Opened { c, mask, cut }, Selector { open, mask: bits, rho }, out)?;
    party.kernels.add(out, y);
    Ok(())
}

/// [`select`] by words of 0 or 1 instead of bits: `y + s (x - y)`, one round.
///
/// # Errors
///
/// As [`less_than`].
///
/// # Panics
///
/// If lengths differ.
pub fn select_by_words<W: Word>(
    party: &mut Party<'_, W>,
    s: &[W],
    (x, y): (&[W], &[W]),
    out: &mut [W],
) -> Result<(), Error> {
    let n = s.len();
    let ([factors], mut party) = party.scratch([2 * n])?;
    factors[..n].copy_from_slice(s);
    subtract(&party, (x, y), &mut factors[n..]);
    multiply_halves(&mut party, factors, out)?; // the one round
    party.kernels.add(out, y);
    Ok(())
}
