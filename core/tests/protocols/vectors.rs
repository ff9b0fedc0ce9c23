//! Comparisons of two vectors, sorted rows, largest words, norms and logarithms of softmax: against
//! plain code, at the edges of their ranges; what they cost.

use crate::{harness::*, uniform::assert_uniform};
use symbolon_core::{
    function::{
        Numbers,
        log_softmax::{Bounds, log_softmax},
        method::{Function, Method},
        norm::Norm,
        scalar::{AnyScalar, Exponential, Reciprocal, SquareRoot},
        softmax::{Shape, Softmax, probabilities},
        softmax_methods::Methods,
        top_k::{Largest, top_k},
    },
    kernel::{pair_count, plane_words},
    link::Error,
    party::Party,
    protocol::{
        equal::{equal, equal_words},
        pair::{less_than, less_than_words, maximum, minimum, order_with, select, select_by_words},
        sort::{Direction, sort, sort_with},
    },
    word::Word,
};

/// Words and planes of `n` elements, in bytes.
fn bytes<W: Word>([words, planes]: [usize; 2], n: usize) -> u64 {
    ((words * n + planes * plane_words::<W>(n)) * W::BITS as usize / 8) as u64
}

/// Bits that a comparison of whole words opens and is dealt.
fn compared<W: Word>() -> [usize; 2] {
    if W::BITS == 32 { [21, 105] } else { [42, 297] }
}

/// Results of `job`, and its cost.
fn played<W: Word>(job: &impl Job, inputs: &[&[W]], salt: u64) -> (Vec<Vec<W>>, Cost) {
    let inputs: Vec<Shared<W>> = inputs.iter().map(|words| Shared::Words(words.to_vec())).collect();
    let got = play(job, &inputs, salt);
    (got.outputs.into_iter().map(Shared::words).collect(), got.cost)
}

fn numbers<W: Word>(words: &[W]) -> Vec<u64> {
    words.iter().map(|w| as_u64(*w)).collect()
}

/// Functions of two vectors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pair {
    Less,
    LessWords,
    Equal,
    EqualWords,
    Minimum,
    Maximum,
    Order,
    OrderWith,
    SelectByWords,
}

impl Pair {
    const ALL: [Self; 9] = [
        Self::Less,
        Self::LessWords,
        Self::Equal,
        Self::EqualWords,
        Self::Minimum,
        Self::Maximum,
        Self::Order,
        Self::OrderWith,
        Self::SelectByWords,
    ];

    /// The documented cost: rounds; words and bits each way; words and bits dealt.
    fn cost<W: Word>(self, n: usize) -> Cost {
        let [c, d] = compared::<W>();
        let [e, f] = if W::BITS == 32 { [7, 289] } else { [26, 251] };
        let levels = if W::BITS == 32 { 2 } else { 3 };
        let (rounds, sent, dealt) = match self {
            Self::Less => (3, [1, c], [0, d]),
            Self::LessWords => (4, [1, c + 1], [1, d]),
            Self::Equal => (levels, [1, e], [0, f]),
            Self::EqualWords => (levels + 1, [1, e + 1], [1, f]),
            Self::Minimum | Self::Maximum | Self::Order => (4, [1, c + 1], [2, d + 1]),
            Self::OrderWith => (4, [2, c + 1], [3, d + 2]),
            Self::SelectByWords => (1, [2, 0], [1, 0]),
        };
        Cost { rounds, bytes: bytes::<W>(sent, n), dealt_bytes: bytes::<W>(dealt, n) }
    }

    /// The expected result of `x` and `y` whose difference is `d`.
    fn expected(self, [x, y, with]: [u64; 3], d: i64) -> Vec<u64> {
        let (larger, smaller) = if d >= 0 { (x, y) } else { (y, x) };
        match self {
            Self::Less | Self::LessWords => vec![u64::from(d < 0)],
            Self::Equal | Self::EqualWords => vec![u64::from(d == 0)],
            Self::Minimum => vec![smaller],
            Self::Maximum => vec![larger],
            Self::Order => vec![larger, smaller],
            Self::OrderWith => {
                let second = x ^ y;
                vec![larger, smaller, if d >= 0 { with } else { second }, if d >= 0 { second } else { with }]
            }
            Self::SelectByWords => vec![if with & 1 == 1 { x } else { y }],
        }
    }
}

