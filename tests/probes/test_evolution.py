import keras
import numpy as np
import pytest
from keras import layers

from allconv.layers.folding import fold
from allconv.probes.evolution import Snapshots, follow, loaded, snapshots


def network(filters=3):
    keras.utils.set_random_seed(5)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(filters, 3, activation="relu", name="conv"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(2, activation="softmax", name="scores"),
        ]
    )


def train(model, epochs, *callbacks):
    """Trains on noise; returns the images."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(40, 8, 8, 1)).astype("float32")
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    labels = rng.integers(0, 2, 40)
    model.fit(images, labels, epochs=epochs, verbose=0, callbacks=list(callbacks))
    return images


class Keep(keras.callbacks.Callback):
    """What the model's weights are after each epoch."""

    def __init__(self):
        super().__init__()
        self.history = []

    def on_epoch_end(self, epoch, logs=None):
        self.history.append(self.model.get_weights())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network trained for 4 epochs, its snapshots, and the weights after each."""
    folder = tmp_path_factory.mktemp("run") / "snapshots"
    model, keep = network(), Keep()
    images = train(model, 4, keep, Snapshots(folder, (1, 3, 9)))
    return model, folder, images, keep.history


def test_snapshots_hold_the_weights_of_their_epochs(trained):
    model, folder, _, history = trained
    found = snapshots(folder)
    assert list(found) == [1, 3]
    for epoch, path in found.items():
        with loaded(model, path):
            for a, b in zip(model.get_weights(), history[epoch - 1], strict=True):
                np.testing.assert_array_equal(a, b)
    for a, b in zip(model.get_weights(), history[-1], strict=True):
        np.testing.assert_array_equal(a, b)
    size = sum(w.nbytes for w in model.get_weights())
    assert found[1].stat().st_size < size + 40_000  # no optimiser state


def test_folded_snapshots_are_the_same_function_without_norms(tmp_path):
    keras.utils.set_random_seed(5)
    normed = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(3, 3, name="conv"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(2, activation="softmax", name="scores"),
        ]
    )
    keep = Keep()
    images = train(normed, 3, keep, Snapshots(tmp_path, (1, 3), folded=True))
    plain = fold(normed)
    found = snapshots(tmp_path)
    assert list(found) == [1, 3]
    for epoch, path in found.items():
        normed.set_weights(keep.history[epoch - 1])
        with loaded(plain, path):
            np.testing.assert_allclose(plain(images), normed(images), atol=1e-6)
    with pytest.raises(ValueError, match="does not fit"), loaded(normed, found[1]):
        pass


def test_weights_that_are_not_finite_are_not_kept(tmp_path):
    callback, model = Snapshots(tmp_path, (1,)), network()
    callback.set_model(model)
    kernel = model.get_layer("conv").kernel
    kernel.assign(kernel * np.nan)
    callback.on_epoch_end(0)
    assert not list(tmp_path.iterdir())


def test_own_weights_come_back_after_an_error(trained):
    model, folder, _, history = trained
    with pytest.raises(RuntimeError), loaded(model, snapshots(folder)[1]):
        raise RuntimeError
    np.testing.assert_array_equal(model.get_weights()[0], history[-1][0])


def test_evolution_against_a_loop(trained):
    model, folder, images, history = trained
    calls = []

    def project(model, images, channels, positions):
        calls.append((images.shape, channels.tolist(), positions.shape))
        return images * model.get_layer("conv").kernel.numpy().sum()

    out = follow(model, folder, images, "conv", [2, 0], project=project, progress=False)
    assert out.epochs.tolist() == [1, 3]
    assert calls == [((2, 8, 8, 1), [2, 0], (2, 2))] * 2
    for e, epoch in enumerate(out.epochs):
        kernel, bias = history[epoch - 1][:2]
        for c, channel in enumerate([2, 0]):
            best, where = -1.0, None
            for i, image in enumerate(images):
                for y in range(6):
                    for x in range(6):
                        patch = image[y : y + 3, x : x + 3]
                        a = max(
                            0.0, (patch * kernel[..., channel]).sum() + bias[channel]
                        )
                        if a > best:
                            best, where = a, (i, y, x)
            assert (out.index[e, c], out.y[e, c], out.x[e, c]) == where
            assert out.value[e, c] == pytest.approx(best, rel=1e-5)
            y, x = where[1:]
            assert out.box[e, c].tolist() == [y, x, y + 3, x + 3]
            np.testing.assert_allclose(
                out.projection[e, c], images[where[0]] * kernel.sum(), rtol=1e-6
            )
    assert follow(model, folder, images, "conv", [1], progress=False).projection is None


def test_bad_evolution(trained, tmp_path):
    model, folder, images, _ = trained
    with pytest.raises(ValueError, match="There are no snapshots"):
        snapshots(tmp_path)
    with (
        pytest.raises(ValueError, match="does not fit"),
        loaded(network(4), snapshots(folder)[1]),
    ):
        pass
    with pytest.raises(ValueError, match="from 0 to 2"):
        follow(model, folder, images, "conv", [3], progress=False)
    for channels in ([1.0], [True, False], []):
        with pytest.raises(ValueError, match="integers from 0 to 2"):
            follow(model, folder, images, "conv", channels, progress=False)
    with pytest.raises(ValueError, match="has no map"):
        follow(model, folder, images, "scores", [0], progress=False)
    with pytest.raises(ValueError, match=r"`epochs.*` .* integer from 1"):
        Snapshots(tmp_path, (0, 1))
