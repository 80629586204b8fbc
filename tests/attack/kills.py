"""Kill a run at random and at chosen instants; the one that goes on ends alike.

The processes are forked from one that has imported TensorFlow and not yet used it, so
that a run of two epochs takes seconds.
"""

import dataclasses
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from unittest import mock

import tensorflow as tf
from keras import layers

from allconv.core import disk
from allconv.core.files import digest, read
from allconv.data import datasets
from allconv.networks import own
from allconv.training import checkpoints
from tests.runs import SMALL, run

RUN = dataclasses.replace(
    SMALL,
    architecture="attacked",
    augmentation="paper",
    train_size=24,
    hold_out=16,
    validate_every=0,
)
TIMES = ("minutes", "date", "environment")  # of a record, which no two runs share
KILLS = 5  # of one run


def _hidden(x, options):
    x = layers.Conv2D(4, 3, 2, activation="relu", name="conv1")(x)
    return layers.Dropout(0.5, name="dropout1")(x)


class Instants:
    """Every step of every write below a folder, numbered; kills at one of them.

    Args:
        folder: Of the run.
        at: The number of the step to kill at; -1: none.
    """

    def __init__(self, folder: Path, at: int):
        self.folder, self.at, self.passed = str(folder), at, 0

    def step(self) -> None:
        if self.passed == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed += 1

    def audit(self, event: str, arguments: tuple) -> None:
        """Files made, renamed and deleted, and those opened to be written."""
        if event not in ("open", "os.rename", "os.remove", "os.mkdir"):
            return
        if not str(arguments[0]).startswith(self.folder):
            return
        if event != "open" or arguments[2] & (os.O_WRONLY | os.O_RDWR):
            self.step()

    def watch(self) -> None:
        """Until the process ends."""
        temporary, fsync = disk._temporary, os.fsync

        class Half:
            """A file that can be killed with half of its content written."""

            def __init__(self, file, step):
                self.file, self.step = file, step

            def __getattr__(self, name):
                return getattr(self.file, name)

            def write(self, content):
                self.file.write(content[: len(content) // 2])
                self.file.flush()
                self.step()
                self.file.write(content[len(content) // 2 :])

        class Open:
            def __init__(self, path, step):
                self.inner, self.step = temporary(path), step

            def __enter__(self):
                path, file = self.inner.__enter__()
                return path, Half(file, self.step)

            def __exit__(self, *raised):
                return self.inner.__exit__(*raised)

        def flush(descriptor):
            self.step()
            fsync(descriptor)
            self.step()

        disk._temporary = lambda path: Open(path, self.step)
        os.fsync = flush
        sys.addaudithook(self.audit)


def forked(work: Callable[[], None], after: float | None = None) -> int:
    """Do it in a process of its own; returns the exit status, of a signal below 0.

    Args:
        work: What is done.
        after: Seconds until it is killed; None: it is not.
    """
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def train(folder: Path, at: int = -1) -> None:
    own.register("attacked", _hidden, smallest_input=8)
    instants = Instants(folder, at)
    instants.watch()
    plain = tf.autograph.experimental.do_not_convert(run)  # half of the time of a run
    plain(folder, RUN, csv=True)
    (folder / "instants").write_text(str(instants.passed))


def left(folder: Path) -> dict[str, object]:
    """What a finished run leaves, but for the times in it."""
    record = json.loads((folder / "record.json").read_text())
    found: dict[str, object] = {k: v for k, v in record.items() if k not in TIMES}
    for path in checkpoints.files(folder):
        arrays, meta = read(path)
        found[path.name] = digest(arrays, {**meta, "seconds": 0})
    for name in ("weights.h5", "history.csv"):
        found[name] = (folder / name).read_bytes()
    found["files"] = sorted(p.name for p in folder.iterdir() if p.name != "instants")
    return found


def attack(folder: Path, kills: int) -> Iterator[tuple[str, str]]:
    """Yields what was tried, and how it broke (`""`: it held)."""
    drawn = datasets.load("shapes")  # once, not by each process
    with mock.patch.object(datasets, "load", return_value=drawn):
        yield from _kills(folder, kills)


def _kills(folder: Path, kills: int) -> Iterator[tuple[str, str]]:
    whole, chance = folder / "whole", random.Random(0)
    begun = time.perf_counter()
    assert forked(partial(train, whole)) == 0
    length = time.perf_counter() - begun
    expected, instants = left(whole), int((whole / "instants").read_text())
    every = max(1, instants // max(1, kills // KILLS))  # all of them, if kills suffice
    chosen, number = iter(range(0, instants, every)), 0
    done = 0
    while done < kills:
        number += 1
        there = folder / f"killed{number}"
        struck: list[str] = []
        for at in (next(chosen, -1), *[-1] * (KILLS - 1)):
            after = chance.uniform(0.1, 1) * length if at < 0 else None
            status = forked(partial(train, there, at), after)
            if status == -signal.SIGKILL:
                struck.append(f"after {after:.2f} s" if at < 0 else f"at step {at}")
        status = forked(partial(train, there))
        why = f"exit status {status}" if status else ""
        if not why:
            found = left(there)
            differing = [k for k in expected | found if expected.get(k) != found.get(k)]
            why = f"{', '.join(differing)} differ" if differing else ""
        for one in struck:
            yield f"run {number} killed {one}", why
        done += len(struck)
