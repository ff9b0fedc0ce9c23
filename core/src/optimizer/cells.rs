//! Which of seven cells a word lies in, as six nested bits.
//!
//! For thresholds a factor of four apart, `t_j = [U < 4^j 2^low]`, `j = 1..6`, from the word `c = U + r` that the truncation of `U` opens anyway.
//! `t_j = E_j ^ b_j (E_j ^ E'_j)`, where `E_j`, `E'_j` say that the digits of `r` above equal those of `c`, of `c - 1`, and `b_j` is the borrow of the one
//! base-4 digit below (DESIGN.md, section 6). Leaves are local: the dealer gives one-hot vectors of the digits of `r`.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** 2 rounds, 23 bits each way; 110 bits dealt (102 where the topmost digit has three bits).
//! - **Result:** each threshold with a public dither of less than a quarter of it: `t_j = [U + d - 1 - (c mod d) < 4 d]`, `d = 4^(j-1) 2^low`. So `t_j` is 1 where
//!   `U <= 3 d`, 0 where `U >= 4 d`, and nested always.
//! - **Needs:** `c` opened with offset 0; `0 <= U < 2^(low + b) - 2^(low + 10)`, where `b = min(20, k - 1 - low)`; `b > 16`.
//! - **Memory:** about 160 planes of scratch: two and a half words an element for `k = 64`, five for `k = 32`.

use crate::{
    correlation::{Request, Words},
    kernel::{
        plane_words,
        portable::{
            DIGIT, FIRST_LEAVES, FIRST_TERMS, LEAVES, SECOND_LEAVES, SECOND_TERMS, THRESHOLDS as COUNT, cell_digits,
        },
    },
    link::Error,
    party::Party,
    protocol::{
        conjunction::{conjunctions, hide_bits},
        truncate::Opened,
    },
    word::Word,
};

/// Thresholds, and so bits: one less than cells.
pub const THRESHOLDS: usize = COUNT;

/// XOR shares of the six bits, plane after plane, into `t`. `u` comes as it was opened in `word`.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ, or a word has too few bits above `low`.
pub fn cells<W: Word>(
    party: &mut Party<'_, W>,
    word: &Opened<'_, W>,
    u: &[W],
    low: u32,
    t: &mut [W],
) -> Result<(), Error> {
    let lanes = plane_words::<W>(u.len());
    assert!(u.len() == word.c.len() && t.len() == THRESHOLDS * lanes, "cells: lengths differ");
    let widths = cell_digits::<W>(low);
    let mut draw = party.draw()?;
    if party.is_clear() {
        party.kernels.cells_clear(t, word.c, u, low);
        return Ok(());
    }
    let bits: usize = widths.iter().map(|w| usize::from(*w)).sum();
    let hot_planes = widths.iter().map(|w| (1 << w) - 1).sum::<usize>();
    let planes = [bits, hot_planes, LEAVES, FIRST_TERMS.len(), SECOND_LEAVES, SECOND_TERMS.len()];
    let ([c, hot, leaves, first, variables, second], mut party) = party.scratch(planes.map(|p| p * lanes))?;
    party.kernels.to_planes(c, word.c, low);
    party.take(
        &mut draw,
        &Request::Digits { words: Words::Mask(word.mask), low, widths: &widths },
        &mut [&mut *hot],
    )?;
    party.kernels.cell_leaves(leaves, c, hot, u32::from(widths[DIGIT]), party.role.first_mask());

    let (open, rest) = leaves.split_at_mut(FIRST_LEAVES * lanes);
    let masks = hide_bits(&mut party, &mut draw, open)?;
    party.open_bits(open)?; // the first round
    conjunctions(&mut party, &mut draw, (open, masks), lanes, &FIRST_TERMS, first)?;
    party.kernels.cell_joints(variables, t, first, rest, c);

    let masks = hide_bits(&mut party, &mut draw, variables)?;
    party.open_bits(variables)?; // the second round
    conjunctions(&mut party, &mut draw, (variables, masks), lanes, &SECOND_TERMS, second)?;
    let (with_equal, with_less) = second.split_at(second.len() / 2);
    let below = &mut t[..with_equal.len()];
    party.kernels.xor(below, with_equal);
    party.kernels.xor(below, with_less);
    Ok(())
}
