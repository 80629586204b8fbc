"""What guided backprop costs, beside the plain gradient and other libraries.

Claim: guided backprop of CIFAR-sized images through All-CNN-C runs at no less than 0.95
of the speed of a compiled input gradient, in at most 1.2 times its memory, and traces
once, whatever the number of calls and classes and the size of the last batch.

    python -m experiments.benchmarks.saliency                about 5 minutes on 2 cores
    python -m experiments.benchmarks.saliency --images 64 --rounds 2       1 minute
    python -m experiments.benchmarks.saliency --network resnet50 --images 16

The methods take turns in each round, so that a machine that slows down slows down all
of them; the ratios are medians over rounds. Memory is the growth of a fresh process's
peak over its size before the first explanation. Other libraries (tf-keras-vis, Xplique,
captum) are measured where they are installed: none of them is needed by this project.
All maps are of the same classes. 'agrees' is the correlation with an eager tape through
the network with each rectifier swapped, on two images; the plain gradient is another
map, and does not. Speed on two idle cores with AVX-512 (TensorFlow 2.21, Keras 3.15;
All-CNN-C, batches of 64, 5 rounds; ResNet50, 8 images, 3 rounds): ours 0.99 and 1.08 of
the gradient, Xplique 2.0.2 0.95 and 1.05, tf-keras-vis 0.8.7 0.51 and 0.51, captum
0.9.0 0.80. So ours costs half of tf-keras-vis, and 4 % less than Xplique: both are near
the gradient itself, below which none can go. Memory: ours 0.95 and 0.92 of the
gradient's, Xplique 1.10 and 0.94, tf-keras-vis 2.26 and 3.69, captum 2.41.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from experiments.benchmarks import peak_memory


class Subject(NamedTuple):
    """A network: side of its images, number of classes, images in a batch."""

    name: str
    size: int
    classes: int
    batch: int

    def inputs(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Random images and classes: the cost does not depend on what they show."""
        rng = np.random.default_rng(0)
        images = rng.normal(size=(n, self.size, self.size, 3)).astype(np.float32)
        return images, rng.integers(self.classes, size=n)

    def network(self, head: str | None):
        import keras

        from allconv.networks import all_cnn

        keras.utils.set_random_seed(0)
        if self.name == "resnet50":
            return keras.applications.ResNet50(weights=None, classifier_activation=head)
        return all_cnn.build(self.name, classifier_activation=head)

    def batches(self, n: int) -> list[slice]:
        return [slice(start, start + self.batch) for start in range(0, n, self.batch)]


SUBJECTS = {
    "all_cnn_c": Subject("all_cnn_c", 32, 10, 64),
    "resnet50": Subject("resnet50", 224, 1000, 8),
}


def gradient(subject: Subject) -> Callable:
    """The plain gradient of the logit, compiled: what no rule can be faster than."""
    import tensorflow as tf

    model = subject.network(None)

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, subject.size, subject.size, 3), tf.float32),
            tf.TensorSpec((None,), tf.int64),
        ]
    )
    def differentiate(images, classes):
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = model(images, training=False)
            score = tf.reduce_sum(tf.gather(logits, classes, batch_dims=1))
        return tape.gradient(score, images)

    def run(images, classes):
        parts = [
            differentiate(images[b], classes[b]) for b in subject.batches(len(images))
        ]
        return np.concatenate([part.numpy() for part in parts])

    return run


def ours(subject: Subject) -> Callable:
    from allconv.saliency.explainer import Explainer

    explainer = Explainer(
        subject.network("softmax"), "guided", batch_size=subject.batch
    )
    return lambda images, classes: explainer(images, target=classes)


def tf_keras_vis(subject: Subject) -> Callable:
    from tf_keras_vis.saliency import Saliency
    from tf_keras_vis.utils.model_modifiers import (
        GuidedBackpropagation,
        ReplaceToLinear,
    )
    from tf_keras_vis.utils.scores import CategoricalScore

    saliency = Saliency(
        subject.network("softmax"),
        model_modifier=[ReplaceToLinear(), GuidedBackpropagation()],
    )

    def run(images, classes):
        return np.concatenate(
            [
                saliency(
                    CategoricalScore(classes[b].tolist()),
                    images[b],
                    keepdims=True,
                    gradient_modifier=None,
                    normalize_map=False,
                )
                for b in subject.batches(len(images))
            ]
        )

    return run


def xplique(subject: Subject) -> Callable:
    from xplique.attributions import GuidedBackprop

    explainer = GuidedBackprop(
        subject.network(None), batch_size=subject.batch, reducer=None
    )
    one_hot = np.eye(subject.classes, dtype=np.float32)
    return lambda images, classes: np.asarray(
        explainer.explain(images, one_hot[classes])
    )


