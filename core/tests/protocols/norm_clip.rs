//! Clipping by norm: gradients below the bound keep their words but for rounding, longer ones are
//! scaled to it.

use crate::harness::*;
use symbolon_core::{link::Error, optimizer::NormClip, party::Party, word::Word};

/// Clips a gradient of two parts.
struct ByNorm(NormClip);

impl Job for ByNorm {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let mut gradient = inputs.remove(0);
        let mut open = vec![W::default(); gradient.len()];
        let half = gradient.len() / 2;
        let (first, second) = gradient.split_at_mut(half);
        let (open_first, open_second) = open.split_at_mut(half);
        let parts = [self.0.squares(party, first, open_first)?, self.0.squares(party, second, open_second)?];
        let scale = self.0.scale(party, parts[0].sum.add(parts[1].sum))?;
        self.0.apply(party, (&parts[0], open_first), scale, first)?;
        self.0.apply(party, (&parts[1], open_second), scale, second)?;
        Ok(vec![Shared::Words(gradient)])
    }
}

#[test]
fn norms_are_held_to_their_bound() {
    for (frac_bits, bound) in [(31, 1.0), (31, 0.03), (23, 5.0), (47, 1.0), (50, 1.0), (16, 0.75)] {
        let clip = NormClip { frac_bits, bound };
        assert!(clip.fits(64) && !clip.fits(32) && !NormClip { frac_bits: 51, ..clip }.fits(64));
        let unit = f64::from(frac_bits).exp2();
        let coarse = f64::from(clip.scale_bits()).exp2() / unit;
        let mut values = Values(3);
        let mut ratios = vec![0.0, 1e-3, 0.5, 0.9, 0.999, 1.001, 1.1, 2.0, 10.0, 300.0];
        ratios.retain(|ratio| ratio * bound < 60.0);
        for ratio in ratios {
            let real: Vec<f64> = (0..130).map(|_| (values.next() % 2001) as f64 - 1000.0).collect();
            let norm = real.iter().map(|g| g * g).sum::<f64>().sqrt();
            let real: Vec<f64> = real.iter().map(|g| g / norm * ratio * bound).collect();
            let words = real.iter().map(|g| ((g * unit).round() as i64).cast_unsigned()).collect::<Vec<u64>>();
            let got = play(&ByNorm(clip), &[Shared::Words(words)], 8);
            let expected = if ratio > 1.0 { 1.0 / ratio } else { 1.0 };
            for (g, word) in real.iter().zip(got.outputs[0].clone().words()) {
                let error = (as_i64(word) as f64 / unit - g * expected).abs();
                // The scale to 2^-8 of it and a unit of its own, and a rounded element.
                let most =
                    (g * expected).abs() / 256.0 + g.abs() * 2.0 / f64::from(clip.scale_bits()).exp2() + 1.5 * coarse;
                assert!(error <= most, "{clip:?}, {ratio} bounds: {g} became {}", as_i64(word) as f64 / unit);
            }
        }
    }
}

/// The rounds of the documentation, and what a parameter sends and is dealt.
#[test]
fn norms_cost_what_the_documentation_says() {
    let clip = NormClip { frac_bits: 31, bound: 1.0 };
    let cost = |n: usize| play(&ByNorm(clip), &[Shared::Words(vec![0u64; n])], 9).cost;
    // Of two parts, the first and the last round are two.
    let (first, second) = (cost(128), cost(256));
    assert_eq!(first.rounds, 19 + 2);
    let s = u64::from(clip.scale_bits());
    assert_eq!(second.bytes - first.bytes, 128 * (64 - s) / 8);
    assert_eq!(second.dealt_bytes - first.dealt_bytes, 128 * (2 * 64 + 4 * s + 3) / 8);
}
