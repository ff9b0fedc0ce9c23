//! Kernels of range alarms; see [`crate::protocol::alarm`].

use crate::word::Word;

/// `c_1 ^ ¬c_0 (β ^ ρ) ^ ¬(β ^ c_0) r ^ q`: alarms of compared words. `c` are the planes of bits
/// `k - 2` and `k - 1` of the public words, `beta` the opened bits, `rho`, `r` and `q` shares of
/// planes. `first` is all ones at the party that adds public terms.
#[inline(always)]
pub fn alarms<W: Word>(out: &mut [W], c: &[W], beta: &[W], rho: &[W], r: &[W], q: &[W], first: W) {
    let (low, high) = c.split_at(out.len());
    let public = low.iter().zip(high).zip(beta);
    let shares = rho.iter().zip(r).zip(q);
    for (out, (((low, high), beta), ((rho, r), q))) in out.iter_mut().zip(public.zip(shares)) {
        let not_low = low.not();
        let known = high.xor(not_low.and(*beta)).and(first);
        *out = known.xor(not_low.and(*rho)).xor(beta.xor(not_low).and(*r)).xor(*q);
    }
}

/// Folds `planes` into `sums`: `sums_j ^= planes_i random_(i + j)`, for
/// `planes.len() + sums.len() - 1` random words. Unless all planes are 0, the parities of the
/// increments are independent and fair: for the last plane word that is not 0, each `j` brings in a
/// random word that no smaller `j` has used.
#[inline(always)]
pub fn fold_alarms<W: Word>(sums: &mut [W], planes: &[W], random: &[W]) {
    for (plane, random) in planes.iter().zip(random.windows(sums.len().max(1))) {
        for (sum, random) in sums.iter_mut().zip(random) {
            *sum = sum.xor(plane.and(*random));
        }
    }
}