/// Inputs: two vectors, and what goes with the first; bits for a selection. With the second goes
/// the exclusive or of both, which the test makes.
impl Job for Pair {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let n = inputs[0].len();
        let (mut out, mut plane) = (vec![W::default(); n], vec![W::default(); plane_words::<W>(n)]);
        let rest = inputs.split_off(2);
        let (second, first) = (inputs.remove(1), inputs.remove(0));
        let (mut x, mut y) = (first, second);
        match self {
            Self::Less => less_than(party, &x, &y, &mut plane)?,
            Self::LessWords => less_than_words(party, &x, &y, &mut out)?,
            Self::Equal => equal(party, &x, &y, &mut plane)?,
            Self::EqualWords => equal_words(party, &x, &y, &mut out)?,
            Self::Minimum => minimum(party, &x, &y, &mut out)?,
            Self::Maximum => maximum(party, &x, &y, &mut out)?,
            Self::SelectByWords => select_by_words(party, &rest[0], (&x, &y), &mut out)?,
            Self::Order | Self::OrderWith => {
                let [mut a, mut b] =
                    if *self == Self::Order { [vec![], vec![]] } else { [rest[0].clone(), rest[1].clone()] };
                order_with(party, [&mut x, &mut y], [&mut a, &mut b])?;
                let all = if *self == Self::Order { vec![x, y] } else { vec![x, y, a, b] };
                return Ok(all.into_iter().map(Shared::Words).collect());
            }
        }
        let is_plane = matches!(self, Self::Less | Self::Equal);
        Ok(vec![if is_plane { Shared::Planes(plane, n) } else { Shared::Words(out) }])
    }
}

/// Any words whose differences are in range, at both of its ends, near and equal; where only
/// equality counts, any.
fn differing<W: Word>(values: &mut Values, n: usize, in_range: bool) -> (Vec<W>, Vec<W>) {
    let edge = 1i64 << (W::BITS - 2);
    let y: Vec<W> = (0..n).map(|_| W::from_u64(values.next())).collect();
    let x = y.iter().enumerate().map(|(i, y)| {
        let d = match i % 8 {
            0 => 0,
            1 => edge - 1,
            2 => -edge,
            3 => 1,
            4 => -1,
            5 if !in_range => 1i64 << (W::BITS - 1).min(62) << (W::BITS - 1).saturating_sub(62),
            6 if !in_range => 1i64 << (values.next() % u64::from(W::BITS)),
            _ => values.signed(W::BITS - 2),
        };
        y.add(W::from_i64(d))
    });
    (x.collect(), y)
}

fn pairs<W: Word>() {
    let mut values = Values(31);
    for (job, n) in Pair::ALL.into_iter().flat_map(|job| LENGTHS.map(|n| (job, n))) {
        let equality = matches!(job, Pair::Equal | Pair::EqualWords);
        let (x, y) = differing::<W>(&mut values, n, !equality);
        let with: Vec<W> = (0..n).map(|_| W::from_u64(values.next())).collect();
        let bits: Vec<W> = with.iter().map(|w| w.and(W::from_u64(1))).collect();
        let second: Vec<W> = x.iter().zip(&y).map(|(x, y)| x.xor(*y)).collect();
        let first = if job == Pair::SelectByWords { &bits } else { &with };
        let inputs = [&x, &y, first, &second].map(|words| Shared::Words(words.clone()));
        let got = play(&job, &inputs, values.next());
        for i in 0..n {
            let d = as_i64(x[i].sub(y[i]));
            let expected = job.expected([as_u64(x[i]), as_u64(y[i]), as_u64(with[i])], d);
            let of = |output: &Shared<W>| match output {
                Shared::Planes(..) => u64::from(output.bits(0)[i]),
                other => as_u64(other.clone().words()[i]),
            };
            // Bits of all elements are read at once below.
            if n <= 129 {
                assert_eq!(got.outputs.iter().map(of).collect::<Vec<_>>(), expected, "{job:?} of {n}, d = {d}");
            }
        }
        assert_eq!(got.cost, job.cost::<W>(n), "{job:?} of {n}");
    }
}

