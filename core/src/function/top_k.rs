//! The largest words of each row, in order, with the places where they were.
//!
//! All pairs of a row are compared at once, which gives each word's [rank](crate::protocol::rank).
//! A rank is a code of `b = ceil(log2 n)` bits: opened under a mask whose one-hot vector is dealt,
//! it gives bits `[rank = n], [rank = n - 1], …`, which select from the words that are open
//! already. So the rounds are the same for any number of words and any `k`; with `k = n` this
//! sorts. A [network](crate::protocol::sort) compares less and takes rounds for each layer.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** six rounds for words of more than 22 bits, five for narrower ones: the words'
//!   opening, the comparison of all pairs (one or two), the ranks, their codes, the selection.
//!   A bit is a plane's, rounded up to whole words; for rows of `n` words:
//!   - each way, a row: `n` words, `n (n - 1) / 2` times `C + 1` bits, `n b` and `n k` bits;
//!   - dealt, a row: `n (n - 1) / 2` times a word and `D` bits; `n (2^b - 1)` bits; `n k` times two
//!     words and a bit.
//!
//!   `C = 21`, `D = 105` for whole words of 32 bits, `C = 42`, `D = 297` for 64 bits. Truncated
//!   words open less ([`crate::protocol::compare`]), and are dealt what
//!   [truncation](crate::protocol::truncate) says.
//! - **Result:** exact, of the truncated values; of equal ones the first is the larger.
//! - **Needs:** truncated values with `-2^(m-2) <= y_i - y_j < 2^(m-2)` for words of `m` bits: the
//!   values before that with differences below `2^(k-2)`.
//! - **Alarms:** of each pair's difference, for 2 bits dealt.
//! - **Memory:** three words of scratch an element and that of the ranks, 8.5 a pair and row; for
//!   few words a row, `2^b` and `k` bits and six words an element; no heap.

use crate::{
    correlation::{
        Words,
        request::{BitToWord, Digits},
    },
    kernel::{plane_words, portable::MAX_WIDTH},
    link::Error,
    party::Party,
    protocol::{
        conjunction::hide_bits,
        narrow::open_narrow,
        rank::ranks,
        select::{Selector, select},
        truncate::{Cut, Opened, blind_cut, open, truncated},
    },
    word::Word,
};

/// Words a row, at most.
pub const MAX_ROW_WORDS: usize = 1 << MAX_WIDTH;

/// Results of [`top_k`], row after row, the largest word of a row first. An empty slice is left
/// out, at no cost.
#[derive(Debug, Default)]
pub struct Largest<'a, W> {
    /// The words: `k` a row.
    pub values: &'a mut [W],
    /// Their places in the row, from 0: integers, `k` a row.
    pub indices: &'a mut [W],
    /// Their places as one-hot vectors: for each of the `k`, row after row of 0 and 1.
    pub one_hot: &'a mut [W],
}

/// Finds the `k` largest in each row of `cols` values, which are truncated by `frac_bits` first.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths do not fit, `k` is 0 or above `cols`, or rows have more than [`MAX_ROW_WORDS`] words.
pub fn top_k<W: Word>(
    party: &mut Party<'_, W>,
    (values, frac_bits): (&[W], u32),
    (cols, k): (usize, usize),
    out: Largest<'_, W>,
) -> Result<(), Error> {
    let n = values.len();
    let rows = n.checked_div(cols).unwrap_or(0);
    assert!(
        rows * cols == n && (1..=cols).contains(&k) && cols <= MAX_ROW_WORDS,
        "top_k: values are not whole rows, or k or cols is out of range"
    );
    assert!([0, rows * k].contains(&out.values.len()), "top_k: lengths differ");
    assert!([0, rows * k].contains(&out.indices.len()), "top_k: lengths differ");
    assert!([0, n * k].contains(&out.one_hot.len()), "top_k: lengths differ");
    let (lanes, bits) = (plane_words::<W>(n), code_bits(cols));
    let ([c, y, rank], mut party) = party.scratch([n; 3])?;
    let mut draw = party.draw()?;
    let word = open(&mut party, &mut draw, values, Cut::signed(frac_bits), c)?; // round 1
    y.copy_from_slice(values);
    if frac_bits > 0 {
        truncated(&mut party, &mut draw, &word, y)?;
    }
    ranks(&mut party, &word, cols, rank)?; // rounds 2 to 4
    let minus = party.role.first(W::from_i64(-1));
    party.kernels.add_constant(rank, minus);
    let ([hot], mut party) = party.scratch([lanes << bits])?;
    one_hot(&mut party, rank, bits, hot)?; // round 5
    selected(&mut party, (&word, y), (cols, k, hot), out)
}

