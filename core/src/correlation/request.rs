//! What can be dealt. A new protocol adds a variant here, with its shape in [`Request::dealt`] and its values in [`Request::evaluate`].

use super::{View, WholeMasks};
use crate::{
    kernel::{Kernels, Matrix, packed_words, pair_words, plane_words, portable::needed_subset_count},
    word::Word,
};

use serde::Serialize;

/// Words whose bits are dealt, named by the masks that hide them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub enum Words<'a> {
    /// The words of one mask.
    Mask(View<'a>),
    /// In each row of a mask, the difference `r_i - r_j` of all pairs `i < j`: see [`pairs`](crate::kernel::portable::pairs) for their order.
    Pairs(View<'a>),
}

/// One dealt value: its form and length. Public.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Dealt {
    /// So many words of the ring, additively shared.
    Words(usize),
    /// `len` values shared additively in `Z_2^bits`, packed on the wire.
    Narrow {
        /// Values.
        len: usize,
        /// Width of each.
        bits: u32,
    },
    /// So many words of bit planes, XOR-shared.
    Planes(usize),
    /// So many values shared additively in `Z_2^(2k)`, two words each, the lower half first.
    Wide(usize),
}

impl Dealt {
    /// Words at the party.
    pub fn len(self) -> usize {
        match self {
            Self::Words(len) | Self::Planes(len) | Self::Narrow { len, .. } => len,
            Self::Wide(len) => 2 * len,
        }
    }
    /// Whether nothing is dealt.
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

/// Functions of masks that the dealer evaluates. Public: names, lengths, parameters.
///
/// `r` is the lower `n = bits` bits of the whole mask that a view names, `h = r mod 2^(n-1)` and
/// `m = msb(r)`; `o` is the carry that the lower `n - 1` bits of both servers' shares of `r` make.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub enum Request<'a> {
    /// `o` and `m`, each in the `K - n + 1` bits that their factor `2^(n-1)` leaves of `Z_2^K`;
    /// nothing where that is not positive.
    Truncation {
        /// Names `r`.
        mask: View<'a>,
        /// `n`.
        bits: u32,
        /// `K`, of the ring of the result, at most `k`.
        ring: u32,
    },
    /// `o` and `m` in `Z_2^(2k)`.
    TruncationWide {
        /// Names `r`.
        mask: View<'a>,
        /// `n`.
        bits: u32,
    },
    /// `floor(factor h / 2^f)` in the ring and `m` in the `k - n + 1 + f` bits that its factor
    /// leaves.
    Scaled {
        /// Names `r`.
        mask: View<'a>,
        /// `n`.
        bits: u32,
        /// Below 2^16.
        factor: u32,
        /// `f`, below `n`.
        frac_bits: u32,
    },
    /// `h^2` in the ring and `h m` in `Z_2^(k-n)`.
    Square {
        /// Names `r`.
        mask: View<'a>,
        /// `n`, below `k`.
        bits: u32,
    },
    /// `h p` in the ring and `m p` in `Z_2^(k-n+1)`.
    TruncatedProduct {
        /// Names `r`.
        mask: View<'a>,
        /// `n`.
        bits: u32,
        /// Names `p`.
        factor: View<'a>,
    },
    /// `ρ h` in the ring and `ρ m` in `Z_2^(k-n+1)`, for a bit mask `ρ`.
    Select {
        /// Names `r`.
        mask: View<'a>,
        /// `n`.
        bits: u32,
        /// Names `ρ`, one plane.
        bit: View<'a>,
    },
    /// The bits of a plane of a mask, in `Z_2^width`.
    BitToWord {
        /// Names the plane.
        bits: View<'a>,
        /// Elements of the plane.
        len: usize,
        /// At most `k`.
        width: u32,
    },
    /// `a b`, element by element.
    Product {
        /// Names `a`.
        a: View<'a>,
        /// Names `b`.
        b: View<'a>,
    },
    /// `a_ij b_i`, for as many rows of `a` as `b` has words.
    RowProduct {
        /// Names `a`.
        a: View<'a>,
        /// Names `b`.
        b: View<'a>,
    },
    /// `a b` of matrices, after the transpositions.
    MatMul {
        /// Names `a`.
        a: View<'a>,
        /// Names `b`.
        b: View<'a>,
        /// Whether the rows of `a`, of `b` are columns of the factor.
        transposed: [bool; 2],
    },
    /// One-hot vectors of digits of words, from bit `low` on: for each `width` in order, planes `1..2^width`.
    Digits {
        /// Whose digits.
        words: Words<'a>,
        /// Lowest bit of the lowest digit.
        low: u32,
        /// Width of each digit, lowest digit first; at most 8 each.
        widths: &'a [u8],
    },
    /// One bit of words, as a plane.
    Bit {
        /// Whose bit.
        words: Words<'a>,
        /// Which.
        bit: u32,
    },
    /// Deals, for a bit mask `ρ`, one plane of `r_{n-1} ^ r_{n-2} ρ`, then one of `r_{n-2}`.
    Alarm {
        /// The mask words with bits `n - 1` and `n - 2`.
        words: Words<'a>,
        /// `n`.
        bits: u32,
        /// Names `ρ`, a plane.
        bit: View<'a>,
    },
    /// Products of planes of a bit mask over all the sets that `terms` need.
    Subsets {
        /// Names the planes, all of the same length.
        bits: View<'a>,
        /// Words of each.
        lanes: usize,
        /// Sets of planes whose products are wanted.
        terms: &'a [u16],
    },
    /// The one-hot vector of `(r >> low) mod 2^bits` in words of the ring: entry after entry, `2^bits` of them.
    OneHotWords {
        /// Names `r`.
        mask: View<'a>,
        /// Bits of `r` below.
        low: u32,
        /// At most 8.
        bits: u32,
    },
    /// `r mod 2^bits` in the ring.
    Residue {
        /// Names `r`.
        mask: View<'a>,
        /// Width of the narrow ring.
        bits: u32,
    },
}

