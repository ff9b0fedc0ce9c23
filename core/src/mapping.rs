//! Secure mapping: public tables at a secret index.
//!
//! A [`Mapping`] reads its index off a shared fixed-point value `z`: bits `shift..shift + bits` of
//! it, rounded with a dither as [truncation](crate::protocol::truncate) rounds. The index needs no
//! shares of its own: `shift` bits are dropped, `c = index + r` is opened modulo `2^bits`, and the
//! index is `c - r mod 2^bits`. So the one-hot vector of `r` is dealt, turned by `c` in public, and
//! summed up where the table says. A word that is [`Opened`] for another reason is not opened
//! again; bits that its opening left below the index round with a public dither.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** one opening of `bits` bits for all tables (none for an opened word), then
//!   [`OneHot::Boolean`]: one round more, with `w` bits each way; `2^bits - 1` bits and `w` words
//!   dealt, a bit less for each place that an entry's bit is above the lowest; or
//!   [`OneHot::Arithmetic`]: nothing more; `2^bits` words dealt. `w` sums, over the tables, the
//!   bits in which entries differ once the smallest entry is taken off. A mapping that
//!   [saturates](Mapping::beyond) is boolean, opens `k - shift` bits, or
//!   `max(bits, range - shift) + 1` of a known [range](Saturation::range), and takes one round
//!   more, two if more than 16 bits lie above the index. If both ends differ, it also finds the
//!   sign of the index: a [`difference_bit`] of one bit less than is opened, and up to two rounds.
//! - **Result:** `table[i]` exactly, for `i = floor((z + 2^shift - 1 - u) / 2^shift)` (plus
//!   `2^(bits-1)` in a signed domain), with the uniform dither `u` of truncation: a value between
//!   two indices takes either, in the mean their linear interpolation. For `shift = 0`, the index
//!   is exact. Where a mapping saturates, the result for any index from `2^bits` on is the table's
//!   `above`, for any below 0 its `below`. The index is that of the whole word.
//! - **Needs:** `z` in the [`Domain`], unless the mapping saturates: beyond it, and above its last
//!   centre where a value may round up, the index wraps.
//!   Leave saturation out only where the domain holds every value by construction, as that of a
//!   code or of a sum of bounded terms does. The clear engine reports each such value to
//!   [`Trace::indexed`](crate::party::Trace::indexed).
//! - **Memory:** `2^bits` planes of scratch, or as many words an element; no heap.

use crate::{
    correlation::{
        Draw, View, Words,
        request::{Digits, OneHotWords, digit_planes},
    },
    kernel::{
        plane_words,
        portable::{Column, MAX_WIDTH},
    },
    link::Error,
    party::Party,
    protocol::{
        bit::opened_bits_to_words,
        compare::difference_bit,
        conjunction::{conjunctions, hide_bits},
        narrow::{finish_narrow, open_narrow, prepare_narrow},
        truncate::{Cut, Opened, blind_cut},
        upper::{Upper, chain},
    },
    word::Word,
};

/// Which bits of a fixed-point value index a table: its precision, scale and sign.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Domain {
    /// Bits below the index: index `i` is centred on `i 2^shift` units.
    pub shift: u32,
    /// Bits of the index, 1 to 8.
    pub bits: u32,
    /// Whether half of the indices are for negative values: then index `i` is centred on `(i - 2^(bits-1)) 2^shift`.
    pub signed: bool,
}

impl Domain {
    /// Indices.
    pub const fn cells(&self) -> usize {
        1 << self.bits
    }
    /// Bits of the values that it holds: `[0, 2^width)`, less half of that if it is signed.
    pub const fn width(&self) -> u32 {
        self.shift + self.bits
    }
    /// The value, in units, at which index `cell` is centred: what its entry should be right for.
    ///
    /// Values on either side, less than a cell away, take it with a probability that falls with their distance.
    pub const fn centre(&self, cell: usize) -> i64 {
        #[allow(clippy::cast_possible_wrap)] // at most 2^8 cells
        let cell = cell as i64 - if self.signed { 1 << (self.bits - 1) } else { 0 };
        cell << self.shift
    }
    /// Which bits are opened of a value that it holds.
    fn cut<W: Word>(&self) -> Cut<W> {
        Cut::index(self.offset(), self.shift, self.bits)
    }
    /// What makes the smallest value 0.
    fn offset<W: Word>(&self) -> W {
        if self.signed { W::from_u64(1).shl(self.width() - 1) } else { W::default() }
    }
}

