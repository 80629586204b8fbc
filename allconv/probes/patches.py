"""The strongest activations of every channel over a data set, and what they saw.

One pass over the images keeps, for every channel of every layer asked for, the `k`
largest activations and their positions; memory does not grow with the data. Receptive
fields turn positions into boxes of pixels. What is kept is small and is saved as npz,
so that figures are drawn again without another pass (Figure 3 of the All-CNN paper;
Figure 2 of Zeiler & Fergus).

    tops = top_activations(model, images, ["conv6", "conv9"])
    top = tops["conv9"]                                  # 10 channels, 9 hits each
    patches = crop(gather(pictures, top.index), top.box)
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from allconv.core.annotations import Span
from allconv.core.arguments import Batch, Whole, checked
from allconv.probes import receptive_field
from allconv.saliency import rectifier_search, soundness

# A place in a ranking that no activation has taken: value, index, y, x.
_NOTHING = (np.float32(-np.inf), np.int32(-1), np.int32(-1), np.int32(-1))


class Top(NamedTuple):
    """The `k` strongest activations of each channel of a layer, strongest first.

    Arrays of shape `(channels, k)`: `index` of the image (int32), row `y` and column
    `x` on the layer's map (int32), `value` (float32). `box` is int32
    `(channels, k, 4)`: the receptive field `y0, x0, y1, x1` in pixels of the input,
    end excluded; it may reach beyond the image.
    """

    index: np.ndarray  # type: ignore[assignment]  # hides `tuple.index`
    y: np.ndarray
    x: np.ndarray
    value: np.ndarray
    box: np.ndarray

    def select(self, channels) -> "Top":
        """Those of some channels: whatever indexes the arrays' first axis."""
        return Top(*(array[channels] for array in self))


