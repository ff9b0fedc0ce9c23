#!/usr/bin/env python3
"""Writes the conformance vectors: `python3 generate.py [FOLDER]`, by default beside this script. Standard library only.

Shares no code with the crates: written from RFC 5869, 7748, 8439, 9180, FIPS 197 and Symbolon's documentation, and checked against
published values before anything is written. The same files come out each time.

A vector begins at the margin, with its kind; what belongs to it is indented. `#` begins a remark. Bytes are hexadecimal, in the order in
which they travel; numbers are decimal, and hexadecimal where they stand for bits. Versions are frozen: a change of what
the files say is a new version, `report_v2.txt`.
"""

import sys
from pathlib import Path

sys.dont_write_bytecode = True  # the folder stays as it is

import primitives
from cases_frames import frames
from cases_numbers import fixed, streams
from cases_protocols import protocols
from cases_records import identities, records, schemas
from cases_sessions import sessions
from cases_windows import windows

FILES = {
    "fixed_v1.txt": fixed,
    "stream_v1.txt": streams,
    "schema_v1.txt": schemas,
    "record_v1.txt": records,
    "identity_v1.txt": identities,
    "frame_v1.txt": frames,
    "session_v1.txt": sessions,
    "window_v1.txt": windows,
    "protocol_v2.txt": protocols,
}


def main():
    primitives.check()
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
    for name, make in FILES.items():
        (folder / name).write_text(make().text(), encoding="utf-8")


if __name__ == "__main__":
    main()
