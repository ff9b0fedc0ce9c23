"""Vectors of sessions: what devices and servers seal, answer and refuse."""

from cases_records import BOOT, DEVICE, MIXED, SECRETS, SERVERS, mixed_file
from primitives import public_key
from reports import (
    REASONS,
    Layout,
    Session,
    ack_frame,
    pack,
    refuse_frame,
    report_frame,
    report_header,
    schema_hash,
    split,
    start_frame,
    unpack,
)
from writing import File, flipped, random


def sessions():
    file = File(
        "session BOOT: a device starts, with RANDOM for the session's name and its two ephemeral keys; what follows is of the last session",
        "no-session WHY, no-report WHY: what a device cannot seal",
        "report TIME_MS DROPPED [DEVICE BOOT SEQUENCE]: the device's next; the frame and both servers' shares",
        "ack SERVER FROM HELD, refuse SERVER SEQUENCE REASON: what a server answers",
        "answer SERVER authentic|forged: whether the device takes it for the server's",
        "accept SERVER PART ok|REASON, open SERVER PART ok|REASON: a server is given a part of a frame",
    )
    layout, schema, secret = Layout(MIXED), schema_hash("mixed", MIXED), SECRETS["device"]
    rand = random("ephemeral keys", 80)
    session = Session(DEVICE, secret, schema, layout, SERVERS, BOOT, rand)
    device_key = public_key(secret)

    def opened(frame, session, device=device_key):
        keys = [("server0", SECRETS["server 0"]), ("server1", SECRETS["server 1"])]
        file.vector(f"session {session.boot}", ("file", mixed_file()), *keys, ("random", rand), ("frame", frame))

    opened(session.start(), session)

    # Starts that are none.
    accept_key = ("device-key", device_key)

    def accept(server, part, why, header=session.header, enc=session.enc, tags=session.tags, key=accept_key, remark=""):
        frame = start_frame(header, enc, tags)
        file.vector(f"accept {server} {part} {why}", key, ("frame", frame), remark=remark)

    for i in (0, 1):
        accept(i, i, "ok")
        accept(i, 1 - i, "other-server", remark="the other server's part")
        swapped = [session.enc[1], session.enc[0]], [session.tags[1], session.tags[0]]
        accept(i, i, "forged", enc=swapped[0], tags=swapped[1], remark="sealed to the other server")
        accept(i, i, "forged", tags=[flipped(t, 15) for t in session.tags], remark="a bit of the proof")
        accept(i, i, "forged", enc=[flipped(e, 3) for e in session.enc], remark="a bit of the encapsulated key")
        accept(i, i, "forged", enc=[bytes(32)] * 2, remark="an encapsulated key of low order")
        for at, what in ((1, "device"), (9, "boot"), (13, "schema"), (45, "key of server 0"), (49, "key of server 1"), (53, "session")):
            accept(i, i, "forged", header=flipped(session.header, at), remark=f"another {what}")
        accept(i, i, "forged", key=("device-key", public_key(SECRETS["other"])), remark="another device's key")
        accept(i, i, "forged", key=("device-key", bytes(32)), remark="a device's key of low order")
        accept(i, i, "version", header=b"\x02" + session.header[1:], remark="another version")
        accept(i, i, "malformed", header=session.header[:-1], remark="a short header")
        accept(i, i, "malformed", header=session.header + b"\0", remark="a long header")
    report_as_start = report_frame(report_header(DEVICE, BOOT, 1, 0, 0), session.tags, b"")
    file.vector("accept 0 0 malformed", accept_key, ("frame", report_as_start), remark="a report")

    # Reports.
    size, made = layout.record_bytes(), []
    for i, (time_ms, dropped, about) in enumerate(
        [(0, 0, None), (1_700_000_000_000, 3, None), (2**64 - 1, 2**32 - 1, (0xFEDCBA9876543210, 2, 0x01020304))]
    ):
        record = pack(layout, unpack(layout, random(f"readings {i}", size)))
        frame, share0, share1 = session.report(time_ms, dropped, about, record)
        made.append(frame)
        head = f"report {time_ms} {dropped}" + (" {:016x} {} {}".format(*about) if about else "")
        body = [("record", record), ("frame", frame)]
        file.vector(head, *body, ("share0", share0), ("share1", share1))
    file.vector("no-report length", ("record", bytes(size - 1)))
    file.vector("no-report length", ("record", bytes(size + 1)))

    # Parts that are none.
    header = report_header(DEVICE, BOOT, 9, 123_456, 1)
    record = pack(layout, unpack(layout, random("readings 9", size)))
    share0, share1 = split(layout, session.shares, 9, record)

    def part(server, part, why, header=header, sent=None, sealed=None, cut=slice(None), tag_bit=None, share=None, remark=""):
        sequence = int.from_bytes(header[13:17], "little")
        plain = [b"", share1 if sealed is None else sealed]
        (_, tag0), (sealed1, tag1) = (session.seal(i, sequence, header, plain[i]) for i in (0, 1))
        tags = [tag0, tag1] if tag_bit is None else [flipped(tag0, tag_bit), flipped(tag1, tag_bit)]
        frame = report_frame(sent or header, tags, sealed1[cut])
        body = [("frame", frame)] + ([("share", share)] if share else [])
        file.vector(f"open {server} {part} {why}", *body, remark=remark)

    short = b"\x01" + header[1:16]
    for i, share in ((0, share0), (1, share1)):
        part(i, i, "ok", share=share)
        part(i, 1 - i, "other-server", remark="the other server's part")
        part(i, i, "forged", tag_bit=0, remark="a bit of the tag")
        for at, what in ((13, "sequence number"), (17, "time"), (25, "count of the dropped")):
            part(i, i, "forged", sent=flipped(header, at), remark=f"another {what}")
        part(i, i, "forged", sent=header + bytes(15) + b"\x01", remark="labels about another report")
        part(i, i, "no-session", header=report_header(DEVICE ^ 1, BOOT, 9, 123_456, 1), remark="another device")
        part(i, i, "no-session", header=report_header(DEVICE, BOOT + 1, 9, 123_456, 1), remark="another boot")
        part(i, i, "version", header=b"\x02" + header[1:], remark="another version")
        part(i, i, "malformed", header=report_header(DEVICE, BOOT, 0, 123_456, 1), remark="sequence number 0")
        part(i, i, "malformed", header=header, sent=short, remark="a short header")
        part(i, i, "malformed", header=header + b"\0", remark="a header between both lengths")
        part(i, i, "malformed", header=header + bytes(17), remark="a long header")
    part(1, 1, "length", cut=slice(-1), remark="a byte less")
    part(1, 1, "length", sealed=share1 + b"\0", remark="a byte more")
    part(1, 1, "length", sealed=b"", remark="nothing")
    part(1, 1, "forged", sealed=None, sent=flipped(header, 13), cut=slice(None), remark="sealed under another nonce")
    hostile = b"\xff" * size
    part(1, 1, "ok", sealed=hostile, share=hostile, remark="hostile words: a server joins them to codes in range")
    start_as_report = session.start()
    file.vector("open 0 0 malformed", ("frame", start_as_report), remark="a start")

    # Answers.
    for server in (0, 1):
        for first, held in ((0, 0), (1, 0b1011), (64, 2**64 - 1)):
            file.vector(f"ack {server} {first} {held}", ("frame", session.ack(server, first, held)))
        for sequence, code in [(0, 8)] + [(9, code) for code in range(1, len(REASONS) + 1)]:
            name = REASONS[code - 1]
            file.vector(f"refuse {server} {sequence} {name}", ("frame", session.refuse(server, sequence, code)))
        whole, other = session.ack(server, 1, 3), session.ack(1 - server, 1, 3)
        answer = lambda verdict, frame, remark="": file.vector(f"answer {server} {verdict}", ("frame", frame), remark=remark)
        answer("authentic", whole)
        answer("authentic", session.refuse(server, 9, 11))
        tag = whole[-20:-4]
        answer("forged", ack_frame(server, DEVICE, BOOT, 1, 7, tag), "more than was held")
        answer("forged", ack_frame(server, DEVICE, BOOT, 2, 3, tag), "other reports")
        answer("forged", ack_frame(server, DEVICE, BOOT, 1, 3, flipped(tag, 0)), "a bit of the tag")
        answer("forged", ack_frame(server, DEVICE, BOOT, 1, 3, bytes(16)), "no tag")
        answer("forged", ack_frame(server, DEVICE, BOOT, 1, 3, other[-20:-4]), "the other server's tag")
        answer("forged", refuse_frame(server, DEVICE, BOOT, 9, 11, bytes(16)), "a hint")

    low_order = [SERVERS[0], (1, bytes(32))]
    file.vector("no-session key", ("file", mixed_file(low_order)), ("random", rand), remark="a key of low order")

    # The same key file, the next boot.
    rand = random("next ephemeral keys", 80)
    second = Session(DEVICE, secret, schema, layout, SERVERS, BOOT + 1, rand)
    opened(second.start(), second)
    record = pack(layout, unpack(layout, random("readings 0", size)))
    frame, share0, share1 = second.report(5, 0, None, record)
    body = [("record", record), ("frame", frame)]
    file.vector("report 5 0", *body, ("share0", share0), ("share1", share1))
    file.vector("open 0 0 no-session", ("frame", made[0]), remark="the last boot's report")
    file.vector("open 1 1 no-session", ("frame", made[0]), remark="the last boot's report")
    late = second.seal(1, 1, report_header(DEVICE, BOOT + 1, 1, 5, 0), bytes(size))
    again = report_frame(report_header(DEVICE, BOOT + 1, 1, 5, 0), session.tags, late[0])
    file.vector("open 1 1 forged", ("frame", again), remark="the last boot's proof for a tag")
    return file
