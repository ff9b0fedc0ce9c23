#!/usr/bin/env python3
"""Makes the ONNX files beside this script, as other programs write networks: generate.py.

Three are scikit-learn's models by skl2onnx. The others are graphs with the operators, names and
layouts that PyTorch's exporter gives, with random weights. Needs numpy, onnx, scikit-learn and
skl2onnx; the tests need none of them. The weights of scikit-learn's depend on its version.
"""

import pathlib

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HERE = pathlib.Path(__file__).parent
random = numpy.random.default_rng(7)


class Graph:
    """A graph with an input of `shape` and one value after the other."""

    def __init__(self, shape, kind=TensorProto.FLOAT):
        self.nodes, self.tensors, self.shape, self.kind, self.last = [], [], shape, kind, "input"

    def weight(self, *shape, values=None, name=None):
        values = random.normal(0, 0.4, shape).astype(numpy.float32) if values is None else numpy.array(values)
        name = name or f"weight{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(values, name))
        return name

    def add(self, op, *inputs, outputs=None, **attributes):
        name = f"/{op.lower()}{len(self.nodes)}"
        outputs = outputs or [f"{name}_output_0"]
        self.nodes.append(helper.make_node(op, list(inputs), outputs, name=name, **attributes))
        self.last = outputs[-1]
        return self.last

    def gemm(self, inputs, units):
        weights = self.weight(units, inputs), self.weight(units)
        return self.add("Gemm", self.last, *weights, alpha=1.0, beta=1.0, transB=1)

    def save(self, name, units, opset=17):
        self.nodes[-1].output[-1] = "output"
        graph = helper.make_graph(
            self.nodes,
            "main_graph",
            [helper.make_tensor_value_info("input", self.kind, ["batch", *self.shape])],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", units])],
            self.tensors,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="pytorch")
        model.ir_version = 8
        onnx.checker.check_model(model)
        (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())


def sklearn():
    x = random.random((200, 4), numpy.float32)
    classes = (3 * x[:, 0] * x[:, 1] + x[:, 2]).astype(int) % 3
    pipe = make_pipeline(StandardScaler(), MLPClassifier((6, 5), max_iter=60, random_state=1)).fit(x, classes)
    onnx_of(pipe, x, "sklearn-classifier", zipmap=False)
    pipe = MLPClassifier((6,), activation="logistic", max_iter=60, random_state=1).fit(x, classes > 0)
    onnx_of(pipe, x, "sklearn-binary", zipmap=False)
    pipe = make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(6,), activation="tanh", max_iter=60, random_state=1))
    onnx_of(pipe.fit(x, 10 * x[:, 0] - 4), x, "sklearn-regressor")


def onnx_of(model, x, name, **options):
    model = to_onnx(model, x[:1], options={id(model): options} if options else None, target_opset={"": 17, "ai.onnx.ml": 3})
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())


def mlps():
    g = Graph([6])
    scaled = g.add("Sub", "input", g.weight(values=random.random(6, numpy.float32)))
    g.add("Div", scaled, g.weight(values=1 + random.random(6, numpy.float32)))
    g.gemm(6, 8)
    g.add("LeakyRelu", g.last, alpha=0.125)
    product = g.gemm(8, 8)
    half = g.add("Constant", value_float=0.5)
    g.add("Relu", g.add("Mul", product, half))
    g.gemm(8, 4)
    g.save("mlp", 4)
    g = Graph([3])
    g.gemm(3, 8)
    g.add("Tanh", g.last)
    g.add("Add", g.add("MatMul", g.last, g.weight(8, 2)), g.weight(2))
    g.add("Add", g.add("Mul", g.last, g.weight(values=numpy.float32([9.0, 2.0]))), g.weight(values=numpy.float32([22.5, 0.0])))
    g.save("mlp-regression", 2)
    g = Graph([5])
    g.gemm(5, 6)
    g.add("Relu", g.last)
    g.gemm(6, 3)
    g.add("Sigmoid", g.last)
    g.save("logistic", 3)


def convolution(g, channels, filters, kernel, padding=0):
    weights = g.weight(filters, channels, kernel, kernel), g.weight(filters)
    pads = [padding] * 4
    return g.add("Conv", g.last, *weights, dilations=[1, 1], group=1, kernel_shape=[kernel] * 2, pads=pads, strides=[1, 1])


def images():
    g = Graph([1, 12, 12])
    convolution(g, 1, 4, 3)
    g.add("Relu", g.last)
    g.add("MaxPool", g.last, ceil_mode=0, kernel_shape=[2, 2], pads=[0, 0, 0, 0], strides=[2, 2])
    convolution(g, 4, 6, 2)
    g.add("AveragePool", g.last, ceil_mode=0, count_include_pad=1, kernel_shape=[2, 2], strides=[2, 2])
    g.add("Reshape", g.last, g.weight(values=numpy.int64([-1, 24])), allowzero=0)
    g.gemm(24, 8)
    g.add("Relu", g.last)
    g.gemm(8, 5)
    g.save("lenet", 5)
    g = Graph([3, 6, 6])
    convolution(g, 3, 4, 1)
    below = g.add("Relu", g.last)
    convolution(g, 4, 4, 3, 1)
    variance = 0.2 + random.random(4, numpy.float32)
    norm = g.weight(4), g.weight(4), g.weight(4), g.weight(values=variance)
    g.add("BatchNormalization", g.last, *norm, epsilon=1e-5, momentum=0.9)
    g.add("Relu", g.add("Add", g.last, below))
    g.add("Flatten", g.add("GlobalAveragePool", g.last), axis=1)
    g.gemm(4, 3)
    g.save("resnet-block", 3)


def sequences():
    g = Graph([5, 3])
    steps = g.add("Transpose", "input", perm=[1, 0, 2])
    weights = g.weight(1, 12, 3), g.weight(1, 12, 4), g.weight(1, 24)
    outputs = ["/gru_output_0", "/gru_output_1"]
    g.add("GRU", steps, *weights, "", outputs=outputs, hidden_size=4, linear_before_reset=1)
    steps = g.add("Squeeze", outputs[0], g.weight(values=numpy.int64([1])))
    rows = g.add("Transpose", steps, perm=[1, 0, 2])
    g.add("Gather", rows, g.weight(values=numpy.int64(-1)), axis=1)
    g.gemm(4, 3)
    g.save("gru", 3)
    g = Graph([6], TensorProto.INT64)
    words = g.add("Gather", g.weight(7, 3), "input")
    steps = g.add("Transpose", words, perm=[1, 0, 2])
    weights = g.weight(1, 16, 3), g.weight(1, 16, 4), g.weight(1, 32)
    outputs = ["/lstm_output_0", "/lstm_output_1", "/lstm_output_2"]
    g.add("LSTM", steps, *weights, outputs=outputs, hidden_size=4)
    g.add("Squeeze", outputs[1], g.weight(values=numpy.int64([0])))
    g.gemm(4, 3)
    g.save("lstm-codes", 3)


sklearn()
mlps()
images()
sequences()
