"""How features form in training: the strongest activation, epoch by epoch (Figure 4).

Zeiler & Fergus, section 4 ('Feature Evolution during Training'): for a feature map, the
strongest activation over the training set is projected to the pixels at epochs 1, 2, 5,
10, 20, 30, 40 and 64. A callback keeps the weights of such epochs; later, each set is
loaded in turn.

    model.fit(..., callbacks=[Snapshots(folder)])
    found = follow(model, folder, inputs, "conv5", [0, 7, 12], project=deconvnet)
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from allconv.core import files
from allconv.core.arguments import Whole, checked
from allconv.layers.folding import fold
from allconv.probes import patches

EPOCHS = (1, 2, 5, 10, 20, 30, 40, 64)  # Figure 4

Project = Callable[[keras.Model, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class Snapshots(keras.callbacks.Callback):
    """Keep the weights, without the optimiser's state, after a few epochs.

    Args:
        folder: Where `snapshot-NNNN.h5` are written; made if it does not exist.
        epochs: Epochs to keep, the first being 1.
        folded: Whether to keep the weights of `layers.fold(model)`, the same function
            without normalising layers, as the weights of a run are.

    Raises:
        ValueError: If an epoch is not a positive integer.
    """

    @checked
    def __init__(
        self,
        folder: str | Path,
        epochs: Sequence[Whole] = EPOCHS,
        folded: bool = False,
    ):
        super().__init__()
        if not epochs:
            raise ValueError(f"`epochs` should be one at least. Received: {epochs}")
        self.folder = Path(folder)
        self.epochs = frozenset(epochs)
        self.folded = folded

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if epoch + 1 not in self.epochs:
            return
        weights = self.model.get_weights()
        if all(np.isfinite(w).all() for w in weights):  # else the run has diverged
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.folded:
                weights = fold(self.model).get_weights()
            # By number, since a layer's own name may differ in the next process.
            arrays = {f"{i:04d}": w for i, w in enumerate(weights)}
            path = self.folder / f"snapshot-{epoch + 1:04d}.h5"
            files.write(path, arrays, {"epoch": epoch + 1})


@checked
def snapshots(folder: str | Path) -> dict[int, Path]:
    """The snapshots in a folder by epoch, in order.

    Raises:
        ValueError: If there are none.
    """
    found = {}
    for path in sorted(Path(folder).glob("snapshot-*.h5")):
        match = re.fullmatch(r"snapshot-(\d{4,})\.h5", path.name)
        if match:
            found[int(match[1])] = path
    if not found:
        raise ValueError(
            f"There are no snapshots in {folder}. Train with "
            "callbacks=[Snapshots(folder)] first."
        )
    return dict(sorted(found.items()))


@contextmanager
def loaded(model: keras.Model, path: str | Path) -> Iterator[keras.Model]:
    """Give a model the weights of a snapshot; put its own back at the end.

    Raises:
        ValueError: If the snapshot's weights are of other shapes.
    """
    own = model.get_weights()
    arrays, _ = files.read(Path(path))
    kept = [arrays[name] for name in sorted(arrays)]
    if [w.shape for w in kept] != [w.shape for w in own]:
        raise ValueError(
            f"{path} does not fit {model.name}: it holds {len(kept)} weights, the "
            f"model has {len(own)}, or their shapes differ."
        )
    try:
        model.set_weights(kept)
        yield model
    finally:
        model.set_weights(own)


class Evolution(NamedTuple):
    """The strongest activation of each channel after each epoch.

    `epochs` `(e,)` and `channels` `(c,)`. Arrays `(e, c)`: `index` of the image, row
    `y` and column `x` on the map, `value`. `box` `(e, c, 4)`: the receptive field
    `y0, x0, y1, x1` in pixels, which may reach beyond the image. `projection`: what
    `project` returned, `(e, c, ...)`, or None.
    """

    epochs: np.ndarray
    channels: np.ndarray
    index: np.ndarray  # type: ignore[assignment]  # hides `tuple.index`
    y: np.ndarray
    x: np.ndarray
    value: np.ndarray
    box: np.ndarray
    projection: np.ndarray | None


def follow(
    model: keras.Model,
    folder: str | Path,
    images: np.ndarray,
    layer: str,
    channels: Sequence[int] | np.ndarray,
    *,
    project: Project | None = None,
    batch_size: int = 100,
    progress: bool = True,
) -> Evolution:
    """Find, and project, the strongest activations at every snapshot of a training run.

    Args:
        model: The network; its own weights are as before afterwards.
        folder: Of the snapshots.
        images: Model inputs `(n, height, width, channels)`.
        layer: Name of a layer of maps.
        channels: Feature maps of that layer.
        project: Function of `(model, images, channels, positions)` with one image
            `(c, height, width, channels)`, channel `(c,)` and position `(c, 2)` (row,
            column) per feature map, to arrays `(c, ...)`; called with the weights of
            each epoch in place. None: no projection.
        batch_size: Images at a time.
        progress: Whether to show progress bars.

    Returns:
        An `Evolution`.

    Raises:
        ValueError: If there are no snapshots, they do not fit the model, the layer has
            no map or no such channel.
    """
    channels = np.asarray(channels)
    places, projections = [], []
    found = snapshots(folder)
    for path in found.values():
        with loaded(model, path):
            top = patches.top_activations(
                model, images, layer, 1, batch_size=batch_size, progress=progress
            )[layer]
            whole = channels.ndim == 1 and np.issubdtype(channels.dtype, np.integer)
            if not whole or not all(0 <= c < len(top.index) for c in channels):
                raise ValueError(
                    f"`channels` should be integers from 0 to {len(top.index) - 1} for "
                    f"layer {layer!r}. Received: channels={channels.tolist()}"
                )
            top = top.select((channels, 0))
            places.append(top)
            if project is not None:
                where = np.stack([top.y, top.x], axis=1)
                projections.append(project(model, images[top.index], channels, where))
    best = patches.Top(*(np.stack(column) for column in zip(*places, strict=True)))
    return Evolution(
        np.array(list(found)),
        channels,
        **best._asdict(),
        projection=np.stack(projections) if projections else None,
    )
