"""Do maps depend on what the network learned?

The tests of Adebayo et al., 'Sanity Checks for Saliency Maps' (2018), section 3. The
weights are replaced, layer by layer from the top, by fresh draws of each layer's own
initialisers, and the maps of the broken network are compared with those of the trained
one. Maps that stay alike do not show what was learned; those of guided backprop change
little while only higher layers are randomised (the authors' erratum: not 'invariant').

    def maps(model):
        return explain(model, images, "guided", target=labels)

    result = randomisation_test(model, maps)
    result.scores["rank"].mean(axis=(0, 2))            # one number per layer, top first

Maps come from a function of the model, so that the rule is at work on every network.
"""

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import keras
import numpy as np
from tqdm import tqdm

from allconv.core.arguments import checked
from allconv.core.runtime import unseeded
from allconv.saliency.similarity import compare

Order = Literal["cascading", "independent"]


class Randomisation(NamedTuple):
    """Maps of a network while its layers are randomised.

    `layers`: paths, the top layer first: the steps. `trained`: maps of the trained
    network, `(n, height, width, channels)`. `maps`: those after each step, with the
    first seed, `(steps, n, height, width, channels)`. `scores`: by name, as for
    `similarity.compare`, `(seeds, steps, n)`.
    """

    layers: tuple[str, ...]
    trained: np.ndarray
    maps: np.ndarray
    scores: dict[str, np.ndarray]


@checked
def randomisation_test(
    model: keras.Model,
    maps: Callable[[keras.Model], np.ndarray],
    *,
    order: Order = "cascading",
    seeds: Sequence[int] = (0, 1, 2),
    progress: bool = True,
) -> Randomisation:
    """Compare the maps of a trained network with those of randomised copies.

    Args:
        model: Functional or Sequential `keras.Model`; it is not changed.
        maps: Function of a model that returns its maps, an array
            `(n, height, width, channels)`, of the same images and neurons each time.
        order: `"cascading"`: step k randomises the k top layers; `"independent"`: the
            k-th layer from the top alone.
        seeds: One repetition per seed.
        progress: Whether to show a progress bar.

    Returns:
        A `Randomisation`.

    Raises:
        ValueError: If `order` is unknown, there is no seed, the model cannot be copied,
            has no weights or has some outside of its layers, or maps are not finite or
            change their shape.
    """
    if not len(seeds):
        raise ValueError("`seeds` should hold at least one. Received: none")
    layers = tuple(path for path, _ in reversed(weighted_layers(model)))
    if not layers:
        raise ValueError(f"{model.name} has no weights that could be randomised.")
    trained = _checked(maps(model))
    first: list[np.ndarray] = []
    scores: list[list[dict[str, np.ndarray]]] = []
    with tqdm(total=len(seeds) * len(layers), unit="step", disable=not progress) as bar:
        for seed in seeds:
            steps = []
            for _, broken in randomisations(model, order=order, seed=seed):
                steps.append(_checked(maps(broken), trained.shape))
                bar.update()
            first = first or steps
            scores.append([compare(trained, step) for step in steps])
    return Randomisation(
        layers,
        trained,
        np.stack(first),
        {
            name: np.array([[step[name] for step in steps] for steps in scores])
            for name in scores[0][0]
        },
    )


def weighted_layers(model: keras.Model) -> list[tuple[str, keras.Layer]]:
    """Layers that hold weights, from input to output, those of nested models included.

    Returns:
        Pairs of a path (`"conv1"`, `"block/conv1"`) and a layer.

    Raises:
        ValueError: If a model has weights that are in none of its layers.
    """
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            inner = weighted_layers(layer)
            found += [(f"{layer.name}/{path}", deep) for path, deep in inner]
        elif layer.weights:
            found.append((layer.name, layer))
    held = {id(weight) for _, layer in found for weight in layer.weights}
    missed = [weight.path for weight in model.weights if id(weight) not in held]
    if missed:
        raise ValueError(
            f"{model.name} has weights that belong to none of its layers: "
            f"{', '.join(missed)}. Put them into a layer."
        )
    return found


