"""Tables and figures of network deconvolution, from records as they are written."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from allconv.data import shapes
from allconv.layers import roots, whitening
from allconv.layers.batch_norm import BatchNormalization
from allconv.layers.netdeconv import NetworkDeconvolution2D
from allconv.layers.whitening_layer import Whitening
from allconv.networks import registry
from allconv.presets import catalogue
from allconv.probes import correlation
from allconv.training import run
from experiments import netdeconv, netdeconv_savings, queue
from experiments.benchmarks import netdeconv as cost_benchmark


def record(name, seed=0, error=40.0, minutes=10.0, history=(), status="finished"):
    return {
        "preset": catalogue.get(name).as_dict(),
        "status": status,
        "seed": seed,
        "split": "test",
        "error": error,
        "minutes": minutes,
        "history": list(history),
    }


def test_the_table_stands_beside_the_paper_s():
    records = [
        record("vgg16_cifar_deconv", error=25.0, minutes=20),
        record("vgg16_cifar_deconv", seed=1, error=27.0, minutes=22),
        record("resnet18_cifar_batch", status="diverged"),
    ]
    lines = netdeconv.table(records).splitlines()
    assert len(lines) == 2 + 20 + 2
    assert lines[2] == (
        "| vgg16 | cifar10 | 14.12 | not run | 74.18 | 74.00 ± 1.41 |  | 21 |"
    )
    assert lines[3].startswith("| resnet18 | cifar10 | 56.25 | diverged | 72.89 | not")
    assert lines[12].startswith("| vgg16 | cifar100 | 2.01 | not run | 37.94 |")
    assert lines[19].startswith("| pnasnet_a | cifar100 | 10.49 | not run | 36.52 ? |")
    assert lines[-1] == "0 of the 20 rows of the paper's table were run with both."
    records.append(record("vgg16_cifar_batch"))
    assert netdeconv.table(records).splitlines()[-1].startswith("1 of the 20")
    records.append(record("vgg16_cifar_deconv_20", error=7.0, minutes=180))
    _, _, line, _, last = netdeconv.twenty(records).splitlines()
    assert line == "| vgg16 | cifar10 | 90.07 | not run | 93.25 | 93.00 |  | 180 |"
    assert last.startswith("0 of the 20 rows")


def test_curves_are_of_the_first_seed():
    history = [{"epoch": 1, "val_accuracy": 0.5}, {"epoch": 2, "val_accuracy": 0.7}]
    records = [
        record("all_cnn_c_batch_10", 1),
        record("all_cnn_c_batch_10", 0, minutes=8, history=history),
        record("all_cnn_c_none_10", status="diverged"),
    ]
    assert netdeconv.curves(records) == {"batch": ([1, 2], [4, 8], [50, 70])}


def test_every_row_has_its_presets_in_the_queue():
    names = {name for name, _ in queue.QUEUES["netdeconv"]}
    rows = {
        f"{row}_{norm}"
        for row in catalogue.TABLE_1
        for norm in ("batch", "deconv")
        if row != "dpn92_cifar_cifar100"
    }
    assert names == rows | {f"all_cnn_c_{norm}_10" for norm in netdeconv.NORMS}
    for name, (_, dataset) in catalogue.TABLE_1.items():
        pair = [catalogue.get(f"{name}_{norm}") for norm in ("batch", "deconv")]
        assert {p.norm for p in pair} == {"batch", "deconv"}
        assert {(p.dataset, p.epochs) for p in pair} == {(dataset, 1)}


def test_figures_are_of_cifar10_or_else_of_shapes(monkeypatch):
    drawn = shapes.draw(30)
    asked = []
    monkeypatch.setattr(
        netdeconv.datasets, "load", lambda n: asked.append(n) or (drawn, 0)
    )
    for cached, name in ((True, "cifar10"), (False, "shapes")):
        monkeypatch.setattr(netdeconv.datasets, "is_cached", lambda _, c=cached: c)
        found, images, labels = netdeconv.example_images(20)
        assert (found, asked[-1], images.shape) == (name, name, (20, 32, 32, 3))
        assert labels.tolist() == drawn[1][:20].tolist()
        assert abs(images.mean()) < 1e-5
    matrices = netdeconv.before_and_after(images)
    assert [len(matrix) for matrix in matrices.values()] == [27] * 3 + [288] * 3
    before, some, many = list(matrices.values())[:3]
    spread = [correlation.mean_correlation(m) for m in (before, some, many)]
    assert spread[0] > 2 * spread[1] > 2 * spread[2]


@pytest.mark.parametrize("net", cost_benchmark.NETS)
def test_variants_are_of_the_kinds_they_name(net):
    def layers(variant, kind):
        model = cost_benchmark.build(net, *cost_benchmark.VARIANTS[variant])
        return [layer for layer in model.layers if isinstance(layer, kind)]

    assert not layers("none", BatchNormalization | Whitening)
    for variant, fused in (("batch (Keras)", False), ("batch (fused)", True)):
        assert {x.fused for x in layers(variant, BatchNormalization)} == {fused}
    every = layers("* statistics_every=2", NetworkDeconvolution2D)
    assert {(x.block, x.statistics_every) for x in every} == {(64, 2)}
    for variant, functions in (
        (
            cost_benchmark.NAME,
            {whitening.patches, whitening.moments, roots.inverse_root},
        ),
        (
            "deconv, as published",
            {
                cost_benchmark.patches_gathered,
                cost_benchmark.moments_differentiated,
                cost_benchmark.root_coupled,
            },
        ),
    ):
        for layer in layers(variant, NetworkDeconvolution2D):
            assert {layer.patches, layer.moments, layer.inverse_root} == functions
    assert set(cost_benchmark.NETS) <= set(registry.NAMES)


def test_whitening_as_published_is_the_same_function():
    x = tf.random.stateless_normal((8, 9, 9, 4), (0, 0))
    found = []
    for variant in (cost_benchmark.NAME, "deconv, as published"):
        layer = NetworkDeconvolution2D(5, 3, kernel_initializer="ones", epsilon=0.1)
        for name, function in cost_benchmark.VARIANTS[variant][1].items():
            setattr(layer, name, function)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum(y**3)
        found.append([y, *tape.gradient(loss, [x, layer.kernel.value])])
    for mine, published in zip(*found, strict=True):
        scale = np.abs(published).max()
        np.testing.assert_allclose(mine, published, atol=1e-4 * scale)


def test_savings_are_trained_with_what_they_name_and_never_see_the_test_set(
    monkeypatch,
):
    monkeypatch.setattr(
        netdeconv_savings,
        "PRESET",
        replace(
            netdeconv_savings.PRESET, dataset="shapes", train_size=64, hold_out=100
        ),
    )
    trained = []
    compiled = run.compiled
    monkeypatch.setattr(
        run, "compiled", lambda *a: trained.append(compiled(*a)) or trained[-1]
    )
    record = netdeconv_savings.run({"block": 32, "statistics_every": 2}, seed=3)
    layers = [x for x in trained[0].layers if isinstance(x, NetworkDeconvolution2D)]
    assert {(x.block, x.statistics_every) for x in layers} == {(32, 2)}
    assert (record["seed"], record["split"]) == (3, "hold_out")


def test_the_table_of_savings_counts_what_diverged():
    done = {"status": "finished", "minutes": 1.0, "preset": {"augmentation": "crop"}}
    runs = [
        *(done | {"error": error} for error in (40.0, 42.0)),
        {"status": "diverged", "minutes": 0.5},
    ]
    lines = netdeconv_savings.table(
        {"deconv": runs, "* block=32": runs[2:]}
    ).splitlines()
    assert lines[2:] == [
        "| deconv | 41.00 ± 1.41 | 2 | 1 | 1.00 |",
        "| * block=32 | diverged | 0 | 1 |  |",
    ]
