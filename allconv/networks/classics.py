"""Keras layers of VGG-16, ResNet-18 and MobileNetV2 for 32 x 32 images.

One function for each kind of row, one loop. Convolutions outside of blocks are named
`conv1`, `conv2`, ...; those of block 3 are `block3_conv1` and `block3_conv2`, or
`block3_expand`, `block3_depthwise` and `block3_project`, and `block3_shortcut` where
the way around needs one. `global_pool` and `predictions` are the end.

Kernels start as the authors' do, uniform within `1 / sqrt(fan in)`; biases at 0 (the
authors' as their kernels). There is no dropout. With `"deconv"` the dense layer is one
of `netdeconv` too; `norm_options` are of the convolutions.
"""

import functools
from collections import Counter

import keras
from keras import layers

from allconv.layers import batch_norm
from allconv.layers.netdeconv import NetworkDeconvolution2D, NetworkDeconvolutionDense
from allconv.layers.per_channel import PerChannel
from allconv.networks import classics_rows
from allconv.networks.builders import (
    Builder,
    Initializer,
    Options,
    build as build,  # for all families alike
    builder,
    own_initializer,
    pool_map,
)


def hidden(x: keras.KerasTensor, options: Options) -> keras.KerasTensor:
    """All rows, to the last map."""
    convolve = functools.partial(_convolve, options=options)
    counts: Counter[str] = Counter()
    for row in classics_rows.get(options.network).rows:
        counts[row.label] += 1
        x = _LAYERS[type(row)](x, row, f"{row.label}{counts[row.label]}", convolve)
    return x


def top(x: keras.KerasTensor, options: Options) -> keras.KerasTensor:
    """The mean of the map, and a dense layer."""
    whitened = options.norm == "deconv"
    dense = NetworkDeconvolutionDense if whitened else layers.Dense
    return dense(
        options.classes,
        activation=options.classifier_activation,
        kernel_initializer=_initializer(options.kernel_initializer),
        dtype="float32",
        name="predictions",
    )(pool_map(x, "avg"))


def _conv(x, row, label, convolve):
    settings = {"iterations": row.iterations, "freeze_after": row.freeze_after}
    return convolve(x, label, row.filters, row.kernel, **settings)


def _pool(x, row, label, convolve):
    return layers.MaxPooling2D(2, name=label)(x)


def _residual(x, row, label, convolve):
    around, filters, stride = x, row.filters, row.stride
    if stride > 1 or x.shape[-1] != filters:
        around = convolve(x, f"{label}_shortcut", filters, 1, stride, relu=False)
    x = convolve(x, f"{label}_conv1", filters, 3, stride)
    x = convolve(x, f"{label}_conv2", filters, 3, relu=False)
    x = layers.Add(name=f"{label}_add")([x, around])
    return layers.ReLU(name=f"{label}_relu")(x)


def _inverted(x, row, label, convolve):
    around, channels, stride = x, x.shape[-1], row.stride
    wide, thin = row.expansion * channels, {"block": channels, "iterations": 1}
    x = convolve(x, f"{label}_expand", wide, 1)
    x = convolve(x, f"{label}_depthwise", wide, 3, stride, depthwise=True, iterations=1)
    x = convolve(x, f"{label}_project", row.filters, 1, relu=False, **thin)
    if stride > 1:
        return x
    if channels != row.filters:
        around = convolve(around, f"{label}_shortcut", row.filters, 1, relu=False)
    return layers.Add(name=f"{label}_add")([x, around])


_LAYERS = {
    classics_rows.Conv: _conv,
    classics_rows.Pool: _pool,
    classics_rows.Residual: _residual,
    classics_rows.Inverted: _inverted,
}


def _convolve(
    x,
    label,
    filters,
    kernel,
    stride=1,
    *,
    options,
    relu=True,
    depthwise=False,
    **whitening,
):
    """A convolution, padded on all sides, with its norm and rectifier."""
    start, norm = _initializer(options.kernel_initializer), options.norm
    arguments = {"kernel_size": kernel, "strides": stride, "name": label}
    arguments["activation"] = "relu" if relu and norm != "batch" else None
    if norm == "deconv":
        arguments |= {"padding": kernel // 2, "kernel_initializer": start}
        arguments |= whitening | dict(options.norm_options)
        groups = filters if depthwise else 1
        return NetworkDeconvolution2D(filters, groups=groups, **arguments)(x)

    arguments |= {"padding": "same", "use_bias": norm == "none"}
    if kernel > 1 and stride > 1:  # Keras' "same" would pad bottom and right only
        x = layers.ZeroPadding2D(kernel // 2, name=f"{label}_pad")(x)
        arguments["padding"] = "valid"
    if depthwise:
        arguments["depthwise_initializer"] = PerChannel(start)
        x = layers.DepthwiseConv2D(**arguments)(x)
    else:
        x = layers.Conv2D(filters, kernel_initializer=start, **arguments)(x)
    if norm == "batch":
        # The defaults of the authors' framework, in Keras' terms.
        constants = {"momentum": 0.9, "epsilon": 1e-5, **options.norm_options}
        x = batch_norm.BatchNormalization(name=f"{label}_norm", **constants)(x)
        if relu:
            x = layers.ReLU(name=f"{label}_relu")(x)
    return x


def _initializer(name: Initializer) -> Initializer:
    if name is None:
        return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
    return own_initializer(keras.initializers.get(name))


def _builder(network: str) -> Builder:
    title = classics_rows.get(network).builder
    return builder(network, title, f"`{network}` (Ye et al., 2020, Table 1)")


VGG16CIFAR = _builder("vgg16_cifar")
ResNet18CIFAR = _builder("resnet18_cifar")
MobileNetV2CIFAR = _builder("mobilenet_v2_cifar")