/// How the one-hot vector of the index is shared.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum OneHot {
    /// In bits: little is dealt, and the bits of the entries take one more round to become words.
    Boolean,
    /// In words of the ring: no more round.
    Arithmetic,
}

/// Public tables at one index.
#[derive(Clone, Copy, Debug)]
pub struct Mapping<'a> {
    /// What indexes them.
    pub domain: Domain,
    /// Each of [`Domain::cells`] entries. Several are had for one opening: a function and its derivative, or the coefficients of a line for each cell.
    pub tables: &'a [&'a [i64]],
    /// The kind of one-hot vector; `None` takes the cheaper one to deal. A mapping that saturates
    /// is boolean.
    pub one_hot: Option<OneHot>,
    /// Results past the domain; `None` where it holds every value by construction.
    pub beyond: Option<Saturation<'a>>,
}

/// Results of a mapping outside its domain.
#[derive(Clone, Copy, Debug)]
pub struct Saturation<'a> {
    /// For each table, the result of a value below the domain's lower end.
    pub below: &'a [i64],
    /// For each table, the result of a value past the domain's upper end. Where it is `below` for
    /// all tables, no sign is needed.
    pub above: &'a [i64],
    /// All values are in `[0, 2^range)`, of a signed domain in `[-2^(range-1), 2^(range-1))`, by
    /// construction; `None` for any word. The clear engine reports them as it does those of a
    /// mapping without saturation.
    pub range: Option<u32>,
}

/// The bits in which entries differ, the results beyond both ends among them, and the smallest
/// entry.
#[derive(Clone, Copy)]
struct Entries<'a> {
    table: &'a [i64],
    /// Results below the domain and above; the smallest entry where there are none.
    ends: [i64; 2],
    least: i64,
    bits: u64,
}

impl<'a> Entries<'a> {
    fn new(table: &'a [i64], beyond: Option<[i64; 2]>) -> Self {
        // Loops, which take less of a microcontroller's flash than chained iterators.
        let mut ends = beyond.unwrap_or([i64::MAX; 2]);
        let (mut least, mut bits) = (ends[0].min(ends[1]), 0);
        for t in table {
            least = least.min(*t);
        }
        if beyond.is_none() {
            ends = [least; 2];
        }
        for t in table {
            bits |= t.abs_diff(least);
        }
        bits |= ends[0].abs_diff(least) | ends[1].abs_diff(least);
        Self { table, ends, least, bits }
    }
    /// The bits of the result above the domain.
    fn above(&self) -> u64 {
        self.ends[1].abs_diff(self.least)
    }
    /// The bits in which the results below and above the domain differ.
    fn differing(&self) -> u64 {
        self.ends[0].abs_diff(self.least) ^ self.above()
    }
    /// Planes that the table takes.
    fn planes(&self) -> usize {
        self.bits.count_ones() as usize
    }
    /// Which bit each plane stands for, lowest first.
    fn shifts(&self) -> impl Iterator<Item = u32> + use<> {
        let bits = self.bits;
        (0..64).filter(move |b| bits >> b & 1 == 1)
    }
    /// Indices `-t` of the entries whose bit `shift` differs from that of the result above (from 0
    /// where there is none): [`sum_planes`](crate::kernel::portable::sum_planes) looks them up in a
    /// vector turned by `C`.
    fn column(&self, shift: u32) -> Column {
        let mut column = [0; 4];
        let flip = self.above() >> shift & 1;
        for (t, entry) in self.table.iter().enumerate() {
            let at = t.wrapping_neg() & (self.table.len() - 1);
            column[at / 64] |= ((entry.abs_diff(self.least) >> shift & 1) ^ flip) << (at % 64);
        }
        column
    }
}

