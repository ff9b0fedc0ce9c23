#!/usr/bin/env python3
"""Runs ONNX files in onnxruntime: onnx.py DIR.

For each NAME.onnx in DIR, reads its raw records from NAME.records (32-bit floats, row after row) and
writes each output of floats to NAME.OUTPUT. The only requirements are numpy and onnxruntime.
"""

import pathlib
import sys

import numpy
import onnxruntime


def run(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (records,) = session.get_inputs()
    kind = numpy.int64 if "int64" in records.type else numpy.float32
    rows = numpy.fromfile(path.with_suffix(".records"), "<f4").reshape([-1, *records.shape[1:]]).astype(kind)
    for output, values in zip(session.get_outputs(), session.run(None, {records.name: rows})):
        if isinstance(values, numpy.ndarray) and values.dtype == numpy.float32:
            values.astype("<f4").tofile(path.with_name(f"{path.stem}.{output.name}"))


def main():
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
        try:
            run(path)
        except Exception as error:
            sys.exit(f"{path.name}: {error}")


main()
