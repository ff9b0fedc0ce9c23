"""Functions of real numbers on shares, from the documentation of `core/src/function` and of the
protocols that they take: a saturating mapping, lines on its cells, and the normalisation by the
leading one.

A shared plane is a pair of planes, a shared vector a pair of lists of words: server 0's and
server 1's.
"""

from dataclasses import dataclass

from functions import ORIGIN, Sigmoid, units
from protocols import Play

# Bits of a digit above a position; digits of a group with thresholds, and of one without.
DIGIT, THRESHOLD_GROUP, PLAIN_GROUP = 4, 3, 4


def xor(*pairs):
    """Of shared planes."""
    out = pairs[0]
    for pair in pairs[1:]:
        out = [[a ^ b for a, b in zip(x, y)] for x, y in zip(out, pair)]
    return out


def keep(pair, plane):
    """A shared plane where the public one is set."""
    return [[a & b for a, b in zip(share, plane)] for share in pair]


def choose(plane, x, y):
    """`x` where the public plane is set, else `y`."""
    return xor(y, keep(xor(x, y), plane))


@dataclass
class Group:
    """Digits that are joined in one round; `marked` of them, from the lowest on, have thresholds.
    `total` groups find whether all their digits are equal, the others only what thresholds need."""

    at: int
    digits: int
    marked: int
    total: bool

    @property
    def inner(self):
        """Marked digits with others above."""
        return min(self.marked, self.digits - 1)

    @property
    def lowest(self):
        return 0 if self.total else 1

    def chain_starts(self):
        return range(self.lowest, self.inner + 1)

    def variables(self):
        if self.digits == 1:
            return 0
        return self.digits - self.lowest + 3 * self.inner + sum(self.digits - start for start in self.chain_starts())


class Upper:
    """The digits of a word of `bits` bits from bit `low` on, in groups."""

    def __init__(self, low, bits, marked=0):
        self.low, self.widths = low, [min(DIGIT, bits - at) for at in range(low, bits, DIGIT)]
        self.groups, at = [], 0
        plain = 1 if len(self.widths) <= PLAIN_GROUP else PLAIN_GROUP
        while at < len(self.widths):
            most = THRESHOLD_GROUP if marked else PLAIN_GROUP if self.has_thresholds() else plain
            digits = min(most, len(self.widths) - at)
            self.groups.append(Group(at, digits, min(marked, digits), at > 0 or not marked))
            at, marked = at + digits, max(0, marked - digits)

    def has_thresholds(self):
        return any(group.marked for group in self.groups)


