"""Every place that writes: a full disk at each of its writes, and two at a time."""

import contextlib
import dataclasses
import errno
import io
import os
import stat
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
from matplotlib.figure import Figure

from allconv import __main__ as cli
from allconv.commands import arguments, imports
from allconv.core import files
from allconv.data import index, measured, shapes
from allconv.data.preprocessing import MeanStd
from allconv.networks import export, imported, weights
from allconv.networks.classifier import Classifier
from allconv.probes import evolution
from allconv.reports import explanation, gallery
from allconv.reports.microscope import page
from allconv.results import records, tables
from allconv.training import checkpoints, inputs, precision
from experiments import written
from tests.attack import odd_files
from tests.nets import noticeable

Write = Callable[[Path], object]
# To trace a model is for one thread at a time; its three files are written as all are.
ALONE = ("an explanation",)


_TURN = threading.Lock()
_REPLACED: dict[tuple, list] = {}  # what was there, and how many replace it now


@contextlib.contextmanager
def replaced(owner: object, name: str, value: object) -> Iterator[None]:
    """Set an attribute while any thread is in here.

    `mock.patch` of two threads would give back the first one's mock for good.
    """
    with _TURN:
        entry = _REPLACED.setdefault((id(owner), name), [getattr(owner, name), 0])
        entry[1] += 1
        setattr(owner, name, value)
    try:
        yield
    finally:
        with _TURN:
            entry[1] -= 1
            if not entry[1]:
                setattr(owner, name, entry[0])
                del _REPLACED[id(owner), name]


def places() -> dict[str, Write]:
    """What writes, by name; each writes the same whenever it is called."""
    net = noticeable()
    images = shapes.draw(80)[0]
    path = weights.released("all_cnn_c", "cifar10")
    small = MeanStd(np.zeros(3), np.ones(3))
    classifier = dataclasses.replace(Classifier.load(path), preprocessor=small)
    kept = evolution.Snapshots(Path(), (1,))
    kept.set_model(net)
    record = records.read(odd_files.ROOT / "records/model_c_budget-seed0.json")

    def whitening(folder: Path) -> None:
        inputs.fitted("gcn_zca", images[:, ::4, ::4], "f" * 64, folder)

    def fastest(folder: Path) -> None:
        names = replaced(precision, "candidates", lambda: ["float32", "b"])
        rates = replaced(precision, "measure", lambda: {"float32": 2.0})
        with names, rates:
            precision.fastest(folder)

    def snapshot(folder: Path) -> None:
        kept.folder = folder
        kept.on_epoch_end(0)

    def explain(folder: Path) -> None:
        explanation.write(
            folder / "explained.png",
            *(images[:1, 4:12, 4:12], net, lambda x: x / 255.0),
            *(lambda _, maps: maps, "guided", {}),
            target=1,
        )

    def microscope(folder: Path) -> None:
        with replaced(page, "pieces", lambda *_, **__: Parts()):
            page.write(folder / "microscope.html", [classifier])

    def units(folder: Path) -> None:
        gallery._assemble(folder / "gallery" / "index.html", Parts(), {}, {}, [])

    def table(folder: Path) -> None:
        with (
            replaced(sys, "stdout", io.StringIO()),
            replaced(sys, "stderr", io.StringIO()),
            replaced(tables, "read", lambda _: [record]),
        ):
            status = cli.main(["table", "cifar10", "-o", str(folder / "table.txt")])
        if status:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "table.txt")

    def exported(folder: Path) -> None:
        kind = export.Format(
            ".keras",
            lambda _, path: files.write_bytes(path, b"x" * 10_000),
            lambda _: lambda images: np.full((len(images), 2), 0.5),
        )
        mine = types.SimpleNamespace(
            predict=kind.open(folder), meta={"architecture": "net"}
        )
        with (
            replaced(export, "FORMATS", {"keras": kind}),
            replaced(export, "plain", lambda *_: None),
        ):
            export.write(folder / "net.keras", mine, images[:3], "keras")

    def imported_network(folder: Path) -> None:
        other = types.SimpleNamespace(
            get_weights=lambda: [np.zeros(3)],
            count_params=lambda: 3,
            save=lambda path: path.write_bytes(b"x" * 10_000),
        )
        words = ["import", "Other", "-o", str(folder / "net.keras")]
        with (
            replaced(imported, "from_keras", lambda *_: other),
            replaced(sys, "stdout", io.StringIO()),
        ):
            imports.import_(arguments.parser().parse_args(words))

    def mean_of_photos(folder: Path) -> None:
        photos = mock.MagicMock(**{"order.return_value": "f" * 64})
        photos.take.return_value = photos
        found = measured.Measured(*np.zeros((4, 3)))
        with replaced(measured, "_measure", lambda *_: found):
            measured.measure.__wrapped__(photos, 8, folder)

    known = {"a.jpg": ((1, 2), np.zeros(1, index.ROW))}
    return {
        "bytes": lambda f: files.write_bytes(f / "bytes", b"x" * 10_000),
        "arrays": lambda f: files.write(f / "a.h5", {"a": np.arange(9)}, {"b": 1}),
        "a checkpoint": lambda f: checkpoints.save(f, 3, {"a": np.arange(9)}, {}),
        "a whitening that is kept": whitening,
        "a precision that is kept": fastest,
        "an index of photographs that is kept": lambda f: index._save(
            f / "index.h5", f.parent, known
        ),
        "a mean of photographs that is kept": mean_of_photos,
        "a snapshot": snapshot,
        "weights": lambda f: classifier.save(f / "weights.h5"),
        "an export": exported,
        "an imported network": imported_network,
        "an explanation": explain,
        "the microscope": microscope,
        "the page of units": units,
        "a table": table,
        "an experiment's table": lambda f: written.write_text(f / "t" / "a.md", "a"),
        "an experiment's figure": lambda f: written.write_figure(
            f / "p" / "a.png", Figure((1, 1))
        ),
    }


