//! A scalar by mapping: which cells it takes, how its tables follow, how large its error is.
//!
//! - A function of an [interval](RangeReduction::Interval) has cells of one width over the
//!   interval, and saturates at both ends: the mapping finds the side by a sign.
//! - A function of [octaves](RangeReduction::Octaves) is computed of the mantissa, behind a
//!   normalisation by the leading one ([`crate::function::leading_one`]); beyond its octaves it has
//!   the result at their end.
//! - A function of [turns](RangeReduction::Periodic) has cells over one turn: a whole turn is the
//!   whole ring, so that its index wraps as the function does, and nothing saturates.

use super::{
    FunctionError,
    octaves::OctaveFunction,
    pieces::{Cells, MAX_DEGREE},
};
use crate::{
    correlation::View,
    function::{
        Numbers, Table, fit,
        leading_one::Normalised,
        pow2,
        scalar::{Ends, Octaves, RangeReduction, Scalar},
    },
    link::Error,
    mapping::Domain,
    party::Party,
    protocol::{
        clamp::clamp,
        masked::Masked,
        product::multiply_halves,
        truncate::{Cut, open, truncate, truncated},
    },
    word::Word,
};
use serde::{Deserialize, Serialize};

/// Pieces on cells. By precision, scale and sign `(p, s, v)`: `bits` is `p`, cells are `2^-s` wide,
/// and `v` says whether the interval begins below 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mapping {
    /// Bits of the index, 1 to 8: there are `2^bits` cells.
    pub bits: u8,
    /// Degree of the pieces, 0 to 4.
    pub degree: u8,
    /// Where a function of an interval has cells; its length is a power of two.
    pub interval: [f64; 2],
}

/// `log2` of a power of two.
fn exact_log2(x: f64) -> Option<i32> {
    (-24..24).find(|e| libm::exp2(f64::from(*e)).to_bits() == x.to_bits())
}

/// A real in units of `2^-frac_bits`, to the nearest; saturates.
#[allow(clippy::cast_possible_truncation)] // saturates
pub(super) fn units(x: f64, frac_bits: u32) -> i64 {
    libm::round(x * pow2(frac_bits)) as i64
}

/// Bits of a magnitude.
pub(super) fn bits_of(x: f64) -> u32 {
    let x = libm::fabs(x);
    (0..64).find(|bits| pow2(*bits) > x).unwrap_or(64)
}

impl Mapping {
    /// Stands for the function's own interval until it is known.
    pub const UNSET: [f64; 2] = [0.0; 2];

    /// Tables of this many entries a cell.
    pub fn tables(&self, grows: bool, has_slope: bool) -> usize {
        usize::from(self.degree) + 1 + usize::from(has_slope) + usize::from(grows)
    }

    /// Holds the mapping of `scalar` to the ring.
    ///
    /// # Errors
    ///
    /// The reason why it has no room, or a parameter that is invalid.
    pub fn check(&self, scalar: &dyn Scalar, numbers: &Numbers) -> Result<(), FunctionError> {
        let Self { bits, degree, interval: [low, high] } = *self;
        if !(1..=8).contains(&bits) {
            return Err(FunctionError::Number { key: "bits", got: bits.into(), min: 1, max: 8 });
        }
        if degree > MAX_DEGREE {
            return Err(FunctionError::Number { key: "degree", got: degree.into(), min: 0, max: MAX_DEGREE.into() });
        }
        match scalar.range_reduction() {
            RangeReduction::BySign => Err(FunctionError::Method),
            RangeReduction::Periodic => Ok(()),
            RangeReduction::Octaves(_) if bits < least_mantissa_bits(degree) => Err(FunctionError::Number {
                key: "bits",
                got: bits.into(),
                min: least_mantissa_bits(degree).into(),
                max: 8,
            }),
            RangeReduction::Octaves(octaves) => OctaveFunction::new(octaves, false, numbers).folded().check(),
            RangeReduction::Interval => {
                let on_grid =
                    |x: f64| libm::fabs(x) < 2048.0 && libm::floor(x * 16.0).to_bits() == (x * 16.0).to_bits();
                let Some(width) = exact_log2(high - low).filter(|_| on_grid(low) && on_grid(high)) else {
                    return Err(FunctionError::Interval);
                };
                let units = width + numbers.frac_bits.cast_signed();
                if units < i32::from(bits) + i32::from(degree > 0) || units > numbers.ring_bits.cast_signed() - 4 {
                    return Err(FunctionError::Cells);
                }
                if scalar.ends(self.interval).grows && degree == 0 {
                    return Err(FunctionError::Number { key: "degree", got: 0, min: 1, max: MAX_DEGREE.into() });
                }
                // Slopes are entries too.
                let steepest = self.steepest(scalar) / self.width() * pow2(numbers.frac_bits);
                let fits = bits_of(steepest) <= numbers.ring_bits - 3 && self.scale(scalar, numbers).is_some();
                if fits { Ok(()) } else { Err(FunctionError::Room) }
            }
        }
    }

