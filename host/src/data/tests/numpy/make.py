"""Writes stored.npz and deflated.npz beside this script, with numpy: what the tests of NPY and NPZ read.

Each holds three records of 2 x 2 features, 0 to 11, in several spellings, and their labels 2, 0, 1.
"""

import pathlib
import sys
import zipfile

import numpy as np

features = np.arange(12).reshape(3, 2, 2)
labels = np.array([2, 0, 1])
arrays = {
    "x_f4": features.astype("<f4"),
    "x_f8_big": features.astype(">f8"),
    "x_i2_big_fortran": np.asfortranarray(features.astype(">i2")),
    "x_u8_fortran": np.asfortranarray(features.astype("<u8")),
    "x_flat_u1_fortran": np.asfortranarray(features.reshape(3, 4).astype("u1")),
    "y_u1": labels.astype("u1"),
    "y_i8": labels.astype("<i8"),
    "y_column_f4": labels.reshape(3, 1).astype("<f4"),
    "x_half": features.astype("<f2"),
    "x_text": np.array(["a", "b", "c"]),
    "x_record": np.zeros(3, dtype=[("a", "<f4"), ("b", "u1")]),
    "one": np.float32(1),
}
here = pathlib.Path(__file__).parent
np.savez(here / "stored.npz", **arrays)
np.savez_compressed(here / "deflated.npz", **arrays)
# The versions that numpy chooses only for long or non-ASCII headers.
with zipfile.ZipFile(here / "deflated.npz", "a", zipfile.ZIP_DEFLATED) as archive:
    for version in (2, 3):
        with archive.open(f"x_version_{version}.npy", "w") as file:
            np.lib.format.write_array(file, arrays["x_f4"], version=(version, 0))
print(np.__version__, sys.version)
