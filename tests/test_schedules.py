"""Learning rates against closed forms, step by step."""

import itertools
import math
from dataclasses import replace

import keras
import pytest

from allconv import presets
from allconv.schedules import schedule

STEPS = 10  # an epoch


def rates(**changes):
    preset = replace(presets.PAPER, **changes)
    rate = schedule(preset, STEPS)
    again = type(rate).from_config(rate.get_config())
    out = [float(rate(step)) for step in range(preset.epochs * STEPS)]
    assert out == [float(again(step)) for step in range(preset.epochs * STEPS)]
    return out


def test_steps():
    out = rates(learning_rate=0.5, epochs=6, milestones=(2, 3.5))
    expected = [0.5] * 20 + [0.05] * 15 + [0.005] * 25
    assert out == pytest.approx(expected)


def test_linear():
    out = rates(learning_rate=0.4, epochs=5, schedule="linear", warmup=0.2)
    rise, fall = [0.4 * (i + 1) / 10 for i in range(10)], out[10:]
    assert out[:10] == pytest.approx(rise)
    steps = [a - b for a, b in itertools.pairwise(fall)]
    assert steps == pytest.approx([steps[0]] * len(steps), abs=1e-6)
    assert fall[-1] == pytest.approx(steps[0], abs=1e-6)  # one more would be 0


def test_cosine():
    out = rates(learning_rate=0.1, epochs=2, schedule="cosine")
    expected = [0.05 * (1 + math.cos(math.pi * i / 20)) for i in range(20)]
    assert out == pytest.approx(expected, abs=1e-7)
    rate = schedule(replace(presets.PAPER, epochs=2, schedule="cosine"), STEPS)
    assert isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)
    assert float(rate(25)) == 0  # after the end
