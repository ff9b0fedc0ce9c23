//! Functions of masks that can be dealt, a file each: shape, scratch, values.
//!
//! To add one: a file beside these, with a struct that implements [`Deal`], and its line in the
//! list of `requests!` below. Dealer, plan and both servers need nothing else.
//!
//! In the formulas, `r` is the lower `n = bits` bits of the whole mask that a view names,
//! `h = r mod 2^(n-1)` and `m = msb(r)`; `o` is the carry that the lower `n - 1` bits of both
//! servers' shares of `r` make.

mod alarm;
mod bit;
mod bit_to_word;
mod convolution;
mod digits;
mod dots;
mod harmonics;
mod matmul;
mod one_hot_words;
mod product;
mod residue;
mod row_product;
mod scaled;
mod select;
mod square;
mod subsets;
mod truncated_product;
mod truncated_row_product;
mod truncation;
mod truncation_wide;
mod words;

pub(crate) use digits::digit_planes;
pub(crate) use dots::fold_rows;
pub use words::Words;

use super::WholeMasks;
use crate::{
    kernel::{Kernels, packed_words},
    word::Word,
};
use serde::{Serialize, Serializer};

/// One dealt value: its form and length. Public.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Dealt {
    /// Words of the ring, this many, additively shared.
    Words(usize),
    /// `len` values shared additively in `Z_2^bits`, packed on the wire.
    Narrow {
        /// Number of values.
        len: usize,
        /// Width of each value.
        bits: u32,
    },
    /// Words of bit planes, this many, XOR-shared.
    Planes(usize),
    /// Values shared additively in `Z_2^(2k)`, this many, two words each, the lower half first.
    Wide(usize),
}

impl Dealt {
    /// `len` values of `bits` bits: packed, unless they are words.
    pub fn narrow<W: Word>(len: usize, bits: u32) -> Self {
        if bits < W::BITS { Self::Narrow { len, bits } } else { Self::Words(len) }
    }
    /// Words at the party.
    pub fn len(self) -> usize {
        match self {
            Self::Words(len) | Self::Planes(len) | Self::Narrow { len, .. } => len,
            Self::Wide(len) => 2 * len,
        }
    }
    /// Whether it has no words.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
    /// Words on the wire, from the dealer to the receiving server.
    pub fn wire_words<W: Word>(self) -> usize {
        match self {
            Self::Words(_) | Self::Planes(_) | Self::Wide(_) => self.len(),
            Self::Narrow { len, bits } => packed_words::<W>(len, bits),
        }
    }
}

/// A function of masks that the dealer evaluates. Its fields are public: names, lengths,
/// parameters.
pub trait Deal {
    /// The dealt values in order; at most two.
    fn dealt<W: Word>(&self) -> [Option<Dealt>; 2];

    /// Words of scratch that [`Self::evaluate`] needs.
    fn scratch<W: Word>(&self) -> usize;

    /// Words of scratch that a server needs for unpacking the dealt values.
    fn packed<W: Word>(&self) -> usize {
        let packed = |d: Dealt| if matches!(d, Dealt::Narrow { .. }) { d.wire_words::<W>() } else { 0 };
        self.dealt::<W>().into_iter().flatten().map(packed).max().unwrap_or(0)
    }

    /// Evaluates the function on whole masks, as the dealer does. `out` has the lengths of
    /// [`Self::dealt`].
    ///
    /// # Panics
    ///
    /// If `out` or `scratch` is too short.
    fn evaluate<W: Word>(
        &self,
        masks: &WholeMasks<'_>,
        kernels: &dyn Kernels<W>,
        scratch: &mut [W],
        out: &mut [&mut [W]],
    );
}

/// The `N` slices of a request that deals `N` values.
fn outputs<'o, 'w, W, const N: usize>(out: &'o mut [&'w mut [W]]) -> &'o mut [&'w mut [W]; N] {
    out.try_into().unwrap_or_else(|_| panic!("outputs do not match the request"))
}

