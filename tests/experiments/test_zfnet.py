"""The program of ZFNet's figures and tables, on synthetic shapes, untrained."""

import functools
import json
import shutil

import numpy as np
import pytest
from matplotlib import image as pictures

from allconv.data import datasets
from allconv.data.preprocessing import MeanStd
from allconv.networks import builders, weights, zfnet
from allconv.presets import catalogue
from allconv.probes.evolution import Snapshots
from allconv.results import paper
from experiments.zfnet import __main__ as program, tables
from experiments.zfnet.subject import NETWORK

TRAIN, TEST = ((x[:100], y[:100]) for x, y in datasets.load("shapes"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What training would leave: weights, snapshots, and boxes of parts."""
    folder = tmp_path_factory.mktemp("runs")
    model = builders.build("zfnet_32")
    path = folder / f"{NETWORK}-seed0"
    path.mkdir()
    meta = {"preset": NETWORK, "seed": 0, "error": 90.0}
    preprocessor = MeanStd().fit(TRAIN[0])
    file = path / "weights.h5"
    weights.save(file, model, "zfnet_32", preprocessor, "shapes", meta)
    (folder / "alexnet_32-seed0").mkdir()
    shutil.copy(file, folder / "alexnet_32-seed0")
    snapshots = Snapshots(path, (1, 2))
    snapshots.set_model(model)
    for epoch in range(2):
        snapshots.on_epoch_end(epoch)
    boxes = {str(i): {"middle": [12, 12, 20, 20]} for i in (3, 13)}
    parts = {"dataset": "shapes", "parts": boxes}
    (folder / "parts.json").write_text(json.dumps(parts))
    return folder


@pytest.fixture
def run(runs, tmp_path, monkeypatch, capsys):
    """Run the program on few images; return what it printed, by experiment."""
    monkeypatch.setattr(datasets, "load", lambda *arguments: (TRAIN, TEST))
    monkeypatch.setattr(weights, "RELEASED", tmp_path / "none")
    few = functools.partial(tables.transfer, per_class=2)
    monkeypatch.setitem(program.EXPERIMENTS, "transfer", few)

    def call(*arguments, runs=runs, records=tmp_path):
        places = ["--runs", runs, "--records", records, "--out", tmp_path]
        places += ["--parts", runs / "parts.json"]
        assert program.main([*map(str, places), *arguments]) == 0
        printed = capsys.readouterr().out.splitlines()
        found = {}
        for line in printed:
            name, _, text = line.partition(": ")
            found.setdefault(name, []).append(text)
        return found

    return call


def cells(path):
    lines = path.read_text().splitlines()
    return [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]


def test_every_figure_and_table_is_made(run, tmp_path):
    found = run()
    assert list(found) == list(program.EXPERIMENTS)
    assert not any("not run" in text for lines in found.values() for text in lines)
    drawn = sorted(p.name for p in (tmp_path / "figures").iterdir())
    assert drawn == [
        "zfnet_correspondence.png",
        "zfnet_correspondence_masks.png",
        "zfnet_evolution_conv2.png",
        "zfnet_evolution_conv5.png",
        "zfnet_filters.png",
        "zfnet_invariance.png",
        "zfnet_occlusion.png",
        "zfnet_strongest.png",
    ]
    for name in drawn:
        picture = pictures.imread(tmp_path / "figures" / name)
        assert picture[..., :3].std() > 0.05
    filters = cells(tmp_path / "tables" / "zfnet_filters.md")
    assert filters[2][:4] == ["ZFNet: 5x5, stride 1", *["not run"] * 3]
    assert filters[4][1:4] == ["5 x 5", "1", "24"]
    transfer = cells(tmp_path / "tables" / "zfnet_transfer.md")
    assert [row[0] for row in transfer[2:]] == ["pixels", *tables.LAYERS]
    assert {row[3] for row in transfer[2:]} == {"not run"}  # from CIFAR-100
    conv1 = next(row for row in transfer if row[0] == "conv1")
    assert conv1[-2:] == ["44.8 ± 0.7", "24.6 ± 0.4"]
    correspondence = cells(tmp_path / "tables" / "zfnet_correspondence.md")
    assert [row[0] for row in correspondence[2:]] == ["middle"] * 2 + ["random"] * 2
    assert correspondence[4][-1] == "0.107 ± 0.017"


def test_a_network_of_another_kind_is_not_looked_into(run, tmp_path):
    model = builders.build("strided_cnn_a")
    file, fitted = tmp_path / "other.h5", MeanStd().fit(TRAIN[0])
    weights.save(file, model, "strided_cnn_a", fitted, "shapes", {})
    (line,) = run("--weights", str(file), "--only", "invariance")["invariance"]
    assert line.endswith("other.h5 holds strided_cnn_a, which is no ZFNet")


def test_nothing_stands_in_for_what_is_missing(run, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "parts.json").write_text("{}")
    found = run(runs=empty)
    assert all("not run" in found[name][0] for name in found if name != "ablation")
    assert "allconv train zfnet_32_long" in found["occlusion"][0]
    assert not (tmp_path / "figures").exists()
    rows = cells(tmp_path / "tables" / "zfnet_ablation.md")[2:]
    assert all(row[2:5] == ["not run"] * 3 and row[5] == "0" for row in rows)


def test_ablation_sets_each_record_against_the_full_net(run, tmp_path):
    records = tmp_path / "records"
    records.mkdir()
    for preset, seed, error, accuracy in (
        *(("zfnet_32", 0, 30.0, 0.75), ("zfnet_32", 1, 32.0, 0.77)),
        *(("zfnet_32_long", 0, 12.0, 0.9), ("alexnet_32_long", 0, 13.5, 0.9)),
        ("zfnet_32_no_3_4", 0, 35.5, 0.7),
    ):
        record = {
            **{"preset": catalogue.get(preset).as_dict(), "seed": seed},
            **{"status": "finished", "split": "test", "error": error, "minutes": 4.0},
            **{"data": {}, "parameters": 1, "epochs": 4, "wrong": 1, "n": 1, "loss": 0},
            **{"calibration_error": 0, "per_class": [], "confusion": []},
            **{"environment": {}, "commit": None, "date": "", "state_sha256": ""},
            "history": [{"epoch": 4, "accuracy": accuracy}],
        }
        (records / f"{preset}-seed{seed}.json").write_text(json.dumps(record))
    run("--only", "ablation", records=records)
    rows = {row[0]: row for row in cells(tmp_path / "tables" / "zfnet_ablation.md")}
    full, removed = rows["nothing"], rows["without layers 3, 4"]
    assert full[2:6] == ["24.00 ± 1.41", "31.00 ± 1.41", "+0.00", "2"]
    assert removed[2:6] == ["30.00", "35.50", "+4.50", "1"]
    assert removed[6:] == ["41.8", "45.4", "+4.9 (alexnet)"]
    assert removed[1] == f"{zfnet.build('zfnet_32_no_3_4').count_params():,}"
    assert rows["without layer 7"][2:6] == ["not run", "not run", "not run", "0"]
    longer = cells(tmp_path / "tables" / "zfnet_ablation_long.md")
    rows = {row[0]: row for row in longer}
    assert len(rows) == len(tables.ABLATION) + 1  # one less; head and its rule
    assert rows["nothing"][2:6] == ["10.00", "12.00", "+0.00", "1"]
    assert rows["AlexNet's layers 1, 2, 4, 5"][4] == "+1.50"


def test_the_tables_name_presets_networks_and_published_rows():
    for preset, (_, row, reference) in tables.ABLATION.items():
        assert catalogue.get(preset).architecture == preset
        assert row is None or row in paper.ABLATION
        assert reference is None or reference in paper.ABLATION
    assert set(tables.FILTERS.values()) <= set(tables.ABLATION)
    assert catalogue.get(NETWORK).architecture == "zfnet_32"
    names = [layer.name for layer in zfnet.build("zfnet_32").layers]
    assert set(tables.LAYERS) <= set(names)
    assert {row for row in tables.LAYERS.values() if row} <= set(paper.TRANSFER)


def test_the_boxes_are_of_dogs_and_inside_their_images(cifar10):
    from allconv.probes.correspondence import load_parts, mask

    parts = load_parts(program.HERE / "dog_faces.json")
    _, (images, labels) = cifar10
    chosen = [int(name) for name in parts.names]
    assert {datasets.CLASS_NAMES["cifar10"][c] for c in labels[chosen]} == {"dog"}
    for boxes in parts.boxes.values():
        changed = mask(images[chosen], boxes, 127.5) != images[chosen]
        assert np.all(changed.any(axis=(1, 2, 3)))