@checked
def top_activations(
    model: keras.Model,
    images: np.ndarray | tf.data.Dataset | Iterable[np.ndarray],
    layers: str | Sequence[str],
    k: Whole = 9,
    *,
    one_per_image: bool = True,
    batch_size: int = 100,
    progress: bool = True,
    peaks: Callable[[int, dict[str, np.ndarray]], None] | None = None,
) -> dict[str, Top]:
    """Find the strongest activations of all channels of several layers in one pass.

    Equal values rank by image, then by row and column, so that the answer does not
    depend on the batch size. A channel that never fires has `value` 0 throughout, at
    the first positions. Layers with a fused rectifier are seen after it, but before its
    ceiling: of a ReLU6 `value` may be above 6, or all units there would be tied.

    Args:
        model: Functional or Sequential `keras.Model` with one image input.
        images: Model inputs `(n, height, width, channels)`: an array (or memory map),
            an iterable of single images, or a `tf.data.Dataset` of batches, of images
            alone, first in a tuple, or alone of their rank in a dict. The order should
            be fixed: `index` counts in it.
        layers: Layer names; `"block/conv1"` for a layer of a nested model, `"conv1#0"`
            for the first of several calls.
        k: Hits per channel.
        one_per_image: Whether an image counts once per channel, by its strongest
            position, or each of its positions by itself.
        batch_size: Images per step, but for a data set.
        progress: Whether to show a progress bar.
        peaks: Called after each batch with the number of its first image and, by
            layer, each image's maximum of each channel, `(images, channels)`: for
            whatever else is to be known of all activations, in the same pass.

    Returns:
        A `Top` per layer name.

    Raises:
        ValueError: If a layer is unknown or has no map or no receptive field, the
            images do not fit the model, there are fewer than `k` activations, or a
            weight, pixel or activation is not finite.
    """
    names = [layers] if isinstance(layers, str) else list(layers)
    if not names:
        raise ValueError(f"`layers` should name a layer. Received: layers={layers!r}")
    if k < 1 or batch_size < 1:
        raise ValueError(
            "`k` and `batch_size` should be at least 1. "
            f"Received: k={k}, batch_size={batch_size}"
        )
    soundness.check_channels_last(model)
    places = receptive_field.locate(model, names)
    fields = [receptive_field.compute(model, name) for name in names]
    for name, place in zip(names, places, strict=True):
        if len(place.tensor.shape) != 4:
            raise ValueError(
                f"Layer {name!r} has no map: its output has shape "
                f"{place.tensor.shape}, not (batch, height, width, channels)."
            )
    # On a CPU a fused convolution and rectifier may turn NaN into 0: look before it.
    soundness.check_weights(model)
    step = _tracker(keras.Model(model.inputs[0], _wire(places)), k, one_per_image)

    rankings = [
        [tf.fill((place.tensor.shape[-1], k), nothing) for nothing in _NOTHING]
        for place in places
    ]
    count, total = 0, getattr(images, "shape", (None,))[0]
    with tqdm(total=total, unit="image", disable=not progress) as bar:
        for batch in _batches(images, batch_size, model.inputs[0].shape):
            batch = tf.cast(batch, model.inputs[0].dtype)
            if not count and tf.reduce_all(
                tf.math.is_finite(tf.cast(batch, tf.float32))
            ):
                soundness.check_finite(model, batch[: soundness.batch_size(model) or 1])
            rankings, bad_images, bad_maps, maxima = step(batch, count, rankings)
            if bad_images or any(bad_maps):
                last = f"image {count} to {count + len(batch) - 1}"
                if bad_images:
                    raise ValueError(f"A pixel of {last} is not finite.")
                layer = names[bad_maps.index(True)]
                raise ValueError(
                    f"An activation of layer {layer!r}, {last}, is not finite."
                )
            if peaks is not None:
                found = [tensor.numpy() for tensor in maxima]
                peaks(count, dict(zip(names, found, strict=True)))
            count += len(batch)
            bar.update(len(batch))
    if not count:
        raise ValueError("`images` is empty: there is nothing to rank.")

    tops = {}
    for name, ranking, field in zip(names, rankings, fields, strict=True):
        value, index, y, x = (tensor.numpy() for tensor in ranking)
        if np.any(index < 0):
            raise ValueError(
                f"k={k} is more than layer {name!r} has to rank in {count} images"
                f"{', one position of each' if one_per_image else ''}."
            )
        tops[name] = Top(index, y, x, value, field.boxes(y, x))
    return tops


@checked
def gather(images: np.ndarray | tf.data.Dataset, index: np.ndarray) -> np.ndarray:
    """Pick images by number, from an array or in one pass over a data set.

    Args:
        images: `(n, height, width, channels)`, or a `tf.data.Dataset` of batches.
        index: Integer array of any shape.

    Returns:
        Array `(*index.shape, height, width, channels)`, of the images' dtype.

    Raises:
        ValueError: If a number is not that of an image.
    """
    index = np.asarray(index)
    wanted, inverse = np.unique(index, return_inverse=True)
    if isinstance(images, tf.data.Dataset):
        parts, first = [], 0
        for batch in _batches(images, 1, (None,) * 4):
            here = wanted[(wanted >= first) & (wanted < first + len(batch))]
            parts.append(batch.numpy()[here - first])
            first += len(batch)
        count = first
    else:
        count = len(images)
    if wanted.size and not 0 <= wanted[0] <= wanted[-1] < count:
        raise ValueError(
            f"`index` should be within 0 to {count - 1}, the images' numbers. "
            f"Received: {wanted[0]} to {wanted[-1]}"
        )
    if isinstance(images, tf.data.Dataset):
        return np.concatenate(parts)[inverse].reshape(*index.shape, *parts[0].shape[1:])
    return np.asarray(images[index])


