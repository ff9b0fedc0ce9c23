//! Divides shared words by `2^t`, opening only the bits that the result keeps.
//!
//! Each server first drops the low `t` bits of its own share of `s = z + offset + 2^t - 1`. What is
//! left are shares of `Y = floor((s - u) / 2^t)` in `Z_2^n`, where `u` are the bits that server 0
//! dropped and `n = k - t`, or fewer for values that are known to be small ([`Cut`]). `c = Y + r
//! mod 2^n` is opened under a fresh mask `r`. With `h = r mod 2^(n-1)` and `m = msb(r)` the result
//! is `y = C - [h] + Q [m]`, for public `C = c - (offset >> t)` and `Q = (1 - 2 msb(c)) 2^(n-1)`. A
//! server's share of `h` is its own stream's, less `2^(n-1) [o]`, where `o` is the carry that both
//! make. So only `o` and `m` are dealt, each in as many bits as its factor `2^(n-1)` leaves of the
//! result's ring.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** 1 round, `n` bits each way; `2 (k - n + 1)` bits dealt.
//! - **Result:** `floor((z + 2^t - 1 - u) / 2^t)`: within one unit of `z / 2^t`, exact where `2^t`
//!   divides `z`, never a wrap.
//! - **Dither:** `u`. Server 0's share of a value that holds part of a dealt one (a product, a
//!   truncated, selected or mapped value) is uniform and independent of `z`, and so is `u`:
//!   rounding is unbiased. A multiple of `2^a` whose shares are uniform among the multiples of
//!   `2^a`, as a value scaled by an even constant is, rounds without bias too; zeros and other
//!   multiples of `2^t` need no dither. A public constant that is no such multiple, added to such a
//!   value, is rounded with a bias of less than a unit.
//! - **Leaks:** what is opened is uniform. From a revealed result a server learns, beyond
//!   `z / 2^t`, how the low `t` bits of `z` compare with a number that follows from the bits that
//!   it dropped itself, and nothing else: the result is a public function of the data and the
//!   dither.
//! - **Needs:** `-offset <= z < 2^(k-1) - offset`; where the sign is asked for ([`super::sign`] and
//!   what is made of it), `z <= 2^(k-1) - offset - 2^t`, or `z` may round up to what reads as
//!   negative. See [`Cut`].
//! - **Memory:** five words of scratch an element; no heap.
//! - **Source:** derived here. Rounding up the sum, instead of adding 1 to the rounded one, makes
//!   multiples exact and the mean too.

use super::narrow::{open_narrow, open_two_narrow};
use crate::{
    correlation::{Deal, Draw, View, request::Truncation},
    kernel::Opening,
    link::Error,
    party::Party,
    word::Word,
};

/// `2^(k-2)`, the offset of signed words.
pub fn half<W: Word>() -> W {
    W::from_u64(1 << (W::BITS - 2))
}

/// The bits of a word that are opened. Public.
#[derive(Clone, Copy, Debug)]
pub struct Cut<W> {
    /// Keeps `z + offset` from being negative; a multiple of `2^dropped`.
    offset: W,
    /// Low bits that are dropped, `t`.
    dropped: u32,
    /// Bits that are opened, `n`.
    bits: u32,
}

impl<W: Word> Cut<W> {
    /// All but the low `dropped` bits of a signed word: `-2^(k-2) <= z < 2^(k-2)`.
    ///
    /// # Panics
    ///
    /// If `dropped > k - 2`.
    pub fn signed(dropped: u32) -> Self {
        Self::within(W::BITS - 2, dropped)
    }
    /// The same of a word that is never negative: `0 <= z < 2^(k-1)`.
    ///
    /// # Panics
    ///
    /// If `dropped > k - 2`.
    pub fn unsigned(dropped: u32) -> Self {
        Self { offset: W::default(), ..Self::signed(dropped) }
    }
    /// The same of a word that is known to be small, `-2^range <= z < 2^range`, whose
    /// upper bits are not opened either. By construction, never by hope: the range alarm sees
    /// whole words alone. Saves bits where a comparison follows.
    ///
    /// # Panics
    ///
    /// If `range > k - 2` or `dropped > range`.
    pub fn within(range: u32, dropped: u32) -> Self {
        assert!(range <= W::BITS - 2 && dropped <= range, "a cut needs dropped <= range <= k - 2");
        Self { offset: W::from_u64(1).shl(range), dropped, bits: range + 2 - dropped }
    }
    /// The bits of an index, from bit `dropped` of `z + offset` on.
    pub(crate) fn index(offset: W, dropped: u32, bits: u32) -> Self {
        assert!(dropped + bits <= W::BITS, "an index of more bits than a word");
        Self { offset, dropped, bits }
    }
    /// Bits that are opened.
    pub fn bits(&self) -> u32 {
        self.bits
    }
    /// Low bits that are dropped.
    pub fn dropped(&self) -> u32 {
        self.dropped
    }
    /// The offset in units of the result.
    pub fn offset(&self) -> W {
        self.offset.shr(self.dropped)
    }
}