/// Makes [`Request`] from the list of its kinds: number, struct, file. The number is the kind's in
/// every encoding, and so in the hash of a plan: append, never change one or use it again.
macro_rules! requests {
    ($($number:literal $Kind:ident $file:ident)*) => {
        $(pub use $file::$Kind;)*

        /// A dealt function of any kind; the kinds state their formulas, shapes and words.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[repr(u8)] // two kinds of one number do not compile
        pub enum Request<'a> {
            $(#[doc = concat!("Number ", stringify!($number), ".")] $Kind($Kind<'a>) = $number,)*
        }

        $(impl<'a> From<$Kind<'a>> for Request<'a> {
            fn from(request: $Kind<'a>) -> Self {
                Self::$Kind(request)
            }
        })*

        impl Request<'_> {
            /// The numbers of all kinds.
            pub const NUMBERS: &'static [u8] = &[$($number),*];

            /// The number of its kind.
            pub fn number(&self) -> u8 {
                match self { $(Self::$Kind(_) => $number,)* }
            }

            /// The dealt values in order; at most two.
            pub fn dealt<W: Word>(&self) -> [Option<Dealt>; 2] {
                match self { $(Self::$Kind(request) => request.dealt::<W>(),)* }
            }

            /// Words of scratch that taking or evaluating it needs.
            pub fn scratch<W: Word>(&self) -> usize {
                match self { $(Self::$Kind(request) => request.scratch::<W>().max(request.packed::<W>()),)* }
            }

            /// Evaluates the function on whole masks, as the dealer does. `out` has the lengths of
            /// [`Request::dealt`].
            ///
            /// # Panics
            ///
            /// If `out` or `scratch` is too short.
            pub fn evaluate<W: Word>(
                &self,
                masks: &WholeMasks<'_>,
                kernels: &dyn Kernels<W>,
                scratch: &mut [W],
                out: &mut [&mut [W]],
            ) {
                match self { $(Self::$Kind(request) => request.evaluate(masks, kernels, scratch, out),)* }
            }
        }

        /// The number, then the fields.
        impl Serialize for Request<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$Kind(request) => {
                        serializer.serialize_newtype_variant("Request", $number, stringify!($Kind), request)
                    })*
                }
            }
        }
    };
}

requests! {
    0 Truncation truncation
    1 TruncationWide truncation_wide
    2 Scaled scaled
    3 Square square
    4 TruncatedProduct truncated_product
    5 Select select
    6 BitToWord bit_to_word
    7 Product product
    8 RowProduct row_product
    9 MatMul matmul
    10 Digits digits
    11 Bit bit
    12 Alarm alarm
    13 Subsets subsets
    14 OneHotWords one_hot_words
    15 Residue residue
    16 Convolution convolution
    17 TruncatedRowProduct truncated_row_product
    18 Dots dots
    19 Harmonics harmonics
}

impl Request<'_> {
    /// Words on the wire, from the dealer to the receiving server.
    pub fn wire_words<W: Word>(&self) -> usize {
        self.dealt::<W>().into_iter().flatten().map(Dealt::wire_words::<W>).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        correlation::{Rows, View},
        prg::MaskId,
    };

    #[test]
    fn a_kind_is_encoded_as_its_number_and_fields() {
        let mask = View { id: MaskId::default(), at: 0, rows: Rows::All(1), cols: 3, stride: 3 };
        let fields = Residue { mask, bits: 8 };
        let [mut own, mut whole] = [[0; 32]; 2];
        let fields = postcard::to_slice(&fields, &mut own).unwrap();
        let request = Request::Residue(Residue { mask, bits: 8 });
        let encoded = postcard::to_slice(&request, &mut whole).unwrap();
        assert_eq!((encoded[0], request.number()), (15, 15));
        assert_eq!(encoded[1..], *fields);
    }

    #[test]
    fn numbers_are_appended() {
        assert!(Request::NUMBERS.is_sorted());
    }
}
