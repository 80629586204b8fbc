"""Keras layers of the networks of Ye et al. (2020): one loop over their rows.

A layer is named by its row, `conv1`, `pool2` or `block3`, and by its part in a block:
`block3_conv1` and on, `block3_expand`, `block3_depthwise` and `block3_project`,
`block3_squeeze` and `block3_excite`, and `block3_shortcut` where the way around needs a
convolution. `global_pool` and `predictions` are the end.

Kernels start as the authors' do, uniform within `1 / sqrt(fan in)`; biases at 0 (the
authors' as their kernels). Dropout is VGG-11's alone. With `"deconv"` dense layers are
those of `netdeconv` too; `norm_options` are of the convolutions, but for
`channel_block`.
"""

from collections import Counter
from dataclasses import replace

from allconv.core import backend  # noqa: F401, before Keras

# isort: split
import keras
from keras import layers

from allconv.layers.netdeconv import ChannelDeconvolution, NetworkDeconvolutionDense
from allconv.networks import classics_blocks, classics_rows
from allconv.networks.builders import (
    Builder,
    Options,
    build as build,  # for all families alike
    builder,
    pool_map,
)
from allconv.networks.classics_layers import Convolutions, initializer

CHANNELS = "channel_block"  # the authors' `--delinear False --block-fc`


def hidden(x: keras.KerasTensor, options: Options) -> keras.KerasTensor:
    """All rows, to the last map."""
    network = classics_rows.get(options.network)
    chosen = dict(options.norm_options)
    chosen.pop(CHANNELS, None)
    make = Convolutions(replace(options, norm_options=chosen), network.block)
    counts: Counter[str] = Counter()
    for row in network.rows:
        if isinstance(row, classics_rows.Dense):
            break
        counts[row.label] += 1
        label = f"{row.label}{counts[row.label]}"
        x = classics_blocks.LAYERS[type(row)](x, row, label, make)
    return make.normalise(x, "final") if network.rectified else x


def top(x: keras.KerasTensor, options: Options) -> keras.KerasTensor:
    """The mean of the map, or dense layers on all of it, and a last dense layer."""
    rows = classics_rows.get(options.network).rows
    channels = options.norm_options.get(CHANNELS)
    if channels:
        x = ChannelDeconvolution(channels, epsilon=1e-5, name="channels")(x)
    dense = [row for row in rows if isinstance(row, classics_rows.Dense)]
    x = layers.Flatten(name="flatten")(x) if dense else pool_map(x, "avg")
    for i, row in enumerate(dense, 1):
        x = _dense(row.units, options, activation="relu", name=f"dense{i}")(x)
        if options.dropout:
            x = layers.Dropout(0.5 * options.dropout, name=f"dropout{i}")(x)
    activation = options.classifier_activation
    name = "predictions"
    return _dense(
        options.classes, options, activation=activation, name=name, dtype="float32"
    )(x)


def _dense(units: int, options: Options, **arguments) -> keras.layers.Layer:
    """A dense layer, whitened where that is the norm and channels are not already."""
    arguments["kernel_initializer"] = initializer(options.kernel_initializer)
    if options.norm != "deconv" or options.norm_options.get(CHANNELS):
        return layers.Dense(units, **arguments)
    block = classics_rows.get(options.network).dense_block
    return NetworkDeconvolutionDense(units, block=block, **arguments)


def _builder(network: str) -> Builder:
    title = classics_rows.get(network).builder
    table = 2 if network in classics_rows.IMAGENET else 1
    return builder(network, title, f"`{network}` (Ye et al., 2020, Table {table})")


VGG16CIFAR = _builder("vgg16_cifar")
ResNet18CIFAR = _builder("resnet18_cifar")
PreAct18CIFAR = _builder("preact18_cifar")
DenseNet121CIFAR = _builder("densenet121_cifar")
ResNeXt29CIFAR = _builder("resnext29_cifar")
MobileNetV2CIFAR = _builder("mobilenet_v2_cifar")
DPN92CIFAR = _builder("dpn92_cifar")
PNASNetACIFAR = _builder("pnasnet_a_cifar")
SENet18CIFAR = _builder("senet18_cifar")
EfficientNetCIFAR = _builder("efficientnet_cifar")
VGG11 = _builder("vgg11")
ResNet18 = _builder("resnet18")
DenseNet121 = _builder("densenet121")