/// A word opened as `c = Y + r mod 2^n`: everything that can be had from that one opening.
///
/// What is public stays valid: protocols that reuse the word ([`super::sign`], [`super::square`], …) take it by reference and open no
/// word again.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a, W> {
    /// `c`, public, below `2^n`.
    pub c: &'a [W],
    /// Names `r`: the lower `n` bits of this mask.
    pub mask: View<'a>,
    /// Which bits they are.
    pub cut: Cut<W>,
}

impl<'a, W: Word> Opened<'a, W> {
    /// As an argument of the kernels.
    pub fn opening(&self) -> Opening<'a, W> {
        Opening { c: self.c, offset: self.cut.offset(), bits: self.cut.bits }
    }
}

/// Prepares the opening of `z`: writes this party's share of `c` and names `r`. The caller opens
/// the lower `n` bits ([`super::narrow`]), together with what else goes in that round. Offers `z`
/// to the party's [`Alarms`](crate::party::Alarms).
pub(crate) fn blind<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    z: &[W],
    cut: Cut<W>,
    c: &mut [W],
) -> View<'static> {
    let offset = if W::bytes(&[cut.offset]) == W::bytes(&[W::default()]) { cut.offset } else { half() };
    super::alarm::offer(party, z, offset);
    blind_compared(party, draw, z, cut, c)
}

/// [`blind`] for a caller that raises the word's alarm itself, by
/// [`compared`](super::alarm::compared).
pub(crate) fn blind_compared<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    z: &[W],
    cut: Cut<W>,
    c: &mut [W],
) -> View<'static> {
    if party.is_clear() {
        party.trace.opened(z, cut.offset, cut.bits + cut.dropped);
    }
    blind_cut(party, draw, cut, z, c)
}

/// [`blind`] of any bits of a word, with neither alarm nor trace.
pub(crate) fn blind_cut<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    cut: Cut<W>,
    z: &[W],
    c: &mut [W],
) -> View<'static> {
    let mask = draw.mask(z.len()).view();
    party.expand(mask, c);
    let offset = cut.offset.add(W::low_mask(cut.dropped));
    if party.is_clear() {
        party.kernels.blind_clear(c, z, offset, cut.dropped, cut.bits);
    } else {
        party.kernels.blind(c, z, party.role.first(offset), cut.dropped);
    }
    mask
}

/// Opens `z` into `c`: one round.
///
/// # Errors
///
/// The link's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ.
pub fn open<'c, W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    z: &[W],
    cut: Cut<W>,
    c: &'c mut [W],
) -> Result<Opened<'c, W>, Error> {
    assert!(z.len() == c.len(), "open: lengths differ");
    let mask = blind(party, draw, z, cut, c);
    open_narrow(party, c, cut.bits)?;
    Ok(Opened { c, mask, cut })
}

/// [`open`] of two values in one round.
///
/// # Errors
///
/// As [`open`].
///
/// # Panics
///
/// If lengths differ.
pub(crate) fn open_two<'c, W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    [(x, x_cut), (y, y_cut)]: [(&[W], Cut<W>); 2],
    [c, d]: [&'c mut [W]; 2],
) -> Result<[Opened<'c, W>; 2], Error> {
    assert!([x.len(), y.len()] == [c.len(), d.len()], "open: lengths differ");
    let masks = [blind(party, draw, x, x_cut, c), blind(party, draw, y, y_cut, d)];
    open_two_narrow(party, [(&mut *c, x_cut.bits), (&mut *d, y_cut.bits)])?;
    let [x, y] = masks;
    Ok([Opened { c, mask: x, cut: x_cut }, Opened { c: d, mask: y, cut: y_cut }])
}

