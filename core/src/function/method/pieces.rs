//! By mapping: constants, lines, parabolas, up to quartics on cells of one width.
//!
//! The cell of a value is looked up by a [mapping](crate::mapping); where in the cell it lies, each
//! server holds a share already, namely what its own truncation drops: `d = u_0 + u_1 + 1 - 2^s`,
//! exactly the value less the centre of the cell that it takes. So the fraction costs no
//! truncation, only a mask. The polynomial in `d` has shared coefficients, and is evaluated by
//! Horner's rule.
//!
//! A value takes either of the two cells whose centres are beside it, so a piece serves both its
//! neighbours' halves: it is fitted to two cells' width.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** a mapping's rounds; for degree `n > 0` `n + 1` more. Each way the mapping's bits
//!   and, for `n > 0`, `n + 1` words for the fraction and the coefficients but the first, `n - 1`
//!   times `k - s` bits and `k - s - g` bits. Where the function grows, two words more.
//! - **Result:** within [`Function::bound`](super::Function::bound).
//! - **Memory:** the tables, 2 kB a coefficient, up to three times on the stack; scratch as a dry
//!   run says.
//! - **Source:** tables by precision, scale and sign; the free fraction is derived here.

use crate::{
    correlation::{Draw, View},
    function::Table,
    kernel::packed_words,
    link::{Error, Fold},
    mapping::{Domain, Mapping, Saturation, mapped},
    party::{Party, Role},
    protocol::{
        masked::{Masked, hide, mask_and_open},
        narrow::{finish_narrow, prepare_narrow},
        product::multiply,
        times::times_masked,
        truncate::{Cut, Opened, blind_cut, open, truncate},
    },
    word::Word,
};

/// Degree of the pieces at most.
pub const MAX_DEGREE: u8 = 4;

/// The tables of a function over cells, and the numbers that go with them.
#[derive(Clone, Debug)]
pub struct Cells<const TABLES: usize> {
    /// Which bits of the value are the cell.
    pub domain: Domain,
    /// Degree of the pieces.
    pub degree: usize,
    /// Bits of the fraction that count.
    pub kept: u32,
    /// Fraction bits of the coefficients beyond the result's.
    pub guard: u32,
    /// Coefficients, lowest first, by powers of the fraction, in cells; then the slope if there is
    /// one, then the growth.
    pub tables: [Table; TABLES],
    /// For each table, the entry below the domain and above; `None` where values wrap or never
    /// leave it.
    pub beyond: Option<[[i64; TABLES]; 2]>,
    /// Whether the last table is a factor of the value itself.
    pub grows: bool,
}

impl<const TABLES: usize> Cells<TABLES> {
    /// `out = g(z)`, and `slope = g'(z)` if there is a table of it. `z` is counted from the
    /// domain's lower end; `value` is what grows, with the result's fraction bits.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    ///
    /// # Panics
    ///
    /// If lengths differ.
    pub fn apply<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        (z, value): (&[W], Option<&[W]>),
        out: &mut [W],
        slope: Option<&mut [W]>,
    ) -> Result<(), Error> {
        let ([held], mut party) = party.scratch([if self.grows { z.len() } else { 0 }])?;
        if let (true, Some(value)) = (self.grows, value) {
            held.copy_from_slice(value);
        }
        self.evaluate(&mut party, (z, held), true, out, slope)?;
        Ok(())
    }

    /// `out = g(z)` with [`Self::surplus`] more fraction bits; `beside` is masked in the first
    /// round, in place, under the mask that is returned.
    ///
    /// # Errors
    ///
    /// As [`Self::apply`].
    ///
    /// # Panics
    ///
    /// If lengths differ, or the function grows.
    pub(super) fn untruncated<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        (z, beside): (&[W], &mut [W]),
        out: &mut [W],
    ) -> Result<View<'static>, Error> {
        assert!(!self.grows, "what grows is truncated first");
        self.evaluate(party, (z, beside), false, out, None)
    }

    /// Fraction bits of a value before its truncation beyond the result's.
    pub(super) fn surplus(&self) -> u32 {
        if self.degree > 0 { self.kept + self.guard } else { 0 }
    }

    /// [`Self::apply`], or without its truncation; `beside`, the value itself of a function that
    /// grows, is masked.
    fn evaluate<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        (z, beside): (&[W], &mut [W]),
        truncates: bool,
        out: &mut [W],
        slope: Option<&mut [W]>,
    ) -> Result<View<'static>, Error> {
        let n = z.len();
        let tables: [&[i64]; TABLES] = core::array::from_fn(|i| &self.tables[i][..self.domain.cells()]);
        let beyond = self.beyond.as_ref().map(|[below, above]| Saturation { below, above, range: None });
        let mapping = Mapping { domain: self.domain, tables: &tables, one_hot: None, beyond };
        let has_fraction = self.degree > 0;
        let grown = if self.grows { n } else { 0 };
        let ([c, d, entries], mut party) = party.scratch([n, if has_fraction { n } else { 0 }, TABLES * n])?;
        let mut draw = party.draw()?;
        let place = open_place(&mut party, &mut draw, (mapping.cut(), self.kept), z, (c, d, beside))?; // the cell
        mapped(&mut party, &mut draw, &mapping, &place.word, entries)?;
        let (entries, growth) = entries.split_at_mut(TABLES * n - grown);
        let (coefficients, slopes) = entries.split_at_mut((self.degree + 1) * n);
        if let Some(slope) = slope {
            slope.copy_from_slice(&slopes[..n]);
        }
        let mask = place.beside_mask;
        if has_fraction {
            self.horner(&mut party, &place, [coefficients, growth], truncates, out)?;
        } else {
            out.copy_from_slice(coefficients);
        }
        Ok(mask)
    }

    /// `Σ c_i d^i`, and the growth.
    fn horner<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        place: &OpenedCell<'_, W>,
        [coefficients, growth]: [&mut [W]; 2],
        truncates: bool,
        out: &mut [W],
    ) -> Result<(), Error> {
        let (n, d) = (out.len(), place.fraction);
        let (lowest, higher) = coefficients.split_at_mut(n);
        let ([factors, product, c], mut party) = party.scratch([higher.len() + growth.len(), n, n])?;
        factors[..higher.len()].copy_from_slice(higher);
        factors[higher.len()..].copy_from_slice(growth);
        let mask = party.draw()?.mask(factors.len());
        let mask = mask_and_open(&mut party, factors, mask)?; // the coefficients
        let factor = |i: usize| Masked { words: &factors[i * n..][..n], mask: mask.slice(i * n, n) };
        let one = W::from_u64(1).shl(self.kept);
        multiply(&mut party, factor(self.degree - 1), d, out)?;
        for i in (1..self.degree).rev() {
            let mut draw = party.draw()?;
            let word = open(&mut party, &mut draw, out, Cut::signed(self.kept), c)?; // a round
            crate::protocol::truncate::truncated(&mut party, &mut draw, &word, out)?;
            times_masked(&mut party, &mut draw, &word, d, out)?;
            multiply(&mut party, factor(i - 1), d, product)?;
            party.kernels.add(out, product);
        }
        party.kernels.add_scaled(out, lowest, one);
        if !truncates {
            return Ok(());
        }
        truncate(&mut party, out, self.surplus())?; // a round
        if self.grows {
            let value = Masked { words: place.beside, mask: place.beside_mask };
            multiply(&mut party, factor(self.degree), value, product)?;
            party.kernels.add(out, product);
        }
        Ok(())
    }
}

