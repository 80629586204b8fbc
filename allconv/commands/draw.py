"""`explain` and `gallery`: what drives a neuron, and a page of all units."""

import argparse
import sys
import warnings
from pathlib import Path

from allconv.commands.terminal import import_tensorflow
from allconv.core.checks import nearest
from allconv.networks import registry


def explain(arguments: argparse.Namespace) -> None:
    """Draw what drives a neuron in an image: a PNG, the array, the settings."""
    name = arguments.model
    if name not in registry.NAMES and not name.endswith((".keras", ".h5")):
        raise ValueError(
            "--model should be a network that `list` shows or a .keras or .h5 file. "
            f"Received: {name!r}{nearest(name, registry.NAMES)}"
        )
    import_tensorflow()
    from allconv.networks import weights
    from allconv.reports import explanation

    if arguments.dataset is None:
        file = arguments.weights
        known = weights.read(Path(file))[1]["dataset"] if file else "cifar10"
        arguments.dataset = known
    way = arguments.preprocess
    if arguments.white is not None:
        if way is not None:
            raise ValueError("--white N is --preprocess white:N: give one of the two.")
        way = f"white:{arguments.white}"
    explanation.paths(arguments.output)  # before anything is computed
    model, preprocess, pullback, said = explanation.read_model(
        arguments.model, arguments.weights, arguments.dataset, way
    )
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        pixels = explanation.read_image(
            *(arguments.image, model, arguments.dataset, arguments.data_dir),
            arguments.fit,
        )
    settings = {k: getattr(arguments, k) for k in ("image", "model", "dataset")}
    written, notes = explanation.write(
        arguments.output,
        pixels,
        model,
        preprocess,
        pullback,
        arguments.rule,
        settings | {"preprocess": said},
        before_rectifier=arguments.before_rectifier,
        strict=arguments.strict,
        layer=arguments.layer,
        head=_number(arguments.head),
        channel=arguments.channel,
        position=tuple(arguments.position) if arguments.position else None,
        target=arguments.target,
    )
    if way is None and arguments.model.endswith((".keras", ".h5")):
        notes = [f"Pixels are taken as {said}.", *notes]
    for note in [*(str(warning.message) for warning in told), *notes]:
        print(f"allconv: {note}", file=sys.stderr)
    print("\n".join(str(path) for path in written))


def _number(text: str | None) -> str | int | None:
    return int(text) if text is not None and text.isdecimal() else text


def gallery(arguments: argparse.Namespace) -> None:
    """Write a page on which a network runs and all its units can be leafed through."""
    own = arguments.model is not None
    if own != (arguments.images is not None) or (own and arguments.weights):
        raise ValueError(
            "Give --model X.keras with --images FOLDER, or --weights FILE, or neither. "
            f"Received: --model {arguments.model} --images {arguments.images} "
            f"--weights {arguments.weights}"
        )
    way = arguments.preprocess
    if arguments.white is not None:
        if way is not None:
            raise ValueError("--white N is --preprocess white:N: give one of the two.")
        way = f"white:{arguments.white}"
    if way is not None and not own:
        raise ValueError("--preprocess is for --model: our networks know their own.")
    import_tensorflow()
    from allconv.reports import gallery as pages

    path = Path(arguments.output) / "index.html"
    shown = {"layers": arguments.layers, "units": arguments.units}
    shown["live"] = not arguments.still
    if own:
        from allconv.reports import inputs

        model = inputs.load(arguments.model)
        if way is None:
            way, said = inputs.found(model)
            print(f"allconv: Pixels are taken as {said}.", file=sys.stderr)
        shown["strict"] = arguments.strict
        page = pages.write_model(path, model, arguments.images, way, **shown)
    else:
        from allconv.networks import places, weights
        from allconv.networks.classifier import Classifier
        from allconv.results import tables

        file = arguments.weights or weights.released("all_cnn_c", "cifar10")
        page = pages.write(
            path,
            Classifier.load(file),
            tables.read(arguments.records or places.folder("records")),
            arguments.data_dir,
            **shown,
        )
    print(f"{page}: {page.stat().st_size / 1e6:.1f} MB; open it in a browser")
