"""Photographs in a folder, at a network's size, read when they are asked for."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from allconv.core.arguments import Whole, checked
from allconv.data import photo

SYNSET = re.compile(r"n\d{8}")  # WordNet's name of a class of ImageNet


class Photos:
    """The middle squares of a folder's photographs, as an array that is not in memory.

    The short side is scaled to 8/7 of `size` (256 for 224, and for 227 as Caffe has
    it) and the middle cut out, with antialiasing.

    Args:
        folder: As `photo.in_folder` takes it.
        size: Height and width, in pixels.
        classes: Of the network, each line of the file of classes; see `read_classes`.

    Attributes:
        files: Their paths.
        labels: int64 `(n,)`: the number of the class that is the name of the folder a
            photograph lies in, or the beginning of its own; -1: of none.
        shape: `(n, size, size, 3)`.

    Raises:
        ValueError: If it is no such folder.
    """

    dtype = np.dtype(np.uint8)

    @checked
    def __init__(self, folder: str | Path, size: Whole, classes: Sequence[str] = ()):
        found = photo.in_folder(folder)
        numbers: dict[str, int] = {}
        for number, line in enumerate(classes):
            numbers |= {line: number, line.partition(" ")[0]: number}
        self.files = [file for file, _ in found]
        self.labels = np.array(
            [_label(file, of, numbers) for file, of in found], np.int64
        )
        self.shape = (len(found), size, size, 3)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, some) -> np.ndarray:
        """uint8 photographs: of a slice or an array of numbers."""
        chosen = np.arange(len(self))[some]
        flat = [_middle(self.files[i], self.shape[1]) for i in chosen.ravel()]
        return np.reshape(flat, (*chosen.shape, *self.shape[1:])).astype(np.uint8)


@checked
def read_classes(path: str | Path) -> list[str]:
    """The lines of a text file: names of classes, in order, perhaps behind synsets."""
    return Path(path).read_text(encoding="utf-8").splitlines()


def _label(file: Path, of: str | None, numbers: dict[str, int]) -> int:
    synset = SYNSET.match(file.stem)
    return numbers.get(of or (synset[0] if synset else ""), -1)


def _middle(file: Path, size: int) -> np.ndarray:
    image = Image.fromarray(photo.read(file))
    short = 256 if 224 <= size < 256 else round(size * 8 / 7)
    side = min(image.size) * size / short
    left, top = ((length - side) / 2 for length in image.size)
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box))
