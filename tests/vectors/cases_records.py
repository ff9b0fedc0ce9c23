"""Vectors of schemas, records and key files."""

from primitives import public_key, u16
from reports import SHARES, Label, Layout, Reading, datagram, join, key_file, pack, schema_hash, split, stream_key, unpack
from writing import File, random

OCCUPANCY = [
    Reading("temperature", 1, 16, -40.0, 0.01, "°C"),
    Reading("humidity", 1, 16, 0.0, 0.01, "%"),
    Reading("co2", 1, 16, 0.0, 1.0, "ppm"),
    Label("occupied", 1, 2),
]
MIXED = [
    Reading("door", 3, 1),
    Reading("t", 20, 16),
    Label("class", 3, 6),
    Reading("level", 5, 8, -1.5, 0.25, "m"),
    Reading("counter", 9, 32),
    Label("other", 8, 256),
    Reading("motion", 8, 1),
]
LONG = [Reading("a", 21, 32), Reading("b", 37, 16), Reading("c", 51, 8), *[Label(f"l{i}", i + 1, 2) for i in range(4)]]
LONG += [Reading("d", 597, 1)]
BITS = [Reading("bit", 8, 1)]
SCHEMAS = {"occupancy": OCCUPANCY, "mixed": MIXED, "long": LONG, "bits": BITS}


def schemas():
    file = File(
        "schema: fields as NAME COUNT reading WIDTH OFFSET STEP [UNIT] (bits of doubles) or NAME COUNT label BITS CLASSES;",
        "their hash; the layout as key files have it, and FIELD FIRST_BIT BITS COUNT of each field; or what is wrong",
    )
    byte, one = Reading("a", 1, 8), 1.0

    def schema(task, fields, error=None):
        body = [("task", task)] + [("field", f.line()) for f in fields] + [("hash", schema_hash(task, fields))]
        if error:
            body.append(("error", error))
        else:
            layout = Layout(fields)
            body.append(("layout", layout.encoded()))
            body += [("place", f"{i} {a} {b} {n}") for i, (a, b, n) in enumerate(layout.places(fields))]
        file.vector("schema", *body)

    for task, fields in SCHEMAS.items():
        schema(task, fields)
    schema("", [Reading("longest", 4096, 8, -0.0, -1e-300)])
    schema("no fields", [], "empty")
    schema("none", [byte, Reading("b", 0, 8)], "count 1")
    schema("labels", [Label("l", 1, 2, count=2)], "count 0")
    for bits, classes in ((0, 2), (9, 2), (3, 1), (3, 9)):
        schema("label", [byte, byte, Label("l", bits, classes)], "label 2")
    for offset, step in ((float("nan"), one), (float("inf"), one), (0.0, float("nan")), (0.0, float("inf")), (0.0, 0.0)):
        schema("scale", [Reading("a", 1, 8, offset, step)], "scale 0")
    schema("five labels", [Label("l", 1, 2)] * 5, "labels")
    schema("long", [Reading("a", 4096, 8), Reading("b", 1, 1)], "long")
    schema("counts", [Reading("a", 65535, 1), Reading("b", 65535, 1)], "long")
    return file


def records():
    file = File(
        "pack: codes as FIRST_BIT BITS CODE, and the record that they make",
        "split: a record, and both servers' shares of it; the stream is lane 0, part 0",
        "join: any two shares, and the record that they make",
    )
    for name, fields in SCHEMAS.items():
        layout = Layout(fields)
        size = layout.record_bytes()
        if name != "long":
            data = random(f"codes {name}", 4 * len(layout.codes()))
            codes = [int.from_bytes(data[4 * i : 4 * i + 4], "little") for i in range(len(layout.codes()))]
            body = [("code", f"{at} {b} {code % 2**b:x}") for (at, b), code in zip(layout.codes(), codes)]
            file.vector("pack", ("layout", layout.encoded()), *body, ("record", pack(layout, codes)))
        seed = random(f"split {name}", 32)
        key = stream_key(seed, SHARES, b"chacha20", 32)
        for request in (1, 2**32 - 1):
            record = pack(layout, unpack(layout, random(f"record {name} {request}", size)))
            share0, share1 = split(layout, key, request, record)
            assert join(layout, share0, share1) == record
            body = [("layout", layout.encoded()), ("seed", seed), ("session", SHARES), ("request", request)]
            file.vector("split", *body, ("record", record), ("share0", share0), ("share1", share1))
        for ours, theirs in ((b"\xff" * size, b"\xff" * size), (random("ours", size), random("theirs", size))):
            body = [("layout", layout.encoded()), ("ours", ours), ("theirs", theirs)]
            file.vector("join", *body, ("record", join(layout, ours, theirs)), remark="hostile words")
    return file


DEVICE, BOOT = 0x0123456789ABCDEF, 7
SECRETS = {name: random(name, 32) for name in ("device", "server 0", "server 1", "other")}
SERVERS = [(7, public_key(SECRETS["server 0"])), (0xFFFFFFFE, public_key(SECRETS["server 1"]))]


def mixed_file(servers=SERVERS, layout=None):
    layout = layout or Layout(MIXED).encoded()
    return key_file(DEVICE, SECRETS["device"], schema_hash("mixed", MIXED), layout, servers)


def identities():
    file = File("key-file DEVICE: what it holds, and the bytes", "no-key-file: bytes, and why they are none")
    layout = Layout(MIXED).encoded()
    body = [("secret", SECRETS["device"]), ("public", public_key(SECRETS["device"]))]
    body += [("schema", schema_hash("mixed", MIXED)), ("layout", layout)]
    body += [("server", f"{key_id} {key.hex()}") for key_id, key in SERVERS]
    whole = mixed_file()
    file.vector(f"key-file {DEVICE:016x}", *body, ("file", whole))
    changed = bytearray(whole)
    changed[40] ^= 4
    for why, data in [
        ("length", b""),
        ("length", whole[:-1]),
        ("length", whole + b"\0"),
        ("magic", datagram(b"SYMB\x02" + whole[5:-4])),
        ("magic", datagram(b"BMYS\x01" + whole[5:-4])),
        ("crc", bytes(changed)),
        ("crc", whole[:-1] + bytes([whole[-1] ^ 1])),
        ("layout", mixed_file(layout=bytes(12))),
        ("layout", mixed_file(layout=layout[:8] + bytes([3, 0, 8, 0]))),
        ("layout", mixed_file(layout=layout[:8] + bytes([9, 0, 0, 0]))),
        ("layout", mixed_file(layout=u16(1025) + bytes(10))),
    ]:
        file.vector("no-key-file", ("why", why), ("file", data))
    return file
