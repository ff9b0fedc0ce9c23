//! What an opened word gives beyond its truncated value: the square, products with masked values, multiples by public constants.

use crate::harness::*;
use symbolon_core::{
    kernel::packed_words,
    link::Error,
    party::Party,
    protocol::{
        masked::{Masked, mask_and_open},
        scaled::{Dyadic, MAX_DROP_ERROR, scale, scaled},
        square::square,
        times::times_masked,
        truncate::{Cut, half, open},
    },
    word::Word,
};

struct Square(u32);

impl Job for Square {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let mut y = inputs.remove(0);
        let mut squared = vec![W::default(); y.len()];
        let (mut draw, mut c) = (party.draw()?, y.clone());
        let word = open(party, &mut draw, &y, Cut::signed(self.0), &mut c)?;
        square(party, &mut draw, &word, &mut y, &mut squared)?;
        Ok(vec![Shared::Words(y), Shared::Words(squared)])
    }
}

fn squares<W: Word>() {
    let (k, mut values) = (W::BITS, Values(11));
    for n in LENGTHS {
        for frac_bits in [1, 2, 12, k / 2 - 1] {
            let z: Vec<W> = values.truncatable(n, frac_bits);
            let got = play(&Square(frac_bits), &[Shared::Words(z.clone())], n as u64);
            let [y, squared] = [0, 1].map(|i| got.outputs[i].clone().words());
            let u = got.dithers.of(frac_bits);
            for i in 0..n {
                assert_eq!(i128::from(as_i64(y[i])), rounded(as_i64(z[i]).into(), u[i], frac_bits));
                assert_eq!(as_u64(squared[i]), as_u64(y[i].mul(y[i])));
            }
            let bytes = packed_words::<W>(n, k - frac_bits) * k as usize / 8;
            assert_eq!((got.cost.rounds, got.cost.bytes), (1, bytes as u64));
        }
    }
    let got = play(&Square(12), &[Shared::Words(vec![W::from_i64(-77 << 12); 640])], 5);
    assert_eq!(got.cost.dealt_bytes, 640 * (u64::from(k) + 12 + 2 * 13) / 8);
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
        let (mut draw, mut c) = (party.draw()?, z.clone());
        let word = open(party, &mut draw, &z, Cut::signed(self.0), &mut c)?;
        square(party, &mut draw, &word, &mut z, &mut squared)?;
        times_masked(party, &mut draw, &word, Masked { words: &factor, mask }, &mut z)?;
        Ok(vec![Shared::Words(z)])
    }
}

fn products<W: Word>() {
    let (k, mut values) = (W::BITS, Values(12));
    for n in LENGTHS {
        for frac_bits in [1, 9, k / 2 - 1] {
            let (z, p): (Vec<W>, Vec<W>) = (values.truncatable(n, frac_bits), values.words(n, k - 2));
            let got = play(&Times(frac_bits), &[Shared::Words(z.clone()), Shared::Words(p.clone())], n as u64);
            let (product, u) = (got.outputs[0].clone().words(), got.dithers.of(frac_bits));
            for i in 0..n {
                let y = rounded(as_i64(z[i]).into(), u[i], frac_bits);
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
        let (mut draw, mut c, mut y) = (party.draw()?, z.clone(), z.clone());
        let cut = if self.1 { Cut::unsigned(self.0.cut::<W>().dropped()) } else { self.0.cut() };
        let word = open(party, &mut draw, &z, cut, &mut c)?;
        scaled(party, &mut draw, &word, self.0, &mut y)?;
        Ok(vec![Shared::Words(y), Shared::Public(c)])
    }
}

/// `floor((factor y + 2^f - 1 - v) / 2^f)` with `v = factor c mod 2^f`, `y` truncated with the
/// dither `u`, in wide integers.
fn scaled_by<W: Word>(z: W, [u, c]: [u64; 2], Dyadic { factor, shift }: Dyadic, dropped: u32) -> i128 {
    let (y, f) = (rounded(as_i64(z).into(), u, dropped), shift - dropped);
    let v = (i128::from(factor) * i128::from(c)).rem_euclid(1 << f);
    rounded(i128::from(factor) * y, v as u64, f)
}

fn scales<W: Word>() {
    let (k, mut values) = (W::BITS, Values(13));
    for n in LENGTHS {
        for factor in [0, 1, 2, 205, 255, 3686, 65535] {
            for shift in [0, 1, 11, 12, 16, 17, k / 2, k - 8, k - 3, k - 2] {
                let constant = Dyadic { factor, shift };
                let dropped = constant.cut::<W>().dropped();
                for unsigned in [false, true] {
                    let mut z: Vec<W> = values.truncatable(n, dropped);
                    if unsigned {
                        z.iter_mut().for_each(|z| *z = z.add(half()));
                    }
                    let got =
                        play(&Scale(constant, unsigned), &[Shared::Words(z.clone())], u64::from(factor) ^ n as u64);
                    let [y, c] = [0, 1].map(|i| got.outputs[i].clone().words());
                    let u = if dropped == 0 { vec![0; n] } else { got.dithers.of(dropped) };
                    for i in 0..n {
                        let expected = scaled_by(z[i], [u[i], as_u64(c[i])], constant, dropped);
                        assert_eq!(as_u64(y[i]), as_u64(W::from_i64(expected as i64)), "{:?} {factor} {shift}", z[i]);
                        // A unit, and what was dropped.
                        let exact = as_i64(z[i]) as f64 * f64::from(factor) / f64::from(shift).exp2();
                        assert!(
                            (expected as f64 - exact).abs() <= 1.0 + MAX_DROP_ERROR + exact.abs() * f64::EPSILON,
                            "{:?} {factor} {shift}",
                            z[i]
                        );
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
fn scaling_is_unbiased_and_opens_the_bits_it_needs() {
    // 100 * 205 / 4096 = 5.0048828125; with the product beyond the ring, too. 231 has 8 bits: with
    // 2 more, 18 of 28 are dropped.
    let n = 102_400;
    for (z, constant, bits) in [
        (100i64, Dyadic { factor: 205, shift: 12 }, [30, 32 + 13]),
        ((1 << 29) + 12345, Dyadic { factor: 231, shift: 28 }, [14, 32 + 29]),
        ((1 << 29) + 12345, Dyadic { factor: 32, shift: 28 }, [9, 2 * 24]),
    ] {
        let got = play(&ScaleAlone(constant), &[Shared::Words(vec![u32::from_i64(z); n])], 3);
        let exact = z as f64 * f64::from(constant.factor) / f64::from(constant.shift).exp2();
        let mean = got.outputs[0].clone().words().iter().map(|y| as_i64(*y) as f64).sum::<f64>() / n as f64;
        assert!((mean - exact).abs() < 6.0 * 0.6 / (n as f64).sqrt(), "mean {mean} for {exact}");
        let [bytes, dealt_bytes] = bits.map(|bits| n as u64 * bits / 8);
        assert_eq!(got.cost, Cost { bytes, rounds: 1, dealt_bytes });
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
