//! Secure mappings: every index of every width, both ways.

use crate::{harness::*, uniform::assert_uniform};
use symbolon_core::{
    kernel::{packed_words, plane_words},
    link::Error,
    mapping::{Domain, Mapping, OneHot, Saturation, map, mapped, mapped_planes},
    party::Party,
    protocol::truncate::{Cut, open},
    word::Word,
};

const WAYS: [OneHot; 2] = [OneHot::Boolean, OneHot::Arithmetic];

struct Map<'a> {
    mapping: Mapping<'a>,
    /// Take the index off a word that was opened whole.
    opened: bool,
}

impl Job for Map<'_> {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let z = inputs.remove(0);
        let mut out = vec![W::default(); self.mapping.tables.len() * z.len()];
        if self.opened {
            let mut draw = party.draw()?;
            let mut c = vec![W::default(); z.len()];
            let word = open(party, &mut draw, &z, Cut::signed(0), &mut c)?;
            mapped(party, &mut draw, &self.mapping, &word, &mut out)?;
        } else {
            map(party, &self.mapping, &z, &mut out)?;
        }
        Ok(vec![Shared::Words(out)])
    }
}

/// Tables whose entries differ in many bits, in one, in none.
fn tables(values: &mut Values, bits: u32) -> [Vec<i64>; 4] {
    let cells = 1i64 << bits;
    [
        (0..cells).map(|_| values.signed(20)).collect(),
        (0..cells).map(|i| i64::from(i == 1)).collect(),
        vec![-5; cells as usize],
        (0..cells).map(|i| 100 - (1 << (i % 9))).collect(),
    ]
}

/// Exact indices: every value of the domain.
fn finds_every_entry<W: Word>() {
    let mut values = Values(30);
    for bits in 1..=8 {
        let all = tables(&mut values, bits);
        let tables: Vec<&[i64]> = all.iter().map(|t| &t[..]).collect();
        for one_hot in WAYS {
            for signed in [false, true] {
                let domain = Domain { shift: 0, bits, signed };
                let mapping = Mapping { domain, tables: &tables, one_hot: Some(one_hot), beyond: None };
                let z: Vec<W> = (0..domain.cells()).map(|i| W::from_i64(domain.centre(i))).collect();
                for opened in [false, true] {
                    let got = play(&Map { mapping, opened }, &[Shared::Words(z.clone())], u64::from(bits));
                    let got: Vec<i64> = got.outputs[0].clone().words().into_iter().map(as_i64).collect();
                    assert_eq!(got, all.concat(), "{bits} bits, {one_hot:?}, signed: {signed}");
                }
            }
        }
    }
}

#[test]
fn every_index_finds_its_entry() {
    finds_every_entry::<u32>();
    finds_every_entry::<u64>();
}

/// Values between two indices take either.
fn rounds<W: Word>() {
    let mut values = Values(31);
    for (salt, n) in (0u64..).zip(LENGTHS) {
        for (shift, bits, signed) in
            [(1, 8, false), (10, 4, true), (11, 8, true), (3, 1, false), (W::BITS - 10, 8, true)]
        {
            let domain = Domain { shift, bits, signed };
            // Below the last cell's end, where the index would wrap.
            let (least, width) = (domain.centre(0), domain.centre(domain.cells() - 1) - domain.centre(0));
            let z: Vec<i64> = (0..n).map(|_| least + (values.next() % (width as u64 + 1)).cast_signed()).collect();
            let words: Vec<W> = z.iter().map(|z| W::from_i64(*z)).collect();
            let index: Vec<i64> = (0..domain.cells() as i64).collect();
            for one_hot in WAYS {
                let mapping = Mapping { domain, tables: &[&index], one_hot: Some(one_hot), beyond: None };
                for opened in [false, shift + bits < W::BITS - 1] {
                    let got = play(&Map { mapping, opened }, &[Shared::Words(words.clone())], salt);
                    for (z, i) in z.iter().zip(got.outputs[0].clone().words()) {
                        let away = (z - domain.centre(as_u64(i) as usize)).abs();
                        assert!(away < 1 << shift, "{z} took an index {away} units away");
                    }
                }
            }
        }
    }
}

#[test]
fn an_index_is_a_neighbour() {
    rounds::<u32>();
    rounds::<u64>();
}