#[test]
fn two_vectors_are_compared() {
    pairs::<u32>();
    pairs::<u64>();
}

/// Inputs: a plane and two vectors.
struct Select;

impl Job for Select {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let mut out = vec![W::default(); inputs[1].len()];
        select(party, &inputs[0], (&inputs[1], &inputs[2]), &mut out)?;
        Ok(vec![Shared::Words(out)])
    }
}

#[test]
fn a_bit_selects() {
    fn check<W: Word>() {
        let mut values = Values(32);
        for n in LENGTHS {
            let mut any = |n: usize| (0..n).map(|_| W::from_u64(values.next())).collect::<Vec<_>>();
            let (bit, x, y) = (Shared::Planes(any(plane_words::<W>(n)), n), any(n), any(n));
            let chosen = if n == 0 { vec![] } else { bit.bits(0) };
            let got = play(&Select, &[bit, Shared::Words(x.clone()), Shared::Words(y.clone())], n as u64);
            let expected: Vec<W> = (0..n).map(|i| if chosen[i] { x[i] } else { y[i] }).collect();
            assert_eq!(numbers(&got.outputs[0].clone().words()), numbers(&expected));
            let cost = Cost { rounds: 1, bytes: bytes::<W>([1, 1], n), dealt_bytes: bytes::<W>([2, 1], n) };
            assert_eq!(got.cost, cost);
        }
    }
    check::<u32>();
    check::<u64>();
}

/// Rows of words whose differences fill their range, with ties, at both ends, around any word.
fn rows_of<W: Word>(values: &mut Values, rows: usize, cols: usize) -> Vec<i64> {
    let edge = 1i64 << (W::BITS - 3);
    let mut row = || -> Vec<i64> {
        let kind = values.next() % 5;
        let mut any = || match kind {
            0 => 5 + (values.next() % 3).cast_signed(),
            1 => -7,
            2 => [edge - 1, -edge][(values.next() % 2) as usize],
            3 => 2 * edge - 1 - (values.next() % 2).cast_signed(), // a top of the ring of differences
            _ => values.signed(W::BITS - 3),
        };
        (0..cols).map(|_| any()).collect()
    };
    (0..rows).flat_map(|_| row()).collect()
}

const SHAPES: [usize; 6] = [1, 2, 3, 7, 8, 16];
const ROWS: [usize; 4] = [1, 63, 64, 65];

struct Sort(usize, Direction);

/// Inputs: words, and perhaps second values.
impl Job for Sort {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let Self(cols, direction) = *self;
        match &mut inputs[..] {
            [z] => sort(party, z, cols, direction)?,
            [z, with] => sort_with(party, (z, with), cols, direction)?,
            _ => unreachable!(),
        }
        Ok(inputs.into_iter().map(Shared::Words).collect())
    }
}

/// Pairs of each layer of Batcher's network, by plain loops (Knuth, 5.2.2, Algorithm M).
fn layers(cols: usize) -> Vec<usize> {
    let (top, mut counts) = (cols.next_power_of_two() / 2, vec![]);
    let mut p = top;
    while p > 0 {
        let (mut q, mut r, mut d) = (top, 0, p);
        loop {
            counts.push((0..cols - d).filter(|i| i & p == r).count());
            if q == p {
                break;
            }
            (d, q, r) = (q - p, q / 2, p);
        }
        p /= 2;
    }
    counts
}

