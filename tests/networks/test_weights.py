"""Weight files stand alone: the same outputs, verified, nothing guessed."""

import functools
import hashlib
import json

import keras
import numpy as np
import pytest

from allconv.commands.evaluate import TURNED
from allconv.core.files import DamagedFileError, read, write
from allconv.data import preprocessing, shapes
from allconv.layers import netdeconv
from allconv.networks import all_cnn, all_cnn_rows, weights
from allconv.networks.classifier import Classifier
from allconv.results.evaluation import evaluate, score
from experiments import RECORDS


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """(path, model, preprocessor, images) of an untrained net."""
    path = tmp_path_factory.mktemp("weights") / "net.h5"
    images, _ = shapes.draw(40)
    preprocessor = preprocessing.MeanStd().fit(images)
    model = all_cnn.StridedCNNA()
    facts = {"preset": "tiny", "seed": 0, "error": 90.0}
    weights.save(path, model, "strided_cnn_a", preprocessor, "shapes", facts)
    return path, model, preprocessor, images


def test_a_file_classifies_raw_images_by_itself(saved):
    path, model, preprocessor, images = saved
    classifier = Classifier.load(path)
    expected = model.predict(preprocessor(images), verbose=0)
    np.testing.assert_array_equal(classifier.predict(images), expected)
    assert classifier.meta["error"] == 90.0
    assert score(expected, np.zeros(40, int)).n == 40


def test_a_second_look_is_the_mean_with_the_mirror_image(saved):
    path, model, preprocessor, images = saved
    both = [
        model.predict(preprocessor(images)[:, :, columns], verbose=0)
        for columns in (range(32), range(31, -1, -1))
    ]
    found = Classifier.load(path).predict(images, test_time_augmentation=True)
    np.testing.assert_allclose(found, (both[0] + both[1]) / 2, atol=1e-6)
    turned = Classifier.load(path).predict(
        images[:, :, ::-1], test_time_augmentation=True
    )
    np.testing.assert_allclose(turned, found, atol=1e-5)


def test_builders_load_files(saved):
    path, model, *_ = saved
    loaded = all_cnn.StridedCNNA(weights=path)
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    base = all_cnn.StridedCNNA(weights=path, include_top=False)
    np.testing.assert_array_equal(
        base.get_layer("conv1").kernel, model.get_layer("conv1").kernel
    )


def test_builders_load_keras_files(saved, tmp_path):
    _, model, *_ = saved
    model.save_weights(tmp_path / "net.weights.h5")
    with pytest.warns(UserWarning, match=r"net.weights.h5 does not say which network"):
        loaded = all_cnn.StridedCNNA(weights=tmp_path / "net.weights.h5")
    np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])


def test_float16_halves_the_file_and_keeps_three_digits(saved, tmp_path):
    path, model, preprocessor, images = saved
    half = tmp_path / "half.h5"
    facts = {"preset": "tiny", "seed": 0, "error": 90.0}
    weights.save(
        half, model, "strided_cnn_a", preprocessor, "shapes", facts, dtype="float16"
    )
    assert half.stat().st_size < 0.55 * path.stat().st_size
    full, less = (Classifier.load(p).predict(images) for p in (path, half))
    np.testing.assert_allclose(full, less, atol=2e-3)


def test_files_can_share_their_preprocessing(saved, tmp_path):
    *_, images = saved
    preprocessor = preprocessing.GCNZCA().fit(images[:, :9, :9])
    shared = tmp_path / "gcn_zca.h5"
    weights.save_preprocessing(shared, preprocessor)
    small = all_cnn.AllCNNC(input_shape=(9, 9, 3))
    facts = {"preset": "tiny", "seed": 0}
    for name, where in (("whole.h5", None), ("part.h5", shared)):
        path = tmp_path / name
        weights.save(
            path, small, "all_cnn_c", preprocessor, "shapes", facts, shared=where
        )
    whole, part = (Classifier.load(tmp_path / n) for n in ("whole.h5", "part.h5"))
    cut = images[:, :9, :9]
    np.testing.assert_allclose(
        whole.preprocessor(cut), part.preprocessor(cut), atol=243**0.5 * 55 * 1.5e-4 / 3
    )
    shared.write_bytes(shared.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match=r"gcn_zca\.h5 is damaged"):
        Classifier.load(tmp_path / "part.h5")
    shared.unlink()
    with pytest.raises(FileNotFoundError, match=r"gcn_zca\.h5, which is needed"):
        Classifier.load(tmp_path / "part.h5")


@pytest.mark.parametrize("dataset, classes", [("cifar10", 10), ("cifar100", 100)])
def test_released_files_are_found_and_verified(
    dataset, classes, saved, tmp_path, monkeypatch
):
    *_, preprocessor, _ = saved
    model = all_cnn.StridedCNNA(classes=classes)
    path = tmp_path / "net.h5"
    weights.save(path, model, "strided_cnn_a", preprocessor, dataset, {})
    entry = {
        "architecture": "strided_cnn_a",
        "dataset": dataset,
        "file": "net.h5",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    (tmp_path / "manifest.json").write_text(json.dumps([entry]))
    monkeypatch.setattr(weights, "RELEASED", tmp_path)
    loaded = all_cnn.StridedCNNA(weights=dataset)
    assert loaded.output_shape == (None, classes)
    np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])
    with pytest.raises(ValueError, match=r"conv5/kernel needs shape .*3\)"):
        all_cnn.StridedCNNA(weights=dataset, classes=3)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match="Restore it"):
        all_cnn.StridedCNNA(weights=dataset)
    with pytest.raises(ValueError, match=f"No weights of model_a for {dataset} are"):
        all_cnn.ModelA(weights=dataset)


