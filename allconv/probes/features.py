"""What every probe needs: features at named layers and class probabilities, read from
any Keras model, with inputs checked once.

The probes of Zeiler & Fergus change an image and watch the network: a grey square
(`occlusion`), a translation, scaling or rotation (`invariance`), a part
masked in several images (`correspondence`), or the weights of another epoch
(`evolution`).
"""

from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from allconv.core.arrays import check_finite
from allconv.saliency import soundness
from allconv.saliency.neurons import final, layer_output, observed

Preprocess = Callable[[np.ndarray], np.ndarray]
# Operations that give any number: what ends in one is no probability.
LINEAR_ENDS = {"BiasAdd", "MatMul", "AddV2", "Conv2D", "Mean"}
BATCH_PIXELS = 2**18  # 256 images of 32 x 32, 5 of 224 x 224


def reader(
    model: keras.Model,
    layers: Sequence[str] = (),
    preprocess: Preprocess | None = None,
) -> Callable[[tf.Tensor], tuple[list[tf.Tensor], tf.Tensor]]:
    """Make a function from images to the features of layers and the output.

    Args:
        model: Any Keras model with one input and one output.
        layers: Addresses of layers, as in `saliency.explain`: a name, with the names of
            the models around it where need be (`"block/conv1"`), and the number of
            the call where it is called more than once (`"conv1#2"`).
        preprocess: NumPy function from images to the model's inputs, of the same shape;
            None: the images are the model's inputs.

    Returns:
        A function of a float32 tensor `(batch, height, width, channels)`, to be called
        in a `tf.function` without AutoGraph, which would rewrite the error messages.
        It returns the features, one float32 tensor per layer, and the model's output,
        float32. The model is in inference mode. It raises a ValueError if a layer
        cannot be read, or the model has several outputs.
    """

    if isinstance(layers, str):
        raise ValueError(f"`layers` should be a list of names. Received: {layers!r}")

    def read(images: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
        if preprocess is not None:
            inputs = tf.numpy_function(
                lambda x: np.asarray(preprocess(x), np.float32), [images], tf.float32
            )
            images = tf.ensure_shape(inputs, images.shape)
        if not model.built:  # the first call calls the layers twice
            model(images, training=False)
        with observed(model) as calls:
            output = model(images, training=False)
        if not tf.is_tensor(output):
            raise ValueError(
                "The model should have one output, class scores. "
                f"Received: {type(output).__name__}"
            )
        features = [layer_output(model, layer, calls) for layer in layers]
        return [tf.cast(f, tf.float32) for f in features], tf.cast(output, tf.float32)

    return read


def check_model(
    model: keras.Model, images: np.ndarray, preprocess: Preprocess | None = None
) -> None:
    """Refuse a model whose channels come first, or that gives what is not finite.

    Args:
        model: As for `reader`.
        images: Of `batch_of`; the first is looked at in every layer.
        preprocess: As for `reader`.

    Raises:
        ValueError: Naming the layer.
    """
    if len(getattr(model, "inputs", None) or ()) > 1:
        raise ValueError(
            "The model should have one input, images. "
            f"Received: {model.name} with {len(model.inputs)} inputs"
        )
    soundness.check_channels_last(model)
    first = images[: soundness.batch_size(model) or 1]
    inputs = first if preprocess is None else preprocess(first)
    soundness.check_finite(model, tf.constant(inputs, tf.float32))


def check_maps(features: tf.Tensor, layer: str) -> None:
    """Raise a ValueError unless features are maps (batch, height, width, channels)."""
    if len(features.shape) != 4:
        raise ValueError(
            f"The layer {layer!r} has no map: its output has shape {features.shape}, "
            "not (batch, height, width, channels)."
        )


def probabilities_of(
    output: tf.Tensor, from_logits: bool, multi_label: bool = False
) -> tf.Tensor:
    """Class probabilities `(batch, classes)` from a traced model's output.

    Args:
        output: `(batch, classes)`. A single column is the probability (or the logit) of
            the second of two classes.
        from_logits: Whether it holds logits.
        multi_label: Whether each column is a probability of its own, a sigmoid's, and
            not a share of 1.

    Raises:
        ValueError: If the output is not of rank 2, `from_logits` and a softmax, or a
            single column that is not seen to be a probability.
    """
    if len(output.shape) != 2:
        raise ValueError(
            "The model should give class scores (batch, classes). "
            f"Received: output of shape {output.shape}"
        )
    end, columns = final(output).type, output.shape[1]
    ended = end in ("Softmax", "LogSoftmax", "Sigmoid")
    if from_logits and ended:
        raise ValueError(
            "The model ends in a softmax or a sigmoid and gives no logits. "
            "Received: from_logits=True"
        )
    if columns == 1 and ended and end != "Sigmoid":
        raise ValueError(
            "The model ends in a softmax over one class, which is 1 for every image. "
            "One output should be a sigmoid."
        )
    if columns == 1 and end in LINEAR_ENDS and not from_logits:
        raise ValueError(
            "The model's one output is no probability: no sigmoid makes it. Pass "
            "from_logits=True where it is the logit of the second of two classes."
        )
    if columns > 1 and end == "Sigmoid" and not multi_label:
        raise ValueError(
            f"The model ends in {columns} sigmoids, each a probability of its own, "
            "which need not add up to 1. Pass multi_label=True."
        )
    if columns == 1:  # of two classes
        rest = tf.sigmoid(-output) if from_logits else 1 - output
        return tf.concat([rest, tf.sigmoid(output) if from_logits else output], 1)
    if not from_logits:
        return output
    return tf.sigmoid(output) if multi_label else tf.nn.softmax(output)


def classes_of(
    labels: np.ndarray | None, probabilities: np.ndarray, multi_label: bool = False
) -> np.ndarray:
    """The class to watch in each image: the true one, or else the predicted one.

    Args:
        labels: Integers `(n,)`, or None for the model's own predictions.
        probabilities: `(n, classes)` of the unchanged images.
        multi_label: Whether each column is a probability of its own.

    Raises:
        ValueError: If the rows are no probabilities, or a label is no class.
    """
    check_finite(probabilities, "The model's outputs")
    sums = probabilities.max(axis=1) if multi_label else probabilities.sum(axis=1)
    over = sums - 1 if multi_label else np.abs(sums - 1)
    if probabilities.min() < 0 or over.max() > 1e-2:
        wanted = "above 1" if multi_label else "negative and should add up to 1"
        raise ValueError(
            "The model's outputs are no probabilities: they should not be "
            f"{wanted}. Pass from_logits=True for a model that ends in logits, "
            "multi_label=True where each column is a probability of its own."
        )
    if labels is None:
        return probabilities.argmax(axis=1)
    labels = np.asarray(labels)
    n, classes = probabilities.shape
    if labels.shape != (n,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"`labels` should be one integer per image, {n} in all. "
            f"Received: shape={labels.shape}, dtype={labels.dtype}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"`labels` should be classes from 0 to {classes - 1}. "
            f"Received: {labels.min()} to {labels.max()}"
        )
    return labels


def fill_of(fill: float | Sequence[float], channels: int) -> np.ndarray:
    """The colour of a mask as float32 `(channels,)`, from one number or one each."""
    value = np.asarray(fill, np.float32)
    if value.shape not in ((), (1,), (channels,)) or not np.isfinite(value).all():
        raise ValueError(
            f"`fill` should be a finite number or one per channel ({channels}). "
            f"Received: fill={fill}"
        )
    return np.broadcast_to(value, (channels,))


def batches(
    count: int, images: np.ndarray, batch_size: int | None
) -> Iterator[np.ndarray]:
    """Split `range(count)` into batches of one length, so that one trace serves all.

    Args:
        count: How many changed images there are to read.
        images: The images, which set the batch size when it is None.
        batch_size: Images at a time; None: as many as make `BATCH_PIXELS`.

    Yields:
        int arrays; the last one may repeat the last number.
    """
    if batch_size is None:
        batch_size = max(1, BATCH_PIXELS // (images.shape[1] * images.shape[2]))
    if batch_size < 1:
        raise ValueError(
            f"`batch_size` should be at least 1. Received: batch_size={batch_size}"
        )
    # Equal shares, so that next to nothing is read twice at the end.
    batch_size = -(-count // -(-count // batch_size))
    # A bar, on a terminal, of what takes more than some seconds.
    bar = {"unit": "batch", "disable": None, "delay": 5, "leave": False}
    for start in tqdm(range(0, count, batch_size), **bar):
        yield np.arange(start, start + batch_size).clip(max=count - 1)
