"""Ciphers, curve and codes, from their specifications alone; slow, and not in constant time: for vectors only.

`check()` holds each against a published value before anything is generated.
"""

import hashlib
import hmac
import struct
import zlib


def u16(n):
    return n.to_bytes(2, "little")


def u32(n):
    return n.to_bytes(4, "little")


def u64(n):
    return n.to_bytes(8, "little")


# --- HKDF (RFC 5869) and HMAC --------------------------------------------------------------------------------------


def hmac_sha256(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


def hkdf_extract(salt, ikm):
    return hmac_sha256(salt or bytes(32), ikm)


def hkdf_expand(prk, info, length):
    out, block, i = b"", b"", 1
    while len(out) < length:
        block = hmac_sha256(prk, block + info + bytes([i]))
        out, i = out + block, i + 1
    return out[:length]


def hkdf(ikm, info, length):
    return hkdf_expand(hkdf_extract(b"", ikm), info, length)


# --- X25519 (RFC 7748) ---------------------------------------------------------------------------------------------

P = 2**255 - 19


def x25519(scalar, u):
    k = bytearray(scalar)
    k[0] &= 248
    k[31] = (k[31] & 127) | 64
    k = int.from_bytes(k, "little")
    x1 = int.from_bytes(u, "little") % 2**255
    x2, z2, x3, z3 = 1, 0, x1, 1
    for bit in range(254, -1, -1):
        swap = k >> bit & 1
        if swap:
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b, c, d = (x2 + z2) % P, (x2 - z2) % P, (x3 + z3) % P, (x3 - z3) % P
        da, cb, aa, bb = d * a, c * b, a * a, b * b
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        e = aa - bb
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
        if swap:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


def public_key(secret):
    return x25519(secret, (9).to_bytes(32, "little"))


# --- ChaCha20 and Poly1305 (RFC 8439) ------------------------------------------------------------------------------


def chacha20_block(key, counter, nonce):
    def turn(n, by):
        return (n << by | n >> (32 - by)) & 0xFFFFFFFF

    start = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, *struct.unpack("<8I", key), counter]
    start += struct.unpack("<3I", nonce)
    s = list(start)
    columns = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)]
    diagonals = [(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
    for _ in range(10):
        for a, b, c, d in columns + diagonals:
            for x, y, z, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                s[x] = (s[x] + s[y]) & 0xFFFFFFFF
                s[z] = turn(s[z] ^ s[x], by)
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(s, start)))


