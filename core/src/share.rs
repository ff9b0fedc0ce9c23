//! Splitting values into two additive shares, and joining them.
//!
//! `x = x_0 + x_1 mod 2^k`. Server 0's share is the expansion of a 32-byte seed, so that only server 1's costs bytes.
//!
//! - **Adversary:** semi-honest, one server; each share alone is uniform.
//! - **Cost:** 32 bytes to server 0, one word a value to server 1.

use crate::{
    prg::{MaskId, Prg, fill},
    word::Word,
};

/// Turns `values`, words `at..` of a secret, into server 1's shares, in place. Server 0 [`expand`]s
/// the same words of the stream. A word of the stream must serve one split only.
pub fn split<W: Word>(stream: &dyn Prg, id: MaskId, at: usize, values: &mut [W]) {
    const CHUNK: usize = 64;
    for (i, chunk) in values.chunks_mut(CHUNK).enumerate() {
        let mut own = [W::default(); CHUNK];
        let own = &mut own[..chunk.len()];
        fill(stream, id, at + i * CHUNK, own);
        subtract(chunk, own);
    }
}

/// `values -= own`. A symbol of its own: the constant-time check disassembles it.
#[inline(never)]
fn subtract<W: Word>(values: &mut [W], own: &[W]) {
    for (v, o) in values.iter_mut().zip(own) {
        *v = v.sub(*o);
    }
}

/// Server 0's shares: the stream from word `at` on.
pub fn expand<W: Word>(stream: &dyn Prg, id: MaskId, at: usize, out: &mut [W]) {
    fill(stream, id, at, out);
}

/// `ours += theirs`: joins shares. Whoever holds both sees the value.
pub fn join<W: Word>(ours: &mut [W], theirs: &[W]) {
    for (o, t) in ours.iter_mut().zip(theirs) {
        *o = o.add(*t);
    }
}
