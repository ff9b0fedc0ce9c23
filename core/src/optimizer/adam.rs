//! Adam (Kingma, Ba, ICLR 2015), without an inverse square root.

use super::{
    Dyadic, Moment, Optimizer, State, amsgrad,
    inverse_root::InverseRoot,
    schedule::{nearest, power, scheduled},
};
use crate::{
    correlation::{Draw, View},
    kernel::plane_words,
    link::Error,
    party::Party,
    protocol::{
        bit::bits_to_words,
        buckets::{MOST, buckets},
        masked::{Masked, mask_and_open},
        scaled::scaled,
        square::square,
        times::times_masked,
        truncate::{Cut, Opened, open, open_two, truncated},
    },
    word::Word,
};
use core::ops::Range;

/// `m += 410/4096 (g - m)`, `v += (g^2 - v) / 2^second_shift`, `w -= m >> s(v)`.
///
/// Only the bucket of `v` matters, of `T + 1` buckets between `T` thresholds: `s = shift` where
/// `v < 2^first_threshold_log2`, one more for each factor of four above, `shift + T` from
/// `2^(first_threshold_log2 + 2 T - 2)` on. The lowest bucket stands in for epsilon. So the
/// division is a product with `P = 2^(T - thresholds passed)` and a truncation:
///
/// 1. Open the gradient `G` for `g`; `g^2` for nothing.
/// 2. In one round open `M = 3686 m + 410 g` for `m' = M >> 12`, and
///    `U = (2^second_shift - 1) v + g^2` for `v' = U >> second_shift`.
/// 3. `T` bits from the word of `v'` ([`buckets`](crate::protocol::buckets)); open them masked, sum
///    them up to `P`,
///    open `P - p` under a mask `p`.
/// 4. `m' P` from `M`'s word, nothing opened. Open it; `w -= m' P >> (T + shift)`, the public rate
///    folded in.
///
/// With `first_threshold_log2 = 2` and [`Adam::thresholds`] the buckets cover every `v` that the
/// word holds: with `rate = 2^(first_threshold_log2/2 - shift - 1 - f)`, the step lies between 0.86
/// and 2 times `rate m / sqrt(v)` wherever `v` is 4 units or more. A narrower window, for less
/// cost, replaces a `v` outside of it by its nearer end. There the step grows with the gradient
/// (above) or vanishes with it (below).
///
/// - **Cost:** 7 rounds, and bytes each way / dealt a parameter: `k = 64` 52.5 / 282 with all 26
///   thresholds, 40.8 / 110 with six; `k = 32` 20.6 / 75 with all ten, 19.1 / 58 with six. With
///   kept buckets 3 rounds and 26.6 / 31, 10.8 / 23; lazily 19.9 / 18.6, 8 / 14.4. All with the
///   steps of six thresholds and the shifts of the two rings (`grad_shift` 12 and 14, `shift` 3 and
///   0), and a rate that is a power of two; another costs a word dealt and some bits each way more
///   ([`crate::protocol::scaled`]).
/// - **Result:** all roundings unbiased within one unit; thresholds with a public dither of less
///   than a quarter of them.
/// - **Needs:** for `g` of `fg` bits, `v` of `2 fg`: `|G| < 2^(k-2)`,
///   `|g| < 2^(k/2 - 1)`, `fg + 12 <= k - 2`, `U < 2^(k-1)`. `|m' P|` then stays below `2^(k-2)`,
///   whatever `v` is.
/// - **Memory:** about ten words of scratch a parameter with a window of six thresholds, 20 with
///   26; six and a half with kept buckets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Adam {
    /// Fraction bits of the gradient beyond those of `m`, and the batch's logarithm: `2 f +
    /// log2(batch) - fg`.
    pub grad_shift: u32,
    /// Base-two logarithm of the first threshold on `v`, 2 at least.
    pub first_threshold_log2: u32,
    /// Thresholds, a factor of four apart.
    pub thresholds: u32,
    /// Shift of the lowest bucket; it may be negative.
    pub shift: i32,
    /// `1 - beta2 = 2^-second_shift`: 10, or 8 where `v` is updated in one of four steps.
    pub second_shift: u32,
    /// Whether `v` is updated only where buckets are chosen anew.
    pub lazy_second_moment: bool,
    /// Steps that a choice of buckets is kept for, after [`Adam::FRESH_STEPS`]; 1 chooses in each.
    pub refresh_every: u32,
    /// Takes `P` from a mapped inverse root instead of a bucket's: steps are `rate m / sqrt(v)`
    /// within a few percent. The number are the low bits of `v` that the root drops; even, and with
    /// them `v` up to `2^36` times as large have a root of their own, of `k = 32` `2^16`. Thresholds
    /// then only name the scale, and have to be all, from 4 on.
    pub mapped_root: Option<u32>,
    /// Whether steps are multiplied by [`Adam::correction`].
    pub bias_correction: bool,
    /// Multiplies all steps: the part of the learning rate that `shift` leaves, from 1 to 2.
    pub rate: Dyadic,
}

