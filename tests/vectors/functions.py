"""Functions of real numbers by mapping: which cells, which coefficients, how large an error; from
the documentation of `core/src/function`.

Computed in double precision, as the parties do. Entries are rounded, so that a difference in the
last place of `exp` or `pow` shows only where a coefficient lies within some 1e-12 units of one half.
"""

import math
from dataclasses import dataclass

# Mantissas are no smaller; where the cells of the mantissa begin.
LEAST, ORIGIN = 3 / 16, 1 / 8


def units(x, frac_bits):
    """To the nearest, halves away from zero."""
    scaled = abs(x) * 2.0**frac_bits
    whole = math.floor(scaled)
    whole += scaled - whole >= 0.5
    return whole if x >= 0 else -whole


def bits_of(x):
    """Bits of a magnitude."""
    return next(bits for bits in range(64) if 2.0**bits > abs(x))


def line(g, low, high):
    """Both coefficients of the line through `g` at the Chebyshev nodes of an interval."""
    node = lambda i: (low + high) / 2 - (high - low) / 2 * math.cos(math.pi * (i + 0.5) / 2)
    (x, y), (x2, y2) = [(node(i), g(node(i))) for i in (0, 1)]
    slope = (y2 - y) / (x2 - x)
    return y - x * slope, slope


