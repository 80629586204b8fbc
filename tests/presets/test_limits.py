"""A recipe is refused in one line, before a folder is made, or a run can follow it."""

import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

from allconv.core import runtime
from allconv.data import datasets, shapes
from allconv.data.augmentation import AUGMENTATIONS
from allconv.networks import registry
from allconv.presets import catalogue, limits
from allconv.presets.limits import check
from allconv.presets.preset import Preset, complete
from allconv.training import run
from allconv.training.inputs import Arrays

NAN = float("nan")
TINY = replace(catalogue.get("tiny"), initializer=None)
VGG = {"architecture": "vgg16_cifar"}
ZFNET = {"architecture": "zfnet_32"}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"name": "../tiny"}, "`name` should be a word that a folder may be called"),
        ({"architecture": "vgg"}, "`architecture` should be a network that `python"),
        ({"architecture": "al_cnn_c"}, "--import names.*; the nearest are all_cnn_c"),
        ({"architecture": ["zfnet"]}, "`architecture` should be a network that"),
        ({"dataset": "svhn"}, "`dataset` should be one of cifar10, cifar100, shapes"),
        ({"schedule": np.zeros(2)}, "`schedule` should be one of steps, linear"),
        ({"initializer": "nonsense"}, "`initializer` should be None, or the name"),
        ({"initializer": "identity"}, "that fills any kernel. Received: initializer="),
        ({"initializer": ["zeros", {1}]}, "`initializer` should be None, or the name"),
        ({"initializer": {"class_name": "Zeros", "config": {}}}, "should be None, or"),
        ({"learning_rate": np.float32(0.02)}, "`learning_rate` should be a number"),
        ({"learning_rate": "0.1"}, "`learning_rate` should be a number from 0 to 1000"),
        ({"learning_rate": math.inf}, "`learning_rate` should be a number from 0"),
        ({"momentum": 1.5}, "`momentum` should be a number from 0 to 1"),
        ({"dropout": 2.0}, "`dropout` should be a number from 0 to 1"),
        ({"train_size": np.int64(32)}, "`train_size` should be an integer"),
        ({"train_size": 32.5}, "`train_size` should be an integer"),
        ({"train_size": True}, "`train_size` should be an integer"),
        ({"train_size": 0}, "`train_size` should be an integer from 1"),
        ({"epochs": True}, "`epochs` should be an integer from 1"),
        ({"nesterov": "no"}, "`nesterov` should be true or false"),
        ({"milestones": (200, NAN)}, "`milestones` should be epochs"),
        ({"milestones": (-5,)}, "`milestones` should be epochs"),
        ({"milestones": None}, "`milestones` should be epochs"),
        ({"hold_out": 5000}, "`hold_out` should be 4999 at most, so that 1 of the"),
        ({"hold_out": 4999, "preprocessing": "gcn_zca"}, "`hold_out` should be 4998"),
        (
            {"hold_out": 100, "train_size": 4901},
            "`train_size` should be from 1 to 4900",
        ),
        ({"batch_size": 641}, "`batch_size` should be from 1 to the 640 images"),
        ({"train_size": None, "batch_size": 5001}, "from 1 to the 5000 images"),
        ({"windows": 24}, r"`windows` should be \(epoch, size\) pairs of integers"),
        ({"windows": (24,)}, r"`windows` should be \(epoch, size\) pairs of integers"),
        ({"windows": ((0, 24.5),)}, "`windows` should be .* pairs of integers"),
        ({"windows": ((0, NAN),)}, "`windows` should be .* pairs of integers"),
        ({"windows": ((0, 24), (0, 32))}, "pairs in order, the first of epoch 0"),
        ({"windows": ((1, 24),)}, "pairs in order, the first of epoch 0"),
        ({"windows": ((0, 4),)}, "sizes from 9 pixels, which strided_cnn_a needs, to"),
        ({"windows": ((0, 40),)}, "to 32, which all images have"),
        ({**VGG, "windows": ((0, 16), (1, 32))}, "sizes from 32 pixels, which vgg16_"),
        ({**ZFNET, "windows": ((0, 32),)}, "`windows` should be empty for zfnet_32"),
        (
            {**ZFNET, "norm": "deconv"},
            "`norm` should be one of none, batch for zfnet_32",
        ),
        ({**ZFNET, "score_bias": 1.0}, "`score_bias` should be 0 for zfnet_32"),
        ({**VGG, "norm": "batch", "muon": 0.1}, "`muon` should be 0, but for All-CNN"),
        ({"norm": "deconv", "muon": 0.1}, "Received: muon=0.1, arch.* norm='deconv'"),
        ({"norm": "batch", "muon": 0.1, "momentum": 0}, "`muon` .* momentum=0"),
        ({"architecture": "zfnet"}, "should be a network for .*; zfnet takes 53 or"),
        ({"architecture": "large_all_cnn"}, "32 pixels; large_all_cnn takes 126 or"),
        ({"norm_options": {"block": 8}}, "should be of nothing with norm='none'"),
        ({"norm_options": 5}, "`norm_options` should be a dict"),
        (
            {"norm": "batch", "norm_options": {"block": 8}},
            "of momentum, epsilon, fused",
        ),
        (
            {"norm": "deconv", "norm_options": {"iterations": NAN}},
            "should have an integer from 1 to 100 for 'iterations'",
        ),
        (
            {"norm": "batch", "norm_options": {"momentum": NAN}},
            "should have a number from 0 to 1 for 'momentum'",
        ),
    ],
)
def test_what_no_run_can_follow_is_refused(changes, message):
    with pytest.raises(ValueError, match=message) as refused:
        check(replace(TINY, **changes))
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("field", [*limits.NUMBERS, *limits.INTEGERS])
def test_every_number_is_refused_of_every_network_if_it_is_none(field):
    for name in registry.NAMES:
        for value in (NAN, "1", -1, [], 1e9):
            with pytest.raises(ValueError, match=f"`{field}` should be"):
                check(replace(TINY, architecture=name, **{field: value}))


