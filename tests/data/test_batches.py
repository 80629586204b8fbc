"""Batches are a pure function of (seed, step); augmentation against slow loops."""

import collections

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from allconv.data import batches
from allconv.data.augmentation import AUGMENTATIONS, Augmentation

N, BATCH = 23, 5
IMAGES = np.random.default_rng(0).normal(size=(N, 8, 8, 3)).astype(np.float32)
LABELS = np.arange(N)


def take(n, **kwargs):
    arguments = {"seed": 7, "batch_size": BATCH, **kwargs}
    dataset = batches.batches(IMAGES, LABELS, **arguments)
    return [(x.numpy(), y.numpy()) for x, y in dataset.take(n)]


@hypothesis.settings(max_examples=15)
@hypothesis.given(
    st.integers(0, 2**31 - 1), st.integers(0, 40), st.sampled_from(list(AUGMENTATIONS))
)
def test_starting_at_k_is_dropping_k(seed, k, name):
    kwargs = {"seed": seed, "augmentation": AUGMENTATIONS[name]}
    whole, late = take(k + 3, **kwargs), take(3, start=k, **kwargs)
    for (x, y), (x_late, y_late) in zip(whole[k:], late, strict=True):
        np.testing.assert_array_equal(x, x_late)
        np.testing.assert_array_equal(y, y_late)


def test_each_epoch_is_another_order_of_distinct_images():
    labels = [np.concatenate([y for _, y in take(4, start=4 * e)]) for e in range(6)]
    for epoch in labels:
        assert len(set(epoch.tolist())) == 4 * BATCH
    orders = {tuple(epoch) for epoch in labels}
    assert len(orders) == 6
    # 20 of 23 images an epoch: over the epochs, all of them come.
    assert set(np.concatenate(labels).tolist()) == set(range(N))


def test_order_is_near_uniform():
    """Each image's mean position over many epochs is close to the middle's."""
    epochs = 400
    positions = np.zeros(N)
    labels = [y for _, y in take(4 * epochs)]
    for step, batch in enumerate(labels):
        positions[batch] += step % 4
    counts = np.bincount(np.concatenate(labels), minlength=N)
    assert abs(counts / epochs - 20 / 23).max() < 0.08
    assert abs(positions / counts - 1.5).max() < 0.25


def test_seeds_differ_and_repeat():
    (_, a), (_, b) = take(1)[0], take(1, seed=8)[0]
    assert a.tolist() != b.tolist()
    assert a.tolist() == take(1)[0][1].tolist()


def test_images_go_with_their_labels():
    for x, y in take(9):
        np.testing.assert_array_equal(x, IMAGES[y])


def augmented(images, augmentation, seed, step):
    step = tf.constant(step, tf.int64)
    mirrored = batches._coins(seed, step, len(images)) if augmentation.flip else None
    return batches.move(images, augmentation, seed, step, mirrored)


def slow_shift(image, dy, dx, mirrored, shift, mode):
    """One image by loops: mirror, then move by (dy, dx)."""
    height, width, _ = image.shape
    out = np.zeros_like(image)

    def reflected(i, n):
        return -i if i < 0 else 2 * (n - 1) - i if i >= n else i

    for r in range(height):
        for c in range(width):
            column = width - 1 - c if mirrored else c
            i, j = r + dy, column + dx
            if mode == "REFLECT":
                i, j = reflected(i, height), reflected(j, width)
            if 0 <= i < height and 0 <= j < width:
                out[r, c] = image[i, j]
    return out


@pytest.mark.parametrize("mode", ["CONSTANT", "REFLECT"])
@pytest.mark.parametrize("shift, flip", [(0, True), (3, False), (3, True)])
def test_every_augmented_image_is_one_of_the_allowed_ones(mode, shift, flip):
    augmentation = Augmentation(shift, flip, mode)
    seen = set()
    for step in range(6):
        images = tf.constant(IMAGES[:4])
        out = augmented(images, augmentation, 3, step)
        for image, mine in zip(IMAGES[:4], out.numpy(), strict=True):
            matches = [
                (dy, dx, mirrored)
                for dy in range(-shift, shift + 1)
                for dx in range(-shift, shift + 1)
                for mirrored in ((False, True) if flip else (False,))
                if np.array_equal(
                    slow_shift(image, dy, dx, mirrored, shift, mode), mine
                )
            ]
            assert len(matches) == 1
            seen.add(matches[0])
    assert len(seen) > 1  # and not always the same one


