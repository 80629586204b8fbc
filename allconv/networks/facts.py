"""What weight files and the manifest say of themselves, and what is refused of it."""

import math
from typing import Annotated

import numpy as np
from typing_extensions import NotRequired, TypedDict

from allconv.core.annotations import Span, refuse
from allconv.core.arguments import Count, Percent
from allconv.core.checks import check_choice
from allconv.data import datasets
from allconv.data.preprocessing import KINDS

Side = Annotated[int, Span(1, 4096)]
Seed = Annotated[int, Span(0, 2**31 - 1)]


class Shared(TypedDict):
    """The file of `weights.save_preprocessing` that a weight file needs beside it."""

    file: str
    sha256: str


class Facts(TypedDict):
    """What a weight file says of itself; `weights.save` may be given more."""

    architecture: str
    dataset: str
    classes: Annotated[int, Span(1, 10_000)]
    input_shape: tuple[Side, Side, Side]
    preprocessing: str
    class_names: NotRequired[list[str]]
    image_size: NotRequired[Side]  # of images that are read from the disk
    preset: NotRequired[str]
    seed: NotRequired[Seed]
    error: NotRequired[Percent]
    wrong: NotRequired[Count]
    shared: NotRequired[Shared]


class Constants(TypedDict):
    """Of an entry: which preprocessing, and the file of it."""

    kind: NotRequired[str]
    file: NotRequired[str]
    sha256: NotRequired[str]


class Entry(TypedDict):
    """A released file, as the manifest lists it."""

    architecture: str
    dataset: str
    file: str
    sha256: str
    preset: NotRequired[str]
    seed: NotRequired[Seed]
    error: NotRequired[Percent]
    wrong: NotRequired[Count]
    error_in_float32: NotRequired[Percent]
    error_mirrored: NotRequired[Percent]
    commit: NotRequired[str | None]
    preprocessing: NotRequired[Constants]


def check(meta: dict) -> None:
    """Refuse what are not `Facts`, or do not agree with each other.

    Raises:
        ValueError: Naming the field, what it should be and what it is.
    """
    refuse(meta, Facts)
    names = meta.get("class_names")  # of a data set of one's own
    if names is None:
        check_choice("dataset", meta["dataset"], datasets.NAMES)
        names = datasets.CLASS_NAMES[meta["dataset"]]
    check_choice("preprocessing", meta["preprocessing"], KINDS)
    expected = len(names)
    if meta["classes"] != expected:
        raise ValueError(
            f"`classes` should be {expected}, those of {meta['dataset']}. "
            f"Received: {meta['classes']}"
        )


def check_array(name: str, array: np.ndarray) -> None:
    """Refuse what is complex, NaN or infinite."""
    kinds = "fi" if name == "half" else "f"  # of a compact matrix
    if array.dtype.kind not in kinds or not np.isfinite(array).all():
        raise ValueError(
            f"`{name}` should be finite real numbers. Received: {array.dtype}"
            f"{', some not finite' * (array.dtype.kind in kinds)}"
        )


def check_constants(arrays: dict[str, np.ndarray], meta: dict) -> None:
    """Refuse constants that do not fit the preprocessing and the size of an image."""
    *_, channels = meta["input_shape"]
    n = math.prod(meta["input_shape"])
    wanted: dict[str, tuple[int, ...]] = {"mean": (n,), "matrix": (n, n)}
    if meta["preprocessing"] == "mean_std":
        wanted = {"mean": (channels,), "std": (channels,)}
    elif meta["preprocessing"] == "mean_pixel":
        wanted = {"mean": tuple(meta["input_shape"])}
    elif "half" in arrays:
        wanted = {"mean": (n,), "half": (n * (n + 1) // 2,)}
    for name, shape in wanted.items():
        found = arrays[name].shape if name in arrays else None
        if found != shape:
            raise ValueError(
                f"`preprocessing/{name}` should have shape {shape}. Received: {found}"
            )
        check_array(name, arrays[name])
    if "std" in wanted and not (arrays["std"] > 0).all():
        raise ValueError(
            f"`preprocessing/std` should be above 0. Received: {arrays['std'].tolist()}"
        )