fn sorts<W: Word>(direction: Direction) {
    let mut values = Values(33);
    let [c, d] = compared::<W>();
    for (cols, rows) in SHAPES.into_iter().flat_map(|cols| ROWS.map(|rows| (cols, rows))) {
        let z = rows_of::<W>(&mut values, rows, cols);
        let words: Vec<W> = z.iter().map(|z| W::from_i64(*z)).collect();
        let with: Vec<W> = (0..z.len()).map(|_| W::from_u64(values.next())).collect();
        let job = Sort(cols, direction);
        let (alone, cost) = played::<W>(&job, &[&words], values.next());
        let (both, cost_with) = played::<W>(&job, &[&words, &with], values.next());
        assert_eq!(numbers(&alone[0]), numbers(&both[0]));
        for (i, row) in z.chunks(cols).enumerate() {
            let at = i * cols..(i + 1) * cols;
            let mut sorted = row.to_vec();
            sorted.sort_unstable();
            if direction == Direction::Descending {
                sorted.reverse();
            }
            assert_eq!(alone[0][at.clone()].iter().map(|w| as_i64(*w)).collect::<Vec<_>>(), sorted);
            let pairs = |z: &[W], with: &[W]| {
                let mut pairs: Vec<[u64; 2]> = z.iter().zip(with).map(|(z, w)| [as_u64(*z), as_u64(*w)]).collect();
                pairs.sort_unstable();
                pairs
            };
            let moved = pairs(&both[0][at.clone()], &both[1][at.clone()]);
            assert_eq!(moved, pairs(&words[at.clone()], &with[at]), "{cols} places: second values");
        }
        let layers = layers(cols);
        let sum = |of: [usize; 2]| layers.iter().map(|pairs| bytes::<W>(of, rows * pairs)).sum();
        let rounds = 4 * layers.len() as u64;
        assert_eq!(cost, Cost { rounds, bytes: sum([1, c + 1]), dealt_bytes: sum([2, d + 1]) });
        assert_eq!(cost_with, Cost { rounds, bytes: sum([2, c + 1]), dealt_bytes: sum([3, d + 2]) });
    }
}

#[test]
fn rows_are_sorted() {
    sorts::<u32>(Direction::Ascending);
    sorts::<u64>(Direction::Ascending);
}

#[test]
fn rows_are_sorted_downwards() {
    sorts::<u32>(Direction::Descending);
    sorts::<u64>(Direction::Descending);
}

struct Top {
    frac_bits: u32,
    cols: usize,
    k: usize,
}

impl Job for Top {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let n = inputs[0].len();
        let some = n / self.cols * self.k;
        let [mut values, mut indices, mut one_hot] = [some, some, n * self.k].map(|n| vec![W::default(); n]);
        let out = Largest { values: &mut values, indices: &mut indices, one_hot: &mut one_hot };
        top_k(party, (&inputs[0], self.frac_bits), (self.cols, self.k), out)?;
        Ok([values, indices, one_hot].map(Shared::Words).into())
    }
}

fn largest<W: Word>(frac_bits: u32) {
    let mut values = Values(34);
    let [c, d] = compared::<W>();
    for (cols, rows) in SHAPES.into_iter().flat_map(|cols| ROWS.map(|rows| (cols, rows))) {
        let k = [1, cols.div_ceil(2), cols][(values.next() % 3) as usize];
        // Multiples of a unit, so that truncation is exact.
        let z: Vec<i64> = rows_of::<W>(&mut values, rows, cols).iter().map(|z| z >> frac_bits).collect();
        let words: Vec<W> = z.iter().map(|z| W::from_i64(z << frac_bits)).collect();
        let (got, cost) = played::<W>(&Top { frac_bits, cols, k }, &[&words], values.next());
        for (i, row) in z.chunks(cols).enumerate() {
            let mut order: Vec<usize> = (0..cols).collect();
            order.sort_by_key(|j| (-row[*j], *j));
            for (place, j) in order.into_iter().take(k).enumerate() {
                let at = i * k + place;
                assert_eq!([as_i64(got[0][at]), as_i64(got[1][at])], [row[j], j as i64], "{cols} places, {k}");
                let hot = &got[2][place * z.len() + i * cols..][..cols];
                assert!(hot.iter().enumerate().all(|(at, w)| as_u64(*w) == u64::from(at == j)));
            }
        }
        if frac_bits > 0 {
            let narrow = W::BITS - frac_bits <= 22;
            assert_eq!(cost.rounds, if narrow { 5 } else { 6 });
            continue;
        }
        let (n, pairs) = (z.len(), pair_count(cols));
        let bits = cols.next_power_of_two().ilog2().max(1) as usize;
        // Pairs lie in planes of rows; their words are dealt for whole planes.
        let planes = pairs * plane_words::<W>(rows) * W::BITS as usize / 8;
        let rank = [(c + 1) * planes, (W::BITS as usize + d) * planes].map(|bytes| bytes as u64);
        // An index is packed where that saves something.
        let codes = (plane_words::<W>(n) * bits).min(n) * W::BITS as usize / 8;
        let expected = Cost {
            rounds: 6,
            bytes: bytes::<W>([1, k], n) + rank[0] + codes as u64,
            dealt_bytes: rank[1] + bytes::<W>([2 * k, (1 << bits) - 1 + k], n),
        };
        assert_eq!(cost, expected, "{rows} rows of {cols}, {k}");
    }
}

