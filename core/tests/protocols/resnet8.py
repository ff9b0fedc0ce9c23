#!/usr/bin/env python3
"""Forward and backward pass of ResNet-8 in floating point, for `resnet.rs`: writes `resnet8.txt`.

Images of 16 by 16 instead of 32 by 32. The gradient is that of the sum of all outputs times given numbers. Batch
normalisation takes the root of its value's cell, eight an octave from 2^-8 on, as the protocol does, and its backward
pass takes the same root. Needs numpy.
"""
import numpy as np

ROWS, SIDE, UNIT, CLASSES = 8, 16, 2.0**16, 10
state = 1


def real(count, limit):
    """`count` multiples of 1 / UNIT in [-limit, limit), from a linear congruential generator."""
    global state
    out = np.empty(count)
    for i in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out[i] = np.floor(((state >> 40) / 2.0**23 - 1) * limit * UNIT) / UNIT
    return out


def windows(x, side, stride, pad):
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    view = np.lib.stride_tricks.sliding_window_view(x, (side, side), (2, 3))[:, :, ::stride, ::stride]
    return view.transpose(0, 2, 3, 1, 4, 5)  # row, y, x, channel, window


class Convolution:
    def __init__(self, channels, filters, side, stride=1):
        self.side, self.stride, self.pad = side, stride, side // 2
        fan = channels * side * side
        self.w = real(filters * fan, (6 / fan) ** 0.5).reshape(filters, channels, side, side)
        self.b = real(filters, 0.25)

    def forward(self, x):
        self.x = x
        self.view = windows(x, self.side, self.stride, self.pad)
        return np.einsum("nyxcij,fcij->nfyx", self.view, self.w) + self.b[:, None, None]

    def backward(self, dz):
        self.gradient = [np.einsum("nyxcij,nfyx->fcij", self.view, dz), dz.sum((0, 2, 3))]
        n, c, h, w = self.x.shape
        dx = np.zeros((n, c, h + 2 * self.pad, w + 2 * self.pad))
        for i in range(self.side):
            for j in range(self.side):
                part = np.einsum("nfyx,fc->ncyx", dz, self.w[:, :, i, j])
                dx[:, :, i : i + part.shape[2] * self.stride : self.stride, j : j + part.shape[3] * self.stride : self.stride] += part
        return dx[:, :, self.pad : self.pad + h, self.pad : self.pad + w]


class BatchNorm:
    def __init__(self, channels):
        self.gamma, self.beta = 1 + real(channels, 0.5), real(channels, 0.5)

    def forward(self, x):
        self.centred = x - x.mean((0, 2, 3), keepdims=True)
        variance = (self.centred**2).mean((0, 2, 3))
        epsilon = 2.0**-8
        cell = np.floor(np.log2((variance + epsilon) / epsilon) * 8)
        self.root = (epsilon * 2 ** ((cell + 0.5) / 8)) ** -0.5
        return (self.gamma * self.root)[:, None, None] * self.centred + self.beta[:, None, None]

    def backward(self, dz):
        n = dz.size / dz.shape[1]
        m, a = dz.sum((0, 2, 3)), (dz * self.centred).sum((0, 2, 3))
        self.gradient = [self.root * a, m]
        scale = self.gamma * self.root
        line = (scale * self.root**2 * a / n)[:, None, None] * self.centred + (scale * m / n)[:, None, None]
        return scale[:, None, None] * dz - line


class Relu:
    gradient = []

    def forward(self, x):
        self.positive = x > 0
        return x * self.positive

    def backward(self, dz):
        return dz * self.positive


def forward(layers, x):
    for layer in layers:
        x = layer.forward(x)
    return x


def backward(layers, dz):
    for layer in reversed(layers):
        dz = layer.backward(dz)
    return dz


x = real(ROWS * 3 * SIDE * SIDE, 1.5).reshape(ROWS, 3, SIDE, SIDE)
stem = [Convolution(3, 16, 3), BatchNorm(16), Relu()]
blocks = []
for channels, filters in [(16, 16), (16, 32), (32, 64)]:
    stride = 2 if filters > channels else 1
    body = [Convolution(channels, filters, 3, stride), BatchNorm(filters), Relu(), Convolution(filters, filters, 3), BatchNorm(filters)]
    shortcut = [Convolution(channels, filters, 1, stride), BatchNorm(filters)] if stride > 1 else []
    blocks.append((body, shortcut, Relu()))
w, b = real(64 * CLASSES, (6 / 74) ** 0.5).reshape(64, CLASSES), real(CLASSES, 0.25)
dz = real(ROWS * CLASSES, 1.0).reshape(ROWS, CLASSES)

value = forward(stem, x)
for body, shortcut, relu in blocks:
    value = relu.forward(forward(body, value) + forward(shortcut, value))
pooled = value.mean((2, 3))
outputs = pooled @ w + b

gradient = np.repeat((dz @ w.T)[:, :, None, None], value.shape[2], 2).repeat(value.shape[3], 3) / (value.shape[2] * value.shape[3])
for body, shortcut, relu in reversed(blocks):
    gradient = relu.backward(gradient)
    gradient = backward(body, gradient) + backward(shortcut, gradient)
backward(stem, gradient)

layers = stem + [layer for body, shortcut, relu in blocks for layer in body + shortcut + [relu]]
tensors = [tensor for layer in layers for tensor in layer.gradient] + [pooled.T @ dz, dz.sum(0)]
with open("resnet8.txt", "w") as file:
    print("outputs", *(f"{z:.6f}" for z in outputs.ravel()), file=file)
    for tensor in tensors:
        flat = tensor.ravel()
        some = flat[:: max(1, len(flat) // 8)][:8]
        print(len(flat), f"{np.sqrt((flat**2).mean()):.6f}", *(f"{g:.6f}" for g in some), file=file)