/// Words of every size find their entry or, past the table, `beyond`, whatever lies above the
/// index.
fn saturates<W: Word>() {
    let mut values = Values(33);
    for (salt, (shift, bits, signed)) in (0u64..).zip([
        (0, 4, false),
        (3, 4, true),
        (11, 8, false),
        (W::BITS - 6, 4, false),
        (W::BITS - 12, 4, true),
        (W::BITS - 21, 3, false),
        (W::BITS - 8, 8, true),
        (W::BITS - 8, 2, false),
    ]) {
        let domain = Domain { shift, bits, signed };
        let all = tables(&mut values, bits);
        let tables: Vec<&[i64]> = all.iter().map(|t| &t[..]).collect();
        let beyond = [-7, 1, -5, 0];
        let half_width = i128::from(signed) << (domain.width() - 1);
        let mut any = || values.next() >> (values.next() % 64);
        let z: Vec<W> =
            (0..1500).map(|_| W::from_u64(if any() & 1 == 0 { any() } else { any().wrapping_neg() })).collect();
        // Words of a known range: the largest, too.
        let range = (domain.width() + 5).min(W::BITS - 2);
        let (least, most) = (-i64::from(signed) << (range - 1), (1 << (range - u32::from(signed))) - 1);
        let within = |z: &W| W::from_i64((as_i64(*z) >> 1 << u32::from(shift == 0)).clamp(least, most));
        let other = [12, 0, -5, 3];
        let runs = [(None, false, &beyond), (None, true, &beyond), (Some(range), false, &beyond)];
        for (range, opened, below) in runs.into_iter().chain([(None, false, &other), (None, true, &other)]) {
            let z: Vec<W> = if range.is_some() { z.iter().map(within).collect() } else { z.clone() };
            // With two ends, words far from where the ring's halves meet have a sign.
            let z: Vec<W> = if below == &other { z.iter().map(|z| z.sar(2)).collect() } else { z };
            let beyond_all = Some(Saturation { below, above: &beyond, range });
            let mapping = Mapping { domain, tables: &tables, one_hot: None, beyond: beyond_all };
            let got = play(&Map { mapping, opened }, &[Shared::Words(z.clone())], salt);
            let got = got.outputs[0].clone().words();
            for ((table, ends), got) in all.iter().zip(below.iter().zip(beyond)).zip(got.chunks(z.len())) {
                for (z, got) in z.iter().zip(got) {
                    // The whole index, and the one above: the dither takes either.
                    let ring = 1i128 << W::BITS;
                    let from = (i128::from(as_u64(*z)) + half_width).rem_euclid(ring);
                    let indices = [from >> shift, ((from + (1 << shift) - 1) % ring) >> shift];
                    let end = |i: i128| if i << shift < ring / 2 { ends.1 } else { *ends.0 };
                    let entry = |i: i128| usize::try_from(i).ok().and_then(|i| table.get(i)).copied().unwrap_or(end(i));
                    assert!(indices.iter().any(|i| entry(*i) == as_i64(*got)), "{domain:?} {z:?} gave {got:?}");
                }
            }
        }
    }
}

#[test]
fn no_index_wraps_where_a_mapping_saturates() {
    saturates::<u32>();
    saturates::<u64>();
}

#[test]
fn the_mean_is_linear_interpolation() {
    let domain = Domain { shift: 10, bits: 3, signed: false };
    let table = [0, 1000, 5000, -800, 7, 7, 7, 7];
    let z = vec![1024u32 + 300; 50_000];
    let mapping = Mapping { domain, tables: &[&table], one_hot: None, beyond: None };
    let got = play(&Map { mapping, opened: false }, &[Shared::Words(z)], 9);
    let sum: i64 = got.outputs[0].clone().words().into_iter().map(as_i64).sum();
    let (mean, expected) = (sum as f64 / 50_000.0, 1000.0 + 4000.0 * 300.0 / 1024.0);
    assert!((mean - expected).abs() < 50.0, "mean {mean}, expected {expected}");
}

