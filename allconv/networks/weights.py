"""Weight files that stand alone: kernels, preprocessing and where they come from.

A file can classify a raw uint8 image by itself (`classifier`): it carries the
architecture's name and the constants of its preprocessing. Released files are listed in
`weights/manifest.json`.
"""

import hashlib
import warnings
from pathlib import Path

from allconv.core import backend  # noqa: F401, before Keras

# isort: split
import keras
import numpy as np

from allconv.core import files
from allconv.core.arguments import checked
from allconv.data import datasets
from allconv.data.preprocessing import GCNZCA, Preprocessor
from allconv.networks import facts, places, registry
from allconv.networks.places import MANIFEST

RELEASED = places.folder("weights")


def save(
    path: Path,
    model: keras.Model,
    architecture: str,
    preprocessor: Preprocessor,
    dataset: str,
    meta: dict,
    dtype: str = "float32",
    shared: Path | None = None,
) -> None:
    """Write weights and preprocessing to one file.

    Args:
        path: The file.
        model: The network, trained.
        architecture: Its name in `registry.NAMES`.
        preprocessor: The fitted preprocessing it was trained with.
        dataset: One of `data.NAMES`, or the path of your own.
        meta: Further facts, as JSON can hold: preset, seed, error.
        dtype: Of the stored weights: `"float32"` or `"float16"`.
        shared: A file of `save_preprocessing` in the same folder, which holds the
            preprocessing in place of this one; its SHA-256 is noted.

    Raises:
        ValueError: If a weight is not finite, or not in that dtype, or a fact is none
            that `read` takes.
    """
    datasets.check("dataset", dataset)
    names = meta.get("class_names") or datasets.class_names(dataset)
    with np.errstate(over="ignore"):
        arrays = {f"weights/{k}": v.astype(dtype) for k, v in _weights(model).items()}
    if not all(np.isfinite(a).all() for a in arrays.values()):
        raise ValueError(f"{model.name} has weights that {dtype} cannot hold.")
    if shared is None:
        arrays |= {f"preprocessing/{k}": v for k, v in preprocessor.arrays().items()}
    else:
        meta = meta | {"shared": {"file": shared.name, "sha256": sha256(shared)}}
    meta = {
        "architecture": architecture,
        "dataset": dataset,
        "classes": len(names),
        "input_shape": list(model.input_shape[1:]),
        "preprocessing": preprocessor.name,
    } | meta
    if dataset not in datasets.NAMES:
        meta["class_names"] = names
    facts.check(meta)
    files.write(path, arrays, meta)


def save_preprocessing(path: Path, preprocessor: GCNZCA) -> None:
    """Write a preprocessing that several weight files share, made compact."""
    meta = {"kind": preprocessor.name}
    files.write(path, preprocessor.compact(), meta, compress=True)