/// The first and second moments `m` and `v` of each parameter, shared. They begin as zeros.
pub struct Moments<'a, W> {
    /// `m`.
    pub first: &'a mut [W],
    /// `v`, never negative.
    pub second: &'a mut [W],
}

/// A choice of buckets that later steps reuse: the public words `P - p` and the name of the mask
/// `p`. Masked and opened once. Not part of a checkpoint: a step without it chooses again.
#[derive(Debug)]
pub struct Kept<'a, W> {
    /// `P - p`; the caller's buffer.
    pub words: &'a mut [W],
    /// Names `p`; `None` before the first choice.
    pub mask: &'a mut Option<View<'static>>,
}

/// The public inputs of one step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Turn {
    /// Whether to choose buckets again, or to reuse the last choice if there is one.
    pub choose: bool,
    /// Multiplies the step: a learning-rate schedule, [`Adam::correction`], or their product
    /// ([`Dyadic::times`]).
    pub rate: Dyadic,
    /// The fraction of the weights that the step takes off beside: [`super::AdamW`]'s.
    pub decay: Option<Dyadic>,
}

impl Adam {
    /// `1 - beta1` is this over `2^BETA1_SHIFT`: 0.1.
    pub const BETA1_COMPLEMENT: u32 = 410;
    /// See [`Self::BETA1_COMPLEMENT`].
    pub const BETA1_SHIFT: u32 = 12;
    /// Steps in which buckets are always chosen anew.
    pub const FRESH_STEPS: u64 = 16;
    /// Steps after which the bias correction is 1: eight times those that `v` remembers, after
    /// which `beta2` has decayed below `2^-11`.
    pub const CORRECTED_STEPS: u64 = 8 << 10;

    /// Thresholds from `2^first_threshold_log2` on that cover every `v` of a word of `bits` bits:
    /// at most a factor of four lies above the last.
    pub const fn thresholds(bits: u32, second_shift: u32, first_threshold_log2: u32) -> u32 {
        bits.saturating_sub(1 + second_shift + first_threshold_log2).div_ceil(2)
    }

