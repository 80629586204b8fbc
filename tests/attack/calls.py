"""Odd values for each argument of the public functions.

A call that is right is made odd in one argument at a time. It should be refused by the
argument's name, or give what is finite.
"""

import contextlib
import dataclasses
import importlib
import inspect
import io
import math
import os
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from matplotlib import pyplot

from tests.attack.right_calls import furnish, right
from tests.nets import images

NAMED = 0.9  # of the refusals name the argument
SLOW = (
    *("data.datasets.load", "saliency.sanity.randomisation_test"),
    *("networks.builders.build", "data.batches.batches", "networks.segmentation.fcn"),
)


ODD: tuple[Any, ...] = (
    *(None, "nonsense", "", "\0", b"x", -1, 0, 2.5, 10**30, math.nan, math.inf, -1e308),
    *(True, 1j, [], {}, [None], ["nonsense"], [-1], [[1, 2], [3]], object(), print),
    *({"nonsense": 1}, (1, 2, 3, 4, 5, 6, 7), np.array("text"), np.zeros((0, 3))),
)


def odd(value: Any) -> Iterator[Any]:
    """Values to put in place of a right one."""
    yield from ODD
    if isinstance(value, np.ndarray):
        yield from (value[:0], value[None], value[0], value.astype(complex) + 1j)
        yield from (value.astype(object), value.astype(str), np.full_like(value, 2)[:1])
        if value.dtype.kind == "f":
            changed = value.copy()
            changed.flat[0] = math.nan
            yield changed
            yield np.full_like(value, math.inf)
            yield np.full_like(value, 3e38)
        else:
            whole = value.astype(int)
            yield from (whole - 1000, whole + 1000, whole * math.nan)
    elif isinstance(value, str) and value:
        yield from (value.upper() + " ", value * 3)
    elif isinstance(value, list | tuple) and len(value):
        yield from ([*value, *value], [value], [None, *value], list(value)[:-1])
    elif isinstance(value, dict):
        yield from (dict.fromkeys(value), dict.fromkeys(value, "x"))


@dataclasses.dataclass
class Found:
    """What became of the odd calls."""

    refused: int = 0
    named: int = 0
    accepted: int = 0
    nonsense: list[str] = dataclasses.field(default_factory=list)
    unnamed: list[str] = dataclasses.field(default_factory=list)


def function_of(name: str) -> Callable:
    folder, module, function = name.split(".")
    return getattr(importlib.import_module(f"allconv.{folder}.{module}"), function)


def names_it(error: BaseException, argument: str) -> bool:
    """Whether a refusal is one of ours and names the argument."""
    text = " ".join(str(error).split())
    return isinstance(error, ValueError | OSError | RuntimeError) and bool(
        re.search(rf"\b{argument}s?\b", text, re.IGNORECASE)
    )


def finite(value: object, depth: int = 4) -> bool:
    """Whether every number in what a call gave is real and finite."""
    if isinstance(value, float | np.floating):
        return math.isfinite(value)
    if isinstance(value, complex | np.complexfloating):
        return False
    if isinstance(value, tf.Tensor | keras.Variable):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "O":
            return all(finite(one, depth - 1) for one in value.flat)
        return value.dtype.kind != "c" and (
            value.dtype.kind != "f" or bool(np.isfinite(value).all())
        )
    if not depth:
        return True
    if isinstance(value, dict):
        return all(finite(one, depth - 1) for one in value.values())
    if isinstance(value, list | tuple):
        return all(finite(one, depth - 1) for one in value)
    if isinstance(value, tf.data.Dataset):
        return all(finite(one, depth - 1) for one in value.take(3))
    if dataclasses.is_dataclass(value):
        return finite(vars(value), depth - 1)
    return True


def attempt(
    function: Callable, arguments: dict, folder: Path
) -> tuple[object, BaseException | None]:
    arrays = [x for x in (images(4), np.arange(4)) if function.__name__ == "in_order"]
    before = Path.cwd()
    try:
        os.chdir(folder)  # "nonsense" is a name of a file, too
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stderr(io.StringIO()),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            made = function(*arrays, **arguments)
            if inspect.isgenerator(made):
                made = list(made)
        return made, None
    except Exception as error:
        return None, error
    finally:
        os.chdir(before)
        pyplot.close("all")


def calls(
    folder: Path, names: tuple[str, ...] = ("",), every: int = 1, slow: bool = True
) -> Found:
    """Make the odd calls, or each `every`th of them; `names`: how names begin."""
    found, number = Found(), 0
    for name, arguments in right(folder).items():
        if not name.startswith(names) or (name in SLOW and not slow):
            continue
        function = function_of(name)
        for argument, value in arguments.items():
            for strange in odd(value):
                number += 1
                if number % every:
                    continue
                made, error = attempt(function, arguments | {argument: strange}, folder)
                call = f"{name}({argument}={short(strange)})"
                if error is None:
                    found.accepted += 1
                    if not finite(made):
                        found.nonsense.append(call)
                    continue
                found.refused += 1
                if names_it(error, argument):
                    found.named += 1
                else:
                    text = " ".join(str(error).split())[:90]
                    found.unnamed.append(f"{call}: {type(error).__name__}: {text}")
    return found


def short(value: object) -> str:
    if isinstance(value, np.ndarray) and value.size > 3:
        return f"{value.dtype}{list(value.shape)}"
    return repr(value)[:50]


def attack(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields what was tried, and how it broke (`""`: it held).

    Each odd call is one, and that of all the refusals 9 of 10 name the argument.
    """
    furnish(folder)
    refused = named = 0
    for name in right(folder):
        found = calls(folder, (name,))
        for _ in range(found.refused + found.accepted - len(found.nonsense)):
            yield name, ""
        for call in found.nonsense:
            yield call, "accepted, and gives what is not finite"
        refused, named = refused + found.refused, named + found.named
    told = f"{named} of {refused} refusals name the argument"
    yield "refusals", "" if named >= NAMED * refused else told
