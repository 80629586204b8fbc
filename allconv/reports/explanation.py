"""One explanation kept as files: the picture, the array, and all that made it."""

import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from allconv.core import files
from allconv.core.checks import nearest
from allconv.data import datasets, photo
from allconv.figures import style
from allconv.figures.maps import rule_comparison
from allconv.networks import registry, weights
from allconv.networks.classifier import Classifier
from allconv.reports import inputs
from allconv.saliency.explainer import Explainer


def read_model(
    name: str,
    weight_file: str | None = None,
    dataset: str = "cifar10",
    preprocess: str | None = None,
) -> tuple[keras.Model, Callable, Callable, str]:
    """A model with its way from uint8 pixels to inputs, and back for gradients.

    Args:
        name: A network of `registry.NAMES`, or a `.keras` or `.h5` file.
        weight_file: For a network: a weight file; None: the released one.
        dataset: For a network: the set that its released weights were trained on.
        preprocess: For a file: as for `inputs.parse`. None: the file's own layer for
            it, where it has one.

    Returns:
        `(model, preprocess, pullback, said)`; see `preprocessing.GCNZCA`. `said` is
        how pixels become inputs, in words.

    Raises:
        ValueError: If the name is neither, the weights are of another network, the file
            cannot be loaded or does not say what it takes, or an argument is for the
            other kind.
        FileNotFoundError: If there is no such file.
    """
    if name in registry.NAMES:
        if preprocess is not None:
            raise ValueError(
                f"`preprocess` is for a .keras file; {name} knows its own. "
                f"Received: preprocess={preprocess!r}"
            )
        path = weight_file or weights.released(name, dataset)
        classifier = Classifier.load(path)
        if classifier.meta["architecture"] != name:
            raise ValueError(
                f"{path} holds {classifier.meta['architecture']}. Received: {name!r}"
            )
        own = classifier.preprocessor
        return classifier.model, own, own.pullback, type(own).__name__
    if not name.endswith((".keras", ".h5")):
        raise ValueError(
            "`model` should be a network that `list` shows or a .keras or .h5 file. "
            f"Received: {name!r}{nearest(name, registry.NAMES)}"
        )
    if weight_file is not None:
        raise ValueError(
            f"{name} holds its own weights: name no other file. "
            f"Received: weight_file={weight_file!r}"
        )
    if not Path(name).is_file():
        raise FileNotFoundError(f"There is no file {name}.")
    model = inputs.load(name)
    way, said = inputs.found(model) if preprocess is None else (preprocess, preprocess)
    return model, *inputs.parse(way), said


