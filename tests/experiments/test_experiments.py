"""The claims' programs: their tables are complete, their arithmetic right."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import types
from concurrent import futures
from dataclasses import replace
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest
from matplotlib import image as pictures

from allconv import __main__ as cli
from allconv.commands import train
from allconv.commands.arguments import parser
from allconv.core import files, locks
from allconv.data import datasets
from allconv.networks import all_cnn, all_cnn_rows, weights
from allconv.presets import catalogue
from allconv.presets.limits import check
from allconv.training import run
from experiments import demo, fidelity, queue, release
from experiments.benchmarks import training as training_benchmark


def test_queues_name_presets_and_no_run_twice():
    for jobs in queue.QUEUES.values():
        assert len(set(jobs)) == len(jobs)
        for name, seed in jobs:
            check(catalogue.get(name))
            assert seed >= 0
    assert set(queue.SNAPSHOTS) <= set(catalogue.PRESETS)
    assert {n for n, _ in queue.QUEUES["cifar10"]} == set(all_cnn_rows.TABLE_3)


def test_flops_are_those_of_a_slow_count():
    """Multiplications of each layer's outputs, one by one, from the built model."""
    model = all_cnn.StridedCNNA()
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            _, height, width, filters = layer.output.shape
            each = np.prod(layer.kernel.shape[:3])
            times = 2 if layer.name == "conv1" else 3
            total += 2 * times * height * width * filters * each
    assert training_benchmark.flops_per_image("strided_cnn_a") == total


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
    real = datasets.load

    def offline(name, *args):
        if name == "cifar10":
            raise datasets.DataError("cifar10 could not be fetched")
        run, (x, y) = real(name, *args)
        return run, (x[:100], y[:100])

    small = replace(
        catalogue.get("tiny"), epochs=1, train_size=64, hold_out=0, validate_every=0
    )
    monkeypatch.setattr(datasets, "load", offline)
    monkeypatch.setattr(weights, "RELEASED", tmp_path / "none")
    monkeypatch.setitem(catalogue.PRESETS, "tiny", small)
    monkeypatch.chdir(tmp_path)
    assert demo.main() == 0
    out = capsys.readouterr().out
    assert "nothing measured here is of CIFAR-10" in out
    assert re.search(r"model_c_budget +6 .* 15\.\d\d ± 0\.\d\d +3 ", out)
    assert "training for some minutes" in out
    assert "8 of 8 rectifiers guided" in out
    picture = pictures.imread(tmp_path / "demo" / "rules.png")
    assert picture[..., :3].std() > 0.05
    assert demo.main() == 0  # the second call trains nothing
    assert len(list((tmp_path / "demo").glob("*/record.json"))) == 1


@pytest.fixture
def few_test_images(monkeypatch):
    real = datasets.load

    def load(*args, **options):
        train, (x, y) = real(*args, **options)
        return train, (x[:200], y[:200])

    monkeypatch.setattr(datasets, "load", load)


@pytest.mark.usefixtures("few_test_images")
def test_release_and_evaluate_all(tmp_path, monkeypatch, capsys):
    """A finished run becomes a small file; a file that has changed is noticed."""
    small = replace(
        catalogue.get("tiny"),
        preprocessing="gcn_zca",
        epochs=1,
        train_size=64,
        validate_every=0,
    )
    monkeypatch.setitem(catalogue.PRESETS, "tiny", small)
    folder = tmp_path / "run"
    record = run.train(small, 3, folder, data_dir=tmp_path)
    monkeypatch.setattr(weights, "RELEASED", tmp_path / "weights")
    monkeypatch.setattr(release, "RECORDS", tmp_path / "records")
    monkeypatch.setattr("sys.argv", ["release", str(folder)])
    for name in ("weights", "records"):
        (tmp_path / name).mkdir()
    assert release.main() == 0
    assert release.main() == 0  # again: the same single entry
    (entry,) = weights.manifest()
    assert entry["error_in_float32"] == record["error"]
    assert abs(entry["wrong"] - record["wrong"]) <= 5
    assert entry["preprocessing"]["file"] == "gcn_zca-shapes.h5"
    assert (tmp_path / "records" / "tiny-seed3.json").exists()
    capsys.readouterr()
    assert cli.main(["evaluate", "--all", "--test-time-augmentation"]) == 0
    out = capsys.readouterr().out
    assert "as recorded" in out
    assert f"(mirrored): error {entry['error_mirrored']:.2f} %" in out
    listed = weights.RELEASED / weights.MANIFEST
    before = listed.read_text()
    listed.write_text(json.dumps([entry | {"wrong": entry["wrong"] - 100}]))
    assert cli.main(["evaluate", "--all"]) == 1
    assert f"{entry['wrong'] - 100} were recorded" in capsys.readouterr().out
    listed.write_text(before)
    with monkeypatch.context() as gone:
        gone.setattr(
            datasets, "load", mock.Mock(side_effect=datasets.DataError("it is gone"))
        )
        assert cli.main(["evaluate", "--all"]) == 1
        assert cli.main(["evaluate", "all_cnn_c", "--weights", str(listed)]) == 2
    out, err = capsys.readouterr()
    assert "not measured: it is gone" in out
    assert "1 of 1 files were not measured" in err
    path = weights.RELEASED / entry["file"]
    arrays, meta = files.read(path)
    files.write(path, arrays, meta | {"error": meta["error"] + 1})
    assert cli.main(["evaluate", "--all"]) == 2  # whole, and not the one released
    assert "SHA-256 is not the one on record" in capsys.readouterr().err


