"""What vectors are written with."""

from hashlib import shake_256


def random(label, n):
    """Bytes that look random and are the same each time."""
    return shake_256(b"symbolon vectors v1 " + label.encode()).digest(n)


def without_zeros(label, n):
    return bytes(b or 1 for b in random(label, n))


def flipped(data, at):
    """With the lowest bit of a byte changed."""
    out = bytearray(data)
    out[at] ^= 1
    return bytes(out)


class File:
    def __init__(self, *remarks):
        self.lines = [f"# {remark}" for remark in remarks]

    def vector(self, head, *body, remark=""):
        self.lines.append(f"{head}  # {remark}" if remark else head)
        for key, value in body:
            value = value.hex() if isinstance(value, bytes) else value
            self.lines.append(f"  {key} {value}".rstrip())

    def text(self):
        return "\n".join(self.lines) + "\n"
