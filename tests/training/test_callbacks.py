"""One run, resumed, killed, stopped, diverged: the same bytes or a clear word."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest

from allconv.core import files, locks
from allconv.data import datasets
from allconv.results import tables
from allconv.training import callbacks, checkpoints, run as training_run
from tests.runs import SMALL, StopAfter, run


def test_finished_means_done(finished, monkeypatch):
    folder, record = finished
    monkeypatch.setattr(training_run, "fit", None)  # would fail if it were called
    assert run(folder) == record


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly_and_the_same_call_goes_on(finished, tmp_path, signum):
    _, record = finished
    before = signal.getsignal(signum)
    with pytest.raises(
        callbacks.Interrupted, match=r"Stopped in epoch 3 of 3\. The 2 fini"
    ):
        run(tmp_path, callbacks=[StopAfter(2, signum)])
    assert signal.getsignal(signum) == before
    assert [p.name for p in checkpoints.files(tmp_path)] == [
        "epoch-0002.h5",
        "epoch-0001.h5",
    ]
    assert run(tmp_path)["state_sha256"] == record["state_sha256"]


class StopAtTheEnd(keras.callbacks.Callback):
    """Sends this process a signal after the last step."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == SMALL.epochs:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_after_the_last_step_is_heard_too(finished, tmp_path):
    _, record = finished
    with pytest.raises(callbacks.Interrupted, match="was finished first"):
        run(tmp_path, callbacks=[StopAtTheEnd()])
    assert run(tmp_path)["state_sha256"] == record["state_sha256"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device")
def test_a_progress_line_that_cannot_be_written_stops_no_run(finished, tmp_path):
    _, record = finished
    program = (
        "import sys; from allconv.training.run import train\n"
        "from tests.runs import SMALL\n"
        "train(SMALL, 3, sys.argv[1])"
    )
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-c", program, str(tmp_path)]
        subprocess.run(command, stderr=full, check=False)
    assert run(tmp_path)["state_sha256"] == record["state_sha256"]
    assert (tmp_path / "record.json").exists()


PROGRAM = """
import sys
from tests.runs import SMALL, run
print("started", flush=True)
print(run(sys.argv[1], seed=int(sys.argv[2]))["state_sha256"], flush=True)
"""


@contextlib.contextmanager
def spawn(folder, seed=3):
    """A process that trains, at the moment when it begins to."""
    command = [sys.executable, "-c", PROGRAM, str(folder), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "started\n"
        yield process


def digest_of(folder, seed=3):
    with spawn(folder, seed) as process:
        digest = process.stdout.readline().strip()
    assert process.returncode == 0
    return digest


def test_sigkill_at_random_moments_changes_no_byte(tmp_path):
    """Against a process that nobody killed; another seed gives other bytes."""
    with spawn(tmp_path / "whole") as process:
        begun = time.perf_counter()
        digest = process.stdout.readline().strip()
        length = time.perf_counter() - begun

    rng, folder, killed = random.Random(0), tmp_path / "killed", 0
    for _ in range(4):
        with spawn(folder) as process:
            time.sleep(rng.uniform(0.1, 0.6) * length)
            process.kill()
        killed += process.returncode == -signal.SIGKILL
    assert killed
    assert digest_of(folder) == digest
    assert digest_of(tmp_path / "other", seed=4) != digest


def test_sigkill_between_two_checkpoints_changes_no_byte(finished, tmp_path):
    """Killed by itself in the middle of the second and then of the third epoch."""
    _, record = finished
    for epoch in (1, 2):
        program = (
            "import sys; from tests.runs import StopAfter, run; import signal\n"
            f"run(sys.argv[1], callbacks=[StopAfter({epoch}, signal.SIGKILL)])"
        )
        command = [sys.executable, "-c", program, str(tmp_path)]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        assert len(checkpoints.files(tmp_path)) == epoch
    assert run(tmp_path)["state_sha256"] == record["state_sha256"]


def test_a_damaged_checkpoint_costs_an_epoch_and_no_byte(finished, tmp_path):
    _, record = finished
    with pytest.raises(callbacks.Interrupted):
        run(tmp_path, callbacks=[StopAfter(2)])
    newest = checkpoints.files(tmp_path)[0]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    with pytest.warns(UserWarning, match=r"epoch-0002\.h5 is damaged"):
        assert run(tmp_path)["state_sha256"] == record["state_sha256"]


def test_a_full_disk_at_a_checkpoint_is_an_error_that_loses_nothing(
    finished, tmp_path, monkeypatch
):
    _, record = finished
    real = os.replace
    calls = []

    def full(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        run(tmp_path)
    monkeypatch.undo()
    assert [p.name for p in checkpoints.files(tmp_path)] == ["epoch-0001.h5"]
    assert run(tmp_path)["state_sha256"] == record["state_sha256"]


def test_another_run_in_the_folder_is_refused(finished):
    folder, _ = finished
    with pytest.raises(RuntimeError, match=r"epochs \(3 there, 4 asked for\)"):
        run(folder, replace(SMALL, epochs=4))
    with pytest.raises(RuntimeError, match="differs in seed"):
        run(folder, seed=9)


def test_another_preset_over_checkpoints_is_refused(tmp_path):
    with pytest.raises(callbacks.Interrupted):
        run(tmp_path, callbacks=[StopAfter(1)])
    with pytest.raises(RuntimeError, match="differs in learning_rate"):
        run(tmp_path, replace(SMALL, learning_rate=0.5))
    newest = checkpoints.files(tmp_path)[0]
    arrays, meta = files.read(newest)
    meta["identity"]["preset"]["mixup"] = 0.5  # of a version that has such a field
    files.write(newest, arrays, meta)
    with pytest.raises(RuntimeError, match=r"mixup \(0.5 there, None asked for\)"):
        run(tmp_path)


def test_a_run_that_a_callback_ends_is_not_finished(tmp_path, finished):
    _, record = finished

    class End(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    for epoch in (1, 2):
        with pytest.raises(RuntimeError, match=rf"ended the run .* epoch {epoch} of 3"):
            run(tmp_path, callbacks=[End()])
    assert not (tmp_path / "record.json").exists()
    assert run(tmp_path)["state_sha256"] == record["state_sha256"]


def test_the_same_images_in_another_order_are_other_data(tmp_path, monkeypatch):
    with pytest.raises(callbacks.Interrupted):
        run(tmp_path, callbacks=[StopAfter(1)])
    (x, y), test = datasets.load("shapes")
    order = np.arange(len(x))
    order[:2] = 1, 0
    load = mock.Mock(return_value=((x[order], y[order]), test))
    monkeypatch.setattr(datasets, "load", load)
    with pytest.raises(RuntimeError, match="differs in data"):
        run(tmp_path)


def test_what_is_no_checkpoint_and_no_record_is_named(tmp_path):
    checkpoints.save(tmp_path, 1, {"a": np.zeros(2)}, {})
    with pytest.raises(RuntimeError, match=r"newest checkpoint .* is of no run"):
        run(tmp_path)
    (tmp_path / "record.json").write_text('{"preset": {}, "seed": 3}')
    with pytest.raises(RuntimeError, match="is no run record"):
        run(tmp_path)


def test_checkpoints_of_other_data_are_refused(tmp_path, monkeypatch):
    with pytest.raises(callbacks.Interrupted):
        run(tmp_path, callbacks=[StopAfter(1)])
    real = datasets.load

    def altered(*args):
        (x, y), test = real(*args)
        x = x.copy()
        x[:, 0, 0, 0] ^= 1
        return (x, y), test

    monkeypatch.setattr(datasets, "load", altered)
    with pytest.raises(RuntimeError, match="differs in data"):
        run(tmp_path)


def test_two_processes_in_one_folder(tmp_path):
    with locks.alone(tmp_path), pytest.raises(locks.BusyError, match="Another process"):
        run(tmp_path)


def test_a_lock_that_is_deleted_lets_nobody_in(tmp_path):
    with locks.alone(tmp_path):
        (tmp_path / ".lock").unlink()
        with pytest.raises(locks.BusyError, match=rf"\({os.getpid()} on .*\) is train"):
            run(tmp_path)


class Deleted(keras.callbacks.Callback):
    """Deletes both locks in the second epoch, and may take the folder."""

    def __init__(self, folder, taken):
        super().__init__()
        self.folder, self.taken = folder, taken

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            for name in (locks.LOCK, locks.OWNER):
                (self.folder / name).unlink()
            if self.taken:
                (self.folder / locks.OWNER).write_text('{"pid": 7, "host": "other"}')


def test_a_run_whose_folder_was_taken_writes_nothing_more(tmp_path):
    with pytest.raises(locks.BusyError, match=r"taken by another process \(7 on other"):
        run(tmp_path, callbacks=[Deleted(tmp_path, True)])
    assert [p.name for p in checkpoints.files(tmp_path)] == ["epoch-0001.h5"]


def test_a_run_whose_locks_were_deleted_takes_them_again(tmp_path, finished):
    record = run(tmp_path, callbacks=[Deleted(tmp_path, False)])
    assert record["state_sha256"] == finished[1]["state_sha256"]
    assert not locks.is_held(tmp_path)


def test_weights_of_a_finished_run_are_made_again(finished, tmp_path):
    source, record = finished
    folder = tmp_path / "run"
    shutil.copytree(source, folder)
    whole = (folder / "weights.h5").read_bytes()
    for damage in (
        lambda path: path.unlink(),
        lambda path: path.write_bytes(whole[:-1]),
        lambda path: path.write_bytes(b""),
    ):
        damage(folder / "weights.h5")
        with pytest.warns(UserWarning, match=r"weights\.h5 was gone or damaged"):
            assert run(folder) == record
        assert (folder / "weights.h5").read_bytes() == whole
    (folder / "weights.h5").unlink()
    checkpoints.files(folder)[0].unlink()  # the one before is of no use
    with pytest.raises(RuntimeError, match="so is the checkpoint of its last epoch"):
        run(folder)


def test_a_finished_run_needs_no_lock(finished, tmp_path, monkeypatch):
    """As on a disk that is only read."""
    folder, record = finished
    monkeypatch.setattr(locks, "alone", None)  # would fail if it were called
    assert run(folder) == record


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_is_no_file_in_a_checkpoints_place_costs_an_epoch(
    finished, tmp_path, kind
):
    _, record = finished
    with pytest.raises(callbacks.Interrupted):
        run(tmp_path, callbacks=[StopAfter(2)])
    newest = checkpoints.files(tmp_path)[0]
    newest.unlink()
    if kind == "folder":
        newest.mkdir()
    else:
        newest.symlink_to(tmp_path / "nowhere" / "at all")
    with pytest.warns(UserWarning, match=r"epoch-0002\.h5.*passed over"):
        assert run(tmp_path)["state_sha256"] == record["state_sha256"]
    assert newest.is_file()
    (aside,) = tmp_path.glob("epoch-0002.h5.aside-*")
    assert aside.is_dir() or aside.is_symlink()


def test_a_resumed_runs_history_is_the_same_text(finished, tmp_path):
    folder, record = finished
    with pytest.raises(callbacks.Interrupted):
        run(tmp_path, csv=True, callbacks=[StopAfter(2)])
    newest = checkpoints.files(tmp_path)[0]
    arrays, meta = files.read(newest)  # as an earlier version had it, in order
    meta["history"] = [dict(sorted(row.items())) for row in meta["history"]]
    files.write(newest, arrays, meta)
    again = run(tmp_path, csv=True)
    assert json.dumps(again["history"]) == json.dumps(record["history"])
    texts = [(f / "history.csv").read_bytes() for f in (folder, tmp_path)]
    assert texts[0] == texts[1]


def test_what_a_kill_left_goes_with_the_next_start(finished, tmp_path):
    with pytest.raises(callbacks.Interrupted):
        run(tmp_path, callbacks=[StopAfter(2)])
    (tmp_path / "epoch-0000.h5").write_bytes(b"a third")
    (tmp_path / ".epoch-0003.h5.0123456789ab.tmp").write_bytes(b"half")
    run(tmp_path)
    assert {p.name for p in tmp_path.iterdir() if not p.name.startswith(".")} == {
        *("epoch-0002.h5", "epoch-0003.h5", "record.json", "weights.h5")
    }
    assert not list(tmp_path.glob(".*.tmp"))


def test_weights_set_after_the_last_epoch_are_not_measured(finished, tmp_path):
    """As early stopping does it that goes back to the best epoch on the test set."""
    _, record = finished

    class Other(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            self.model.set_weights([0 * w for w in self.model.get_weights()])

    with pytest.warns(UserWarning, match="has set other weights at the end"):
        found = run(tmp_path, callbacks=[Other()])
    assert found["state_sha256"] == record["state_sha256"]
    assert found["error"] == record["error"]
    assert "altered" not in found


def test_weights_set_after_an_epoch_count_for_no_recipe(tmp_path):
    class Smaller(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                self.model.set_weights([0.9 * w for w in self.model.get_weights()])

    preset = replace(SMALL, hold_out=0, epochs=2)
    with pytest.raises(callbacks.Interrupted):
        run(tmp_path, preset, callbacks=[Smaller(), StopAfter(1)])
    found = run(tmp_path, preset)  # it is not forgotten
    assert found["altered"] is True
    assert not tables.followed([found], found["preset"])
    del found["altered"]
    assert tables.followed([found], found["preset"])


class Poison(keras.callbacks.Callback):
    """Makes a weight NaN at one step of the second epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.now, batch) == (1, 3):
            kernel = self.model.get_layer("conv2").kernel
            kernel.assign(kernel * np.nan)


def test_nan_is_recorded_as_diverged_and_the_last_finite_state_survives(tmp_path):
    with pytest.warns(UserWarning, match="diverged: the loss is nan at step 4 of epo"):
        record = run(tmp_path, callbacks=[Poison()])
    assert record["status"] == "diverged"
    assert record["epochs"] == 1
    assert "error" not in record
    arrays, meta = checkpoints.load_latest(tmp_path)
    assert meta["epoch"] == 1
    assert all(np.isfinite(a).all() for a in arrays.values())
    assert not (tmp_path / "weights.h5").exists()
    assert run(tmp_path) == record  # and it is not tried again


def test_versions_that_changed_are_said(tmp_path, monkeypatch):
    with pytest.raises(callbacks.Interrupted):
        run(tmp_path, callbacks=[StopAfter(1)])
    real = training_run.runtime.environment
    monkeypatch.setattr(
        training_run.runtime, "environment", lambda: {**real(), "keras": "9"}
    )
    with pytest.warns(UserWarning, match="begun with another keras"):
        run(tmp_path)


def test_a_folder_with_something_else_for_a_record(tmp_path):
    for text in ("[]", '{"preset": "tiny", "seed": 0}'):
        (tmp_path / "record.json").write_text(text)
        with pytest.raises(RuntimeError, match="is no run record"):
            run(tmp_path)


def test_a_run_of_a_version_without_a_field_goes_on(finished, tmp_path):
    _, record = finished
    with pytest.raises(callbacks.Interrupted):
        run(tmp_path, callbacks=[StopAfter(1)])
    newest = checkpoints.files(tmp_path)[0]
    arrays, meta = files.read(newest)
    for field in ("norm", "windows"):
        del meta["identity"]["preset"][field]
    files.write(newest, arrays, meta)
    assert run(tmp_path)["state_sha256"] == record["state_sha256"]
