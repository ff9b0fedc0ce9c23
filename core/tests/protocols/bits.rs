//! Conjunctions, bits as words.

use crate::harness::*;
use symbolon_core::{
    kernel::{packed_words, plane_words},
    link::Error,
    party::Party,
    protocol::{
        bit::bits_to_words,
        conjunction::{conjunctions, hide_bits},
    },
    word::Word,
};

const TERMS: [u16; 5] = [0b1011, 0b0111, 0b11000, 0b1, 0b11111];

struct Ands(usize);

impl Job for Ands {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let mut variables = inputs.remove(0);
        let lanes = plane_words::<W>(self.0);
        let mut out = vec![W::default(); TERMS.len() * lanes];
        let mut draw = party.draw()?;
        let masks = hide_bits(party, &mut draw, &mut variables)?;
        party.open_bits(&mut variables)?;
        conjunctions(party, &mut draw, (&variables, masks), lanes, &TERMS, &mut out)?;
        Ok(vec![Shared::Planes(out, self.0)])
    }
}

fn conjunction<W: Word>() {
    let mut values = Values(4);
    for n in LENGTHS {
        let lanes = plane_words::<W>(n);
        let variables: Vec<W> = (0..5 * lanes).map(|_| W::from_u64(values.next() | values.next())).collect();
        let input = Shared::Planes(variables, n);
        let got = play(&Ands(n), std::slice::from_ref(&input), n as u64);
        for (t, term) in TERMS.iter().enumerate() {
            let bits = got.outputs[0].bits(t);
            let expected: Vec<bool> =
                (0..n).map(|e| (0..5).filter(|v| term >> v & 1 == 1).all(|v| input.bits(v)[e])).collect();
            assert_eq!(bits, expected);
        }
        assert_eq!(got.cost.bytes, (5 * lanes) as u64 * u64::from(W::BITS / 8));
        assert_eq!(got.cost.rounds, 1);
    }
}

#[test]
fn conjunctions_are_exact() {
    conjunction::<u32>();
    conjunction::<u64>();
}

struct ToWords(usize);

impl Job for ToWords {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let mut z = vec![W::default(); self.0];
        bits_to_words(party, &mut inputs[0], &[0, 5, 1], &mut z)?;
        Ok(vec![Shared::Words(z)])
    }
}

#[test]
fn bits_become_words() {
    fn check<W: Word>() {
        let mut values = Values(5);
        for n in LENGTHS {
            let planes: Vec<W> = (0..3 * plane_words::<W>(n)).map(|_| W::from_u64(values.next())).collect();
            let input = Shared::Planes(planes, n);
            let got = play(&ToWords(n), std::slice::from_ref(&input), n as u64);
            let [a, b, c] = [0, 1, 2].map(|i| input.bits(i));
            for (e, z) in got.outputs[0].clone().words().iter().enumerate() {
                assert_eq!(as_u64(*z), u64::from(a[e]) + 32 * u64::from(b[e]) + 2 * u64::from(c[e]));
            }
            let words: usize = [0, 5, 1].map(|shift| packed_words::<W>(n, W::BITS - shift)).iter().sum();
            assert_eq!(got.cost.dealt_bytes, words as u64 * u64::from(W::BITS / 8));
        }
    }
    check::<u32>();
    check::<u64>();
}