def chacha20_stream(key, nonce, at, length):
    """Bytes `at..at + length` of the stream whose block counter begins at 0."""
    blocks = range(at // 64, (at + length + 63) // 64)
    stream = b"".join(chacha20_block(key, block, nonce) for block in blocks)
    return stream[at % 64 :][:length]


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def poly1305(key, message):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    acc = 0
    for i in range(0, len(message), 16):
        acc = (acc + int.from_bytes(message[i : i + 16] + b"\x01", "little")) * r % (2**130 - 5)
    return ((acc + int.from_bytes(key[16:], "little")) % 2**128).to_bytes(16, "little")


def chacha20poly1305(key, nonce, plain, data):
    """Ciphertext and tag."""
    sealed = xor(plain, chacha20_stream(key, nonce, 64, len(plain)))
    filled = [part + bytes(-len(part) % 16) for part in (data, sealed)]
    lengths = u64(len(data)) + u64(len(sealed))
    return sealed, poly1305(chacha20_block(key, 0, nonce)[:32], b"".join(filled) + lengths)


# --- AES-128 (FIPS 197) and its counter mode -----------------------------------------------------------------------


def times_x(a):
    return (a << 1) ^ (0x11B if a & 0x80 else 0)


def gf_multiply(a, b):
    product = 0
    while b:
        product, a, b = product ^ (a if b & 1 else 0), times_x(a), b >> 1
    return product


def s_box(a):
    inverse = next((b for b in range(256) if gf_multiply(a, b) == 1), 0)
    turned = [(inverse << by | inverse >> (8 - by)) & 0xFF for by in range(5)]
    return turned[0] ^ turned[1] ^ turned[2] ^ turned[3] ^ turned[4] ^ 0x63


S_BOX = [s_box(a) for a in range(256)]


def aes128(key, block):
    words = [list(key[i : i + 4]) for i in range(0, 16, 4)]
    power = 1
    for i in range(4, 44):
        word = words[-1]
        if i % 4 == 0:
            word = [S_BOX[b] for b in word[1:] + word[:1]]
            word[0] ^= power
            power = times_x(power)
        words.append([a ^ b for a, b in zip(words[i - 4], word)])
    round_keys = [sum(words[i : i + 4], []) for i in range(0, 44, 4)]
    state = xor(block, round_keys[0])
    for n, round_key in enumerate(round_keys[1:], 1):
        state = [S_BOX[state[(i + 4 * (i % 4)) % 16]] for i in range(16)]
        if n < 10:
            columns = [state[i : i + 4] for i in range(0, 16, 4)]
            mixed = []
            for c in columns:
                doubled = [times_x(b) for b in c]
                for i in range(4):
                    a, b = (i + 1) % 4, (i + 2) % 4
                    mixed.append(doubled[i] ^ doubled[a] ^ c[a] ^ c[b] ^ c[(i + 3) % 4])
            state = mixed
        state = xor(state, round_key)
    return bytes(state)


def aes128_stream(key, prefix, at, length):
    """Bytes `at..at + length`: the prefix of 8 bytes, then the number of the block, 8 bytes, big-endian."""
    blocks = range(at // 16, (at + length + 15) // 16)
    stream = b"".join(aes128(key, prefix + block.to_bytes(8, "big")) for block in blocks)
    return stream[at % 16 :][:length]


# --- HPKE (RFC 9180): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, export-only, mode Auth ------------------------------

KEM_SUITE = b"KEM" + (0x0020).to_bytes(2, "big")
SUITE = b"HPKE" + b"".join(n.to_bytes(2, "big") for n in (0x0020, 0x0001, 0xFFFF))
MODE_AUTH = b"\x02"


def labeled_extract(suite, salt, label, ikm):
    return hkdf_extract(salt, b"HPKE-v1" + suite + label + ikm)


def labeled_expand(suite, prk, label, info, length):
    return hkdf_expand(prk, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, length)


def derive_key_pair(ikm):
    """DeriveKeyPair, section 7.1.3."""
    secret = labeled_expand(KEM_SUITE, labeled_extract(KEM_SUITE, b"", b"dkp_prk", ikm), b"sk", b"", 32)
    return secret, public_key(secret)


class HpkeSender:
    """AuthEncap (section 4.1), KeySchedule (5.1), Export (5.3)."""

    def __init__(self, ephemeral_ikm, receiver, sender_secret, info):
        ephemeral, self.enc = derive_key_pair(ephemeral_ikm)
        products = x25519(ephemeral, receiver) + x25519(sender_secret, receiver)
        kem_context = self.enc + receiver + public_key(sender_secret)
        prk = labeled_extract(KEM_SUITE, b"", b"eae_prk", products)
        shared = labeled_expand(KEM_SUITE, prk, b"shared_secret", kem_context, 32)
        psk_id_hash = labeled_extract(SUITE, b"", b"psk_id_hash", b"")
        context = MODE_AUTH + psk_id_hash + labeled_extract(SUITE, b"", b"info_hash", info)
        secret = labeled_extract(SUITE, shared, b"secret", b"")
        self.exporter_secret = labeled_expand(SUITE, secret, b"exp", context, 32)

    def export(self, context, length):
        return labeled_expand(SUITE, self.exporter_secret, b"sec", context, length)


# --- codes ---------------------------------------------------------------------------------------------------------


def crc32(data):
    """CRC-32/ISO-HDLC, little-endian."""
    return u32(zlib.crc32(data))


def cobs(data):
    """Consistent overhead byte stuffing, without the delimiter."""
    out = bytearray()
    for i, run in enumerate(data.split(b"\0")):
        while len(run) >= 254:
            out += b"\xff" + run[:254]
            run = run[254:]
            if not run and i == data.count(0):
                return bytes(out)
        out += bytes([len(run) + 1]) + run
    return bytes(out)


def varint(n):
    """As postcard has it: seven bits a byte, the lowest first."""
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


# --- published values ----------------------------------------------------------------------------------------------


def check():
    def equal(name, got, want):
        if got != bytes.fromhex(want):
            raise SystemExit(f"{name}: {got.hex()} where {want} is published")

    scalar = "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"
    u = "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"
    product = "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
    equal("RFC 7748, 5.2", x25519(bytes.fromhex(scalar), bytes.fromhex(u)), product)

    key, nonce = bytes(range(32)), bytes.fromhex("000000090000004a00000000")
    block = (
        "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
        "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
    )
    equal("RFC 8439, 2.3.2", chacha20_block(key, 1, nonce), block)
    key = bytes.fromhex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b")
    tag = "a8061dc1305136c6c22b8baf0c0127a9"
    equal("RFC 8439, 2.5.2", poly1305(key, b"Cryptographic Forum Research Group"), tag)
    plain = b"Ladies and Gentlemen of the class of '99: "
    plain += b"If I could offer you only one tip for the future, sunscreen would be it."
    key, nonce = bytes(range(0x80, 0xA0)), bytes.fromhex("070000004041424344454647")
    sealed = chacha20poly1305(key, nonce, plain, bytes.fromhex("50515253c0c1c2c3c4c5c6c7"))
    equal("RFC 8439, 2.8.2, ciphertext", sealed[0][:16], "d31a8d34648e60db7b86afbc53ef7ec2")
    equal("RFC 8439, 2.8.2, tag", sealed[1], "1ae10b594f09e26a7e902ecbd0600691")

    okm = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    prk = hkdf_extract(bytes(range(13)), b"\x0b" * 22)
    equal("RFC 5869, A.1", hkdf_expand(prk, bytes(range(0xF0, 0xFA)), 42), okm)
    tag = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    equal("RFC 4231, 4.3", hmac_sha256(b"Jefe", b"what do ya want for nothing?"), tag)

    block = bytes.fromhex("00112233445566778899aabbccddeeff")
    equal("FIPS 197, C.1", aes128(bytes(range(16)), block), "69c4e0d86a7b0430d8cdb78070b4c55a")
    key = bytes.fromhex("ae6852f8121067cc4bf7a5765577f39e")
    stream = aes128_stream(key, bytes.fromhex("0000003000000000"), 16, 16)
    equal("RFC 3686, 6, vector 1", xor(stream, b"Single block msg"), "e4095d4fb7a7b3792d6175a3261311b8")

    ikm = ["43b078912a54b591a7b09b16ce89a1955a9dd60b29fb611e044260046e8b061b"]
    ikm += ["fc9407ae72ed614901ebf44257fb540f617284b5361cfecd620bafc4aba36f73"]
    ikm += ["2ff4c37a17b2e54046a076bf5fea9c3d59250d54d0dc8572bc5f7c046307040c"]
    ephemeral, receiver, sender = (bytes.fromhex(i) for i in ikm)
    info = b"Ode on a Grecian Urn"
    hpke = HpkeSender(ephemeral, derive_key_pair(receiver)[1], derive_key_pair(sender)[0], info)
    enc = "5ac1671a55c5c3875a8afe74664aa8bc68830be9ded0c5f633cd96400e8b5c05"
    equal("RFC 9180, A.7.3, enc", hpke.enc, enc)
    secret = "276d87e5cb0655c7d3dad95e76e6fc02746739eb9d968955ccf8a6346c97509e"
    equal("RFC 9180, A.7.3, exporter secret", hpke.exporter_secret, secret)
    exported = "ff3b0e37a9954247fea53f251b799e2edd35aac7152c5795751a3da424feca73"
    equal("RFC 9180, A.7.3.1", hpke.export(b"TestContext", 32), exported)

    equal("CRC-32/ISO-HDLC, check value", crc32(b"123456789"), "2639f4cb")
    equal("COBS, 254 bytes without a zero", cobs(bytes(range(1, 255))), "ff" + bytes(range(1, 255)).hex())
    equal("COBS, zeros", cobs(b"\x11\0\0\x22"), "0211010222")