    /// Makes one step with the inputs `turn`. `gradient` is overwritten.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    ///
    /// # Panics
    ///
    /// If lengths differ or a constant is out of range.
    pub fn turn<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        (gradient, weights): (&mut [W], &mut [W]),
        moments: Moments<'_, W>,
        kept: &mut Kept<'_, W>,
        turn: Turn,
    ) -> Result<(), Error> {
        self.run(party, (gradient, weights), moments, None, kept, turn)
    }

    /// How often buckets are chosen in the first `steps` steps.
    pub fn choices(&self, steps: u64) -> u64 {
        let (fresh, refresh_every) = (Self::FRESH_STEPS, u64::from(self.refresh_every.max(1)));
        if steps <= fresh { steps } else { fresh + steps.div_ceil(refresh_every) - fresh.div_ceil(refresh_every) }
    }

    /// Whether the buckets are chosen anew in this step, counted from 0.
    pub fn refreshes(&self, step: u64) -> bool {
        step < Self::FRESH_STEPS || step.is_multiple_of(u64::from(self.refresh_every.max(1)))
    }

    /// The public inputs of a step: buckets, and the product of all rates.
    pub(super) fn turn_at(&self, at: Moment, decay: Option<Dyadic>) -> Turn {
        let count = at.step + 1;
        let updates = if self.lazy_second_moment { self.choices(count) } else { count };
        let rate = if self.bias_correction { self.correction(count, updates) } else { Dyadic::ONE };
        let rate = scheduled(scheduled(rate, self.rate), at.rate);
        Turn { choose: self.refreshes(at.step), rate, decay }
    }

    /// [`Self::run`] on the state of an [`Optimizer`]: `m`, `v` and what `passed` leaves.
    pub(super) fn take<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        (gradient, weights): (&mut [W], &mut [W]),
        State { durable, volatile, mask }: State<'_, W>,
        passed: Option<&mut [W]>,
        turn: Turn,
    ) -> Result<(), Error> {
        let (first, second) = durable.split_at_mut(gradient.len());
        let kept = &mut Kept { words: volatile, mask };
        self.run(party, (gradient, weights), Moments { first, second }, passed, kept, turn)
    }

    /// Adam, AdamW, and AMSGrad, whose planes of state are `passed`.
    pub(super) fn run<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        (gradient, weights): (&mut [W], &mut [W]),
        Moments { first: m, second: v }: Moments<'_, W>,
        passed: Option<&mut [W]>,
        kept: &mut Kept<'_, W>,
        turn: Turn,
    ) -> Result<(), Error> {
        let n = gradient.len();
        assert!([weights.len(), m.len(), v.len(), kept.words.len()] == [n; 4], "adam: lengths differ");
        let choose = turn.choose || kept.mask.is_none();
        let update = choose || !self.lazy_second_moment;
        let mut draws = [party.draw()?, party.draw()?, party.draw()?];
        // Buffers of opened words: c of the gradient, of M, of m' P in turn; d of g^2, then of U.
        let ([c, d], mut party) = party.scratch([n, if update { n } else { 0 }])?;

        let word = open(&mut party, &mut draws[0], gradient, Cut::signed(self.grad_shift), c)?; // the gradient's round
        if update {
            square(&mut party, &mut draws[0], &word, gradient, d)?;
        } else {
            truncated(&mut party, &mut draws[0], &word, gradient)?;
        }

        let beta = Self::BETA1_COMPLEMENT.into();
        party.kernels.blend(m, W::from_u64((1 << Self::BETA1_SHIFT) - beta), gradient, W::from_u64(beta));
        let cut = Cut::signed(Self::BETA1_SHIFT);
        let word = if update {
            party.kernels.blend(v, W::low_mask(self.second_shift), d, W::from_u64(1));
            let words = [(&*m, cut), (&*v, Cut::unsigned(self.second_shift))];
            let [first, second] = open_two(&mut party, &mut draws[1], words, [c, &mut *d])?; // both moments' round
            if choose && self.mapped_root.is_none() {
                self.choose(&mut party, &second, passed, kept)?;
            }
            truncated(&mut party, &mut draws[1], &second, v)?;
            if let (true, Some(root)) = (choose, self.inverse_root(W::BITS)) {
                root.choose(&mut party, v, kept)?;
            }
            first
        } else {
            open(&mut party, &mut draws[1], m, cut, c)?
        };
        truncated(&mut party, &mut draws[1], &word, m)?;

        gradient.copy_from_slice(m);
        let factor = Masked { words: kept.words, mask: kept.mask.expect("chosen above, where it was not before") };
        times_masked(&mut party, &mut draws[1], &word, factor, gradient)?;
        let rate = turn.rate.over::<W>((self.thresholds + self.surplus(W::BITS)).saturating_add_signed(self.shift));
        step_off(&mut party, &mut draws[2], (gradient, rate), (weights, turn.decay), c)
    }

    /// Bits that a step's product loses beyond those of a bucket's.
    ///
    /// # Panics
    ///
    /// If a mapped root has fewer bits than thresholds stand for.
    pub fn surplus(&self, ring_bits: u32) -> u32 {
        self.inverse_root(ring_bits).map_or(0, |root| root.surplus)
    }

    fn inverse_root(&self, ring_bits: u32) -> Option<InverseRoot> {
        let scale = (self.thresholds, self.first_threshold_log2);
        self.mapped_root.map(|dropped| InverseRoot::new(ring_bits, dropped, scale))
    }

    /// `P` of the bucket that `v` lies in, opened as `P - p`: four rounds, five for AMSGrad.
    fn choose<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        word: &Opened<'_, W>,
        passed: Option<&mut [W]>,
        kept: &mut Kept<'_, W>,
    ) -> Result<(), Error> {
        let thresholds = self.thresholds as usize;
        assert!((1..=MOST).contains(&thresholds), "adam: no such number of thresholds");
        assert!(self.first_threshold_log2 >= 2, "adam: a threshold below four units");
        let n = word.c.len();
        let ([t], mut party) = party.scratch([thresholds * plane_words::<W>(n)])?;
        // t_1 = [v < 4 2^(first_threshold_log2 - 2)].
        buckets(&mut party, word, (self.first_threshold_log2 - 2, thresholds), t)?;
        if let Some(passed) = passed {
            amsgrad::maximum(&mut party, t, passed, plane_words::<W>(n))?;
        }
        let mut shifts = [0; MOST];
        (0..self.thresholds).rev().zip(&mut shifts).for_each(|(shift, place)| *place = shift);
        bits_to_words(&mut party, t, &shifts[..thresholds], kept.words)?;
        party.kernels.add_constant(kept.words, party.role.first(W::from_u64(1)));
        let mask = party.draw()?.mask(n);
        *kept.mask = Some(mask_and_open(&mut party, kept.words, mask)?);
        Ok(())
    }

    /// The bias correction `sqrt(1 - beta2^updates) / (1 - beta1^steps)` to eight bits, for the
    /// step that is number `steps` counted from 1 and makes `updates` updates of `v`. In integers,
    /// so that all parties have the same.
    pub fn correction(&self, steps: u64, updates: u64) -> Dyadic {
        let beta1 = ONE - (u64::from(Self::BETA1_COMPLEMENT) << (FRAC_BITS - Self::BETA1_SHIFT));
        let beta2 = ONE - (ONE >> self.second_shift);
        let left = |beta: u64, times: u64| u128::from(ONE) - power(beta.into(), times.max(1), FRAC_BITS);
        let root = (left(beta2, updates) << FRAC_BITS).isqrt();
        let ratio = (root << FRAC_BITS) / left(beta1, steps);
        nearest(ratio, FRAC_BITS)
    }
}