impl Mapping<'_> {
    /// How the one-hot vector is shared: as asked, else boolean where `2^bits + k w < k 2^bits`.
    pub fn one_hot<W: Word>(&self) -> OneHot {
        if self.beyond.is_some() {
            return OneHot::Boolean;
        }
        let (cells, k) = (self.domain.cells(), W::BITS as usize);
        self.one_hot.unwrap_or(if cells + k * self.planes() < k * cells { OneHot::Boolean } else { OneHot::Arithmetic })
    }

    /// Planes of all tables together.
    pub fn planes(&self) -> usize {
        self.entries().map(|e| e.planes()).sum()
    }

    fn entries(&self) -> impl Iterator<Item = Entries<'_>> {
        self.tables.iter().enumerate().map(|(i, t)| Entries::new(t, self.beyond.map(|b| [b.below[i], b.above[i]])))
    }

    /// Whether results below and above the domain differ.
    fn has_two_ends(&self) -> bool {
        self.beyond.is_some_and(|b| b.below != b.above)
    }

    /// Which bits are opened of a value.
    pub(crate) fn cut<W: Word>(&self) -> Cut<W> {
        let Domain { shift, bits, .. } = self.domain;
        let bits = match self.beyond {
            None => bits,
            // Rounding up may reach one more index.
            Some(beyond) => {
                let most = W::BITS - shift;
                beyond.range.map_or(most, |range| (range + 1).saturating_sub(shift).max(bits + 1).min(most))
            }
        };
        Cut::index(self.domain.offset(), shift, bits)
    }

    fn check<W: Word>(&self, len: usize, out: usize) {
        let Domain { bits, .. } = self.domain;
        assert!((1..=MAX_WIDTH).contains(&bits), "an index has 1 to 8 bits");
        assert!(self.domain.width() <= W::BITS, "an index of more bits than a word");
        assert!(self.tables.iter().all(|t| t.len() == self.domain.cells()), "mapping: the size of a table");
        assert!(
            self.beyond.is_none_or(|b| [b.below.len(), b.above.len()] == [self.tables.len(); 2]),
            "mapping: values past the domain"
        );
        assert!(out == self.tables.len() * len, "mapping: lengths differ");
    }
}

/// `out = table[index of z]`, table after table, `z.len()` words each. Rounds: one, or two if the one-hot vector is boolean.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If a table has another size than its domain, or `out` another length than the tables' results.
pub fn map<W: Word>(party: &mut Party<'_, W>, mapping: &Mapping<'_>, z: &[W], out: &mut [W]) -> Result<(), Error> {
    let ([c], mut party) = party.scratch([z.len()])?;
    let mut draw = party.draw()?;
    let cut = mapping.cut::<W>();
    match mapping.beyond {
        None => report_indexed(&mut party, &mapping.domain, z, mapping.domain.width()),
        Some(Saturation { range: Some(range), .. }) => report_indexed(&mut party, &mapping.domain, z, range),
        Some(_) => {}
    }
    let mask = blind_cut(&mut party, &mut draw, cut, z, c);
    open_narrow(&mut party, c, cut.bits())?; // the one round of arithmetic one-hot vectors
    mapped(&mut party, &mut draw, mapping, &Opened { c, mask, cut }, out)
}

/// Reports, in the clear engine, values that index a domain, of which `width` bits are known to
/// suffice.
fn report_indexed<W: Word>(party: &mut Party<'_, W>, domain: &Domain, z: &[W], width: u32) {
    if party.is_clear() {
        let offset = if domain.signed { W::from_u64(1).shl(width - 1) } else { W::default() };
        party.trace.indexed(z, offset, width);
    }
}

/// Prepares the opening of `z` for its index alone: this party's share of `c`, and `packed`
/// ([`packed_words`](crate::kernel::packed_words) of the domain's `bits`) to be exchanged under
/// [`Fold::Swap`](crate::link::Fold::Swap) together with what else goes in that round. Then
/// [`open_index`].
pub fn blind_index<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    domain: &Domain,
    z: &[W],
    c: &mut [W],
    packed: &mut [W],
) -> View<'static> {
    report_indexed(party, domain, z, domain.width());
    let mask = blind_cut(party, draw, domain.cut(), z, c);
    prepare_narrow(party, c, domain.bits, packed);
    mask
}

/// The opened word, from the peer's `packed`.
///
/// # Errors
///
/// [`Error::Scratch`].
pub fn open_index<'c, W: Word>(
    party: &mut Party<'_, W>,
    domain: &Domain,
    c: &'c mut [W],
    mask: View<'static>,
    packed: &[W],
) -> Result<Opened<'c, W>, Error> {
    finish_narrow(party, c, domain.bits, packed)?;
    Ok(Opened { c, mask, cut: domain.cut() })
}

