//! The loops over data: everything heavy that a protocol does, as functions over slices.
//!
//! [`portable`] defines each result. [`Kernels`] is the same list as a trait, so that a host can put SIMD twins behind
//! it (bit-identical, most of them the portable source compiled for wider registers), and so that dry words skip them all
//! ([`Nothing`]). To add a kernel, write it in a file below, `#[inline(always)]`, and name it in [`with_kernels!`](crate::with_kernels).
//!
//! # Bit planes
//!
//! A *plane* holds one bit of each of `n` elements in [`plane_words`]`(n) = ceil(n / k)` words, called its lanes: element `e` is
//! bit `e / lanes` of word `e % lanes`. So a transposition between words and planes moves whole rows of neighbouring words
//! and needs no shuffle. Padding bits may hold anything. Packed words ([`portable::pack`]) use the same order.

mod alarm;
mod digits;
mod filters;
mod gemm;
mod planes;
mod rows;
mod scaled;
mod table;
mod transpose;
mod windows;
mod words;

pub use filters::{Convolved, Filters};
pub use windows::Windows;

use crate::word::Word;

/// Every kernel in portable Rust: the definition that SIMD twins equal bit for bit.
pub mod portable {
    pub use super::{
        alarm::*, digits::*, gemm::*, planes::*, rows::*, scaled::*, table::*, transpose::*, windows::*, words::*,
    };
}

/// A matrix as an argument of [`portable::gemm`]: element `(i, j)` is `words[i * stride + j]`, or `words[j * stride + i]`
/// if it is `transposed`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, W> {
    /// The words, row after row as they lie in memory.
    pub words: &'a [W],
    /// Words from one row in memory to the next.
    pub stride: usize,
    /// Whether rows in memory are columns of the argument.
    pub transposed: bool,
}

/// A value `y` opened as `c = y + offset + r mod 2^bits`. Public.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a, W> {
    /// The public words `c`, below `2^bits`.
    pub c: &'a [W],
    /// Keeps `y + offset` in `[0, 2^(bits-1))`.
    pub offset: W,
    /// Bits of the opened word.
    pub bits: u32,
}

/// Words that a plane of `n` bits takes: `ceil(n / k)`.
pub const fn plane_words<W: Word>(n: usize) -> usize {
    n.div_ceil(W::BITS as usize)
}

/// Words that `n` values of `bits` bits take when packed, at most `n`: what they cost on the wire.
pub const fn packed_words<W: Word>(n: usize, bits: u32) -> usize {
    let packed = plane_words::<W>(n) * bits as usize;
    if packed < n { packed } else { n }
}

/// Unordered pairs of `cols` columns.
pub const fn pair_count(cols: usize) -> usize {
    cols * cols.saturating_sub(1) / 2
}

/// Words of the differences of all pairs of columns in `rows` rows, in the order of [`portable::pairs`]: whole planes a pair.
pub const fn pair_words<W: Word>(rows: usize, cols: usize) -> usize {
    W::BITS as usize * pair_count(cols) * plane_words::<W>(rows)
}

