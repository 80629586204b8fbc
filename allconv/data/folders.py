"""Where the images of a data set lie: class folders as people have them.

Understood are a folder for each class; folders `train` and `test` (or `val`) of such;
and ILSVRC2012, whose `val` may be flat, with the list that says which class each is of.
"""

import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from allconv.core.disk import read_bytes
from allconv.data.cifar import DataError

KINDS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".ppm", ".tif", ".tiff"}
TRAINING, TEST = ("train", "training"), ("test", "val", "valid", "validation")
LISTS = ("val.txt", "LOC_val_solution.csv")  # Caffe's and Kaggle's: image, class, ...
TRUTH, SYNSETS = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"  # the devkit's
ONE_IN = 5  # images of a class that become test images, where nobody has split them

Listed = tuple[list[Path], list[int]]  # files and their labels


@dataclass(frozen=True)
class Found:
    """The image files of a data set.

    Attributes:
        names: Of the classes, by label.
        train, test: Files with their labels, class by class, each sorted.
    """

    names: tuple[str, ...]
    train: Listed
    test: Listed


def find(path: Path) -> Found:
    """List the images of class folders; none is opened.

    Raises:
        DataError: If there are no two classes, or a class has no image; says where.
    """
    inside = {p.name.lower(): p for p in path.iterdir() if p.is_dir()}
    train = next((inside[name] for name in TRAINING if name in inside), None)
    tests = [inside[name] for name in TEST if name in inside]
    if (train is None) != (not tests):
        raise DataError(
            f"{path} should have both a folder train and a folder test (or val), or "
            "neither."
        )
    names = tuple(p.name for p in _folders(train or path))
    if len(names) < 2:
        raise DataError(
            f"{path} should hold a folder of images for each class, 2 at least. "
            f"Received: {', '.join(names) or 'none'}"
        )
    test = train
    if train is not None:
        # ILSVRC's own `test` has no classes; its `val` is what can be measured on.
        test = next((p for p in tests if _folders(p)), tests[-1])
        there = {p.name for p in _folders(test)}
        if unknown := sorted(there - set(names)):
            raise DataError(f"{test} has classes that {train} has not: {unknown}")
        measured = _files(test, names) if there else _flat(test, names)
        parts = [_files(train, names), measured]
    else:
        parts = _split(*_files(path, names))
    for (files, labels), folder in zip(
        parts, (train or path, test or path), strict=True
    ):
        if not files:
            raise DataError(f"{folder} holds no images ({', '.join(sorted(KINDS))}).")
        if missing := set(range(len(names))) - set(labels):
            raise DataError(f"{folder}: {names[min(missing)]} holds too few images.")
    return Found(names, parts[0], parts[1])


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and p.name[0] != ".")


def _files(folder: Path, names: tuple[str, ...]) -> Listed:
    """The image files of each class, by name, with their labels."""
    files, labels = [], []
    for label, name in enumerate(names):
        found = sorted(
            p for p in (folder / name).rglob("*") if p.suffix.lower() in KINDS
        )
        files += found
        labels += [label] * len(found)
    return files, labels


def _split(files: list[Path], labels: list[int]) -> list[Listed]:
    """Set the same images of each class aside, always."""
    draw, test, of = np.random.default_rng(0), set(), np.array(labels)
    for label in sorted(set(labels)):
        mine = np.flatnonzero(of == label)
        test |= set(draw.permutation(mine)[: len(mine) // ONE_IN].tolist())
    return [
        (
            [f for i, f in enumerate(files) if (i in test) == wanted],
            [n for i, n in enumerate(labels) if (i in test) == wanted],
        )
        for wanted in (False, True)
    ]


def _flat(folder: Path, names: tuple[str, ...]) -> Listed:
    """The images of a flat folder, with the labels that a list beside it has."""
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in KINDS)
    if not files:
        return [], []
    places = [folder, *folder.parents[:4]]
    places += [p / inner for p in places for inner in ("devkit", "devkit/data")]
    places += [p / "data" for q in places[:5] for p in q.glob("ILSVRC2012_devkit*")]
    for place in places:
        if (place / TRUTH).is_file() and (place / SYNSETS).is_file():
            of = _devkit(place, files)
            source = place / TRUTH
            break
        source = next((place / n for n in LISTS if (place / n).is_file()), folder)
        if source != folder:
            rows = (re.split(r"[\s,]+", row) for row in _text(source).splitlines())
            of = {Path(row[0]).stem: row[1] for row in rows if len(row) > 1}
            break
    else:
        raise DataError(
            f"{folder} should have a folder for each class, or one of "
            f"{', '.join(LISTS)} or the devkit ({TRUTH} and {SYNSETS}) beside it."
        )
    by_name = {name: label for label, name in enumerate(names)}
    numbers = {str(label): label for label in range(len(names))}
    known = numbers | by_name
    for file in files:
        if of.get(file.stem) not in known:
            raise DataError(
                f"{source} should name one of the {len(names)} classes for "
                f"{file.name}. Received: {of.get(file.stem)}"
            )
    return files, [known[of[file.stem]] for file in files]


def _devkit(place: Path, files: list[Path]) -> dict[str, str]:
    """The class of each validation image, by the ILSVRC2012 development kit.

    Its numbers are not those of the sorted names: `meta.mat` says which is which. Of
    that MATLAB file only the names are read, which stand in the order of their numbers.
    """
    content, text, at = read_bytes(place / SYNSETS, 2**26), b"", 128
    while at + 8 <= len(content):
        kind, size = struct.unpack("<II", content[at : at + 8])
        body = content[at + 8 : at + 8 + size]
        text += zlib.decompressobj().decompress(body, 2**28) if kind == 15 else body
        at += 8 + size
    synsets = re.findall(rb"n\d{8}", text.replace(b"\0", b""))
    numbers = _text(place / TRUTH).split()
    if len(numbers) != len(files):
        raise DataError(
            f"{place / TRUTH} should have a number for each of {len(files)} images. "
            f"Received: {len(numbers)}"
        )
    of = {}
    for file, number in zip(files, numbers, strict=True):
        known = number.isdecimal() and 1 <= int(number) <= len(synsets)
        of[file.stem] = synsets[int(number) - 1].decode() if known else f"no. {number}"
    return of


def _text(path: Path) -> str:
    return read_bytes(path, 2**28).decode("utf-8", "replace")
