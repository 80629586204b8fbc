"""Error of a classifier: overall, per class, and who is taken for whom."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Evaluation:
    """Outcome on one split.

    Attributes:
        confusion: int64 `(classes, classes)`: rows are true, columns predicted.
        loss: Mean cross-entropy, nats; nan where outputs were not finite.
        calibration_error: Expected calibration error over 15 equal bins of the
            largest probability, from 0 to 1 (Guo et al., 2017).
    """

    confusion: np.ndarray
    loss: float
    calibration_error: float

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
    def per_class(self) -> list[float]:
        """Error of each true class, in %; nan where a class has no image."""
        totals = self.confusion.sum(axis=1)
        with np.errstate(invalid="ignore"):
            return (100 * (1 - np.diag(self.confusion) / totals)).tolist()


def evaluate(
    model: "keras.Model", inputs: np.ndarray, labels: np.ndarray, batch_size: int = 250
) -> Evaluation:
    """Run a classifier over preprocessed images.

    Args:
        model: Gives logits or probabilities `(n, classes)`.
        inputs: What the model takes, `(n, height, width, channels)`, preprocessed.
        labels: Integer labels `(n,)`.
        batch_size: Images a step; bounds the memory.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: If labels and inputs, or labels and classes, do not fit, or the
            model has several outputs.
    """
    if len(inputs) != len(labels) or not len(labels):
        raise ValueError(
            "One label for each image is needed, and one image at least. "
            f"Received: {len(inputs)} images, {len(labels)} labels"
        )
    from allconv.data.batches import in_order

    batches = in_order(inputs, batch_size=batch_size)
    outputs = model.predict(batches, verbose=0)
    if not isinstance(outputs, np.ndarray):
        raise ValueError(
            "The model should have one output, class scores. "
            f"Received: {model.name} with {len(outputs)} outputs"
        )
    return score(outputs, labels)


def score(outputs: np.ndarray, labels: np.ndarray) -> Evaluation:
    """An `Evaluation` from logits or probabilities `(n, classes)` and labels `(n,)`.

    Outputs that are not negative and add up to 1, to 0.01 at most as half precision has
    it, are probabilities.

    Raises:
        ValueError: If the outputs are of another shape, or the labels no such integers.
    """
    outputs, labels = np.asarray(outputs), np.asarray(labels)
    if outputs.ndim != 2 or not outputs.size:
        raise ValueError(
            "Outputs should have shape (n, classes), of one image at least. "
            f"Received: {outputs.shape}"
        )
    classes = outputs.shape[1]
    if labels.shape != outputs.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"Labels should be {len(outputs)} integers, one for each image. "
            f"Received: {labels.dtype}, {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"Labels should be from 0 to {classes - 1}, since the model has {classes} "
            f"classes. Received: labels from {labels.min()} to {labels.max()}"
        )
    probabilities = _probabilities(outputs.astype(np.float64))
    predicted = outputs.argmax(axis=1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    chosen = probabilities[np.arange(len(labels)), labels]
    loss = float(-np.log(np.maximum(chosen, 1e-12)).mean())
    right = predicted == labels
    return Evaluation(confusion, loss, _calibration_error(probabilities, right))


def _probabilities(outputs: np.ndarray) -> np.ndarray:
    are_probabilities = (outputs >= 0).all() and np.allclose(
        outputs.sum(axis=1), 1, rtol=0, atol=1e-2
    )
    if are_probabilities:
        return outputs
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _calibration_error(probabilities: np.ndarray, right: np.ndarray) -> float:
    confidence = probabilities.max(axis=1)
    bins = np.minimum((np.nan_to_num(confidence) * 15).astype(int), 14)
    gaps = [
        abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean()
        for b in np.unique(bins)
    ]
    return float(sum(gaps))
