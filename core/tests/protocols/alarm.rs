//! Range alarms.

use crate::harness::*;
use symbolon_core::{
    kernel::{Kernels, Portable, pair_count, plane_words},
    link::Error,
    party::{Alarms, Party},
    protocol::{
        alarm::{SUBSETS, any, check_kept},
        clamp::clamp,
        maximum::argmax,
        pair::order,
        relu::relu,
        truncate::{Cut, half, open, truncate, truncate_unsigned},
    },
    word::Word,
};

/// Keeps all alarms, and all words that are offered.
#[derive(Default)]
struct Keep<W> {
    planes: Vec<(Vec<W>, usize)>,
    words: Vec<W>,
}

impl<W: Word> Alarms<W> for Keep<W> {
    fn raise(&mut self, _: &dyn Kernels<W>, planes: &mut [W], rows: usize) {
        let lanes = plane_words::<W>(rows).max(1);
        self.planes.extend(planes.chunks_exact(lanes).map(|plane| (plane.to_vec(), rows)));
    }
    fn offer(&mut self, words: &[W], shift: W) {
        self.words.extend(words.iter().map(|word| word.add(shift)));
    }
    fn kept(&self) -> usize {
        self.words.len()
    }
    fn take(&mut self, out: &mut [W]) {
        out.copy_from_slice(&std::mem::take(&mut self.words));
    }
}

/// The protocol that raises the alarms.
#[derive(Clone, Copy)]
enum Raise {
    Relu,
    Clamp(i64, i64),
    /// With zeros.
    Order,
    /// The number of classes.
    Argmax(usize),
    Truncate,
    TruncateUnsigned,
}

impl Raise {
    fn on<W: Word>(self, party: &mut Party<'_, W>, z: &mut [W]) -> Result<(), Error> {
        let n = z.len();
        match self {
            Self::Relu => {
                let (mut bit, mut rho) = (vec![W::default(); plane_words::<W>(n)], vec![W::default(); n]);
                relu(party, z, 3, &mut bit, &mut rho).map(drop)
            }
            Self::Clamp(low, high) => clamp(party, z, W::from_i64(low), W::from_i64(high)),
            Self::Order => order(party, z, &mut vec![W::default(); n]),
            Self::Argmax(classes) => {
                let ([c], mut party) = party.scratch([n])?;
                let mut draw = party.draw()?;
                let word = open(&mut party, &mut draw, z, Cut::signed(0), c)?;
                let mut hot = vec![W::default(); classes * plane_words::<W>(n / classes)];
                argmax(&mut party, &word, classes, &mut hot)
            }
            Self::Truncate => truncate(party, z, 5),
            Self::TruncateUnsigned => truncate_unsigned(party, z, 5),
        }
    }
}

/// Returns the alarms, with `kept` those of kept words last; without `alarms` nothing.
struct Raised {
    raise: Raise,
    alarms: bool,
    kept: bool,
}

impl Job for Raised {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let mut keep = Keep::default();
        {
            let ([], mut party) = party.scratch([])?;
            party.alarms = self.alarms.then_some(&mut keep);
            self.raise.on(&mut party, &mut inputs[0])?;
            if self.kept {
                check_kept(&mut party, 1)?;
            }
        }
        Ok(keep.planes.into_iter().map(|(plane, rows)| Shared::Planes(plane, rows)).collect())
    }
}

/// Words over the whole ring, and at the edges of ranges.
fn words<W: Word>(n: usize, values: &mut Values) -> Vec<i64> {
    let k = W::BITS;
    let edges = [1i64 << (k - 2), -(1i64 << (k - 2)), i64::MAX >> (64 - k), i64::MIN >> (64 - k), 0];
    let word = |i: usize| match i % 3 {
        0 => edges[(values.next() % 5) as usize].wrapping_add((values.next() % 5).cast_signed() - 2),
        1 => values.next().cast_signed(),
        _ => values.signed(k - 2),
    };
    (0..n).map(word).map(|z| as_i64(W::from_i64(z))).collect()
}

