"""The claims' programs: their tables are complete, their arithmetic right."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from matplotlib import image as pictures

from allconv import architectures, data, models, presets, weights
from experiments import demo, fidelity, queue, throughput


def test_queues_name_presets_and_no_run_twice():
    for jobs in queue.QUEUES.values():
        assert len(set(jobs)) == len(jobs)
        for name, seed in jobs:
            presets.check(presets.get(name))
            assert seed >= 0
    assert {n for n, _ in queue.QUEUES["cifar10"]} == set(architectures.NAMES[:12])


def test_flops_are_those_of_a_slow_count():
    """Multiplications of each layer's outputs, one by one, from the built model."""
    model = models.StridedCNNA()
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            _, height, width, filters = layer.output.shape
            each = np.prod(layer.kernel.shape[:3])
            times = 2 if layer.name == "conv1" else 3
            total += 2 * times * height * width * filters * each
    assert throughput.flops_per_image("strided_cnn_a") == total


def test_the_public_curve_is_the_one_described():
    epochs, accuracies = fidelity.caffe()
    assert epochs[-1] == pytest.approx(358.4)
    assert accuracies[-1] == pytest.approx(90.13)
    at = {round(e): a for e, a in zip(epochs, accuracies, strict=True)}
    assert at[1] == pytest.approx(14.18)
    assert at[20] == pytest.approx(73.91, abs=1)


def test_demo_without_a_network_goes_on_with_shapes_and_says_so(
    tmp_path, monkeypatch, capsys
):
    """The whole way on miniature data: load, train, evaluate, explain, draw."""
    real = data.load

    def offline(name, *args):
        if name == "cifar10":
            raise data.DataError("cifar10 could not be fetched")
        train, (x, y) = real(name, *args)
        return train, (x[:100], y[:100])

    small = replace(
        presets.get("tiny"), epochs=1, train_size=64, hold_out=0, validate_every=0
    )
    monkeypatch.setattr(data, "load", offline)
    monkeypatch.setattr(weights, "RELEASED", tmp_path / "none")
    monkeypatch.setitem(presets.PRESETS, "tiny", small)
    monkeypatch.chdir(tmp_path)
    assert demo.main() == 0
    out = capsys.readouterr().out
    assert "no number below is CIFAR-10's" in out
    assert "training for some minutes" in out
    assert "9 of 9 rectifiers guided" in out
    picture = pictures.imread(tmp_path / "demo" / "rules.png")
    assert picture[..., :3].std() > 0.05
    assert demo.main() == 0  # the second call trains nothing
    assert len(list((tmp_path / "demo").glob("*/record.json"))) == 1