def test_the_manifest_lists_what_lies_there():
    entries = weights.manifest()
    shared = [e["preprocessing"] for e in entries if "file" in e["preprocessing"]]
    files = {e["file"]: e["sha256"] for e in entries + shared}
    assert set(files) == {p.name for p in weights.RELEASED.glob("*.h5")}
    for name, digest in files.items():
        path = weights.RELEASED / name
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
        assert path.stat().st_size <= 4 * 2**20
    budgets = {e["architecture"] for e in entries if e["preset"].endswith("_budget")}
    assert budgets == set(all_cnn_rows.TABLE_3)
    for entry in entries:
        record = json.loads(
            (RECORDS / f"{entry['preset']}-seed{entry['seed']}.json").read_text()
        )
        assert entry["commit"] == record["commit"]
        assert entry["error_in_float32"] == record["error"]
        _, meta = weights.read(weights.RELEASED / entry["file"])
        for key in ("architecture", "dataset", "preset", "seed", "error"):
            assert meta[key] == entry[key]


@pytest.mark.parametrize("builder", [all_cnn.AllCNNC, all_cnn.StridedCNNA])
def test_a_released_network_has_the_recorded_error(cifar10, builder):
    _, (images, labels) = cifar10
    model = builder(weights="cifar10")
    path = weights.released(model.name, "cifar10")
    (entry,) = (e for e in weights.manifest() if e["file"] == path.name)
    preprocessor = Classifier.load(path).preprocessor
    found = evaluate(model, preprocessor(images), labels)
    assert abs(found.wrong - entry["wrong"]) <= TURNED
    assert entry["error"] == pytest.approx(entry["wrong"] / 100)


def test_wrong_files_are_named(saved, tmp_path):
    path, *_ = saved
    with pytest.raises(FileNotFoundError, match="Received: weights='imagenet'"):
        all_cnn.StridedCNNA(weights="imagenet")
    with pytest.raises(ValueError, match="holds weights of strided_cnn_a, not of all"):
        all_cnn.AllCNNC(weights=path)
    with pytest.raises(ValueError, match=r"conv5/kernel needs shape .*7\)"):
        all_cnn.StridedCNNA(weights=path, classes=7)
    write(tmp_path / "state.h5", {"a": np.zeros(2)}, {"epoch": 1})
    with pytest.raises(DamagedFileError, match="perhaps it is a checkpoint"):
        Classifier.load(tmp_path / "state.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(DamagedFileError, match=r"text\.h5 is damaged"):
        Classifier.load(tmp_path / "text.h5")


@pytest.mark.parametrize("norm", ["batch", "deconv"])
def test_a_normalised_network_is_folded_before_it_is_saved(saved, tmp_path, norm):
    _, _, preprocessor, images = saved
    model = all_cnn.StridedCNNA(norm=norm, dropout=0.0)
    for _ in range(3):
        model(preprocessor(images), training=True)
    path = tmp_path / "net.h5"
    save = functools.partial(weights.save, path, dataset="shapes", meta={})
    save(model, "strided_cnn_a", preprocessor)
    with pytest.raises(ValueError, match="does not fit"):
        Classifier.load(path)
    with pytest.raises(ValueError, match="does not fit"):
        all_cnn.StridedCNNA(weights=path, include_top=False)
    save(netdeconv.fold(model), "strided_cnn_a", preprocessor)
    expected = model.predict(preprocessor(images), verbose=0)
    found = Classifier.load(path).predict(images)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_images_that_are_not_raw_and_unknown_sets_are_refused(saved, tmp_path):
    path, model, preprocessor, images = saved
    classifier = Classifier.load(path)
    for wrong, received in (
        (images / 255, r"float64, \(40, "),
        (images[0], r"uint8, \(32, 32, 3\)"),
        (images[:0], r"uint8, \(0, "),
    ):
        with pytest.raises(ValueError, match=f"should be raw: uint8 .*: {received}"):
            classifier.predict(wrong)
    with pytest.raises(ValueError, match="Received: dataset='svhn'"):
        weights.save(path, model, "strided_cnn_a", preprocessor, "svhn", {})


def test_dropout_does_not_change_what_fits(saved):
    path, *_ = saved
    assert isinstance(all_cnn.StridedCNNA(weights=path, dropout=0.0), keras.Model)


def odd(arrays, meta, change):
    """Arrays and facts of a weight file with one thing changed."""
    arrays, meta = dict(arrays), dict(meta)
    change(arrays, meta)
    return arrays, meta


KERNEL, STD = "weights/conv1/kernel", "preprocessing/std"


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda a, m: m.pop("classes"), "`classes` is missing"),
        (lambda a, m: m.update(classes=7), "`classes` should be 10, those of shapes"),
        (lambda a, m: m.update(classes=True), "`classes` should be an integer"),
        (lambda a, m: m.update(architecture=["a"]), "`architecture` should be a text"),
        (lambda a, m: m.update(dataset="svhn"), "`dataset` should be one of"),
        (lambda a, m: m.update(dataset={}), "`dataset` should be a text"),
        (lambda a, m: m.update(input_shape=None), r"`input_shape` should be \(an"),
        (lambda a, m: m.update(input_shape=[32, 32]), r"`input_shape` should be \(an"),
        (
            lambda a, m: m.update(input_shape=[9**9] * 3),
            r"`input_shape\[0\]` should be",
        ),
        (lambda a, m: m.update(preprocessing="evil"), "`preprocessing` should be one"),
        (lambda a, m: m.update(shared={}), "`shared.file` is missing"),
        (lambda a, m: m.update(error="abc"), "`error` should be a finite number"),
        (lambda a, m: m.update(error=1e308), "`error` should be .* from 0 to 100"),
        (lambda a, m: m.update(seed=-1), "`seed` should be an integer from 0"),
        (lambda a, m: a.pop(STD), r"`preprocessing/std` should have shape \(3,\)"),
        (lambda a, m: a.update({STD: a[STD] * 0}), "`preprocessing/std` should be abo"),
        (lambda a, m: a.update({STD: a[STD] * np.nan}), "`preprocessing/std` should"),
        (lambda a, m: a.update({STD: a[STD][:2]}), "`.*` .*Received: .2,"),
        (
            lambda a, m: a.update({KERNEL: a[KERNEL] * np.nan}),
            "`weights/conv1/kernel` s",
        ),
        (lambda a, m: a.update({KERNEL: a[KERNEL] * 1j}), "`.*` should be .*: complex"),
        (lambda a, m: a.update({KERNEL: a[KERNEL] > 0}), "`.*` should be .*: bool"),
    ],
)
def test_facts_are_compared_and_numbers_are_finite(saved, tmp_path, change, message):
    path = tmp_path / "odd.h5"
    write(path, *odd(*read(saved[0]), change))
    with pytest.raises(DamagedFileError, match=rf"odd\.h5 is no sound .*: {message}"):
        Classifier.load(path)