def captum(subject: Subject) -> Callable:
    import torch
    from captum.attr import GuidedBackprop

    if subject.name != "all_cnn_c":
        raise ImportError("only All-CNN-C is carried over to PyTorch")
    model = subject.network("softmax")
    modules: list = []
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            size, stride = layer.kernel_size[0], layer.strides[0]
            padding = 0 if layer.name == "conv7" else size // 2
            filters, channels = layer.kernel.shape[3], layer.kernel.shape[2]
            conv = torch.nn.Conv2d(channels, filters, size, stride, padding)
            kernel = layer.kernel.numpy().transpose(3, 2, 0, 1).copy()
            conv.weight.data = torch.from_numpy(kernel)
            conv.bias.data = torch.from_numpy(layer.bias.numpy().copy())
            modules += [conv, torch.nn.ReLU()]
    modules += [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    guided = GuidedBackprop(torch.nn.Sequential(*modules).eval())

    def run(images, classes):
        pixels = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        parts = [
            guided.attribute(
                pixels[b].requires_grad_(), target=torch.from_numpy(classes[b])
            )
            for b in subject.batches(len(images))
        ]
        return torch.cat(parts).detach().numpy().transpose(0, 2, 3, 1)

    return run


METHODS = {
    "gradient": gradient,
    "allconv": ours,
    "tf-keras-vis": tf_keras_vis,
    "xplique": xplique,
    "captum": captum,
}


def traces(subject: Subject) -> int:
    """How often a network is run in Python by calls of many classes and sizes."""
    from allconv.saliency.explainer import Explainer

    model = subject.network("softmax")
    count, call = 0, model.call

    def counted(*args, **kwargs):
        nonlocal count
        count += 1
        return call(*args, **kwargs)

    vars(model)["call"] = counted
    explainer = Explainer(model, "guided", batch_size=4)
    for n in (1, 3, 4, 5, 9):
        images, classes = subject.inputs(n)
        explainer(images, target=classes)
        explainer(images)
    return count


def memory(name: str, subject: Subject, n: int) -> float | None:
    """Growth of this process's peak memory by one explanation, in MiB."""
    try:
        run = METHODS[name](subject)
    except ImportError:
        return None
    images, classes = subject.inputs(n)
    before = peak_memory()
    run(images, classes)
    return peak_memory() - before


def memory_of(name: str, subject: Subject, n: int) -> float | None:
    """The same, in a process of its own.

    A new process starts with the peak of its parent, which is why this comes first.
    """
    command = [sys.executable, "-m", "experiments.benchmarks.saliency"]
    done = subprocess.run(
        [*command, "--memory-of", name, "--images", str(n), "--network", subject.name],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def by_swapping(subject: Subject, images: np.ndarray, classes: np.ndarray):
    """Guided backprop by an eager tape: each layer's rectifier is another function."""
    import keras
    import tensorflow as tf

    @tf.custom_gradient
    def guided(x):
        return tf.nn.relu(x), lambda up: tf.nn.relu(up) * tf.cast(x > 0, x.dtype)

    model = subject.network(None)
    for layer in model.layers:
        if getattr(layer, "activation", None) is keras.activations.relu:
            layer.activation = guided
    x = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(x)
        score = tf.gather(model(x, training=False), classes, batch_dims=1)
    return tape.gradient(score, x).numpy()


def measure(subject: Subject, n: int, rounds: int, whole: bool) -> list[dict]:
    """One row per method that is installed."""
    grown = {name: whole and memory_of(name, subject, n) for name in METHODS}

    images, classes = subject.inputs(n)
    few, their = images[:2], classes[:2]
    expected = by_swapping(subject, few, their)
    runs, rows = {}, {}
    for name, prepare in METHODS.items():
        try:
            run = prepare(subject)
        except ImportError as error:
            print(f"{name}: skipped, {error}", flush=True)
            continue
        maps = run(few, their)  # and everything that happens only once
        run(images[: subject.batch], classes[: subject.batch])
        runs[name] = run
        rows[name] = {
            "method": name,
            "agrees": float(np.corrcoef(np.ravel(maps), np.ravel(expected))[0, 1]),
        }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in list(runs)[:: (1, -1)[number % 2]]:  # there and back
            start = time.perf_counter()
            runs[name](images, classes)
            seconds[name].append(time.perf_counter() - start)
    plain = np.array(seconds["gradient"])
    for name, row in rows.items():
        row["images/s"] = n / float(np.median(seconds[name]))
        row["speed"] = float(np.median(plain / seconds[name]))
        mebibytes = grown[name] or np.nan
        row["MiB"] = mebibytes
        row["memory"] = mebibytes / (grown["gradient"] or np.nan)
    return list(rows.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=SUBJECTS, default="all_cnn_c")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--speed", action="store_true", help="leave memory out")
    parser.add_argument("--memory-of", choices=METHODS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    subject = SUBJECTS[arguments.network]
    if arguments.memory_of:
        print(json.dumps(memory(arguments.memory_of, subject, arguments.images)))
        return
    rows = measure(
        subject, arguments.images, arguments.rounds, whole=not arguments.speed
    )
    print(
        f"{subject.name}, {arguments.images} images, batches of {subject.batch}, "
        f"{arguments.rounds} rounds"
    )
    print(f"{'':14}{'images/s':>10}{'speed':>8}{'MiB':>8}{'memory':>8}{'agrees':>9}")
    for row in rows:
        print(
            f"{row['method']:14}{row['images/s']:10.1f}{row['speed']:8.2f}"
            f"{row['MiB']:8.0f}{row['memory']:8.2f}{row['agrees']:9.5f}"
        )
    print(f"runs of the model's Python code in 10 calls, 5 sizes: {traces(subject)}")
    print("  one is the trace, one the look at every layer for what is not finite")


if __name__ == "__main__":
    main()
