//! What an opened word gives beyond its truncated value: the square, products with masked values, multiples by public constants.

use crate::harness::*;
use symbolon_core::{
    correlation::Draw,
    link::Error,
    party::Party,
    protocol::{
        masked::{Masked, mask_and_open},
        scaled::{Dyadic, scale, scaled},
        square::square,
        times::times_masked,
        truncate::{Opened, blind, half},
    },
    word::Word,
};

/// Opens `z` and gives the word to `then`; adds the public words to the outputs.
fn open<W: Word>(
    party: &mut Party<'_, W>,
    z: &[W],
    offset: W,
    then: impl FnOnce(&mut Party<'_, W>, &mut Draw, &Opened<'_, W>) -> Result<Vec<Shared<W>>, Error>,
) -> Result<Vec<Shared<W>>, Error> {
    let mut draw = party.draw()?;
    let mut c = vec![W::default(); z.len()];
    let mask = blind(party, &mut draw, z, offset, &mut c);
    party.open(&mut c)?;
    let mut out = then(party, &mut draw, &Opened { c: &c, mask, offset })?;
    out.push(Shared::Public(c));
    Ok(out)
}

struct Square(u32);

impl Job for Square {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let mut y = inputs.remove(0);
        let mut squared = vec![W::default(); y.len()];
        let z = y.clone();
        open(party, &z, half(), |party, draw, word| {
            square(party, draw, word, self.0, &mut y, &mut squared)?;
            Ok(vec![Shared::Words(y), Shared::Words(squared)])
        })
    }
}

fn squares<W: Word>() {
    let (k, mut values) = (W::BITS, Values(11));
    for n in LENGTHS {
        for frac_bits in [1, 2, 12, k / 2 - 1] {
            let z: Vec<W> = values.words(n, k - 2);
            let got = play(&Square(frac_bits), &[Shared::Words(z.clone())], n as u64);
            let [y, squared, c] = [0, 1, 2].map(|i| got.outputs[i].clone().words());
            for i in 0..n {
                assert_eq!(i128::from(as_i64(y[i])), dithered(z[i], c[i], 1, frac_bits));
                assert_eq!(as_u64(squared[i]), as_u64(y[i].mul(y[i])));
            }
            assert_eq!((got.cost.rounds, got.cost.bytes), (1, n as u64 * u64::from(k / 8)));
        }
    }
    let got = play(&Square(12), &[Shared::Words(vec![W::from_i64(-77 << 12); 640])], 5);
    assert_eq!(got.cost.dealt_bytes, 640 * (2 * u64::from(k) + 25) / 8);
}

/// `floor((factor z + 2^f - 1 - u) / 2^f)` with `u = factor c mod 2^f`, in wide integers.
fn dithered<W: Word>(z: W, c: W, factor: u32, frac_bits: u32) -> i128 {
    let (z, c, unit) = (i128::from(as_i64(z)), i128::from(as_u64(c)), 1i128 << frac_bits);
    let u = (i128::from(factor) * c).rem_euclid(unit);
    (i128::from(factor) * z + unit - 1 - u).div_euclid(unit)
}

#[test]
fn squares_are_those_of_the_truncated_value() {
    squares::<u32>();
    squares::<u64>();
}

struct Times(u32);

impl Job for Times {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let (mut z, mut factor) = (inputs.remove(0), inputs.remove(0));
        let mask = party.draw()?.mask(factor.len());
        let mask = mask_and_open(party, &mut factor, mask)?;
        let mut squared = vec![W::default(); z.len()];
        let opened = z.clone();
        open(party, &opened, half(), |party, draw, word| {
            square(party, draw, word, self.0, &mut z, &mut squared)?;
            times_masked(party, draw, word, self.0, Masked { words: &factor, mask }, &mut z)?;
            Ok(vec![Shared::Words(z)])
        })
    }
}

fn products<W: Word>() {
    let (k, mut values) = (W::BITS, Values(12));
    for n in LENGTHS {
        for frac_bits in [1, 9, k / 2 - 1] {
            let (z, p): (Vec<W>, Vec<W>) = (values.words(n, k - 2), values.words(n, k - 2));
            let got = play(&Times(frac_bits), &[Shared::Words(z.clone()), Shared::Words(p.clone())], n as u64);
            let [product, c] = [0, 1].map(|i| got.outputs[i].clone().words());
            for i in 0..n {
                let y = dithered(z[i], c[i], 1, frac_bits);
                assert_eq!(as_u64(product[i]), as_u64(W::from_i64(y as i64).mul(p[i])));
            }
        }
    }
}