def test_the_initialisers_that_need_no_look_are_such():
    for name in limits.INITIALIZERS:
        assert isinstance(keras.initializers.get(name), keras.initializers.Initializer)
        check(replace(TINY, initializer=name))
    check(replace(TINY, initializer="Zeros"))


def test_a_recipe_of_the_catalogue_is_checked_without_tensorflow():
    code = (
        "import sys\n"
        "from allconv.presets import catalogue\n"
        "from allconv.presets.limits import check\n"
        "list(map(check, catalogue.PRESETS.values()))\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    root = Path(__file__).resolve().parents[2]
    env = {**os.environ, "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)


def test_options_of_the_norm_are_of_the_recipe_only_if_there_are_any():
    assert "norm_options" not in TINY.as_dict()
    plain = replace(TINY, norm="deconv")
    changed = replace(plain, norm_options={"iterations": 7, "block": 32})
    assert changed.as_dict()["norm_options"] == {"iterations": 7, "block": 32}
    assert changed.as_dict() != plain.as_dict()
    assert complete(plain.as_dict() | {"norm_options": {}}) == plain.as_dict()
    assert complete(changed.as_dict()) == changed.as_dict()
    assert Preset(**plain.as_dict()).as_dict() == plain.as_dict()


# What an example may be spoiled by; all else below is what a field may be by itself.
SPOILED = st.sampled_from(
    [
        *({"dataset": "svhn"}, {"initializer": "nonsense"}, {"train_size": 3}),
        *({"learning_rate": NAN}, {"hold_out": 5000}, {"norm_options": {"x": 1}}),
    ]
)
# Networks that are traced in a second or two, and some that are too large for CIFAR.
LIGHT = ("strided_cnn_a", "model_a", "zfnet_32_no_3_4_6_7", "zfnet", "large_all_cnn")
OPTIONS = {
    "none": {},
    "batch": {"fused": False, "momentum": 0.5},
    "deconv": {"block": 32, "iterations": 3, "statistics_every": 2},
}


def recipes(networks=LIGHT):
    def built(options, spoiled, **fields):
        fields["norm_options"] = OPTIONS[fields["norm"]] if options else {}
        return replace(TINY, **(fields | spoiled))

    return st.builds(
        built,
        architecture=st.sampled_from(networks),
        augmentation=st.sampled_from(list(AUGMENTATIONS)),
        windows=st.sampled_from([(), (), ((0, 9),), ((0, 16), (1, 32))]),
        epochs=st.just(1),
        train_size=st.just(8),
        batch_size=st.sampled_from([1, 4]),
        momentum=st.sampled_from([0, 0.9, 1]),
        nesterov=st.booleans(),
        muon=st.sampled_from([0.0, 0.0, 0.1]),
        dropout=st.sampled_from([0, 0.5]),
        score_bias=st.sampled_from([0, 0, 1]),
        initializer=st.sampled_from([None, "he_normal", "orthogonal"]),
        precision=st.sampled_from(["float32", "mixed_bfloat16"]),
        label_smoothing=st.sampled_from([0, 1]),
        validate_every=st.sampled_from([0, 1]),
        norm=st.sampled_from(registry.NORMS),
        options=st.booleans(),
        spoiled=st.one_of(st.just({}), st.just({}), SPOILED),
    )


def follow(preset):
    """Refuse it in one line without a trace, or train an epoch; whether it could."""
    try:
        check(preset)
    except ValueError as error:
        refusal = str(error)
        assert re.fullmatch(r"`\w+` should (be|have) .*Received: .*", refusal)
        with TemporaryDirectory() as parent:
            with pytest.raises(ValueError, match=re.escape(refusal)):
                run.train(preset, 0, Path(parent) / "run", progress=False)
            assert not list(Path(parent).iterdir())
        return False
    images, labels = shapes.draw(preset.train_size)
    images = (images / 128 - 1).astype("float32")
    steps = preset.train_size // preset.batch_size
    classes = len(datasets.CLASS_NAMES[preset.dataset])
    inputs = Arrays((images, labels), (images, labels), classes, steps)
    keras.backend.clear_session()
    runtime.set_seed(0)
    model = run.compiled(preset, inputs)
    losses = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda step, logs: losses.append(logs["loss"])
    )
    run.fit(model, inputs, preset, 0, 0, [note])
    assert len(losses) == inputs.steps
    assert np.isfinite(losses[0])
    return True


@given(recipes())
@settings(max_examples=12)
@example(replace(TINY, epochs=1, train_size=8, batch_size=4, norm="deconv"))
def test_a_recipe_is_refused_before_a_folder_exists_or_it_trains(preset):
    follow(preset)
