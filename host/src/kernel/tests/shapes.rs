//! Arguments of kernels, by name: how long each slice is, and which numbers are allowed.

use super::products::words;
use symbolon_core::{
    kernel::{Matrix, Opening, Windows, packed_words, pair_words, plane_words, portable::Column},
    word::Word,
};

/// One call: `n` elements, and a seed for all else.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) kernel: &'a str,
    pub(super) n: usize,
    pub(super) seed: u64,
    pub(super) word_bits: u32,
}

/// Products of up to four of six variables.
pub(super) const TERMS: [u16; 4] = [0b10_1000, 0b1100, 0b1011, 0b1111];
pub(super) const SUBSETS: usize = 12;
const VARIABLES: usize = 6;
/// Sums that alarms are folded into.
const SUMS: usize = 40;

/// The side of [`Matrix`] arguments: products have their own tests.
const SIDE: usize = 40;

impl Case<'_> {
    fn lanes(&self) -> usize {
        self.n.div_ceil(self.word_bits as usize)
    }
    /// Bits of a digit or of a table's index.
    fn width(&self) -> u32 {
        1 + (self.seed % 4) as u32
    }
    /// Columns of a matrix of `n` rows.
    fn cols(&self) -> usize {
        2 + (self.seed % 5) as usize
    }
    /// Bits of narrow values.
    fn bits(&self) -> u32 {
        1 + (self.seed % u64::from(self.word_bits - 1)) as u32
    }
    /// Bits of opened words.
    fn opened_bits(&self) -> u32 {
        self.word_bits - self.frac_bits()
    }
    fn frac_bits(&self) -> u32 {
        1 + (self.seed % u64::from(self.word_bits / 2 - 2)) as u32
    }
    /// Windows over images whose width follows from `n`.
    fn windows(&self) -> Windows {
        let of = |at: u32, limit: u64| (self.seed >> at) as usize % limit as usize;
        let pad = usize::from(!matches!(self.kernel, "gather_windows" | "scatter_windows"));
        Windows {
            channels: 1 + of(0, 3),
            image: [3 + of(2, 6), 3 + self.n % 40],
            window: [1 + of(5, 3), 1 + of(7, 3)],
            stride: [1 + of(9, 2), 1 + of(10, 3)],
            padding: [pad * of(12, 3), pad * of(14, 3)],
        }
    }
    /// A number that fits the argument `arg`.
    fn number(&self, arg: &str) -> u64 {
        let of = |limit: u32| self.seed % u64::from(limit);
        match (self.kernel, arg) {
            ("index_clear" | "cells_clear", "bits") => self.word_bits.into(),
            ("scaled_parts", "bits") => self.opened_bits().into(),
            (_, "bits" | "n") => self.bits().into(),
            (_, "frac_bits") => self.frac_bits().into(),
            (_, "width") => self.width().into(),
            (_, "shift") => of(self.word_bits),
            (_, "factor") => 1 + of(0xfffe),
            ("cells_clear", "low") => of(self.word_bits - 18),
            ("to_planes", "low") => of(self.word_bits),
            (_, "low") => of(self.word_bits - 8),
            (_, "lanes") => self.lanes() as u64,
            (_, "rows") => self.n as u64,
            (_, "cols") => self.cols() as u64,
            other => panic!("{other:?} needs a number in tests/shapes.rs"),
        }
    }
    /// Elements of the slice `arg`; `n` unless the kernel works on planes, rows or tables.
    fn len<W: Word>(&self, arg: &str) -> usize {
        let (n, lanes, cols) = (self.n, self.lanes(), self.cols());
        let (width, entries) = (self.width() as usize, 1 << self.width());
        match (self.kernel, arg) {
            ("to_planes", "planes") => (1 + self.seed as usize % self.word_bits as usize) * lanes,
            ("pack" | "unpack", "packed") => packed_words::<W>(n, self.bits()),
            ("one_hot", "bits") | ("digit_less_equal" | "rotate_planes", "c") => width * lanes,
            ("one_hot" | "digit_less_equal", "hot") => (entries - 1) * lanes,
            ("digit_less_equal", "lt" | "eq") => lanes,
            ("rotate_planes", "hot") => entries * lanes,
            ("sum_planes", "hot") => 256 * lanes,
            ("sum_planes", "out") => 3 * lanes,
            ("sum_planes", "columns") => 3,
            ("subsets" | "conjunctions", "products") => SUBSETS * lanes,
            ("subsets", "masks") | ("conjunctions", "open" | "shares") => VARIABLES * lanes,
            ("conjunctions", "out") => TERMS.len() * lanes,
            ("widen" | "sub_wide", "z") | ("sub_wide", "x") => 2 * n,
            ("pairs", "out") => pair_words::<W>(n, cols),
            ("pairs" | "sum_rows", "words") | ("add_rows" | "mul_add_rows", "z" | "x") => n * cols,
            ("interleave", "plane") => plane_words::<W>(n * cols),
            ("interleave", "columns") => lanes * cols,
            ("one_hot_words" | "sum_words" | "unit_rows", "hot") => entries * n,
            ("unit_rows", "out") => n * cols,
            (_, "table") => entries,
            ("digit_leaves", "leaves") => {
                if width == 4 {
                    6 * lanes
                } else {
                    3 * lanes
                }
            }
            ("digit_leaves" | "digit_less", "c") => width * lanes,
            ("digit_leaves" | "digit_less", "hot") => (entries - 1) * lanes,
            ("digit_less", "lt") | ("choose" | "keep_planes" | "move_planes", _) => lanes,
            ("cells_clear", "t") => 6 * lanes,
            ("alarms", "c") => 2 * n,
            ("fold_alarms", "sums") => SUMS,
            ("fold_alarms", "random") => n + SUMS - 1,
            ("unfold" | "fold", "matrix") => self.windows().area() * self.windows().output_words(),
            ("unfold" | "fold", _) => self.windows().image_words(),
            (_, "places") => 2 * self.windows().area() * self.windows().output_words(),
            ("sum_windows" | "spread_windows", "z") => 2 * self.windows().output_words(),
            ("sum_windows" | "spread_windows" | "gather_windows" | "scatter_windows", _) => {
                2 * self.windows().image_words()
            }
            ("pairs_of_columns", "words") => n * cols,
            ("pairs_of_columns", "out") => pair_words::<W>(n, cols + (self.seed & 1) as usize),
            ("gemm", _) => SIDE * SIDE,
            _ => n,
        }
    }
    /// A word where a kernel takes one, else a number: where both have the same type, the name tells.
    fn word_or_number(&self, arg: &str) -> u64 {
        match arg {
            "first" => 0u64.wrapping_sub(self.seed & 1),
            "s" | "a" | "b" | "offset" | "beyond" => words::<u64>(self.seed(arg), 1)[0],
            _ => self.number(arg),
        }
    }
    fn signed<W: Word>(&self, arg: &str) -> Vec<i64> {
        words::<u64>(self.seed(arg), self.len::<W>(arg)).into_iter().map(u64::cast_signed).collect()
    }
    fn columns<W: Word>(&self, arg: &str) -> Vec<Column> {
        words::<u64>(self.seed(arg), 4 * self.len::<W>(arg)).as_chunks().0.to_vec()
    }
    fn seed(&self, arg: &str) -> u64 {
        arg.bytes().fold(self.seed, |s, b| (s ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
    }
}

/// A kernel's argument of this type, for words `W`.
pub(super) trait Arg<'a, W: 'a> {
    /// What the argument borrows.
    type Owned;
    /// Drawn as the case says.
    fn own(case: &Case, arg: &str) -> Self::Owned;
    /// The argument itself.
    fn lend(owned: &'a mut Self::Owned) -> Self;
    /// What the kernel wrote there.
    fn written(owned: &Self::Owned) -> &[W] {
        let _ = owned;
        &[]
    }
}

impl<'a, W: Word> Arg<'a, W> for &'a mut [W] {
    type Owned = Vec<W>;
    fn own(case: &Case, arg: &str) -> Vec<W> {
        words(case.seed(arg), case.len::<W>(arg))
    }
    fn lend(owned: &'a mut Vec<W>) -> Self {
        owned
    }
    fn written(owned: &Vec<W>) -> &[W] {
        owned
    }
}

impl<'a, W: Word> Arg<'a, W> for &'a [W] {
    type Owned = Vec<W>;
    fn own(case: &Case, arg: &str) -> Vec<W> {
        words(case.seed(arg), case.len::<W>(arg))
    }
    fn lend(owned: &'a mut Vec<W>) -> Self {
        owned
    }
}