    /// The cheapest mapping whose pieces are within 0.4 units of the last place (of the value,
    /// where that is above 1); the finest if there is none.
    pub fn cheapest(scalar: &dyn Scalar, numbers: &Numbers) -> Self {
        const TRIED: [[u8; 2]; 9] = [[1, 6], [1, 7], [1, 8], [2, 6], [2, 7], [2, 8], [3, 7], [3, 8], [4, 8]];
        let interval = scalar.interval(numbers);
        let of = |[degree, bits]: [u8; 2]| Self { bits, degree, interval };
        let fits = |mapping: &Self| {
            let fits = match scalar.range_reduction() {
                RangeReduction::Octaves(octaves) => {
                    let scaled = OctaveFunction::new(octaves, false, numbers).folded();
                    mapping.mantissa_fit_error(&scaled) <= 2.0 / pow2(numbers.mantissa_bits())
                }
                _ => mapping.fit_error(scalar) <= 0.4 / pow2(numbers.frac_bits),
            };
            fits && mapping.check(scalar, numbers).is_ok()
        };
        TRIED.map(of).into_iter().find(fits).unwrap_or(of([4, 8]))
    }

    /// The largest error of a piece over both cells that it serves, relative where the function is
    /// above 1.
    pub fn fit_error(&self, scalar: &dyn Scalar) -> f64 {
        let (whole, first) = self.of_family(scalar);
        let last = whole.interval[1];
        let (h, mut largest) = (whole.width(), 0.0);
        for cell in 0..whole.cells() {
            let (m, piece) = (whole.centre(cell), whole.piece(scalar, cell));
            for i in -8..=8 {
                let u = f64::from(i) / 8.0;
                let x = m + u * h;
                let value = scalar.value(x);
                let error = libm::fabs(fit::evaluate(&piece, u) - value) / libm::fmax(1.0, libm::fabs(value));
                largest = if (first..=last).contains(&x) { libm::fmax(largest, error) } else { largest };
            }
        }
        largest
    }

    /// The mapping of mantissas.
    pub fn of_octaves(numbers: &Numbers) -> Self {
        Self { bits: 8, degree: if numbers.ring_bits == 32 { 1 } else { 3 }, interval: [0.0, 1.0] }
    }

    /// Whether the function is at its ends what it is at infinity.
    pub(super) fn has_limits(&self, scalar: &dyn Scalar) -> bool {
        scalar.ends(self.interval).grows || scalar.ends(self.interval) == scalar.ends([0.0; 2])
    }

    /// The interval of computation: without limits, but for its last cell, in which the result may
    /// be the one at the end.
    pub(super) fn domain(&self, scalar: &dyn Scalar) -> [f64; 2] {
        let [low, high] = self.interval;
        [low, if self.has_limits(scalar) { high } else { high - self.width() }]
    }

    /// Whether `x` lies so near an end, without a limit, that the result may be the function's
    /// value or the one at the end.
    pub(super) fn is_blurred(&self, scalar: &dyn Scalar, x: f64) -> bool {
        let ([low, high], h) = (self.interval, self.width());
        !self.has_limits(scalar) && (x > low - h && x < low || x > high - h && x < high)
    }

    fn cells(&self) -> usize {
        1 << self.bits
    }

    /// Width of a cell of an interval.
    pub(super) fn width(&self) -> f64 {
        (self.interval[1] - self.interval[0]) / pow2(self.bits.into())
    }

    #[allow(clippy::cast_precision_loss)] // at most 256
    fn centre(&self, cell: usize) -> f64 {
        self.interval[0] + cell as f64 * self.width()
    }

