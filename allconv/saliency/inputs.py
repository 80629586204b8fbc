"""What a model takes: the images explained, and other inputs, held as given."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import keras
import numpy as np
import tensorflow as tf

from allconv.core.annotations import LATER

# An array, or with several inputs all of them: by name, or in the model's order.
Given = Annotated[np.ndarray | Mapping[str, np.ndarray] | Sequence[np.ndarray], LATER]


class Inputs:
    """The inputs of a model, of which one is explained and the others are held.

    Args:
        model: A built Keras model.
        of: Name or number of the input that is explained; None: the only one.

    Attributes:
        names: Of the inputs, in the model's order; a subclassed model's are not known.
        held: What those that are held are, in that order: `tf.TensorSpec`s.

    Raises:
        ValueError: If there is none such, or no gradient passes through it.
    """

    def __init__(self, model: keras.Model, of: str | int | None = None):
        if not isinstance(model, keras.Model):
            raise ValueError(f"`model` should be a Keras model. Received: {model!r}")
        if not model.built:
            raise ValueError(
                f"{model.name} has no weights yet: build it, or call it on images, "
                "first."
            )
        self.model = model
        known = getattr(model, "inputs", None) or [None]  # a subclassed model's
        alone = known[0] if len(known) == 1 else known
        self._structure = alone if alone is None else getattr(model, "input", alone)
        tensors = [] if alone is None else tf.nest.flatten(self._structure)
        self.names = [tensor.name for tensor in tensors]
        if isinstance(self._structure, dict) and len(self._structure) == len(tensors):
            self.names = sorted(self._structure)
        self._index = self._which(of, max(1, len(tensors)))
        self._own = tensors[self._index] if tensors else None
        if self._own is not None and not tf.as_dtype(self._own.dtype).is_floating:
            raise ValueError(
                f"{model.name} takes images of dtype {self._own.dtype}, through which "
                "no gradient passes: call its layers on a floating-point input."
            )
        self.held = [
            tf.TensorSpec(tensor.shape, tensor.dtype, f"held_{i}")
            for i, tensor in enumerate(tensors)
            if i != self._index
        ]

    def _which(self, of: str | int | None, count: int) -> int:
        names = dict(zip(self.names, range(count), strict=False))
        names |= {i: i for i in range(count)}
        if of is None and count == 1:
            return 0
        if isinstance(of, bool) or of not in [*names]:
            raise ValueError(
                f"`of` should be one of {', '.join(map(repr, names))}: which of the "
                f"{count} inputs of {self.model.name} to explain; the others are held "
                f"as given. Received: of={of!r}"
            )
        return names[of]

    def image_shape(self, shape: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """The shape of an image: the one that is asked for, if it fits the model's.

        Raises:
            ValueError: If it does not, or neither says all of it.
        """
        rank = 4 if shape is None else len(shape) + 1
        own = (None,) * rank if self._own is None else tuple(self._own.shape)
        if len(own) < 3:
            raise ValueError(
                "`model` should take images (n, height, width, channels), or signals "
                f"and volumes likewise. Received: {self.model.name} with input shape "
                f"{own}"
            )
        found = tuple(own[1:] if shape is None else shape)
        if None in found or len(found) != len(own) - 1:
            raise ValueError(
                f"{self.model.name} takes images of any size: give `image_shape` as "
                f"(height, width, channels). Received: image_shape={shape}"
            )
        if any(n not in (None, m) for n, m in zip(own[1:], found, strict=True)):
            raise ValueError(
                f"{self.model.name} takes images of shape {own[1:]}. Received: {found}"
            )
        return tuple(int(n) for n in found if n is not None)

    def split(self, given: Given) -> tuple[np.ndarray, list[np.ndarray]]:
        """The images, float32, and what is held, checked.

        Raises:
            ValueError: If an input is missing or not as the model takes it.
        """
        parts = self._parts(given)
        rank = 4 if self._own is None else len(self._own.shape)
        images = _checked_images(parts.pop(self._index), rank)
        names = [name for i, name in enumerate(self.names) if i != self._index]
        held = [
            _checked_held(*facts, len(images))
            for facts in zip(names, parts, self.held, strict=False)
        ]
        return images, held

    def _parts(self, given: Given) -> list:
        if isinstance(given, Mapping):
            if set(given) == set(self.names):
                return [given[name] for name in self.names]
            received = f"a dict of {', '.join(map(repr, given)) or 'nothing'}"
        elif not self.held:
            return [given]
        elif isinstance(given, list | tuple):
            if len(given) == len(self.names):
                return list(given)
            received = f"{len(given)} of them"
        else:
            received = f"one {type(given).__name__}"
        names = ", ".join(map(repr, self.names))
        raise ValueError(
            f"`images` should be an array for a model of one input, else hold all of "
            f"{self.model.name}, {names}: in a dict, or a list in this order. "
            f"Received: {received}"
        )

    def join(self, images, held: Sequence) -> Any:
        """All inputs as the model takes them: alone, in a list or in a dict."""
        if self._structure is None:
            own = getattr(self.model, "input", images)
            return tf.nest.map_structure(lambda _: images, own)
        parts = list(held)
        parts.insert(self._index, images)
        return tf.nest.pack_sequence_as(self._structure, parts)


def _checked_images(images: object, rank: int) -> np.ndarray:
    images = np.asarray(images)
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(
            "`images` should be floating point, preprocessed as for the model. "
            f"Received: dtype={images.dtype}"
        )
    if rank > 2 and images.ndim != rank:  # a model of no images is refused itself
        hint = " One image is images[None]." if images.ndim == rank - 1 else ""
        axes = {3: "steps", 4: "height, width"}.get(rank, "depth, height, width")
        raise ValueError(
            f"`images` should be of shape (n, {axes}, channels)."
            f"{hint} Received: {images.shape}"
        )
    images = images.astype(np.float32, copy=False)
    if not np.isfinite(images).all():
        bad = np.flatnonzero([not np.isfinite(image).all() for image in images])
        raise ValueError(
            "`images` should be finite. Received: NaN or infinity in image "
            f"{bad[0]} ({len(bad)} of {len(images)} images)"
        )
    return images


def _checked_held(name: str, array: object, spec: tf.TensorSpec, n: int) -> np.ndarray:
    array = np.asarray(array)
    shape = (n, *spec.shape[1:])
    dtype = spec.dtype.as_numpy_dtype
    if len(array.shape) != len(shape) or any(
        size not in (None, own) for size, own in zip(shape, array.shape, strict=True)
    ):
        raise ValueError(
            f"The input {name!r} should be of shape {shape}, a row for each image. "
            f"Received: {array.shape}"
        )
    if spec.dtype == tf.string:
        return array
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise ValueError(
            f"The input {name!r} should be of dtype {spec.dtype.name}. "
            f"Received: {array.dtype}"
        )
    if not np.isfinite(array).all():
        raise ValueError(
            f"The input {name!r} should be finite. Received: NaN or infinity"
        )
    return array.astype(dtype)
