//! What a classifier says, and how often it is right.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** [`predict`]: a round and a word each way a logit, and [`argmax`]'s. [`count_correct`]: two rounds, a bit and a word each way a logit; two words dealt.
//! - **Result:** exact; the first of several largest logits is the prediction.
//! - **Needs:** logits with `|z_i - z_j| < 2^(k-2)`, in whatever units.

use crate::{
    kernel::plane_words,
    link::Error,
    party::Party,
    protocol::{
        bit::bits_to_words,
        masked::{Masked, mask_and_open},
        maximum::argmax,
        product::multiply,
        truncate::{Opened, blind, half},
    },
    word::Word,
};

/// XOR shares of the one-hot vectors of each row's largest logit: a plane of the rows for each class.
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
    logits: &[W],
    classes: usize,
    predicted: &mut [W],
) -> Result<(), Error> {
    let ([c], mut party) = party.scratch([logits.len()])?;
    let mut draw = party.draw()?;
    let mask = blind(&mut party, &mut draw, logits, half(), c);
    party.open(c)?; // the logits
    argmax(&mut party, &Opened { c, mask, offset: half() }, classes, predicted)
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
