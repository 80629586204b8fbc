"""The command line: what it answers, and one line for wrong input."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

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


def test_a_table_needs_no_tensorflow():
    code = (
        "import sys; from allconv.__main__ import main\n"
        "assert main(['table', 'cifar10']) == 0\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=RECORDS.parent)


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
    *("--hold-out", "32", "--csv", "--snapshots", "1"),
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
    for other in ("cifar100", "mnist"):
        arguments = ("--weights", folder / "weights.h5", "--dataset", other)
        status, _, err = call(capsys, "evaluate", *arguments)
        assert status == 2
        assert "tells 10 classes apart, as in cifar10 and shapes. Received" in err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("train", "nope"), "There is no preset 'nope'. The presets are"),
        (("train", "tiny", "--seed", "-1"), "`seed` should be an integer from 0"),
        (("train", "tiny", "--epochs", "0"), "`epochs` should be 1 or more"),
        (
            ("train", "tiny", "--learning-rate", "-1"),
            "`learning_rate` should be a number from",
        ),
        (
            ("train", "tiny", "--precision", "mixed_float16"),
            "`precision` should be one",
        ),
        (("train", "tiny", "--threads", "0"), "`threads` should be 1 or more"),
        (("train", "tiny", "--tensorboard", "logs"), "needs the package tensorboard"),
        (("data", "mnist"), "`name` should be one of"),
        (("table", "mnist", "--records", "/nonexistent"), "The tables are cifar10"),
        (("table", "cifar10", "--records", "/nonexistent"), "no folder"),
        (("table", "cifar10", "--style", "html"), "`style` should be one of"),
        (("evaluate",), "Name a network"),
        (("evaluate", "large_all_cnn"), "No weights of large_all_cnn"),
        (("evaluate", "--weights", "gone.h5"), "There is no file gone.h5"),
        (("evaluate", "--all", "--weights", "a.h5"), "name neither a network, nor"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    capsys, monkeypatch, tmp_path, arguments, message
):
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda name: None)
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
    for command in ("list", "data", "train", "evaluate", "table", "gallery"):
        assert f"\n    {command} " in out


def test_ctrl_c_says_how_to_go_on(tmp_path):
    command = [sys.executable, "-m", "allconv", *TRAIN, "--epochs", "500"]
    command += ["--folder", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not list(tmp_path.glob("epoch-*.h5")):
            assert process.poll() is None
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 128 + signal.SIGINT
    assert "the same command goes on from there" in err
    assert "Traceback" not in err


def test_a_reader_that_has_seen_enough_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -u -m allconv list | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("networks\n", "")


def test_errors_of_a_real_process_are_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "allconv", "train", "nope"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_ctrl_c_while_python_imports_is_a_line(tmp_path):
    """`textwrap` stands for any module: it is interrupted as it is imported."""
    (tmp_path / "textwrap.py").write_text("raise KeyboardInterrupt\n")
    root = Path(cli.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "allconv", "list"],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == "\nStopped.\n"
    assert done.returncode in (-signal.SIGINT, 128 + signal.SIGINT)


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_a_command_without_output_does_its_work(tmp_path, closed):
    table = tmp_path / "table.txt"
    root = Path(cli.__file__).parents[1]
    for command, made in ((f"table cifar10 -o {table}", table), ("list", None)):
        line = f"{sys.executable} -m allconv {command} {closed}"
        done = subprocess.run(line, shell=True, cwd=root, capture_output=True)
        assert done.returncode == 0, done.stderr
        assert made is None or "±" in made.read_text("utf-8")


@pytest.mark.parametrize("encoding", ["ascii", "cp874"])
def test_an_output_without_the_sign_has_a_stand_in(encoding):
    done = subprocess.run(
        [sys.executable, "-m", "allconv", "table", "cifar10"],
        cwd=Path(cli.__file__).parents[1],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    )
    assert re.search(rb"\d \? \d", done.stdout)