def read_image(
    source: str,
    model: keras.Model,
    dataset: str = "cifar10",
    data_dir: str | None = None,
    fit: str = "crop",
) -> np.ndarray:
    """A test image by its index, or an image file at the size of the model's input.

    Args:
        source: A number, or the path of a file that `photo.read` reads.
        model: Its input says how large the image must be, and whether it is grey.
        dataset: For a number: one of `data.NAMES`.
        data_dir: As in `data.load`.
        fit: What to do with an image file of another shape; see `photo.read`.

    Returns:
        uint8 array `(1, height, width, channels)`.

    Raises:
        ValueError: If the index is out of range, the file is no image, or the model
            takes neither grey nor coloured images.
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
    taken = getattr(model, "inputs", None)  # a subclassed model has none
    if taken and len(taken) > 1:
        raise ValueError(
            f"{model.name} takes {len(taken)} inputs: explain it from Python, by "
            "`allconv.explain(model, {...}, of=NAME)`."
        )
    shape = tuple(taken[0].shape[1:]) if taken else (None, None, 3)
    channels = shape[-1] or 3
    if len(shape) != 3 or channels not in (1, 3):
        raise ValueError(
            f"An image file has 1 channel or 3, and {model.name} takes {shape}: "
            "explain it from Python, by `allconv.saliency.explain`."
        )
    size = None if None in shape[:2] else shape[:2]
    return photo.read(source, size, channels=channels, fit=fit)[None]


def write(
    output: str | Path,
    pixels: np.ndarray,
    model: keras.Model,
    preprocess: Callable,
    pullback: Callable,
    rule: str,
    settings: dict,
    *,
    before_rectifier: bool = False,
    strict: bool = True,
    **neuron,
) -> tuple[list[Path], list[str]]:
    """Explain one neuron and write `output` (PNG), and beside it `.npz` and `.json`.

    Args:
        output: As for `paths`.
        pixels: uint8 `(1, height, width, 1 or 3)`.
        model, preprocess, pullback: From `read_model`.
        rule: One of `rules.RULES`.
        settings: What to keep besides: the model's and the image's names.
        before_rectifier, strict: As for `saliency.explain`.
        **neuron: layer, channel, position, target: as for `saliency.explain`; head: of
            several outputs, as `output` there.

    Returns:
        The three paths, and what to tell of a map that is not as one expects.

    Raises:
        ValueError: As `saliency.explain` and `paths`.
    """
    written = paths(output)
    neuron = {k: v for k, v in neuron.items() if v is not None}
    address = dict(neuron)
    layer, head = address.pop("layer", None), address.pop("head", None)
    explainer = Explainer(
        model,
        rule,
        layer=layer,
        output=head,
        before_rectifier=before_rectifier,
        strict=strict,
        image_shape=pixels.shape[1:],
    )
    at_inputs, (index,), (activation,) = explainer.explained(
        preprocess(pixels), **address
    )
    maps = pullback(pixels, at_inputs)
    what = f"class {index[-1]}" if layer is None else f"{layer}, {index[-1]}"
    title = f"{rule}\n{what}: {activation:.3g}"
    figure, limits = rule_comparison(pixels, {title: maps})

    picture, arrays = io.BytesIO(), io.BytesIO()
    with style.defaults():
        figure.savefig(picture, format="png", dpi=200)
    np.savez_compressed(
        arrays, image=pixels[0], map=maps[0], map_at_inputs=at_inputs[0]
    )
    contents = [picture.getvalue(), arrays.getvalue()]
    notes = _notes(at_inputs, float(activation), before_rectifier, layer is None)
    if untouched := (rule != "backprop") * len(explainer.audit.untouched):
        notes.append(
            f"Of {untouched} operations {rule} says nothing, the plain gradient "
            "passes through them: they are named in the JSON."
        )
    if rule == "guided" and layer is None:
        notes.append(GUIDED)
    facts = {
        **settings,
        "rule": rule,
        "neuron": neuron,
        "index": index.tolist(),
        "activation": float(activation),
        "audit": str(explainer.audit),
        "notes": notes,
        "limit": float(limits.max()),
        "weights_sha256": _digest(model),
        MARK: sorted({_sha256(content) for content in contents} | _there(written)),
    }
    contents.append(json.dumps(facts, indent=1).encode())
    written[0].parent.mkdir(parents=True, exist_ok=True)
    # The facts first: they know the files before and those to come, so that the same
    # command can be given again wherever this one is stopped.
    for path, content in reversed(list(zip(written, contents, strict=True))):
        files.write_bytes(path, content)
    return written, notes


GUIDED = (
    "Guided maps may change little with the class: see 'Can I trust it?' in "
    "docs/explain-my-model.md, and notebook 04, before you take one for a reason."
)
MARK = "written_sha256"  # of pictures and arrays, in the JSON beside them


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _there(written: list[Path]) -> set[str]:
    """The digests of the picture and the arrays that are to be replaced."""
    return {_sha256(path.read_bytes()) for path in written[:2] if path.exists()}


def paths(output: str | Path) -> list[Path]:
    """The three files of an explanation: `.png`, `.npz` and `.json`.

    Args:
        output: The picture's path, `.png` or without; or a folder, in which the files
            are called explanation.

    Raises:
        ValueError: If a file would be hidden, or one is there that was not written by
            `write`, or was changed since.
    """
    text = os.fspath(output)
    if text and (text.endswith(os.sep) or Path(text).is_dir()):
        text = str(Path(text) / "explanation")
    if not Path(text).name or Path(text).name.startswith("."):
        raise ValueError(
            "`output` should be a folder or the name of a file that is not hidden. "
            f"Received: output={os.fspath(output)!r}"
        )
    stem = text.removesuffix(".png")
    found = [Path(stem + suffix) for suffix in (".png", ".npz", ".json")]
    for path in found:
        if path.exists() and not _is_ours(path, found):
            raise ValueError(
                f"{path} is there and not as `explain` wrote it: choose another name. "
                f"Received: output={os.fspath(output)!r}"
            )
    return found


def _is_ours(path: Path, found: list[Path]) -> bool:
    try:
        digests = json.loads(found[2].read_text())[MARK]
        if path == found[2]:
            return len(digests) >= 2
        return _sha256(path.read_bytes()) in digests
    except (OSError, ValueError, TypeError, LookupError):
        return False


def _notes(
    maps: np.ndarray, activation: float, before_rectifier: bool, is_class: bool
) -> list[str]:
    if maps.any():
        negative = "Nothing speaks for the neuron: the map is nowhere above 0."
        return [] if (maps > 0).any() else [negative]
    if is_class:
        return ["The map is all zero: by this rule no pixel speaks for the class."]
    if before_rectifier:
        return ["The map is all zero: no pixel moves the neuron."]
    if activation == 0:
        return ["The map is all zero: the neuron is silent (0) at this image."]
    return [
        f"The map is all zero though the neuron says {activation:.3g}: it may be at "
        "its rectifier's ceiling; --before-rectifier explains the value below it."
    ]


def _digest(model: keras.Model) -> str:
    total = hashlib.sha256()
    for array in model.get_weights():
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()
