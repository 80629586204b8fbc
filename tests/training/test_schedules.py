"""Learning rates against closed forms, step by step."""

import itertools
import math
from dataclasses import replace

import keras
import numpy as np
import pytest

from allconv.presets import catalogue
from allconv.training.schedules import Linear, schedule

STEPS = 10  # an epoch


def rates(**changes):
    preset = replace(catalogue.PAPER, **changes)
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
    rate = schedule(replace(catalogue.PAPER, epochs=2, schedule="cosine"), STEPS)
    assert isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)
    assert float(rate(25)) == 0  # after the end


def test_rates_of_the_paper_and_of_a_rise_and_fall():
    steps = schedule(catalogue.get("all_cnn_c"), 195)
    rates = [float(steps(e * 195)) for e in (0, 199, 200, 249, 250, 299, 300, 349)]
    expected = [0.05, 0.05, 5e-3, 5e-3, 5e-4, 5e-4, 5e-5, 5e-5]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    assert float(steps(200 * 195 - 1)) == pytest.approx(0.05)
    linear = Linear(1.0, 0.2, 100)
    np.testing.assert_allclose(
        [float(linear(s)) for s in (0, 9, 19, 20, 99, 100)],
        [0.05, 0.5, 1.0, 80 / 81, 1 / 81, 0.0],
        rtol=1e-5,
    )