@checked
def crop(
    images: np.ndarray,
    box: np.ndarray,
    fill: Annotated[float, Span(finite=False)] = 0,
) -> np.ndarray:
    """Cut a box out of each image; what lies beyond the border is `fill`.

    Args:
        images: `(..., height, width, channels)`.
        box: Integers `(..., 4)`: `y0, x0, y1, x1` in pixels, end excluded; all of the
            same height and width.
        fill: Value beyond the border; NaN (with float images) is drawn as paper white
            by `allconv.figures.maps`.

    Returns:
        Array `(..., box height, box width, channels)`, of the images' dtype.

    Raises:
        ValueError: If boxes and images do not pair up or boxes differ in size.
    """
    images, box = np.asarray(images), np.asarray(box)
    if box.shape != (*images.shape[:-3], 4):
        raise ValueError(
            "`box` should have one box (y0, x0, y1, x1) per image. "
            f"Received: images of shape {images.shape}, box of shape {box.shape}"
        )
    sizes = np.unique((box[..., 2:] - box[..., :2]).reshape(-1, 2), axis=0)
    if len(sizes) != 1 or sizes.min() < 1:
        raise ValueError(
            "All boxes should have the same positive height and width. "
            f"Received: {sizes.tolist()}"
        )
    height, width = images.shape[-3:-1]
    rows = box[..., 0, None] + np.arange(sizes[0, 0])
    columns = box[..., 1, None] + np.arange(sizes[0, 1])
    lead = np.ix_(*map(np.arange, box.shape[:-1]))
    seen = (
        *(axis[..., None, None] for axis in lead),
        rows.clip(0, height - 1)[..., :, None],
        columns.clip(0, width - 1)[..., None, :],
    )
    cut = images[seen]
    inside = ((rows >= 0) & (rows < height))[..., :, None] & (
        (columns >= 0) & (columns < width)
    )[..., None, :]
    cut[~inside] = fill
    return cut


def _batches(images, batch_size, shape) -> Iterator[tf.Tensor]:
    """Batches of images as tensors, each checked against the model's input shape."""
    if isinstance(images, tf.data.Dataset):
        batches = (_pictures_of(b) for b in images)
    elif not hasattr(images, "shape"):  # a list, a generator: of single images
        each = iter(images)
        parts = iter(lambda: list(itertools.islice(each, batch_size)), [])
        batches = (np.stack(part) for part in parts)
    else:
        starts = range(0, len(images), batch_size)
        batches = (images[i : i + batch_size] for i in starts)
    for batch in batches:
        if len(batch.shape) != 4 or any(
            n not in (None, m) for n, m in zip(shape[1:], batch.shape[1:], strict=True)
        ):
            raise ValueError(
                f"Images should come in batches of shape {shape}. "
                f"Received: a batch of shape {tuple(batch.shape)}"
            )
        yield tf.convert_to_tensor(batch)


def _pictures_of(element):
    """The images of a data set's element: alone, first, or of the only such shape."""
    if isinstance(element, tuple | list):
        return element[0]
    if not isinstance(element, dict):
        return element
    fits = [name for name, part in element.items() if len(part.shape) == 4]
    if len(fits) != 1:
        raise ValueError(
            "Of a data set of dicts, one entry should hold batches of images. "
            f"Received: {len(fits)} such entries of {', '.join(element)}"
        )
    return element[fits[0]]


def _wire(places):
    """Symbolic outputs at `places`, led out of nested models to the outermost."""
    tensors = [place.tensor for place in places]
    for level in reversed(range(max(len(place.nesting) for place in places))):
        calls: dict[int, list[int]] = {}  # places, by their model's call
        for i, place in enumerate(places):
            if len(place.nesting) > level:
                calls.setdefault(id(place.nesting[level][0]), []).append(i)
        for members in calls.values():
            inner, arguments = places[members[0]].nesting[level]
            probe = keras.Model(inner.inputs, [tensors[i] for i in members])
            outputs = tf.nest.flatten(probe(arguments))
            for i, tensor in zip(members, outputs, strict=True):
                tensors[i] = tensor
    return tensors


