"""What the experiments on ZFNet look at, and where their results go."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure

from allconv.data import datasets
from allconv.networks import weights, zfnet_rows
from allconv.networks.classifier import Classifier
from allconv.results import tables
from allconv.training import run
from experiments.written import write_figure, write_text

NETWORK = "zfnet_32_long"  # the preset of the network that is looked into


class NotRunError(RuntimeError):
    """A run, weight or file that an experiment needs and that is not there."""


class Looked:
    """What the figures and tables of one network ask for, at any size of images.

    Attributes:
        parts: JSON file of boxes of parts.
        out: Folder that holds `figures` and `tables`.
        strict: Whether the deconvnet is refused where it has no rule; see `Explainer`.
    """

    parts: Path
    out: Path
    strict: bool = True

    @property
    def model(self) -> keras.Model:
        raise NotImplementedError

    @property
    def images(self) -> Any:
        """uint8 `(n, height, width, 3)`: an array, or read when asked for."""
        raise NotImplementedError

    @property
    def labels(self) -> np.ndarray:
        raise NotImplementedError

    @property
    def right(self) -> np.ndarray:
        """Numbers of images that are classified right."""
        raise NotImplementedError

    @property
    def names(self) -> Sequence[str]:
        """Of the classes."""
        raise NotImplementedError

    @property
    def layers(self) -> Sequence[str]:
        """Addresses of convolutions that are looked into, upwards."""
        raise NotImplementedError

    @property
    def ends(self) -> Sequence[str]:
        """Addresses of a low and a high layer, followed as the image moves."""
        raise NotImplementedError

    @property
    def compared(self) -> Mapping[str, int | None]:
        """Addresses of layers whose features are compared; the paper's layer."""
        raise NotImplementedError

    @property
    def square(self) -> tuple[int, int]:
        """Side of the square that covers a part of the image, and its stride."""
        raise NotImplementedError

    @property
    def shift(self) -> int:
        """Pixels that an image is moved up and down."""
        raise NotImplementedError

    @property
    def few(self) -> int:
        """How many images are moved, grown and turned."""
        raise NotImplementedError

    @property
    def grey(self) -> Sequence[float]:
        """Colour of masks, at the inputs."""
        raise NotImplementedError

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """The network's inputs of images."""
        raise NotImplementedError

    def pixels(self, images: np.ndarray, maps: np.ndarray) -> np.ndarray:
        """Projections at the inputs as pixels; leading axes may be many."""
        raise NotImplementedError

    def numbers(self, names: Sequence[str], of: str | None) -> list[int]:
        """Numbers of the images that boxes are of.

        Raises:
            NotRunError: If they are of another data set.
        """
        raise NotImplementedError

    def every_input(self) -> Iterator[np.ndarray]:
        """The inputs of all images, one after the other."""
        for first in range(0, len(self.images), 100):
            yield from self.inputs(np.asarray(self.images[first : first + 100]))

    def draw(self, name: str, figure: Figure) -> Path:
        """Save a figure."""
        path = self.out / "figures" / f"zfnet_{name}.png"
        write_figure(path, figure, dpi=100, pil_kwargs={"optimize": True})
        return path

    def write(self, name: str, title: str, head: list[str], rows: list[list]) -> Path:
        """Save a table as Markdown."""
        path = self.out / "tables" / f"zfnet_{name}.md"
        table = tables.markdown([head, *rows], left=1)
        write_text(path, f"{title}\n\n{table}\n")
        return path


@dataclass(frozen=True)
class Subject(Looked):
    """A network to look into, with images that it was not trained on.

    Attributes:
        runs: Folder of training runs.
        records: Folder of run records.
        snapshots: Folder of one training run's snapshots.
        parts: JSON file of boxes of parts.
        out: Folder that holds `figures` and `tables`.
        data_dir: As in `data.load`.
        file: Weights of another network than `NETWORK`.
    """

    runs: Path
    records: Path
    snapshots: Path
    parts: Path
    out: Path
    data_dir: str | Path | None = None
    file: Path | None = None

    layers = ("conv1", "conv2", "conv3", "conv4", "conv5")
    ends = ("conv1", "fc7")
    compared = MappingProxyType({"conv5": 5, "fc7": 7})
    square = (8, 1)
    shift = 12
    few = 50
    grey = (0.0, 0.0, 0.0)

    @cached_property
    def classifier(self) -> Classifier:
        """The network and its preprocessing."""
        found = Classifier.load(self.file) if self.file else self.load(NETWORK)
        if found.meta["architecture"] not in zfnet_rows.NAMES:
            raise NotRunError(
                f"{self.file} holds {found.meta['architecture']}, which is no ZFNet"
            )
        return found

    @property
    def model(self) -> keras.Model:
        return self.classifier.model

    @property
    def dataset(self) -> str:
        return self.classifier.meta["dataset"]

    @property
    def names(self) -> list[str]:
        return datasets.CLASS_NAMES[self.dataset]

    @cached_property
    def test(self) -> tuple[np.ndarray, np.ndarray]:
        return datasets.load(self.dataset, self.data_dir)[1]

    @property
    def images(self) -> np.ndarray:
        """uint8 test images."""
        return self.test[0]

    @property
    def labels(self) -> np.ndarray:
        return self.test[1]

    @cached_property
    def right(self) -> np.ndarray:
        """Numbers of those of the first thousand images that are classified right."""
        probabilities = self.classifier.predict(self.images[:1000])
        return np.flatnonzero(probabilities.argmax(axis=1) == self.labels[:1000])

    def inputs(self, images: np.ndarray) -> np.ndarray:
        return self.classifier.preprocessor(images)

    def pixels(self, images: np.ndarray, maps: np.ndarray) -> np.ndarray:
        """Projections at the inputs as pixels; leading axes may be many."""
        shape = (-1, *images.shape[-3:])
        back = self.classifier.preprocessor.invert(
            images.reshape(shape), maps.reshape(shape)
        )
        return back.reshape(maps.shape)

    def numbers(self, names: Sequence[str], of: str | None) -> list[int]:
        """Numbers of the images that boxes are of.

        Raises:
            NotRunError: If they are of another data set.
        """
        if of != self.dataset:
            raise NotRunError(f"{self.parts} has boxes of {of}, not of {self.dataset}")
        return [int(name) for name in names]

    def load(self, preset: str) -> Classifier:
        """The network of a preset: of its finished run, or as released.

        Raises:
            NotRunError: If there is neither.
        """
        path = self.runs / f"{preset}-seed0" / run.WEIGHTS
        if path.exists():
            return Classifier.load(path)
        for entry in weights.manifest():
            if entry["preset"] == preset:
                return Classifier.load(weights.file_of(entry))
        raise NotRunError(
            f"there are no weights of {preset}: `python -m allconv train {preset}`"
        )
