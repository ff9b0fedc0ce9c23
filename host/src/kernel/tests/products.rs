//! Matrix products: all sizes around registers, tiles and blocks, strides, transpositions.

use super::super::{HostWord, available};
use proptest::prelude::*;
use symbolon_core::{
    kernel::{Matrix, portable},
    word::Word,
};

/// `len` words that a seed determines.
pub(super) fn words<W: Word>(seed: u64, len: usize) -> Vec<W> {
    let mut s = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        W::from_u64(s ^ s >> 29)
    };
    (0..len).map(|_| next()).collect()
}

/// Both arguments with `gaps` unused words a row, and more words than needed in `z`.
fn agree<W: HostWord>(dims: [usize; 3], transposed: [bool; 2], gaps: [usize; 2], seed: u64) {
    let [m, k, n] = dims;
    let shape = |rows: usize, cols: usize, t: bool| if t { (cols, rows) } else { (rows, cols) };
    let ((x_rows, x_cols), (y_rows, y_cols)) = (shape(m, k, transposed[0]), shape(k, n, transposed[1]));
    let (x_stride, y_stride) = (x_cols + gaps[0], y_cols + gaps[1]);
    let (x, y) = (words::<W>(seed, x_rows * x_stride), words::<W>(!seed, y_rows * y_stride));
    let x = Matrix { words: &x[..], stride: x_stride, transposed: transposed[0] };
    let y = Matrix { words: &y[..], stride: y_stride, transposed: transposed[1] };
    let old = words::<W>(seed ^ 1, m * n + 3);
    let mut want = old.clone();
    portable::gemm(&mut want, x, y, dims);
    for set in available::<W>() {
        let mut got = old.clone();
        set.kernels.gemm(&mut got, x, y, dims);
        assert!(W::bytes(&got) == W::bytes(&want), "{} differs at {dims:?} {transposed:?} {gaps:?}", set.name);
    }
}

proptest! {
    #[test]
    fn agree_on_small_shapes(
        m in 0usize..70, k in 0usize..70, n in 0usize..70, t: [bool; 2], gaps in [0usize..5, 0usize..5], seed: u64,
    ) {
        agree::<u32>([m, k, n], t, gaps, seed);
        agree::<u64>([m, k, n], t, gaps, seed);
    }
}

#[test]
fn agree_at_the_edges_of_blocks() {
    for dims in [[143, 257, 129], [145, 255, 127], [288, 1, 256], [1, 784, 10], [25, 513, 33], [128, 128, 10]] {
        for transposed in [[false, false], [true, false], [false, true], [true, true]] {
            agree::<u32>(dims, transposed, [0, 1], 7);
            agree::<u64>(dims, transposed, [1, 0], 7);
        }
    }
}

#[test]
fn agree_where_every_part_is_extreme() {
    for fill in [u64::MAX, 1 << 63, 0x8000_8000_8000_8000, 0x7fff_7fff_7fff_7fff, 0xfff0_0000_0000_0fff] {
        let (x, y) = (vec![fill; 9 * 300], vec![fill; 300 * 20]);
        let mut want = vec![0u64; 9 * 20];
        let x = Matrix { words: &x[..], stride: 300, transposed: false };
        let y = Matrix { words: &y[..], stride: 20, transposed: false };
        portable::gemm(&mut want, x, y, [9, 300, 20]);
        for set in available::<u64>() {
            let mut got = vec![0; 9 * 20];
            set.kernels.gemm(&mut got, x, y, [9, 300, 20]);
            assert_eq!(got, want, "{} {fill:x}", set.name);
        }
    }
}

#[test]
#[should_panic]
fn a_short_matrix_is_refused() {
    let x = Matrix { words: &[1u32; 5][..], stride: 3, transposed: false };
    super::super::best().gemm(&mut [0; 4], x, Matrix { words: &[1; 6][..], stride: 2, transposed: false }, [2, 3, 2]);
}
