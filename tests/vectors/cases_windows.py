"""Vectors of windows: what a device makes of 128 rows of six raw samples."""

from math import isqrt

from writing import File, random

CHANNELS, ROWS = 6, 128


def features(rows):
    """Five statistics, six channels each: mean, deviation in half steps, least, greatest, mean change; samples count from -2^15."""
    out = []
    for channel in zip(*rows):
        codes = [sample + 2**15 for sample in channel]
        n, total = len(codes), sum(codes)
        spread = n * sum(code * code for code in codes) - total * total  # n^2 times the variance
        change = sum(abs(a - b) for a, b in zip(codes, codes[1:]))
        half_up = lambda a, b: (2 * a + b) // (2 * b)
        out.append([half_up(total, n), isqrt(4 * spread // n**2), min(codes), max(codes), half_up(change, n - 1)])
    return [code for statistic in zip(*out) for code in statistic]


def windows():
    file = File("window: rows of six samples, 16 bits little-endian; 30 codes come out, 16 bits little-endian")

    def window(sample, remark):
        rows = [[sample(row, channel) for channel in range(CHANNELS)] for row in range(ROWS)]
        words = lambda row: b"".join(word.to_bytes(2, "little", signed=True) for word in row)
        codes = b"".join(code.to_bytes(2, "little") for code in features(rows))
        file.vector("window", *(("row", words(row)) for row in rows), ("features", codes), remark=remark)

    noise = random("samples", 2 * ROWS * CHANNELS)
    raw = lambda row, channel: int.from_bytes(noise[2 * (CHANNELS * row + channel) :][:2], "little", signed=True)
    window(raw, "any samples")
    window(lambda row, channel: raw(row, channel) % 512 - 256 + 720 * (channel == 2), "as of a phone at rest")
    window(lambda row, channel: [-(2**15), 2**15 - 1][(row + channel) % 2], "from one end to the other")
    window(lambda row, channel: [-(2**15), 2**15 - 1, 0, -1, 1, 12345][channel], "nothing moves")
    return file