def small_run(monkeypatch, folder, seed=0, **changes):
    """A finished run of the preset `tiny`, and places to release it to."""
    changes = {"epochs": 1, "train_size": 64, "validate_every": 0, **changes}
    small = replace(catalogue.get("tiny"), **changes)
    monkeypatch.setitem(catalogue.PRESETS, "tiny", small)
    for name, module in (("WEIGHTS", weights), ("RECORDS", release)):
        place = folder.parent / name.lower()
        place.mkdir(exist_ok=True)
        monkeypatch.setattr(module, {"WEIGHTS": "RELEASED"}.get(name, name), place)
    run.train(small, seed, folder, progress=False)
    return small


@pytest.mark.usefixtures("few_test_images")
def test_a_release_that_is_killed_leaves_what_was_released(tmp_path, monkeypatch):
    """After any of its writes the manifest lists files that are whole."""
    folder, other = tmp_path / "run", tmp_path / "other"
    small_run(monkeypatch, folder)
    monkeypatch.setattr("sys.argv", ["release", str(folder)])
    assert release.main() == 0
    (first,) = weights.manifest()
    shutil.copytree(folder, other)
    arrays, meta = files.read(other / "weights.h5")
    name = next(k for k in arrays if k.endswith("bias"))
    files.write(other / "weights.h5", arrays | {name: arrays[name] + 0.01}, meta)

    class KilledError(BaseException):
        pass

    real, count = os.replace, [0]
    monkeypatch.setattr("sys.argv", ["release", str(other)])
    for last in range(1, 9):

        def dying(source, target, last=last):
            real(source, target)
            count[0] += 1
            if count[0] == last:
                raise KilledError

        count[0] = 0
        monkeypatch.setattr(os, "replace", dying)
        try:
            ended = release.main() == 0
        except KilledError:
            ended = False
        monkeypatch.setattr(os, "replace", real)
        (entry,) = weights.manifest()
        weights.read(weights.file_of(entry))
        if ended:
            break
    assert ended
    assert last > 3
    assert entry["sha256"] != first["sha256"]
    left = {p.name for p in weights.RELEASED.iterdir()}
    assert left == {entry["file"], weights.MANIFEST}


@pytest.mark.usefixtures("few_test_images")
def test_weights_of_another_run_are_not_released_under_a_record(tmp_path, monkeypatch):
    small_run(monkeypatch, tmp_path / "zero")
    small_run(monkeypatch, tmp_path / "one", seed=1)
    shutil.copy(tmp_path / "one" / "weights.h5", tmp_path / "zero" / "weights.h5")
    with pytest.raises(ValueError, match=r"its `seed` should be 0. Received: 1"):
        release.release(tmp_path / "zero")
    record = json.loads((tmp_path / "one" / "record.json").read_text())
    odd = tmp_path / "one" / "record.json"
    odd.write_text(json.dumps(record | {"error": record["error"] / 2}))
    with pytest.raises(ValueError, match="its `error` should be"):
        release.release(tmp_path / "one")
    odd.write_text(json.dumps(record | {"altered": True}))
    with pytest.raises(ValueError, match="a callback has set other weights"):
        release.release(tmp_path / "one")
    assert not list(weights.RELEASED.iterdir())


