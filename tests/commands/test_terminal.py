"""Streams that are closed or narrow, interrupts, and Keras on something else."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from allconv import __main__ as cli
from experiments import RECORDS
from tests.test_cli import TRAIN


@pytest.mark.parametrize("redirect", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_error(redirect, tmp_path):
    file = tmp_path / "table.txt"
    command = f"{sys.executable} -m allconv table cifar10 -o {file} {redirect}"
    done = subprocess.run(command, shell=True, check=False, cwd=RECORDS.parent)
    assert done.returncode == 0
    assert file.read_text().startswith("network")


@pytest.mark.parametrize("encoding", ["ascii", "cp874", "utf-8"])
def test_a_narrow_encoding_prints_what_it_can(encoding):
    done = subprocess.run(
        [sys.executable, "-m", "allconv", "table", "cifar10"],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        cwd=RECORDS.parent,
        capture_output=True,
        check=True,
    )
    sign = "±" if encoding == "utf-8" else "?"
    assert f"18.70 {sign} 0.37" in done.stdout.decode(encoding)


def test_a_reader_that_has_seen_enough_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -u -m allconv list | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("networks ")
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


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


def test_another_backend_is_refused_before_it_is_imported(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "allconv", "evaluate", "all_cnn_c"],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("allconv: allconv needs Keras on TensorFlow")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("folder", ["networks.build", "explain", "probes", "training"])
def test_another_backend_is_refused_at_import_though_it_is_not_there(folder):
    code = f"import allconv; allconv.presets.catalogue; allconv.{folder}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"KERAS_BACKEND": "none_such"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1].startswith(
        "ImportError: allconv needs Keras on TensorFlow"
    )
