"""Data sets as arrays: CIFAR and MNIST found, fetched, verified; your own, by a path.

Nothing here unpickles or executes what it reads. `load("shapes")` is a data set drawn
by code, for tests, quick notebooks and machines that reach nothing. How the others are
found and fetched: `allconv.data.cifar_files` and `allconv.data.mnist`; your own sets:
`allconv.data.own`.
"""

from pathlib import Path

import numpy as np

from allconv.core.arguments import Images, Labels, Whole, checked
from allconv.core.checks import nearest
from allconv.data import cifar_files, mnist, own, shapes
from allconv.data.cifar import DataError as DataError, Split
from allconv.data.cifar_files import (
    data_folder as data_folder,
    fingerprint as fingerprint,
)

CLASS_NAMES = {
    "cifar10": "airplane automobile bird cat deer dog frog horse ship truck".split(),
    "cifar100": (
        "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy "
        "bridge bus butterfly camel can castle caterpillar cattle chair chimpanzee "
        "clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant "
        "flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower "
        "leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom "
        "oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain "
        "plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal "
        "shark shrew skunk skyscraper snail snake spider squirrel streetcar "
        "sunflower sweet_pepper table tank telephone television tiger tractor train "
        "trout tulip turtle wardrobe whale willow_tree wolf woman worm"
    ).split(),
    "shapes": list(shapes.SHAPES),
    "fashion_mnist": (
        "t_shirt trouser pullover dress coat sandal shirt sneaker bag ankle_boot"
    ).split(),
    "mnist": "0 1 2 3 4 5 6 7 8 9".split(),
}
NAMES = tuple(CLASS_NAMES)
ON_DISK = ("imagenet",)  # too large for arrays: `streams` finds them
TITLES = {
    **{"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "shapes": "synthetic shapes"},
    **{"fashion_mnist": "Fashion-MNIST", "mnist": "MNIST", "imagenet": "ImageNet"},
}
TRAINING_IMAGES = {
    **{"cifar10": 50_000, "cifar100": 50_000, "shapes": 5_000},
    **dict.fromkeys(mnist.UNPACKED, 60_000),
    "imagenet": 1_281_167,
}
SIZE = 32  # height and width of all images in pixels, but for MNIST's

# Superclass (0 to 19, alphabetical) of each of the 100 fine classes.
# fmt: off
COARSE = np.array([
    4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11,
    6, 11, 5, 10, 7, 6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5,
    5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4, 18, 17,
    10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13,
    16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13,
])
# fmt: on


@checked
def load(
    name: str, data_dir: str | Path | None = None, *, coarse: bool = False
) -> tuple[Split, Split]:
    """Load a data set, fetching it on first use.

    Args:
        name: `"cifar10"`, `"cifar100"`, `"shapes"`, `"fashion_mnist"`, `"mnist"`, or
            the path of your own data set, an `.npz` or a folder; see `own.load`.
        data_dir: Folder to look in and to keep a fetched copy in; None: the variable
            `ALLCONV_DATA`, else `datasets/allconv` under the Keras home. Understood
            are `<name>.npz` (x_train, y_train, x_test, y_test) and the official
            archives, packed or unpacked: the binary one, and the pickles that Keras and
            torchvision keep, which are read without unpickling. Keras' own folder is
            looked in too, where no other is named. Of MNIST: see `mnist.places`.
        coarse: For CIFAR-100: the 20 superclasses in place of the 100 classes.

    Returns:
        `((x_train, y_train), (x_test, y_test))`: uint8 images `(n, height, width, 3)`,
        of 32 x 32 but for MNIST (28 x 28) and your own, and int64 labels `(n,)`.

    Raises:
        ValueError: If the name is unknown, or `coarse` is asked of another set.
        DataError: If the data are damaged, or missing and cannot be fetched; the
            message says what was tried.
    """
    check("name", name)
    if name in ON_DISK:
        raise ValueError(
            f"`name` should be a data set that fits into memory; `streams.load` reads "
            f"{name} as it is needed. Received: name={name!r}"
        )
    if coarse and name != "cifar100":
        raise ValueError(f"Only cifar100 has coarse labels. Received: name={name!r}")
    if name == "shapes":
        return shapes.draw(TRAINING_IMAGES[name], seed=0), shapes.draw(1000, seed=1)
    if name not in NAMES:
        mine = own.load(name)
        return mine.train, mine.test
    if name in mnist.UNPACKED:
        return mnist.load(name, data_dir)
    train, test = cifar_files.load(name, data_dir)
    if coarse:
        train, test = (train[0], COARSE[train[1]]), (test[0], COARSE[test[1]])
    return train, test


def check(argument: str, name: object) -> None:
    """Refuse what is neither a data set's name nor a path.

    Raises:
        ValueError: Naming the argument, what it should be and what it is.
    """
    known = (*NAMES, *ON_DISK)
    if name not in known and not (isinstance(name, str) and own.is_path(name)):
        raise ValueError(
            f"`{argument}` should be one of {', '.join(known)}, or the path of an .npz "
            f"or of a folder of class folders. Received: {argument}={name!r}"
            f"{nearest(name, known)}"
        )


def spelling(name: str) -> str:
    """One spelling of a path: a run of `photos`, `./photos` or `photos/` is the same.

    Returns:
        The name of a data set as it is; of a folder, its path with a `/` behind it.
    """
    path = Path(name)
    if name in (*NAMES, *ON_DISK) or not path.exists():
        return name
    return path.as_posix().rstrip("/") + "/" * path.is_dir()


@checked
def class_names(name: str) -> list[str]:
    """The names of a data set's classes, by their labels.

    Raises:
        ValueError: If the name is unknown.
        DataError: If it is a path that holds no data set.
    """
    check("name", name)
    return CLASS_NAMES[name] if name in NAMES else list(own.load(name).class_names)


@checked
def shape(name: str) -> tuple[int, int, int]:
    """Number of training images, and height and width of all images in pixels.

    Raises:
        ValueError: If the name is unknown.
        DataError: If it is a path that holds no data set.
    """
    check("name", name)
    if name in NAMES:
        side = mnist.SIDE if name in mnist.UNPACKED else SIZE
        return TRAINING_IMAGES[name], side, side
    count, height, width, _ = own.load(name).train[0].shape
    return count, height, width


@checked
def title(name: str) -> str:
    """What a person calls a data set: its name, or the last part of its path."""
    return TITLES.get(name) or Path(name).stem or name


def load_or_draw(
    name: str, draw: bool, data_dir: str | Path | None = None, *, coarse: bool = False
) -> tuple[str, tuple[Split, Split]]:
    """Load a data set, or let synthetic shapes stand in for it; print which it is.

    Args:
        name: As for `load`.
        draw: Whether shapes should stand in.
        data_dir: As for `load`.
        coarse: As for `load`; synthetic shapes have ten classes all the same.

    Returns:
        The name of what was loaded, `name` or `"shapes"`, and what `load` returns.

    Raises:
        ValueError: As `load`.
        DataError: As `load`; nothing stands in unless it was asked for.
    """
    check("name", name)
    if draw and name != "shapes":
        print(f"data: synthetic shapes, which stand in for {name}")
        return "shapes", load("shapes")
    splits = load(name, data_dir, coarse=coarse)
    print(f"data: {name}" + (", its superclasses" if coarse else ""))
    return name, splits


@checked
def is_cached(name: str, data_dir: str | Path | None = None) -> bool:
    """Whether `load(name)` would find its files without fetching.

    Raises:
        ValueError: If the name is unknown.
    """
    check("name", name)
    return name == "shapes" or bool(places(name, data_dir))


@checked
def places(name: str, data_dir: str | Path | None = None) -> list[Path]:
    """The files and folders that `load(name)` would take it from, the first one first.

    Raises:
        ValueError: If the name is unknown.
    """
    check("name", name)
    if name not in NAMES:
        path = Path(name).expanduser()
        return [path] if path.exists() else []
    if name == "shapes":
        return []
    return (mnist if name in mnist.UNPACKED else cifar_files).places(name, data_dir)


@checked
def hold_out(images: Images, labels: Labels, n: Whole) -> tuple[Split, Split]:
    """Split off `n` training images, always the same ones, to choose settings on.

    Returns:
        `((x_rest, y_rest), (x_held, y_held))`.

    Raises:
        ValueError: If nothing would be left to train on.
    """
    if not 0 < n < len(images):
        raise ValueError(
            f"`hold_out` should leave some of the {len(images)} training images. "
            f"Received: {n!r}"
        )
    order = np.random.default_rng(0).permutation(len(images))
    rest, held = np.sort(order[n:]), np.sort(order[:n])
    return (images[rest], labels[rest]), (images[held], labels[held])
