"""What short trainings outside the presets share: a rate, numbers kept, their mean."""

import json
import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from experiments.written import write_text


def choose(score: Callable[[float], float], start: float = 0.1) -> float:
    """The rate of the lowest score, from `start` along a ladder of half decades.

    A neighbour is asked as long as it is better. Infinite: it diverged.
    """
    known: dict[int, float] = {}

    def at(step: int) -> float:
        if step not in known:
            known[step] = score(rate(step))
        return known[step]

    def rate(step: int) -> float:
        return float(f"{start * 10 ** (step / 2):.0e}")

    best = 0
    while at(best) == math.inf and best > -10:  # down to where it does not diverge
        best -= 1
    for way in (1, -1):
        while at(best + way) < at(best):
            best += way
    return rate(best)


def finished(one: dict) -> list[dict]:
    """Those of `one["runs"]` that did not diverge."""
    return [run for run in one["runs"] if run["held"] is not None]


def seconds(one: dict) -> float:
    """The median of `one["runs"]`."""
    return statistics.median(run["seconds"] for run in one["runs"])


def spread(values: Sequence[float], digits: int) -> str:
    """Mean ± sample standard deviation, where there are several."""
    text = f"{statistics.mean(values):.{digits}f}"
    if len(values) > 1:
        text += f" ± {statistics.stdev(values):.{digits}f}"
    return text


def save(path: Path, found: dict) -> None:
    """Write numbers as JSON, each with six digits."""

    def short(number: str) -> float:
        return float(f"{float(number):.6g}")

    rounded = json.loads(json.dumps(found), parse_float=short)
    write_text(path, json.dumps(rounded, indent=1) + "\n")
