//! Openings in narrow rings, truncation into them.

use crate::{harness::*, uniform::assert_uniform};
use symbolon_core::{
    kernel::packed_words,
    link::{Error, Fold},
    party::Party,
    protocol::{
        into_ring::{truncated_narrow, truncated_other, widen},
        narrow::{finish_narrow, open_narrow, prepare_narrow},
        truncate::{Cut, open},
    },
    word::Word,
};

/// Opens its first input, and once more together with the second in one round.
struct OpenNarrow(u32);

impl Job for OpenNarrow {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let (mut x, mut y) = (inputs.remove(0), inputs.remove(0));
        let mut again = x.clone();
        open_narrow(party, &mut x, self.0)?;
        let mut packed = vec![W::default(); packed_words::<W>(again.len(), self.0)];
        prepare_narrow(party, &mut again, self.0, &mut packed);
        party.exchange(&mut [(Fold::Swap, &mut packed), (Fold::Add, &mut y)])?;
        finish_narrow(party, &mut again, self.0, &packed)?;
        Ok([x, again, y].into_iter().map(|z| whole(party, z)).collect())
    }
}

/// An opened value as a shared one, so that the engines' results are compared.
fn whole<W: Word>(party: &Party<'_, W>, mut words: Vec<W>) -> Shared<W> {
    for w in &mut words {
        *w = party.role.first(*w);
    }
    Shared::Words(words)
}

fn opens<W: Word>() {
    let k = W::BITS;
    let mut values = Values(20);
    for (salt, n) in (0u64..).zip(LENGTHS) {
        for bits in [1, 3, 8, 13, 16, k - 1, k] {
            let x: Vec<W> = (0..n).map(|_| W::from_u64(values.next())).collect();
            let got = play(&OpenNarrow(bits), &[Shared::Words(x.clone()), Shared::Words(x.clone())], salt);
            let [once, again, other] = [0, 1, 2].map(|i| got.outputs[i].clone().words());
            for (e, x) in x.iter().enumerate() {
                let expected = as_u64(x.and(W::low_mask(bits)));
                assert_eq!([as_u64(once[e]), as_u64(again[e]), as_u64(other[e])], [expected, expected, as_u64(*x)]);
            }
            let words = 2 * packed_words::<W>(n, bits) + n;
            let cost = Cost { bytes: words as u64 * u64::from(k / 8), rounds: 2, dealt_bytes: 0 };
            assert_eq!(got.cost, cost);
        }
    }
}

#[test]
fn narrow_words_open() {
    opens::<u32>();
    opens::<u64>();
    // What packing is for: 11 of 32 bits.
    let got = play(&OpenNarrow(11), &[Shared::Words(vec![0u32; 320]), Shared::Words(vec![])], 1);
    assert_eq!(got.cost.bytes, 2 * 320 * 11 / 8);
}

#[test]
fn bits_above_the_narrow_ring_stay_home() {
    // One word: packing saves nothing, and the wire carries the whole word, its upper bits cleared.
    let got = play(&OpenNarrow(5), &[Shared::Words(vec![u32::MAX]), Shared::Words(vec![])], 2);
    assert!(got.sent.chunks(4).all(|w| w[0] < 32 && w[1..] == [0, 0, 0]), "{:?}", got.sent);
}

/// Opens a word and its truncated value in a narrow ring.
struct Into {
    frac_bits: u32,
    bits: u32,
}

impl Job for Into {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let mut z = inputs.remove(0);
        let mut draw = party.draw()?;
        let mut c = vec![W::default(); z.len()];
        let word = open(party, &mut draw, &z, Cut::signed(self.frac_bits), &mut c)?;
        truncated_narrow(party, &mut draw, &word, self.bits, &mut z)?;
        open_narrow(party, &mut z, self.bits)?;
        Ok(vec![whole(party, z)])
    }
}

fn truncates_into<W: Word>() {
    let k = W::BITS;
    let mut values = Values(21);
    for (salt, n) in (0u64..).zip(LENGTHS) {
        for (frac_bits, bits) in [(0, 1), (0, k), (7, 8), (7, k - 8), (7, k - 1), (7, k), (k / 2, 16), (k - 2, 2)] {
            let z: Vec<W> = values.truncatable(n, frac_bits);
            let got = play(&Into { frac_bits, bits }, &[Shared::Words(z.clone())], salt);
            for (z, y) in z.iter().zip(got.outputs[0].clone().words()) {
                let [down, up] =
                    [0, 1].map(|up| as_u64(W::from_i64((as_i64(*z) >> frac_bits) + up).and(W::low_mask(bits))));
                assert!(as_u64(y) == down || as_u64(y) == up && frac_bits > 0, "{z:?} >> {frac_bits} gave {y:?}");
            }
        }
    }
    // Dealt: o and m, where they reach the narrow ring.
    for (frac_bits, bits, dealt) in [(11, 8, 0u32), (11, k - 12, 0), (11, k - 11, 2), (11, k - 2, 20)] {
        let got = play(&Into { frac_bits, bits }, &[Shared::Words(vec![W::default(); 640])], 5);
        assert_eq!(got.cost.dealt_bytes, 640 / 8 * u64::from(dealt));
        assert_eq!(got.cost.bytes, 640 / 8 * u64::from(k - frac_bits + bits));
    }
}