/// Bits of the codes of `cols` ranks.
fn code_bits(cols: usize) -> u32 {
    cols.next_power_of_two().trailing_zeros().max(1)
}

/// XOR shares of the planes `[code = -t mod 2^bits]` for `t = 0, 1, …`, of codes below `2^bits`:
/// one round.
fn one_hot<W: Word>(party: &mut Party<'_, W>, codes: &[W], bits: u32, hot: &mut [W]) -> Result<(), Error> {
    let (n, lanes) = (codes.len(), plane_words::<W>(codes.len()));
    let ([c, planes], mut party) = party.scratch([n, bits as usize * lanes])?;
    let mut draw = party.draw()?;
    let cut = Cut::index(W::default(), 0, bits);
    let mask = blind_cut(&mut party, &mut draw, cut, codes, c);
    if party.is_clear() {
        // As if the mask were -code: then the public number is 0.
        c.copy_from_slice(codes);
        party.kernels.scale(c, W::from_i64(-1));
        party.kernels.to_planes(planes, c, 0);
        party.kernels.one_hot(&mut hot[lanes..], planes, bits);
        planes.fill(W::default());
    } else {
        open_narrow(&mut party, c, bits)?; // the one round
        #[allow(clippy::cast_possible_truncation)] // at most MAX_WIDTH
        let widths = [bits as u8];
        let request = Digits { words: Words::Mask(mask), low: 0, widths: &widths };
        party.take(&mut draw, request, &mut [&mut hot[lanes..]])?;
        party.kernels.to_planes(planes, c, 0);
    }
    party.kernels.rotate_planes(hot, planes, bits, party.role.first_mask());
    Ok(())
}

/// Opens the planes of the `k` largest ranks and selects by them: one round.
fn selected<W: Word>(
    party: &mut Party<'_, W>,
    (word, y): (&Opened<'_, W>, &[W]),
    (cols, k, hot): (usize, usize, &[W]),
    out: Largest<'_, W>,
) -> Result<(), Error> {
    let (n, lanes) = (y.len(), plane_words::<W>(y.len()));
    let (rows, cells) = (n / cols, 1 << code_bits(cols));
    let ([open, rho, kept, sums], mut party) = party.scratch([k * lanes, n, n, rows])?;
    let mut draw = party.draw()?;
    for (place, open) in open.chunks_exact_mut(lanes.max(1)).enumerate() {
        // Ranks are from 0 to cols - 1 here.
        let turned = (cells - (cols - 1 - place)) % cells;
        open.copy_from_slice(&hot[turned * lanes..][..lanes]);
    }
    let masks = if party.is_clear() {
        rho.fill(W::default());
        draw.mask(open.len()).view()
    } else {
        let masks = hide_bits(&mut party, &mut draw, open)?;
        party.open_bits(open)?; // round 6
        masks
    };
    for (place, open) in open.chunks_exact(lanes.max(1)).enumerate() {
        let mask = masks.slice(place * lanes, lanes);
        if !party.is_clear() {
            party.take(&mut draw, BitToWord { bits: mask, len: n, width: W::BITS }, &mut [&mut *rho])?;
        }
        let selector = Selector { open, mask, rho };
        if !out.values.is_empty() {
            kept.copy_from_slice(y);
            select(&mut party, &mut draw, word, selector, kept)?;
            party.kernels.sum_rows(sums, kept, cols);
            place_column(sums, (place, k), out.values);
        }
        selector.words(&party, kept);
        if !out.one_hot.is_empty() {
            out.one_hot[place * n..][..n].copy_from_slice(kept);
        }
        if !out.indices.is_empty() {
            for row in kept.chunks_exact_mut(cols) {
                (0..).zip(row).for_each(|(i, word)| *word = word.mul(W::from_u64(i)));
            }
            party.kernels.sum_rows(sums, kept, cols);
            place_column(sums, (place, k), out.indices);
        }
    }
    Ok(())
}

/// Writes a word a row to the place `place` of rows of `k` words.
fn place_column<W: Word>(words: &[W], (place, k): (usize, usize), out: &mut [W]) {
    // Dry words have no use for what would take most of a dry run's time.
    if size_of::<W>() == 0 {
        return;
    }
    for (row, word) in out.chunks_exact_mut(k).zip(words) {
        row[place] = *word;
    }
}