/// Opens the cell of each value, and what is left under a mask: one round.
pub(super) fn open_place<'c, W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    (cut, kept): (Cut<W>, u32),
    z: &[W],
    (c, d, held): (&'c mut [W], &'c mut [W], &'c mut [W]),
) -> Result<OpenedCell<'c, W>, Error> {
    let mask = blind_cut(party, draw, cut, z, c);
    let [of_fraction, of_value] = [d.len(), held.len()].map(|len| draw.mask(len).view());
    if !d.is_empty() {
        let ([u], party) = party.scratch([if party.is_clear() { z.len() } else { 0 }])?;
        if party.is_clear() {
            party.expand(mask, u);
        }
        fraction(party.role, (z, u), (cut.dropped(), kept), d);
    }
    let bits = cut.bits();
    let ([packed], mut party) = party.scratch([packed_words::<W>(c.len(), bits)])?;
    prepare_narrow(&party, c, bits, packed);
    if !party.is_clear() {
        hide(&mut party, d, of_fraction)?;
        hide(&mut party, held, of_value)?;
    }
    party.exchange(&mut [(Fold::Swap, &mut *packed), (Fold::Add, &mut *d), (Fold::Add, &mut *held)])?;
    finish_narrow(&mut party, c, bits, packed)?;
    Ok(OpenedCell {
        word: Opened { c, mask, cut },
        fraction: Masked { words: d, mask: of_fraction },
        beside: held,
        beside_mask: of_value,
    })
}

/// Where values lie: the opened cell, the fraction and the value itself, masked.
pub(super) struct OpenedCell<'c, W> {
    pub(super) word: Opened<'c, W>,
    pub(super) fraction: Masked<'c, W>,
    /// The words opened in the same round, masked.
    beside: &'c [W],
    beside_mask: View<'static>,
}

/// This party's share of `d = u_0 + u_1 + 1 - 2^s`, in `kept` bits: each `u` is cut off, so `d` is
/// within one of them. `u` are the expanded masks, whose upper bits are server 0's `u_0` in the
/// clear engine.
fn fraction<W: Word>(role: Role, (z, u): (&[W], &[W]), (dropped, kept): (u32, u32), d: &mut [W]) {
    let (low, cut, one) = (W::low_mask(dropped), dropped - kept, W::from_u64(1));
    let centre = one.sub(one.shl(kept));
    for (i, (d, z)) in d.iter_mut().zip(z).enumerate() {
        *d = match role {
            Role::Server0 => z.add(low).and(low).shr(cut).add(centre),
            Role::Server1 => z.and(low).shr(cut),
            Role::Clear => {
                let first = u[i].shr(W::BITS - dropped);
                let second = z.sub(one).sub(first).and(low);
                first.shr(cut).add(second.shr(cut)).add(centre)
            }
        };
    }
}
