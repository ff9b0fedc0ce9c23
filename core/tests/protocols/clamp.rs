//! Values held within limits.

use crate::{harness::*, uniform::assert_uniform};
use symbolon_core::{link::Error, party::Party, protocol::clamp::clamp, word::Word};

struct Clamp(i64, i64);

impl Job for Clamp {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let mut z = inputs.remove(0);
        clamp(party, &mut z, W::from_i64(self.0), W::from_i64(self.1))?;
        Ok(vec![Shared::Words(z)])
    }
}

fn clamps<W: Word>() {
    let mut values = Values(70);
    let edge = 1i64 << (W::BITS - 4);
    for (salt, n) in (0u64..).zip(LENGTHS) {
        for (low, high) in [(0, 2047), (-5, -5), (-edge, edge - 1)] {
            let near = [low - 1, low, low + 1, high - 1, high, high + 1];
            let z: Vec<i64> = near.into_iter().chain((0..).map(|_| values.signed(W::BITS - 3))).take(n).collect();
            let got = play(&Clamp(low, high), &[Shared::Words(z.iter().map(|z| W::from_i64(*z)).collect())], salt);
            for (z, y) in z.iter().zip(got.outputs[0].clone().words()) {
                assert_eq!(as_i64(y), *z.clamp(&low, &high), "{z} in [{low}, {high}]");
            }
            assert_eq!(got.cost.rounds, 4);
        }
    }
    // A word, and 21 or 42 and one bits a limit.
    let got = play(&Clamp(0, 9), &[Shared::Words(vec![W::default(); 640])], 5);
    let k = u64::from(W::BITS);
    assert_eq!(got.cost.bytes, 640 * (k + 2 * if k == 32 { 22 } else { 43 }) / 8);
}

#[test]
fn values_stay_within_limits() {
    clamps::<u32>();
    clamps::<u64>();
}

#[test]
fn clamping_sends_noise() {
    let z = (0..32).map(|i| i % 5).collect();
    assert_uniform::<u32>(&Clamp(1, 3), &[Shared::Words(z)]);
}
