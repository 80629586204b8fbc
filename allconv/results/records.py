"""Records of finished runs as text: the evidence for the numbers in the tables."""

import json
from pathlib import Path
from typing import Annotated, Literal

from typing_extensions import NotRequired, TypedDict

from allconv.core.annotations import Span, refuse
from allconv.core.arguments import Count, Percent, checked
from allconv.core.disk import DamagedFileError, read_bytes
from allconv.presets.preset import Preset

Measure = Annotated[float, Span(finite=False)]  # NaN where outputs were not finite


class Recipe(TypedDict):
    """The fields of a `Preset` that every version has."""

    name: str
    architecture: str
    dataset: str
    augmentation: str
    epochs: Annotated[int, Span(1, 1e6)]
    hold_out: NotRequired[Count]


class Row(TypedDict):
    """One epoch of a history; the other fields are Keras' own."""

    epoch: Count
    loss: NotRequired[Measure]
    accuracy: NotRequired[Measure]
    val_loss: NotRequired[Measure]
    val_accuracy: NotRequired[Measure]


class Record(TypedDict):
    """The record of one run, as `record.json` holds it.

    What a run that diverged does not have is not required; of a finished one it is.
    `altered`: a callback has set weights after an epoch. `changed`: entries of the
    environment, or the commit, that were others before the run was stopped and went on.
    `skipped`: steps that a loss scale left out, of all. Of images that were read from
    the disk there are the errors with five guesses too, and those with ten crops.
    """

    status: Literal["finished", "diverged"]
    preset: Recipe
    seed: Annotated[int, Span(0, 2**31 - 1)]
    data: dict[str, str]
    parameters: Count
    epochs: Count
    split: NotRequired[Literal["test", "hold_out"]]
    error: NotRequired[Percent]
    wrong: NotRequired[Count]
    n: NotRequired[Annotated[int, Span(1, 2**53)]]
    loss: NotRequired[Measure]
    calibration_error: NotRequired[Measure]
    per_class: NotRequired[list[Percent | None]]
    confusion: NotRequired[list[list[Count]]]
    top5_error: NotRequired[Percent]
    ten_crop_error: NotRequired[Percent]
    ten_crop_top5_error: NotRequired[Percent]
    minutes: Annotated[float, Span(0, 1e9)]
    history: list[Row]
    environment: dict[str, str | int | None]
    altered: NotRequired[bool]
    changed: NotRequired[list[str]]
    skipped: NotRequired[Count]
    commit: str | None
    date: str
    state_sha256: str


MEASURED = (
    *("split", "error", "wrong", "n", "loss", "calibration_error"),
    *("per_class", "confusion"),
)
"""Fields of a finished run's record alone."""

MOST = 100  # classes whose confusions a record holds


def to_json(outcome: dict) -> str:
    """JSON with one line an entry, and one line an epoch or a row of a matrix."""
    lines = []
    for key, value in outcome.items():
        if isinstance(value, list) and value and isinstance(value[0], dict | list):
            rows = ",\n  ".join(json.dumps(row) for row in value)
            lines.append(f' "{key}": [\n  {rows}\n ]')
        else:
            lines.append(f' "{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(lines) + "\n}"


def check(value: object) -> dict:
    """What JSON gave, if it is a `Record`.

    Raises:
        ValueError: Naming the field, what it should be and what it is.
    """
    refuse(value, Record)
    assert isinstance(value, dict)
    for name, kind in Preset.__annotations__.items():
        if name in value["preset"]:  # older versions lack some
            refuse(value["preset"][name], kind, f"preset.{name}")
    if value["status"] == "finished":
        missing = [key for key in MEASURED if key not in value]
        if missing == ["confusion"] and len(value["per_class"]) > MOST:
            missing = []
        if missing:
            raise ValueError(f"`{missing[0]}` of a finished run is missing.")
        matrix = value.get("confusion", [])
        if any(len(row) != len(matrix) for row in matrix):
            raise ValueError("`confusion` should have as many rows as columns.")
    return value


@checked
def from_json(text: str | bytes, source: str | Path = "the text") -> dict:
    """The `Record` that a text of `to_json` holds.

    Args:
        text: The JSON document.
        source: Where it is from, for the message.

    Raises:
        ValueError: Naming the source and the field, if it is no record.
    """
    try:
        return check(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source} is no run record: {error}") from error


@checked
def read(path: str | Path) -> dict:
    """The `Record` in a file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: Naming the file and the field, if it is no record.
    """
    try:
        content = read_bytes(path, largest=2**26)
    except DamagedFileError as error:
        raise ValueError(f"{error} It is no run record.") from error
    return from_json(content, path)
