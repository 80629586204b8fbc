"""What the experiments look at where a person's own network and photographs are."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import keras
import numpy as np

from allconv.data.photos import Photos, read_classes
from allconv.probes.transfer import carry
from allconv.reports import inputs, units
from allconv.results import paper
from experiments.zfnet.subject import Looked, NotRunError
from experiments.zfnet.tables import published, spread

MEAN = (123, 117, 104)  # of ImageNet's pixels: the paper's grey
FIRST = 1000  # photographs, among which those are looked for that are known


@dataclass(frozen=True)
class OnPhotos(Looked):
    """Any network of images, and a folder of photographs.

    Attributes:
        file: `.keras` or `.h5`.
        folder: Of photographs; in folders of classes, or called as their synset.
        parts: JSON file of boxes, in pixels of the photograph as the network sees it;
            of `"size"` pixels, where it says so.
        out: Folder of figures and tables.
        way: What the network takes; see `inputs.parse`. None: as it says.
        classes: Text file of its classes; None: numbers.
        other: Folder of class folders, of another data set (Tables 4 and 7).
        asked: Addresses of layers; none: five convolutions, from the first to the last.
        strict: See `Looked`.
    """

    file: str
    folder: Path
    parts: Path
    out: Path
    way: str | None = None
    classes: Path | None = None
    other: Path | None = None
    asked: Sequence[str] = field(default=())
    strict: bool = True
    few = 20

    @cached_property
    def model(self) -> keras.Model:
        return inputs.load(self.file)

    @cached_property
    def _ways(self):
        return inputs.parse(self.way or inputs.found(self.model)[0])

    @cached_property
    def images(self) -> Photos:
        lines = read_classes(self.classes) if self.classes else ()
        return Photos(self.folder, self.side, lines)

    @property
    def side(self) -> int:
        side = self.model.input_shape[1]
        if side is None:
            raise NotRunError(f"{self.file} takes images of any size: fix one")
        return side

    @cached_property
    def labels(self) -> np.ndarray:
        """Those of the photographs; of one whose class is not known, the prediction."""
        known = self.images.labels
        return np.where(known >= 0, known, self._predicted)

    @cached_property
    def _predicted(self) -> np.ndarray:
        """The predictions for the first photographs; -1 for the others."""
        found = np.full(len(self.images), -1)
        for start in range(0, min(FIRST, len(self.images)), 50):
            some = slice(start, min(start + 50, FIRST))
            scores = self.model.predict(self.inputs(self.images[some]), verbose=0)
            found[some] = scores.argmax(axis=1)
        return found

    @cached_property
    def right(self) -> np.ndarray:
        found = np.flatnonzero(self._predicted[:FIRST] == self.labels[:FIRST])
        if not len(found):
            raise NotRunError(f"no photograph in {self.folder} is classified right")
        return found

    @cached_property
    def names(self) -> list[str]:
        if self.classes is None:
            return [f"class {i}" for i in range(self.model.output_shape[-1])]
        lines = read_classes(self.classes)
        return [line.partition(" ")[2].partition(",")[0] or line for line in lines]

    @cached_property
    def layers(self) -> list[str]:
        if self.asked:
            return list(self.asked)
        wide = [
            address
            for address, layer in units.convolutions(self.model).items()
            if max(layer.kernel_size) > 1
        ]
        return [wide[i] for i in units.sampled(len(wide), 5)]

    @property
    def ends(self) -> tuple[str, str]:
        return self.layers[0], self.layers[-1]

    @property
    def compared(self) -> dict[str, int | None]:
        return dict.fromkeys(self.layers[len(self.layers) // 2 :])

    @property
    def square(self) -> tuple[int, int]:
        return max(1, self.side // 5), max(1, self.side // 20)

    @property
    def shift(self) -> int:
        return self.side * 60 // 224  # the paper's

    @property
    def grey(self) -> tuple[float, ...]:
        colour = self.inputs(np.array(MEAN, np.uint8)[None, None, None])
        return tuple(map(float, colour[0, 0, 0]))

    def inputs(self, images: np.ndarray) -> np.ndarray:
        return self._ways[0](np.asarray(images))

    def pixels(self, images: np.ndarray, maps: np.ndarray) -> np.ndarray:
        return self._ways[1](images, maps)

    def numbers(self, names: Sequence[str], of: str | None) -> list[int]:
        here = {file.name: i for i, file in enumerate(self.images.files)}
        missing = [name for name in names if name not in here]
        if missing:
            raise NotRunError(f"{self.folder} has no {', '.join(missing[:3])}")
        return [here[name] for name in names]


def transfer(subject: OnPhotos, per_class: int = 15, tested: int = 20) -> list[Path]:
    """Tables 4 and 7: a linear classifier on each layer, on another data set.

    Of each class of `other` the last `tested` photographs are tested on, and the others
    dealt to up to five folds.
    """
    if subject.other is None:
        raise NotRunError("name a folder of class folders: --transfer FOLDER")
    folders = sorted(p.name for p in subject.other.iterdir() if p.is_dir())
    photos = Photos(subject.other, subject.side, folders)
    of = [np.flatnonzero(photos.labels == c) for c in range(len(folders))]
    least = min(map(len, of)) - tested
    folds = min(5, least // per_class)
    if folds < 1:
        raise NotRunError(
            f"{subject.other} should have {per_class + tested} photographs of each "
            f"class; of one there are {least + tested}"
        )
    train = np.concatenate([c[: folds * per_class] for c in of])
    test = np.concatenate([c[-tested:] for c in of])
    found = carry(
        subject.model,
        (photos[train], photos.labels[train]),
        (photos[test], photos.labels[test]),
        subject.layers,
        per_class,
        folds=folds,
        preprocess=subject.inputs,
    )
    rows = [
        [layer, spread(result.accuracy, 1), result.length]
        for layer, result in found.items()
    ]
    theirs = ", ".join(
        f"layer {layer} {published(paper.TRANSFER[f'SVM {layer}']['caltech101'])}"
        for layer in (1, 5, 7)
    )
    title = (
        f"Accuracy in % of a linear classifier on each layer of {subject.model.name}, "
        f"{len(folders)} classes of {subject.other.name}, {per_class} photographs per "
        f"class, {folds} folds, {len(test)} tested (Tables 4 and 7). The paper's, on "
        f"Caltech-101 with 30 per class: {theirs}."
    )
    head = ["layer", "accuracy", "features"]
    return [subject.write("transfer", title, head, rows)]
