"""Two servers and a dealer in one place, from the documentation: names of masks, what is dealt, what is sent, what comes out.

Slow and plain: a word is a number, a shared value is a pair. Sections are those of the design's pages on correlated randomness, truncation,
comparison and mapping, which the modules of `core/src/protocol` repeat.
"""

from primitives import chacha20_stream, hkdf, u16, u32

# Bits of a digit at most, and digits that one product joins; bits that one round compares.
DIGIT, CHILDREN, ONE_LEVEL = 5, 5, 20


def spread(count, parts):
    """`count` things in so many parts of almost equal size."""
    return [(i + 1) * count // parts - i * count // parts for i in range(parts)]


def node_cost(size, is_lowest):
    """Bits opened and dealt for a node over so many digits."""
    if size < 2:
        return 0
    equal = size - 1 if is_lowest else size
    opened = size - 1 + equal
    dealt = 2**equal - 1 - equal + sum(2**above - 1 for above in range(1, size))
    return opened + dealt


def layout(bits):
    """Widths of the digits of a comparison, lowest first, and the sizes of its nodes: the cheapest."""

    def cost(digits, nodes):
        levels = [spread(digits, nodes)] + ([[nodes]] if nodes > 1 else [])
        joins = sum(node_cost(size, i == 0) for level in levels for i, size in enumerate(level))
        return sum(2**width - 1 for width in spread(bits, digits)) + joins

    least = -(-bits // DIGIT)
    choices = []
    for nodes in [1] if bits <= ONE_LEVEL else range(2, CHILDREN + 1):
        most = CHILDREN * nodes if least > 1 else least
        choices += [(cost(digits, nodes), nodes, digits) for digits in range(max(least, nodes), most + 1)]
    _, nodes, digits = min(choices, key=lambda choice: choice[0])
    return spread(bits, digits), spread(digits, nodes)


class Play:
    """One call of a protocol. Collects what was dealt and what was sent, in order.

    A text of planes ends with their numbers, `PLANESxELEMENTS`, where some have more elements than
    the vector: padding may hold anything.
    """

    def __init__(self, bits, session, seeds):
        self.k, self.q = bits, 1 << bits
        self.keys = [hkdf(seed, b"symbolon prg v1" + session + b"chacha20", 32) for seed in seeds]
        self.request, self.part = -1, 0
        self.dealt, self.rounds = [], []

    # --- names, streams, words -------------------------------------------------------------------------------------

    def draw(self):
        """A protocol call draws one number; its masks and dealt values are numbered parts of it."""
        self.request, self.part = self.request + 1, 0

    def next(self):
        self.part += 1
        return u16(0) + u32(self.request) + u16(self.part - 1)

    def stream(self, server, name, n):
        return self.words(chacha20_stream(self.keys[server], name + bytes(4), 0, n * self.k // 8))

    def words(self, data):
        size = self.k // 8
        return [int.from_bytes(data[i : i + size], "little") for i in range(0, len(data), size)]

    def bytes(self, words):
        return b"".join((w % self.q).to_bytes(self.k // 8, "little") for w in words)

    def lanes(self, n):
        return -(-n // self.k)

    def add(self, a, b):
        return [(x + y) % self.q for x, y in zip(a, b)]

    # --- masks and what is dealt -----------------------------------------------------------------------------------

    def mask(self, n):
        """Both servers' streams: words or planes."""
        name = self.next()
        return [self.stream(server, name, n) for server in (0, 1)]

    def deal(self, values):
        """On lane 0: server 0 expands its share, server 1 is sent the difference."""
        own = self.stream(0, self.next(), len(values))
        other = [(v - o) % self.q for v, o in zip(values, own)]
        self.dealt.append(self.bytes(other).hex())
        return own, other

    def deal_planes(self, planes, elements=None):
        own = self.stream(0, self.next(), len(planes))
        other = [v ^ o for v, o in zip(planes, own)]
        note = f" {len(planes) // self.lanes(elements)}x{elements}" if elements else ""
        self.dealt.append(self.bytes(other).hex() + note)
        return own, other

    def deal_narrow(self, values, bits):
        """In `Z_2^bits`, packed where that saves words."""
        n, packed = len(values), self.lanes(len(values)) * bits
        if bits >= self.k or packed >= n:
            return self.deal(values)
        own = self.unpack(self.stream(0, self.next(), packed), n, bits)
        other = [(v - o) % 2**bits for v, o in zip(values, own)]
        self.dealt.append(self.bytes(self.pack(other, bits)).hex())
        return own, other

    def pack(self, values, bits):
        """Element `e` is row `e / lanes` of lane `e % lanes`; each lane's rows follow each other without gaps."""
        n, lanes = len(values), self.lanes(len(values))
        if lanes * bits >= n:
            return list(values)
        long = [0] * lanes
        for e, value in enumerate(values):
            long[e % lanes] |= (value % 2**bits) << (e // lanes * bits)
        return [long[lane] >> (self.k * i) & (self.q - 1) for i in range(bits) for lane in range(lanes)]

    def unpack(self, packed, n, bits):
        lanes = self.lanes(n)
        if lanes * bits >= n:
            return list(packed)
        long = [sum(packed[i * lanes + lane] << (self.k * i) for i in range(bits)) for lane in range(lanes)]
        return [long[e % lanes] >> (e // lanes * bits) & (2**bits - 1) for e in range(n)]

    def plane(self, bits):
        """Bit `e / lanes` of word `e % lanes` is element `e`'s."""
        lanes = self.lanes(len(bits))
        plane = [0] * lanes
        for e, bit in enumerate(bits):
            plane[e % lanes] |= bit << (e // lanes)
        return plane

    def element(self, plane, n, e):
        lanes = self.lanes(n)
        return plane[e % lanes] >> (e // lanes) & 1

    # --- rounds ----------------------------------------------------------------------------------------------------

    def send(self, shares, note=""):
        self.rounds.append(" ".join(self.bytes(share).hex() for share in shares) + note)

    def open(self, shares):
        self.send(shares)
        return self.add(*shares)

    def open_planes(self, shares, note=""):
        self.send(shares, note)
        return [a ^ b for a, b in zip(*shares)]

    def open_narrow(self, shares, bits):
        """Opens the low `bits` bits, packed."""
        shares = [[w % 2**bits for w in share] for share in shares]
        self.send([self.pack(share, bits) for share in shares])
        return [(a + b) % 2**bits for a, b in zip(*shares)]

    def open_word(self, z, offset, dropped, bits):
        """Each server drops low bits of its share of `z + offset + 2^dropped - 1`, and opens `bits` bits of what is left under a mask:
        `c`, and both servers' shares of the mask."""
        shares, r = self.blind_word(z, offset, dropped)
        return self.open_narrow(shares, bits), r

    def blind_word(self, z, offset, dropped):
        """What each server sends to open a word, and its share of the mask."""
        r = self.mask(len(z[0]))
        first = offset + 2**dropped - 1
        left = [[((w + (first if j == 0 else 0)) % self.q) >> dropped for w in z[j]] for j in (0, 1)]
        return [self.add(left[j], r[j]) for j in (0, 1)], r

    # --- products --------------------------------------------------------------------------------------------------

    def multiply(self, x, y):
        return self.product(*[self.masked(value) for value in (x, y)])

    def hidden(self, value, mask):
        return [[(v - m) % self.q for v, m in zip(value[j], mask[j])] for j in (0, 1)]

    def masked(self, value):
        """The value less a mask, open, and both servers' shares of the mask."""
        self.draw()
        a = self.mask(len(value[0]))
        return self.open(self.hidden(value, a)), a

    def product(self, x, y):
        """Of masked values."""
        self.draw()
        (big_x, a), (big_y, b) = x, y
        c = self.deal([u * v % self.q for u, v in zip(self.add(*a), self.add(*b))])
        out = []
        for j in (0, 1):
            rows = zip(big_x, big_y, a[j], b[j], c[j])
            first = big_y if j == 0 else [0] * len(big_y)
            out.append([(xx * (yy + bb) + aa * y + cc) % self.q for (xx, y, aa, bb, cc), yy in zip(rows, first)])
        return out

    # --- truncation ------------------------------------------------------------------------------------------------

    def half(self):
        return 1 << (self.k - 2)

    def mask_parts(self, r, bits):
        """`h = r mod 2^(bits-1)` and `m`, the top of `bits` bits, of the whole mask."""
        whole = self.add(*r)
        return [w % 2 ** (bits - 1) for w in whole], [w >> (bits - 1) & 1 for w in whole]

    def public_parts(self, c, offset, bits):
        """`C` and `Q` of a word opened under `offset`, in units of the result."""
        return c - offset, (1 - 2 * (c >> (bits - 1))) * 2 ** (bits - 1)

    def truncated(self, c, r, offset, bits):
        half = 2 ** (bits - 1)
        o = self.deal_narrow([(a % half + b % half) // half for a, b in zip(*r)], self.k - bits + 1)
        m = self.deal_narrow(self.mask_parts(r, bits)[1], self.k - bits + 1)
        out = []
        for j in (0, 1):
            words = []
            for w, rr, oo, mm in zip(c, r[j], o[j], m[j]):
                big_c, big_q = self.public_parts(w, offset, bits)
                words.append(((big_c if j == 0 else 0) - (rr % half - half * oo) + big_q * mm) % self.q)
            out.append(words)
        return out

    def truncate(self, z, offset, frac_bits):
        self.draw()
        bits = self.k - frac_bits
        c, r = self.open_word(z, offset, frac_bits, bits)
        return self.truncated(c, r, offset >> frac_bits, bits)

    # --- comparison ------------------------------------------------------------------------------------------------

    def deal_digits(self, r, low, widths, elements=None):
        """One-hot vectors of the digits, lowest first: for each, planes 1 .. 2^width. Returns entry lists, entry 0 made of the others."""
        planes = []
        for width in widths:
            for value in range(1, 1 << width):
                planes += self.plane([int((w >> low) % (1 << width) == value) for w in r])
            low += width
        shares, lanes = self.deal_planes(planes, elements), self.lanes(len(r))
        digits = []
        for j in (0, 1):
            rest, of_server = shares[j], []
            for width in widths:
                count = (1 << width) - 1
                entries = [rest[i * lanes : (i + 1) * lanes] for i in range(count)]
                rest = rest[count * lanes :]
                zeroth = [(self.q - 1 if j == 0 else 0)] * lanes
                for entry in entries:
                    zeroth = [a ^ b for a, b in zip(zeroth, entry)]
                of_server.append([zeroth, *entries])
            digits.append(of_server)
        return digits

    def look_up(self, entries, n, wanted):
        """The XOR of the entries that `wanted(e, value)` names, element by element, as a plane; padding is 0."""
        bits = []
        for e in range(n):
            bit = 0
            for value, entry in enumerate(entries):
                bit ^= self.element(entry, n, e) & int(wanted(e, value))
            bits.append(bit)
        return self.plane(bits)

    def sign(self, c, r, top):
        """Bit `top` of `c - r`. XOR shares."""
        less, equal, bit = self.compared_digits(c, self.add(*r), top)
        for sizes in self.levels(top):
            less, equal = self.level(less, equal, sizes)
        return [[a ^ b for a, b in zip(bit[j], less[j][0])] for j in (0, 1)]

    def levels(self, bits):
        """Sizes of the nodes of each level of a comparison."""
        _, sizes = layout(bits)
        return [level for level in (sizes, [len(sizes)]) if sum(level) > 1]

    def compared_digits(self, c, whole, top, elements=None):
        """Shares of `[c < r]` and `[c = r]` of each digit below bit `top`, and of that bit of
        `c ^ r`."""
        n, (widths, _) = len(c), layout(top)
        digits = self.deal_digits(whole, 0, widths + [1], elements)
        less, equal, bit = [], [], []
        for j in (0, 1):
            digit_of = lambda e, i: (c[e] >> sum(widths[:i])) % (1 << widths[i])
            less.append([self.look_up(digits[j][i], n, lambda e, v: digit_of(e, i) < v) for i in range(len(widths))])
            equal.append([self.look_up(digits[j][i], n, lambda e, v: digit_of(e, i) == v) for i in range(len(widths))])
            c_top = self.plane([w >> top & 1 for w in c]) if j == 0 else [0] * self.lanes(n)
            bit.append([a ^ b for a, b in zip(digits[j][-1][1], c_top)])
        return less, equal, bit

    def level(self, less, equal, sizes):
        """Joins digits by nodes of these sizes: one round."""
        return self.join_level(less, equal, sizes, *self.open_variables(self.level_variables(less, equal, sizes)))

    def open_variables(self, variables, note=""):
        """Opens both servers' lists of planes under one mask: the opened planes, and both servers'
        of the mask."""
        masks = self.mask(sum(map(len, variables[0])))
        opened = self.open_planes([[a ^ b for a, b in zip(sum(variables[j], []), masks[j])] for j in (0, 1)], note)

        def cut(words):
            words = iter(words)
            return [[next(words) for _ in plane] for plane in variables[0]]

        return cut(opened), [cut(mask) for mask in masks]

    def nodes(self, sizes):
        return [range(sum(sizes[:i]), sum(sizes[: i + 1])) for i in range(len(sizes))]

    def level_variables(self, less, equal, sizes):
        """A node's variables: `eq` of all but its lowest child, `lt` of all but its highest, and
        `eq` of the lowest, which the lowest node does not need."""
        variables = [[], []]
        for node in (node for node in self.nodes(sizes) if len(node) > 1):
            for j in (0, 1):
                variables[j] += [equal[j][i] for i in node[1:]] + [less[j][i] for i in node[:-1]]
                variables[j] += [equal[j][node[0]]] if node[0] > 0 else []
        return variables

    def join_level(self, less, equal, sizes, opened, masks, elements=None):
        lanes = len(less[0][0])
        joined = [[], []], [[], []]
        at = 0
        for node in self.nodes(sizes):
            size = len(node)
            if size == 1:
                for j in (0, 1):
                    joined[0][j].append(less[j][node[0]])
                    joined[1][j].append(equal[j][node[0]])
                continue
            used = 2 * (size - 1) + (1 if node[0] > 0 else 0)
            # Child i's `lt` times the `eq` of those above it; then all `eq`.
            terms = [{*range(i, size - 1), size - 1 + i} for i in range(size - 1)]
            if node[0] > 0:
                terms.append({*range(size - 1), 2 * (size - 1)})
            here = slice(at, at + used)
            products = self.conjunctions(opened[here], [m[here] for m in masks], terms, elements)
            for j in (0, 1):
                total = less[j][node[-1]]
                for product in products[j][: size - 1]:
                    total = [a ^ b for a, b in zip(total, product)]
                joined[0][j].append(total)
                joined[1][j].append(products[j][size - 1] if node[0] > 0 else [0] * lanes)
            at += used
        return joined

    def conjunctions(self, opened, masks, terms, elements=None):
        """XOR shares of the product of each term's variables. Dealt: the products of the masks over all subsets of two and more that a term
        needs, term by term, each once; of a term, the numbers that sets stand for go down."""
        lanes, every = len(opened[0]), self.q - 1
        numbers = [sum(1 << v for v in term) for term in terms]
        sets = []
        for number in numbers:
            for s in range(number, 0, -1):
                if s & ~number == 0 and s & (s - 1) and s not in sets:
                    sets.append(s)
        members = lambda s: [v for v in range(len(opened)) if s >> v & 1]
        whole = [[a ^ b for a, b in zip(masks[0][v], masks[1][v])] for v in range(len(opened))]

        def product(planes):
            out = [every] * lanes
            for plane in planes:
                out = [a & b for a, b in zip(out, plane)]
            return out

        dealt = self.deal_planes(sum((product([whole[v] for v in members(s)]) for s in sets), []), elements)
        out = []
        for j in (0, 1):
            share = {0: [every if j == 0 else 0] * lanes}
            share.update({1 << v: masks[j][v] for v in range(len(opened))})
            share.update({s: dealt[j][i * lanes : (i + 1) * lanes] for i, s in enumerate(sets)})
            of_server = []
            for number in numbers:
                total = [0] * lanes
                for s in (s for s in share if s & ~number == 0):
                    part = product([opened[v] for v in members(number & ~s)] + [share[s]])
                    total = [a ^ b for a, b in zip(total, part)]
                of_server.append(total)
            out.append(of_server)
        return out

    # --- ReLU ------------------------------------------------------------------------------------------------------

    def relu(self, z, frac_bits):
        n, offset, width = len(z[0]), self.half(), self.k - frac_bits
        self.draw()
        c, r = self.open_word(z, offset, frac_bits, width)
        s = self.sign(c, r, width - 2)
        rho = self.mask(self.lanes(n))
        beta = self.open_planes([[a ^ b for a, b in zip(s[j], rho[j])] for j in (0, 1)])
        bits = [self.element([a ^ b for a, b in zip(*rho)], n, e) for e in range(n)]
        rho_words = self.deal(bits)
        y = self.truncated(c, r, offset >> frac_bits, width)
        return self.selected((c, r, offset >> frac_bits, width), (beta, bits, rho_words), y)

    def selected(self, word, bit, y):
        """`s y`, where `y` is the truncated value of an opened `word` and the bit `s` is open as
        `beta = s ^ rho`, a plane."""
        (c, r, offset, width), (beta, bits, rho_words), n = word, bit, len(y[0])
        h, m = self.mask_parts(r, width)
        rho_h = self.deal([a * b for a, b in zip(bits, h)])
        rho_m = self.deal_narrow([a * b for a, b in zip(bits, m)], self.k - width + 1)
        out = []
        for j in (0, 1):
            words = []
            for e in range(n):
                big_c, big_q = self.public_parts(c[e], offset, width)
                kept = big_c * rho_words[j][e] - rho_h[j][e] + big_q * rho_m[j][e]
                b = self.element(beta, n, e)
                words.append((b * y[j][e] + (1 - 2 * b) * kept) % self.q)
            out.append(words)
        return out

    # --- mapping ---------------------------------------------------------------------------------------------------

    def map(self, z, shift, bits, signed, tables, boolean):
        n, cells = len(z[0]), 1 << bits
        self.draw()
        c, r = self.open_word(z, 1 << (shift + bits - 1) if signed else 0, shift, bits)
        r = self.add(*r)
        index = lambda e, h: (c[e] - h) % cells
        if boolean:
            return self.map_boolean(n, self.deal_digits(r, 0, [bits]), index, tables)
        hot = self.deal([int(r[e] % cells == h) for h in range(cells) for e in range(n)])
        out = [[], []]
        for j in (0, 1):
            for table in tables:
                out[j] += [sum(hot[j][h * n + e] * table[index(e, h)] for h in range(cells)) % self.q for e in range(n)]
        return out

    def map_boolean(self, n, digits, index, tables):
        planes, shifts = [[], []], []
        for table in tables:
            above = [entry - min(table) for entry in table]
            differ = 0
            for a in above:
                differ |= a
            shifts.append([b for b in range(64) if differ >> b & 1])
            for j in (0, 1):
                planes[j] += [self.look_up(digits[j][0], n, lambda e, h: above[index(e, h)] >> b & 1) for b in shifts[-1]]
        return self.entries(n, planes, [(min(table), of_table) for table, of_table in zip(tables, shifts)])

    def entries(self, n, planes, tables):
        """Opens the planes of the bits of entries and makes words of them; a table is its smallest
        entry and the places of its bits."""
        opened, masks = self.open_variables(planes)
        whole = [[a ^ b for a, b in zip(*both)] for both in zip(*masks)]
        out, at = [[], []], 0
        for least, of_table in tables:
            # A bit that counts 2^b is dealt without b bits of its word.
            rho = [[], []]
            for plane, b in zip(whole[at:], of_table):
                dealt = self.deal_narrow([self.element(plane, n, e) for e in range(n)], self.k - b)
                rho = [rho[j] + dealt[j] for j in (0, 1)]
            for j in (0, 1):
                for e in range(n):
                    total = least if j == 0 else 0
                    for i, b in enumerate(of_table):
                        beta = self.element(opened[at + i], n, e)
                        total += ((beta if j == 0 else 0) + (1 - 2 * beta) * rho[j][i * n + e]) << b
                    out[j].append(total % self.q)
            at += len(of_table)
        return out