impl<'a, W: Word> Arg<'a, W> for Opening<'a, W> {
    type Owned = (Vec<W>, u32);
    fn own(case: &Case, arg: &str) -> Self::Owned {
        let bits = case.opened_bits();
        let c = words::<W>(case.seed(arg), case.n).into_iter().map(|c| c.and(W::low_mask(bits)));
        (c.collect(), bits)
    }
    fn lend((c, bits): &'a mut Self::Owned) -> Self {
        Opening { c, offset: W::from_u64(1).shl(*bits - 2), bits: *bits }
    }
}

impl<'a, W: Word> Arg<'a, W> for Matrix<'a, W> {
    type Owned = Vec<W>;
    fn own(case: &Case, arg: &str) -> Vec<W> {
        words(case.seed(arg), case.len::<W>(arg))
    }
    fn lend(owned: &'a mut Vec<W>) -> Self {
        Matrix { words: owned, stride: SIDE, transposed: false }
    }
}

/// Arguments that are drawn by value or as a vector of another type than words.
macro_rules! drawn {
    ($(<$w:ty> $ty:ty: $owned:ty = |$case:ident, $arg:ident| $value:expr, $lend:expr;)*) => {
        $(impl<'a> Arg<'a, $w> for $ty {
            type Owned = $owned;
            fn own($case: &Case, $arg: &str) -> $owned {
                $value
            }
            fn lend(owned: &'a mut $owned) -> Self {
                $lend(owned)
            }
        })*
    };
}
drawn! {
    <u32> u32: u32 = |case, arg| case.word_or_number(arg) as u32, |v: &mut u32| *v;
    <u64> u64: u64 = |case, arg| case.word_or_number(arg), |v: &mut u64| *v;
    <u64> u32: u32 = |case, arg| case.number(arg) as u32, |v: &mut u32| *v;
    <u32> usize: usize = |case, arg| case.number(arg) as usize, |v: &mut usize| *v;
    <u64> usize: usize = |case, arg| case.number(arg) as usize, |v: &mut usize| *v;
    <u32> [usize; 3]: [usize; 3] = |case, _arg| [case.n.min(SIDE); 3], |v: &mut [usize; 3]| *v;
    <u64> [usize; 3]: [usize; 3] = |case, _arg| [case.n.min(SIDE); 3], |v: &mut [usize; 3]| *v;
    <u32> Windows: Windows = |case, _arg| case.windows(), |v: &mut Windows| *v;
    <u64> Windows: Windows = |case, _arg| case.windows(), |v: &mut Windows| *v;
    <u32> bool: bool = |case, _arg| case.seed & 1 == 1, |v: &mut bool| *v;
    <u64> bool: bool = |case, _arg| case.seed & 1 == 1, |v: &mut bool| *v;
    <u32> &'a [u16]: () = |_case, _arg| (), |_| &TERMS;
    <u64> &'a [u16]: () = |_case, _arg| (), |_| &TERMS;
    <u32> &'a [i64]: Vec<i64> = |case, arg| case.signed::<u32>(arg), |v: &'a mut Vec<i64>| &v[..];
    <u64> &'a [i64]: Vec<i64> = |case, arg| case.signed::<u64>(arg), |v: &'a mut Vec<i64>| &v[..];
    <u32> &'a [Column]: Vec<Column> = |case, arg| case.columns::<u32>(arg), |v: &'a mut Vec<Column>| &v[..];
    <u64> &'a [Column]: Vec<Column> = |case, arg| case.columns::<u64>(arg), |v: &'a mut Vec<Column>| &v[..];
}