fn costs<W: Word>() {
    let (n, k) = (640, u64::from(W::BITS));
    let entries: Vec<i64> = (0..16).map(|i| 2047 - 128 * i).collect(); // 128 i: four bits
    let domain = Domain { shift: 7, bits: 4, signed: false };
    let cost = |one_hot| {
        let mapping = Mapping { domain, tables: &[&entries, &entries], one_hot, beyond: None };
        play(&Map { mapping, opened: false }, &[Shared::Words(vec![W::default(); n as usize])], 1).cost
    };
    let boolean = Cost { bytes: n * (4 + 8) / 8, rounds: 2, dealt_bytes: n * (15 + 8 * k - 2 * (7 + 8 + 9 + 10)) / 8 };
    let arithmetic = Cost { bytes: n * 4 / 8, rounds: 1, dealt_bytes: n * 16 * k / 8 };
    assert_eq!(cost(Some(OneHot::Boolean)), boolean);
    assert_eq!(cost(Some(OneHot::Arithmetic)), arithmetic);
    assert_eq!(cost(None), boolean, "16 + 8 k < 16 k");
    assert_eq!(packed_words::<W>(n as usize, 4) as u64 * k / 8, arithmetic.bytes);
    // Saturating at 32 bits as a softmax's exponential does: 6 bits above an index of 4, 12 bits in
    // entries.
    if k == 32 {
        let entries: Vec<i64> = (0..16).map(|i| 4095 - 200 * i).collect();
        let domain = Domain { shift: 10, bits: 4, signed: false };
        let beyond = Some(Saturation { below: &[0], above: &[0], range: Some(19) });
        let mapping = Mapping { domain, tables: &[&entries], one_hot: None, beyond };
        let cost = play(&Map { mapping, opened: false }, &[Shared::Words(vec![W::default(); n as usize])], 1).cost;
        assert_eq!(cost, Cost { bytes: n * (10 + 17 + 12) / 8, rounds: 3, dealt_bytes: n * (209 + 12 * k - 66) / 8 });
    }
    // Opened for another reason: nothing for the index.
    let mapping = Mapping { domain, tables: &[&entries], one_hot: Some(OneHot::Arithmetic), beyond: None };
    let got = play(&Map { mapping, opened: true }, &[Shared::Words(vec![W::default(); n as usize])], 1);
    assert_eq!(got.cost.bytes, n * k / 8);
}

#[test]
fn mappings_cost_what_they_say() {
    costs::<u32>();
    costs::<u64>();
}

/// One-hot planes of a label, codes past the last class mapping to zeros.
struct Label(u32);

impl Job for Label {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let z = inputs.remove(0);
        let mut draw = party.draw()?;
        let mut c = vec![W::default(); z.len()];
        let word = open(party, &mut draw, &z, Cut::signed(0), &mut c)?;
        let unit = |class: usize| -> [i64; 16] { core::array::from_fn(|i| i64::from(i == class)) };
        let units: Vec<[i64; 16]> = (0..self.0 as usize).map(unit).collect();
        let tables: Vec<&[i64]> = units.iter().map(|u| &u[..]).collect();
        let domain = Domain { shift: 0, bits: 4, signed: false };
        let mapping = Mapping { domain, tables: &tables, one_hot: None, beyond: None };
        let mut planes = vec![W::default(); tables.len() * plane_words::<W>(z.len())];
        mapped_planes(party, &mut draw, &mapping, &word, &mut planes)?;
        Ok(vec![Shared::Planes(planes, z.len())])
    }
}

#[test]
fn labels_become_planes() {
    fn check<W: Word>() {
        let codes: Vec<u64> = (0..16).chain([9, 3, 3, 10, 15]).collect();
        let z = codes.iter().map(|c| W::from_u64(*c)).collect();
        let got = play(&Label(10), &[Shared::Words(z)], 3);
        for class in 0..10 {
            let expected: Vec<bool> = codes.iter().map(|c| *c == class).collect();
            assert_eq!(got.outputs[0].bits(class as usize), expected);
        }
        assert_eq!(got.cost.rounds, 1);
    }
    check::<u32>();
    check::<u64>();
}

#[test]
fn mappings_send_noise() {
    fn check<W: Word>() {
        // As many words as fill whole planes: nothing sent is padding.
        let z: Vec<W> = (0..W::BITS).map(|i| W::from_u64(u64::from(i % 3))).collect();
        let entries: Vec<i64> = (0..16).collect();
        let domain = Domain { shift: 2, bits: 4, signed: false };
        for one_hot in WAYS {
            let mapping = Mapping { domain, tables: &[&entries], one_hot: Some(one_hot), beyond: None };
            assert_uniform(&Map { mapping, opened: false }, &[Shared::Words(z.clone())]);
        }
    }
    check::<u32>();
    check::<u64>();
}
