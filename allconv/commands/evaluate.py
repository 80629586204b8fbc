"""`evaluate`: a network's error on a test set, or every released file's."""

import argparse
import sys
from pathlib import Path

from allconv.commands.terminal import import_tensorflow
from allconv.networks import registry


def evaluate(arguments: argparse.Namespace) -> int:
    """Measure a network's error on the test set."""
    check_network(arguments.model)
    import_tensorflow()
    if arguments.all:
        return _evaluate_all(arguments)
    from allconv.data import datasets

    classifier = chosen(arguments)
    meta = classifier.meta
    dataset = arguments.dataset or meta["dataset"]
    datasets.check("--dataset", dataset)
    if "image_size" in meta:
        return _on_disk(classifier, dataset, arguments)
    fitting = [n for n, c in datasets.CLASS_NAMES.items() if len(c) == meta["classes"]]
    if dataset in datasets.NAMES and dataset not in fitting:
        raise ValueError(
            f"{meta['architecture']} tells {meta['classes']} classes apart, as in "
            f"{', '.join(fitting) or meta['dataset']}. "
            f"Received: --dataset {dataset}"
        )
    result = _measured(classifier, dataset, arguments)
    names = datasets.class_names(dataset)
    for name, error in zip(names, result.per_class, strict=True):
        print(f"  {name:16}{error:6.1f} %")
    return 0


def _on_disk(classifier, dataset: str, arguments: argparse.Namespace) -> int:
    """Measure a network on images that are read as they are needed."""
    from allconv.data import streams
    from allconv.training import streamed

    meta, images = classifier.meta, streams.load(dataset, arguments.data_dir)
    if list(images.class_names) != meta["class_names"]:
        raise ValueError(
            f"{dataset} should have the classes of the network, by name and in order: "
            f"{', '.join(meta['class_names'][:3])}, ... "
            f"Received: {', '.join(images.class_names[:3])}, ..."
        )
    given = (classifier.model, images.test, meta["image_size"], classifier.preprocessor)
    one = streamed.centre_crops(*given)
    known = f"; recorded: {meta['error']:.2f} %" if "error" in meta else ""
    print(
        f"{meta['architecture']} on {dataset}: error {one.error:.2f} % ({one.wrong} of "
        f"{one.n}{known}), with five guesses {one.top5_error:.2f} %"
    )
    if arguments.ten_crops:
        ten = streamed.ten_crops(*given)
        print(
            f"  of ten crops: error {ten.error:.2f} %, with five guesses "
            f"{ten.top5_error:.2f} %"
        )
    return 0


def check_network(name: str | None) -> None:
    """Refuse a mistyped name before TensorFlow is waited for."""
    if name is not None:
        registry.family(name)


def chosen(arguments: argparse.Namespace):
    """The `Classifier` of a weight file, or the released one of a network.

    Raises:
        ValueError: If neither is named, or the file is of another network.
    """
    from allconv.networks import weights
    from allconv.networks.classifier import Classifier

    if arguments.weights:
        path = Path(arguments.weights)
    elif arguments.model:
        path = weights.released(arguments.model, arguments.dataset or "cifar10")
    else:
        raise ValueError("Name a network that `list` shows, or a file by --weights.")
    classifier = Classifier.load(path)
    found = classifier.meta["architecture"]
    if arguments.model not in (None, found):
        raise ValueError(f"{path} holds {found}. Received: {arguments.model!r}")
    return classifier


# Other processors round otherwise, which may turn an image that lies on the border.
TURNED = 5


def _evaluate_all(arguments: argparse.Namespace) -> int:
    from allconv.data import datasets
    from allconv.networks import weights
    from allconv.networks.classifier import Classifier

    if arguments.model or arguments.weights or arguments.dataset:
        raise ValueError(
            "--all measures every released file on its own data set: name neither "
            "a network, nor weights, nor a data set."
        )
    files = {weights.file_of(entry): entry for entry in weights.manifest()}
    if not files:
        raise ValueError("No weight file is released yet; train one with `train`.")
    differing = unmeasured = 0
    for path, entry in files.items():
        classifier = Classifier.load(path)
        try:
            result = _measured(classifier, entry["dataset"], arguments)
        except datasets.DataError as error:
            unmeasured += 1
            print(
                f"{entry['architecture']} on {entry['dataset']}: not measured: {error}"
            )
            continue
        wrong = entry["wrong"]
        differing += abs(result.wrong - wrong) > TURNED
        same = "as recorded" if result.wrong == wrong else f"{wrong} were recorded"
        print(f"  {entry['preset']}, seed {entry['seed']}: {same}")
    for count, what in ((differing, "differ"), (unmeasured, "were not measured")):
        if count:
            print(f"allconv: {count} of {len(files)} files {what}", file=sys.stderr)
    return int(differing + unmeasured > 0)


def _measured(classifier, dataset: str, arguments: argparse.Namespace):
    """The `Evaluation` of one look at each test image; its error is printed."""
    from allconv.data import datasets
    from allconv.results.evaluation import score

    _, (images, labels) = datasets.load(dataset, arguments.data_dir)
    meta = classifier.meta
    if len(datasets.class_names(dataset)) != meta["classes"]:
        raise ValueError(
            f"{dataset} should have the {meta['classes']} classes of the network. "
            f"Received: {len(datasets.class_names(dataset))} classes"
        )
    result = score(classifier.predict(images), labels)
    known = f"; recorded: {meta['error']:.2f} %" if "error" in meta else ""
    print(
        f"{meta['architecture']} on {dataset}: error {result.error:.2f} % "
        f"({result.wrong} of {result.n}{known})"
    )
    if arguments.test_time_augmentation:
        augmented = score(
            classifier.predict(images, test_time_augmentation=True), labels
        )
        print(
            f"  with test-time augmentation (mirrored): error {augmented.error:.2f} %"
        )
    return result