@checked
def randomisations(
    model: keras.Model, *, order: Order = "cascading", seed: int = 0
) -> Iterator[tuple[str, keras.Model]]:
    """Randomise a copy of a model step by step, from the top layer down.

    What a layer draws depends on `seed` and its path alone.

    Args:
        model: Functional or Sequential `keras.Model`; it is not changed.
        order: As for `randomisation_test`.
        seed: Any int.

    Yields:
        The path of the layer that was just randomised, and the copy. It is the same
        copy each time, so that a function traced on it serves all steps: use it before
        the next step.

    Raises:
        ValueError: As for `randomisation_test`.
    """
    twin = _copy(model)
    for path, layer in reversed(weighted_layers(twin)):
        learned = layer.get_weights()
        _set(layer, fresh_weights(layer, f"{seed}/{path}"))
        yield path, twin
        if order == "independent":
            _set(layer, learned)


@checked
def randomise(model: keras.Model, layers: Sequence[str], seed: int = 0) -> keras.Model:
    """Copy a model with fresh weights in some layers and its own in all others.

    Args:
        model: Functional or Sequential `keras.Model`; it is not changed.
        layers: Paths, as in `weighted_layers`.
        seed: Any int.

    Returns:
        The copy, not compiled.

    Raises:
        ValueError: If a path is unknown or the model cannot be copied.
    """
    twin = _copy(model)
    found = dict(weighted_layers(twin))
    for path in layers:
        if path not in found:
            raise ValueError(
                f"No layer with weights is called {path!r}. Layers: {', '.join(found)}"
            )
        _set(found[path], fresh_weights(found[path], f"{seed}/{path}"))
    return twin


def _copy(model: keras.Model) -> keras.Model:
    """A copy of a model with its own variables, of the same values; not compiled."""
    if not getattr(model, "inputs", None):
        raise ValueError(
            "Only a Functional or a built Sequential model can be copied. "
            f"Received: {type(model).__name__} {model.name!r}"
        )
    ends = [x[0] if len(x) == 1 else x for x in (model.inputs, model.outputs)]
    # A clone of the model itself would be compiled too, custom losses and all.
    with _draws_from(0):
        twin = keras.models.clone_model(keras.Model(*ends, name=model.name))
    if len(twin.weights) != len(model.weights):
        raise ValueError(
            f"{model.name} has a layer in two of the models inside it, and cannot be "
            "copied. Build a model without that."
        )
    _set(twin, model.get_weights())
    return twin


def _set(layer: keras.Layer, weights: list[np.ndarray]) -> None:
    """Set a layer's or model's weights, and what `Normalization` derives of its own."""
    layer.set_weights(weights)
    for part in layer._flatten_layers():
        if hasattr(part, "finalize_state"):
            part.finalize_state()


def fresh_weights(layer: keras.Layer, seed: int | str) -> list[np.ndarray]:
    """New weights for a layer, drawn by its own initialisers.

    Kernels, biases, scales and running statistics alike. The layer is built anew from
    its configuration, initialisers with a fixed seed being given a new one.

    Args:
        layer: A built layer; it is not changed.
        seed: Seed of all draws.

    Returns:
        Arrays in the order of `layer.weights`.

    Raises:
        ValueError: If the layer's configuration does not rebuild it.
    """
    with _draws_from(seed):
        fresh = type(layer).from_config(unseeded(layer.get_config()))
        fresh.build_from_config(layer.get_build_config())
    weights = fresh.get_weights()
    if [w.shape for w in weights] != [w.shape for w in layer.get_weights()]:
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}) is not rebuilt by its "
            "configuration; its class needs `get_config` and `get_build_config`."
        )
    return weights


@contextlib.contextmanager
def _draws_from(seed: int | str) -> Iterator[None]:
    """Seed Python's generator, where Keras' initialisers find theirs; put it back."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _checked(maps: np.ndarray, shape: tuple[int, ...] | None = None) -> np.ndarray:
    maps = np.asarray(maps)
    if maps.ndim != 4 or shape not in (None, maps.shape):
        raise ValueError(
            f"`maps` should return an array {shape or '(n, height, width, channels)'}. "
            f"Received: an array of shape {maps.shape}"
        )
    if not np.all(np.isfinite(maps)):
        raise ValueError("`maps` returned values that are not finite.")
    return maps