class Parts(dict):
    """Any part of a page: its name."""

    def __missing__(self, name: str) -> str:
        return name

    def __or__(self, other):
        return Parts(dict(self) | dict(other))

    def __ior__(self, other):
        self.update(other)
        return self


class Full:
    """A disk that is full at the write of that number."""

    def __init__(self, at: int):
        self.at, self.writes = at, 0
        self.real = os.fsync

    def __call__(self, descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            self.writes += 1
            if self.writes - 1 == self.at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.real(descriptor)


def content(folder: Path) -> dict[str, bytes]:
    paths = (p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


def full_disks(folder: Path, chosen: dict[str, Write]) -> Iterator[tuple[str, str]]:
    """A full disk at each write of each place, over nothing and over a whole file."""
    for name, write in chosen.items():
        whole = folder / name / "whole"
        whole.mkdir(parents=True)
        counted = Full(-1)
        with mock.patch.object(os, "fsync", counted):
            write(whole)
        expected = content(whole)
        for at in range(counted.writes):
            there = folder / name / str(at)
            there.mkdir()
            for before in ("nothing", "a whole file"):
                yield (
                    f"{name}: full at write {at}, over {before}",
                    _tried(write, there, Full(at), expected),
                )


def _tried(write: Write, there: Path, full: Full, expected: dict) -> str:
    """Why a place did not hold, if it did not; it is left written whole."""
    before = content(there)
    try:
        with mock.patch.object(os, "fsync", full):
            write(there)
    except OSError as error:
        if error.filename is None:
            return f"the message names no file: {error}"
    after = content(there)
    if bad := [k for k in after if after[k] not in (before.get(k), expected.get(k))]:
        return f"{', '.join(bad)} are neither as before nor whole"
    if gone := before.keys() - after.keys():
        return f"{', '.join(gone)} are gone"
    write(there)
    return "" if content(there) == expected else "what is written after it differs"


def at_once(folder: Path, chosen: dict[str, Write]) -> Iterator[tuple[str, str]]:
    """Two writers, and a reader that looks at each file as often as it can."""
    for name, write in chosen.items():
        if name in ALONE:
            continue
        whole, there = folder / name / "whole", folder / name / "both"
        there.mkdir(parents=True)
        if not whole.exists():
            whole.mkdir()
            write(whole)
        expected, failures = content(whole), list[str]()

        def work(write=write, there=there, failures=failures) -> None:
            try:
                for _ in range(2):
                    write(there)
            except Exception as error:
                failures.append(f"{type(error).__name__}: {error}")

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            for key, value in expected.items():
                with contextlib.suppress(FileNotFoundError):
                    if (there / key).read_bytes() != value:
                        failures.append(f"{key} was torn")
        if content(there) != expected:
            failures.append("what is there differs")
        yield f"{name}: two at once", "; ".join(dict.fromkeys(failures))


def attack(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields what was tried, and how it broke (`""`: it held)."""
    chosen = places()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield from full_disks(folder, chosen)
        yield from at_once(folder, chosen)