/// [`map`] at a word that is open, for its index or for any other reason: no round, or one if the one-hot vector is boolean.
///
/// # Errors
///
/// As [`map`].
///
/// # Panics
///
/// As [`map`].
pub fn mapped<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    mapping: &Mapping<'_>,
    word: &Opened<'_, W>,
    out: &mut [W],
) -> Result<(), Error> {
    mapping.check::<W>(word.c.len(), out.len());
    if party.is_clear() {
        return clear(party, mapping, word, out);
    }
    match mapping.one_hot::<W>() {
        OneHot::Arithmetic => arithmetic(party, draw, mapping, word, out),
        OneHot::Boolean => boolean(party, draw, mapping, word, out, &mut []).map(|_| ()),
    }
}

/// [`mapped`] by a boolean one-hot vector, which opens the shared planes `beside`, too, in its last
/// round: in place, under the mask returned.
///
/// # Errors
///
/// As [`map`].
///
/// # Panics
///
/// As [`map`].
pub(crate) fn mapped_beside<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    mapping: &Mapping<'_>,
    word: &Opened<'_, W>,
    out: &mut [W],
    beside: &mut [W],
) -> Result<View<'static>, Error> {
    mapping.check::<W>(word.c.len(), out.len());
    if party.is_clear() {
        clear(party, mapping, word, out)?;
        return Ok(draw.mask(beside.len()).view());
    }
    boolean(party, draw, mapping, word, out, beside)
}

fn clear<W: Word>(
    party: &mut Party<'_, W>,
    mapping: &Mapping<'_>,
    word: &Opened<'_, W>,
    out: &mut [W],
) -> Result<(), Error> {
    let ([index, r], party) = party.scratch([word.c.len(); 2])?;
    let low = index_words(&party, &mapping.domain, word, index);
    party.expand(word.mask, r);
    party.kernels.index_clear(index, r, low, word.cut.bits());
    for (entries, out) in mapping.entries().zip(out.chunks_exact_mut(index.len().max(1))) {
        party.kernels.lookup(out, index, entries.table);
        let [below, above] = entries.ends;
        if mapping.beyond.is_none() {
            continue;
        }
        party.kernels.saturate_clear(out, index, mapping.domain.bits, W::from_i64(above));
        let (top, step) = (word.cut.bits() - low - 1, W::from_i64(below).sub(W::from_i64(above)));
        // Below the domain the index has its topmost bit, if the table leaves one.
        for (z, index) in out.iter_mut().zip(&*index).filter(|_| top >= mapping.domain.bits) {
            *z = z.add(index.shr(top).mul(step));
        }
    }
    Ok(())
}

/// `c` with the domain's own offset, whatever the word was opened under, and the index's lowest bit
/// in it.
///
/// # Panics
///
/// If the word has not the bits of the index.
fn index_words<W: Word>(party: &Party<'_, W>, domain: &Domain, word: &Opened<'_, W>, c: &mut [W]) -> u32 {
    let (dropped, bits) = (word.cut.dropped(), word.cut.bits());
    assert!(dropped <= domain.shift && domain.width() <= dropped + bits, "mapping: the word lacks bits of the index");
    c.copy_from_slice(word.c);
    party.kernels.add_constant(c, domain.offset::<W>().shr(dropped).sub(word.cut.offset()));
    party.kernels.keep_low(c, bits);
    domain.shift - dropped
}

fn arithmetic<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    mapping: &Mapping<'_>,
    word: &Opened<'_, W>,
    out: &mut [W],
) -> Result<(), Error> {
    let (n, bits) = (word.c.len(), mapping.domain.bits);
    let ([c, hot], mut party) = party.scratch([n, n << bits])?;
    let low = index_words(&party, &mapping.domain, word, c);
    party.take(draw, OneHotWords { mask: word.mask, low, bits }, &mut [&mut *hot])?;
    out.fill(W::default());
    for (table, out) in mapping.tables.iter().zip(out.chunks_exact_mut(n.max(1))) {
        party.kernels.sum_words(out, hot, c, low, table);
    }
    Ok(())
}