#[test]
fn products_of_truncated_with_masked_values_are_exact() {
    products::<u32>();
    products::<u64>();
}

struct Scale(Dyadic, bool);

impl Job for Scale {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let z = inputs.remove(0);
        let offset = if self.1 { W::default() } else { half() };
        open(party, &z, offset, |party, draw, word| {
            let mut y = z.clone();
            scaled(party, draw, word, self.0, &mut y)?;
            Ok(vec![Shared::Words(y)])
        })
    }
}

fn scales<W: Word>() {
    let (k, mut values) = (W::BITS, Values(13));
    for n in LENGTHS {
        for factor in [0, 1, 2, 205, 255, 3686, 65535] {
            for shift in [0, 1, 11, 12, 16, 17, k / 2, k - 8, k - 3, k - 2] {
                for unsigned in [false, true] {
                    let mut z: Vec<W> = values.words(n, k - 2);
                    if unsigned {
                        z.iter_mut().for_each(|z| *z = z.add(half()));
                    }
                    let job = Scale(Dyadic { factor, shift }, unsigned);
                    let got = play(&job, &[Shared::Words(z.clone())], u64::from(factor) ^ n as u64);
                    let [y, c] = [0, 1].map(|i| got.outputs[i].clone().words());
                    for i in 0..n {
                        let expected = dithered(z[i], c[i], factor, shift);
                        assert_eq!(as_u64(y[i]), as_u64(W::from_i64(expected as i64)), "{:?} {factor} {shift}", z[i]);
                    }
                }
            }
        }
    }
}

#[test]
fn scaling_rounds_the_exact_product() {
    scales::<u32>();
    scales::<u64>();
}

struct ScaleAlone(Dyadic);

impl Job for ScaleAlone {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        scale(party, &mut inputs[0], self.0)?;
        Ok(vec![Shared::Words(inputs.remove(0))])
    }
}

#[test]
fn scaling_is_unbiased_and_costs_one_word() {
    // 100 * 205 / 4096 = 5.0048828125; with the product beyond the ring, too.
    let n = 102_400;
    for (z, constant, floor, fraction) in [
        (100i64, Dyadic { factor: 205, shift: 12 }, 5, 0.004_882_812_5),
        ((1 << 29) + 12345, Dyadic { factor: 231, shift: 28 }, 462, 231.0 * 12345.0 / 268_435_456.0),
    ] {
        let got = play(&ScaleAlone(constant), &[Shared::Words(vec![u32::from_i64(z); n])], 3);
        let up = got.outputs[0].clone().words().iter().filter(|y| as_i64(**y) == floor + 1).count();
        let down = got.outputs[0].clone().words().iter().filter(|y| as_i64(**y) == floor).count();
        let expected = n as f64 * fraction;
        assert_eq!(up + down, n);
        assert!((up as f64 - expected).abs() < 6.0 * expected.sqrt(), "{up} rounded up, expected {expected}");
        assert_eq!(got.cost.rounds, 1);
        assert_eq!(got.cost.bytes, 4 * n as u64);
        assert_eq!(got.cost.dealt_bytes, n as u64 * (32 + u64::from(constant.shift) + 1) / 8);
    }
}

#[test]
fn constants_combine_and_fit_the_ring() {
    let rate = Dyadic { factor: 205, shift: 12 };
    assert_eq!(rate.times(Dyadic::ONE), rate);
    assert_eq!(rate.times(Dyadic { factor: 255, shift: 9 }), Dyadic { factor: 205 * 255, shift: 21 });
    assert_eq!(Dyadic { factor: 65535, shift: 16 }.times(rate), Dyadic { factor: 52479, shift: 20 });
    assert_eq!(rate.over::<u32>(18), Dyadic { factor: 205, shift: 30 });
    assert_eq!(rate.over::<u32>(20), Dyadic { factor: 51, shift: 30 });
    assert_eq!(rate.over::<u64>(20), Dyadic { factor: 205, shift: 32 });
    assert_eq!(rate.over::<u32>(200).factor, 0);
}
