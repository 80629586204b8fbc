"""The command line: what it answers, and one line for wrong input."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from allconv import __main__ as cli
from allconv.presets import catalogue
from allconv.results import tables
from experiments import RECORDS


def call(capsys, *arguments):
    status = cli.main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_list_names_everything(capsys):
    status, out, _ = call(capsys, "list")
    assert status == 0
    for name in catalogue.PRESETS:
        assert f"  {name} " in out
    assert "1,369,738 parameters" in out


def test_data(capsys):
    status, out, _ = call(capsys, "data", "shapes")
    assert status == 0
    assert "5000 training and 1000 test images" in out
    assert re.search(r"training set [0-9a-f]{64}", out)


@pytest.mark.parametrize("name", tables.TABLES)
def test_tables(capsys, name, tmp_path):
    out_file = tmp_path / "table.md"
    status, out, _ = call(
        capsys,
        *("table", name, "--style", "markdown", "-o", out_file, "--records", tmp_path),
    )
    assert status == 0
    assert out == out_file.read_text()
    assert "not run" in out


@pytest.mark.parametrize(
    "words", [["table", "cifar10"], ["list"], ["data", "--clean"], ["train", "nope"]]
)
def test_what_only_looks_up_needs_no_tensorflow(words, tmp_path):
    code = (
        "import sys; from allconv.__main__ import main\n"
        f"assert main({words}) == {2 * (words[0] == 'train')}\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)\n"
    )
    environment = os.environ | {"ALLCONV_DATA": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=RECORDS.parent, env=environment
    )


TYPOS = """
import sys; from allconv.__main__ import main
for words in (
    "evaluate al_cnn_c", "export al_cnn_c --format onnx", "explain 0 --model al_cnn_c"
):
    assert main(words.split()) == 2
