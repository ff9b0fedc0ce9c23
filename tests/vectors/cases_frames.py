"""Vectors of frames."""

from cases_records import DEVICE
from primitives import cobs, varint
from reports import REASONS, ack_frame, datagram, refuse_frame, report_frame, start_frame, stream
from writing import File, random, without_zeros


def frames():
    file = File(
        "start|report|ack|refuse: a frame, as a datagram and on a byte stream",
        "damaged: a datagram, and what is wrong with it",
        "stream: what a decoder with a buffer of 320 bytes finds in bytes off a line, in order: datagrams, and damage",
        "reason CODE NAME",
    )
    for code, name in enumerate(REASONS, 1):
        file.vector(f"reason {code} {name}")
    for code in (0, len(REASONS) + 1, 255):
        file.vector(f"reason {code} none")
    enc, tags = [random(f"enc {i}", 32) for i in (0, 1)], [without_zeros(f"tag {i}", 16) for i in (0, 1)]
    made = []

    def both(kind, body, frame):
        made.append(frame)
        file.vector(kind, *body, ("datagram", frame), ("stream", stream(frame)))

    def start(header):
        body = [("header", header), ("enc0", enc[0]), ("enc1", enc[1]), ("tag0", tags[0]), ("tag1", tags[1])]
        both("start", body, start_frame(header, enc, tags))

    def report(header, sealed):
        body = [("header", header), ("tag0", tags[0]), ("tag1", tags[1]), ("sealed", sealed)]
        both("report", body, report_frame(header, tags, sealed))

    start(random("start header", 69))
    start(b"")
    for n in (0, 127, 128, 184, 185, 186, 200):  # among them 253, 254 and 255 bytes without a zero
        report(without_zeros("header", 29), without_zeros(f"sealed {n}", n))
    report(bytes(45), bytes(64))
    for server, device, boot, first, held in (
        (0, 0, 0, 0, 0),
        (1, DEVICE, 127, 128, 2**64 - 1),
        (255, 2**64 - 1, 2**32 - 1, 2**32 - 1, 1),
    ):
        both(f"ack {server} {device} {boot} {first} {held}", [("tag", tags[0])], ack_frame(server, device, boot, first, held, tags[0]))
        frame = refuse_frame(server, device, boot, first, held % 256, tags[1])
        both(f"refuse {server} {device} {boot} {first} {held % 256}", [("tag", tags[1])], frame)

    ack = made[-2]
    ack_body = ack[:-4]

    def damaged(damage, data, remark):
        file.vector(f"damaged {damage}", ("datagram", data), remark=remark)

    damaged("short", b"", "nothing")
    damaged("short", ack[:3], "shorter than a CRC")
    damaged("crc", ack[:-1] + bytes([ack[-1] ^ 0x80]), "a bit of the CRC")
    damaged("crc", bytes([ack[0], ack[1] ^ 1]) + ack[2:], "a bit of the frame")
    damaged("crc", ack[:-1], "an end that is missing")
    damaged("unknown", datagram(b""), "no frame")
    damaged("unknown", datagram(b"\x04" + ack_body[1:]), "no such kind")
    damaged("unknown", datagram(ack_body + b"\0"), "more than the frame")
    damaged("unknown", datagram(ack_body[:-1]), "less than the frame")
    damaged("unknown", datagram(b"\x02\x00" + b"\xff" * 10 + ack_body[2:]), "a number past 64 bits")
    damaged("unknown", datagram(b"\x01" + varint(2**32 - 1) + b"abc"), "a length past the end")
    damaged("unknown", datagram(b"\xff\xff\xff\xff\xff\x7f"), "a kind past 32 bits")

    report_made = made[3]
    bad_crc = cobs(ack[:-1] + bytes([ack[-1] ^ 1])) + b"\0"
    parts = [
        [("datagram", ack, stream(ack)), ("datagram", report_made, stream(report_made))],
        [(None, None, b"\0\0\0"), ("datagram", ack, stream(ack)), (None, None, b"\0")],
        [("damage", "crc", bad_crc), ("datagram", ack, stream(ack))],
        [("damage", "cobs", b"\x09abc\0"), ("datagram", ack, stream(ack))],
        [("damage", "short", b"\x03ab\0"), ("datagram", ack, stream(ack))],
        [("damage", "long", without_zeros("noise", 321) + b"\0"), ("datagram", ack, stream(ack))],
        [("damage", "cobs", stream(ack)[9:]), ("datagram", ack, stream(ack))],
        [("damage", "unknown", stream(datagram(b"\x07"))), ("datagram", ack, stream(ack))],
    ]
    for part in parts:
        line = b"".join(data for _, _, data in part)
        file.vector("stream", ("bytes", line), *[(kind, found) for kind, found, _ in part if kind])
    return file
