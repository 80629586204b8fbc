"""Error of a classifier: overall, per class, and who is taken for whom."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from allconv.core.annotations import refuse
from allconv.core.arguments import Batch, Matrix, Whole, checked

if TYPE_CHECKING:
    import keras

    from allconv.data.photos import Photos


@dataclass(frozen=True)
class Evaluation:
    """Outcome on one split.

    Attributes:
        confusion: int64 `(classes, classes)`: rows are true, columns predicted.
        loss: Mean cross-entropy, nats.
        calibration_error: Expected calibration error over 15 equal bins of the
            largest probability, from 0 to 1 (Guo et al., 2017).
        wrong_in_five: Images whose class is not among the five largest scores.
    """

    confusion: np.ndarray
    loss: float
    calibration_error: float
    wrong_in_five: int = 0

    @property
    def n(self) -> int:
        return int(self.confusion.sum())

    @property
    def wrong(self) -> int:
        return self.n - int(np.trace(self.confusion))

    @property
    def error(self) -> float:
        """Error in %, as the paper reports it."""
        return 100 * self.wrong / self.n

    @property
    def top5_error(self) -> float:
        """Error in % where five guesses are allowed."""
        return 100 * self.wrong_in_five / self.n

    @property
    def per_class(self) -> list[float]:
        """Error of each true class, in %; nan where a class has no image."""
        totals = self.confusion.sum(axis=1)
        with np.errstate(invalid="ignore"):
            return (100 * (1 - np.diag(self.confusion) / totals)).tolist()


@checked
def evaluate(
    model: "keras.Model", inputs: Any, labels: Batch, batch_size: Whole = 250
) -> Evaluation:
    """Run a classifier over preprocessed images.

    Args:
        model: Gives logits or probabilities `(n, classes)`; of two classes also one
            column, of the second: a sigmoid or its logit.
        inputs: What the model takes, `(n, height, width, channels)`, preprocessed; or
            a `tf.data.Dataset` of batches of it, in the labels' order.
        labels: Integer labels `(n,)`.
        batch_size: Images a step; bounds the memory.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: If labels and inputs, or labels and classes, do not fit, the model
            has several outputs, weights or values that are not finite, or sigmoids
            that are classes of their own.
    """
    import tensorflow as tf

    on_disk = isinstance(inputs, tf.data.Dataset)
    if not on_disk:
        refuse(inputs, Batch, "inputs")
    if not len(labels) or (not on_disk and len(inputs) != len(labels)):
        raise ValueError(
            "`inputs` and `labels` should be as many, one at least. "
            f"Received: {len(inputs)} images, {len(labels)} labels"
        )
    from allconv.data.batches import in_order
    from allconv.saliency.neurons import final
    from allconv.saliency.soundness import check_finite

    batches = inputs if on_disk else in_order(inputs, batch_size=batch_size)
    outputs = model.predict(batches, verbose=0)
    if not isinstance(outputs, np.ndarray):
        raise ValueError(
            "The model should have one output, class scores. "
            f"Received: {model.name} with {len(outputs)} outputs"
        )
    first = tf.nest.map_structure(lambda x: x[:1], next(iter(batches)))
    check_finite(model, first)
    if outputs.ndim != 2 or _are_shares(outputs):
        return score(outputs, labels)
    spec = tf.nest.map_structure(lambda x: tf.TensorSpec(x.shape, x.dtype), first)
    traced = tf.function(lambda x: model(x, training=False), autograph=False)
    sigmoid = final(traced.get_concrete_function(spec).outputs[0]).type == "Sigmoid"
    if sigmoid and outputs.shape[1] > 1:
        raise ValueError(
            f"{model.name} ends in {outputs.shape[1]} sigmoids, each a probability of "
            "its own: use `score`, one column at a time, with from_logits=False."
        )
    return score(outputs, labels, from_logits=not sigmoid)


@checked
def evaluate_photos(
    model: "keras.Model", photos: "Photos", batch_size: Whole = 32
) -> Evaluation:
    """Run a classifier over the photographs of a folder whose class is known.

    Args:
        model: From pixels, 0 to 255, to logits or probabilities `(n, classes)`.
        photos: At its size.
        batch_size: Photographs at a time.

    Raises:
        ValueError: If no class is known, a photograph cannot be read, or the model has
            weights or values that are not finite; or as `score`.
    """
    from tqdm import tqdm

    from allconv.saliency.soundness import check_finite

    known = np.flatnonzero(photos.labels >= 0)
    if not len(known):
        raise ValueError("`photos` should have photographs whose class is known.")
    outputs: list[np.ndarray] = []
    for start in tqdm(range(0, len(known), batch_size), unit="batch", disable=None):
        pixels = photos[known[start : start + batch_size]].astype(np.float32)
        if not outputs:
            check_finite(model, pixels)
        outputs.append(model.predict_on_batch(pixels))
    return score(np.concatenate(outputs), photos.labels[known])


@checked
def score(
    outputs: Matrix, labels: np.ndarray, *, from_logits: bool | None = None
) -> Evaluation:
    """An `Evaluation` from logits or probabilities `(n, classes)` and labels `(n,)`.

    Args:
        outputs: One column is that of the second of two classes.
        labels: Integers. Of several labels an image, one column is scored at a time:
            `score(outputs[:, [3]], labels[:, 3], from_logits=False)`.
        from_logits: Whether `outputs` are logits. None: those that are not negative and
            add up to 1, to 0.01 at most as half precision has it, are probabilities;
            one column does not show it and has to be told.

    Raises:
        ValueError: If the outputs are of another shape or not finite, the labels no
            such integers, or one column comes without `from_logits`.
    """
    outputs, labels = np.asarray(outputs), np.asarray(labels)
    if outputs.shape[1] == 1:
        outputs = _two_classes(outputs.astype(np.float64), from_logits)
        from_logits = False
    classes = outputs.shape[1]
    if labels.shape != outputs.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"Labels should be {len(outputs)} integers, one for each image; of several "
            "labels an image, score one column at a time. "
            f"Received: {labels.dtype}, {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"Labels should be from 0 to {classes - 1}, since the model has {classes} "
            f"classes. Received: labels from {labels.min()} to {labels.max()}"
        )
    shares = probabilities(outputs.astype(np.float64), from_logits)
    predicted = outputs.argmax(axis=1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    chosen = shares[np.arange(len(labels)), labels]
    loss = float(-np.log(np.maximum(chosen, 1e-12)).mean())
    right = predicted == labels
    # Ties are broken by the class's number, as in `argmax`.
    own = outputs[np.arange(len(labels)), labels][:, None]
    before = (outputs > own).sum(1)
    before += ((outputs == own) & (np.arange(classes) < labels[:, None])).sum(1)
    missed = int((before >= 5).sum())
    error = _calibration_error(shares, right)
    return Evaluation(confusion, loss, error, missed)


def _two_classes(outputs: np.ndarray, from_logits: bool | None) -> np.ndarray:
    """Probabilities `(n, 2)` from the one column of the second class."""
    if from_logits is None:
        raise ValueError(
            "One column may hold probabilities or logits of the second of two classes: "
            "pass `from_logits`. Received: from_logits=None"
        )
    if from_logits:
        both = np.concatenate([outputs, -outputs], axis=1)
        return np.exp(-np.logaddexp(0, both))
    if outputs.min() < 0 or outputs.max() > 1:
        raise ValueError(
            "Probabilities should be from 0 to 1. "
            f"Received: {outputs.min():.3g} to {outputs.max():.3g}"
        )
    return np.concatenate([1 - outputs, outputs], axis=1)


def probabilities(outputs: np.ndarray, from_logits: bool | None = None) -> np.ndarray:
    """Probabilities `(n, classes)` from what a model gives; see `score`."""
    if _are_shares(outputs) if from_logits is None else not from_logits:
        return outputs
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _are_shares(outputs: np.ndarray) -> bool:
    sums = outputs.sum(axis=1)
    return bool((outputs >= 0).all() and np.allclose(sums, 1, rtol=0, atol=1e-2))


def _calibration_error(probabilities: np.ndarray, right: np.ndarray) -> float:
    confidence = probabilities.max(axis=1)
    bins = np.minimum((np.nan_to_num(confidence) * 15).astype(int), 14)
    gaps = [
        abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean()
        for b in np.unique(bins)
    ]
    return float(sum(gaps))