#[test]
fn the_largest_are_found_with_their_places() {
    largest::<u32>(0);
    largest::<u64>(0);
    largest::<u32>(11);
    largest::<u64>(20);
}

#[test]
fn vectors_send_noise() {
    fn check<W: Word>() {
        let z: Vec<W> = [3, 3, -1, 0, 9, -9, 7, 7].map(W::from_i64).to_vec();
        let words = |z: &[W]| Shared::Words(z.to_vec());
        for job in [Pair::Less, Pair::EqualWords, Pair::OrderWith, Pair::SelectByWords] {
            assert_uniform(&job, &[words(&z[..4]), words(&z[4..]), words(&z[2..6]), words(&z[..4])]);
        }
        assert_uniform(&Select, &[Shared::Planes(vec![W::from_u64(5)], 4), words(&z[..4]), words(&z[4..])]);
        assert_uniform(&Sort(2, Direction::Ascending), &[words(&z[..4]), words(&z[4..])]);
        // Whole planes, since codes are packed.
        assert_uniform(&Top { frac_bits: 0, cols: 4, k: 2 }, &[words(&z.repeat(8))]);
    }
    check::<u32>();
    check::<u64>();
}

struct Norms {
    norm: Norm,
    cols: usize,
}

impl Job for Norms {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let mut out = vec![W::default(); inputs[0].len() / self.cols];
        self.norm.apply(party, (&inputs[0], self.cols), &mut out)?;
        Ok(vec![Shared::Words(out)])
    }
}

/// Rows of every size from zero to the ring's largest norm.
fn norms<W: Word>(frac_bits: u32, doublings: u32) {
    let norm = Norm::new(Numbers { ring_bits: W::BITS, frac_bits }, doublings);
    let one = f64::from(1u32 << frac_bits);
    let mut values = Values(35);
    // The largest sum that does not wrap.
    let most = f64::from(W::BITS - 1 - 2 * frac_bits).exp2().sqrt() * 0.999;
    for (cols, rows) in SHAPES.into_iter().flat_map(|cols| ROWS.map(|rows| (cols, rows))) {
        let mut x: Vec<i64> = vec![];
        for row in 0..rows {
            let size = if row == 0 { 0.0 } else { most * (-(values.next() as f64 / 2f64.powi(64)) * 16.0).exp2() };
            let own: Vec<f64> = (0..cols).map(|_| values.signed(20) as f64 + 0.5).collect();
            let length = own.iter().map(|x| x * x).sum::<f64>().sqrt();
            x.extend(own.iter().map(|x| (x / length * size * one) as i64));
        }
        let words: Vec<W> = x.iter().map(|x| W::from_i64(*x)).collect();
        let (got, cost) = played::<W>(&Norms { norm, cols }, &[&words], values.next());
        for (row, y) in x.chunks(cols).zip(&got[0]) {
            let exact = row.iter().map(|x| (*x as f64 / one).powi(2)).sum::<f64>().sqrt();
            let expected = exact.min(norm.largest());
            let error = (as_i64(*y) as f64 - expected * one).abs();
            assert!(error <= norm.bound(expected), "{norm:?} of {exact}: off by {error} units");
            assert!(exact > 0.0 || as_u64(*y) == 0, "{norm:?} of zeros");
        }
        let root =
            Function::by_default(AnyScalar::SquareRoot(SquareRoot {}), &Numbers { ring_bits: W::BITS, frac_bits });
        let Method::Mapping(mapping) = root.method else { panic!("a mapping") };
        let root = 8 + u64::from(mapping.degree);
        assert_eq!(cost.rounds, 2 + root, "{norm:?}");
    }
}

