"""Images with a class for each pixel: drawn by code, or a folder of image/mask pairs.

`load("textures")` is a synthetic set: shapes on textures, which only their outline
tells apart. A folder may be in the layout of Cityscapes or of VOC, or
hold `images` and `masks` of the same names. A pixel of mask 255 has no class: it is
neither learned nor measured.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image

from allconv.core.annotations import Span
from allconv.core.arguments import Seed, checked
from allconv.data import shapes
from allconv.data.cifar import DataError
from allconv.data.folders import KINDS, ONE_IN

IGNORED = 255  # of a mask: no class
SHAPES = ("disc", "square", "triangle", "plus", "ring")
FIGURES = 3  # at most, in one drawn image
SIZE = 64  # height and width of drawn images in pixels

# As their authors have it: of 34 numbers on the disk 19 are classes.
CITYSCAPES = {
    7: "road",
    8: "sidewalk",
    11: "building",
    12: "wall",
    13: "fence",
    17: "pole",
    19: "traffic_light",
    20: "traffic_sign",
    21: "vegetation",
    22: "terrain",
    23: "sky",
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
VOC = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable "
    "dog horse motorbike person pottedplant sheep sofa train tvmonitor"
).split()

Pair = tuple[Path, Path]
Split = tuple[np.ndarray, np.ndarray]
# Pairs to train on and to test on, and names of classes; None: as the masks have them.
Found = tuple[list[Pair], list[Pair], tuple[str, ...] | None]


@dataclass(frozen=True)
class Segments:
    """Images with their masks, and the names of the classes.

    Attributes:
        train, test: uint8 images `(n, size, size, 3)` and uint8 masks `(n, size,
            size)`, of numbers of classes and 255.
        class_names: One a class, by its number.
    """

    train: Split
    test: Split
    class_names: tuple[str, ...]


@checked
def load(name: str, size: Annotated[int, Span(8, 4096)] = SIZE) -> Segments:
    """Load a segmentation set, by its name or its path.

    Args:
        name: `"textures"`, which is drawn: 1,300 images to train on and 500 to test on.
            Or a folder that holds `leftImg8bit` and `gtFine` (Cityscapes: its parts
            train and val, 19 classes); `JPEGImages` and `SegmentationClass` (VOC: the
            lists train and val of `ImageSets/Segmentation`, 21 classes); or `images`
            and `masks`, of which every fifth pair, by a fixed draw, is a test image.
        size: Height and width in pixels. Images of a folder are cut to their middle
            square and scaled; their masks are not mixed: each pixel keeps one class.

    Raises:
        ValueError: If it is neither, or `size` is not that of what is drawn.
        DataError: If an image lacks its mask, or a file is not what it should be.
    """
    if name == "textures":
        if size != SIZE:
            raise ValueError(f"`size` should be {SIZE} of textures. Received: {size}")
        return Segments(draw(1300, seed=0), draw(500, seed=1), ("ground", *SHAPES))
    folder = Path(name).expanduser()
    known: dict[str, Callable[[Path], Found]] = {
        "leftImg8bit": _cityscapes,
        "JPEGImages": _voc,
        "images": _plain,
    }
    for inside, find in known.items():
        if (folder / inside).is_dir():
            train, test, names = find(folder)
            lookup = _lookup(names, "_labelIds" in str(train[0][1]) if train else False)
            splits = [_read(pairs, size, lookup) for pairs in (train, test)]
            return Segments(splits[0], splits[1], _named(names, splits))
    raise ValueError(
        '`name` should be "textures", or a folder that holds leftImg8bit and gtFine, '
        f"JPEGImages and SegmentationClass, or images and masks. Received: {name!r}"
    )


@checked
def draw(n: Annotated[int, Span(1, 10**6)], seed: Seed = 0) -> Split:
    """Draw images of textured shapes on textures, the same for the same seed.

    The ground is a grating, in a random direction, of two colours that differ by 60
    grey levels at least; a shape has one colour, at random; all is under noise. So the
    texture tells a shape from the ground, and its outline alone which shape it is. Each
    image has one to three, the later ones over the earlier.

    Args:
        n: Number of images.
        seed: An integer.

    Returns:
        uint8 images `(n, 64, 64, 3)` and uint8 masks `(n, 64, 64)`: 0 is the ground,
        then `SHAPES`.
    """
    rng = np.random.default_rng(seed)
    images, masks = _texture(rng, n), np.zeros((n, SIZE, SIZE), np.uint8)
    count = rng.integers(1, FIGURES + 1, n)
    row, column = np.indices((SIZE, SIZE))
    for i in range(FIGURES):
        radius = rng.uniform(7, 13, (n, 1, 1))
        y, x = rng.uniform(radius, SIZE - 1 - radius, (2, n, 1, 1))
        angle = rng.uniform(-0.3, 0.3, (n, 1, 1))  # radians
        v, u = (row - y) / radius, (column - x) / radius
        u, v = (
            u * np.cos(angle) + v * np.sin(angle),
            v * np.cos(angle) - u * np.sin(angle),
        )
        label = rng.integers(0, len(SHAPES), n)
        inside = np.zeros(masks.shape, bool)
        for k, shape in enumerate(SHAPES):
            mine = (label == k) & (i < count)
            inside[mine] = shapes.SHAPES[shape](u[mine], v[mine])
        images = np.where(inside[..., None], rng.uniform(0, 255, (n, 1, 1, 3)), images)
        masks[inside] = np.broadcast_to(label[:, None, None] + 1, masks.shape)[inside]
    images += rng.normal(0, 8, images.shape)
    return np.clip(images, 0, 255).astype(np.uint8), masks


def _texture(rng: np.random.Generator, n: int) -> np.ndarray:
    """Gratings `(n, 64, 64, 3)`: a wave of 4 to 16 pixels between two colours."""
    row, column = np.indices((SIZE, SIZE))
    angle, phase = rng.uniform(0, 2 * np.pi, (2, n, 1, 1))
    along = row * np.cos(angle) + column * np.sin(angle)
    period = rng.uniform(4, 16, (n, 1, 1))
    share = (1 + np.sin(2 * np.pi * along / period + phase))[..., None] / 2
    colour = rng.uniform(0, 195, (n, 1, 1, 3))
    return colour + share * rng.uniform(60, 255 - colour)


def _cityscapes(folder: Path) -> Found:
    splits = []
    for split in ("train", "val"):
        pairs = []
        for image in sorted((folder / "leftImg8bit" / split).glob("*/*.png")):
            stem = image.stem.removesuffix("_leftImg8bit")
            place = folder / "gtFine" / split / image.parent.name
            pairs.append((image, place / f"{stem}_gtFine_labelIds.png"))
        splits.append(pairs)
    return splits[0], splits[1], tuple(CITYSCAPES.values())


def _voc(folder: Path) -> Found:
    splits = []
    for split in ("train", "val"):
        listed = folder / "ImageSets" / "Segmentation" / f"{split}.txt"
        if not listed.is_file():
            raise DataError(f"{folder} lacks {listed.relative_to(folder)}.")
        splits.append(
            [
                (
                    folder / "JPEGImages" / f"{stem}.jpg",
                    folder / "SegmentationClass" / f"{stem}.png",
                )
                for stem in listed.read_text(encoding="utf-8").split()
            ]
        )
    return splits[0], splits[1], tuple(VOC)


def _plain(folder: Path) -> Found:
    images = sorted(
        p for p in (folder / "images").iterdir() if p.suffix.lower() in KINDS
    )
    pairs = [(image, folder / "masks" / f"{image.stem}.png") for image in images]
    order = np.random.default_rng(0).permutation(len(pairs))
    test = {int(i) for i in order[: len(pairs) // ONE_IN]}
    train = [pair for i, pair in enumerate(pairs) if i not in test]
    return train, [pairs[i] for i in sorted(test)], None


def _lookup(names: tuple[str, ...] | None, by_ids: bool) -> np.ndarray:
    """The class of each number on the disk, 255 of what is none."""
    if by_ids:
        lookup = np.full(256, IGNORED, np.uint8)
        lookup[list(CITYSCAPES)] = np.arange(len(CITYSCAPES))
        return lookup
    return np.arange(256, dtype=np.uint8)


def _read(pairs: list[Pair], size: int, lookup: np.ndarray) -> Split:
    """Pairs as arrays, each its middle square scaled to `size`."""
    images = np.zeros((len(pairs), size, size, 3), np.uint8)
    masks = np.zeros((len(pairs), size, size), np.uint8)
    for i, (image, mask) in enumerate(pairs):
        colours, numbers = _open(image), _open(mask)
        if colours.size != numbers.size:
            raise DataError(
                f"{mask} should have the size of its image. Received: {numbers.size}, "
                f"{colours.size}"
            )
        if numbers.mode not in ("L", "P"):
            raise DataError(
                f"{mask} should have one channel, of numbers of classes. "
                f"Received: mode {numbers.mode}"
            )
        box = _middle(*colours.size)
        fit = (size, size)
        smooth = Image.Resampling.BILINEAR
        images[i] = np.asarray(colours.convert("RGB").resize(fit, smooth, box))
        sharp = Image.Resampling.NEAREST
        masks[i] = lookup[np.asarray(numbers.resize(fit, sharp, box))]
    return images, masks


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as opened:
            opened.load()
            return opened
    except FileNotFoundError:
        raise DataError(f"There is no {path}, which its pair needs.") from None
    except Exception as error:  # Pillow raises many kinds on mangled files
        raise DataError(f"{path} is no image that can be read.") from error


def _middle(width: int, height: int) -> tuple[float, float, float, float]:
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def _named(names: tuple[str, ...] | None, splits: list[Split]) -> tuple[str, ...]:
    """Names of the classes; of a plain folder their numbers. Checks the masks."""
    if not all(len(images) for images, _ in splits):
        raise DataError("There should be pairs to train on and to test on, 5 or more.")
    classes = [mask[mask != IGNORED] for _, mask in splits]
    count = 1 + max((int(found.max()) for found in classes if found.size), default=-1)
    if count < 1 or (names is not None and count > len(names)):
        raise DataError(
            f"Masks should hold numbers of classes below {len(names or ()) or 255}, "
            f"and 255 for none. Received: up to {count - 1}"
        )
    return names or tuple(str(i) for i in range(count))