class Functions(Play):
    # --- planes ----------------------------------------------------------------------------------------------------

    def ones(self, n):
        """The public plane of all ones, as server 0 alone has it."""
        return [[self.q - 1] * self.lanes(n), [0] * self.lanes(n)]

    def opened_pairs(self, pairs, note=""):
        return self.open_variables([[pair[j] for pair in pairs] for j in (0, 1)], note)

    def products(self, opened, masks, terms):
        """Shared planes of the products of these variables."""
        out = self.conjunctions(opened, masks, [set(term) for term in terms])
        return [list(pair) for pair in zip(*out)]

    # --- digits above a position -----------------------------------------------------------------------------------

    def leaves(self, upper, c, digits):
        """Of each digit the shared planes `e` where `r = c`, `z` where `r = c - 1`, `l` where a
        borrow comes out of the upper two bits, `a` and `b` where `c - r` is below 4, without and
        with a borrow; `n`, public, where `c` is zero."""
        tests = {
            "e": lambda c, r, cells: r == c,
            "z": lambda c, r, cells: r == (c - 1) % cells,
            "l": lambda c, r, cells: r >> 2 > c >> 2,
            "a": lambda c, r, cells: 0 <= c - r < 4,
            "b": lambda c, r, cells: r > c and (c - r) % 16 < 4,
        }
        out = []
        for i, width in enumerate(upper.widths):
            own = [w >> (upper.low + DIGIT * i) & (2**width - 1) for w in c]
            leaf = {"n": self.plane([int(w == 0) for w in own])}
            for name, test in tests.items():
                wanted = lambda e, r: test(own[e], r, 2**width)
                leaf[name] = [self.look_up(digits[j][i], len(c), wanted) for j in (0, 1)]
            out.append(leaf)
        return out

    def upper_variables(self, upper, leaves):
        """The planes that the round opens, and for each start of a chain where all digits of `c`
        from it on are zero."""
        variables, zeros = [], {}
        for group in upper.groups:
            own = leaves[group.at : group.at + group.digits]
            if group.digits > 1:
                variables += [leaf["e"] for leaf in own[group.lowest :]]
                for name in "alb":
                    variables += [leaf[name] for leaf in own[: group.inner]]
            for start in group.chain_starts():
                variables += [own[start]["z"]] if group.digits > 1 else []
                run = own[start]["n"]
                for leaf in own[start + 1 :]:
                    variables.append(choose(run, leaf["z"], leaf["e"]))
                    run = [a & b for a, b in zip(run, leaf["n"])]
                zeros[group.at + start] = run
        return variables, zeros

    def upper_joined(self, upper, leaves, zeros, opened, masks, n):
        """Of each group `x`, `y`, `n` (for a total one) and the pairs `A`, `B` of its thresholds.
        With `E`, `F` of the groups above, those of a group and all above are `x E` and
        `y (n ? F : E)`, and a threshold is `A E + B F`."""
        joined, at = [], 0
        for group in upper.groups:
            own, here = leaves[group.at : group.at + group.digits], slice(at, at + group.variables())
            at = here.stop
            result = {"thresholds": []}
            equal, less = self.group_products(group, opened[here], [m[here] for m in masks])
            if group.total:
                single = group.digits == 1
                result["x"] = own[0]["e"] if single else equal[0]
                result["y"] = own[0]["z"] if single else less[0]
                result["n"] = zeros[group.at]
            for i in range(group.marked):
                if i >= group.inner:
                    middle = own[i]["a"], own[i]["b"]
                    top = xor(self.ones(n), own[i]["l"]), own[i]["l"]
                else:
                    e, ea, el = equal[group.total + 3 * i :][:3]
                    fb, fl = less[group.total + 2 * i :][:2]
                    zero = zeros[group.at + i + 1]
                    moved = lambda a, b: (xor(a, b, keep(b, zero)), keep(b, zero))
                    middle, top = moved(ea, fb), moved(xor(e, el), fl)
                result["thresholds"] += [middle, top]
            joined.append(result)
        return joined

    def group_products(self, group, opened, masks):
        if group.digits == 1:
            return [], []
        inner, count = group.inner, group.digits - group.lowest
        # Variables e, a, l.
        terms = [range(count)] if group.total else []
        for i in range(inner):
            above = list(range(count - (group.digits - 1 - i), count))
            terms += [above, [*above, count + i], [*above, count + inner + i]]
        end = count + 2 * inner
        equal = self.products(opened[:end], [m[:end] for m in masks], terms)
        # Variables l, b, then the chains.
        terms, at = [], 2 * inner
        for start in group.chain_starts():
            chain, i = list(range(at, at + group.digits - start)), start - 1
            terms += [chain] if start == 0 else [[*chain, inner + i], [*chain, i]]
            at += len(chain)
        start = count + inner
        return equal, self.products(opened[start:], [m[start:] for m in masks], terms)

    def chain(self, joined, n):
        """`x` of each group, and the factors of `F` of all of them: `y` where all digits of `c`
        below are zero, else `x`."""
        run, x, v = [self.q - 1] * self.lanes(n), [], []
        for group in joined:
            x.append(group["x"])
            v.append(choose(run, group["y"], group["x"]))
            run = [a & b for a, b in zip(run, group["n"])]
        return x, v

    # --- thresholds ------------------------------------------------------------------------------------------------

    def last_variables(self, joined, n):
        """For each group below others `x` of those above, `A` and `B` of its thresholds, the chain
        of those above."""
        out = []
        for i, group in enumerate(joined):
            above = joined[i + 1 :]
            if above and group["thresholds"]:
                x, v = self.chain(above, n)
                a, b = (list(side) for side in zip(*group["thresholds"]))
                out += [x, a, b, v]
        return sum(out, [])

    def thresholds(self, joined, opened, masks, wanted):
        out, at = [], 0
        for i, group in enumerate(joined):
            above, own = len(joined) - 1 - i, group["thresholds"]
            if not above:
                out += [xor(a, b) for a, b in own]
            elif own:
                middle, end = at + above + len(own), at + 2 * (above + len(own))
                x, v = list(range(above)), list(range(len(own), len(own) + above))
                terms = [[*x, above + t] for t in range(len(own))]
                equal = self.products(opened[at:middle], [m[at:middle] for m in masks], terms)
                terms = [[*v, t] for t in range(len(own))]
                less = self.products(opened[middle:end], [m[middle:end] for m in masks], terms)
                out += [xor(a, b) for a, b in zip(equal, less)]
                at = end
            out = out[:wanted]
        return out

    # --- the leading one -------------------------------------------------------------------------------------------

    def normalise(self, x, octaves, low):
        """The words `[x < 4^i]`, the mantissa, and a selector for `[x >= low]` and
        `[x >= 4^octaves]`."""
        n, top, thresholds = len(x[0]), self.k - 2, octaves - 1
        self.draw()
        c, r = self.open_word(x, self.half(), 0, self.k)
        whole = self.add(*r)
        ends = [(w - limit) % self.q for limit in (low, 4**octaves) for w in c]
        signs, t = self.compare_all((c, ends), whole, octaves, top)
        note = f" {thresholds}x{n} 1x{2 * n}"
        opened, masks = self.opened_pairs([*t, signs], note)
        bits = [[a ^ b for a, b in zip(*both)] for both in zip(*masks)]
        selector = lambda i, count: (opened[i], [self.element(bits[i], count, e) for e in range(count)])
        beta, of_ends = selector(thresholds, 2 * n)
        of_ends = (beta, of_ends, self.deal(of_ends))
        word, mantissa, below = (c, r, self.half(), self.k), x, []
        for i in range(thresholds):
            beta, rho = selector(i, n)
            bit = (beta, rho, self.deal(rho))
            factor = 3 * 4 ** (octaves - 2 - i)  # w_i - w_(i+1)
            product = self.selected(word, bit, x)
            mantissa = [self.add(m, [factor * p for p in own]) for m, own in zip(mantissa, product)]
            below.append(self.bit_words(bit, n))
        return below, mantissa, of_ends

    def compare_all(self, words, whole, octaves, top):
        """Signs of the differences, and the thresholds, in the same two rounds."""
        (c, ends), n = words, len(words[0])
        upper = Upper(0, 2 * octaves + 1, -(-(octaves - 1) // 2))
        less, equal, bit = self.compared_digits(ends, whole + whole, top, 2 * n)
        leaves = self.leaves(upper, c, self.deal_digits(whole, 0, upper.widths))
        levels = self.levels(top)
        assert len(levels) == 2
        own, zeros = self.upper_variables(upper, leaves)
        for level, sizes in enumerate(levels):
            others = self.level_variables(less, equal, sizes)
            note = f" {len(own)}x{n} {len(others[0])}x{2 * n}"
            opened, masks = self.opened_pairs([*own, *map(list, zip(*others))], note)
            mine, rest = slice(0, len(own)), slice(len(own), None)
            mine, rest = ((opened[part], [m[part] for m in masks]) for part in (mine, rest))
            if level == 0:
                joined = self.upper_joined(upper, leaves, zeros, *mine, n)
                own = self.last_variables(joined, n)
            else:
                t = self.thresholds(joined, *mine, octaves - 1)
            less, equal = self.join_level(less, equal, sizes, *rest, 2 * n)
        return xor(bit, [less[j][0] for j in (0, 1)]), t

    def bit_words(self, bit, n):
        """Shares of a selector's bit, in words."""
        beta, _, rho = bit
        public = [self.element(beta, n, e) for e in range(n)]
        return [[((b if j == 0 else 0) + (1 - 2 * b) * w) % self.q for b, w in zip(public, rho[j])] for j in (0, 1)]

    def weigh(self, below, weights):
        """The weight of each word's octave."""
        n = len(below[0][0])
        out = [[weights[-1] % self.q] * n, [0] * n]
        for i, bit in enumerate(below):
            step = weights[i] - weights[i + 1]
            out = [self.add(own, [step * b for b in share]) for own, share in zip(out, bit)]
        return out

    def within(self, word, of_ends, ends, y):
        """`y` between both ends, the results at the ends beyond them."""
        (c, r, offset, width), n = word, len(y[0])
        twice = (c + c, [own + own for own in r], offset, width)
        both = self.selected(twice, of_ends, [own + own for own in y])
        bits, (below, above), out = self.bit_words(of_ends, 2 * n), ends, []
        for j in (0, 1):
            first, second = (slice(0, n), slice(n, None))
            rows = zip(both[j][first], both[j][second], bits[j][first], bits[j][second])
            public = below if j == 0 else 0
            out.append([(a - b - below * low + above * high + public) % self.q for a, b, low, high in rows])
        return out

    # --- mapping with two ends -------------------------------------------------------------------------------------

    def mapped(self, word, bits, tables, beyond):
        """Entries at the index of an opened word, table after table; `beyond`, if there is one, has
        the entries below the domain and above."""
        (c, r), width = word[:2], word[3]
        n, whole, cells = len(c), self.add(*r), 1 << bits
        index = lambda e, h: (c[e] - h) % cells
        if beyond is None:
            assert width == bits
            return self.map_boolean(n, self.deal_digits(whole, 0, [bits]), index, tables)
        upper = Upper(bits, width)
        digits = self.deal_digits(whole, 0, [bits, *upper.widths])
        entries, planes = [], []
        for table, below, above in zip(tables, *beyond):
            least = min([*table, below, above])
            differ = below - least | above - least
            for entry in table:
                differ |= entry - least
            for b in (b for b in range(64) if differ >> b & 1):
                bit = lambda entry: entry - least >> b & 1
                wanted = lambda e, h: bit(table[index(e, h)]) ^ bit(above)
                plane = [self.look_up(digits[j][0], n, wanted) for j in (0, 1)]
                planes.append((plane, bit(above), bit(below) ^ bit(above)))
            entries.append((least, [b for b in range(64) if differ >> b & 1]))
        planes = self.saturated(n, c, r, (upper, width), digits, planes)
        return self.entries(n, [[plane[j] for plane in planes] for j in (0, 1)], entries)

    def saturated(self, n, c, r, shape, digits, planes):
        """`planes` are bits less that of the result above, with that bit and whether the ends
        differ in it: where an index is beyond the table, its plane becomes 0 before the bit of the
        end is added again."""
        upper, width = shape
        cells = 1 << (upper.low)
        borrow = [self.look_up(digits[j][0], n, lambda e, h: h > c[e] % cells) for j in (0, 1)]
        sign = self.sign(c, r, width - 1)
        flipped = [xor(plane, sign) if differs else plane for plane, _, differs in planes]
        leaves = self.leaves(upper, c, [digits[j][1:] for j in (0, 1)])
        variables, zeros = self.upper_variables(upper, leaves)
        joined = self.upper_joined(upper, leaves, zeros, *self.opened_pairs(variables), n)
        kept = self.kept(joined, borrow, flipped, n)
        out = []
        for plane, (_, above, differs) in zip(kept, planes):
            plane = xor(plane, sign) if differs else plane
            out.append(xor(plane, self.ones(n)) if above else plane)
        return out

    def kept(self, joined, borrow, planes, n):
        """Each plane where the digits above the index are zero: one round."""
        groups = len(joined)
        most = 15 - groups  # a conjunction has at most 16 variables
        chunks = [planes[at : at + most] for at in range(0, len(planes), most)]
        x, v = self.chain(joined, n)
        opened, masks = self.opened_pairs(sum(([*x, borrow, *chunk, *v] for chunk in chunks), []))
        out, at = [], 0
        for chunk in chunks:
            count = len(chunk)
            here, there = (slice(at, at + groups + 1 + count), slice(at + groups, at + 2 * groups + 1 + count))
            all_x, of = list(range(groups)), lambda j: groups + 1 + j
            terms = [[*all_x, of(j)] for j in range(count)] + [[*all_x, of(j), groups] for j in range(count)]
            equal = self.products(opened[here], [m[here] for m in masks], terms)
            all_v = list(range(1 + count, 1 + count + groups))
            terms = [[*all_v, 0, 1 + j] for j in range(count)]
            less = self.products(opened[there], [m[there] for m in masks], terms)
            out += [xor(*three) for three in zip(equal, equal[count:], less)]
            at = there.stop
        return out

    # --- lines on cells --------------------------------------------------------------------------------------------

    def lines(self, z, cells, beside, beyond=None):
        """Lines at `z`, with `cells.surplus` more fraction bits; and `beside`, masked in the first
        round. The place in the cell is what each server's own truncation drops."""
        n, bits = len(z[0]), cells.bits if beyond is None else self.k - cells.shift
        self.draw()
        shares, r = self.blind_word(z, 0, cells.shift)
        d_mask, beside_mask = self.mask(n), self.mask(len(beside[0]))
        low, cut = 2**cells.shift - 1, cells.shift - cells.kept
        d = [[((w + low) & low) >> cut for w in z[0]], [(w & low) >> cut for w in z[1]]]
        d[0] = [(w + 1 - 2**cells.kept) % self.q for w in d[0]]
        shares = [[w % 2**bits for w in share] for share in shares]
        d, beside = self.hidden(d, d_mask), self.hidden(beside, beside_mask)
        self.send([self.pack(shares[j], bits) + d[j] + beside[j] for j in (0, 1)])
        c = [(a + b) % 2**bits for a, b in zip(*shares)]
        place, beside = (self.add(*d), d_mask), (self.add(*beside), beside_mask)
        entries = self.mapped((c, r, 0, bits), cells.bits, cells.tables, beyond)
        constants, slopes = ([own[part] for own in entries] for part in (slice(0, n), slice(n, None)))
        out = self.product(self.masked(slopes), place)
        return [self.add(own, [w << cells.kept for w in c]) for own, c in zip(out, constants)], beside

    def truncated_times(self, word, factor, y):
        """`y p`, where `y` is the truncated value of an opened word and `p` is masked."""
        (c, r, offset, width), (opened, mask) = word, factor
        (h, m), p = self.mask_parts(r, width), self.add(*mask)
        hp = self.deal([a * b % self.q for a, b in zip(h, p)])
        mp = self.deal_narrow([a * b for a, b in zip(m, p)], self.k - width + 1)
        out = []
        for j in (0, 1):
            words = []
            for e, w in enumerate(c):
                big_c, big_q = self.public_parts(w, offset, width)
                words.append((y[j][e] * opened[e] + big_c * mask[j][e] - hp[j][e] + big_q * mp[j][e]) % self.q)
            out.append(words)
        return out

    # --- functions -------------------------------------------------------------------------------------------------

    def shifted(self, z, constant):
        """With a public number added."""
        return [[(w + constant) % self.q for w in z[0]], z[1]]

    def function(self, x, function):
        return self.sigmoid(x, function) if isinstance(function, Sigmoid) else self.power(x, function)

    def sigmoid(self, x, function):
        cells = function.cells()
        z = self.shifted(x, -units(function.interval[0], function.f))
        y, _ = self.lines(z, cells, [[], []], function.beyond(cells.guard))
        return self.truncate(y, self.half(), cells.surplus)

    def power(self, x, function):
        cells, octaves = function.cells(), function.octaves
        below, mantissa, of_ends = self.normalise(x, octaves, 1)
        weights = self.weigh(below, [function.weight(j) for j in range(octaves)])
        mantissa = self.shifted(mantissa, -units(ORIGIN, 2 * octaves))
        y, weights = self.lines(mantissa, cells, weights)
        word, y = self.opened_and_truncated(y, cells.surplus)
        y = self.truncated_times(word, weights, y)
        word, y = self.opened_and_truncated(y, function.mantissa_bits + function.shift)
        return self.within(word, of_ends, function.ends(), y)

    def opened_and_truncated(self, z, frac_bits):
        self.draw()
        offset, bits = self.half(), self.k - frac_bits
        c, r = self.open_word(z, offset, frac_bits, bits)
        return (c, r, offset >> frac_bits, bits), self.truncated(c, r, offset >> frac_bits, bits)