def room(ring_bits, frac_bits, value, step, dropped):
    """Bits of the fraction that count, and of the coefficients beyond the result's, for values and
    steps a cell of these magnitudes."""
    value, step = bits_of(value * 2.0**frac_bits), bits_of(step * 2.0**frac_bits)
    most = ring_bits - 3 - max(value, step + 1)
    guard = min(max(0, most - min(step, dropped)), ring_bits // 32)
    kept = min(dropped, step + guard + 1, most - guard)
    assert kept >= min(dropped, 4), "the ring has no room"
    return kept, guard


@dataclass
class Cells:
    """Lines on cells: bits of a value below the index, bits of the index, and what `room` says."""

    shift: int
    bits: int
    kept: int
    guard: int
    tables: list

    @property
    def surplus(self):
        return self.kept + self.guard


# Rounding error of a line, in units of its coefficients' last place: of both coefficients.
LINE = 1.0
# Bits of an index that are tried for lines; the first that is precise enough is taken.
TRIED = (6, 7, 8)
# Places at which a piece is held against the function.
PLACES = [i / 8 for i in range(-8, 9)]


class Sigmoid:
    name, interval, ends = "sigmoid", (-8.0, 8.0), (0.0, 1.0)

    def __init__(self, ring_bits, frac_bits):
        assert frac_bits <= 12
        self.k, self.f = ring_bits, frac_bits
        self.bits = next(bits for bits in TRIED if self.fit_error(bits) <= 0.4 / 2.0**frac_bits)

    def value(self, x):
        return 1 / (1 + math.exp(-x))

    def width(self, bits):
        return (self.interval[1] - self.interval[0]) / 2**bits

    def centre(self, bits, cell):
        return self.interval[0] + cell * self.width(bits)

    def piece(self, bits, cell):
        """In cells from the centre. A piece serves the halves of both cells beside it, but ends
        with the interval."""
        h, m = self.width(bits), self.centre(bits, cell)
        return line(lambda u: self.value(m + u * h), -1.0, min((self.interval[1] - m) / h, 1.0))

    def fit_error(self, bits):
        worst = 0.0
        for cell in range(2**bits):
            low, slope = self.piece(bits, cell)
            for u in PLACES:
                x = self.centre(bits, cell) + u * self.width(bits)
                if self.interval[0] <= x <= self.interval[1]:
                    worst = max(worst, abs(low + slope * u - self.value(x)))
        return worst

    def cells(self):
        centres = [self.centre(self.bits, cell) for cell in range(2**self.bits + 1)]
        steepest = max(self.value(x) * self.value(-x) for x in centres) * self.width(self.bits)
        shift = units(self.width(self.bits), self.f).bit_length() - 1
        kept, guard = room(self.k, self.f, max(map(self.value, centres)), 1.25 * steepest, shift)
        assert kept == shift
        pieces = [self.piece(self.bits, cell) for cell in range(2**self.bits)]
        tables = [[units(c, self.f + guard) for c in column] for column in zip(*pieces)]
        return Cells(shift, self.bits, kept, guard, tables)

    def beyond(self, guard):
        """For both ends, the entry of each table."""
        return [[units(end, self.f + guard), 0] for end in self.ends]

    def is_right(self, x, y):
        """Whether `y` may be the result at `x`, both in units."""
        low, high = (units(end, self.f) for end in self.interval)
        one, cells = 2.0**self.f, self.cells()
        if not low - 2**cells.shift < x < high:
            return y == units(self.ends[x >= high], self.f)
        fit = 1.05 * self.fit_error(self.bits)
        most = fit * one + 1.0 + LINE / 2.0**cells.guard
        # At the ends a value takes the limit or the last piece; one less than a cell below may
        # round up.
        for at, end in ((self.interval[0], 0), (self.interval[1] - self.width(self.bits), 1)):
            most = max(most, abs(self.value(at) - self.ends[end]) * one + 1.5)
        exact = 0.0 if x < low else self.value(x / one) * one
        return abs(y - exact) <= most + fit * exact


class Power:
    """`x^(halves / 2)` of the mantissa `x w / 4^J`, with `w` the power of two of its octave."""

    def __init__(self, name, halves, ring_bits, frac_bits):
        assert ring_bits == 32
        self.name, self.halves, self.k, self.f = name, halves, ring_bits, frac_bits
        self.octaves, self.mantissa_bits = 8, 13
        first = self.whole_exponent(0)
        self.fold = first - math.floor(first)
        self.largest = max(self.mantissa(LEAST), self.mantissa(1.0))
        self.weight_bits = ring_bits - 2 - bits_of(self.largest) - self.mantissa_bits
        top = max(self.exponent(0), self.exponent(self.octaves - 1))
        self.shift = self.weight_bits - math.ceil(top)
        assert self.has_room_for_all()
        self.bits = next(bits for bits in TRIED if self.fit_error(bits) <= 2.0 / 2**self.mantissa_bits)

    def whole_exponent(self, octave):
        """`log2` of the power, in units, for the mantissa 1 of an octave."""
        return self.f + self.halves / 2 * (2 * octave + 2 - self.f)

    def exponent(self, octave):
        return self.whole_exponent(octave) - self.fold

    def has_room_for_all(self):
        """No octave at the low end is left out."""
        most = self.k - 4 - math.log2(max(self.largest, 1.0))
        beside = self.weight_bits + max(self.exponent(self.octaves - 1), -bits_of(self.largest))
        return self.exponent(0) <= min(most, beside)

    def mantissa(self, m):
        return m ** (self.halves / 2) * 2.0**self.fold

    def weight(self, octave):
        return units(min(2.0 ** (self.exponent(octave) + self.shift), 2.0 ** (self.weight_bits + 1)), 0)

    def piece(self, bits, cell):
        h = 1 / 2**bits
        m = ORIGIN + cell * h
        low, high = max(m - h, LEAST), min(m + h, 1.0)
        if low >= high:  # no mantissa is there
            return self.mantissa(min(max(m, LEAST), 1.0)), 0.0
        return line(lambda u: self.mantissa(m + u * h), (low - m) / h, (high - m) / h)

    def fit_error(self, bits):
        """Relative."""
        worst, h = 0.0, 1 / 2**bits
        for cell in range(2**bits):
            low, slope = self.piece(bits, cell)
            for u in PLACES:
                x = ORIGIN + cell * h + u * h
                if LEAST <= x <= 1:
                    worst = max(worst, abs(low + slope * u - self.mantissa(x)) / self.mantissa(x))
        return worst

    def cells(self):
        shift, h = 2 * self.octaves - self.bits, 1 / 2**self.bits
        steepest = abs(self.mantissa(LEAST) - self.mantissa(LEAST + h))
        kept, guard = room(self.k, self.mantissa_bits, self.largest, 1.25 * steepest, shift)
        pieces = [self.piece(self.bits, cell) for cell in range(2**self.bits)]
        tables = [[units(c, self.mantissa_bits + guard) for c in column] for column in zip(*pieces)]
        return Cells(shift, self.bits, kept, guard, tables)

    def ends(self):
        """The results below 1 unit and from `4^J` units on."""
        of = lambda log2: units(2.0 ** (self.f + self.halves / 2 * (log2 - self.f)), 0)
        return [0 if self.halves > 0 else of(0), of(2 * self.octaves)]

    def is_right(self, x, y):
        if not 1 <= x < 4**self.octaves:
            return y == self.ends()[x >= 1]
        rounding = (1.5 + LINE / 2.0 ** self.cells().guard) / 2.0**self.mantissa_bits
        relative = 1.05 * self.fit_error(self.bits) + rounding / min(self.mantissa(1.0), self.mantissa(LEAST))
        exact = (x / 2.0**self.f) ** (self.halves / 2) * 2.0**self.f
        whole = lambda octave: self.exponent(octave) + self.shift >= 0 and (self.exponent(octave) + self.shift) % 1 == 0
        of_weight = 0.0 if whole(0) and whole(self.octaves - 1) else 0.5 * self.largest / 2.0**self.shift
        return abs(y - exact) <= 1.0 + of_weight + relative * exact


def functions(ring_bits, frac_bits):
    """Those that there are vectors of."""
    powers = [Power(name, halves, ring_bits, frac_bits) for name, halves in (("reciprocal", -2), ("square-root", 1))]
    return [Sigmoid(ring_bits, frac_bits), *powers]