fn boolean<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    mapping: &Mapping<'_>,
    word: &Opened<'_, W>,
    out: &mut [W],
    beside: &mut [W],
) -> Result<View<'static>, Error> {
    let (n, lanes) = (word.c.len(), plane_words::<W>(word.c.len()));
    let own = mapping.planes() * lanes;
    let ([planes], mut party) = party.scratch([own + beside.len()])?;
    mapped_planes(&mut party, draw, mapping, word, &mut planes[..own])?;
    planes[own..].copy_from_slice(beside);
    let masks = hide_bits(&mut party, draw, planes)?;
    party.open_bits(planes)?; // the round of boolean one-hot vectors
    let mut at = 0;
    for (entries, out) in mapping.entries().zip(out.chunks_exact_mut(n.max(1))) {
        let mut shifts = [0; 64];
        for (place, shift) in shifts.iter_mut().zip(entries.shifts()) {
            *place = shift;
        }
        let len = entries.planes() * lanes;
        out.fill(party.role.first(W::from_i64(entries.least)));
        let open = (&planes[at..at + len], masks.slice(at, len));
        opened_bits_to_words(&mut party, draw, open, &shifts[..entries.planes()], out)?;
        at += len;
    }
    beside.copy_from_slice(&planes[own..]);
    Ok(masks.slice(own, beside.len()))
}

/// XOR shares of the entries' bits: table after table, for each the planes of those bits in which
/// its entries differ once the smallest is taken off, lowest first ([`Mapping::planes`] in all).
/// Where every entry is 0 or 1, that is one plane a table. No round, unless the mapping saturates.
///
/// # Errors
///
/// The dealer's, and [`Error::Scratch`]; the link's if the mapping saturates.
pub fn mapped_planes<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    mapping: &Mapping<'_>,
    word: &Opened<'_, W>,
    planes: &mut [W],
) -> Result<(), Error> {
    let bits = mapping.domain.bits;
    let (n, lanes) = (word.c.len(), plane_words::<W>(word.c.len()));
    let ([words], mut party) = party.scratch([n])?;
    let low = index_words(&party, &mapping.domain, word, words);
    // Above the index lie digits that must be zero.
    let upper = mapping.beyond.map(|_| Upper::plain(low + bits, word.cut.bits()));
    let mut widths = [0; 17];
    #[allow(clippy::cast_possible_truncation)] // at most MAX_WIDTH
    let (index, above) = (bits as u8, upper.as_ref().map_or(&[][..], |u| u.widths()));
    widths[0] = index;
    widths[1..=above.len()].copy_from_slice(above);
    let (widths, above_bits) = (&widths[..=above.len()], upper.as_ref().map_or(0, Upper::bits));
    let hot_planes = digit_planes(widths) + 1;
    let sizes = [bits as usize + above_bits, hot_planes].map(|planes| planes * lanes);
    let ([c, hot], mut party) = party.scratch(sizes)?;
    let request = Digits { words: Words::Mask(word.mask), low, widths };
    party.take(draw, request, &mut [&mut hot[lanes..]])?;
    party.kernels.to_planes(c, words, low);
    let ((c, c_above), (hot, hot_above)) = (c.split_at(bits as usize * lanes), hot.split_at_mut(lanes << bits));
    let saturation = if upper.is_some() { hot.len() } else { 0 };
    let ([borrow, spare], mut party) = party.scratch([if upper.is_some() { lanes } else { 0 }, saturation])?;
    if upper.is_some() {
        spare.copy_from_slice(hot);
        party.kernels.digit_less(borrow, &mut spare[lanes..], c, bits);
    }
    party.kernels.rotate_planes(hot, c, bits, party.role.first_mask());
    let mut rest = &mut *planes;
    for entries in mapping.entries() {
        let mut columns = [Column::default(); 64];
        // Dry words have no use for what would take most of a dry run's time.
        if size_of::<W>() > 0 {
            for (column, shift) in columns.iter_mut().zip(entries.shifts()) {
                *column = entries.column(shift);
            }
        }
        let (head, tail) = rest.split_at_mut(entries.planes() * lanes);
        party.kernels.sum_planes(head, hot, &columns[..entries.planes()]);
        rest = tail;
    }
    let (two_ends, is_beyond) = (mapping.has_two_ends(), upper.is_some());
    let ([sign, first], mut party) =
        party.scratch([if two_ends { lanes } else { 0 }, if is_beyond { lanes } else { 0 }])?;
    if two_ends {
        difference_bit(&mut party, draw, words, Words::Mask(word.mask), word.cut.bits() - 1, sign)?;
        add(&party, mapping, lanes, [&[], &*sign], planes);
    }
    if let Some(upper) = upper.filter(|u| !u.groups().is_empty()) {
        let above = Above { upper: &upper, c: c_above, hot: hot_above, borrow };
        saturate(&mut party, draw, &above, planes)?;
    }
    first.fill(party.role.first_mask());
    add(&party, mapping, lanes, [&*first, &*sign], planes);
    Ok(())
}

