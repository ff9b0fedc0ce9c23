//! Comparison of public words with masks, and the sign.

use crate::harness::*;
use symbolon_core::{
    correlation::{View, Words},
    kernel::plane_words,
    link::Error,
    party::Party,
    protocol::{
        compare::{difference_bit, less},
        sign::sign,
        truncate::{Opened, blind, half},
    },
    word::Word,
};

/// Opens `z` under an offset of its own, as protocols do before they compare.
pub fn open_word<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut symbolon_core::correlation::Draw,
    z: &[W],
    offset: W,
) -> Result<(Vec<W>, View<'static>), Error> {
    let mut c = vec![W::default(); z.len()];
    let mask = blind(party, draw, z, offset, &mut c);
    party.open(&mut c)?;
    Ok((c, mask))
}

struct Compare {
    bits: u32,
    difference: bool,
}

impl Job for Compare {
    /// Gives `c`, `r` and the shared plane: the first two belong to the test alone.
    fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let n = inputs[0].len();
        let mut draw = party.draw()?;
        let (c, mask) = open_word(party, &mut draw, &inputs[0], W::default())?;
        let (mut r, mut out) = (vec![W::default(); n], vec![W::default(); plane_words::<W>(n)]);
        party.expand(mask, &mut r);
        let protocol = if self.difference { difference_bit } else { less };
        protocol(party, &mut draw, &c, Words::Mask(mask), self.bits, &mut out)?;
        Ok(vec![Shared::Public(c), Shared::Words(r), Shared::Planes(out, n)])
    }
}

/// Differences of `c` and `r` that put the deciding bit anywhere, and ties.
fn differences<W: Word>(values: &mut Values, n: usize) -> Vec<W> {
    let k = u64::from(W::BITS);
    (0..n)
        .map(|_| {
            let bit = 1u64 << (values.next() % k);
            W::from_u64(match values.next() % 4 {
                0 => 0,
                1 => bit,
                2 => bit.wrapping_neg(),
                _ => values.next(),
            })
        })
        .collect()
}

/// Bits opened, rounds and bits dealt beyond the word: counted by hand, see the docs of the protocol.
fn cost(bits: u32) -> [u64; 3] {
    match bits {
        62 => [33, 2, 324],
        30 => [15, 2, 146],
        16 => [6, 1, 75],
        11 => [4, 1, 42],
        8 => [2, 1, 31],
        4 => [0, 0, 15],
        1 => [0, 0, 1],
        _ => unreachable!(),
    }
}

fn compares<W: Word>(widths: &[u32]) {
    let (k, mut values) = (W::BITS, Values(6));
    for (salt, n) in (0u64..).zip(LENGTHS) {
        let z = Shared::Words(differences::<W>(&mut values, n));
        for bits in 1..k {
            if !widths.contains(&bits) && n != 129 {
                continue;
            }
            for difference in [false, true] {
                let got = play(&Compare { bits, difference }, std::slice::from_ref(&z), salt);
                let [c, r] = [0, 1].map(|i| got.outputs[i].clone().words());
                for (e, got) in got.outputs[2].bits(0).into_iter().enumerate() {
                    let [c, r] = [c[e], r[e]].map(as_u64);
                    let low = (1 << bits) - 1;
                    let expected = if difference { (c.wrapping_sub(r)) >> bits & 1 == 1 } else { c & low < r & low };
                    assert_eq!(got, expected, "bits {bits}, c {c:x}, r {r:x}, difference {difference}");
                }
                if widths.contains(&bits) {
                    let ([opened, rounds, dealt], plane) =
                        (cost(bits), (plane_words::<W>(n) as u64) * u64::from(k / 8));
                    assert_eq!(got.cost.bytes, n as u64 * u64::from(k / 8) + opened * plane);
                    assert_eq!(got.cost.rounds, 1 + rounds);
                    assert_eq!(got.cost.dealt_bytes, (dealt + u64::from(difference)) * plane);
                }
            }
        }
    }
}

#[test]
fn comparison_is_exact() {
    compares::<u32>(&[1, 4, 8, 11, 16, 30]);
    compares::<u64>(&[1, 8, 30, 62]);
}

struct Sign;

impl Job for Sign {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let n = inputs[0].len();
        let mut draw = party.draw()?;
        let (c, mask) = open_word(party, &mut draw, &inputs[0], half())?;
        let mut out = vec![W::default(); plane_words::<W>(n)];
        sign(party, &mut draw, &Opened { c: &c, mask, offset: half() }, &mut out)?;
        Ok(vec![Shared::Planes(out, n)])
    }
}

fn signs<W: Word>(values: Vec<i64>, salt: u64) -> Cost {
    let z = values.iter().map(|z| W::from_i64(*z)).collect();
    let got = play::<W>(&Sign, &[Shared::Words(z)], salt);
    for (z, got) in values.iter().zip(got.outputs[0].bits(0)) {
        assert_eq!(got, *z >= 0, "sign of {z}");
    }
    got.cost
}

#[test]
fn sign_is_exact() {
    fn check<W: Word>([opened, dealt]: [u64; 2]) {
        let mut values = Values(7);
        let edge = 1i64 << (W::BITS - 2);
        for (salt, n) in (0u64..).zip(LENGTHS) {
            let z = (0..n).map(|_| values.signed(W::BITS - 2)).collect();
            let bytes = u64::from(W::BITS / 8);
            let plane = plane_words::<W>(n) as u64 * bytes;
            let cost = Cost { bytes: n as u64 * bytes + opened * plane, rounds: 3, dealt_bytes: dealt * plane };
            assert_eq!(signs::<W>(z, salt), cost);
        }
        let near = [0, 1, 2, 15, 16, 17, 255, 256, edge / 2, edge - 2, edge - 1];
        signs::<W>(near.iter().flat_map(|z| [*z, -z, !z]).collect(), 99);
        // Every power of two and its neighbours, under many masks.
        let powers = (0..W::BITS - 2).flat_map(|i| [-1, 0, 1].map(|d| (1i64 << i) + d)).flat_map(|z| [z, !z]);
        let powers: Vec<i64> = powers.filter(|z| (-edge..edge).contains(z)).collect();
        for salt in 100..120 {
            signs::<W>(powers.clone(), salt);
        }
    }
    check::<u32>([15, 147]);
    check::<u64>([33, 325]);
}
