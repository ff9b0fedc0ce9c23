//! Kernels of every set that this processor runs, portable included: matrix products, streams, bit planes, words.
//!
//! `cargo bench -p symbolon --bench kernels -- gemm` runs one group.
#![allow(missing_docs)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::{hint::black_box, time::Duration};
use symbolon::kernel::{HostWord, aes128_prg, available};
use symbolon_core::{
    correlation::{Rows, View, WholeMasks},
    kernel::{Matrix, Opening, plane_words},
    prg::{Aes128Prg, ChaCha20Prg, MaskId, Prg, Seed},
    word::Word,
};

/// Elements of word and plane benches: some lanes more than whole registers, and within the second-level cache.
const ELEMENTS: usize = 10_000;

fn words<W: Word>(n: usize) -> Vec<W> {
    (1..=n as u64).map(|i| W::from_u64(i.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23))).collect()
}

/// The products of a layer, forwards and backwards; throughput in multiplications.
fn gemm<W: HostWord>(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("gemm/u{}", W::BITS));
    let shapes = [
        ("x y", [128, 784, 128], [false, false]),
        ("xT y", [784, 128, 128], [true, false]),
        ("x yT", [128, 128, 128], [false, true]),
        ("narrow", [128, 128, 10], [false, false]),
    ];
    for (name, dims @ [m, k, n], transposed) in shapes {
        group.throughput(Throughput::Elements((m * k * n) as u64));
        let (x, y, mut z) = (words::<W>(m * k), words::<W>(k * n), words::<W>(m * n));
        let matrix =
            |words, rows, cols, transposed| Matrix { words, stride: if transposed { rows } else { cols }, transposed };
        let (x, y) = (matrix(&x[..], m, k, transposed[0]), matrix(&y[..], k, n, transposed[1]));
        for set in available::<W>() {
            let id = BenchmarkId::new(set.name, format!("{name} {m}x{k}x{n}"));
            group.bench_function(id, |b| {
                b.iter(|| set.kernels.gemm(black_box(&mut z), black_box(x), black_box(y), dims))
            });
        }
    }
}

/// Streams by length, and whole masks; throughput in bytes.
fn streams(c: &mut Criterion) {
    let mut group = c.benchmark_group("prg");
    let (seed, session) = (Seed::from_bytes(&[7; 32]), [1; 16]);
    let (aes, aes_core, chacha) =
        (aes128_prg(&seed, &session), Aes128Prg::new(&seed, &session), ChaCha20Prg::new(&seed, &session));
    let prgs: [(&str, &dyn Prg); 3] = [("aes128", &*aes), ("aes128 of core", &aes_core), ("chacha20", &chacha)];
    for (name, prg) in prgs {
        for len in [64, 3136, 65_536] {
            group.throughput(Throughput::Bytes(len as u64));
            let mut out = words::<u32>(len / 4);
            let bytes = u32::bytes_mut(&mut out);
            let id = BenchmarkId::new(name, len);
            group.bench_function(id, |b| b.iter(|| prg.fill_bytes(black_box(MaskId::default()), 0, black_box(bytes))));
        }
        let mut out = words::<u32>(128 * 784);
        group.throughput(Throughput::Bytes(4 * out.len() as u64));
        let view = View { id: MaskId::default(), at: 0, rows: Rows::All(128), cols: 784, stride: 1000 };
        let masks = WholeMasks([prg, prg]);
        group.bench_function(BenchmarkId::new(name, "whole 128x784"), |b| {
            b.iter(|| masks.words(view, black_box(&mut out)))
        });
    }
}

/// Between words and planes, and digits of four bits; throughput in elements.
fn planes<W: HostWord>(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("planes/u{}", W::BITS));
    group.throughput(Throughput::Elements(ELEMENTS as u64));
    let lanes = plane_words::<W>(ELEMENTS);
    let (x, mut packed, mut planes) = (words::<W>(ELEMENTS), words::<W>(ELEMENTS), words::<W>(20 * lanes));
    let (c, hot) = (words::<W>(4 * lanes), words::<W>(15 * lanes));
    for set in available::<W>() {
        let k = set.kernels;
        let mut bench = |name: &str, f: &mut dyn FnMut()| {
            group.bench_function(BenchmarkId::new(name, set.name), |b| b.iter(&mut *f));
        };
        bench("20 planes", &mut || k.to_planes(black_box(&mut planes), black_box(&x), 3));
        bench("4 planes", &mut || k.to_planes(black_box(&mut planes[..4 * lanes]), black_box(&x), 3));
        bench("pack 13 bits", &mut || k.pack(black_box(&mut packed), black_box(&x), 13));
        bench("unpack 13 bits", &mut || k.unpack(black_box(&mut packed), black_box(&x), 13));
        bench("one-hot", &mut || k.one_hot(black_box(&mut planes[..15 * lanes]), black_box(&c), 4));
        bench("compare digits", &mut || {
            let (lt, eq) = planes[..2 * lanes].split_at_mut(lanes);
            k.digit_less_equal(black_box(lt), black_box(eq), black_box(&c), &hot, 4, W::default());
        });
    }
}

/// Truncation and what is fused with it; throughput in elements.
fn truncation<W: HostWord>(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("words/u{}", W::BITS));
    group.throughput(Throughput::Elements(ELEMENTS as u64));
    let (x, mut z) = (words::<W>(ELEMENTS), words::<W>(ELEMENTS));
    let [a, b, c, d] = [1, 2, 3, 4].map(|i| words::<W>(ELEMENTS + i)[i..].to_vec());
    let opening = Opening { c: &x[..], offset: W::from_u64(1).shl(W::BITS - 14), bits: W::BITS - 12 };
    for set in available::<W>() {
        let k = set.kernels;
        let mut bench = |name: &str, f: &mut dyn FnMut()| {
            group.bench_function(BenchmarkId::new(name, set.name), |b| b.iter(&mut *f));
        };
        bench("add", &mut || k.add(black_box(&mut z), black_box(&a)));
        bench("truncated", &mut || k.truncated(black_box(&mut z), opening, &a, &b, W::default()));
        bench("squared", &mut || k.squared(black_box(&mut z), opening, &a, &b, &c, &d, W::default()));
        bench("selected", &mut || k.selected(black_box(&mut z), opening, &a, &b, &c, &d));
    }
}

fn all(c: &mut Criterion) {
    gemm::<u32>(c);
    gemm::<u64>(c);
    streams(c);
    planes::<u32>(c);
    planes::<u64>(c);
    truncation::<u32>(c);
    truncation::<u64>(c);
}

criterion_group! {
    name = kernels;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(300));
    targets = all
}
criterion_main!(kernels);
