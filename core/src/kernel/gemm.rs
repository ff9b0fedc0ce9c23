//! Products of ring matrices.

use super::Matrix;
use crate::word::Word;

/// `z += x y`, where `x` is `m` by `k`, `y` is `k` by `n` and `z` is `m` by `n` without gaps; `dims = [m, k, n]`.
///
/// # Panics
///
/// If a matrix is shorter than its dimensions.
#[inline(always)]
pub fn gemm<W: Word>(z: &mut [W], x: Matrix<'_, W>, y: Matrix<'_, W>, [m, k, n]: [usize; 3]) {
    if n == 0 {
        return;
    }
    for (i, z) in z.chunks_exact_mut(n).take(m).enumerate() {
        let at = |l: usize| if x.transposed { l * x.stride + i } else { i * x.stride + l };
        if y.transposed {
            // Rows of `y` are its columns: inner products.
            for (j, z) in z.iter_mut().enumerate() {
                for (l, y) in y.words[j * y.stride..][..k].iter().enumerate() {
                    *z = z.add(x.words[at(l)].mul(*y));
                }
            }
        } else {
            for l in 0..k {
                let x = x.words[at(l)];
                for (z, &y) in z.iter_mut().zip(&y.words[l * y.stride..][..n]) {
                    *z = z.add(x.mul(y));
                }
            }
        }
    }
}