/// Whether `z + offset` leaves `[0, 2^(k-1))`, modulo `2^k`.
fn leaves<W: Word>(z: i64, offset: W) -> bool {
    as_u64(W::from_i64(z).add(offset)) >> (W::BITS - 1) == 1
}

fn shared<W: Word>(z: &[i64]) -> [Shared<W>; 1] {
    [Shared::Words(z.iter().map(|z| W::from_i64(*z)).collect())]
}

/// The bits of all planes.
fn bits<W: Word>(planes: &[Shared<W>]) -> Vec<Vec<bool>> {
    planes.iter().map(|plane| plane.bits(0)).collect()
}

fn compared<W: Word>() {
    let mut values = Values(5);
    for (salt, n) in (0u64..).zip(LENGTHS) {
        let z = words::<W>(n, &mut values);
        let got = play::<W>(&Raised { raise: Raise::Relu, alarms: true, kept: false }, &shared(&z), salt);
        // Of the rounded word, which may leave its range up to 2^3 units earlier, and is back as
        // much.
        let rounded = z.iter().zip(got.dithers.of(3)).map(|(z, u)| z.wrapping_add(7 - u.cast_signed()));
        let oracle: Vec<bool> = rounded.map(|z| leaves::<W>(z, half())).collect();
        assert_eq!(bits(&got.outputs).concat(), oracle);
        // No byte and no round: two bits are dealt.
        let without = play::<W>(&Raised { raise: Raise::Relu, alarms: false, kept: false }, &shared(&z), salt);
        let planes = 2 * plane_words::<W>(n) as u64 * u64::from(W::BITS / 8);
        assert_eq!(got.cost, Cost { dealt_bytes: without.cost.dealt_bytes + planes, ..without.cost });

        let got = play::<W>(&Raised { raise: Raise::Order, alarms: true, kept: false }, &shared(&z), salt);
        let oracle: Vec<bool> = z.iter().map(|z| leaves::<W>(*z, half())).collect();
        assert_eq!(bits(&got.outputs).concat(), oracle);

        let (low, high) = (-100, 1 << (W::BITS - 3));
        let got = play::<W>(&Raised { raise: Raise::Clamp(low, high), alarms: true, kept: false }, &shared(&z), salt);
        let limits = [low, high].into_iter();
        let oracle: Vec<bool> =
            limits.flat_map(|at| z.iter().map(move |z| leaves::<W>(z.wrapping_sub(at), half()))).collect();
        assert_eq!(bits(&got.outputs).concat(), oracle);
    }
}

#[test]
fn alarms_of_compared_words_are_exact() {
    compared::<u32>();
    compared::<u64>();
}

fn pairs<W: Word>() {
    let mut values = Values(6);
    for (salt, (classes, rows)) in (0u64..).zip([(2, 70), (3, 1), (3, 64), (4, 33), (10, 65), (10, 3)]) {
        let z = words::<W>(rows * classes, &mut values);
        let raise = Raise::Argmax(classes);
        let got = play::<W>(&Raised { raise, alarms: true, kept: classes == 2 }, &shared(&z), salt);
        let pairs = (0..classes).flat_map(|i| (i + 1..classes).map(move |j| (i, j)));
        let oracle: Vec<Vec<bool>> = pairs
            .map(|(i, j)| z.chunks(classes).map(|row| leaves::<W>(row[i].wrapping_sub(row[j]), half())).collect())
            .collect();
        let mut raised = bits(&got.outputs);
        if classes == 2 {
            // Kept: first the words, as they were opened, then their differences.
            raised = vec![raised[0][z.len()..].to_vec()];
        }
        assert_eq!(raised.len(), pair_count(classes));
        assert_eq!(raised, oracle, "{classes} classes, {rows} rows");
    }
}

