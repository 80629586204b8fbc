"""Learning rates as functions of the step, so that a resumed run goes on with them."""

import math
from collections.abc import Sequence

import keras

from allconv.core.arguments import checked
from allconv.presets.preset import Preset


@checked
def schedule(
    preset: Preset, steps: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate as a function of the step, for `steps` steps an epoch."""
    if preset.schedule == "linear":
        return Linear(preset.learning_rate, preset.warmup, preset.epochs * steps)
    if preset.schedule == "cosine":
        return Cosine(preset.learning_rate, preset.epochs * steps)
    return Steps(preset.learning_rate, [round(m * steps) for m in preset.milestones])


@keras.saving.register_keras_serializable(package="allconv")
class Steps(keras.optimizers.schedules.LearningRateSchedule):
    """`rate`, times 0.1 from each of the `boundaries` (in steps) on."""

    @checked
    def __init__(self, rate: float, boundaries: Sequence[int]):
        self.rate, self.boundaries = rate, list(boundaries)

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        passed = sum(keras.ops.cast(step >= b, "float32") for b in self.boundaries)
        return self.rate * 0.1 ** keras.ops.convert_to_tensor(passed, "float32")

    def get_config(self) -> dict:
        return {"rate": self.rate, "boundaries": self.boundaries}


@keras.saving.register_keras_serializable(package="allconv")
class Linear(keras.optimizers.schedules.LearningRateSchedule):
    """Straight up to `peak` over the fraction `warmup` of all steps, then down to 0."""

    @checked
    def __init__(self, peak: float, warmup: float, total: int):
        self.peak, self.warmup, self.total = peak, warmup, total

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        rise = max(1.0, self.warmup * self.total)
        up = (step + 1) / rise
        down = (self.total - step) / (self.total - rise + 1)
        return self.peak * keras.ops.maximum(0.0, keras.ops.minimum(up, down))

    def get_config(self) -> dict:
        return {"peak": self.peak, "warmup": self.warmup, "total": self.total}


@keras.saving.register_keras_serializable(package="allconv")
class Cosine(keras.optimizers.schedules.LearningRateSchedule):
    """From `peak` down to 0 along half a cosine: slow, fast, slow (Ye et al.'s)."""

    @checked
    def __init__(self, peak: float, total: int):
        self.peak, self.total = peak, total

    def __call__(self, step):
        step = keras.ops.minimum(keras.ops.cast(step, "float32"), self.total)
        return self.peak * (1 + keras.ops.cos(math.pi * step / self.total)) / 2

    def get_config(self) -> dict:
        return {"peak": self.peak, "total": self.total}
