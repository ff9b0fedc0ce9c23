"""Schemas, records, sessions and frames, from the documentation of `core/src/report` and RFC 9180."""

import hashlib
import struct

from primitives import (
    HpkeSender,
    chacha20_stream,
    chacha20poly1305,
    cobs,
    crc32,
    hkdf,
    hmac_sha256,
    u16,
    u32,
    u64,
    varint,
)

VERSION = b"\x01"
SHARES = b"symbolon reports"
REASONS = """malformed version unknown-device revoked schema other-server key forged no-session replayed-boot
    replayed-sequence length quota full about replayed-query no-model unanswered""".split()

# --- schema and layout ---------------------------------------------------------------------------------------------


def double(v):
    return struct.pack("<d", v)


class Reading:
    def __init__(self, name, count, width, offset=0.0, step=1.0, unit=""):
        self.name, self.count, self.width, self.offset, self.step, self.unit = name, count, width, offset, step, unit

    def line(self):
        numbers = " ".join(double(v)[::-1].hex() for v in (self.offset, self.step))
        return f"{self.name} {self.count} reading {self.width} {numbers} {self.unit}".rstrip()

    def hashed(self):
        return b"\x00" + u32(self.width) + double(self.offset) + double(self.step) + text(self.unit)


class Label:
    def __init__(self, name, bits, classes, count=1):
        self.name, self.count, self.bits, self.classes = name, count, bits, classes

    def line(self):
        return f"{self.name} {self.count} label {self.bits} {self.classes}"

    def hashed(self):
        return bytes([1, self.bits]) + u16(self.classes)


def text(s):
    data = s.encode()
    return u64(len(data)) + data


def schema_hash(task, fields):
    said = b"symbolon schema v1" + text(task)
    for field in fields:
        said += text(field.name) + u16(field.count) + field.hashed()
    return hashlib.sha256(said).digest()