assert not {'keras', 'tensorflow'} & set(sys.modules)
"""


def test_a_typo_in_a_networks_name_does_not_wait_for_tensorflow():
    done = subprocess.run(
        [sys.executable, "-c", TYPOS],
        check=True,
        capture_output=True,
        text=True,
        cwd=RECORDS.parent,
    )
    assert done.stderr.count("\n") == 3
    assert done.stderr.count("; the nearest are all_cnn_c, ") == 3


def test_help_imports_nothing_that_takes_time():
    code = (
        "import sys; from allconv.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "slow = {'keras', 'tensorflow', 'numpy', 'matplotlib', 'h5py', 'PIL'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=RECORDS.parent)


def test_list_says_what_a_recipe_comes_to(capsys):
    _, out, _ = call(capsys, "list")
    assert re.search(r"  model_c_budget +6 +15\.70 ± 0\.40 +77  released\n", out)
    assert re.search(r"  model_c +350 +not run\n", out)
    assert "\n  model_c * " in out
    assert "\n All-CNN (Springenberg et al., 2015) on CIFAR-100\n" in out


def test_latex_fits_a_page(capsys):
    _, out, _ = call(capsys, "table", "cifar10", "--style", "latex")
    lines = out.splitlines()
    assert len(lines) < 40
    assert max(map(len, lines)) < 90
    assert "not run" not in out
    words = ("table", "cifar10", "--done", "--columns", "network", "our error %")
    _, out, _ = call(capsys, *words, "--style", "csv")
    assert out.splitlines()[0] == "network,our error %"
    assert "not run" not in out
    status, _, err = call(capsys, "table", "cifar10", "--columns", "eror")
    assert (status, "`columns` should be one of network" in err) == (2, True)


def test_whitenings_are_deleted_when_asked(capsys, tmp_path):
    names = [f"gcn_zca-{i:016x}.h5" for i in range(3)]
    for name in (*names, "cifar10.npz", "gcn_zca-mine.h5"):
        (tmp_path / name).write_bytes(b"x" * 500_000)
    status, out, _ = call(capsys, "data", "--clean", "--data-dir", tmp_path)
    assert (status, out) == (0, f"deleted 3 whitenings, 2 MB, from {tmp_path}\n")
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {"cifar10.npz", "gcn_zca-mine.h5"}


@pytest.mark.parametrize(
    "error, status, line",
    [
        (ValueError("two\nlines"), 2, "allconv: two lines"),
        (OSError("full"), 2, "allconv: full"),
        (ValueError(), 2, "allconv: ValueError"),
        (KeyError("x"), 1, "allconv: KeyError: 'x' (--traceback shows where)"),
        (
            MemoryError(),
            1,
            "allconv: MemoryError: MemoryError (--traceback shows where)",
        ),
        (RecursionError("deep"), 1, "allconv: RecursionError: deep (--traceback"),
    ],
)
def test_whatever_is_raised_is_one_line(capsys, monkeypatch, error, status, line):
    def fail(arguments):
        raise error

    monkeypatch.setattr("allconv.commands.show.show_list", fail)
    found, out, err = call(capsys, "list")
    assert (found, out, err.count("\n")) == (status, "", 1)
    assert err.startswith(line)
    found, _, err = call(capsys, "list", "--traceback")
    assert found == status
    assert err.startswith("Traceback")
    assert "in fail" in err
    assert call(capsys, "--traceback", "list")[2].startswith("Traceback")


def test_make_says_which_python_it_needs_before_it_makes_anything(tmp_path):
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        (tmp_path / name).write_bytes((RECORDS.parent / name).read_bytes())
    old = tmp_path / "python3.9"
    old.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "import sys; '
        'sys.version_info = (3, 9, 18); exec(sys.argv[1])" "$2"\n'
    )
    old.chmod(0o755)
    done = subprocess.run(
        ["make", f"PYTHON={old}", "demo"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    assert "allconv needs Python 3.10 or newer; this is 3.9. Name one" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_an_earlier_recipe_has_a_star_and_the_star_a_line(capsys, tmp_path):
    earlier = RECORDS / "fast_augmented_11-seed0.json"
    (tmp_path / earlier.name).write_bytes(earlier.read_bytes())
    _, out, _ = call(capsys, "table", "cifar10_augmented", "--records", tmp_path)
    assert re.search(r"fast_augmented\* +11 .* 7\.45", out)
    assert out.endswith("\n\n* an earlier recipe that had this name\n")
    _, out, _ = call(capsys, "table", "cifar10", "--records", tmp_path)
    assert "*" not in out


TRAIN = (
    *("train", "tiny", "--epochs", "1", "--train-size", "64"),
    *("--hold-out", "32", "--csv", "--snapshots", "1", "--precision", "float32"),
)


def test_train_then_evaluate(capsys, tmp_path):
    folder, records = tmp_path / "run", tmp_path / "records"
    command = (*TRAIN, "--folder", folder, "--records", records, "--seed", "5")
    status, out, _ = call(capsys, *command)
    assert status == 0
    assert re.search(r"seed 5: error \d+\.\d\d % \(\d+ of 32, hold_out\)", out)
    (copied,) = records.iterdir()
    assert json.loads(copied.read_text())["preset"]["train_size"] == 64
    assert (folder / "history.csv").exists()
    assert (folder / "snapshot-0001.h5").exists()
    status, again, _ = call(capsys, *command)
    assert (status, again) == (0, out)
    status, out, _ = call(
        capsys, "evaluate", "--weights", folder / "weights.h5", "--dataset", "shapes"
    )
    assert status == 0
    assert re.search(r"strided_cnn_a on shapes: error \d+\.\d\d % \(\d+ of 1000", out)
    for other, message in (
        (
            "cifar100",
            "tells 10 classes apart, as in cifar10, shapes, fashion_mnist",
        ),
        (
            "svhn",
            "should be one of cifar10, cifar100, shapes, fashion_mnist",
        ),
    ):
        arguments = ("--weights", folder / "weights.h5", "--dataset", other)
        status, _, err = call(capsys, "evaluate", *arguments)
        assert status == 2
        assert message in err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("train", "nope"), "that `python -m allconv list` shows. Received: 'nope'"),
        (("train", "tiny", "--seed", "-1"), "`seed` should be an integer from 0"),
        (("train", "tiny", "--epochs", "0"), "`epochs` should be 1 or more"),
        (
            ("train", "tiny", "--learning-rate", "-1"),
            "`learning_rate` should be a number from",
        ),
        (
            ("train", "tiny", "--precision", "float64"),
            "`precision` should be one",
        ),
        (("train", "tiny", "--threads", "0"), "`threads` should be 1 or more"),
        (("train", "tiny", "--tensorboard", "logs"), "needs the package tensorboard"),
        (("data", "svhn"), "`name` should be one of"),
        (("table", "svhn"), "A table should be one of cifar10"),
        (("table", "cifar10", "--records", "/nonexistent"), "no folder"),
        (("table", "cifar10", "--style", "html"), "`style` should be one of"),
        (("train", "fst_augmentd"), "; the nearest are fast_augmented"),
        (("train",), "Name a preset that `list` shows, or a --preset-file"),
        (("train", "--preset-file", "gone.json"), "There is no file gone.json"),
        (("data",), "Name a data set, one of cifar10"),
        (("data", "/gone.npz"), "There is no data set /gone.npz"),
        (("table", "cifr10"), "Received: 'cifr10'; the nearest are cifar10, cifar100"),
        (("evaluate",), "Name a network"),
        (("evaluate", "large_all_cnn"), "No weights of large_all_cnn"),
        (("evaluate", "--weights", "gone.h5"), "There is no file gone.h5"),
        (("evaluate", "--all", "--weights", "a.h5"), "name neither a network, nor"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    capsys, monkeypatch, tmp_path, arguments, message
):
    find = importlib.util.find_spec  # TensorBoard is not installed
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda n, *a: None if n == "tensorboard" else find(n, *a),
    )
    if arguments[0] == "train":
        arguments = (*arguments, "--folder", tmp_path)
    status, out, err = call(capsys, *arguments)
    assert status == 2
    assert out == ""
    assert message in err
    assert err.startswith("allconv: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [(), ("fly",), ("train", "tiny", "--seed", "x")])
def test_wrong_words_are_usage_and_status_2(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    assert caught.value.code == 2
    assert "usage: python -m allconv" in capsys.readouterr().err


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    out = capsys.readouterr().out
    assert "Ctrl-C stops a training run safely" in out
    for command in (
        *("list", "doctor", "data", "train", "evaluate", "table", "explain", "gallery"),
    ):
        assert f"\n    {command} " in out


def test_errors_of_a_real_process_are_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "allconv", "train", "nope"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("--model", "mine.keras"),
        ("--images", "photos"),
        ("--model", "mine.keras", "--images", "photos", "--weights", "w.h5"),
        ("--preprocess", "tf"),
        ("--model", "m.keras", "--images", "p", "--white", "1", "--preprocess", "tf"),
    ],
)
def test_what_a_gallery_is_of_should_be_said_once(capsys, arguments):
    status, _, err = call(capsys, "gallery", *arguments)
    assert status == 2
    assert err.startswith("allconv: ")
    assert "--" in err
