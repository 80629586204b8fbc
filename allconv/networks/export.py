"""A network as one file for others: raw uint8 images in, probabilities out.

The preprocessing goes in as plain operations, so that whoever runs the file needs
nothing of this project: Keras, onnxruntime or LiteRT alone.
"""

import importlib.util
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from allconv.core import backend  # noqa: F401, before Keras

# isort: split
import keras
import numpy as np
from keras import layers, ops

from allconv.core import files
from allconv.core.checks import check_choice, one_line
from allconv.core.waiting import say_if_long
from allconv.data.preprocessing import GCN_SCALE, GCNZCA, MeanPixel, MeanStd
from allconv.layers import folding
from allconv.layers.grouped_conv import DepthwiseConv2D, GroupedConv2D
from allconv.layers.zfnet_norms import LocalResponseNormalization
from allconv.networks.classifier import Classifier

# Layers of ours whose arguments, weights and outputs are Keras'.
PLAIN = {GroupedConv2D: layers.Conv2D, DepthwiseConv2D: layers.DepthwiseConv2D}
LARGEST_DIFFERENCE = 1e-4  # of a probability, between two runtimes
# Of `sqrt(sum of squares) / GCN_SCALE` of a centred image. Pixels are whole numbers:
# one that differs by 1 makes it 0.018; of an image of one colour rounding leaves less.
NO_CONTRAST = 1e-3
TRAINING_ALONE = ("_initializer", "_regularizer", "_constraint")

Predict = Callable[[np.ndarray], np.ndarray]


class Format(NamedTuple):
    """How a file is written, and how its own runtime opens it."""

    suffix: str
    write: Callable[[keras.Model, Path], None]
    open: Callable[[Path], Predict]
    needs: tuple[str, ...] = ()
    takes: str = "uint8"  # pixels, 0 to 255


