"""A convolution with its norm and rectifier, as the blocks of `classics` use them."""

from dataclasses import replace

import keras
from keras import layers

from allconv.layers import batch_norm
from allconv.layers.grouped_conv import DepthwiseConv2D, GroupedConv2D
from allconv.layers.netdeconv import NetworkDeconvolution2D
from allconv.layers.per_channel import PerChannel
from allconv.networks.builders import Initializer, Options, own_initializer


class Convolutions:
    """Makes the convolutions of one network, padded on all sides.

    Args:
        options: As `builders` gives them to a family.
        block: Channels that are whitened together; `norm_options` may say another.
    """

    def __init__(self, options: Options, block: int):
        self.options, self.block = options, block

    def without_whitening(self) -> "Convolutions":
        """The same, with batch normalisation in place of whitening."""
        if self.options.norm != "deconv":
            return self
        options = replace(self.options, norm="batch", norm_options={})
        return Convolutions(options, self.block)

    def convolve(self, x, label, filters, kernel=1, stride=1, *, relu=True, **more):
        """A convolution, then its norm and rectifier."""
        if self.options.norm == "batch":
            x = self.weigh(x, label, filters, kernel, stride, **more)
            return self.normalise(x, label, relu)
        activation = "relu" if relu else None
        return self.weigh(x, label, filters, kernel, stride, activation, **more)

    def normalise(self, x, label, relu=True):
        """Batch normalisation where that is the norm, and a rectifier."""
        if self.options.norm == "batch":
            # The defaults of the authors' framework, in Keras' terms.
            constants = {"momentum": 0.9, "epsilon": 1e-5, **self.options.norm_options}
            name = f"{label}_norm"
            x = batch_norm.BatchNormalization(name=name, **constants)(x)
        return layers.ReLU(name=f"{label}_relu")(x) if relu else x

    def weigh(
        self,
        x,
        label,
        filters,
        kernel=1,
        stride=1,
        activation=None,
        *,
        groups=1,
        use_bias=None,
        **whitening,
    ):
        """A convolution alone, whitened where that is the norm.

        Args:
            groups: As many as there are channels: depthwise.
            use_bias: None: without batch normalisation, which would undo it.
            **whitening: Arguments of `netdeconv.NetworkDeconvolution2D`.
        """
        norm, start = self.options.norm, initializer(self.options.kernel_initializer)
        arguments = {"kernel_size": kernel, "strides": stride, "name": label}
        arguments["activation"] = activation
        if norm == "deconv":
            arguments |= {"padding": kernel // 2, "kernel_initializer": start}
            arguments |= {"block": self.block, **whitening}
            arguments |= self.options.norm_options
            return NetworkDeconvolution2D(filters, groups=groups, **arguments)(x)

        arguments |= {"padding": "same"}
        arguments["use_bias"] = norm == "none" if use_bias is None else use_bias
        if kernel > 1 and stride > 1:  # Keras' "same" would pad bottom and right only
            x = layers.ZeroPadding2D(kernel // 2, name=f"{label}_pad")(x)
            arguments["padding"] = "valid"
        if 1 < groups == x.shape[-1]:
            arguments["depthwise_initializer"] = PerChannel(start)
            arguments["depth_multiplier"] = filters // groups
            return DepthwiseConv2D(**arguments)(x)
        arguments["kernel_initializer"] = start
        if groups > 1:
            return GroupedConv2D(filters, groups=groups, **arguments)(x)
        return layers.Conv2D(filters, **arguments)(x)


def initializer(name: Initializer) -> Initializer:
    """How a kernel starts; None: as the authors' do."""
    if name is None:
        return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
    return own_initializer(keras.initializers.get(name))
