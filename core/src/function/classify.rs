//! What the label of a row is, what a classifier says, and how often it is right.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** [`one_hot`]: one round, `bits` bits each way a code; `2^bits` words dealt, whatever
//!   the number of classes. [`predict`]: a round and `k - t` bits each way a logit, `t` of them
//!   truncated, and [`argmax`]'s. [`count_correct`]: two rounds, a bit and a word each way a logit;
//!   two words dealt.
//! - **Result:** exact, of truncated logits; the first of several largest ones is the prediction.
//! - **Needs:** logits with `|z_i - z_j| <= 2^(k-2) - 2^(t+1)`.

use crate::{
    correlation::request::OneHotWords,
    kernel::{packed_words, plane_words, portable::MAX_WIDTH},
    link::{Error, Fold},
    mapping::{Domain, blind_index, open_index},
    party::Party,
    protocol::{
        bit::bits_to_words,
        masked::{Masked, mask_and_open},
        maximum::argmax,
        product::multiply,
        truncate::{Cut, open},
    },
    word::Word,
};

/// XOR shares of the one-hot vectors of each row's largest logit, all truncated by `frac_bits`: a
/// plane of the rows for each class.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths do not fit.
pub fn predict<W: Word>(
    party: &mut Party<'_, W>,
    (logits, frac_bits): (&[W], u32),
    classes: usize,
    predicted: &mut [W],
) -> Result<(), Error> {
    let ([c], mut party) = party.scratch([logits.len()])?;
    let mut draw = party.draw()?;
    let word = open(&mut party, &mut draw, logits, Cut::signed(frac_bits), c)?; // the logits
    argmax(&mut party, &word, classes, predicted)
}

/// A share of the number of rows whose prediction is the label: the sum of all `predicted_j y_j`, so that rows without a label count nothing. Opening it is the
/// caller's. Labels that are bits are counted more cheaply by [`count_matches`](crate::protocol::maximum::count_matches).
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths do not fit.
pub fn count_correct<W: Word>(
    party: &mut Party<'_, W>,
    predicted: &[W],
    labels: Masked<'_, W>,
    classes: usize,
) -> Result<W, Error> {
    let n = labels.words.len();
    let rows = n.checked_div(classes).unwrap_or(0);
    assert!(rows * classes == n, "count_correct: not whole rows");
    assert!(predicted.len() == classes * plane_words::<W>(rows), "count_correct: one plane a class");
    let ([plane, hits, both], mut party) = party.scratch([plane_words::<W>(n), n, n])?;
    let mut draw = party.draw()?;
    party.kernels.interleave(plane, predicted, rows, classes);
    bits_to_words(&mut party, plane, &[0], hits)?; // the first round
    let mask = mask_and_open(&mut party, hits, draw.mask(n))?; // the second
    multiply(&mut party, Masked { words: hits, mask }, labels, both)?;
    let mut count = [W::default()];
    party.kernels.sum_rows(&mut count, both, n);
    Ok(count[0])
}

/// Shares of the one-hot vectors of `codes`, row after row of `classes` words: labels as readings carry them become factors. Codes from `classes` on, below `2^bits`, become
/// zeros. Codes are shares modulo `2^bits`, whatever the bits above.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths do not fit, or there are more classes than codes.
pub fn one_hot<W: Word>(
    party: &mut Party<'_, W>,
    codes: &[W],
    bits: u32,
    classes: usize,
    out: &mut [W],
) -> Result<(), Error> {
    one_hot_scaled(party, (codes, 0), bits, classes, out)
}

/// [`one_hot`] of codes times `2^shift`, which are shares modulo `2^(shift + bits)`. The cost is the
/// same.
///
/// # Errors
///
/// As [`one_hot`].
///
/// # Panics
///
/// As [`one_hot`], or if `shift + bits` is more than a word has.
pub fn one_hot_scaled<W: Word>(
    party: &mut Party<'_, W>,
    (codes, shift): (&[W], u32),
    bits: u32,
    classes: usize,
    out: &mut [W],
) -> Result<(), Error> {
    let (domain, n) = (Domain { shift, bits, signed: false }, codes.len());
    assert!(
        classes <= domain.cells() && bits <= MAX_WIDTH,
        "one_hot: fewer codes than classes, or codes of more than 8 bits"
    );
    assert!(out.len() == classes * n, "one_hot: lengths differ");
    let ([c, packed, hot], mut party) = party.scratch([n, packed_words::<W>(n, bits), n << bits])?;
    let mut draw = party.draw()?;
    if party.is_clear() {
        // As if the mask were -code: then C is 0.
        c.copy_from_slice(codes);
        party.kernels.scale(c, W::from_i64(-1));
        party.kernels.one_hot_words(hot, c, shift, bits);
        c.fill(W::default());
    } else {
        let mask = blind_index(&mut party, &mut draw, &domain, codes, c, packed);
        party.exchange(&mut [(Fold::Swap, &mut *packed)])?; // the one round
        open_index(&mut party, &domain, c, mask, packed)?;
        party.take(&mut draw, OneHotWords { mask, low: 0, bits }, &mut [&mut *hot])?;
    }
    party.kernels.unit_rows(out, hot, c, classes);
    Ok(())
}