#[test]
fn norms_keep_their_bound() {
    norms::<u32>(11, 0);
    norms::<u32>(11, 2);
    norms::<u64>(16, 0);
    norms::<u64>(20, 0);
}

struct Softmaxes(Softmax);

impl Job for Softmaxes {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let [mut p, mut logarithms] = [(); 2].map(|()| vec![W::default(); inputs[0].len()]);
        probabilities(party, &self.0, &inputs[0], &mut p)?;
        log_softmax(party, &self.0, &inputs[0], &mut logarithms)?;
        Ok(vec![Shared::Words(p), Shared::Words(logarithms)])
    }
}

fn softmaxes<W: Word>(frac_bits: u32, by: Methods) {
    let numbers = Numbers { ring_bits: W::BITS, frac_bits };
    let one = f64::from(1u32 << frac_bits);
    let mut values = Values(36);
    for (cols, rows) in [2, 3, 7, 10, 16].into_iter().flat_map(|cols| [1, 65].map(|rows| (cols, rows))) {
        let shape = Shape { classes: cols as u32, frac_bits, logit_frac_bits: frac_bits };
        let softmax = Softmax::new(shape).by(by.resolved(&numbers));
        let Bounds { probability, logarithm } = softmax.bounds(W::BITS);
        // Close to each other, far apart, and as far as differences go.
        let mut row = |i: usize| {
            let bits = [frac_bits + 1, frac_bits + 3, W::BITS - 4][i % 3];
            (0..cols).map(|_| values.signed(bits)).collect::<Vec<i64>>()
        };
        let z: Vec<i64> = (0..rows).flat_map(&mut row).collect();
        let words: Vec<W> = z.iter().map(|z| W::from_i64(*z)).collect();
        let (got, _) = played::<W>(&Softmaxes(softmax), &[&words], 77);
        for (i, row) in z.chunks(cols).enumerate() {
            let largest = *row.iter().max().unwrap();
            let terms: Vec<f64> = row.iter().map(|z| (z - largest) as f64 / one).collect();
            let sum: f64 = terms.iter().map(|t| t.exp()).sum();
            for (j, term) in terms.iter().enumerate() {
                let [p, l] = [0, 1].map(|o| as_i64(got[o][i * cols + j]));
                let error = (p as f64 - term.exp() / sum * one).abs();
                assert!(error <= probability, "{frac_bits}, {cols} classes: {error} of {probability} units");
                // The linear part is exact.
                let error = ((l - (row[j] - largest)) as f64 + sum.ln() * one).abs();
                assert!(error <= logarithm, "{frac_bits}, {cols} classes: ln {error} of {logarithm} units");
            }
        }
    }
}

fn precise() -> Methods {
    let [exponential, reciprocal] = [AnyScalar::Exponential(Exponential {}), AnyScalar::Reciprocal(Reciprocal {})]
        .map(|scalar| Some(Function { scalar, method: Method::Auto }));
    Methods { exponential, reciprocal, raw: false }
}

#[test]
fn softmax_and_its_logarithm_keep_their_bounds() {
    for methods in [Methods::default(), precise()] {
        softmaxes::<u32>(11, methods);
        softmaxes::<u64>(16, methods);
        softmaxes::<u64>(20, methods);
    }
}

struct Logarithms(Softmax);

impl Job for Logarithms {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let mut out = vec![W::default(); inputs[0].len()];
        log_softmax(party, &self.0, &inputs[0], &mut out)?;
        Ok(vec![Shared::Words(out)])
    }
}

#[test]
fn the_logarithm_takes_the_documented_rounds() {
    fn rounds<W: Word>(frac_bits: u32, methods: Methods) -> u64 {
        let shape = Shape { classes: 10, frac_bits, logit_frac_bits: 2 * frac_bits };
        let softmax = Softmax::new(shape).by(methods.resolved(&Numbers { ring_bits: W::BITS, frac_bits }));
        played::<W>(&Logarithms(softmax), &[&[W::default(); 640]], 5).1.rounds
    }
    assert_eq!(rounds::<u32>(11, Methods::default()), 8);
    assert_eq!(rounds::<u64>(20, Methods::default()), 10);
}