impl<W: Word> Optimizer<W> for Adam {
    /// Durable: `m`, then `v`. Volatile: the last choice of buckets.
    fn state(&self, n: usize) -> [usize; 2] {
        [2 * n, n]
    }

    fn step(
        &self,
        party: &mut Party<'_, W>,
        at: Moment,
        gradient: &mut [W],
        weights: &mut [W],
        state: State<'_, W>,
    ) -> Result<(), Error> {
        self.take(party, (gradient, weights), state, None, self.turn_at(at, None))
    }

    fn period(&self) -> [u64; 2] {
        let keeps = self.refresh_every > 1;
        let corrected = if self.bias_correction { Self::CORRECTED_STEPS } else { 0 };
        let fresh = if keeps { Self::FRESH_STEPS } else { 0 };
        [corrected.max(fresh), u64::from(self.refresh_every.max(1))]
    }

    fn second_moments(&self, n: usize) -> Range<usize> {
        n..2 * n
    }
}

/// `w -= rate z + decay w`, all opened in one round into `c` and a buffer of its own.
fn step_off<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    (z, rate): (&mut [W], Dyadic),
    (weights, decay): (&mut [W], Option<Dyadic>),
    c: &mut [W],
) -> Result<(), Error> {
    let Some(decay) = decay else {
        let word = open(party, draw, z, rate.cut(), c)?; // the step's round
        scaled(party, draw, &word, rate, z)?;
        party.kernels.sub(weights, z);
        return Ok(());
    };
    let ([d, loss], mut party) = party.scratch([z.len(); 2])?;
    let words = [(&*z, rate.cut()), (&*weights, decay.cut())];
    let [word, own] = open_two(&mut party, draw, words, [c, d])?; // the step's round
    scaled(&mut party, draw, &word, rate, z)?;
    scaled(&mut party, draw, &own, decay, loss)?;
    party.kernels.sub(weights, z);
    party.kernels.sub(weights, loss);
    Ok(())
}

/// Fraction bits of the powers in [`Adam::correction`].
const FRAC_BITS: u32 = 32;
const ONE: u64 = 1 << FRAC_BITS;
