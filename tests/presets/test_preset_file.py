"""A recipe from a file: fields over a base, and one line for what it cannot be."""

import dataclasses
import json

import pytest

from allconv.presets import catalogue, preset_file


def test_fields_over_a_named_base(tmp_path):
    path = tmp_path / "my recipe.json"
    changes = {"base": "fast", "epochs": 3, "windows": [[0, 24], [2, 32]]}
    path.write_text(json.dumps(changes))
    expected = dataclasses.replace(
        catalogue.get("fast"),
        name="my_recipe",
        epochs=3,
        windows=((0, 24), (2, 32)),
    )
    assert preset_file.read(path) == expected
    toml = tmp_path / "my_recipe.toml"
    toml.write_text('base = "fast"\nepochs = 3\nwindows = [[0, 24], [2, 32]]\n')
    assert preset_file.read(toml) == expected


def test_another_data_set_is_used_whole_unless_a_size_is_given(tmp_path):
    path = tmp_path / "mine.toml"
    for text, size in (
        ('dataset = "mine.npz"', None),
        ('dataset = "mine.npz"\ntrain_size = 9', 9),
        ('dataset = "shapes"', catalogue.get("tiny").train_size),
    ):
        path.write_text(f'base = "tiny"\n{text}\n')
        assert preset_file.read(path).train_size == size


def test_every_preset_survives_a_file(tmp_path):
    for preset in catalogue.PRESETS.values():
        (tmp_path / "one.json").write_text(json.dumps(preset.as_dict()))
        assert preset_file.read(tmp_path / "one.json") == preset


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("a.json", "{", "cannot be read: Expecting property name"),
        ("a.json", "[" * 100_000, "cannot be read"),
        ("a.json", "[]", "should hold a table of fields"),
        ("a.toml", "epochs = ", "cannot be read: Invalid value"),
        ("a.yaml", "epochs: 3", r"should end in \.json or \.toml"),
        ("a.json", '{"epoch": 3}', "Received: epoch; the nearest is epochs"),
        ("a.json", '{"zzz": 3}', "Received: zzz; the fields are name, architecture"),
        ("a.json", '{"base": "fsat"}', "Received: 'fsat'; the nearest is fast"),
        ("a.json", '{"base": 3}', "`base` should be a preset's name"),
        ("a.json", "\xff", "cannot be read"),
    ],
)
def test_what_a_file_cannot_be(tmp_path, name, text, message):
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=message):
        preset_file.read(tmp_path / name)