/// Calls `$callback!` with the signatures of all kernels, as `fn name(argument: Type, …);` generic over `W: Word`.
#[macro_export]
macro_rules! with_kernels {
    ($callback:ident $($args:tt)*) => {
        $callback! { $($args)*
            // words
            fn add(z: &mut [W], x: &[W]);
            fn sub(z: &mut [W], x: &[W]);
            fn xor(z: &mut [W], x: &[W]);
            fn add_constant(z: &mut [W], s: W);
            fn scale(z: &mut [W], s: W);
            fn keep_low(z: &mut [W], bits: u32);
            fn add_scaled(z: &mut [W], x: &[W], s: W);
            fn mul_add(z: &mut [W], x: &[W], y: &[W]);
            fn blind(c: &mut [W], z: &[W], offset: W, shift: u32);
            fn blind_clear(c: &mut [W], z: &[W], offset: W, shift: u32, bits: u32);
            fn truncated(z: &mut [W], o: $crate::kernel::Opening<'_, W>, h: &[W], m: &[W], first: W);
            fn truncated_clear(r: &mut [W], o: $crate::kernel::Opening<'_, W>);
            fn widen(z: &mut [W], x: &[W]);
            fn sub_wide(z: &mut [W], x: &[W]);
            fn mask_parts(r: &mut [W], m: &mut [W], n: u32);
            fn mask_carry_and_top(r: &mut [W], s: &mut [W], n: u32);
            fn mask_lower_share(r: &mut [W], o: &[W], n: u32);
            fn squared(z: &mut [W], o: $crate::kernel::Opening<'_, W>, h: &[W], m: &[W], hh: &[W], hm: &[W], first: W);
            fn times_masked(z: &mut [W], o: $crate::kernel::Opening<'_, W>, p_open: &[W], p: &[W], hp: &[W], mp: &[W]);
            fn selected(z: &mut [W], o: $crate::kernel::Opening<'_, W>, beta: &[W], rho: &[W], rho_h: &[W], rho_m: &[W]);
            fn bit_to_word(z: &mut [W], beta: &[W], rho: &[W], shift: u32, first: W);
            fn spread(z: &mut [W], plane: &[W]);
            fn keep_where(z: &mut [W], plane: &[W]);
            // scaled truncation, optimizers
            fn scaled(z: &mut [W], o: $crate::kernel::Opening<'_, W>, factor: u32, frac_bits: u32, h: &[W], m: &[W], first: W);
            fn scaled_clear(r: &mut [W], o: $crate::kernel::Opening<'_, W>, factor: u32, frac_bits: u32);
            fn scaled_parts(r: &mut [W], m: &mut [W], factor: u32, frac_bits: u32, bits: u32);
            fn multiply(z: &mut [W], x: &[W]);
            fn blend(z: &mut [W], a: W, x: &[W], b: W);
            // planes
            fn to_planes(planes: &mut [W], words: &[W], low: u32);
            fn pack(packed: &mut [W], words: &[W], bits: u32);
            fn unpack(words: &mut [W], packed: &[W], bits: u32);
            fn one_hot(hot: &mut [W], bits: &[W], width: u32);
            fn digit_less_equal(lt: &mut [W], eq: &mut [W], c: &[W], hot: &[W], width: u32, first: W);
            fn subsets(products: &mut [W], masks: &[W], lanes: usize, terms: &[u16]);
            fn conjunctions(out: &mut [W], open: &[W], shares: &[W], products: &[W], lanes: usize, terms: &[u16], first: W);
            // range alarms
            fn alarms(out: &mut [W], c: &[W], beta: &[W], rho: &[W], r: &[W], q: &[W], first: W);
            fn fold_alarms(sums: &mut [W], planes: &[W], random: &[W]);
            // rows of matrices
            fn pairs(out: &mut [W], words: &[W], cols: usize);
            fn sum_rows(sums: &mut [W], words: &[W], cols: usize);
            fn interleave(plane: &mut [W], columns: &[W], rows: usize, cols: usize);
            fn add_rows(z: &mut [W], s: &[W], cols: usize);
            fn mul_add_rows(z: &mut [W], x: &[W], s: &[W], cols: usize);
            // tables at a secret index
            fn rotate_planes(hot: &mut [W], c: &[W], width: u32, first: W);
            fn sum_planes(out: &mut [W], hot: &[W], columns: &[$crate::kernel::portable::Column]);
            fn one_hot_words(hot: &mut [W], r: &[W], low: u32, width: u32);
            fn sum_words(z: &mut [W], hot: &[W], c: &[W], low: u32, table: &[i64]);
            fn unit_rows(out: &mut [W], hot: &[W], c: &[W], cols: usize);
            fn lookup(z: &mut [W], index: &[W], table: &[i64]);
            fn index_clear(c: &mut [W], r: &[W], shift: u32, bits: u32);
            fn saturate_clear(z: &mut [W], index: &[W], width: u32, beyond: W);
            // digits of a word
            fn digit_leaves(leaves: &mut [W], c: &[W], hot: &[W], width: u32, first: W);
            fn digit_less(lt: &mut [W], hot: &mut [W], c: &[W], width: u32);
            fn choose(z: &mut [W], bit: &[W], x: &[W], y: &[W]);
            fn keep_planes(z: &mut [W], x: &[W]);
            fn move_planes(a: &mut [W], b: &mut [W], kept: &[W]);
            fn cells_clear(t: &mut [W], c: &[W], r: &[W], low: u32, bits: u32);
            // windows of images
            fn unfold(matrix: &mut [W], image: &[W], windows: $crate::kernel::Windows);
            fn fold(image: &mut [W], matrix: &[W], windows: $crate::kernel::Windows);
            fn sum_windows(z: &mut [W], x: &[W], windows: $crate::kernel::Windows);
            fn spread_windows(x: &mut [W], z: &[W], windows: $crate::kernel::Windows);
            fn gather_windows(places: &mut [W], x: &[W], windows: $crate::kernel::Windows);
            fn scatter_windows(x: &mut [W], places: &[W], windows: $crate::kernel::Windows);
            fn pairs_of_columns(out: &mut [W], words: &[W], rows: usize, zero: bool);
            // matrices
            fn gemm(z: &mut [W], x: $crate::kernel::Matrix<'_, W>, y: $crate::kernel::Matrix<'_, W>, dims: [usize; 3]);
        }
    };
}

macro_rules! define {
    ($(fn $name:ident($($arg:ident: $ty:ty),*);)*) => {
        /// The kernels of [`portable`] as a trait; see there for what each does.
        #[allow(missing_docs, clippy::too_many_arguments)]
        pub trait Kernels<W: Word>: Sync {
            $(fn $name(&self, $($arg: $ty),*);)*
        }
        impl<W: Word> Kernels<W> for Portable {
            $(fn $name(&self, $($arg: $ty),*) { portable::$name($($arg),*) })*
        }
        impl<W: Word> Kernels<W> for Nothing {
            $(fn $name(&self, $($arg: $ty),*) { $(let _ = $arg;)* })*
        }
    };
}
with_kernels!(define);

/// [`portable`] behind the trait.
#[derive(Clone, Copy, Debug, Default)]
pub struct Portable;

/// Kernels for dry words: nothing to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;
