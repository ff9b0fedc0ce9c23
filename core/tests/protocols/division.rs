//! Quotients: within their bound over the whole range of dividends and divisors, saturated beyond.

use crate::harness::*;
use symbolon_core::{
    function::{
        Numbers,
        division::{bound, divide, limits},
    },
    link::Error,
    party::Party,
    word::Word,
};

struct Divide(Numbers);

impl Job for Divide {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let (a, b) = inputs[0].split_at(inputs[0].len() / 2);
        let mut out = vec![W::default(); a.len()];
        divide(party, &self.0, (a, b), &mut out)?;
        Ok(vec![Shared::Words(out)])
    }
}

/// Pairs of every scale and sign, at the limits, by zero and by what is beyond.
fn pairs(numbers: &Numbers, count: usize) -> Vec<[i64; 2]> {
    let one = f64::from(1u32 << numbers.frac_bits);
    let [dividend, divisor, _] = limits(numbers).map(|limit| (limit * one) as i64);
    let mut values = Values(9);
    let mut scaled = |most: i64| {
        let shift = values.next() % u64::from(most.ilog2() + 1);
        values.next() as i64 % (most >> shift)
    };
    let mut all: Vec<[i64; 2]> = (0..count).map(|_| [scaled(dividend), scaled(divisor).abs().max(1)]).collect();
    let edge = 1i64 << (numbers.ring_bits - 3);
    let divisors =
        [1, 2, 3, 4, 5, divisor - 1, divisor, divisor + 1, 0, -1, -5, -divisor, 1000 * divisor, edge - 1, -edge];
    for b in divisors.into_iter().filter(|b| (-edge..edge).contains(b)) {
        all.extend([1 - dividend, -one as i64, -1, 0, 1, 7, one as i64, dividend - 1].map(|a| [a, b]));
    }
    all
}

fn held<W: Word>(numbers: &Numbers, pairs: &[[i64; 2]], out: Vec<W>) {
    let one = f64::from(1u32 << numbers.frac_bits);
    let ([_, divisor, quotient], bound) = (limits(numbers).map(|limit| limit * one), bound(numbers));
    for ([a, b], y) in pairs.iter().zip(out) {
        let (exact, y) = (*a as f64 / (*b as f64).clamp(1.0, divisor) * one, as_i64(y) as f64);
        if exact.abs() < quotient {
            let error = (y - exact).abs();
            assert!(error <= bound.units + bound.relative * exact.abs(), "{numbers:?} {a} / {b}: {y}, not {exact}");
        } else {
            let most = 5.4 * quotient;
            assert!(y * exact > 0.0 && (0.999 * quotient..=most).contains(&y.abs()), "{numbers:?} {a} / {b}: {y}");
        }
    }
}

fn sweep<W: Word>(frac_bits: u32) {
    let numbers = Numbers { ring_bits: W::BITS, frac_bits };
    let pairs = pairs(&numbers, 4000);
    let words = || -> Vec<W> { [0, 1].iter().flat_map(|i| pairs.iter().map(|pair| W::from_i64(pair[*i]))).collect() };
    let job = Divide(numbers);
    held(&numbers, &pairs, play(&job, &[Shared::Words(words())], 6).outputs[0].clone().words());
    for byte in [0, 0xff] {
        held(&numbers, &pairs, clear_under::<W>(&job, words(), [&Constant(byte), &Constant(0)]));
    }
}

#[test]
fn quotients_are_within_their_bound_and_saturate() {
    [8, 11, 13].into_iter().for_each(sweep::<u32>);
    [8, 12, 16, 20, 24].into_iter().for_each(sweep::<u64>);
}

/// The rounds of the documentation, bounds and limits that are of use.
#[test]
fn costs_and_limits_are_those_of_the_documentation() {
    fn cost<W: Word>(frac_bits: u32) -> Cost {
        let job = Divide(Numbers { ring_bits: W::BITS, frac_bits });
        play(&job, &[Shared::Words(vec![W::default(); 128])], 2).cost
    }
    assert_eq!([cost::<u32>(11).rounds, cost::<u64>(20).rounds], [15, 17]);
    for (ring_bits, frac_bits, units) in [(32, 11, 4.0), (64, 12, 2.0), (64, 20, 2.0)] {
        let bound = bound(&Numbers { ring_bits, frac_bits });
        println!("{ring_bits} {frac_bits} {bound:?} {:?}", limits(&Numbers { ring_bits, frac_bits }));
        assert!(bound.units <= units, "{bound:?}");
    }
}
