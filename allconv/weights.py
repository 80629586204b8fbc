"""Weight files that stand alone: kernels, preprocessing and where they come from.

A file can classify a raw uint8 image by itself: it carries the architecture's name and
the constants of its preprocessing. Released files are listed in
`weights/manifest.json`.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from allconv import checkpoint, data, networks, pipeline
from allconv.preprocessing import KINDS

RELEASED = Path(__file__).resolve().parent.parent / "weights"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Classifier:
    """A network with its preprocessing, as loaded from a file.

    Attributes:
        model: Takes preprocessed images, gives probabilities.
        preprocessor: uint8 images to the model's inputs.
        meta: Architecture, data set, classes, preset, seed, error.
    """

    model: keras.Model
    preprocessor: object
    meta: dict

    def predict(
        self, images: np.ndarray, batch_size: int = 250, mirrored: bool = False
    ) -> np.ndarray:
        """Class probabilities `(n, classes)` of raw uint8 images.

        Args:
            images: `(n, height, width, 3)`.
            batch_size: Images a step; bounds the memory.
            mirrored: Whether each image is seen a second time, left and right swapped,
                and the mean of both looks is taken: twice the work.
        """
        inputs = self.preprocessor(images)
        looks = (inputs, inputs[:, :, ::-1]) if mirrored else (inputs,)
        return np.mean(
            [
                self.model.predict(
                    pipeline.in_order(look, batch_size=batch_size), verbose=0
                )
                for look in looks
            ],
            axis=0,
        )


def save(
    path: Path,
    model: keras.Model,
    architecture: str,
    preprocessor: object,
    dataset: str,
    meta: dict,
    dtype: str = "float32",
    shared: Path | None = None,
) -> None:
    """Write weights and preprocessing to one file.

    Args:
        path: The file.
        model: The network, trained.
        architecture: Its name in `networks.NAMES`.
        preprocessor: The fitted preprocessing it was trained with.
        dataset: One of `data.NAMES`.
        meta: Further facts, as JSON can hold: preset, seed, error.
        dtype: Of the stored weights: `"float32"` or `"float16"`.
        shared: A file of `save_preprocessing` in the same folder, which holds the
            preprocessing in place of this one; its SHA-256 is noted.
    """
    arrays = {f"weights/{k}": v.astype(dtype) for k, v in _weights(model).items()}
    if shared is None:
        arrays |= {f"preprocessing/{k}": v for k, v in preprocessor.arrays().items()}
    else:
        meta = meta | {"shared": {"file": shared.name, "sha256": sha256(shared)}}
    facts = {
        "architecture": architecture,
        "dataset": dataset,
        "classes": len(data.CLASS_NAMES[dataset]),
        "input_shape": list(model.input_shape[1:]),
        "preprocessing": preprocessor.name,
    }
    checkpoint.write(path, arrays, facts | meta)


def save_preprocessing(path: Path, preprocessor: object) -> None:
    """Write a preprocessing that several weight files share, made compact."""
    meta = {"kind": preprocessor.name}
    checkpoint.write(path, preprocessor.compact(), meta, compress=True)


def load(path: str | Path) -> Classifier:
    """Load a file of `save` with the network it was made from.

    Raises:
        FileNotFoundError: If there is no such file, or none of the shared
            preprocessing beside it.
        DamagedFileError: If it is not whole, or not a weight file.
    """
    arrays, meta = _read(Path(path))
    model = networks.build(
        meta["architecture"],
        classes=meta["classes"],
        input_shape=tuple(meta["input_shape"]),
    )
    _assign(model, arrays, Path(path))
    if "shared" in meta:
        beside = Path(path).with_name(Path(meta["shared"]["file"]).name)
        constants, _ = checkpoint.read(_verified(beside, meta["shared"]["sha256"]))
    else:
        constants = {
            k.removeprefix("preprocessing/"): v
            for k, v in arrays.items()
            if k.startswith("preprocessing/")
        }
    return Classifier(model, KINDS[meta["preprocessing"]].from_arrays(constants), meta)


def load_into(model: keras.Model, architecture: str, weights: str | Path) -> None:
    """Set a network's weights from a released set or a file.

    Args:
        model: A network of `networks.build`. One without its top takes what fits.
        architecture: Its name in `networks.NAMES`.
        weights: The name of a data set of `data.NAMES`, a file of `save`, or a Keras
            `.weights.h5` file.

    Raises:
        ValueError: If nothing is released for that data set, or the file does not fit.
        FileNotFoundError: If there is no such file.
    """
    if weights in data.NAMES:
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
        return
    arrays, meta = _read(path)
    if meta["architecture"] != architecture:
        raise ValueError(
            f"{path} holds weights of {meta['architecture']}, not of {architecture}."
        )
    _assign(model, arrays, path)


def manifest() -> list[dict]:
    """The released files, one dict each; empty where nothing is released."""
    path = RELEASED / MANIFEST
    return json.loads(path.read_text()) if path.exists() else []


def released(architecture: str, dataset: str) -> Path:
    """The verified path of the weights released for a network and a data set.

    Raises:
        ValueError: If there are none.
        DamagedFileError: If the file's SHA-256 is not the manifest's.
    """
    for entry in manifest():
        if (entry["architecture"], entry["dataset"]) == (architecture, dataset):
            return _verified(RELEASED / entry["file"], entry["sha256"])
    raise ValueError(
        f"No weights of {architecture} for {dataset} are released. Train them, or use "
        "weights=None or a file."
    )


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _verified(path: Path, expected: str) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}, which is needed here.")
    if sha256(path) != expected:
        raise checkpoint.DamagedFileError(
            f"{path} is damaged: its SHA-256 is not the one on record. Restore it from "
            "the repository."
        )
    return path


def _weights(model: keras.Model) -> dict[str, np.ndarray]:
    return {
        f"{layer.name}/{variable.name}": np.asarray(variable.value)
        for layer in model.layers
        for variable in layer.weights
        if not variable.path.startswith("seed_generator")
    }


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    arrays, meta = checkpoint.read(path)
    if "architecture" not in meta or "preprocessing" not in meta:
        raise checkpoint.DamagedFileError(
            f"{path} is no weight file of this project; perhaps it is a checkpoint."
        )
    return arrays, meta


def _assign(model: keras.Model, arrays: dict[str, np.ndarray], path: Path) -> None:
    for name, old in _weights(model).items():
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
