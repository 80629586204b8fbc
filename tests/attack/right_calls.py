"""A right call of each public function that is attacked, and the files it reads."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from allconv.core import files
from allconv.data import shapes
from allconv.networks import weights
from allconv.presets import catalogue
from allconv.probes import evolution
from allconv.results import records
from tests.nets import images, noticeable


def right(folder: Path) -> dict[str, dict[str, Any]]:
    """Right calls: arguments by the name of a function below `allconv`.

    Args:
        folder: Where files may be written.
    """
    x, raw, labels = images(4), shapes.draw(6)[0], np.arange(4) % 3
    net = noticeable()
    record = records.read(
        Path(records.__file__).parents[2] / "records/model_c_budget-seed0.json"
    )
    table = [dict.fromkeys(("network", "recipe", "epochs"), "1")]
    maps = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("f4")
    flat = np.random.default_rng(1).normal(size=(30, 4))
    box = np.tile(np.array([0, 0, 4, 4]), (4, 1))
    tiny = catalogue.get("tiny")
    path = folder / "a.h5"
    probs = np.full((4, 3), 1 / 3)
    of_net: dict[str, Any] = {"model": net, "images": x}
    one_class = {"target": [0, 1, 2, 0], "batch_size": 2}
    named = {"a": maps, "b": 2 * maps}
    curve = {"a": ([1.0, 2.0], [3.0, 4.0])}
    found = {
        "core.runtime.set_seed": {"seed": 1},
        "core.files.read": {"path": path, "sha256": None},
        "core.files.write": {
            **{"path": path, "arrays": {"a": maps}, "meta": {}, "compress": False},
        },
        "core.disk.write_bytes": {"path": path, "content": b"x"},
        "core.disk.read_bytes": {"path": path, "largest": 10**6},
        "core.disk.sweep": {"folder": folder, "name": "x"},
        "core.locks.is_held": {"folder": folder},
        "core.arrays.batch_of": {"images": x},
        "data.batches.steps_per_epoch": {"n": 6, "batch_size": 2},
        "data.batches.batches": {
            **{"images": x, "labels": labels, "seed": 0, "batch_size": 2},
            **{"windows": ((0, 4), (1, 8)), "start": 0, "stop": 3, "rounds": 8},
        },
        "data.batches.in_order": {"batch_size": 2},
        "data.augmentation.Augmentation": {
            **{"shift": 2, "flip": True, "mode": "REFLECT", "alternate": False}
        },
        "data.datasets.load": {"name": "shapes", "data_dir": folder, "coarse": False},
        "data.datasets.class_names": {"name": "shapes"},
        "data.datasets.shape": {"name": "shapes"},
        "data.datasets.title": {"name": "shapes"},
        "data.datasets.data_folder": {"data_dir": folder},
        "data.datasets.is_cached": {"name": "shapes", "data_dir": folder},
        "data.datasets.fingerprint": {"images": raw, "labels": np.arange(6)},
        "data.datasets.hold_out": {"images": raw, "labels": np.arange(6), "n": 2},
        "data.segmentation.draw": {"n": 2, "seed": 0},
        "data.mnist.places": {"name": "mnist", "data_dir": folder},
        "data.photo.read": {
            **{"path": folder / "photo.png", "size": 8, "channels": 3, "fit": "crop"},
            **{"background": "white"},
        },
        "data.photo.in_folder": {"path": folder},
        "data.own.load": {"path": folder / "own.npz"},
        "data.preprocessing.gcn": {"images": raw, "scale": 55.0},
        "data.preprocessing.ZCA": {"bias": 0.1},
        "data.preprocessing.MeanStd": {"mean": np.zeros(3), "std": np.ones(3)},
        "data.shapes.draw": {"n": 3, "seed": 0},
        "data.whitenings.clean": {"data_dir": folder, "keep": 0},
        "layers.folding.fold": {"model": net},
        "networks.builders.build": {
            **{"name": "strided_cnn_a", "include_top": True, "weights": None},
            **{"input_shape": (32, 32, 3), "pooling": None, "classes": 10},
            **{"classifier_activation": "softmax", "model_name": "x", "dropout": 1.0},
            **{"kernel_initializer": None, "norm": "none", "norm_options": None},
        },
        "networks.segmentation.fcn": {
            **{"classes": 2, "input_shape": (8, 8, 3), "widths": (1, 1, 1)},
            **{"norm": "none", "norm_options": None, "name": "x"},
        },
        "networks.all_cnn_rows.get": {"name": "all_cnn_c"},
        "networks.all_cnn_rows.map_sizes": {"name": "all_cnn_c", "size": 32},
        "networks.all_cnn_rows.smallest_input": {"name": "all_cnn_c"},
        "networks.all_cnn_rows.count_parameters": {"name": "all_cnn_c", "classes": 10},
        "networks.zfnet_rows.get": {"name": "zfnet"},
        "networks.zfnet_rows.map_sizes": {"name": "zfnet", "size": 224},
        "networks.zfnet_rows.smallest_input": {"name": "zfnet"},
        "networks.classics_rows.get": {"name": "vgg16_cifar"},
        "networks.registry.family": {"name": "zfnet"},
        "networks.weights.released": {
            **{"architecture": "all_cnn_c", "dataset": "cifar10"}
        },
        "networks.weights.read": {"path": weights.released("all_cnn_c", "cifar10")},
        "networks.weights.sha256": {"path": folder / "photo.png"},
        "presets.catalogue.get": {"name": "tiny"},
        "presets.limits.check": {"preset": tiny},
        "presets.preset.complete": {"stored": tiny.as_dict()},
        "presets.preset.shorten": {"preset": tiny, "epochs": 3},
        "presets.preset_file.read": {"path": folder / "recipe.json"},
        "training.schedules.schedule": {"preset": tiny, "steps": 4},
        "training.schedules.Steps": {"rate": 0.1, "boundaries": [1, 2]},
        "training.schedules.Linear": {"peak": 0.1, "warmup": 0.2, "total": 10},
        "training.schedules.Cosine": {"peak": 0.1, "total": 10},
        "training.muon.Muon": {
            **{"learning_rate": 0.1, "momentum": 0.9, "nesterov": True},
            **{"hidden": ["a/kernel"], "factor": 1.0},
        },
        "training.checkpoints.files": {"folder": folder},
        "training.checkpoints.save": {
            **{"folder": folder, "epoch": 1, "arrays": {"a": maps}, "meta": {}},
            **{"keep": 2},
        },
        "training.checkpoints.prune": {"folder": folder, "epoch": 1, "keep": 2},
        "training.checkpoints.load_latest": {"folder": folder},
        "results.evaluation.evaluate": {
            **{"model": net, "inputs": x, "labels": labels, "batch_size": 2},
        },
        "results.evaluation.score": {
            **{"outputs": probs, "labels": labels, "from_logits": False},
        },
        "results.records.check": {"value": record},
        "results.records.from_json": {"text": records.to_json(record), "source": "x"},
        "results.records.read": {"path": folder / "record.json"},
        "results.tables.read": {"folder": folder / "records"},
        "results.tables.followed": {"records": [record], "recipe": "model_c_budget"},
        "results.tables.finished": {"records": [record], "recipe": "model_c_budget"},
        "results.tables.summarise": {"records": [record], "recipe": "model_c_budget"},
        "results.tables.title": {"name": "cifar10", "records": [record]},
        "results.tables.rows": {"name": "cifar10", "records": [record]},
        "results.tables.render": {
            **{"table": table, "style": "csv"},
            **{"columns": ("network", "recipe", "epochs")},
        },
        "results.tables.markdown": {"lines": [["a", "b", "c"]], "left": 2},
        "saliency.cam.class_activation_map": {
            "model": keras.Sequential(
                [
                    keras.Input((8, 8, 3)),
                    keras.layers.Conv2D(4, 3, name="conv1"),
                    keras.layers.GlobalAveragePooling2D(),
                    keras.layers.Dense(3),
                ]
            ),
            **{"images": x, "layer": None, **one_class},
        },
        "saliency.cam.grad_cam": of_net | one_class | {"layer": "conv1"},
        "saliency.cam.guided_grad_cam": of_net | one_class | {"layer": "conv1"},
        "saliency.cam.enlarge": {"maps": maps[..., 0], "size": (16, 16)},
        "saliency.explainer.explain": of_net
        | {"rule": "guided", "layer": "conv1", "output": None, "channel": [0, 1, 2, 3]}
        | {"position": "max", "target": None, "before_rectifier": False}
        | {"seed": "one", "strict": True, "batch_size": 4},
        "saliency.explainer.Explainer": {
            **{"model": net, "rule": "guided", "layer": "conv1", "output": None},
            **{"before_rectifier": False, "seed": "one", "strict": True},
            **{"batch_size": 4, "image_shape": (8, 8, 3)},
        },
        "saliency.lrp.propagate": of_net | one_class | {"composite": "epsilon_plus"},
        "saliency.lrp_rules.Epsilon": {"epsilon": 1e-9},
        "saliency.lrp_rules.AlphaBeta": {"alpha": 2.0, "beta": 1.0, "epsilon": 1e-9},
        "saliency.lrp_rules.Gamma": {"gamma": 0.25, "epsilon": 1e-9},
        "saliency.lrp_rules.Box": {"low": -1.0, "high": 1.0, "epsilon": 1e-9},
        "saliency.reverse_pass.reverse": of_net
        | {"rule": "guided", "layer": "conv1", "channel": 1, "position": "max"}
        | {"before_rectifier": False, "seed": "one", "pool": "switch"}
        | {"dead_windows": "keep"},
        "saliency.reverse_pass.project": {"model": net, "layer": "conv1", "channel": 1},
        "saliency.rules.Rule": {"forward": True, "gradient": True, "pool": "switch"},
        "saliency.sanity.randomisation_test": {
            **{"model": net, "maps": lambda model: maps, "order": "cascading"},
            **{"seeds": (0, 1), "progress": False},
        },
        "saliency.sanity.randomise": {"model": net, "layers": ["conv1"], "seed": 0},
        "saliency.similarity.compare": {"a": maps, "b": maps[::-1]},
        "saliency.similarity.rank_correlation": {"a": maps, "b": maps[::-1]},
        "saliency.similarity.ssim": {"a": maps, "b": maps[::-1]},
        "saliency.similarity.edge_maps": {"images": maps},
        "saliency.similarity.class_similarity": {"maps": np.stack([maps, -maps])},
        "probes.correlation.patch_rows": {"images": x, "size": 3},
        "probes.correlation.covariance": {"rows": flat},
        "probes.sparsity.kurtosis": {"rows": flat},
        "probes.sparsity.hoyer": {"rows": flat},
        "probes.correlation.whitener": {
            **{"matrix": np.cov(flat.T), "epsilon": 1e-5, "iterations": 5}
        },
        "probes.correlation.mean_correlation": {"matrix": np.cov(flat.T)},
        "probes.correlation.descend": {
            **{"inputs": flat, "targets": flat[:, 0], "rate": 0.1, "steps": 3}
        },
        "probes.correspondence.mask": {"images": x, "boxes": box, "fill": 0.0},
        "probes.correspondence.compare": of_net
        | {"parts": {"a": box}, "layers": ["conv1"], "fill": 0.0, "draws": 2}
        | {"seed": 0, "preprocess": None, "batch_size": 2},
        "probes.correspondence.sign_distances": {"changes": flat},
        "probes.evolution.Snapshots": {"folder": folder, "epochs": (1, 2)},
        "probes.evolution.snapshots": {"folder": folder},
        "probes.faithfulness.curves": {
            **{"predict": lambda batch: np.full((len(batch), 3), 1 / 3)},
            **{"images": x, "importance": maps[..., 0], "target": [0, 1, 2, 0]},
            **{"fill": 0.0, "steps": 4, "seed": 0},
        },
        "probes.filters.filter_statistics": {
            **{"kernel": net.get_layer("conv1").kernel.numpy(), "stride": 2},
            **{"dead": 0.1, "points": 16},
        },
        "probes.filters.silent": of_net | {"layer": "conv1", "batch_size": 2},
        "probes.invariance.translation": {"value": 1.0, "height": 8, "width": 8},
        "probes.invariance.scale": {"value": 1.5, "height": 8, "width": 8},
        "probes.invariance.rotation": {"value": 10.0, "height": 8, "width": 8},
        "probes.invariance.measure": of_net
        | {"transform": "rotation", "values": [0.0, 10.0], "layers": ["conv1"]}
        | {"labels": labels, "fill": 0.0, "from_logits": False, "batch_size": 2},
        "probes.occlusion.occlude": of_net
        | {"size": 4, "stride": 4, "fill": 0.0, "labels": labels, "layer": "conv1"}
        | {"from_logits": False, "multi_label": False, "batch_size": 2},
        "probes.occlusion.starts": {"length": 8, "size": 4, "stride": 2},
        "probes.occlusion.pixel_map": {
            **{"values": np.ones((1, 5, 5)), "height": 8, "width": 8, "size": 4},
            **{"stride": 2},
        },
        "probes.patches.top_activations": of_net
        | {"layers": ["conv1"], "k": 2, "one_per_image": True, "batch_size": 2}
        | {"progress": False},
        "probes.patches.gather": {"images": x, "index": np.array([[0, 1]])},
        "probes.patches.crop": {"images": x, "box": box},
        "probes.patches.visible": {"box": box, "size": (8, 8)},
        "probes.receptive_field.compute": {"model": net, "layer": "conv1"},
        "probes.transfer.carry": {
            **{"model": net, "train": (images(12), np.arange(12) % 3)},
            **{"test": (x, labels), "layers": ["conv1"], "per_class": 2, "folds": 2},
            **{"length": 16, "seed": 0, "batch_size": 4},
        },
        "probes.transfer.draw": {
            **{"labels": np.arange(12) % 3, "per_class": 2, "folds": 2, "seed": 0}
        },
        "probes.transfer.features": of_net | {"layers": ["conv1"], "length": 16},
        "probes.transfer.pool": {"maps": x, "length": 12},
        "probes.transfer.ridge": {
            **{"x": flat, "labels": np.arange(30) % 3, "classes": np.arange(3)},
            **{"penalties": (0.1, 1.0)},
        },
        "figures.maps.signed_limit": {"maps": maps, "percentile": 99.5},
        "figures.maps.shared_limits": {
            **{"maps": np.stack([maps, maps]), "share": "row", "percentile": 99.5}
        },
        "figures.maps.rule_comparison": {
            **{"images": raw[:4], "maps": named, "row_titles": list("abcd")},
            **{"share": "column", "percentile": 99.5},
        },
        "figures.maps.filters": {
            **{"kernel": net.get_layer("conv1").kernel.numpy(), "columns": 4},
            **{"percentile": 100},
        },
        "figures.probes.class_colours": {"classes": [0, 1]},
        "figures.runs.learning_curves": {
            **{"curves": curve, "ylabel": "y", "marks": ("o", "s")}
        },
        "figures.runs.scatter": {
            **{"points": {"a": [(1.0, 2.0, "n")]}, "xlabel": "x", "ylabel": "y"},
            **{"levels": {"l": 1.0}, "marks": ("o",)},
        },
        "figures.runs.slopes": {
            **{"panels": {"p": {"a": (1.0, 2.0)}}, "ends": ("l", "r")},
            **{"ylabel": "y", "marks": ("o",)},
        },
        "figures.runs.confusion_matrix": {
            **{"confusion": np.eye(3, dtype=int), "names": list("abc")}
        },
        "figures.segments.masks": {
            **{"images": np.zeros((2, 4, 4, 3), np.uint8)},
            **{"masks": {"a": np.zeros((2, 4, 4), int)}, "class_names": ["a", "b"]},
        },
        "figures.whitening.descents": {"losses": {"a": flat[:, 0] ** 2}, "floor": 1e-9},
        "figures.whitening.covariances": {
            **{"matrices": {"a": np.cov(flat.T)}, "columns": 2}
        },
        "figures.whitening.deconvolution_kernels": {"matrices": {"a": np.eye(27)}},
        "figures.whitening.progress": {
            **{"curves": {"y": {"a": ([0, 1], 0.5, np.ones((2, 2)))}}},
            **{"units": ("steps", "s"), "logarithmic": True, "floors": {"y": 0.5}},
        },
        "figures.whitening.densities": {"values": {"a": flat}, "limit": 3.0},
        "figures.whitening.against_time": {"curves": {"a": ([1.0], [2.0], [3.0])}},
    }
    return found


def furnish(folder: Path) -> None:
    """Write the files that the right calls read."""
    Image.new("RGB", (9, 7), "red").save(folder / "photo.png")
    (folder / "recipe.json").write_text('{"base": "tiny", "epochs": 2}')
    root = Path(records.__file__).parents[2] / "records"
    one = (root / "model_c_budget-seed0.json").read_bytes()
    net = noticeable()
    kept = evolution.Snapshots(folder, (1,))
    kept.set_model(net)
    kept.on_epoch_end(0)
    files.write(folder / "a.h5", {"a": np.zeros(3)}, {})
    (folder / "records").mkdir(exist_ok=True)
    for place in ("record.json", "records/one.json"):
        (folder / place).write_bytes(one)
    x, y = shapes.draw(20)
    np.savez(folder / "own.npz", x_train=x, y_train=y, x_test=x, y_test=y)
