"""A small fully convolutional network: a class for each pixel, in place of one image's.

Two 3x3 convolutions at each of several resolutions, the first of each but the first
with stride 2. Class scores come from all resolutions but the first, by 1x1
convolutions; the coarser ones are enlarged and added to the finer ones, as in FCN (Long
et al., 2015).
With `norm="deconv"` the convolutions that score are whitened too, as in the
segmentation networks of Ye et al. (2020). It is in no preset: those train classifiers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from allconv.core import backend  # noqa: F401, before Keras

# isort: split
import keras
from keras import layers

from allconv.core.arguments import Whole, checked
from allconv.networks import registry
from allconv.networks.builders import Options
from allconv.networks.classics_layers import Convolutions


@checked
def fcn(
    classes: Whole,
    *,
    input_shape: Sequence[int | None] = (64, 64, 3),
    widths: Sequence[Whole] = (12, 24, 32, 32),
    norm: str = "none",
    norm_options: Mapping[str, Any] | None = None,
    kernel_initializer: str | None = "he_normal",
    name: str = "fcn",
) -> keras.Model:
    """Build the network.

    Args:
        classes: Number of classes.
        input_shape: `(height, width, channels)`; height and width are whole at each
            resolution (multiples of 8 of four), or None.
        widths: Channels at each resolution, two or more.
        norm: `"none"`, `"batch"` or `"deconv"`; see `builders.ARGUMENTS`.
        norm_options: Arguments for the layers of that norm.
        kernel_initializer: Keras initialiser of all kernels, by name; None: the
            authors', from which a network of this depth without a norm hardly learns.
        name: Name of the Keras model.

    Returns:
        An uncompiled functional `keras.Model` from images `(n, height, width,
        channels)` to float32 logits `(n, height, width, classes)`.

    Raises:
        ValueError: If an argument is none of the above.
    """
    settings = {} if norm_options is None else dict(norm_options)
    registry.check_norm_options("a segmentation network", norm, settings)
    if len(widths) < 2:
        raise ValueError(f"`widths` should be two or more. Received: widths={widths}")
    sides = [side for side in input_shape[:2] if side is not None]
    whole = 2 ** (len(widths) - 1)
    if len(input_shape) != 3 or any(side % whole or side < 1 for side in sides):
        raise ValueError(
            "`input_shape` should be (height, width, channels), the first two "
            f"multiples of {whole}. Received: input_shape={input_shape}"
        )
    options = Options(name, classes, None, 0.0, kernel_initializer, norm, settings)
    make = Convolutions(options, block=64)
    x = inputs = keras.Input(tuple(input_shape), name="images")
    maps = []
    for i, width in enumerate(widths, 1):
        x = make.convolve(x, f"conv{i}_1", width, 3, 1 if i == 1 else 2)
        x = make.convolve(x, f"conv{i}_2", width, 3)
        maps.append(x)
    x = None
    for i in range(len(widths), 1, -1):
        score = make.weigh(maps[i - 1], f"score{i}", classes, use_bias=True)
        x = score if x is None else layers.Add(name=f"add{i}")([score, x])
        enlarge = {"interpolation": "bilinear", "name": f"enlarge{i}"}
        x = layers.UpSampling2D(2, **enlarge)(x)
    x = layers.Activation("linear", dtype="float32", name="scores")(x)
    return keras.Model(inputs, x, name=name)