def test_a_queue_takes_recipes_of_ones_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(catalogue, "PRESETS", dict(catalogue.PRESETS))
    Path("mine.toml").write_text('base = "tiny"\nepochs = 2\nname = "two_epochs"\n')
    Path("my_recipes.py").write_text(
        "from allconv.presets import catalogue, preset\n"
        "catalogue.register(preset.Preset('registered', 'all_cnn_c'))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    commands = []

    def popen(command):
        commands.append(command[3:])
        return contextlib.nullcontext(types.SimpleNamespace(wait=lambda: 0))

    monkeypatch.setattr(subprocess, "Popen", popen)
    words = "mine.toml registered mine.toml --seeds 0 4 --import my_recipes --records r"
    monkeypatch.setattr(sys, "argv", ["queue", *words.split()])
    try:
        assert queue.main() == 0
    finally:
        sys.modules.pop("my_recipes", None)
    assert capsys.readouterr().out == "4 of 4 runs are finished\n"
    found = []
    for command in commands:
        arguments = parser().parse_args(command)
        assert (arguments.records, arguments.modules) == ("r", ["my_recipes"])
        found.append((train.recipe(arguments).name, arguments.seed))
    names = ("two_epochs", "registered")
    assert found == [(name, seed) for name in names for seed in (0, 4)]


@pytest.mark.parametrize(
    "words, message",
    [("budgit", "the nearest is budget"), ("no.toml", "There is no file no.toml.")],
)
def test_a_queue_that_is_not_there_is_a_line(words, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["queue", words])
    with pytest.raises(SystemExit, match="2"):
        queue.main()
    assert message in capsys.readouterr().err


def test_a_queue_waits_for_a_run_that_outlived_another_queue(tmp_path, monkeypatch):
    """And then asks for it once more, which passes over what is finished."""
    worker = tmp_path / "worker"
    worker.write_text("#!/bin/sh\necho $* >> asked\n")
    worker.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(worker))
    monkeypatch.setattr(queue, "PAUSE", 0.05)
    folder = tmp_path / "runs" / "tiny-seed0"
    folder.mkdir(parents=True)
    stopped = threading.Event()
    with futures.ThreadPoolExecutor(1) as pool:
        with locks.alone(folder):
            waiting = pool.submit(queue.train, ("tiny", 0), [], [], stopped)
            with pytest.raises(futures.TimeoutError):
                waiting.result(timeout=1)
            assert not (tmp_path / "asked").exists()
        assert waiting.result(timeout=30) == 0
        assert (tmp_path / "asked").read_text().count("train tiny") == 1
        with locks.alone(folder):
            waiting = pool.submit(queue.train, ("tiny", 0), [], [], stopped)
            stopped.set()
            assert waiting.result(timeout=30) == 1


def test_of_equally_long_recipes_a_name_loads_the_augmented_one():
    entry = {"dataset": "cifar10", "architecture": "all_cnn_c", "seed": 0}
    names = ("all_cnn_c_budget", "fast", "fast_augmented")
    ordered = sorted([entry | {"preset": name} for name in names], key=release.place)
    assert [e["preset"] for e in ordered] == ["fast_augmented", *names[1::-1]]


@pytest.mark.usefixtures("few_test_images")
def test_a_network_is_not_released_with_another_ones_whitening(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "RELEASED", tmp_path)
    small = replace(
        catalogue.get("tiny"), preprocessing="gcn_zca", epochs=1, validate_every=0
    )
    for n in (64, 96):
        preset = replace(small, train_size=n)
        monkeypatch.setitem(catalogue.PRESETS, "tiny", preset)
        run.train(preset, 0, tmp_path / f"run{n}", data_dir=tmp_path / "data")
        if n == 64:
            release.release(tmp_path / "run64")
    with pytest.raises(ValueError, match=r"gcn_zca-shapes\.h5 is another whitening"):
        release.release(tmp_path / "run96")
    with pytest.raises(ValueError, match="the preset tiny and other settings"):
        release.release(tmp_path / "run64")


STOPPABLE = """#!/bin/sh
trap 'echo > stopped; exit 143' TERM
echo > began
while :; do sleep 0.1; done
"""


def test_a_stopped_queue_stops_its_runs(tmp_path):
    """Runs wait for one place; the first is told to stop, the others are not begun."""
    worker = tmp_path / "worker"
    worker.write_text(STOPPABLE)
    worker.chmod(0o700)
    program = (
        f"import sys; from experiments import queue; sys.executable = {str(worker)!r}\n"
        "sys.argv = ['queue', 'fast']; sys.exit(queue.main())"
    )
    environment = os.environ | {"PYTHONPATH": str(queue.RECORDS.parent)}
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        while not (tmp_path / "began").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert (tmp_path / "stopped").exists()
    assert out == f"0 of {len(queue.QUEUES['fast'])} runs are finished\n"


def test_a_name_loads_the_longest_recipe_and_no_test_error_chooses():
    entries = [
        {"dataset": "d", "architecture": "a", "preset": p, "seed": s, "error": e}
        for p, s, e in (
            ("all_cnn_c_short", 0, 1.0),
            ("fast_augmented", 1, 2.0),
            ("fast_augmented", 0, 3.0),
        )
    ]
    first = min(entries, key=release.place)
    assert (first["preset"], first["seed"]) == ("fast_augmented", 0)


def test_only_finished_test_results_are_released(tmp_path):
    small = replace(
        catalogue.get("tiny"), epochs=1, train_size=64, hold_out=32, validate_every=0
    )
    run.train(small, 0, tmp_path / "run")
    with pytest.raises(ValueError, match="measured on hold_out"):
        release.release(tmp_path / "run")