impl Words<'_> {
    /// Elements, among them those that only fill planes of pairs.
    pub fn len<W: Word>(&self) -> usize {
        match self {
            Self::Mask(view) => view.len(),
            Self::Pairs(view) => pair_words::<W>(view.rows.len(), view.cols),
        }
    }
    /// Whether there are none.
    pub fn is_empty<W: Word>(&self) -> bool {
        self.len::<W>() == 0
    }
    /// Words that [`WholeMasks::words`] needs beside its output.
    pub(crate) fn scratch(&self) -> usize {
        match self {
            Self::Mask(_) => 0,
            Self::Pairs(view) => view.len(),
        }
    }
}

/// Planes of the one-hot vectors of digits.
pub(crate) fn digit_planes(widths: &[u8]) -> usize {
    widths.iter().map(|w| (1 << w) - 1).sum()
}

impl Request<'_> {
    /// The dealt values in order; at most two.
    pub fn dealt<W: Word>(&self) -> [Option<Dealt>; 2] {
        let k = W::BITS;
        let narrow = |len, bits: u32| if bits < k { Dealt::Narrow { len, bits } } else { Dealt::Words(len) };
        match *self {
            Self::Truncation { mask, bits, ring } => {
                let carries = (ring + 1).saturating_sub(bits);
                [(carries > 0).then(|| narrow(mask.len(), carries)); 2]
            }
            Self::TruncationWide { mask, .. } => [Some(Dealt::Wide(mask.len())); 2],
            Self::Square { mask, bits } => [Some(Dealt::Words(mask.len())), Some(narrow(mask.len(), k - bits))],
            Self::TruncatedProduct { mask, bits, .. } | Self::Select { mask, bits, .. } => {
                [Some(Dealt::Words(mask.len())), Some(narrow(mask.len(), k - bits + 1))]
            }
            Self::Scaled { mask, bits, frac_bits, .. } => {
                [Some(Dealt::Words(mask.len())), Some(narrow(mask.len(), k - bits + 1 + frac_bits))]
            }
            Self::BitToWord { len, width, .. } => [Some(narrow(len, width)), None],
            Self::Product { a, .. } | Self::RowProduct { a, .. } => [Some(Dealt::Words(a.len())), None],
            Self::MatMul { a, b, transposed } => {
                let [m, _, n] = matmul_dims(a, b, transposed);
                [Some(Dealt::Words(m * n)), None]
            }
            Self::Digits { words, widths, .. } => {
                [Some(Dealt::Planes(digit_planes(widths) * plane_words::<W>(words.len::<W>()))), None]
            }
            Self::Bit { words, .. } => [Some(Dealt::Planes(plane_words::<W>(words.len::<W>()))), None],
            Self::Alarm { words, .. } => [Some(Dealt::Planes(plane_words::<W>(words.len::<W>()))); 2],
            Self::Subsets { lanes, terms, .. } => [Some(Dealt::Planes(needed_subset_count(terms) * lanes)), None],
            Self::OneHotWords { mask, bits, .. } => [Some(Dealt::Words(mask.len() << bits)), None],
            Self::Residue { mask, .. } => [Some(Dealt::Words(mask.len())), None],
        }
    }

    /// Words on the wire, from the dealer to the receiving server.
    pub fn wire_words<W: Word>(&self) -> usize {
        self.dealt::<W>().into_iter().flatten().map(Dealt::wire_words::<W>).sum()
    }

    /// Words of scratch that taking or evaluating it needs.
    pub fn scratch<W: Word>(&self) -> usize {
        let own = match *self {
            Self::Truncation { .. } | Self::Scaled { .. } | Self::Square { .. } | Self::Residue { .. } => 0,
            Self::TruncatedProduct { mask, .. } | Self::Select { mask, .. } => mask.len(),
            Self::TruncationWide { mask, .. } => 2 * mask.len(),
            Self::BitToWord { bits, .. } => bits.len(),
            Self::Product { a, .. } => a.len(),
            Self::MatMul { a, b, .. } | Self::RowProduct { a, b } => a.len() + b.len(),
            Self::Digits { words, .. } => words.len::<W>() + words.scratch() + 8 * plane_words::<W>(words.len::<W>()),
            Self::Bit { words, .. } => words.len::<W>() + words.scratch(),
            Self::Alarm { words, bit, .. } => words.len::<W>() + words.scratch().max(bit.len()),
            Self::Subsets { bits, .. } => return bits.len(), // planes come as they are, and are long to count
            Self::OneHotWords { mask, .. } => mask.len(),
        };
        let packed = |d: Dealt| if matches!(d, Dealt::Narrow { .. }) { d.wire_words::<W>() } else { 0 };
        own.max(self.dealt::<W>().into_iter().flatten().map(packed).max().unwrap_or(0))
    }

    /// The functions themselves, on whole masks: what the dealer computes. `out` has the lengths of [`Request::dealt`].
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
        match (*self, out) {
            (Self::Truncation { .. }, []) => {}
            (Self::Truncation { mask, bits, .. }, [o, m]) => {
                masks.apart(mask, [&mut **o, &mut **m]);
                kernels.mask_carry_and_top(o, m, bits);
            }
            (Self::TruncationWide { mask, bits }, [o, m]) => {
                let (low_o, low_m) = scratch[..2 * mask.len()].split_at_mut(mask.len());
                masks.apart(mask, [&mut *low_o, &mut *low_m]);
                kernels.mask_carry_and_top(low_o, low_m, bits);
                kernels.widen(o, low_o);
                kernels.widen(m, low_m);
            }
            (Self::Scaled { mask, bits, factor, frac_bits }, [h, m]) => {
                masks.words(mask, h);
                kernels.scaled_parts(h, m, factor, frac_bits, bits);
            }
            (Self::Square { mask, bits }, [hh, hm]) => {
                masks.words(mask, hh);
                kernels.mask_parts(hh, hm, bits);
                for (h, m) in hh.iter_mut().zip(hm.iter_mut()) {
                    (*h, *m) = (h.mul(*h), h.mul(*m));
                }
            }
            (Self::TruncatedProduct { mask, bits, factor }, [hp, mp]) => {
                let p = &mut scratch[..factor.len()];
                masks.words(factor, p);
                masks.words(mask, hp);
                kernels.mask_parts(hp, mp, bits);
                for ((h, m), p) in hp.iter_mut().zip(mp.iter_mut()).zip(p) {
                    (*h, *m) = (h.mul(*p), m.mul(*p));
                }
            }
            (Self::Select { mask, bits, bit }, [rho_h, rho_m]) => {
                let (plane, _) = scratch.split_at_mut(bit.len());
                masks.planes(bit, plane);
                masks.words(mask, rho_h);
                // A plane is short: its words come first, the spread bits replace m by m's product.
                kernels.mask_parts(rho_h, rho_m, bits);
                kernels.keep_where(rho_h, plane);
                kernels.keep_where(rho_m, plane);
            }
            (Self::BitToWord { bits, .. }, [out]) => {
                let plane = &mut scratch[..bits.len()];
                masks.planes(bits, plane);
                kernels.spread(out, plane);
            }
            (Self::Product { a, b }, [c]) => {
                let y = &mut scratch[..b.len()];
                masks.words(b, y);
                masks.words(a, c);
                for (c, y) in c.iter_mut().zip(y) {
                    *c = c.mul(*y);
                }
            }
            (Self::RowProduct { a, b }, [c]) => {
                let (x, rest) = scratch.split_at_mut(a.len());
                let y = &mut rest[..b.len()];
                masks.words(a, x);
                masks.words(b, y);
                c.fill(W::default());
                kernels.mul_add_rows(c, x, y, x.len().checked_div(y.len()).unwrap_or(0));
            }
            (Self::MatMul { a, b, transposed }, [c]) => {
                let (x, rest) = scratch.split_at_mut(a.len());
                let y = &mut rest[..b.len()];
                masks.words(a, x);
                masks.words(b, y);
                c.fill(W::default());
                let x = Matrix { words: x, stride: a.cols, transposed: transposed[0] };
                let y = Matrix { words: y, stride: b.cols, transposed: transposed[1] };
                kernels.gemm(c, x, y, matmul_dims(a, b, transposed));
            }
            (Self::Digits { words, low, widths }, [out]) => {
                let lanes = plane_words::<W>(words.len::<W>());
                let (r, rest) = scratch.split_at_mut(words.len::<W>());
                let (planes, rest) = rest.split_at_mut(8 * lanes);
                masks.word_source(words, kernels, r, rest);
                let (mut low, mut out) = (low, &mut **out);
                for width in widths {
                    let bits = &mut planes[..*width as usize * lanes];
                    kernels.to_planes(bits, r, low);
                    let (hot, rest) = core::mem::take(&mut out).split_at_mut(((1 << width) - 1) * lanes);
                    kernels.one_hot(hot, bits, u32::from(*width));
                    (low, out) = (low + u32::from(*width), rest);
                }
            }
            (Self::Bit { words, bit }, [out]) => {
                let (r, rest) = scratch.split_at_mut(words.len::<W>());
                masks.word_source(words, kernels, r, rest);
                kernels.to_planes(out, r, bit);
            }
            (Self::Alarm { words, bits, bit }, [q, r]) => {
                let (mask, rest) = scratch.split_at_mut(words.len::<W>());
                masks.word_source(words, kernels, mask, rest);
                kernels.to_planes(q, mask, bits - 1);
                kernels.to_planes(r, mask, bits - 2);
                let rho = &mut rest[..bit.len()];
                masks.planes(bit, rho);
                for ((q, r), rho) in q.iter_mut().zip(r.iter()).zip(rho) {
                    *q = q.xor(r.and(*rho));
                }
            }
            (Self::Subsets { bits, lanes, terms }, [out]) => {
                let planes = &mut scratch[..bits.len()];
                masks.planes(bits, planes);
                kernels.subsets(out, planes, lanes, terms);
            }
            (Self::OneHotWords { mask, low, bits }, [out]) => {
                let r = &mut scratch[..mask.len()];
                masks.words(mask, r);
                kernels.one_hot_words(out, r, low, bits);
            }
            (Self::Residue { mask, bits }, [out]) => {
                masks.words(mask, out);
                for r in out.iter_mut() {
                    *r = r.and(W::low_mask(bits));
                }
            }
            _ => panic!("outputs do not match the request"),
        }
    }
}

/// `[m, k, n]` of a product of two views.
///
/// # Panics
///
/// If the inner dimensions differ.
pub(crate) fn matmul_dims(a: View<'_>, b: View<'_>, transposed: [bool; 2]) -> [usize; 3] {
    let shape = |v: View<'_>, t: bool| if t { (v.cols, v.rows.len()) } else { (v.rows.len(), v.cols) };
    let ((m, k), (inner, n)) = (shape(a, transposed[0]), shape(b, transposed[1]));
    assert!(k == inner, "inner dimensions of a product differ");
    [m, k, n]
}
