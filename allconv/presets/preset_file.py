"""A recipe of your own from a JSON or TOML file: fields over those of a named base."""

import dataclasses
import json
import re
import sys
from pathlib import Path
from typing import Any

from allconv.core.arguments import checked
from allconv.core.checks import nearest, one_line
from allconv.data import datasets
from allconv.presets import catalogue
from allconv.presets.preset import Preset

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@checked
def read(path: str | Path) -> Preset:
    """Read a recipe.

    The file has fields of `Preset`; `base` names the preset that has the others'
    values, `all_cnn_c` (the paper's) where there is none; without `name` it has the
    file's. The base's `train_size` counts for its own data set alone. Paths in the file
    are looked up from the folder that the command is given in.

    Args:
        path: A `.json` or a `.toml` file.

    Returns:
        The preset; `limits.check` says whether a run can follow it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no table of fields, or a field is unknown.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    fields = _parse(path)
    base = fields.pop("base", "all_cnn_c")
    if not isinstance(base, str):
        raise ValueError(f"`base` should be a preset's name. Received: {base!r}")
    known = [field.name for field in dataclasses.fields(Preset)]
    for field in fields:
        if field not in known:
            raise ValueError(
                f"{path} should have fields of a preset, or `base`. Received: {field}"
                f"{nearest(field, known) or '; the fields are ' + ', '.join(known)}"
            )
    stem = re.sub(r"[^\w.,=+-]|^[^\w]+", "_", path.stem)
    over, changes = catalogue.get(base), dict[str, Any](name=stem)
    if isinstance(fields.get("dataset"), str):
        fields["dataset"] = datasets.spelling(fields["dataset"])
    if fields.get("dataset", over.dataset) != over.dataset:
        changes["train_size"] = None  # which TOML cannot say
    changes |= {k: _as_tuple(v) for k, v in fields.items()}
    return dataclasses.replace(over, **changes)


def _parse(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8-sig")
        if path.suffix == ".toml":
            fields = tomllib.loads(text)
        elif path.suffix == ".json":
            fields = json.loads(text)
        else:
            raise ValueError("its name should end in .json or .toml")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {one_line(error)}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{path} should hold a table of fields. Received: {fields!r}")
    return fields


def _as_tuple(value: object) -> object:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value