    /// Bits of the fraction that count, and of the coefficients beyond the result's: as many as the
    /// ring has room for. `None` if it has too little.
    fn scale(&self, scalar: &dyn Scalar, numbers: &Numbers) -> Option<[u32; 2]> {
        let values = (0..=self.cells()).map(|cell| libm::fabs(scalar.value(self.centre(cell))));
        let sizes = [values.fold(0.0, libm::fmax), 1.25 * self.steepest(scalar)];
        room(numbers, sizes, self.dropped(scalar, numbers), self.degree)
    }

    /// The largest step of the function over a cell.
    pub(super) fn steepest(&self, scalar: &dyn Scalar) -> f64 {
        let whole = self.of_family(scalar).0;
        let step = |cell| libm::fabs(scalar.derivative(whole.centre(cell))) * whole.width();
        (0..=whole.cells()).map(step).fold(0.0, libm::fmax)
    }

    /// Bits of the fraction, and of the coefficients beyond the result's, whatever the family.
    pub(super) fn room(&self, scalar: &dyn Scalar, numbers: &Numbers) -> Option<[u32; 2]> {
        match scalar.range_reduction() {
            RangeReduction::Periodic => {
                let (whole, _) = self.of_family(scalar);
                room(numbers, [1.0, whole.width()], numbers.ring_bits - u32::from(self.bits), self.degree)
            }
            _ => self.scale(scalar, numbers),
        }
    }

    /// Bits of an argument below the cell.
    pub(super) fn dropped(&self, scalar: &dyn Scalar, numbers: &Numbers) -> u32 {
        match scalar.range_reduction() {
            RangeReduction::Periodic => numbers.ring_bits - u32::from(self.bits),
            _ => units(self.width(), numbers.frac_bits).max(1).ilog2(),
        }
    }

    /// The mapping over the interval from which the function's family is known, and the least
    /// argument there.
    fn of_family(&self, scalar: &dyn Scalar) -> (Self, f64) {
        match scalar.range_reduction() {
            RangeReduction::Periodic => (Self { interval: [0.0, 2.0 * core::f64::consts::PI], ..*self }, 0.0),
            _ => (*self, self.interval[0]),
        }
    }

    /// Coefficients of the piece of cell `cell`, in cells from its centre.
    fn piece(&self, scalar: &dyn Scalar, cell: usize) -> fit::Coefficients {
        let (h, m) = (self.width(), self.centre(cell));
        let high = (self.interval[1] - m) / h;
        // The first cell also serves values below the interval that round up to it.
        let ends = [-1.0, libm::fmin(high, 1.0)];
        match self.degree {
            0 => constant(scalar.value(m)),
            degree => fit::interpolation(|u| scalar.value(m + u * h), ends, degree.into()),
        }
    }

    /// `g` of an interval on shares.
    #[inline(never)] // or one stack frame has the tables of every degree
    fn on_interval<W: Word, const TABLES: usize>(
        &self,
        party: &mut Party<'_, W>,
        scalar: &dyn Scalar,
        numbers: &Numbers,
        (x, out): (&[W], &mut [W]),
        slope: Option<&mut [W]>,
    ) -> Result<(), Error> {
        let f = numbers.frac_bits;
        let Ends { values, grows } = scalar.ends(self.interval);
        let [kept, guard] = self.scale(scalar, numbers).unwrap_or_default();
        let shift = self.dropped(scalar, numbers);
        let domain = Domain { shift, bits: self.bits.into(), signed: false };
        let (degree, mut tables, mut beyond) = (usize::from(self.degree), [[0; 256]; TABLES], [[0; TABLES]; 2]);
        // A dry run needs the entries too: the bits in which they differ are its cost.
        for cell in 0..self.cells() {
            put(&mut tables, cell, &self.piece(scalar, cell), degree, f + guard);
        }
        for (end, value) in beyond.iter_mut().zip(values) {
            end[0] = units(value, f + guard);
        }
        if slope.is_some() {
            let of_slope = &mut tables[degree + 1];
            for (cell, entry) in of_slope.iter_mut().enumerate().take(domain.cells()) {
                *entry = units(scalar.derivative(self.centre(cell)), f);
            }
            beyond[1][degree + 1] = if grows { units(1.0, f) } else { 0 };
        }
        if grows {
            beyond[1][TABLES - 1] = 1;
        }
        let cells = Cells { domain, degree, kept, guard, tables, beyond: Some(beyond), grows };
        let ([z], mut party) = party.scratch([x.len()])?;
        z.copy_from_slice(x);
        party.kernels.add_constant(z, party.role.first(W::from_i64(-units(self.interval[0], f))));
        cells.apply(&mut party, (z, grows.then_some(x)), out, slope)
    }

