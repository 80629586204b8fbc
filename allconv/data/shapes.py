"""A ten-class set of coloured shapes, drawn by code: no download, no licence."""

import contextlib
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np

from allconv.core.annotations import Span
from allconv.core.arguments import Seed, checked

FILES, SIDES = 2000, (72, 88, 104, 120)  # drawn to train on; their sides in pixels

# Where (u, v), with the figure's radius as unit, lies inside the figure.
SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "disc": lambda u, v: np.hypot(u, v) < 1,
    "square": lambda u, v: np.maximum(abs(u), abs(v)) < 0.85,
    "triangle": lambda u, v: (v < 0.8) & (v > 2 * abs(u) - 1),
    "diamond": lambda u, v: abs(u) + abs(v) < 1.1,
    "plus": lambda u, v: (
        (np.minimum(abs(u), abs(v)) < 0.3) & (np.maximum(abs(u), abs(v)) < 1)
    ),
    "cross": lambda u, v: (
        (abs(abs(u) - abs(v)) < 0.4) & (np.maximum(abs(u), abs(v)) < 0.9)
    ),
    "ring": lambda u, v: abs(np.hypot(u, v) - 0.8) < 0.25,
    "frame": lambda u, v: abs(np.maximum(abs(u), abs(v)) - 0.7) < 0.2,
    "bars": lambda u, v: (
        (np.maximum(abs(u), abs(v)) < 1) & (np.floor(2.5 * v + 9.5) % 2 == 0)
    ),
    "checks": lambda u, v: (
        (np.maximum(abs(u), abs(v)) < 1)
        & ((np.floor(2 * u + 8) + np.floor(2 * v + 8)) % 2 == 0)
    ),
}


@checked
def draw(
    n: Annotated[int, Span(1, 10**7)],
    seed: Seed = 0,
    size: Annotated[int, Span(16, 1024)] = 32,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a ten-class set of coloured shapes, the same for the same seed.

    Args:
        n: Number of images; classes come in turn.
        seed: An integer.
        size: Height and width, in pixels.

    Returns:
        uint8 `(n, size, size, 3)` and int64 `(n,)`.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % len(SHAPES)
    radius = rng.uniform(7, 12, (n, 1, 1)) * (size / 32)
    centre = rng.uniform(radius, size - 1 - radius, (2, n, 1, 1))
    angle = rng.uniform(-0.3, 0.3, (n, 1, 1))  # radians
    row, column = np.indices((size, size))
    y, x = (row - centre[0]) / radius, (column - centre[1]) / radius
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    inside = np.zeros((n, size, size), bool)
    for label, shape in enumerate(SHAPES.values()):
        mine = labels == label
        inside[mine] = shape(u[mine], v[mine])
    back = rng.uniform(0, 255, (n, 1, 1, 3))
    # The figure is at least 90 grey levels from the ground in every channel.
    front = (back + rng.uniform(90, 165, (n, 1, 1, 3))) % 256
    images = np.where(inside[..., None], front, back)
    images += rng.normal(0, 12, images.shape)
    return np.clip(images, 0, 255).astype(np.uint8), labels.astype(np.int64)


@checked
def folder(path: Path, train: int = FILES, test: int = FILES // 5) -> Path:
    """Class folders of drawn JPEG files of four sizes; drawn where there are none.

    Args:
        path: Of the folder, which will hold `train` and `test`.
        train, test: Number of images.

    Returns:
        The path.
    """
    from PIL import Image

    if path.is_dir():
        return path
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    for split, count, seed in (("train", train, 0), ("test", test, 1)):
        for k, size in enumerate(SIDES):
            images, labels = draw(count // len(SIDES), 2 * k + seed, size)
            for i, (image, label) in enumerate(zip(images, labels, strict=True)):
                file = unfinished / split / list(SHAPES)[label] / f"{size}-{i:05}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(file, quality=95)
    with contextlib.suppress(OSError):  # another process was faster
        unfinished.rename(path)
    shutil.rmtree(unfinished, ignore_errors=True)
    return path
