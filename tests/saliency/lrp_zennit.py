"""Relevance by another library, PyTorch's zennit, of three small networks.

    pip install torch==2.13.0 zennit==0.5.1
    python -m tests.saliency.lrp_zennit  # writes lrp_zennit.json, which the tests read

Weights and the image are a formula, so that both libraries have the same ones without
any file. This module needs nothing but NumPy until it is run.
"""

import json
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("lrp_zennit.json")
IMAGE = (6, 6, 2)
LOW, HIGH = -2.0, 2.0

# Kernels in Keras' order (height, width, channels, filters); a bias for each.
KERNELS = {
    "chain": [(3, 3, 2, 5), (3, 3, 5, 6), (24, 4)],
    "residual": [(3, 3, 2, 4), (3, 3, 4, 4), (3, 3, 4, 4), (4, 3)],
    "branches": [(3, 3, 2, 4), (1, 1, 4, 4), (3, 3, 4, 1), (3, 3, 4, 6)],
}


def numbers(shape, seed: int) -> np.ndarray:
    """Numbers between -1 and 1 that follow no pattern; the same everywhere."""
    i = np.arange(np.prod(shape), dtype=np.float64) + 1
    return (np.sin(i * i * 12.9898 + seed * 78.233)).reshape(shape)


def weights(name: str) -> list[np.ndarray]:
    """Kernel, bias, kernel, bias, ..., scaled for activations of about 1."""
    arrays = []
    for seed, shape in enumerate(KERNELS[name]):
        arrays.append(numbers(shape, seed) * 1.5 / np.sqrt(np.prod(shape[:-1])))
        filters = shape[2] if shape[-1] == 1 else shape[-1]  # one each: depthwise
        arrays.append(numbers((filters,), 100 + seed) * 0.1)
    return arrays


def normalisation() -> list[np.ndarray]:
    """Gamma, beta, mean and variance of the normalisation in `chain`."""
    gamma, beta, mean, variance = (numbers((6,), 200 + i) for i in range(4))
    return [1 + 0.3 * gamma, 0.1 * beta, 0.2 * mean, 1 + 0.5 * variance]


def image() -> np.ndarray:
    return numbers(IMAGE, 300)[None] * 2


def main() -> None:
    import torch
    from torch import nn
    from zennit import composites
    from zennit.attribution import Gradient
    from zennit.canonizers import SequentialMergeBatchNorm
    from zennit.layer import Sum
    from zennit.rules import Epsilon

    def conv(kernel, bias, groups=1, **options):
        depthwise = kernel.shape[-1] == 1 and groups > 1
        order = (2, 3, 0, 1) if depthwise else (3, 2, 0, 1)
        kernel = kernel.transpose(order)
        out, per_group, *size = kernel.shape
        layer = nn.Conv2d(
            per_group * groups, out, tuple(size), groups=groups, **options
        )
        layer.weight.data, layer.bias.data = map(
            torch.from_numpy, (kernel.copy(), bias)
        )
        return layer

    def dense(kernel, bias):
        layer = nn.Linear(*kernel.shape)
        layer.weight.data = torch.from_numpy(kernel.T.copy())
        layer.bias.data = torch.from_numpy(bias)
        return layer

    class Residual(nn.Module):
        def __init__(self, w):
            super().__init__()
            pairs = [w[i : i + 2] for i in range(0, len(w), 2)]
            self.first, self.one, self.two = (conv(*p, padding=1) for p in pairs[:3])
            self.relus = nn.ModuleList([nn.ReLU() for _ in range(3)])
            self.sum, self.pool = Sum(), nn.AvgPool2d(2)
            self.mean, self.top = nn.AdaptiveAvgPool2d(1), dense(*pairs[3])

        def forward(self, x):
            x = self.relus[0](self.first(x))
            y = self.two(self.relus[1](self.one(x)))
            x = self.pool(self.relus[2](self.sum(torch.stack([x, y], dim=-1))))
            return self.top(self.mean(x).flatten(1))

    class Branches(nn.Module):
        def __init__(self, w):
            super().__init__()
            self.first = conv(w[0], w[1], stride=2, padding=1)
            self.point = conv(w[2], w[3])
            self.depth = conv(w[4], w[5], groups=4, padding=1)
            self.top = conv(w[6], w[7], groups=2, padding=1)
            self.relus = nn.ModuleList([nn.ReLU() for _ in range(2)])
            self.mean = nn.AdaptiveAvgPool2d(1)

        def forward(self, x):
            x = self.relus[0](self.first(x))
            x = self.relus[1](torch.cat([self.point(x), self.depth(x)], dim=1))
            return self.mean(self.top(x)).flatten(1)

    def chain(w):
        # zennit 0.5.1 leaves epsilon in the normalisation that it has merged, so that
        # its output is a little smaller: here, epsilon is in the variance beforehand.
        norm = nn.BatchNorm2d(6, eps=0)
        gamma, beta, mean, variance = map(torch.from_numpy, normalisation())
        norm.weight.data, norm.bias.data = gamma, beta
        norm.running_mean, norm.running_var = mean, variance + 1e-3
        # Keras flattens (2, 2, 6) with the channels last.
        kernel = w[4].reshape(2, 2, 6, 4).transpose(2, 0, 1, 3).reshape(24, 4)
        return nn.Sequential(
            *(conv(w[0], w[1], padding=1), nn.ReLU(), nn.MaxPool2d(3, 1)),
            *(conv(w[2], w[3]), norm, nn.ReLU(), nn.Flatten(), dense(kernel, w[5])),
        )

    builders = {"chain": chain, "residual": Residual, "branches": Branches}
    merge = {"canonizers": [SequentialMergeBatchNorm()]}
    base = composites.layer_map_base()
    linear = (composites.Convolution, nn.Linear)
    rules = {
        "epsilon": lambda: composites.LayerMapComposite(
            [*base, (linear, Epsilon())], **merge
        ),
        "epsilon_plus": lambda: composites.EpsilonPlus(**merge),
        "epsilon_alpha2_beta1": lambda: composites.EpsilonAlpha2Beta1(**merge),
        "epsilon_gamma_box": lambda: composites.EpsilonGammaBox(LOW, HIGH, **merge),
    }
    found = {}
    x = torch.from_numpy(image().transpose(0, 3, 1, 2).copy())
    for name, build in builders.items():
        model = build(weights(name)).double().eval()
        scores = model(x).detach()
        found[name] = {"scores": scores[0].tolist()}
        chosen = nn.functional.one_hot(scores.argmax(1), scores.shape[1]) * scores
        for rule, composite in rules.items():
            with Gradient(model, composite()) as attributor:
                _, maps = attributor(x.clone(), chosen)
            relevance = maps.numpy().transpose(0, 2, 3, 1)
            found[name][rule] = [float(f"{v:.7g}") for v in relevance.ravel()]
            print(name, rule, float(chosen.sum()), relevance.sum())
    FILE.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
