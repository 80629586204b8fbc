"""What other libraries do with the same rectifiers: the rule, a refusal, or neither.

Question: seven networks of two rectifiers compute the same kind of thing and differ in
how the rectifiers are written. Which libraries' guided backprop is guided backprop?
The right map is computed here from matrices, in float64, by no library at all.

    python -m experiments.peers                                           # ours alone
    python -m experiments.peers --python PATH --python PATH   # each with some libraries

Each interpreter runs those libraries that it can import; a library that none has is
'not run'. With all of them, the table is written.

Each explanation is made twice, and the model's scores are read before and after: a
library that leaves its own rectifiers in the model, or adds to what it said before,
shows.
"""

import argparse
import functools
import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np

KINDS = {
    "fused": 'in the convolution, `activation="relu"`',
    "layer": "a layer",
    "nested": "a layer in a model within the model",
    "functional": "a function between layers",
    "capped": "ReLU6, some units above 6",
    "leaky": "a leaky layer, slope 0.2",
    "sloped": "the same slope as an argument of Keras' ReLU",
}
SIZE, CHANNELS, FILTERS, CLASSES, TARGET = 7, 2, (4, 5), 3, 1
SLOPE, CAP = 0.2, 6.0
HERE = Path(__file__).parent
TABLE = HERE / "tables" / "peers.md"


def image() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(1, SIZE, SIZE, CHANNELS))


def weights() -> list[np.ndarray]:
    """Two kernels 3 x 3 and a dense one, with biases, in Keras' order."""
    rng, found, depth = np.random.default_rng(0), [], CHANNELS
    for filters in FILTERS:
        # For some units of both layers to be above 6, some below 0, more in between.
        kernel = rng.normal(size=(3, 3, depth, filters)) * 3 / np.sqrt(9 * depth)
        found += [kernel, rng.normal(size=filters) + 1]
        depth = filters
    return [*found, rng.normal(size=(depth, CLASSES)), rng.normal(size=CLASSES)]


def matrix(kernel: np.ndarray, size: int) -> np.ndarray:
    """A 3 x 3 convolution, unpadded, as a matrix: by its definition, in a loop."""
    inner, (_, _, depth, filters) = size - 2, kernel.shape
    found = np.zeros((inner, inner, filters, size, size, depth))
    for y, x in np.ndindex(inner, inner):
        found[y, x, :, y : y + 3, x : x + 3] = np.moveaxis(kernel, 3, 0)
    return found.reshape(inner * inner * filters, -1)


def expected(kind: str, guided: bool) -> np.ndarray:
    """The map of the class `TARGET`: guided backprop, or the plain gradient."""
    low, high = (
        SLOPE if kind in ("leaky", "sloped") else 0,
        CAP if kind == "capped" else np.inf,
    )
    k1, b1, k2, b2, k3, _ = weights()
    layers, size, slopes = [], SIZE, []
    values: np.ndarray = image().reshape(-1)
    for kernel, bias in ((k1, b1), (k2, b2)):
        layers.append(matrix(kernel, size))
        size -= 2
        before = layers[-1] @ values + np.tile(bias, size * size)
        slopes.append(np.where(before > 0, np.where(before < high, 1, 0), low))
        values = np.where(before > 0, np.minimum(before, high), low * before)
    signal = np.tile(k3[:, TARGET], size * size) / (size * size)  # of the average
    for layer, slope in zip(reversed(layers), reversed(slopes), strict=True):
        passed = np.maximum(signal, 0) if guided else signal
        signal = (passed * slope) @ layer
    return signal.reshape(image().shape)


# --- the same network in Keras and in PyTorch -----------------------------------------