def write(
    path: str | Path, classifier: Classifier, images: np.ndarray, format: str
) -> float:
    """Write a classifier to a file, once its runtime gives the same probabilities.

    Args:
        path: The file; it ends in the suffix of the format and is written whole or not
            at all.
        classifier: A network with its preprocessing.
        images: uint8 `(n, height, width, channels)`, to compare on; 100 will do.
        format: One of `FORMATS`.

    Returns:
        The largest difference of any probability from the classifier's own.

    Raises:
        ValueError: If the format cannot hold the network, or differs.
        ImportError: If a package is missing.
        OSError: E.g. a full disk; `path` is as it was.
    """
    path = check(path, format)
    kind = FORMATS[format]
    expected, name = classifier.predict(images), classifier.meta["architecture"]
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder, f"draft{kind.suffix}")
        model = plain(classifier, kind.takes)
        with say_if_long(f"Writing {name} as {format} ..."):
            try:
                kind.write(model, draft)
                found = kind.open(draft)(images)
            except ImportError:
                raise
            except OSError as error:  # of a full disk say, which is no format's fault
                said = error.strerror or one_line(error)
                raise OSError(
                    error.errno, said, str(error.filename or folder)
                ) from error
            except Exception as error:  # each runtime has its own
                raise ValueError(
                    f"{name} cannot be exported as {format}: {one_line(error)}"
                ) from error
        # Also where a probability is not finite.
        difference = float(np.abs(found - expected).max(initial=0))
        if not difference <= LARGEST_DIFFERENCE:
            raise ValueError(
                f"{name} as {format} should give the same probabilities to within "
                f"{LARGEST_DIFFERENCE:g}. They differ by {difference:.2g}."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(path, files.read_bytes(draft))
    return difference


def check(path: str | Path, format: str) -> Path:
    """The path of a file to write.

    Raises:
        ValueError: If there is no such format, or the file's name ends otherwise.
        ImportError: If a package is missing.
    """
    check_choice("format", format, FORMATS)
    path, suffix = Path(path), FORMATS[format].suffix
    if path.suffix != suffix:
        raise ValueError(
            f"A file of format {format} should end in {suffix}. Received: {path}"
        )
    missing = [p for p in FORMATS[format].needs if importlib.util.find_spec(p) is None]
    if missing:
        raise ImportError(
            f"Format {format} needs {' and '.join(missing)}: "
            "`pip install 'allconv[export]'`, or `.[export]` in a checkout."
        )
    return path


def plain(classifier: Classifier, takes: str = "float32") -> keras.Model:
    """A classifier as one Keras model of Keras' own layers, in float32.

    Args:
        classifier: A network with its preprocessing.
        takes: Type of the images. No gradient reaches whole numbers; a Keras model of
            float32 takes uint8 as well.

    Returns:
        A functional model from raw images, 0 to 255, to probabilities.

    Raises:
        ValueError: If a layer is not Keras' own and has no plain form here.
    """
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        model = _plain(classifier, takes)
    finally:
        keras.config.set_dtype_policy(policy)
    foreign = sorted({*_foreign(model.get_config())})
    if foreign:
        raise ValueError(
            f"{model.name} should have layers of Keras alone, to be read without this "
            f"project. Received: {', '.join(foreign)}"
        )
    return model


def _plain(classifier: Classifier, takes: str) -> keras.Model:
    shape = classifier.model.input_shape[1:]
    images = keras.Input(shape, dtype=takes, name="images")
    x = _preprocess(images, classifier)
    network = folding.fold(classifier.model)
    copy = keras.models.clone_model(
        network, clone_function=_plain_layer, call_function=_call
    )
    for layer in network.layers:
        if layer.weights:
            copy.get_layer(layer.name).set_weights(layer.get_weights())
    return keras.Model(images, copy(x), name=classifier.meta["architecture"])


def _preprocess(images: keras.KerasTensor, classifier: Classifier) -> keras.KerasTensor:
    """The preprocessor as layers and operations of Keras."""
    kind = classifier.preprocessor
    if isinstance(kind, MeanStd):
        mean, std = (np.asarray(a, np.float64) for a in kind.arrays().values())
        # `Normalization` would ask an ONNX file's reader for its mean and variance.
        scale, offset = (1 / std).tolist(), (-mean / std).tolist()
        return layers.Rescaling(scale, offset, name="mean_std")(images)
    size = int(np.prod(images.shape[1:]))
    x = ops.reshape(ops.cast(images, "float32"), (-1, size))
    if isinstance(kind, MeanPixel):
        # Weights, not constants of the graph: of 224 pixels 150,528 numbers.
        centred = layers.BatchNormalization(
            center=False, scale=False, epsilon=0, name="mean_pixel"
        )
        x = centred(x, training=False)
        centred.set_weights([kind.arrays()["mean"].ravel(), np.ones(size)])
        return ops.reshape(x, (-1, *images.shape[1:]))
    assert isinstance(kind, GCNZCA)
    x = x - ops.mean(x, axis=1, keepdims=True)
    divisor = ops.sqrt(ops.sum(ops.square(x), axis=1, keepdims=True)) / GCN_SCALE
    x = x / ops.where(divisor < NO_CONTRAST, 1.0, divisor)
    mean, matrix = kind.zca.constants()
    zca = layers.Dense(size, name="zca")
    x = zca(x)
    zca.set_weights([matrix, -mean.astype(np.float64) @ matrix])
    return ops.reshape(x, (-1, *images.shape[1:]))


def _plain_layer(layer: keras.Operation) -> keras.Operation:
    """A copy in float32 without what only training needs."""
    if not isinstance(layer, keras.layers.Layer):
        return layer.from_config(layer.get_config())
    config = {
        k: v for k, v in layer.get_config().items() if not k.endswith(TRAINING_ALONE)
    }
    kind = PLAIN.get(type(layer), type(layer))
    return kind.from_config(config | {"dtype": "float32"})


def _call(layer: Any, *args: Any, **kwargs: Any) -> Any:
    if isinstance(layer, LocalResponseNormalization):
        return _normalise(args[0], layer)
    return layer(*args, **kwargs)


def _normalise(
    x: keras.KerasTensor, layer: LocalResponseNormalization
) -> keras.KerasTensor:
    """Local response normalisation, its sum a convolution by a band of ones."""
    channels = np.arange(x.shape[-1])
    near = np.abs(channels[:, None] - channels) <= layer.depth_radius
    energy = layers.Conv2D(len(channels), 1, name=f"{layer.name}_energy")
    total = energy(ops.square(x))
    energy.set_weights(
        [(layer.alpha * near)[None, None], np.full(len(channels), layer.bias)]
    )
    return x / ops.power(total, layer.beta)


def _foreign(config: Any) -> Iterator[str]:
    """Names of what a model's configuration has that does not come with Keras."""
    if isinstance(config, dict):
        module = config.get("module")
        if "class_name" in config and module and not module.startswith("keras"):
            found = config["class_name"]
            yield str(config["config"]) if found == "function" else found
        for value in config.values():
            yield from _foreign(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _foreign(value)


def _write_keras(model: keras.Model, path: Path) -> None:
    model.save(path)


def _open_keras(path: Path) -> Predict:
    model = keras.models.load_model(path)
    return lambda images: model.predict(images, verbose=0)


def _write_onnx(model: keras.Model, path: Path) -> None:
    model(np.zeros((1, *model.input_shape[1:]), np.uint8))  # which Keras asks for
    with warnings.catch_warnings():  # of what the converter does with NumPy
        warnings.simplefilter("ignore")
        model.export(path, format="onnx", verbose=False)


def _open_onnx(path: Path) -> Predict:
    import onnxruntime

    # An operation that the converter lacks, and only logs, is refused here.
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (images,) = session.get_inputs()
    return lambda batch: session.run(None, {images.name: batch})[0]


def _write_litert(model: keras.Model, path: Path) -> None:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, format="tf_saved_model", verbose=False)
        # Of built-in operations alone: it refuses others by name.
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        files.write_bytes(path, converter.convert())


def _open_litert(path: Path) -> Predict:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter
    with warnings.catch_warnings():  # that TensorFlow's will go
        warnings.simplefilter("ignore")
        interpreter = Interpreter(str(path))
    (images,), (scores,) = (
        interpreter.get_input_details(),
        interpreter.get_output_details(),
    )

    def predict(batch: np.ndarray) -> np.ndarray:
        interpreter.resize_tensor_input(images["index"], batch.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(images["index"], batch)
        interpreter.invoke()
        return interpreter.get_tensor(scores["index"])

    return predict


FORMATS = {
    "keras": Format(".keras", _write_keras, _open_keras, takes="float32"),
    "onnx": Format(".onnx", _write_onnx, _open_onnx, ("onnxruntime", "tf2onnx")),
    "litert": Format(".tflite", _write_litert, _open_litert),
}