class Layout:
    """Codes of 32, 16, 8 bits, labels (a byte each), single bits."""

    def __init__(self, fields):
        readings = [f for f in fields if isinstance(f, Reading)]
        self.counts = [sum(f.count for f in readings if f.width == width) for width in (32, 16, 8)]
        self.labels = [f.bits for f in fields if isinstance(f, Label)]
        self.bits = sum(f.count for f in readings if f.width == 1)
        words, halves, bytes_ = self.counts
        ends = [4 * words, 2 * halves, bytes_, len(self.labels), (self.bits + 7) // 8]
        self.starts = [sum(ends[:i]) for i in range(6)]

    def encoded(self):
        words, halves, bytes_ = self.counts
        labels = bytes(self.labels) + bytes(4 - len(self.labels))
        return u16(words) + u16(halves) + u16(bytes_) + u16(self.bits) + labels

    def record_bytes(self):
        return self.starts[5]

    def places(self, fields):
        """First bit, bits of a code, codes: for each field."""
        at = {32: self.starts[0], 16: self.starts[1], 8: self.starts[2], 0: self.starts[3], 1: self.starts[4]}
        at = {width: 8 * start for width, start in at.items()}
        places = []
        for f in fields:
            label = isinstance(f, Label)
            width = 0 if label else f.width
            places.append((at[width], f.bits if label else f.width, f.count))
            at[width] += f.count * (8 if label else f.width)
        return places

    def codes(self):
        """First bit and width of every code."""
        words, halves, bytes_ = self.counts
        groups = [(words, 32), (halves, 16), (bytes_, 8)]
        out = [(8 * start + width * i, width) for start, (n, width) in zip(self.starts, groups) for i in range(n)]
        out += [(8 * (self.starts[3] + i), bits) for i, bits in enumerate(self.labels)]
        return out + [(8 * self.starts[4] + i, 1) for i in range(self.bits)]


def pack(layout, codes):
    """Codes in the order of `Layout.codes`."""
    record = 0
    for (at, width), code in zip(layout.codes(), codes):
        record |= code % 2**width << at
    return record.to_bytes(layout.record_bytes(), "little")


def unpack(layout, record):
    number = int.from_bytes(record, "little")
    return [number >> at & (2**width - 1) for at, width in layout.codes()]


def report_stream(key, request, length):
    return chacha20_stream(key, u16(0) + u32(request) + u16(0) + bytes(4), 0, length)


def split(layout, key, request, record):
    """Server 0's share is the stream at the codes' places; server 1's what is left, in each code's own ring."""
    own = unpack(layout, report_stream(key, request, layout.record_bytes()))
    other = [code - o for code, o in zip(unpack(layout, record), own)]
    return pack(layout, own), pack(layout, other)


def join(layout, ours, theirs):
    return pack(layout, [a + b for a, b in zip(unpack(layout, ours), unpack(layout, theirs))])


# --- headers and frames --------------------------------------------------------------------------------------------


def start_header(device, boot, schema, key_ids, session, version=VERSION):
    return version + u64(device) + u32(boot) + schema + u32(key_ids[0]) + u32(key_ids[1]) + session


def report_header(device, boot, sequence, time_ms, dropped, about=None, version=VERSION):
    header = version + u64(device) + u32(boot) + u32(sequence) + u64(time_ms) + u32(dropped)
    if about:
        device, boot, sequence = about
        header += device.to_bytes(8, "big") + boot.to_bytes(4, "big") + sequence.to_bytes(4, "big")
    return header


def sized(data):
    return varint(len(data)) + data


def datagram(payload):
    return payload + crc32(payload)


def stream(message):
    return cobs(message) + b"\0"


def start_frame(header, enc, tags):
    return datagram(varint(0) + sized(header) + enc[0] + enc[1] + tags[0] + tags[1])


def report_frame(header, tags, sealed):
    return datagram(varint(1) + sized(header) + tags[0] + tags[1] + sized(sealed))


def ack_frame(server, device, boot, first, held, tag):
    numbers = varint(device) + varint(boot) + varint(first) + varint(held)
    return datagram(varint(2) + bytes([server]) + numbers + tag)


def refuse_frame(server, device, boot, sequence, reason, tag):
    numbers = varint(device) + varint(boot) + varint(sequence)
    return datagram(varint(3) + bytes([server]) + numbers + bytes([reason]) + tag)


# --- key files and sessions ----------------------------------------------------------------------------------------


def key_file(device, secret, schema, layout, servers):
    body = b"SYMB\x01" + u64(device) + secret + schema + layout
    for key_id, key in servers:
        body += u32(key_id) + key
    return datagram(body)


def stream_key(seed, session, cipher, length):
    return hkdf(seed, b"symbolon prg v1" + session + cipher, length)


class Session:
    """A device's two sessions of one boot. `random` has 16 bytes that name them, then 32 for each server's ephemeral key: DeriveKeyPair (RFC 9180, 7.1.3)."""

    def __init__(self, device, secret, schema, layout, servers, boot, random):
        self.device, self.boot, self.layout, self.next = device, boot, layout, 1
        self.header = start_header(device, boot, schema, [key_id for key_id, _ in servers], random[:16])
        self.hpke = []
        for server, (_, key) in enumerate(servers):
            info = b"symbolon report v1" + bytes([server]) + self.header
            self.hpke.append(HpkeSender(random[16 + 32 * server :][:32], key, secret, info))
        self.enc = [hpke.enc for hpke in self.hpke]
        self.tags = [hpke.export(b"start", 16) for hpke in self.hpke]
        self.shares = stream_key(self.hpke[0].export(b"share", 32), SHARES, b"chacha20", 32)

    def start(self):
        return start_frame(self.header, self.enc, self.tags)

    def seal(self, server, sequence, header, part):
        return chacha20poly1305(self.hpke[server].export(b"seal", 32), u32(sequence) + bytes(8), part, header)

    def report(self, time_ms, dropped, about, record):
        """Frame, and server 0's share."""
        sequence, self.next = self.next, self.next + 1
        header = report_header(self.device, self.boot, sequence, time_ms, dropped, about)
        share0, share1 = split(self.layout, self.shares, sequence, record)
        _, tag0 = self.seal(0, sequence, header, b"")
        sealed, tag1 = self.seal(1, sequence, header, share1)
        return report_frame(header, [tag0, tag1], sealed), share0, share1

    def answer(self, server, message):
        return hmac_sha256(self.hpke[server].export(b"answer", 32), message)[:16]

    def ack(self, server, first, held):
        message = b"\x00" + bytes([server]) + u64(self.device) + u32(self.boot) + u32(first) + u64(held)
        return ack_frame(server, self.device, self.boot, first, held, self.answer(server, message))

    def refuse(self, server, sequence, reason):
        message = b"\x01" + bytes([server]) + u64(self.device) + u32(self.boot) + u32(sequence) + bytes([reason])
        return refuse_frame(server, self.device, self.boot, sequence, reason, self.answer(server, message))


