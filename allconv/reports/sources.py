"""The images that a page of units is made from: a test set, or a folder of photographs.

Photographs are read one by one into a file of raw pixels, which is then read where it
is needed: memory does not grow with their number.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from allconv.data import datasets, photo
from allconv.data.preprocessing import MeanStd
from allconv.networks.classifier import Classifier
from allconv.reports import inputs


class Source(NamedTuple):
    """Images with what is known of them.

    Attributes:
        images: uint8 `(n, height, width, 3)`, or a memory map of such.
        labels: int64 `(n,)`; None where nobody has said what is in an image.
        classes: Names of the classes, by label.
        names: What to call each image; None: its number.
        title: What to call all of them.
        stand_in: Whether the network was trained on something else.
    """

    images: np.ndarray
    labels: np.ndarray | None
    classes: Sequence[str]
    names: Sequence[str] | None
    title: str
    stand_in: bool = False


def check_in_memory(meta: Mapping) -> None:
    """Refuse a network of a data set that stays on the disk; with the way out.

    Raises:
        ValueError: If it was trained on images that are read as they are needed.
    """
    if "image_size" in meta:
        raise ValueError(
            f"The images of {meta['dataset']} are too large to be kept: write the "
            "network by `python -m allconv export --weights FILE --format keras -o "
            "X.keras`, and look at your own by `python -m allconv gallery --model "
            "X.keras --images FOLDER`."
        )


def of_network(classifier: Classifier, data_dir: str | Path | None) -> Source:
    """The test set that a network was trained for or, where it is not here, shapes.

    Raises:
        ValueError: If shapes, which have 32 x 32 pixels, do not fit the network, or
            its images stay on the disk.
    """
    check_in_memory(classifier.meta)
    dataset = classifier.meta["dataset"]
    shown = dataset if datasets.is_cached(dataset, data_dir) else "shapes"
    sides = classifier.model.input_shape[1:3]
    if shown != dataset and sides not in ((datasets.SIZE,) * 2, (None, None)):
        raise ValueError(
            f"There is no data set {dataset}, and no other has images of {sides[0]} x "
            f"{sides[1]}: name its place as it was when the network was trained."
        )
    _, (images, labels) = datasets.load(shown, data_dir)
    title = f"test images of {datasets.title(shown)}"
    classes = datasets.class_names(shown)
    return Source(images, labels, classes, None, title, shown != dataset)


def folder(
    path: str | Path, size: tuple[int, int], scratch: str | Path, *, progress: bool
) -> Source:
    """Photographs of a folder, or of one folder for each class.

    Args:
        path: The folder; see `photo.in_folder`.
        size: Height and width of the network's input, in pixels. What has another
            shape is cut to it at the sides.
        scratch: A folder for the raw pixels, which must stay while they are used.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: If it is no such folder, or an image cannot be read.
    """
    files = photo.in_folder(path)
    classes = sorted({name for _, name in files if name is not None})
    images = np.lib.format.open_memmap(
        Path(scratch) / "images.npy", "w+", np.uint8, (len(files), *size, 3)
    )
    bar = tqdm(files, unit="photo", disable=not progress)
    for i, (file, _) in enumerate(bar):
        images[i] = photo.read(file, size)
    labels = None
    if classes:
        labels = np.array([classes.index(str(name)) for _, name in files], np.int64)
    names = [file.name for file, _ in files]
    title = f"{len(files):,} images of {Path(path).name or path}"
    return Source(images, labels, classes, names, title)


@dataclass(frozen=True)
class FromPixels:
    """A preprocessing that no mean and deviation of each channel is."""

    inputs: Callable
    pullback: Callable
    name = "own"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self.inputs(images)


def preprocessor(way: str) -> MeanStd | FromPixels:
    """A way of `inputs.parse` as a network has it; as mean and deviation if it is one.

    Raises:
        ValueError: As `inputs.parse`.
    """
    taken, pullback = inputs.parse(way)
    if way == "caffe":  # turns the colours round
        return FromPixels(taken, pullback)
    black, white = taken(np.array([[[[0] * 3]], [[[255] * 3]]], np.uint8))[:, 0, 0]
    std = 255 / (white - black)
    return MeanStd((-black * std).astype(np.float32), std.astype(np.float32))