#[test]
fn truncation_lands_in_a_narrow_ring() {
    truncates_into::<u32>();
    truncates_into::<u64>();
}

/// The bits of a word that another has room for; also of dry words.
fn image<V: Word, W: Word>(word: V) -> W {
    let mut out = [W::default()];
    for (o, b) in W::bytes_mut(&mut out).iter_mut().zip(V::bytes(&[word])) {
        *o = *b;
    }
    out[0]
}

/// Opens a word, truncates it into the other ring, and opens the result there: its memory image in words, with the peer's added.
struct Other(u32);

impl Job for Other {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let z = inputs.remove(0);
        let n = z.len();
        let mut draw = party.draw()?;
        let mut c = vec![W::default(); n];
        let word = open(party, &mut draw, &z, Cut::signed(self.0), &mut c)?;
        let mut y = vec![<W::Other>::default(); n];
        truncated_other(party, &mut draw, &word, &mut y)?;
        open_other(party, &y)
    }
}

/// Opens words of another ring: their low bits, then those above.
fn open_other<W: Word, V: Word>(party: &mut Party<'_, W>, y: &[V]) -> Result<Vec<Shared<W>>, Error> {
    let n = y.len();
    let mut wire = vec![W::default(); (n * V::BITS as usize).div_ceil(W::BITS as usize)];
    for (i, y) in W::bytes_mut(&mut wire).iter_mut().zip(V::bytes(y)) {
        *i = *y;
    }
    party.exchange(&mut [(Fold::Swap, &mut wire)])?;
    let mut theirs = vec![V::default(); n];
    for (t, i) in V::bytes_mut(&mut theirs).iter_mut().zip(W::bytes(&wire)) {
        *t = *i;
    }
    // The low bits of the sum, then what is above them.
    let sums = y.iter().zip(&theirs).map(|(y, t)| y.add(*t));
    let low = sums.clone().map(image).collect();
    let high = sums.map(|s| image(s.shr(W::BITS))).collect();
    Ok(vec![whole(party, low), whole(party, high)])
}

fn truncates_into_the_other<W: Word>() {
    let (k, other) = (W::BITS, W::Other::BITS);
    let mut values = Values(22);
    for (salt, n) in (0u64..).zip(LENGTHS) {
        for frac_bits in [0, 1, 7, k / 2, k - 2] {
            let z: Vec<W> = values.truncatable(n, frac_bits);
            let got = play(&Other(frac_bits), &[Shared::Words(z.clone())], salt);
            let [low, high] = [0, 1].map(|i| got.outputs[i].clone().words());
            for (e, z) in z.iter().enumerate() {
                let y = if other > k { as_u64(high[e]) << k | as_u64(low[e]) } else { as_u64(low[e]) };
                let [down, up] = [0, 1].map(|up| as_u64(<W::Other>::from_i64((as_i64(*z) >> frac_bits) + up)));
                assert!(y == down || y == up && frac_bits > 0, "{z:?} >> {frac_bits} gave {y:#x}");
            }
        }
    }
    let got = play(&Other(11), &[Shared::Words(vec![W::default(); 640])], 5);
    assert_eq!(got.cost.dealt_bytes, 640 / 8 * if other > k { 2 * 64 } else { 0 });
}

#[test]
fn truncation_lands_in_the_other_ring() {
    truncates_into_the_other::<u32>();
    truncates_into_the_other::<u64>();
}

/// Widens words and opens the results there.
struct Widen;

impl Job for Widen {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let z = inputs.remove(0);
        let mut y = vec![<W::Wide>::default(); z.len()];
        widen(party, &z, &mut y)?;
        open_other(party, &y)
    }
}

fn widens<W: Word>() {
    let k = W::BITS;
    let mut values = Values(23);
    for (salt, n) in (0u64..).zip(LENGTHS) {
        let z: Vec<W> = values.words(n, k - 2);
        let got = play(&Widen, &[Shared::Words(z.clone())], salt);
        let [low, high] = [0, 1].map(|i| got.outputs[i].clone().words());
        for (e, z) in z.iter().enumerate() {
            let y = if k < 64 { as_u64(high[e]) << k | as_u64(low[e]) } else { as_u64(low[e]) };
            assert_eq!(y.cast_signed(), as_i64(*z));
        }
    }
    let cost = play(&Widen, &[Shared::Words(vec![W::default(); 640])], 5).cost;
    // Beside the opening of the results: as documented.
    let (rounds, bytes, dealt) = if k < 64 { (1, 4, 16) } else { (0, 0, 0) };
    assert_eq!(cost, Cost { rounds: rounds + 1, bytes: 640 * (bytes + 8), dealt_bytes: 640 * dealt });
}

#[test]
fn words_become_wide_as_they_are() {
    widens::<u32>();
    widens::<u64>();
}

#[test]
fn what_widening_opens_is_uniform() {
    struct Alone;
    impl Job for Alone {
        fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
            let mut y = vec![<W::Wide>::default(); inputs[0].len()];
            widen(party, &inputs[0], &mut y).map(|()| vec![])
        }
    }
    assert_uniform(&Alone, &[Shared::Words((0..64u32).collect())]);
}
