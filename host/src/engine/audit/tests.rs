//! One bit of one correction, of each kind of request, changes the hash.

use super::LaneHash;
use crate::{
    engine::dealer::Dealing,
    kernel::{HostWord, best},
};
use symbolon_core::{
    correlation::{
        Corrections, Correlations, Request, Requests, Rows, Server, Sink, View, Words,
        request::{
            Alarm, Bit, BitToWord, Convolution, Digits, Dots, Harmonics, MatMul, OneHotWords, Product, Residue,
            RowProduct, Scaled, Select, Square, Subsets, TruncatedProduct, TruncatedRowProduct, Truncation,
            TruncationWide,
        },
    },
    kernel::{Convolved, Filters, Windows, plane_words},
    link::{Error, Peer},
    prg::{ChaCha20Prg, MaskId, Prg, Seed},
    word::{Word, word_bytes},
};

/// A matrix of another mask than those with other numbers.
fn mask(request: u32, rows: usize, cols: usize) -> View<'static> {
    let id = MaskId { lane: 0, request, part: 0 };
    View { id, at: 0, rows: Rows::All(rows), cols, stride: cols }
}

/// Two filters of 2 by 3 in two groups, over two channels of 4 by 3 with a column of zeros on each
/// side.
fn filters() -> Filters {
    let windows = Windows { channels: 2, image: [4, 3], window: [2, 3], stride: [1, 1], padding: [0, 1] };
    Filters { windows, count: 2, groups: 2 }
}

/// Requests of all kinds, on 70 elements. A new kind has to come in here.
fn requests<W: Word>() -> Vec<Request<'static>> {
    let (r, p, plane) = (mask(1, 1, 70), mask(2, 1, 70), mask(3, 1, plane_words::<W>(70)));
    let lanes = plane_words::<W>(70);
    let (words, pairs) = (Words::Mask(r), Words::Pairs(mask(1, 10, 7)));
    vec![
        Truncation { mask: r, bits: 23, ring: W::BITS }.into(),
        Truncation { mask: r, bits: 10, ring: 11 }.into(),
        Scaled { mask: r, bits: 23, factor: 777, frac_bits: 9 }.into(),
        TruncationWide { mask: r, bits: 23 }.into(),
        Square { mask: r, bits: 23 }.into(),
        TruncatedProduct { mask: r, bits: 23, factor: p }.into(),
        Select { mask: r, bits: 23, bit: plane }.into(),
        BitToWord { bits: mask(4, 1, lanes), len: 70, width: 27 }.into(),
        Product { a: r, b: p }.into(),
        RowProduct { a: mask(1, 7, 10), b: mask(2, 1, 7) }.into(),
        MatMul { a: mask(1, 7, 10), b: mask(2, 10, 3), transposed: [false; 2], cuts: [1; 2] }.into(),
        Digits { words, low: 2, widths: &[3, 2] }.into(),
        Digits { words: pairs, low: 0, widths: &[4] }.into(),
        Bit { words, bit: 5 }.into(),
        Alarm { words, bits: 23, bit: plane }.into(),
        Subsets { bits: mask(4, 1, 4 * lanes), lanes, terms: &[0b11, 0b101, 0b1111] }.into(),
        OneHotWords { mask: r, low: 3, bits: 2 }.into(),
        Residue { mask: r, bits: 8 }.into(),
        Convolution { a: mask(1, 2, 24), b: mask(2, 1, 2 * 6), filters: filters(), of: Convolved::Output }.into(),
        Convolution { a: mask(1, 2, 18), b: mask(2, 1, 2 * 6), filters: filters(), of: Convolved::Input }.into(),
        Convolution { a: mask(1, 2, 18), b: mask(2, 2, 24), filters: filters(), of: Convolved::Weights }.into(),
        Bit { words: Words::Columns { mask: r, rows: 10, zero: true }, bit: 5 }.into(),
        TruncatedRowProduct { mask: mask(1, 7, 10), bits: 23, factor: mask(2, 1, 7) }.into(),
        Dots { a: r, b: p, cols: 10, sums: 3 }.into(),
        Harmonics { mask: r, bits: 17, terms: 3, frac_bits: 14, width: 27 }.into(),
        Harmonics { mask: r, bits: W::BITS, terms: 1, frac_bits: 20, width: W::BITS }.into(),
    ]
}

/// Corrections as they arrive at a server, which hashes them.
struct Arriving<'a> {
    bytes: &'a [u8],
    hash: LaneHash,
}

impl<W: Word> Corrections<W> for Arriving<'_> {
    fn next(&mut self, out: &mut [W]) -> Result<(), Error> {
        let out = W::bytes_mut(out);
        let (own, rest) = self.bytes.split_at_checked(out.len()).ok_or(Error::Lost(Peer::Dealer))?;
        out.copy_from_slice(own);
        self.bytes = rest;
        self.hash.update(out);
        Ok(())
    }
}

/// The hash at a server that takes `request` and receives `bytes`, all of them.
fn received<W: HostWord + Word>(request: &Request<'_>, prg: &dyn Prg, bytes: &[u8]) -> [u8; 32] {
    let mut arriving = Arriving { bytes, hash: LaneHash::default() };
    let mut server = Server::<W>::new(prg, best::<W>(), 0, Some(&mut arriving));
    let mut values: Vec<Vec<W>> =
        request.dealt::<W>().into_iter().flatten().map(|d| vec![W::default(); d.len()]).collect();
    let mut out: Vec<&mut [W]> = values.iter_mut().map(|value| &mut value[..]).collect();
    let mut draw = Requests::new(0).draw().unwrap();
    server.take(&mut draw, request, &mut out, &mut vec![W::default(); request.scratch::<W>()]).unwrap();
    assert!(arriving.bytes.is_empty(), "{request:?} leaves corrections");
    arriving.hash.so_far()
}

fn finds_every_flipped_bit<W: HostWord + Word>() {
    let prgs = [1, 2].map(|seed| ChaCha20Prg::new(&Seed::from_bytes(&[seed; 32]), &[3; 16]));
    let prgs: [&dyn Prg; 2] = [&prgs[0], &prgs[1]];
    let first = Requests::new(0).draw().unwrap().mask(1).view().id;
    let mut missing = Request::NUMBERS.to_vec();
    for request in requests::<W>() {
        let (mut dealt, auditor) = (Vec::new(), LaneHash::default());
        let mut dealer = Dealing::<W, _>::new(prgs, best::<W>(), |bytes| {
            dealt.extend_from_slice(bytes);
            Ok(())
        });
        dealer.request(first, &request).unwrap();
        let mut again = Dealing::<W, _>::new(prgs, best::<W>(), |bytes| {
            auditor.update(bytes);
            Ok(())
        });
        again.request(first, &request).unwrap();
        assert_eq!(dealt.len(), request.wire_words::<W>() * word_bytes::<W>(), "{request:?}");
        let right = auditor.so_far();
        assert_eq!(received::<W>(&request, prgs[1], &dealt), right, "{request:?}");
        let last = dealt.len() - 1;
        for at in (0..last).step_by(29).chain([last]) {
            dealt[at] ^= 1 << (at % 8);
            assert_ne!(received::<W>(&request, prgs[1], &dealt), right, "byte {at} of {request:?}");
            dealt[at] ^= 1 << (at % 8);
        }
        missing.retain(|number| *number != request.number());
    }
    assert!(missing.is_empty(), "kinds of requests that are missing here: {missing:?}");
}

#[test]
fn a_flipped_bit_of_any_request_changes_the_hash() {
    finds_every_flipped_bit::<u32>();
    finds_every_flipped_bit::<u64>();
}
