"""Figures 2, 4, 5 and 7 of Zeiler & Fergus (2014) for a network at CIFAR size."""

from pathlib import Path

import numpy as np

from allconv.data import datasets
from allconv.figures import probes
from allconv.probes import occlusion, patches
from allconv.probes.evolution import follow
from allconv.probes.invariance import measure
from allconv.saliency.explainer import Explainer, deconvnet
from experiments.zfnet.subject import Looked, NotRunError, Subject


def strongest(subject: Looked) -> list[Path]:
    """Figure 2: the nine strongest activations of random feature maps, projected."""
    rng = np.random.default_rng(0)
    tops = patches.top_activations(
        subject.model, subject.every_input(), subject.layers, batch_size=20
    )
    panels = {}
    for layer, top in tops.items():
        alive = np.flatnonzero(top.value[:, -1] > 0)
        channels = np.sort(rng.choice(alive, min(3, len(alive)), replace=False))
        top = top.select(channels)
        explainer = Explainer(
            *(subject.model, "deconvnet"),
            layer=layer,
            seed="activation",
            strict=subject.strict,
        )
        pictures, maps = [], []
        for channel, found in zip(channels, top.index, strict=True):
            seen = np.asarray(subject.images[found])
            (here,) = np.flatnonzero(channels == channel)
            position = np.stack([top.y[here], top.x[here]], -1)
            at_inputs = explainer(
                subject.inputs(seen), channel=int(channel), position=position
            )
            pictures.append(seen)
            maps.append(subject.pixels(seen, at_inputs))
        box = patches.visible(top.box, np.shape(pictures)[2:4])
        panels[layer] = probes.Panel(
            channels,
            patches.crop(np.array(pictures) / 255, box, np.nan),
            patches.crop(np.array(maps), box, np.nan),
        )
    return [subject.draw("strongest", probes.strongest_figure(panels))]


def evolution(subject: Subject) -> list[Path]:
    """Figure 4: the strongest activation of feature maps, epoch by epoch."""
    if not list(subject.snapshots.glob("snapshot-*.h5")):
        raise NotRunError(
            f"there are no snapshots in {subject.snapshots}: "
            "`python -m experiments.queue pictures`"
        )
    (images, _), _ = datasets.load(subject.dataset, subject.data_dir)
    inputs = subject.inputs(images)
    paths = []
    for layer in ("conv2", "conv5"):
        explainer = Explainer(
            subject.model, "deconvnet", layer=layer, seed="activation"
        )

        def project(model, images, channels, positions, explainer=explainer):
            return explainer(images, channel=channels, position=positions)

        found = follow(
            *(subject.model, subject.snapshots, inputs, layer, range(5)),
            project=project,
            progress=False,
        )
        assert found.projection is not None  # it was asked for
        maps = subject.pixels(images[found.index], found.projection)
        figure = probes.evolution_figure(images, found._replace(projection=maps))
        paths.append(subject.draw(f"evolution_{layer}", figure))
    return paths


def invariance(subject: Looked) -> list[Path]:
    """Figure 5: distance of features and p(class) as the image moves, grows, turns."""
    chosen = subject.right[: subject.few]
    values = {
        "translation": np.linspace(-subject.shift, subject.shift, 25),
        "scale": np.linspace(0.6, 1.8, 13),
        "rotation": np.arange(0, 361, 10),
    }
    found = {
        transform: measure(
            *(subject.model, subject.inputs(subject.images[chosen])),
            transform,
            amounts,
            subject.ends,
            labels=subject.labels[chosen],
            fill=subject.grey,
        )
        for transform, amounts in values.items()
    }
    figure = probes.invariance_figure(found, relative=True)
    return [subject.draw("invariance", figure)]


def occlude(subject: Looked) -> list[Path]:
    """Figure 7: a grey square slides over one image of each of five classes."""
    right = subject.right
    _, first = np.unique(subject.labels[right], return_index=True)
    chosen = np.sort(right[first])[:5]
    pictures = subject.images[chosen]
    inputs = subject.inputs(pictures)
    found = occlusion.occlude(
        *(subject.model, inputs, *subject.square, subject.grey),
        labels=subject.labels[chosen],
        layer=subject.layers[-1],
    )
    maps = deconvnet(
        subject.model,
        inputs,
        layer=subject.layers[-1],
        channel=found.channel,
        position="all",
        seed="activation",
    )
    maps = subject.pixels(pictures, maps)
    figure = probes.occlusion_figure(pictures, found, subject.names, maps)
    return [subject.draw("occlusion", figure)]