def keras_model(kind: str):
    import keras
    from keras import layers

    fused = "relu" if kind == "fused" else None
    rectify = {
        "layer": layers.ReLU,
        "nested": layers.ReLU,
        "capped": functools.partial(layers.ReLU, max_value=CAP),
        "leaky": functools.partial(layers.LeakyReLU, negative_slope=SLOPE),
        "sloped": functools.partial(layers.ReLU, negative_slope=SLOPE),
        "functional": lambda: keras.ops.relu,
        "fused": lambda: lambda x: x,
    }[kind]

    def features(x):
        for filters in FILTERS:
            x = rectify()(layers.Conv2D(filters, 3, activation=fused)(x))
        return x

    inputs = keras.Input((SIZE, SIZE, CHANNELS))
    if kind == "nested":
        inner = keras.Input((SIZE, SIZE, CHANNELS))
        x = keras.Model(inner, features(inner))(inputs)
    else:
        x = features(inputs)
    outputs = layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, outputs)
    model.set_weights(weights())
    return model


def torch_model(kind: str):
    import torch
    from torch import nn

    k1, b1, k2, b2, k3, b3 = weights()
    convolutions = []
    for kernel, bias in ((k1, b1), (k2, b2)):
        layer = nn.Conv2d(*kernel.shape[2:], 3)
        layer.weight.data = torch.tensor(kernel.transpose(3, 2, 0, 1))
        layer.bias.data = torch.tensor(bias)
        convolutions.append(layer)
    dense = nn.Linear(*k3.shape)
    dense.weight.data, dense.bias.data = torch.tensor(k3.T.copy()), torch.tensor(b3)
    first, second = convolutions
    rectify = {
        "layer": nn.ReLU,
        "nested": nn.ReLU,
        "capped": nn.ReLU6,
        "leaky": functools.partial(nn.LeakyReLU, SLOPE),
    }
    tail = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), dense]
    if kind == "functional":

        class Functional(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.second, self.tail = first, second, nn.Sequential(*tail)

            def forward(self, x):
                relu = nn.functional.relu
                return self.tail(relu(self.second(relu(self.first(x)))))

        return Functional().eval().float()
    body = [first, rectify[kind](), second, rectify[kind]()]
    if kind == "nested":
        body = [nn.Sequential(*body)]
    return nn.Sequential(*body, *tail).eval().float()


# --- the libraries: kind -> (explain, scores), both to be called again and again ------


def allconv(kind):
    from allconv.saliency.explainer import Explainer

    model, x = keras_model(kind), image().astype("float32")
    explainer = Explainer(model, "guided")
    return lambda: explainer(x, target=TARGET), lambda: model(x)


def tf_keras_vis(kind):
    from tf_keras_vis.saliency import Saliency
    from tf_keras_vis.utils.model_modifiers import GuidedBackpropagation
    from tf_keras_vis.utils.scores import CategoricalScore

    model, x = keras_model(kind), image().astype("float32")
    saliency = Saliency(model, model_modifier=GuidedBackpropagation(), clone=True)

    def explain():
        return saliency(
            *(CategoricalScore(TARGET), x),
            keepdims=True,
            gradient_modifier=None,
            normalize_map=False,
        )

    return explain, lambda: saliency.model(x)


def xplique(kind):
    from xplique.attributions import GuidedBackprop

    model, x = keras_model(kind), image().astype("float32")
    explainer = GuidedBackprop(model, reducer=None)
    one_hot = np.eye(CLASSES, dtype="float32")[[TARGET]]
    return lambda: explainer.explain(x, one_hot), lambda: explainer.model(x)


def _pixels():
    import torch

    return torch.tensor(image().transpose(0, 3, 1, 2), dtype=torch.float32)


def captum(kind):
    from captum.attr import GuidedBackprop

    model, x = torch_model(kind), _pixels()
    guided = GuidedBackprop(model)

    def explain():
        found = guided.attribute(x.requires_grad_(), target=TARGET)
        return found.detach().numpy().transpose(0, 2, 3, 1)

    return explain, lambda: model(x).detach()


def grad_cam(kind):
    from pytorch_grad_cam import GuidedBackpropReLUModel

    model, x = torch_model(kind), _pixels()
    guided = GuidedBackpropReLUModel(model=model, device="cpu")
    return lambda: guided(x, target_category=TARGET)[None], lambda: model(x).detach()


def zennit(kind):
    import torch
    from zennit.composites import GuidedBackprop

    model, x = torch_model(kind), _pixels()

    def explain():
        with GuidedBackprop().context(model) as modified:
            given = x.clone().requires_grad_()
            score = modified(given)[:, TARGET].sum()
            (found,) = torch.autograd.grad(score, given)
        return found.numpy().transpose(0, 2, 3, 1)

    return explain, lambda: model(x).detach()


LIBRARIES: dict[str, tuple[str, str, Callable]] = {
    # distribution -> the framework, the module that is imported, the runner
    "allconv": ("Keras", "allconv", allconv),
    "tf-keras-vis": ("Keras", "tf_keras_vis.saliency", tf_keras_vis),
    "xplique": ("Keras", "xplique.attributions", xplique),
    "captum": ("PyTorch", "captum.attr", captum),
    "grad-cam": ("PyTorch", "pytorch_grad_cam", grad_cam),
    "zennit": ("PyTorch", "zennit.composites", zennit),
}


def verdict(name: str, kind: str) -> str:
    """What a library does with a kind of rectifier, in words."""
    framework, _, prepare = LIBRARIES[name]
    if framework == "PyTorch" and kind in ("fused", "sloped"):
        return "–"  # PyTorch's convolutions have no activations, its ReLU no slope
    own = keras_model if framework == "Keras" else torch_model
    given = image() if framework == "Keras" else _pixels()
    at_first = own(kind)(given if framework != "Keras" else given.astype("float32"))
    at_first = np.asarray(at_first.detach() if framework != "Keras" else at_first)
    try:
        explain, scores = prepare(kind)
        first, second = (np.array(explain()) for _ in range(2))
        after = np.asarray(scores())
    except Exception as error:  # whatever a library says is its answer
        return f"refused ({type(error).__name__})"
    right, plain = expected(kind, guided=True), expected(kind, guided=False)
    if _same(first, right):
        said = "right"
    elif _same(first, plain):
        said = "**the plain gradient**"
    else:
        alike = np.corrcoef(np.ravel(first), np.ravel(right))[0, 1]
        said = f"**neither** (r = {alike:.2f})"
    if not _same(after, at_first):
        said += ", changes the scores"
    if not _same(second, first):
        ratio = np.sum(second * first) / np.sum(first**2)
        said += f"; {ratio:.3g} times that when called again"
    return said


def _same(found: np.ndarray, wanted: np.ndarray) -> bool:
    return found.shape == wanted.shape and bool(
        np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()
    )


def answers() -> dict[str, dict]:
    """What the libraries of this interpreter do: `{name: {version, kind: verdict}}`."""
    found: dict[str, dict] = {}
    for name, (_, module, _) in LIBRARIES.items():
        try:
            importlib.import_module(module)
        except ImportError:
            continue
        version = "" if name == "allconv" else metadata.version(name)
        found[name] = {"version": version} | {k: verdict(name, k) for k in KINDS}
    return found


def asked(interpreter: str) -> dict[str, dict]:
    """The same of another interpreter."""
    # Not as a script: its folder would come first among those that modules lie in.
    code = f"import runpy; runpy.run_path({__file__!r}, run_name='__main__')"
    done = subprocess.run(
        [interpreter, "-W", "ignore", "-c", code, "--answers"],
        cwd=HERE.parent,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def table(found: dict[str, dict]) -> str:
    lines = [["", *KINDS], ["---"] * (1 + len(KINDS))]
    for name in LIBRARIES:
        row = found.get(name, {})
        title = f"{name} {row.get('version', '')}".strip()
        lines.append([title, *(row.get(kind, "not run") for kind in KINDS)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def kept(_) -> str:
    """The table as it was written, for `experiments.documents`."""
    return TABLE.read_text(encoding="utf-8").rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", action="append", default=[], metavar="PATH")
    parser.add_argument("--answers", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answers:
        print(json.dumps(answers()))
        return
    found: dict[str, dict] = {}
    for interpreter in (*arguments.python, sys.executable):
        found |= asked(interpreter)
    made = table(found)
    print(made)
    if set(found) == set(LIBRARIES):
        from experiments import written  # which the other interpreters need not have

        written.write_text(TABLE, made)
        print(TABLE)


if __name__ == "__main__":
    main()
