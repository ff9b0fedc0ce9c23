"""Vectors of fixed point and of streams."""

from fractions import Fraction

from primitives import aes128_stream, chacha20_stream, hkdf, u16, u32
from protocols import Play
from reports import double, stream_key
from writing import File, random


def encode(value, bits, frac_bits):
    """`round(value * 2^frac_bits)`, ties away from zero; or what is wrong."""
    if value != value:
        return "not-a-number"
    if value in (float("inf"), float("-inf")):
        return "out-of-range"
    scaled = Fraction(value) * 2**frac_bits
    limit = 2 ** (bits - 2)
    rounded = int(abs(scaled) + Fraction(1, 2)) * (1 if scaled >= 0 else -1)
    if not -limit <= scaled < limit or rounded == limit:
        return "out-of-range"
    return f"{rounded % 2**bits:0{bits // 4}x}"


def fixed():
    file = File(
        "encode BITS FRAC_BITS VALUE WORD: VALUE is the bits of a double; or what is wrong with it",
        "decode FRAC_BITS WORD VALUE: WORD of 64 bits",
    )
    for bits, frac_bits in ((32, 11), (32, 0), (32, 30), (64, 20), (64, 0), (64, 40)):
        limit, unit = 2.0 ** (bits - 2 - frac_bits), 2.0**-frac_bits
        values = [0.0, -0.0, 1.0, -1.0, unit, -unit, unit / 2, -unit / 2, 1.5 * unit, -2.5 * unit]
        values += [0.49999999999999994 * unit, -0.49999999999999994 * unit, limit / 3, -limit / 7, 3.141592653589793]
        values += [limit, -limit, -limit * (1 + 2.0**-52), limit - unit, limit * (1 - 2.0**-53), -limit + unit / 2]
        values += [limit - unit / 2, float("nan"), float("inf"), float("-inf"), 5e-324, 1.7976931348623157e308]
        if bits == 64:
            values += [(2.0**52 + 1) * unit, -(2.0**52 + 3) * unit, (2.0**51 + 0.5) * unit, (2.0**53 - 1) * unit]
        for value in values:
            word = encode(value, bits, frac_bits)
            file.vector(f"encode {bits} {frac_bits} {double(value)[::-1].hex()} {word}", remark=repr(value))
    for frac_bits in (0, 11, 20, 40, 62):
        for word in (0, 1, -1, 2048, -(2**31), 2**53 + 1, 2**53 + 3, 2**63 - 1, -(2**63), 123456789012345):
            value = float(Fraction(word, 2**frac_bits))
            file.vector(f"decode {frac_bits} {word % 2**64:016x} {double(value)[::-1].hex()}", remark=repr(value))
    return file


def streams():
    file = File(
        "chacha20|aes128-ctr SEED SESSION LANE REQUEST PART AT BYTES: the stream's bytes from AT on",
        "split BITS SEED SESSION LANE REQUEST PART: words, and both servers' shares of them",
        "session-seed: a server's seed, from the seed that it drew",
    )
    for i, (lane, request, part, at, length) in enumerate(
        [
            (0, 0, 0, 0, 64),
            (0, 0, 0, 1, 70),
            (1, 2, 3, 64, 16),
            (65535, 4294967295, 65535, 60, 9),
            (258, 0x01020304, 0x0506, 16, 48),
            (0, 7, 0, 15, 18),
            (0, 7, 1, 2**32 - 5, 21),
            (9, 1, 0, 2**38 - 128, 64),
        ]
    ):
        seed, session = random(f"seed {i}", 32), random(f"session {i}", 16)
        prefix = u16(lane) + u32(request) + u16(part)
        chacha = chacha20_stream(stream_key(seed, session, b"chacha20", 32), prefix + bytes(4), at, length)
        aes = aes128_stream(stream_key(seed, session, b"aes128-ctr", 16), prefix, at, length)
        for cipher, data in (("chacha20", chacha), ("aes128-ctr", aes)):
            file.vector(f"{cipher} {seed.hex()} {session.hex()} {lane} {request} {part} {at} {data.hex()}")
    seed, session = random("seed 0", 32), random("session 0", 16)
    data = aes128_stream(stream_key(seed, session, b"aes128-ctr", 16), bytes(8), 2**63 + 5, 30)
    file.vector(f"aes128-ctr {seed.hex()} {session.hex()} 0 0 0 {2**63 + 5} {data.hex()}")
    for bits, n in ((32, 70), (64, 5)):
        seed, session, values = random("split seed", 32), random("split session", 16), random("values", n * bits // 8)
        key = stream_key(seed, session, b"chacha20", 32)
        play = Play(bits, session, [seed, seed])
        own = play.words(chacha20_stream(key, u16(3) + u32(4) + u16(5) + bytes(4), 0, len(values)))
        other = play.bytes([v - o for v, o in zip(play.words(values), own)])
        head = f"split {bits} {seed.hex()} {session.hex()} 3 4 5"
        file.vector(head, ("values", values), ("share0", play.bytes(own)), ("share1", other))
    secret, nonces = random("dealer", 32), [random(f"nonce {i}", 32) for i in (0, 1)]
    session, plan = random("session", 16), random("plan", 32)
    for server in (0, 1):
        seed = hkdf(secret, b"symbolon seed v1" + nonces[0] + nonces[1] + session + plan + bytes([server]), 32)
        body = [("secret", secret), ("nonce0", nonces[0]), ("nonce1", nonces[1]), ("session", session), ("plan", plan)]
        file.vector(f"session-seed {server}", *body, ("seed", seed))
    return file
