"""The steps of a network, each written out in NumPy with its way up and its way down.

`up` computes a step and notes what `down` will need: which units were active, where
each maximum was. `down` carries a signal from above one step nearer to the pixels.
There is no automatic differentiation here.

Maps are float32 arrays `(n, height, width, channels)`, vectors `(n, units)`.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

Pair = tuple[int, int]  # down, across


class Window:
    """A window that slides over maps, for convolution and pooling alike.

    Args:
        kernel, strides, dilation: Pairs of ints, in cells.
        padding: `"valid"` or `"same"`.
    """

    def __init__(self, kernel: Pair, strides: Pair, dilation: Pair, padding: str):
        self.kernel, self.strides, self.dilation = kernel, strides, dilation
        self.span = tuple(
            d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)
        )
        self.padding = padding
        self.framed_shape: tuple[int, ...] | None = None  # until `frame` has seen maps
        self.inside: slice | tuple[slice, ...] = np.s_[:]

    def frame(self, maps: np.ndarray, fill: float) -> np.ndarray:
        """Pad maps, and note their place in the frame for `cut`."""
        pads = []
        for size, span, stride in zip(
            maps.shape[1:3], self.span, self.strides, strict=True
        ):
            total = 0
            if self.padding == "same":
                total = max((-(-size // stride) - 1) * stride + span - size, 0)
            pads.append((total // 2, total - total // 2))
        (top, _), (left, _) = pads
        height, width = maps.shape[1:3]
        self.inside = np.s_[:, top : top + height, left : left + width]
        framed = np.pad(maps, ((0, 0), *pads, (0, 0)), constant_values=np.float32(fill))
        self.framed_shape = framed.shape[1:3]
        return framed

    def blank(self, signal: np.ndarray, channels: int) -> np.ndarray:
        """An empty frame for the signal to come down to.

        Without a way up, it is just large enough for the windows of the signal.
        """
        sizes = self.framed_shape or tuple(
            (n - 1) * stride + span
            for n, stride, span in zip(
                signal.shape[1:3], self.strides, self.span, strict=True
            )
        )
        return np.zeros((len(signal), *sizes, channels), np.float32)

    def cut(self, framed: np.ndarray) -> np.ndarray:
        """What lies inside the padding."""
        return framed[self.inside]

    def views(self, framed: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
        """For each cell (i, j) of the window: what it sees, at all window positions.

        The views can be written to. Those of one cell never overlap.
        """
        _, height, width, _ = framed.shape
        for i, j in np.ndindex(self.kernel):
            top, left = i * self.dilation[0], j * self.dilation[1]
            bottom, right = height - self.span[0] + top, width - self.span[1] + left
            rows = slice(top, bottom + 1, self.strides[0])
            columns = slice(left, right + 1, self.strides[1])
            yield i, j, framed[:, rows, columns]


class Convolution:
    """Kernel `(height, width, channels / groups, filters)`, and a bias."""

    def __init__(
        self,
        window: Window,
        kernel: np.ndarray,
        bias: np.ndarray | int = 0,
        groups: int = 1,
    ):
        self.window, self.kernel, self.bias = window, kernel, bias
        self.groups = groups
        self.filters = kernel.shape[-1]

    def up(self, x: np.ndarray) -> np.ndarray:
        y: Any = 0
        for i, j, seen in self.window.views(self.window.frame(x, 0)):
            pairs = zip(self.split(seen), self.split(self.kernel[i, j]), strict=True)
            y = y + np.concatenate(
                [np.tensordot(part, kernel, 1) for part, kernel in pairs], -1
            )
        return y + self.bias

    def down(self, signal: np.ndarray) -> np.ndarray:
        framed = self.window.blank(signal, self.kernel.shape[2] * self.groups)
        for i, j, seen in self.window.views(framed):
            pairs = zip(self.split(signal), self.split(self.kernel[i, j]), strict=True)
            seen += np.concatenate(
                [np.tensordot(part, kernel.T, 1) for part, kernel in pairs], -1
            )
        return self.window.cut(framed)

    def split(self, x: np.ndarray) -> list[np.ndarray]:
        return np.split(x, self.groups, -1)


class DepthwiseConvolution:
    """Kernel `(height, width, channels, multiplier)`: filters of one channel each."""

    def __init__(self, window: Window, kernel: np.ndarray, bias: np.ndarray | int = 0):
        self.window, self.kernel, self.bias = window, kernel, bias
        self.filters = kernel.shape[-2] * kernel.shape[-1]

    def up(self, x: np.ndarray) -> np.ndarray:
        y: Any = 0
        for i, j, seen in self.window.views(self.window.frame(x, 0)):
            product = seen[..., None] * self.kernel[i, j]
            y = y + product.reshape(*product.shape[:3], -1)
        return y + self.bias

    def down(self, signal: np.ndarray) -> np.ndarray:
        channels, multiplier = self.kernel.shape[2:]
        framed = self.window.blank(signal, channels)
        signal = signal.reshape(*signal.shape[:3], channels, multiplier)
        for i, j, seen in self.window.views(framed):
            seen += (signal * self.kernel[i, j]).sum(-1)
        return self.window.cut(framed)


class Rectifier:
    """max(x, 0), or a variant with a slope below zero or a ceiling."""

    def __init__(
        self, masks: tuple[bool, bool], slope: float = 0.0, ceiling: float = np.inf
    ):
        self.forward, self.gradient = masks
        self.slope, self.ceiling = slope, ceiling

    def up(self, x: np.ndarray) -> np.ndarray:
        self.slopes = np.where(x > 0, np.float32(1), np.float32(self.slope))
        y = np.minimum(x * self.slopes, np.float32(self.ceiling))
        self.slopes *= y < self.ceiling
        return y

    def down(self, signal: np.ndarray) -> np.ndarray:
        if self.gradient:
            signal = np.maximum(signal, 0)
        return signal * self.slopes if self.forward else signal


class MaxPool:
    """Max-pooling with switches."""

    def __init__(
        self, window: Window, pool: str = "switch", dead_windows: str = "keep"
    ):
        self.window, self.pool, self.dead_windows = window, pool, dead_windows

    def up(self, x: np.ndarray) -> np.ndarray:
        framed = self.window.frame(x, -np.inf)
        y = np.max([seen for _, _, seen in self.window.views(framed)], axis=0)
        free = y > 0 if self.dead_windows == "drop" else np.full(y.shape, True)
        self.switches = []
        for _, _, seen in self.window.views(framed):
            first = free & (seen == y)
            self.switches.append(first)
            free = free & ~first
        self.alive = np.any(self.switches, axis=0)
        self.real = [seen > -np.inf for _, _, seen in self.window.views(framed)]
        return y

    def down(self, signal: np.ndarray) -> np.ndarray:
        signal = signal * self.alive
        framed = self.window.blank(signal, signal.shape[-1])
        centre = tuple((k - 1) // 2 for k in self.window.kernel)
        for n, (i, j, seen) in enumerate(self.window.views(framed)):
            if self.pool == "switch":
                seen += signal * self.switches[n]
            elif self.pool == "centre":
                seen += signal * ((i, j) == centre)
            else:
                seen += signal * self.real[n] / np.sum(self.real, 0, np.float32)
        return self.window.cut(framed)


class AveragePool:
    """The mean of each window, its padding left out."""

    def __init__(self, window: Window):
        self.window = window

    def up(self, x: np.ndarray) -> np.ndarray:
        ones = self.window.frame(np.ones_like(x), 0)
        self.cells = sum(seen for _, _, seen in self.window.views(ones))
        views = self.window.views(self.window.frame(x, 0))
        total: Any = sum(seen for _, _, seen in views)
        return total / self.cells

    def down(self, signal: np.ndarray) -> np.ndarray:
        cells = getattr(self, "cells", np.float32(np.prod(self.window.kernel)))
        framed = self.window.blank(signal, signal.shape[-1])
        for _, _, seen in self.window.views(framed):
            seen += signal / cells
        return self.window.cut(framed)


class GlobalAveragePool:
    """The mean of each map; `keepdims` leaves it a map of one cell."""

    def __init__(self, keepdims: bool):
        self.keepdims = keepdims

    def up(self, x: np.ndarray) -> np.ndarray:
        self.shape = x.shape
        mean = x.mean((1, 2), keepdims=True)
        return mean if self.keepdims else mean[:, 0, 0]

    def down(self, signal: np.ndarray) -> np.ndarray:
        n, height, width, channels = self.shape
        signal = signal.reshape(n, 1, 1, channels) / (height * width)
        return np.broadcast_to(signal, self.shape).astype(np.float32)


class ZeroPad:
    """Zeros around the maps; `pads` is ((top, bottom), (left, right))."""

    def __init__(self, pads: tuple[Pair, Pair]):
        self.pads = pads

    def up(self, x: np.ndarray) -> np.ndarray:
        return np.pad(x, ((0, 0), *self.pads, (0, 0)))

    def down(self, signal: np.ndarray) -> np.ndarray:
        (top, bottom), (left, right) = self.pads
        height, width = signal.shape[1:3]
        return signal[:, top : height - bottom, left : width - right]


class Scale:
    """x * scale + shift: batch normalisation at inference."""

    def __init__(self, scale: np.ndarray, shift: np.ndarray):
        self.scale, self.shift = scale, shift

    def up(self, x: np.ndarray) -> np.ndarray:
        return x * self.scale + self.shift

    def down(self, signal: np.ndarray) -> np.ndarray:
        return signal * self.scale


class Dense:
    """Kernel `(inputs, units)`, and a bias."""

    def __init__(self, kernel: np.ndarray, bias: np.ndarray | int = 0):
        self.kernel, self.bias = kernel, bias

    def up(self, x: np.ndarray) -> np.ndarray:
        return x @ self.kernel + self.bias

    def down(self, signal: np.ndarray) -> np.ndarray:
        return signal @ self.kernel.T


class Flatten:
    """Maps to a vector, in reading order, channels last."""

    def up(self, x: np.ndarray) -> np.ndarray:
        self.shape = x.shape
        return x.reshape(len(x), math.prod(x.shape[1:]))

    def down(self, signal: np.ndarray) -> np.ndarray:
        return signal.reshape(self.shape)


class Softmax:
    """The end of a classifier. Neurons are taken before it, so it has no way down."""