def test_shifts_and_flips_are_uniform():
    ramp = np.tile(np.arange(1.0, 16.0, dtype=np.float32), (512, 15, 1))[..., None]
    paper = AUGMENTATIONS["paper"]
    out = augmented(tf.constant(ramp), paper, 0, 5)
    rows = out.numpy()[:, 7, :, 0]
    centre = rows[:, 7] - 8  # -5..5
    mirrored = rows[:, 8] < rows[:, 7]
    assert 0.42 < mirrored.mean() < 0.58
    counts = np.bincount((centre + 5).astype(int), minlength=11)
    assert len(counts) == 11
    assert counts.min() > 20  # 46.5 expected


def test_alternate_flips_show_each_image_both_ways_in_two_epochs():
    flips = Augmentation(flip=True, alternate=True)
    seen = {}
    for step, (x, y) in enumerate(take(16, augmentation=flips)):
        for image, label in zip(x, y, strict=True):
            as_it_was = np.array_equal(image, IMAGES[label])
            assert as_it_was or np.array_equal(image, IMAGES[label][:, ::-1])
            seen.setdefault(label, {})[step // 4] = as_it_was
    for ways in seen.values():
        for epoch, way in ways.items():
            assert all(way == (w == ((e - epoch) % 2 == 0)) for e, w in ways.items())
    first = [ways[0] for ways in seen.values() if 0 in ways]
    assert 5 <= sum(first) <= 15  # of 20: about half


@pytest.mark.parametrize("name", ["none", "reflect"])
def test_windows_are_the_middle_of_the_whole_images(name):
    """Epoch by epoch, the middle of what a run without windows trains on."""
    kwargs = {"augmentation": AUGMENTATIONS[name], "seed": 3}
    windows = ((0, 4), (1, 6), (2, 8))
    whole, cut = take(12, **kwargs), take(12, windows=windows, **kwargs)
    for step, ((x, y), (x_cut, y_cut)) in enumerate(zip(whole, cut, strict=True)):
        size = windows[step // 4][1]
        edge = (8 - size) // 2
        np.testing.assert_array_equal(
            x_cut, x[:, edge : 8 - edge, edge : 8 - edge], strict=True
        )
        np.testing.assert_array_equal(y, y_cut)


def test_bad_batch_size():
    with pytest.raises(ValueError, match="from 1 to the 23 training images"):
        take(1, batch_size=24)
    with pytest.raises(ValueError, match="Received: batch_size=0"):
        take(1, batch_size=0)


def test_each_image_has_one_label():
    for labels in (np.zeros(4, int), np.zeros(6, int), np.zeros((5, 1), int)):
        with pytest.raises(ValueError, match=r"be 5 integers, one .*\("):
            batches.batches(np.zeros((5, 4, 4, 3)), labels, seed=0, batch_size=2)


def test_in_order_gives_the_arrays_back_whatever_the_batch():
    x, y = np.arange(10.0).reshape(5, 2), np.arange(5)
    pairs = list(batches.in_order(x, y, batch_size=2))
    assert [len(a) for a, _ in pairs] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate([a for a, _ in pairs]), x)
    np.testing.assert_array_equal(np.concatenate([b for _, b in pairs]), y)
    (alone,) = batches.in_order(x, batch_size=9)
    np.testing.assert_array_equal(alone, x)


def test_no_tuner_holds_the_end_of_an_epoch_up():
    x, y = np.zeros((4, 8, 8, 3), "float32"), np.zeros(4, int)
    for dataset in (
        batches.batches(x, y, seed=0, batch_size=2).map(lambda a, b: (b, a)),
        batches.in_order(x, batch_size=2),
    ):
        assert dataset.options().autotune.enabled is False


def test_rows_columns_and_flips_are_drawn_apart():
    places = np.stack(np.mgrid[1:16, 1:16], -1).astype(np.float32)
    images = tf.constant(np.tile(places, (512, 1, 1, 1)))
    out = augmented(images, AUGMENTATIONS["paper"], 0, 5).numpy()
    rows, columns = np.moveaxis(out[:, 7, 7], -1, 0) - 8
    flips = out[:, 7, 8, 1] < out[:, 7, 7, 1]
    assert set(rows) == set(columns) == set(range(-5, 6))
    assert np.bincount((rows + 5).astype(int)).min() > 20
    together = np.corrcoef([rows, columns, flips])[np.triu_indices(3, 1)]
    assert np.abs(together).max() < 0.2


def test_four_rounds_are_tensorflows_own_order():
    key = batches.key_of(3, 0, tf.constant(5, tf.int64))
    index = tf.range(100, dtype=tf.int64)
    np.testing.assert_array_equal(
        batches.shuffled(index, key, 100, 4),
        tf.random.experimental.index_shuffle(index, key, 99),
    )


@pytest.mark.parametrize("rounds, low, high", [(4, 0.2, 0.6), (8, 0.9, 1.1)])
def test_eight_rounds_order_as_chance_does(rounds, low, high):
    """The variance of a batch's sum of indices, against drawing without replacement."""
    n, k, epochs = 50_000, 250, 8
    index = tf.range(n, dtype=tf.int64)
    keys = [batches.key_of(7, 0, tf.constant(e, tf.int64)) for e in range(epochs)]
    found = np.array([batches.shuffled(index, key, n, rounds) for key in keys])
    np.testing.assert_array_equal(np.sort(found), np.tile(np.arange(n), (epochs, 1)))
    sums = found.reshape(epochs, n // k, k).sum(axis=2)
    exact = k * (n**2 - 1) / 12 * (n - k) / (n - 1)
    assert low < np.mean((sums - k * (n - 1) / 2) ** 2) / exact < high


@pytest.mark.parametrize("rounds", [2, 5])
def test_rounds_that_the_cipher_does_not_have(rounds):
    with pytest.raises(ValueError, match=f"even number from 4.*rounds={rounds}"):
        take(1, rounds=rounds)


def slow_cut(image, side, row, column):
    """One image by loops: a square about a pixel, as far as it lies in the image."""
    out = image.copy()
    for r in range(row - side // 2, row - side // 2 + side):
        for c in range(column - side // 2, column - side // 2 + side):
            if 0 <= r < image.shape[0] and 0 <= c < image.shape[1]:
                out[r, c] = 0
    return out


@pytest.mark.parametrize("side", [1, 4, 5])
def test_every_cut_is_a_square_about_a_pixel_and_all_are_seen(side):
    found = collections.Counter()
    image = np.random.default_rng(1).uniform(1, 2, (6, 5, 2)).astype(np.float32)
    images = tf.constant(np.tile(image, (100, 1, 1, 1)))
    for step in range(6):
        out = batches.cut_out(images, side, 3, tf.constant(step, tf.int64)).numpy()
        for mine in out:
            places = [
                (r, c)
                for r in range(6)
                for c in range(5)
                if np.array_equal(slow_cut(image, side, r, c), mine)
            ]
            assert len(places) == 1
            found[places[0]] += 1
    assert len(found) == 30
    assert min(found.values()) > 5  # 20 each by chance
    assert max(found.values()) < 40


def test_a_batch_is_cut_after_it_was_moved():
    """What is left of a moved image is as it was without the cut."""
    whole = Augmentation(2, True, "REFLECT")
    cut = Augmentation(2, True, "REFLECT", cutout=3)
    kwargs = {"windows": ((0, 6),)}
    for (x, _), (y, _) in zip(
        take(3, augmentation=whole, **kwargs),
        take(3, augmentation=cut, **kwargs),
        strict=True,
    ):
        gone = y != x
        np.testing.assert_array_equal(y[gone], 0)
        counts = gone.all(-1).sum((1, 2))
        assert ((counts >= 4) & (counts <= 9)).all()
