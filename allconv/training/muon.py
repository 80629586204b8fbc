"""Muon for convolutions: kernels that turn, and do not grow.

Jordan et al., 'Muon: An optimizer for hidden layers in neural networks', 2024, as in
their training of CIFAR-10 in seconds (github.com/KellerJordan/cifar10-airbench).
"""

from collections.abc import Collection

import keras
from keras import ops

from allconv.core import backend  # noqa: F401
from allconv.core.arguments import checked


@keras.saving.register_keras_serializable(package="allconv")
class Muon(keras.optimizers.SGD):
    """SGD with momentum whose steps are orthogonal matrices where a kernel is hidden.

    A kernel `(height, width, channels, filters)` is read as a matrix with a filter in
    each column. A step first scales it until its filters have a mean square norm of 1,
    then subtracts `factor * learning_rate` times the (nearly) nearest orthogonal matrix
    to the average gradient, so that every direction of the gradient counts alike, weak
    ones too. It is for kernels whose scale a normalisation takes out. A kernel of zeros
    is not scaled. All other variables take the steps of SGD.

    Keras' own `Muon` takes matrices alone, and Adam's steps for all else.

    Args:
        learning_rate: number or schedule.
        momentum: weight of the average gradient of before.
        nesterov: whether to look ahead along the average.
        hidden: paths of the kernels that turn. A model that Keras has loaded may have
            lost the first part of each, its own name; a path is found without it too.
        factor: on the learning rate, for them.
        **kwargs: see `keras.optimizers.SGD`.

    Raises:
        ValueError: if there is no momentum, or `hidden` names what is not trained.
    """

    @checked
    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.01,
        momentum: float = 0.9,
        nesterov: bool = True,
        hidden: Collection[str] = (),
        factor: float = 1.0,
        **kwargs,
    ):
        super().__init__(learning_rate, momentum, nesterov, **kwargs)
        if not momentum:
            raise ValueError(f"`momentum` should be above 0. Received: {momentum}")
        self.hidden, self.factor = tuple(hidden), factor
        self._orthogonal = keras.optimizers.Muon().zeropower_via_newtonschulz5

    def get_config(self) -> dict:
        return super().get_config() | {"hidden": self.hidden, "factor": self.factor}

    def build(self, variables: list) -> None:
        super().build(variables)
        self._turning = {
            _find(path, [v.path for v in variables]) for path in self.hidden
        }

    def update_step(self, gradient, variable, learning_rate) -> None:
        index = self._get_variable_index(variable)
        if index not in self._turning:
            super().update_step(gradient, variable, learning_rate)
            return
        average = self.momentums[index]
        average.assign(self.momentum * average + gradient)
        ahead = gradient + self.momentum * average if self.nesterov else average
        filters = variable.shape[-1]
        turn = self._orthogonal(ops.reshape(ahead, (-1, filters)), steps=5)
        squares = ops.sum(ops.square(variable))
        norm = ops.sqrt(squares / filters)
        rate = self.factor * learning_rate
        # Not `norm` is looked at: TensorFlow would round the quotient otherwise.
        scaled = ops.where(squares > 0, variable / norm, variable)
        variable.assign(scaled - rate * ops.reshape(turn, variable.shape))


def _find(path: str, paths: list[str]) -> int:
    """The index of a path, or of the only one that is its end or that it is the end of.

    Raises:
        ValueError: If there is none, or several are.
    """
    if path in paths:
        return paths.index(path)
    found = [
        i
        for i, other in enumerate(paths)
        if path.endswith(f"/{other}") or other.endswith(f"/{path}")
    ]
    if len(found) != 1:
        raise ValueError(
            f"`hidden` should be paths of trained variables. Received: {path}"
        )
    return found[0]