def test_facts_that_are_no_dict_are_named(saved, tmp_path):
    path = tmp_path / "odd.h5"
    write(path, read(saved[0])[0], ["architecture", "preprocessing"])
    with pytest.raises(DamagedFileError, match=r"odd\.h5 is no weight file"):
        Classifier.load(path)


def test_a_fact_that_could_not_be_read_is_not_written(saved, tmp_path):
    _, model, preprocessor, _ = saved
    save = functools.partial(weights.save, tmp_path / "x.h5", model, "strided_cnn_a")
    with pytest.raises(ValueError, match="`error` should be a finite number"):
        save(preprocessor, "shapes", {"error": float("nan")})
    assert not list(tmp_path.iterdir())


def test_what_is_loaded_is_what_was_checked(saved, tmp_path, monkeypatch):
    """A released file that is changed between its look-up and its load is refused."""
    path, model, preprocessor, _ = saved
    listed = tmp_path / "net.h5"
    listed.write_bytes(path.read_bytes())
    entry = {"architecture": "strided_cnn_a", "dataset": "shapes", "file": "net.h5"}
    entry["sha256"] = hashlib.sha256(listed.read_bytes()).hexdigest()
    (tmp_path / "manifest.json").write_text(json.dumps([entry]))
    monkeypatch.setattr(weights, "RELEASED", tmp_path)
    found = weights.released("strided_cnn_a", "shapes")
    assert Classifier.load(found).meta["error"] == 90.0
    facts = {"preset": "tiny", "seed": 0, "error": 1.0}
    weights.save(listed, model, "strided_cnn_a", preprocessor, "shapes", facts)
    with pytest.raises(DamagedFileError, match="not the one on record"):
        Classifier.load(found)


@pytest.mark.parametrize(
    "text, message",
    [
        ("{}", "`entries` should be a list"),
        ('[{"file": 1}]', r"`entries\[0\].architecture` is missing"),
        ('{"some": "other package"}', "`entries` should be a list"),
        ("", "Expecting value"),
        ("[" * 10**5, "maximum recursion|recursion"),
    ],
)
def test_a_manifest_of_another_kind_is_named(tmp_path, monkeypatch, text, message):
    (tmp_path / "manifest.json").write_text(text)
    monkeypatch.setattr(weights, "RELEASED", tmp_path)
    with pytest.raises(ValueError, match=rf"manifest\.json is no manif.*({message})"):
        weights.released("all_cnn_c", "cifar10")


def test_a_manifest_names_files_of_its_own_folder_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "RELEASED", tmp_path)
    entry = {"file": "../../etc/passwd", "sha256": ""}
    with pytest.raises(FileNotFoundError, match=rf"no file {tmp_path}/passwd"):
        weights.file_of(entry)
