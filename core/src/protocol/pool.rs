//! Maximum of windows, fused with the truncation before it and, if wanted, with a ReLU behind it.
//!
//! Words lie place by place: the first element of every window, then the second, and so on. One
//! opening of each element gives the truncated values and all comparisons within a window
//! ([`super::maximum`]). A ReLU behind the maximum is one more class in each window, of public
//! zeros. The one-hot bits are opened under a bit mask, and the winner is kept
//! ([`super::select`]). The gradient goes through the same bits: it is opened once a window,
//! whatever the window's size.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** forward, windows of `w` elements: 1 round for the opening, 1 or 2 for the
//!   comparisons, 1 to open their bits, 1 for each further level of conjunctions (of nine bits at
//!   most), 1 for the selector. Each way `k - t` bits an element, and the comparisons' and the
//!   selector's bits; dealt two words an element and the comparisons' bits. Backward: 1 round,
//!   `k - t` bits a window each way; a word and `k - n + 1` bits an element dealt.
//! - **Result:** exactly the largest truncated value, or 0 if a ReLU follows and it is negative; of
//!   equals the first passes its gradient on.
//! - **Needs:** `-2^(k-2) <= z < 2^(k-2) - 2^t`, and differences as [`super::maximum`].
//! - **Memory:** a word and a bit an element live on between the passes; scratch as a dry run says.

use super::{
    conjunction::hide_bits,
    maximum::argmax_of_columns,
    select::{Selector, select},
    truncate::{Cut, Opened, open, truncated},
};
use crate::{
    correlation::{View, request::BitToWord},
    kernel::plane_words,
    link::Error,
    party::Party,
    word::Word,
};

/// The shape of a pool: elements of a window, and whether a ReLU follows. Public.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pool {
    /// Elements of a window, 2 or more.
    pub area: usize,
    /// Fraction bits to truncate.
    pub frac_bits: u32,
    /// Whether negative maxima become 0.
    pub relu: bool,
}

impl Pool {
    /// Words of the planes of `n` elements' bits.
    pub fn bits<W: Word>(&self, n: usize) -> usize {
        self.area * plane_words::<W>(n / self.area)
    }
}

/// `z` of each window from its elements in `x`, which is overwritten. The bits go to `bits`
/// ([`Pool::bits`]) and `rho` (a word an element): with the name returned, [`maximum_backward`]
/// takes them.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths do not fit.
pub fn maximum_forward<W: Word>(
    party: &mut Party<'_, W>,
    pool: Pool,
    x: &mut [W],
    (bits, rho): (&mut [W], &mut [W]),
    z: &mut [W],
) -> Result<View<'static>, Error> {
    let (n, windows) = (x.len(), z.len());
    assert!(n == pool.area * windows && rho.len() == n && bits.len() == pool.bits::<W>(n), "pool: lengths differ");
    let ([c], mut party) = party.scratch([n])?;
    let mut draw = party.draw()?;
    let word = open(&mut party, &mut draw, x, Cut::signed(pool.frac_bits), c)?; // round 1
    argmax_of_columns(&mut party, &word, (pool.area, pool.relu), bits)?;
    let lanes = plane_words::<W>(windows);
    let mask = if party.is_clear() {
        rho.fill(W::default());
        draw.mask(bits.len()).view()
    } else {
        let mask = hide_bits(&mut party, &mut draw, bits)?;
        party.open_bits(bits)?; // the last round
        for (place, rho) in rho.chunks_exact_mut(windows.max(1)).enumerate() {
            let bits = mask.slice(place * lanes, lanes);
            party.take(&mut draw, BitToWord { bits, len: windows, width: W::BITS }, &mut [rho])?;
        }
        mask
    };
    truncated(&mut party, &mut draw, &word, x)?;
    z.fill(W::default());
    for (place, x) in x.chunks_exact_mut(windows.max(1)).enumerate() {
        let elements = place * windows..(place + 1) * windows;
        let own = Opened { c: &word.c[elements.clone()], mask: word.mask.slice(elements.start, windows), ..word };
        select(&mut party, &mut draw, &own, selector((bits, mask, rho), place, [windows, lanes]), x)?;
        party.kernels.add(z, x);
    }
    Ok(mask)
}

/// The bits of one place in all windows.
fn selector<'a, W>(
    (bits, mask, rho): (&'a [W], View<'a>, &'a [W]),
    place: usize,
    [windows, lanes]: [usize; 2],
) -> Selector<'a, W> {
    Selector {
        open: &bits[place * lanes..][..lanes],
        mask: View { at: mask.at + place * lanes, cols: lanes, stride: lanes, ..mask },
        rho: &rho[place * windows..][..windows],
    }
}

/// The gradient of each element of the windows from that of their maxima, with the bits of
/// [`maximum_forward`]: `d / 2^frac_bits` for the winner, else 0. One round.
///
/// # Errors
///
/// As [`maximum_forward`].
///
/// # Panics
///
/// As [`maximum_forward`].
pub fn maximum_backward<W: Word>(
    party: &mut Party<'_, W>,
    pool: Pool,
    d: &[W],
    (bits, mask, rho): (&[W], View<'_>, &[W]),
    dx: &mut [W],
) -> Result<(), Error> {
    let (n, windows) = (dx.len(), d.len());
    assert!(n == pool.area * windows && rho.len() == n && bits.len() == pool.bits::<W>(n), "pool: lengths differ");
    let ([c, y], mut party) = party.scratch([windows; 2])?;
    let mut draw = party.draw()?;
    let word = open(&mut party, &mut draw, d, Cut::signed(pool.frac_bits), c)?; // the one round
    truncated(&mut party, &mut draw, &word, y)?;
    let lanes = plane_words::<W>(windows);
    for (place, dx) in dx.chunks_exact_mut(windows.max(1)).enumerate() {
        dx.copy_from_slice(y);
        select(&mut party, &mut draw, &word, selector((bits, mask, rho), place, [windows, lanes]), dx)?;
    }
    Ok(())
}
