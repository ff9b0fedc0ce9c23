"""Vectors of protocols, checked against what they should compute."""

from functions import functions
from protocols import Play
from protocols_functions import Functions
from writing import File, random


def signed(word, bits):
    return word - 2**bits if word >> (bits - 1) else word


def protocols():
    file = File(
        "KIND BITS COUNT …: both servers' shares of the inputs, what the dealer sends server 1 (dealt), what server 0 and server 1",
        "send each other (round), both servers' shares of the result (out). Seeds are both servers'; lane 0, ChaCha20.",
        "multiply BITS COUNT: x and y are masked one after the other, then multiplied",
        "truncate|truncate-unsigned|relu BITS COUNT FRAC_BITS",
        "map BITS COUNT SHIFT INDEX_BITS signed|unsigned boolean|arithmetic, with tables",
        "function BITS COUNT NAME FRAC_BITS: of fixed-point numbers, by the function's default method",
        "All parts of a round are one line. PLANESxELEMENTS after planes: their numbers, where not all have COUNT elements",
    )
    number = 0

    def play(head, bits, values, run, ideal, extra=()):
        """Values are lists of whole words, one list an input."""
        nonlocal number
        number += 1
        session, seeds = random(f"session {number}", 16), [random(f"seed {number} {j}", 32) for j in (0, 1)]
        p, shares, body = Functions(bits, session, seeds), [], []
        for name, whole in zip("xy", values):
            other = p.words(random(f"share {number} {name}", len(whole) * bits // 8))
            shares.append([[(w - o) % p.q for w, o in zip(whole, other)], other])
            body += [(f"{name}{j}", p.bytes(shares[-1][j])) for j in (0, 1)]
        out = run(p, *shares)
        joined = [signed(w, bits) for w in p.add(*out)]
        if not ideal(p, joined):
            raise SystemExit(f"{head}: {joined} is not what it should be")
        body = [("session", session), ("seed0", seeds[0]), ("seed1", seeds[1]), *extra, *body]
        body += [("dealt", d) for d in p.dealt] + [("round", r) for r in p.rounds]
        file.vector(head, *body, *[(f"out{j}", p.bytes(out[j])) for j in (0, 1)])

    def within(count, bits, lowest, highest, label):
        data = random(label, 16 * count)
        draw = lambda i: int.from_bytes(data[16 * i : 16 * i + 16], "little")
        scales = [highest - lowest, 2 ** (bits // 2), 64]
        words = [max(lowest, min(highest - 1, draw(i) % scales[i % 3] + (lowest if i % 3 == 0 else -scales[i % 3] // 2))) for i in range(count)]
        words[:2] = [lowest, highest - 1][: max(0, count)]
        return words[:count]

    def near(words, f):
        return lambda _, out: all(o in (w >> f, (w + 2**f - 1) >> f) for w, o in zip(words, out))

    for bits, counts in ((64, (1, 5)), (32, (7,))):
        for n in counts:
            x, y = (within(n, bits, -(2 ** (bits - 1)), 2 ** (bits - 1), f"{a} {bits}") for a in "xy")
            products = [signed(a * b % 2**bits, bits) for a, b in zip(x, y)]
            play(f"multiply {bits} {n}", bits, [x, y], Play.multiply, lambda _, out, want=products: out == want)

    for bits, n, f in ((64, 5, 20), (64, 16, 11), (32, 7, 11), (32, 40, 3), (32, 3, 1), (32, 32, 16), (64, 2, 62)):
        z = within(n, bits, -(2 ** (bits - 2)), 2 ** (bits - 2) - 2**f + 1, f"z {bits} {n}")
        run = lambda p, z, f=f: p.truncate(z, p.half(), f)
        play(f"truncate {bits} {n} {f}", bits, [z], run, near(z, f)) if f < bits - 2 else None
        z = within(n, bits, 0, 2 ** (bits - 1) - 2**f + 1, f"u {bits} {n}")
        run = lambda p, z, f=f: p.truncate(z, 0, f)
        play(f"truncate-unsigned {bits} {n} {f}", bits, [z], run, near(z, f))

    for bits, n, f in ((64, 24, 20), (32, 32, 11), (32, 40, 11), (32, 5, 3)):
        z = within(n, bits, -(2 ** (bits - 2)), 2 ** (bits - 2) - 2**f + 1, f"relu {bits} {n}")
        inside = lambda p, out, z=z, f=f: near([max(w, 0) for w in z], f)(p, out)
        play(f"relu {bits} {n} {f}", bits, [z], lambda p, z, f=f: p.relu(z, f), inside)

    sigmoid = [31, 38, 47, 57, 69, 82, 97, 112, 128, 144, 159, 174, 187, 199, 209, 218]
    slope = [27, 32, 38, 44, 50, 55, 60, 62, 64, 62, 60, 55, 50, 44, 38, 32]
    digits = [3, 1, 4, 1, 5, 9, 2, 6]
    steps = [-5, 7, -5, 7, 1000, -(2**30), 7, 7]
    choices = [(64, 12, 6, 4, True, [sigmoid]), (32, 12, 6, 4, True, [sigmoid, slope]), (32, 5, 0, 3, False, [steps])]
    choices += [(64, 3, 10, 3, True, [steps]), (32, 40, 3, 3, False, [digits]), (32, 2, 3, 1, True, [[0, 1]])]
    for bits, n, shift, index, is_signed, tables in choices:
        width = shift + index
        low, high = (-(2 ** (width - 1)), 2 ** (width - 1)) if is_signed else (0, 2**width)
        # Above the last centre, the index would wrap.
        z = [max(low, min(high - 2**shift, w)) for w in within(n, width, low, high, f"map {bits} {n} {width}")]
        for boolean in (True, False):
            run = lambda p, z, a=(shift, index, is_signed, tables, boolean): p.map(z, *a)

            def right(_, out, z=z, n=n):
                for t, table in enumerate(tables):
                    for e, w in enumerate(z):
                        cells = {(w >> shift) - (low >> shift), ((w + 2**shift - 1) >> shift) - (low >> shift)}
                        if out[t * n + e] not in {table[c] for c in cells}:
                            return False
                return True

            words = f"{'signed' if is_signed else 'unsigned'} {'boolean' if boolean else 'arithmetic'}"
            extra = [("table", " ".join(map(str, table))) for table in tables]
            play(f"map {bits} {n} {shift} {index} {words}", bits, [z], run, right, extra)

    # More elements than a plane's word has bits; and twice as many, as for both ends of an octave.
    for function, n in zip(functions(32, 11) + functions(32, 11)[:2], (7, 7, 11, 33, 17)):
        x = arguments(function, n, random(f"function {function.name} {n}", 8 * n))
        run = lambda p, z, function=function: p.function(z, function)
        right = lambda _, out, x=x, function=function: all(map(function.is_right, x, out))
        play(f"function 32 {n} {function.name} 11", 32, [x], run, right)
    return file


def arguments(function, n, data):
    """In units: both ends and beyond them, far beyond, zero, then any within."""
    low, high = (-(2**14), 2**14) if function.name == "sigmoid" else (1, 2**16)
    x = [low, high - 1, low - 1, high, -(2**29), 2**29 - 1, 0]
    for i in range(len(x), n):
        value = int.from_bytes(data[8 * i : 8 * i + 8], "little") % (high >> (i % 4 * 4))  # in the lower octaves too
        x.append(-value if low < 0 and i % 2 else max(value, low))
    return x