/// [`open`] for a caller that raises the word's alarm itself.
pub(crate) fn open_compared<'c, W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    z: &[W],
    cut: Cut<W>,
    c: &'c mut [W],
) -> Result<Opened<'c, W>, Error> {
    let mask = blind_compared(party, draw, z, cut, c);
    open_narrow(party, c, cut.bits)?;
    Ok(Opened { c, mask, cut })
}

/// Divides `z` by `2^frac_bits` in place: one round.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If `frac_bits > k - 2`.
pub fn truncate<W: Word>(party: &mut Party<'_, W>, z: &mut [W], frac_bits: u32) -> Result<(), Error> {
    truncate_by(party, z, Cut::signed(frac_bits))
}

/// [`truncate`] for words that are never negative, which gain a bit: [`Cut::unsigned`].
///
/// # Errors
///
/// As [`truncate`].
///
/// # Panics
///
/// As [`truncate`].
pub fn truncate_unsigned<W: Word>(party: &mut Party<'_, W>, z: &mut [W], frac_bits: u32) -> Result<(), Error> {
    truncate_by(party, z, Cut::unsigned(frac_bits))
}

fn truncate_by<W: Word>(party: &mut Party<'_, W>, z: &mut [W], cut: Cut<W>) -> Result<(), Error> {
    let ([c], mut party) = party.scratch([z.len()])?;
    let mut draw = party.draw()?;
    let word = open(&mut party, &mut draw, z, cut, c)?; // the one round
    truncated(&mut party, &mut draw, &word, z)
}

/// [`truncate`] of two values, each by bits of its own, in one round.
///
/// # Errors
///
/// As [`truncate`].
///
/// # Panics
///
/// As [`truncate`].
pub(crate) fn truncate_two<W: Word>(party: &mut Party<'_, W>, values: [(&mut [W], u32); 2]) -> Result<(), Error> {
    let [(x, x_bits), (y, y_bits)] = values;
    let ([c, d], mut party) = party.scratch([x.len(), y.len()])?;
    let mut draw = party.draw()?;
    let both = [(&*x, Cut::signed(x_bits)), (&*y, Cut::signed(y_bits))];
    let [first, second] = open_two(&mut party, &mut draw, both, [c, d])?; // the one round
    truncated(&mut party, &mut draw, &first, x)?;
    truncated(&mut party, &mut draw, &second, y)
}

/// Shares of the truncated value of a word that is open: no round. `o` and `m` are dealt here.
///
/// # Errors
///
/// The dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ.
pub fn truncated<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    word: &Opened<'_, W>,
    z: &mut [W],
) -> Result<(), Error> {
    super::into_ring::truncated_narrow(party, draw, word, W::BITS, z)
}

/// What [`truncated`] ideally does.
pub(crate) fn clear<W: Word>(party: &Party<'_, W>, word: &Opened<'_, W>, z: &mut [W]) {
    party.expand(word.mask, z);
    party.kernels.truncated_clear(z, word.opening());
}

/// Shares of `h` and `m` for a result in `Z_2^ring`.
pub(crate) fn take_parts<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    word: &Opened<'_, W>,
    ring: u32,
    h: &mut [W],
    m: &mut [W],
) -> Result<(), Error> {
    let ([o], mut party) = party.scratch([h.len()])?;
    let request = Truncation { mask: word.mask, bits: word.cut.bits, ring };
    if request.dealt::<W>()[0].is_some() {
        party.take(draw, request, &mut [&mut *o, &mut *m])?;
    } else {
        // Their factor is a multiple of 2^ring.
        o.fill(W::default());
        m.fill(W::default());
    }
    party.expand(word.mask, h);
    party.kernels.mask_lower_share(h, o, word.cut.bits);
    Ok(())
}
