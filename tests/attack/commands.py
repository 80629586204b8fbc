"""Odd files and odd words for every argument of every command.

What a command takes is read from its parser, so that a new argument is tried too. What
computes for long is replaced: what stands before it is what is attacked.
"""

import argparse
import contextlib
import io
import os
import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np

from allconv import __main__ as cli
from allconv.commands.arguments import parser
from allconv.networks import classifier, weights
from allconv.reports import gallery
from allconv.training import precision, run

WORDS = (
    *("", "nonsense", "-1", "0", "1", "2.5", "1e309", "nan", "9" * 30, "x" * 5000, "~"),
    *("é", "\udcff", "a\nb", "\0", "../..", "=1+1", "%s", "{}", "shapes", "cifar"),
    *("all_cnn_c", "tiny", "markdown", "guided", "conv1", "white:0", "tf"),
)
ENDINGS = ("h5", "json", "toml", "png", "npz", "keras", "py")
JSON = ("", "[]", "null", "{}", "[" * 10_000, '{"base": 1}', '{"base": "tiny", "a": 1}')


def furnish(folder: Path) -> list[str]:
    """Odd files: their names."""
    good = weights.released("all_cnn_c", "cifar10").read_bytes()
    chance = random.Random(0)
    found = [str(folder), str(folder / "gone"), "/dev/null"]
    for ending in ENDINGS:
        contents = [b"", chance.randbytes(999), b"\x89HDF\r\n\x1a\n" + bytes(600)]
        contents += [text.encode() for text in JSON] if ending == "json" else []
        contents += [good[:-1], good[:5000]] if ending == "h5" else []
        contents += [b'base = "tiny"\nepochs = "x"'] if ending == "toml" else []
        for number, content in enumerate(contents):
            path = folder / f"odd{number}.{ending}"
            path.write_bytes(content)
            found.append(str(path))
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.h5")
        found.append(str(folder / "pipe.h5"))
    np.savez(folder / "none.npz", x=np.zeros(3))
    return [*found, str(folder / "none.npz")]


def lines(files: list[str], chance: random.Random) -> Iterator[list[str]]:
    """Command lines without end, each of one command with odd arguments."""
    commands = next(
        action
        for action in parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    ).choices
    while True:
        name = chance.choice([n for n in commands if n != "doctor"])
        line = [name]
        for action in commands[name]._actions:
            if action.dest in ("help", "output", "records", "folder", "tensorboard"):
                continue
            likely = 0.8 if not action.option_strings or action.required else 0.15
            if chance.random() > likely:
                continue
            line += action.option_strings[-1:]
            if action.nargs != 0:
                count = action.nargs if isinstance(action.nargs, int) else 1
                pool = files if chance.random() < 0.5 else WORDS
                line += [chance.choice(pool) for _ in range(count)]
        yield line


def tried(line: list[str], folder: Path) -> str:
    """Why a command line broke; "" where it held."""
    out, err = io.StringIO(), io.StringIO()
    before = Path.cwd()
    try:
        os.chdir(folder)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status: object = cli.main(line)
    except SystemExit as end:  # argparse's own: usage and a line
        return "" if end.code in (0, 2) else f"status {end.code}"
    except BaseException as error:
        return f"{type(error).__name__} gets out: {error}"
    finally:
        os.chdir(before)
    said = [one for one in err.getvalue().splitlines() if one.startswith("allconv: ")]
    if "Traceback" in err.getvalue() and "--traceback" not in line:
        return "a traceback"
    if status == 1 and said and "--traceback shows" not in said[-1]:
        return ""  # what was amiss was found, and is told: of `evaluate --all`
    if status not in (0, 2):
        return f"status {status}: {said[-1:] or err.getvalue()[-200:]}"
    if status and len(said) != 1:
        return f"{len(said)} lines of error"
    return ""


def attack(folder: Path, number: int) -> Iterator[tuple[str, str]]:
    """Yields what was tried, and how it broke (`""`: it held)."""
    files = furnish(folder)
    empty = mock.Mock(return_value=folder / "none.npz")

    def scores(self, images, **_):
        return np.full((len(images), self.meta["classes"]), 0.1)

    record = {"status": "diverged"}
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        for place, name, stand_in in (
            (run, "train", mock.Mock(return_value=record)),
            (gallery, "write", empty),
            (gallery, "write_model", empty),
            (classifier.Classifier, "predict", scores),
            (precision, "fastest", mock.Mock(return_value="float32")),
        ):
            stack.enter_context(mock.patch.object(place, name, stand_in))
        environment = {"ALLCONV_DATA": str(folder)}
        stack.enter_context(mock.patch.dict(os.environ, environment))
        chosen = lines(files, random.Random(1))
        for _ in range(number):
            line = next(chosen)
            yield " ".join(repr(word)[:60] for word in line), tried(line, folder)