    /// `g` of turns on shares.
    #[inline(never)] // or one stack frame has the tables of every degree
    fn on_turns<W: Word, const TABLES: usize>(
        &self,
        party: &mut Party<'_, W>,
        scalar: &dyn Scalar,
        numbers: &Numbers,
        (x, out): (&[W], &mut [W]),
        slope: Option<&mut [W]>,
    ) -> Result<(), Error> {
        let (f, k) = (numbers.frac_bits, numbers.ring_bits);
        let (degree, mut tables) = (usize::from(self.degree), [[0; 256]; TABLES]);
        let domain = Domain { shift: k - u32::from(self.bits), bits: self.bits.into(), signed: false };
        let [kept, guard] = self.room(scalar, numbers).unwrap_or_default();
        let (turn, _) = self.of_family(scalar);
        for cell in 0..self.cells() {
            put(&mut tables, cell, &turn.piece(scalar, cell), degree, f + guard);
            if slope.is_some() {
                tables[degree + 1][cell] = units(scalar.derivative(turn.centre(cell)), f);
            }
        }
        let cells = Cells { domain, degree, kept, guard, tables, beyond: None, grows: false };
        let ([z], mut party) = party.scratch([x.len()])?;
        z.copy_from_slice(x);
        party.kernels.scale(z, W::from_i64(units(1.0 / turn.interval[1], k - f)));
        cells.apply(&mut party, (z, None), out, slope)
    }

    /// Octaves of `x`, then the function of the mantissa, times a weight or with one added.
    #[inline(never)] // or one stack frame has the tables of every degree
    fn on_octaves<W: Word, const TABLES: usize>(
        &self,
        party: &mut Party<'_, W>,
        scaled: &OctaveFunction,
        (x, out): (&[W], &mut [W]),
    ) -> Result<(), Error> {
        let len = x.len();
        let (buffers, mut party) = party.scratch(Normalised::<W>::lengths(len, scaled.count()))?;
        let mut place = Normalised::new(buffers);
        let ([weights, y, c], mut party) = party.scratch([scaled.weights(len), len, len])?;
        scaled.normalise(&mut party, x, &mut place, weights)?;
        let width = scaled.numbers().octaves();
        let (mask, surplus) =
            self.cells_of_mantissa::<W, TABLES>(&mut party, (scaled, width), (place.mantissa, weights), y)?;
        if weights.is_empty() {
            return scaled.added(&mut party, &place, (y, surplus), out);
        }
        let mut draw = party.draw()?;
        let word = open(&mut party, &mut draw, y, Cut::signed(surplus), c)?; // a round
        truncated(&mut party, &mut draw, &word, y)?;
        let weights = Masked { words: weights, mask };
        scaled.weighted(&mut party, &place, (&mut draw, &word, y), weights, out)
    }

