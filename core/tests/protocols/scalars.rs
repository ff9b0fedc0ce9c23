//! Functions of one number by every method: their errors over their whole domains.

use crate::harness::*;
use symbolon_core::{
    function::{
        method::mapping::{Mapping, Numbers},
        scalar::{AnyScalar, Family, Scalar},
    },
    link::Error,
    party::Party,
    word::Word,
};

struct Apply {
    scalar: AnyScalar,
    method: Mapping,
    numbers: Numbers,
    slope: bool,
}

impl Job for Apply {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let x = inputs.remove(0);
        let (mut out, mut slope) = (vec![W::default(); x.len()], vec![W::default(); x.len()]);
        let wanted = self.slope.then_some(&mut slope[..]);
        self.method.apply(party, &self.scalar, &self.numbers, (&x, &mut out), wanted)?;
        Ok(if self.slope { vec![Shared::Words(out), Shared::Words(slope)] } else { vec![Shared::Words(out)] })
    }
}

/// Values in units over a domain and far beyond.
fn values(scalar: &AnyScalar, method: &Mapping, numbers: &Numbers) -> Vec<i64> {
    let one = f64::from(1u32 << numbers.frac_bits);
    let edge = 1i64 << (numbers.ring_bits - 3);
    let n = 1i64 << numbers.octaves();
    let [low, high] = match scalar.family() {
        Family::Octaves(_) => [-5, n + 5],
        Family::Turns => [(-30.0 * one) as i64, (30.0 * one) as i64],
        _ => method.interval.map(|x| (x * one) as i64),
    };
    let span = high - low;
    let step = (span / 20_000).max(1);
    let mut all: Vec<i64> = (0..=span / step + 1).map(|i| low - step / 2 + i * step).collect();
    let mut values = Values(5);
    all.extend((0..5000).map(|_| 1 + (values.next() as i64 & (n - 1)) >> (values.next() % 36).min(numbers.octaves().into())));
    all.extend(-40..40);
    all.extend([low, high].into_iter().flat_map(|x| [x - 1, x, x + 1, 10 * x, -10 * x, (1000 * x).clamp(-edge, edge - 1)]));
    all.extend([edge - 1, -edge]);
    all.retain(|x| (-edge..edge).contains(x));
    if scalar.family() == Family::Turns {
        all.retain(|x| x.abs() <= (32.0 * one) as i64);
    }
    all
}

fn sweep<W: Word>(scalar: AnyScalar, frac_bits: u32) {
    let numbers = Numbers { ring_bits: W::BITS, frac_bits };
    let method = Mapping::suited(&scalar, &numbers);
    let fits = method.check(&scalar, &numbers);
    let job = Apply { scalar, method, numbers, slope: false };
    let x = values(&scalar, &method, &numbers);
    let one = f64::from(1u32 << frac_bits);
    let y = clear::<W>(&job, x.iter().map(|x| W::from_i64(*x)).collect());
    let (mut units, mut relative, mut at) = (0f64, 0f64, [0.0; 2]);
    for (x, y) in x.iter().zip(y) {
        let x = *x as f64 / one;
        let expected = match scalar.family() {
            Family::Interval => scalar.ends(method.interval).beyond(method.interval, x).unwrap_or(scalar.value(x)),
            Family::Octaves(_) => scalar.value(x.clamp(1.0 / one, f64::from(1u32 << 16).powi(2))),
            _ => scalar.value(x),
        };
        let error = (as_i64(y) as f64 - expected * one).abs();
        if expected.abs() <= 1.0 && error > units { (units, at[0]) = (error, x) }
        if expected.abs() > 1.0 && error / expected.abs() > relative { (relative, at[1]) = (error / expected.abs(), x) }
    }
    let words: Vec<W> = x.iter().rev().take(640).map(|x| W::from_i64(*x)).collect();
    let cost = play(&job, &[Shared::Words(words)], 3).cost;
    println!("{:20} k {} f {frac_bits:2} degree {} bits {} {fits:?}: {units:6.2} units at {:.4}, 2^{:.1} at {:.4}; {} rounds {:.1} bytes {:.0} dealt", scalar.name(), W::BITS, method.degree, method.bits, at[0], (relative / one).log2(), at[1], cost.rounds, cost.bytes as f64 / 640.0, cost.dealt_bytes as f64 / 640.0);
}

#[test]
fn errors() {
    for scalar in AnyScalar::all().filter(|s| s.family() != Family::Comparison) {
        [8, 11, 12, 13].into_iter().for_each(|f| sweep::<u32>(scalar, f));
        [12, 16, 20, 24].into_iter().for_each(|f| sweep::<u64>(scalar, f));
    }
}
