"""Damaged files, and records and manifests with odd fields.

No file here reaches HDF5: what has changed is refused by its digest.
"""

import contextlib
import copy
import io
import json
import math
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from allconv import __main__ as cli
from allconv.core import files
from allconv.networks import places, weights
from allconv.results import records, tables
from allconv.training import checkpoints

ROOT = Path(records.__file__).parents[2]
VALUES: tuple[Any, ...] = (
    *(None, "", "=1+1", "<b>x</b>", -1, 0, 2.5, 10**400, math.nan, math.inf, -math.inf),
    *(1e308, True, [], {}, [None], [[1]], {"a": 1}, "x" * 3000, "\x1b[31m"),
)


def damaged(folder: Path, number: int) -> Iterator[tuple[str, str]]:
    """Changed bytes, cuts and tails of a weight file and of a checkpoint."""
    checkpoint = checkpoints.save(folder, 1, {"a": np.arange(99.0)}, {"history": []})
    chance = random.Random(0)
    whole = [p.read_bytes() for p in (checkpoint, *weights.RELEASED.glob("quick*.h5"))]
    path = folder / "changed.h5"
    for i in range(number):
        content = bytearray(whole[i % len(whole)])
        place = chance.randrange(len(content))
        if i % 10 == 8:
            what, content = f"cut at byte {place}", content[:place]
        elif i % 10 == 9:
            what, content = f"{i} bytes more", content + bytes(i)
        else:
            # The head, where HDF5 keeps what it trusts, as often as all the rest.
            place = chance.randrange(min(len(content), 4096)) if i % 2 else place
            content[place] ^= 1 << chance.randrange(8)
            what = f"a bit of byte {place} changed"
        path.write_bytes(content)
        with mock.patch.object(files, "_unpacked", None):  # would fail, were it called
            yield what, _refused(path)


def _refused(path: Path) -> str:
    try:
        files.read(path)
    except files.DamagedFileError as error:
        return "" if path.name in str(error) else f"not named: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "read without a word"


def fields(value: Any, at: tuple = ()) -> Iterator[tuple]:
    """The places of a JSON document, those in long lists but for the first."""
    if at:
        yield at
    if isinstance(value, dict):
        for key, one in value.items():
            yield from fields(one, (*at, key))
    elif isinstance(value, list) and value:
        yield from fields(value[0], (*at, 0))


def changed(document: Any, at: tuple, value: Any, remove: bool = False) -> Any:
    document = copy.deepcopy(document)
    inner = document
    for key in at[:-1]:
        inner = inner[key]
    if remove:
        del inner[at[-1]]
    else:
        inner[at[-1]] = value
    return document


def odd_documents(document: Any, number: int, seed: int) -> Iterator[tuple[str, Any]]:
    """A document with one field changed or gone, in so many ways."""
    places_ = list(fields(document))
    ways = [(at, value) for at in places_ for value in (*VALUES, ...)]
    for at, value in random.Random(seed).sample(ways, min(number, len(ways))):
        name = ".".join(map(str, at))
        gone = value is ...
        words = "gone" if gone else f"{value!r:.30}"
        yield f"{name} {words}", changed(document, at, value, gone)


def odd_records(folder: Path, number: int) -> Iterator[tuple[str, str]]:
    """Records in `table`, in each style: a sound cell, or one line and status 2."""
    good = json.loads((ROOT / "records/model_c_budget-seed0.json").read_text())
    path = folder / "record.json"
    for what, document in odd_documents(good, number, 0):
        path.write_text(json.dumps(document))
        for style in tables.STYLES:
            yield f"{what} as {style}", _table(folder, style)


def _table(folder: Path, style: str) -> str:
    words = ("table", "cifar10", "--records", str(folder), "--style", style, "--done")
    status, out, err = _call(words)
    if status not in (0, 2):
        return err
    if status == 2:
        one = err.count("\n") == 1 and "record.json" in err
        return "" if one else f"not one line with the file's name: {err}"
    odd = r"nan|inf\b|(?<![A-Z])-\d|\de\+?\d|<b>(?!.*`)"
    if style == "csv":  # elsewhere it is a text like any other
        odd += r"|(?<!')=1\+1"
    if re.search(odd, out):
        return f"odd cells: {out}"[:300]
    return ""


def _call(words: tuple[str, ...]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = cli.main(list(words))
    except BaseException as error:
        return -1, "", f"{type(error).__name__} gets out: {error}"
    return status, out.getvalue(), err.getvalue()


def odd_manifests(folder: Path, number: int) -> Iterator[tuple[str, str]]:
    """Manifests: each is read, or refused with its name."""
    good = json.loads((weights.RELEASED / weights.MANIFEST).read_text())[:1]
    path = folder / weights.MANIFEST
    for what, document in odd_documents(good, number, 1):
        path.write_text(json.dumps(document))
        try:
            places.manifest(folder)
        except (ValueError, RuntimeError) as error:
            yield what, "" if path.name in str(error) else f"not named: {error}"
        except Exception as error:
            yield what, f"{type(error).__name__}: {error}"
        else:
            yield what, ""