    /// The function `y` of mantissas of `width` fraction bits, with [`Numbers::mantissa_bits`] and
    /// as many more as are returned. What is `beside` is masked in the first round, in place.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    pub(crate) fn mantissa<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        (scaled, width): (&OctaveFunction, u32),
        (mantissa, beside): (&mut [W], &mut [W]),
        y: &mut [W],
    ) -> Result<(View<'static>, u32), Error> {
        match self.degree {
            1 => self.cells_of_mantissa::<W, 2>(party, (scaled, width), (mantissa, beside), y),
            3 => self.cells_of_mantissa::<W, 4>(party, (scaled, width), (mantissa, beside), y),
            _ => panic!("the default mapping of mantissas has lines or cubics"),
        }
    }

    fn cells_of_mantissa<W: Word, const TABLES: usize>(
        &self,
        party: &mut Party<'_, W>,
        (scaled, width): (&OctaveFunction, u32),
        (mantissa, beside): (&mut [W], &mut [W]),
        y: &mut [W],
    ) -> Result<(View<'static>, u32), Error> {
        let cells = self.mantissa_cells::<TABLES>(scaled, width);
        // Counted from the origin on, so that no index wraps.
        let origin = W::from_i64(-units(ORIGIN, width));
        party.kernels.add_constant(mantissa, party.role.first(origin));
        let mask = cells.untruncated(party, (mantissa, beside), y)?;
        Ok((mask, cells.surplus()))
    }

    /// The cells of the mantissa's function.
    fn mantissa_cells<const TABLES: usize>(&self, scaled: &OctaveFunction, width: u32) -> Cells<TABLES> {
        let numbers = &scaled.numbers();
        let (degree, mut tables) = (self.degree, [[0; 256]; TABLES]);
        let domain = Domain { shift: width - u32::from(self.bits), bits: self.bits.into(), signed: false };
        let [kept, guard] = self.mantissa_room(scaled, width);
        for cell in 0..self.cells() {
            let (_, piece) = self.mantissa_piece(|m| scaled.mantissa(m), cell);
            put(&mut tables, cell, &piece, degree.into(), numbers.mantissa_bits() + guard);
        }
        Cells { domain, degree: degree.into(), kept, guard, tables, beyond: None, grows: false }
    }

    /// The centre of a cell of the mantissa, and its piece, in cells from there.
    #[allow(clippy::cast_precision_loss)] // at most 256
    fn mantissa_piece(&self, g: impl Fn(f64) -> f64, cell: usize) -> (f64, fit::Coefficients) {
        let h = 1.0 / pow2(self.bits.into());
        let m = ORIGIN + cell as f64 * h;
        let [low, high] = [libm::fmax(m - h, LEAST), libm::fmin(m + h, 1.0)];
        let piece = if self.degree == 0 || low >= high {
            constant(g(libm::fmin(libm::fmax(m, LEAST), 1.0)))
        } else {
            fit::interpolation(|u| g(m + u * h), [(low - m) / h, (high - m) / h], self.degree.into())
        };
        (m, piece)
    }

    /// The largest error of a mantissa's piece: relative, of a logarithm absolute.
    pub(super) fn mantissa_fit_error(&self, scaled: &OctaveFunction) -> f64 {
        let (h, mut largest) = (1.0 / pow2(self.bits.into()), 0.0);
        for cell in 0..self.cells() {
            let (m, piece) = self.mantissa_piece(|m| scaled.mantissa(m), cell);
            for i in -8..=8 {
                let u = f64::from(i) / 8.0;
                let value = scaled.mantissa(libm::fmin(libm::fmax(m + u * h, LEAST), 1.0));
                let error = libm::fabs(fit::evaluate(&piece, u) - value);
                let error = if scaled.weights(1) > 0 { error / libm::fabs(value) } else { error };
                largest = if (LEAST..=1.0).contains(&(m + u * h)) { libm::fmax(largest, error) } else { largest };
            }
        }
        largest
    }

    /// Bits of the fraction of a mantissa's cell, and of its coefficients beyond the mantissa's.
    pub(super) fn mantissa_room(&self, scaled: &OctaveFunction, width: u32) -> [u32; 2] {
        let numbers = scaled.numbers();
        let of_mantissa = Numbers { frac_bits: numbers.mantissa_bits(), ..numbers };
        let h = 1.0 / pow2(self.bits.into());
        let steepest = libm::fabs(scaled.mantissa(LEAST) - scaled.mantissa(LEAST + h));
        let dropped = width - u32::from(self.bits);
        room(&of_mantissa, [scaled.largest_sum(), 1.25 * steepest], dropped, self.degree).unwrap_or_default()
    }

    /// `out = g(x)`, and `slope = g'(x)` if asked, both with the job's fraction bits.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    ///
    /// # Panics
    ///
    /// If lengths differ, or the mapping does not [fit](Self::check).
    pub fn apply<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        scalar: &dyn Scalar,
        numbers: &Numbers,
        (x, out): (&[W], &mut [W]),
        slope: Option<&mut [W]>,
    ) -> Result<(), Error> {
        let grows = scalar.range_reduction() == RangeReduction::Interval && scalar.ends(self.interval).grows;
        macro_rules! with_tables {
            ($($tables:literal)*) => {
                match (scalar.range_reduction(), self.tables(grows, slope.is_some())) {
                    $((RangeReduction::Interval, $tables) => self.on_interval::<W, $tables>(party, scalar, numbers, (x, out), slope),
                    (RangeReduction::Periodic, $tables) => self.on_turns::<W, $tables>(party, scalar, numbers, (x, out), slope),)*
                    (RangeReduction::Octaves(octaves), _) => {
                        self.octaves(party, &OctaveFunction::new(octaves, false, numbers).folded(), (x, out))?;
                        let Some(slope) = slope else { return Ok(()) };
                        self.octaves_slope(party, octaves, numbers, (x, out), slope)
                    }
                    _ => panic!("the mapping was checked"),
                }
            };
        }
        with_tables!(1 2 3 4 5 6 7)
    }

    /// The derivative of a function of octaves, from `x` and the function `y`. Of a logarithm and
    /// of a root it is another such function; of a negative power `p` it is `p y / x`, of factors
    /// that saturate where their product would leave the ring.
    pub(super) fn octaves_slope<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        octaves: Octaves,
        numbers: &Numbers,
        (x, y): (&[W], &[W]),
        slope: &mut [W],
    ) -> Result<(), Error> {
        let Octaves::Power { halves: halves @ ..0 } = octaves else {
            return self.octaves(party, &OctaveFunction::new(octaves, true, numbers).folded(), (x, slope));
        };
        let n = x.len();
        let ([factors], mut party) = party.scratch([2 * n])?;
        let (own, reciprocal) = factors.split_at_mut(n);
        own.copy_from_slice(y);
        if halves == -2 {
            reciprocal.copy_from_slice(y);
        } else {
            let scaled = OctaveFunction::new(Octaves::Power { halves: -2 }, false, numbers).folded();
            self.octaves(&mut party, &scaled, (x, reciprocal))?;
        }
        let most = units(libm::sqrt(pow2(W::BITS - 3) / f64::from(halves.unsigned_abs())), 0);
        clamp(&mut party, factors, W::default(), W::from_i64(most))?;
        multiply_halves(&mut party, factors, slope)?;
        party.kernels.scale(slope, W::from_i64(halves.into()));
        truncate(&mut party, slope, numbers.frac_bits + 1)
    }

    pub(super) fn octaves<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        scaled: &OctaveFunction,
        (x, out): (&[W], &mut [W]),
    ) -> Result<(), Error> {
        match self.degree {
            0 => self.on_octaves::<W, 1>(party, scaled, (x, out)),
            1 => self.on_octaves::<W, 2>(party, scaled, (x, out)),
            2 => self.on_octaves::<W, 3>(party, scaled, (x, out)),
            3 => self.on_octaves::<W, 4>(party, scaled, (x, out)),
            _ => self.on_octaves::<W, 5>(party, scaled, (x, out)),
        }
    }
}

