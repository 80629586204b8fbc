"""Muon against a literal step in NumPy, and against SGD where it has no part."""

import keras
import numpy as np
import pytest

from allconv.training.muon import Muon


def orthogonal(matrix):
    """Five steps of the quintic iteration from the matrix of Frobenius norm 1."""
    x = matrix / np.linalg.norm(matrix)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
    return x


def variables(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"kernel": (3, 3, 4, 6), "wide": (1, 1, 4, 12), "bias": (6,)}
    return {
        name: keras.Variable(rng.normal(size=shape).astype("float32"), name=name)
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize("nesterov", [False, True])
def test_three_steps_are_those_of_the_formula(nesterov):
    ours, theirs = variables(), variables()
    hidden = [ours["kernel"].path, ours["wide"].path]
    muon = Muon(0.1, 0.9, nesterov, hidden, factor=0.5)
    sgd = keras.optimizers.SGD(0.1, 0.9, nesterov)
    expected = {k: np.asarray(ours[k].value, "float64") for k in ("kernel", "wide")}
    average = dict.fromkeys(expected, 0.0)
    rng = np.random.default_rng(1)
    for _ in range(3):
        gradients = {k: rng.normal(size=v.shape) for k, v in ours.items()}
        for optimizer, its in ((muon, ours), (sgd, theirs)):
            optimizer.apply(
                [keras.ops.cast(gradients[k], "float32") for k in its],
                list(its.values()),
            )
        for k, kernel in expected.items():
            average[k] = 0.9 * average[k] + gradients[k]
            ahead = gradients[k] + 0.9 * average[k] if nesterov else average[k]
            matrix = ahead.reshape(-1, kernel.shape[-1])
            norms = np.square(kernel).sum(axis=(0, 1, 2))
            kernel = kernel / np.sqrt(norms.mean())
            expected[k] = kernel - 0.05 * orthogonal(matrix).reshape(kernel.shape)
    for k, kernel in expected.items():
        np.testing.assert_allclose(np.asarray(ours[k].value), kernel, atol=1e-5)
    np.testing.assert_array_equal(ours["bias"].value, theirs["bias"].value)


def test_a_step_turns_along_every_direction_of_the_gradient_alike():
    ours = variables()
    muon = Muon(1.0, 0.9, False, [ours["kernel"].path])
    muon.build(list(ours.values()))
    kernel = np.asarray(ours["kernel"].value)
    before = kernel / np.sqrt(np.square(kernel).sum() / 6)
    u, _, v = np.linalg.svd(np.random.default_rng(1).normal(size=(36, 6)), False)
    gradient = u * [1, 0.9, 0.7, 0.5, 0.2, 0.1] @ v
    zeros = [np.zeros(x.shape, "float32") for x in list(ours.values())[1:]]
    first = gradient.reshape(kernel.shape).astype("float32")
    muon.apply([keras.ops.convert_to_tensor(g) for g in (first, *zeros)])
    step = (before - np.asarray(ours["kernel"].value)).reshape(36, 6)
    lengths = np.diag(u.T @ step @ v.T)
    assert lengths.min() > 0.6
    assert lengths.max() < 1.3
    np.testing.assert_allclose(u * lengths @ v, step, atol=1e-4)


def test_its_configuration_makes_the_same_optimizer():
    muon = Muon(0.1, 0.8, False, ["a/kernel"], factor=0.3)
    again = Muon.from_config(muon.get_config())
    assert again.get_config() == muon.get_config()


def test_a_kernel_of_zeros_takes_the_turn_alone():
    """The last convolution of a residual branch starts so."""
    rng = np.random.default_rng(2)
    gradients = [rng.normal(size=(3, 3, 4, 6)).astype("float32") for _ in range(2)]
    kernel = keras.Variable(np.zeros((3, 3, 4, 6), "float32"), name="kernel")
    muon = Muon(0.1, 0.5, False, [kernel.path])
    muon.build([kernel])
    expected, average = np.zeros((36, 6)), 0
    for gradient in gradients:
        muon.apply([keras.ops.convert_to_tensor(gradient)], [kernel])
        average = 0.5 * average + gradient.reshape(36, 6).astype("float64")
        norm = np.sqrt(np.square(expected).sum() / 6)
        expected = expected / (norm or 1) - 0.1 * orthogonal(average.T).T
        found = np.asarray(kernel.value).reshape(36, 6)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_no_gradient_and_no_kernel_stay_zero():
    kernel = keras.Variable(np.zeros((3, 3, 4, 6), "float32"), name="kernel")
    muon = Muon(0.1, 0.5, False, [kernel.path])
    muon.build([kernel])
    muon.apply([keras.ops.zeros_like(kernel)], [kernel])
    assert not np.any(kernel.value)


def test_a_model_that_is_saved_with_it_loads_and_goes_on(tmp_path):
    """Keras leaves out a Sequential's own name in the paths of a loaded one."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            *(layers.Conv2D(3, 2, name=f"{n}") for n in range(2)),
            layers.GlobalAveragePooling2D(),
        ]
    )
    hidden = [v.path for v in model.trainable_variables if v.name == "kernel"]
    model.compile(Muon(0.1, hidden=hidden[:1]), loss="mse")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 4, 4, 2)), rng.normal(size=(8, 3))
    model.train_on_batch(x, y)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        each.train_on_batch(x, y)
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_end_of_a_path_that_several_have_is_refused():
    kernels = [keras.Variable(np.ones((2, 2)), name="kernel") for _ in range(2)]
    for i, kernel in enumerate(kernels):
        kernel._path = f"model/{i}/kernel"
    with pytest.raises(ValueError, match=r"paths of trained variables.*: kernel"):
        Muon(hidden=["kernel"]).build(kernels)


def test_no_momentum_is_refused():
    with pytest.raises(ValueError, match=r"`momentum` should be above 0. Received: 0"):
        Muon(0.1, 0.0)


def test_names_of_no_variable_are_refused():
    with pytest.raises(
        ValueError, match=r"`hidden` should be a list.*: hidden='a/kernel'"
    ):
        Muon(hidden="a/kernel")
    with pytest.raises(ValueError, match=r"paths of trained variables. .*: kernal"):
        Muon(hidden=["kernal"]).build([keras.Variable(np.ones((2, 2)), name="kernel")])
