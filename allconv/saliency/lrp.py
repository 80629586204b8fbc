"""Layer-wise relevance propagation: a class score shared out among the pixels.

The score of a class is its relevance. Layer by layer, from the score down, each unit's
relevance R is shared out among its inputs in the ratio of what they contributed to it
(Bach et al. 2015, section 2.3). Contributions are input times weight, and a rule says
which of them count:

    Epsilon      all of them, over their sum z, which is kept away from 0
    AlphaBeta    alpha times among the positive ones, -beta times among the negative;
                 (1, 0) is z+, deep Taylor's rule (Montavon et al. 2017)
    Gamma        with the weights that agree with the unit's sign made larger
    Box          in a first layer: contributions counted from the range of the pixels

A `Composite` says which rule is for which layer (Montavon et al. 2019, section 10.3).
Rules and composites are in `lrp_rules`; they are those of zennit 0.5.1.

    found = propagate(model, images)              # EpsilonPlus, of the predicted class
    found.maps.sum((1, 2, 3)) + sum(found.absorbed.values())      # equals found.score
    found.absorbed_share                    # what no pixel got: biases take their part

Without biases the maps add up to the score. With biases they do not: a bias is an input
too, and its share of the relevance ends there. This can be more than all of the score.
"""

from typing import Annotated, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from allconv.core.annotations import LATER
from allconv.core.arguments import Whole, checked
from allconv.core.checks import check_choice
from allconv.saliency.inputs import Inputs
from allconv.saliency.lrp_pass import Propagation
from allconv.saliency.lrp_rules import COMPOSITES, Composite
from allconv.saliency.neurons import Channels, channels_of
from allconv.saliency.soundness import check_channels_last, check_finite


class Relevance(NamedTuple):
    """A class score shared out.

    `maps`: float32 `(n, height, width, channels)`, signed. `target`, `score`: the class
    of each image and its score, before a softmax or sigmoid, `(n,)`. `absorbed`: by
    layer, the relevance that came in and did not go on to its inputs, float64 `(n,)`:
    what its bias took, and next to nothing that the stabilising epsilon did.
    """

    maps: np.ndarray
    target: np.ndarray
    score: np.ndarray
    absorbed: dict[str, np.ndarray]

    @property
    def absorbed_share(self) -> np.ndarray:
        """What no pixel got, over the score, `(n,)`; NaN where the score is 0."""
        lost = np.sum(list(self.absorbed.values()), axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return lost / self.score.astype(np.float64)


@checked
def propagate(
    model: keras.Model,
    images: Annotated[np.ndarray, LATER],
    composite: str | Composite = "epsilon_plus",
    *,
    target: Channels = None,
    batch_size: Whole = 64,
) -> Relevance:
    """Share out a class score of each image among its pixels.

    Args:
        model: Sequential or functional `keras.Model` with one input and one output
            `(n, classes)`, of convolutions, dense layers, rectifiers, pooling, batch
            normalisation (folded into the convolution before it, where there is one),
            sums, concatenations, and layers that move or drop values.
        images: float32 array `(n, height, width, channels)`, preprocessed as the model
            expects.
        composite: One of `COMPOSITES`, or a `Composite`.
        target: The class, one for all or one per image; None: the predicted one. Of a
            single output class 1 is the output itself, which None stands for, and class
            0 has it with the other sign.
        batch_size: Number of images explained at a time.

    Returns:
        A `Relevance`.

    Raises:
        ValueError: If an argument is none of these, or the model has a layer for which
            there is no rule.
    """
    if not isinstance(composite, Composite):
        check_choice("composite", composite, COMPOSITES)
        composite = COMPOSITES[composite]
    if len(getattr(model, "inputs", None) or ()) != 1 or len(model.outputs) != 1:
        raise ValueError(
            "`model` should be a built Sequential or functional model with one input "
            f"and one output. Received: {getattr(model, 'name', model)!r}"
        )
    if len(model.outputs[0].shape) != 2 or model.outputs[0].shape[1] is None:
        raise ValueError(
            "The model's output should be class scores (n, classes). Received: "
            f"{model.name} with output shape {model.outputs[0].shape}"
        )
    images, single = _check_images(model, images), model.outputs[0].shape[1] == 1
    check_channels_last(model)
    check_finite(model, Inputs(model).join(tf.constant(images[:1]), []))
    if single and target is None:
        target = 1
    count = max(2, model.outputs[0].shape[1])
    classes = channels_of("target", target, len(images), count)
    columns = np.zeros_like(classes) if single else classes
    propagation = Propagation(model, composite)
    results = []
    for start in range(0, len(images), batch_size):
        batch = slice(start, start + batch_size)
        results.append(propagation(tf.constant(images[batch]), columns[batch]))
    parts, absorbed = (
        zip(*(r[:3] for r in results), strict=True),
        [r[3] for r in results],
    )
    maps, explained, scores = (np.concatenate(part) for part in parts)
    taken = {k: np.concatenate([part[k] for part in absorbed]) for k in absorbed[0]}
    if single:  # every rule is linear in the relevance that comes in
        sign = np.where(classes == 1, 1, -1).astype(np.float32)
        maps, scores, explained = (
            maps * sign[:, None, None, None],
            scores * sign,
            classes,
        )
        taken = {layer: share * sign for layer, share in taken.items()}
    return Relevance(maps, explained, scores, taken)


def _check_images(model: keras.Model, images: np.ndarray) -> np.ndarray:
    images, own = np.asarray(images), tuple(model.inputs[0].shape)
    fits = images.ndim == len(own) and all(
        n in (None, m) for n, m in zip(own, images.shape, strict=True)
    )
    if not fits or not len(images) or not np.issubdtype(images.dtype, np.floating):
        raise ValueError(
            f"`images` should be floating point, of shape {own}, preprocessed as for "
            f"the model. Received: {images.dtype}, {images.shape}"
        )
    if not np.isfinite(images).all():
        raise ValueError("`images` should be finite. Received: a NaN or an infinity")
    return images.astype(np.float32)
