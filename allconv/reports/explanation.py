"""One explanation kept as files: the picture, the array, and all that made it."""

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from allconv.core import files
from allconv.data import datasets
from allconv.figures.maps import rule_comparison
from allconv.networks import registry, weights
from allconv.networks.classifier import Classifier
from allconv.saliency.explainer import Explainer


def read_model(
    name: str,
    weight_file: str | None = None,
    dataset: str = "cifar10",
    white: float | None = None,
) -> tuple[keras.Model, Callable, Callable]:
    """A model with its way from uint8 pixels to inputs, and back for gradients.

    Args:
        name: A network of `registry.NAMES`, or a `.keras` file.
        weight_file: For a network: a weight file; None: the released one.
        dataset: For a network: the set that its released weights were trained on.
        white: For a `.keras` file, which does not say: the input value of a white
            pixel, 1 or 255, say.

    Returns:
        `(model, preprocess, pullback)`; see `preprocessing.GCNZCA`.

    Raises:
        ValueError: If the name is neither, the weights are of another network, the file
            cannot be loaded or needs `white`, or an argument is for the other kind.
        FileNotFoundError: If there is no such file.
    """
    if name in registry.NAMES:
        if white is not None:
            raise ValueError(
                f"`white` is for a .keras file; {name} knows its own preprocessing. "
                f"Received: white={white}"
            )
        path = weight_file or weights.released(name, dataset)
        classifier = Classifier.load(path)
        if classifier.meta["architecture"] != name:
            raise ValueError(
                f"{path} holds {classifier.meta['architecture']}. Received: {name!r}"
            )
        preprocessor = classifier.preprocessor
        return classifier.model, preprocessor, preprocessor.pullback
    if not name.endswith(".keras"):
        raise ValueError(
            "`model` should be a network that `list` shows or a .keras file. "
            f"Received: {name!r}"
        )
    if weight_file is not None:
        raise ValueError(
            f"{name} holds its own weights: name no other file. "
            f"Received: weight_file={weight_file!r}"
        )
    if not Path(name).is_file():
        raise FileNotFoundError(f"There is no file {name}.")
    if white is None:
        raise ValueError(
            f"{name} does not say what it takes: give `white`, the input value of a "
            "white pixel, which is 255 where the model scales pixels itself, often 1."
        )
    try:
        # Keras' safe mode refuses files that carry code of their own.
        model = keras.models.load_model(name, compile=False, safe_mode=True)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Keras cannot load {name}: {error} A model with classes of its own can be "
            "explained from Python, by `allconv.saliency.explain`."
        ) from error
    factor = white / 255
    return (
        model,
        lambda images: images.astype(np.float32) * np.float32(factor),
        lambda images, maps: maps * np.float32(factor),
    )


def read_image(
    source: str,
    model: keras.Model,
    dataset: str = "cifar10",
    data_dir: str | None = None,
) -> np.ndarray:
    """A test image by its index, or an image file scaled to the model's input.

    Args:
        source: A number, or the path of a file that Pillow reads.
        model: Its input says how large the image must be.
        dataset: For a number: one of `data.NAMES`.
        data_dir: As in `data.load`.

    Returns:
        uint8 array `(1, height, width, 3)`.

    Raises:
        ValueError: If the index is out of range or the file is no image.
        FileNotFoundError: If there is no such file.
    """
    if source.lstrip("-").isdecimal():
        _, (images, _) = datasets.load(dataset, data_dir)
        index = int(source)
        if not 0 <= index < len(images):
            raise ValueError(
                f"The index should be from 0 to {len(images) - 1}. Received: {index}"
            )
        return images[index : index + 1]
    if not Path(source).is_file():
        raise FileNotFoundError(
            f"The image should be a file or an index. Received: {source!r}"
        )
    inputs = getattr(model, "inputs", None)  # a subclassed model has none
    size = inputs[0].shape[1:3] if inputs and None not in inputs[0].shape[1:3] else None
    try:
        image = keras.utils.load_img(source, target_size=size)
    except OSError as error:
        raise ValueError(f"{source} is no image that can be read.") from error
    return np.asarray(image, np.uint8)[None]


def write(
    output: str | Path,
    pixels: np.ndarray,
    model: keras.Model,
    preprocess: Callable,
    pullback: Callable,
    rule: str,
    settings: dict,
    **neuron,
) -> list[Path]:
    """Explain one neuron and write `output` (PNG), and beside it `.npz` and `.json`.

    Args:
        output: The picture's path, `.png` or without; its folder is made.
        pixels: uint8 `(1, height, width, 3)`.
        model, preprocess, pullback: From `read_model`.
        rule: One of `rules.RULES`.
        settings: What to keep besides: the model's and the image's names.
        **neuron: layer, channel, position, target: as for `saliency.explain`.

    Returns:
        The three paths.

    Raises:
        ValueError: As `saliency.explain`.
    """
    neuron = {k: v for k, v in neuron.items() if v is not None}
    address = dict(neuron)
    layer = address.pop("layer", None)
    explainer = Explainer(model, rule, layer=layer, image_shape=pixels.shape[1:])
    inputs = preprocess(pixels)
    at_inputs, (index,), (activation,) = explainer.explained(inputs, **address)
    maps = pullback(pixels, at_inputs)
    what = f"class {index[-1]}" if layer is None else f"{layer}, {index[-1]}"
    title = f"{rule}\n{what}: {activation:.3g}"
    figure, limits = rule_comparison(pixels, {title: maps})

    stem = str(output).removesuffix(".png")
    paths = [Path(stem + suffix) for suffix in (".png", ".npz", ".json")]
    picture, arrays = io.BytesIO(), io.BytesIO()
    figure.savefig(picture, format="png", dpi=200)
    np.savez_compressed(
        arrays, image=pixels[0], map=maps[0], map_at_inputs=at_inputs[0]
    )
    facts = {
        **settings,
        "rule": rule,
        "neuron": neuron,
        "index": index.tolist(),
        "activation": float(activation),
        "audit": str(explainer.audit),
        "limit": float(limits.max()),
        "weights_sha256": _digest(model),
    }
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    for path, content in zip(
        paths,
        (picture.getvalue(), arrays.getvalue(), json.dumps(facts, indent=1).encode()),
        strict=True,
    ):
        files.write_bytes(path, content)
    return paths


def _digest(model: keras.Model) -> str:
    total = hashlib.sha256()
    for array in model.get_weights():
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()