/// Adds the first of both planes to those of a bit that is set above, the second to those of a bit
/// in which the ends differ. Either may be empty.
#[inline(never)] // twice
fn add<W: Word>(party: &Party<'_, W>, mapping: &Mapping<'_>, lanes: usize, [first, sign]: [&[W]; 2], planes: &mut [W]) {
    let mut at = 0;
    for entries in mapping.entries() {
        let [mut bits, mut above, mut differing] = [entries.bits, entries.above(), entries.differing()];
        while bits != 0 {
            if bits & 1 == 1 {
                let own = &mut planes[at..at + lanes];
                if above & 1 == 1 {
                    party.kernels.xor(own, first);
                }
                if differing & 1 == 1 {
                    party.kernels.xor(own, sign);
                }
                at += lanes;
            }
            [bits, above, differing] = [bits >> 1, above >> 1, differing >> 1];
        }
    }
}

/// The digits above an index, and the borrow out of the index.
struct Above<'a, W> {
    upper: &'a Upper,
    c: &'a [W],
    hot: &'a [W],
    borrow: &'a [W],
}

/// Keeps each of `planes` where the digits above are zero: `p ∏ x ⊕ p β ∏ x ⊕ p β ∏ v`. One round,
/// two if the digits are joined in groups.
fn saturate<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    above: &Above<'_, W>,
    planes: &mut [W],
) -> Result<(), Error> {
    let lanes = above.borrow.len();
    let (joined_planes, groups) = (above.upper.planes(), above.upper.groups().len());
    // Conjunctions over at most 16 variables: x…, β, p…; and β, p…, v….
    let most = 15 - groups;
    let count = planes.len().checked_div(lanes).unwrap_or(0);
    let chunks = count.div_ceil(most);
    let ([joined, open, equal, run], mut party) =
        party.scratch([joined_planes, count + chunks * (2 * groups + 1), 2 * most, 1].map(|p| p * lanes))?;
    above.upper.join(&mut party, draw, (above.c, above.hot), joined)?; // a round, if there are groups of several digits
    let mut rest = &mut *open;
    for planes in planes.chunks((most * lanes).max(1)) {
        let (x, others) = core::mem::take(&mut rest).split_at_mut(groups * lanes);
        let (borrow, others) = others.split_at_mut(lanes);
        let (p, others) = others.split_at_mut(planes.len());
        let (v, others) = others.split_at_mut(groups * lanes);
        borrow.copy_from_slice(above.borrow);
        p.copy_from_slice(planes);
        chain(&party, (above.upper.groups(), joined), lanes, (x, v), run);
        rest = others;
    }
    let masks = hide_bits(&mut party, draw, open)?;
    party.open_bits(open)?; // the round
    let mut at = 0;
    for planes in planes.chunks_mut((most * lanes).max(1)) {
        let n = planes.len() / lanes;
        let (all, mut terms) = ((1u16 << groups) - 1, [0; 30]);
        for j in 0..n {
            let p = 1 << (groups + 1 + j);
            (terms[j], terms[n + j]) = (all | p, all | p | 1 << groups);
        }
        let (len, from, to) = ((groups + 1 + n) * lanes, at + groups * lanes, at + (2 * groups + 1 + n) * lanes);
        let equal = &mut equal[..2 * n * lanes];
        conjunctions(&mut party, draw, (&open[at..at + len], masks.slice(at, len)), lanes, &terms[..2 * n], equal)?;
        (0..n).for_each(|j| terms[j] = all << (1 + n) | 1 | 1 << (1 + j));
        conjunctions(&mut party, draw, (&open[from..to], masks.slice(from, to - from)), lanes, &terms[..n], planes)?;
        equal.chunks_exact(n * lanes).for_each(|products| party.kernels.xor(planes, products));
        at = to;
    }
    Ok(())
}