@checked
def read(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays and the `facts.Facts` of a file of `save`.

    A released file is compared with its SHA-256 in the manifest.

    Raises:
        FileNotFoundError: If there is no such file.
        DamagedFileError: If it is not whole, or not a weight file; names the field.
    """
    arrays, meta = files.read(path, _on_record(path))
    if not isinstance(meta, dict) or not {"architecture", "preprocessing"} <= {*meta}:
        raise files.DamagedFileError(
            f"{path} is no weight file of this project; perhaps it is a checkpoint."
        )
    try:
        facts.check(meta)
        for name, array in arrays.items():
            facts.check_array(name, array)
        if "shared" not in meta:
            facts.check_constants(_own_constants(arrays), meta)
    except ValueError as error:
        raise files.DamagedFileError(f"{path} is no sound weight file: {error}") from (
            error
        )
    return arrays, meta


def preprocessing(
    arrays: dict[str, np.ndarray], meta: dict, path: Path
) -> dict[str, np.ndarray]:
    """The constants of the preprocessing, of what `read` gave of the file at `path`.

    Raises:
        FileNotFoundError: If they are shared, and their file is not beside it.
        DamagedFileError: If that file is not the one that was written with it.
    """
    if "shared" not in meta:
        return _own_constants(arrays)
    name, digest = Path(meta["shared"]["file"]).name, meta["shared"]["sha256"]
    beside = path.with_name(name)
    if path.parent == places.cache():  # a fetched file's may lie with the others
        beside = places.find(RELEASED, name, digest)
    try:
        constants, _ = files.read(beside, digest)
        facts.check_constants(constants, meta)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"There is no file {beside}, which is needed here."
        ) from None
    except ValueError as error:
        raise files.DamagedFileError(f"{beside} does not fit: {error}") from error
    return constants


def _own_constants(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    start = "preprocessing/"
    return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}


def assign(model: keras.Model, arrays: dict[str, np.ndarray], path: Path) -> None:
    """Set a model's weights to what `read` gave of the file at `path`.

    Layers that the model does not have are passed over.

    Raises:
        ValueError: If a weight is missing there or has another shape, or one of the
            model's layers has more weights there, as one with whitening has.
    """
    needed, layers = _weights(model), {layer.name for layer in model.layers}
    for name in (key.removeprefix("weights/") for key in arrays):
        if name.rpartition("/")[0] in layers and name not in needed:
            raise ValueError(
                f"{path} does not fit {model.name}: it holds {name}, which is of a "
                "whitened or normalised layer. Save `folding.fold(model)`."
            )
    for name, old in needed.items():
        new = arrays.get(f"weights/{name}")
        if new is None or new.shape != old.shape:
            found = "none" if new is None else f"shape {new.shape}"
            raise ValueError(
                f"{path} does not fit {model.name}: {name} needs shape {old.shape}. "
                f"Received: {found}"
            )
    for layer in model.layers:
        for variable in layer.weights:
            key = f"weights/{layer.name}/{variable.name}"
            if key in arrays:
                variable.assign(arrays[key].astype(variable.dtype))


def load_into(model: keras.Model, architecture: str, weights: str | Path) -> None:
    """Set a network's weights from a released set or a file.

    Args:
        model: A network of `builders.build`. One without its top takes what fits.
        architecture: Its name in `registry.NAMES`.
        weights: The name of a data set of `data.NAMES`, a file of `save`, or a Keras
            `.weights.h5` file, which does not say what network it is of: a
            `UserWarning` does.

    Raises:
        ValueError: If nothing is released for that data set, or the file does not fit.
        FileNotFoundError: If there is no such file.
    """
    if weights in datasets.NAMES:
        path = released(architecture, str(weights))
    else:
        path = Path(weights)
        if not path.exists():
            raise FileNotFoundError(
                "`weights` should be None, the name of a data set or a file. "
                f"Received: weights={str(weights)!r}, which is neither."
            )
    if path.name.endswith(".weights.h5"):
        model.load_weights(path)
        warnings.warn(
            f"{path.name} does not say which network it is of: that its shapes fit "
            f"{architecture} does not tell, they may fit another too.",
            stacklevel=3,
        )
        return
    arrays, meta = read(path)
    if meta["architecture"] != architecture:
        raise ValueError(
            f"{path} holds weights of {meta['architecture']}, not of {architecture}."
        )
    assign(model, arrays, path)


def manifest() -> list[dict]:
    """The released files, a `facts.Entry` each; empty where nothing is released.

    Raises:
        ValueError: Naming the file and the field, if it is no manifest.
    """
    return places.manifest(RELEASED)


def file_of(entry: dict) -> Path:
    """The path of one entry of the manifest; `read` verifies it.

    Raises:
        FileNotFoundError: If there is no such file.
        DamagedFileError: If its SHA-256 is not the manifest's.
    """
    path = places.find(RELEASED, Path(entry["file"]).name, entry["sha256"])
    if sha256(path) != entry["sha256"]:
        raise files.DamagedFileError(
            f"{path} is damaged: its SHA-256 is not the one on record. Restore it from "
            "the repository."
        )
    return path


@checked
def released(architecture: str, dataset: str) -> Path:
    """The verified path of the weights released for a network and a data set.

    Raises:
        ValueError: If there are none, or no such network.
        DamagedFileError: If the file's SHA-256 is not the manifest's.
    """
    registry.family(architecture)
    entries = manifest()
    for entry in entries:
        if (entry["architecture"], entry["dataset"]) == (architecture, dataset):
            return file_of(entry)
    if not (RELEASED / MANIFEST).is_file():
        raise ValueError(
            f"No weights of {architecture} for {dataset}: this copy of allconv came "
            f"without {RELEASED / MANIFEST}. Install its wheel, or work in a checkout."
        )
    raise ValueError(
        f"No weights of {architecture} for {dataset} are released"
        f"{'' if entries else f' in {RELEASED}'}. Train them, or use weights=None or a "
        "file."
    )


@checked
def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    return hashlib.sha256(files.read_bytes(path)).hexdigest()


def _on_record(path: Path) -> str | None:
    """The SHA-256 that the manifest has of a file; None of one that it does not list.

    What is loaded is compared, since a file may change after its path was verified.
    """
    path = Path(path).absolute()
    if path.parent != RELEASED.absolute():
        return None
    listed = {entry["file"]: entry["sha256"] for entry in manifest()}
    return listed.get(path.name)


def _weights(model: keras.Model) -> dict[str, np.ndarray]:
    return {
        f"{layer.name}/{variable.name}": np.asarray(variable.value)
        for layer in model.layers
        for variable in layer.weights
    }
