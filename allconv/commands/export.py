"""`export`: a network with its preprocessing, as a file for other runtimes."""

import argparse

from allconv.commands.evaluate import check_network, chosen
from allconv.commands.terminal import import_tensorflow

IMAGES = 100  # of the test set, that the file is compared on
NAMED = 100  # classes, of which all names are said


def export(arguments: argparse.Namespace) -> None:
    """Write a network with its preprocessing for Keras, ONNX or LiteRT."""
    check_network(arguments.model)
    import_tensorflow()
    from allconv.data import datasets
    from allconv.networks import export
    from allconv.training import streamed

    if arguments.weights and arguments.dataset:
        raise ValueError("--weights knows its data set: leave out --dataset.")
    name = arguments.model or "network"
    suffix = getattr(export.FORMATS.get(arguments.format), "suffix", "")
    path = export.check(arguments.output or f"{name}{suffix}", arguments.format)
    classifier = chosen(arguments)
    meta = classifier.meta
    if "image_size" in meta:
        images = streamed.middles(
            meta["dataset"], meta["image_size"], IMAGES, arguments.data_dir
        )
    else:
        images = datasets.load(meta["dataset"], arguments.data_dir)[1][0][:IMAGES]
    difference = export.write(path, classifier, images, arguments.format)
    size = path.stat().st_size / 1e6
    shape = ", ".join(map(str, meta["input_shape"]))
    print(f"{path}: {size:.1f} MB, {meta['architecture']} in float32")
    takes = export.FORMATS[arguments.format].takes
    either = "uint8" if takes == "uint8" else f"uint8 or {takes}, 0 to 255,"
    print(f"  takes        images: {either} (n, {shape})")
    names = meta.get("class_names") or datasets.class_names(meta["dataset"])
    print(f"  gives        probabilities: float32 (n, {meta['classes']})")
    further = f", ... {names[-1]}" if len(names) > NAMED else ""
    print(f"  classes      {', '.join(names[:NAMED])}{further}")
    print(
        f"  opened       {len(images)} test images of {meta['dataset']}: the largest "
        f"difference of a probability is {difference:.1g}"
    )