#[test]
fn alarms_of_pairs_are_exact() {
    pairs::<u32>();
    pairs::<u64>();
}

fn kept<W: Word>(bits_each_way: u64) {
    let mut values = Values(7);
    let cases = [(Raise::Truncate, half()), (Raise::TruncateUnsigned, W::default())];
    for (salt, (n, (raise, offset))) in (0u64..).zip(LENGTHS.iter().flat_map(|n| cases.map(|case| (*n, case)))) {
        let z = words::<W>(n, &mut values);
        let [got, without] =
            [true, false].map(|kept| play::<W>(&Raised { raise, alarms: true, kept }, &shared(&z), salt));
        assert_eq!(bits(&got.outputs).concat(), z.iter().map(|z| leaves(*z, offset)).collect::<Vec<_>>());
        let planes = bits_each_way * plane_words::<W>(n) as u64;
        let bytes = (n as u64 + planes) * u64::from(W::BITS / 8);
        assert_eq!(got.cost.bytes - without.cost.bytes, bytes);
        assert_eq!(got.cost.rounds - without.cost.rounds, if n == 0 { 0 } else { 3 });
    }
}

#[test]
fn alarms_of_kept_words_are_exact() {
    kept::<u32>(23);
    kept::<u64>(42);
}

/// Whether any word has odd parity, as a plane of one.
struct Any;

impl Job for Any {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let share = any(party, &mut inputs[0])?;
        Ok(vec![Shared::Planes(vec![share], 1)])
    }
}

fn disjunction<W: Word>() {
    let mut values = Values(8);
    for odd in 0..=SUBSETS + 4 {
        let sums: Vec<W> = (0..SUBSETS)
            .map(|i| {
                let word = as_u64(W::from_u64(values.next()));
                // One word is odd, or every second one, or none.
                let wanted = i == odd || odd == SUBSETS + 1 && i % 2 == 1;
                W::from_u64(word ^ u64::from((word.count_ones() % 2 == 1) != wanted))
            })
            .collect();
        let got = play::<W>(&Any, &[Shared::Planes(sums, SUBSETS * W::BITS as usize)], odd as u64);
        assert_eq!(got.outputs[0].bits(0), [odd < SUBSETS || odd == SUBSETS + 1], "{odd}");
        assert_eq!((got.cost.bytes, got.cost.rounds), (56 * u64::from(W::BITS / 8), 3));
    }
}

#[test]
fn one_odd_sum_is_enough() {
    disjunction::<u32>();
    disjunction::<u64>();
}

/// Of 40 subsets none in 2^40 runs misses; four miss one run in 16, whatever the alarms are.
#[test]
fn each_sum_is_odd_with_probability_one_half() {
    const RUNS: usize = 16_000;
    let mut values = Values(9);
    let one = |at: usize| (0..5).map(|i| if i == at { 1u64 << 17 } else { 0 }).collect::<Vec<_>>();
    for planes in [one(0), one(4), vec![u64::MAX; 5], vec![0, 3, 0, 1 << 63, 0]] {
        let mut even = [0usize; 5];
        for _ in 0..RUNS {
            let random: Vec<u64> = (0..planes.len() + 3).map(|_| values.next()).collect();
            let mut sums = [0u64; 4];
            Portable.fold_alarms(&mut sums, &planes, &random);
            let parities = sums.map(|sum| sum.count_ones() % 2);
            even.iter_mut().zip(parities).for_each(|(even, parity)| *even += usize::from(parity == 0));
            even[4] += usize::from(parities == [0; 4]);
        }
        for (even, share) in even.into_iter().zip([2, 2, 2, 2, 16]) {
            assert!(even.abs_diff(RUNS / share) < 300, "{planes:?}: {even} of {RUNS}");
        }
    }
    let mut sums = [7u64; 4];
    Portable.fold_alarms(&mut sums, &[0; 5], &[u64::MAX; 8]);
    assert_eq!(sums, [7; 4], "no alarm, no change");
}