/// Mantissas are no smaller.
pub const LEAST: f64 = 3.0 / 16.0;
/// Where the cells of the mantissa begin.
pub(super) const ORIGIN: f64 = 1.0 / 8.0;
/// Bits of a mantissa's index, at least: cells from the origin on reach beyond 1, and curved pieces
/// do not reach to 0.
const fn least_mantissa_bits(degree: u8) -> u8 {
    if degree > 1 { 4 } else { 3 }
}

/// The polynomial of degree 0.
fn constant(value: f64) -> fit::Coefficients {
    let mut c = fit::Coefficients::default();
    c[0] = value;
    c
}

/// Writes the coefficients of one cell to their tables.
fn put(tables: &mut [Table], cell: usize, piece: &fit::Coefficients, degree: usize, frac_bits: u32) {
    for (table, c) in tables[..=degree].iter_mut().zip(piece) {
        table[cell] = units(*c, frac_bits);
    }
}

/// Bits of the fraction, and guard bits of the coefficients, for values and steps a cell of at most
/// these magnitudes: two guard bits, one in a ring of 32 bits, and a fraction that errs by less
/// than one of them, if the ring has the room.
fn room(numbers: &Numbers, [value, step]: [f64; 2], dropped: u32, degree: u8) -> Option<[u32; 2]> {
    let [value, step] = [value, step].map(|x| bits_of(x * pow2(numbers.frac_bits)));
    let most = (numbers.ring_bits - 3).checked_sub(value.max(step + 1))?;
    if degree == 0 {
        return Some([0, 0]);
    }
    let guard = most.saturating_sub(step.min(dropped)).min(numbers.ring_bits / 32);
    let kept = dropped.min(step + guard + 1).min(most - guard);
    (kept >= dropped.min(4)).then_some([kept, guard])
}