def _tracker(outputs, k, one_per_image):
    """Compile the step that folds a batch into the ranking of each layer."""
    source = outputs.inputs[0]
    images = tf.TensorSpec((None, *source.shape[1:]), source.dtype)
    first = tf.TensorSpec((), tf.int64)
    ranking = [tf.TensorSpec((None, k), type(nothing)) for nothing in _NOTHING]
    rankings = [ranking] * len(outputs.outputs)

    @tf.function(input_signature=[images, first, rankings], autograph=False)
    def step(images, first, rankings):
        maps = tf.nest.flatten(outputs(images, training=False))
        rectifier_search.find(images)
        maps = [rectifier_search.uncapped(activations) for activations in maps]
        folded = [
            _fold(tf.cast(activations, tf.float32), first, ranking, one_per_image)
            for activations, ranking in zip(maps, rankings, strict=True)
        ]
        finite = tf.reduce_all(tf.math.is_finite(tf.cast(images, tf.float32)))
        ranked, bad_maps, maxima = map(list, zip(*folded, strict=True))
        return ranked, ~finite, bad_maps, maxima

    return step


def _fold(activations, first, ranking, one_per_image):
    """Rank a batch of maps of one layer against the best so far.

    The k strongest positions of a channel lie in the k images with the strongest
    peaks, so only these maps are looked into, and only if they beat the k-th best:
    beyond the first batches that is next to none.
    """
    k = ranking[0].shape[1]
    batch, height, width, channels = tf.unstack(tf.shape(activations, tf.int64))
    flat = tf.reshape(activations, (batch, height * width, channels))
    maxima = tf.reduce_max(flat, axis=1)
    peak = tf.transpose(maxima)
    bad = tf.reduce_any(~tf.math.is_finite(peak))

    # In order of image: `top_k` ranks equal values by place, here and below.
    image = tf.sort(tf.math.top_k(peak, tf.minimum(k, tf.shape(peak)[1])).indices)
    peak = tf.gather(peak, image, batch_dims=1)
    slots = tf.where(peak > ranking[0][:, -1:])  # (hits, 2): channel, place in `image`
    image_of, channel_of = tf.gather_nd(tf.cast(image, tf.int64), slots), slots[:, 0]
    start = image_of * height * width * channels + channel_of
    maps = tf.gather(
        tf.reshape(activations, [-1]),
        start[:, None] + tf.range(height * width) * channels,
    )
    depth = 1 if one_per_image else tf.minimum(k, tf.shape(maps)[1])
    value, position = tf.math.top_k(maps, depth)
    position = tf.cast(position, tf.int64)
    found = (
        value,
        tf.broadcast_to(image_of[:, None] + first, tf.shape(position)),
        position // width,
        position % width,
    )
    shape = tf.concat([tf.shape(image), tf.shape(value)[1:]], 0)
    candidates = []
    for best, new, nothing in zip(ranking, found, _NOTHING, strict=True):
        blank = tf.fill(shape, tf.cast(nothing, best.dtype))
        new = tf.tensor_scatter_nd_update(blank, slots, tf.cast(new, best.dtype))
        new = tf.reshape(new, (channels, -1))
        candidates.append(tf.concat([best, new], axis=1))
    order = tf.math.top_k(candidates[0], k).indices
    return [tf.gather(c, order, batch_dims=1) for c in candidates], bad, maxima


@checked
def visible(box: Batch, size: Sequence[int]) -> np.ndarray:
    """What to cut out: the boxes, or the whole image where these are as large.

    A unit that sees more than the image would be shown a small image in a wide border.

    Args:
        box: Integers `(..., 4)`, as for `crop`.
        size: Height and width of the images, pixels.

    Returns:
        Integers of the same shape.
    """
    lengths = (box[..., 2:] - box[..., :2]).reshape(-1, 2)
    if len(lengths) and np.all(lengths >= size):
        return np.broadcast_to([0, 0, *size], box.shape)
    return box
