"""The command line: `python -m allconv COMMAND`. Arguments in, text out."""

import argparse
import dataclasses
import importlib.util
import os
import signal
import sys
import textwrap
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported

EPILOG = """\
examples:
  python -m allconv data cifar10               fetch and verify CIFAR-10
  python -m allconv train quick                train All-CNN-C for some minutes
  python -m allconv evaluate all_cnn_c --weights runs/quick-seed0/weights.h5
  python -m allconv table cifar10              the paper's errors beside ours

Ctrl-C stops a training run safely; the same command goes on with it.
Data are looked for in --data-dir, then in the folder that ALLCONV_DATA names.
"""


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status (2 for wrong input)."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command is not _table:  # which answers in a second
            _import_tensorflow()
        status = arguments.command(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # `... | head`
        for stream in (sys.stdout, sys.stderr):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        # A run that nobody hears cannot say that it came to its end.
        return int(arguments.command is _train)
    except KeyboardInterrupt as stop:
        print(f"\n{str(stop) or 'Stopped.'}", file=sys.stderr)
        return 128 + getattr(stop, "signum", signal.SIGINT)
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        line = " ".join(str(error).split())
        print(f"allconv: {line}", file=sys.stderr)
        return 2
    return status or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m allconv",
        description="What convolutional networks learn: All-CNN, ZFNet, deconvolution.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(function, name, help_, **kwargs):
        sub = commands.add_parser(name, help=help_, description=help_, **kwargs)
        sub.set_defaults(command=function)
        return sub

    command(_list, "list", "Show the networks and the training recipes (presets).")

    sub = command(_data, "data", "Fetch and verify a data set, and say where it is.")
    sub.add_argument("name", help="cifar10, cifar100 or shapes (drawn, no download)")
    _data_dir(sub)

    sub = command(
        _train,
        "train",
        "Train a preset, or go on with a run that was stopped.",
        epilog="A finished run leaves record.json and weights.h5 in its folder.",
    )
    sub.add_argument("preset", help="a name that `list` shows, e.g. quick")
    sub.add_argument("--seed", type=int, default=0, help="default: 0")
    sub.add_argument("--folder", help="default: runs/<preset>-seed<seed>")
    sub.add_argument("--epochs", type=int, help="shorten; milestones are scaled alike")
    sub.add_argument("--train-size", type=int, help="use the first N training images")
    sub.add_argument("--learning-rate", type=float, help="in place of the preset's")
    sub.add_argument(
        "--hold-out",
        type=int,
        help="measure on N training images held back, not on the test set",
    )
    sub.add_argument("--precision", help="float32 or mixed_bfloat16")
    sub.add_argument("--xla", action="store_true", help="compile the step with XLA")
    sub.add_argument("--threads", type=int, help="of one operation; default: all cores")
    sub.add_argument(
        "--snapshots",
        type=int,
        nargs="+",
        metavar="EPOCH",
        help="keep the weights after these epochs, for pictures of how features form",
    )
    sub.add_argument("--csv", action="store_true", help="keep history.csv too")
    sub.add_argument(
        "--tensorboard",
        metavar="DIR",
        help="write TensorBoard logs (needs its package)",
    )
    sub.add_argument(
        "--records", metavar="DIR", help="copy the finished run's record there"
    )
    _data_dir(sub)

    sub = command(_evaluate, "evaluate", "Measure a network's error on the test set.")
    sub.add_argument("model", nargs="?", help="a network that `list` shows")
    sub.add_argument("--weights", help="a weight file; default: the released one")
    sub.add_argument("--dataset", help="default: the one it was trained on")
    sub.add_argument(
        "--all",
        action="store_true",
        help="every released file; status 1 if one differs or cannot be measured",
    )
    sub.add_argument(
        "--mirrored",
        action="store_true",
        help="say also what a second look at each image, mirrored, makes of it",
    )
    _data_dir(sub)

    sub = command(_table, "table", "Print a table of the paper with our errors beside.")
    sub.add_argument("name", help="cifar10, cifar10_augmented or cifar100")
    sub.add_argument("--records", default="records", metavar="DIR")
    sub.add_argument("--style", default="text", help="text, markdown, latex or csv")
    sub.add_argument("-o", "--output", help="write it to a file too")

    sub = command(
        _explain,
        "explain",
        "Draw what drives a neuron in an image: a PNG, the array, the settings.",
        epilog="Without --layer the predicted class is explained, or --target.",
    )
    sub.add_argument("image", help="an image file, or the index of a test image")
    sub.add_argument("--model", required=True, help="a network of `list`, or X.keras")
    sub.add_argument("--weights", help="a weight file; default: the released one")
    sub.add_argument("--rule", default="guided", help="backprop, deconvnet or guided")
    sub.add_argument("--layer", help="by name, e.g. conv6 or block/conv1")
    sub.add_argument("--channel", type=int, help="default: the strongest")
    sub.add_argument(
        "--position", type=int, nargs=2, metavar=("ROW", "COLUMN"), help="of the neuron"
    )
    sub.add_argument("--target", type=int, help="a class, in place of --layer")
    sub.add_argument(
        "--dataset", help="of the index; default: of the weight file, else cifar10"
    )
    sub.add_argument(
        "--preprocess",
        help="how X.keras takes pixels: white:1, white:255, tf, caffe or torch; "
        "default: what its own layers say",
    )
    sub.add_argument("--white", help="N, for --preprocess white:N")
    sub.add_argument(
        "--fit", default="crop", help="an image of another shape: crop, pad or stretch"
    )
    sub.add_argument(
        "--before-rectifier", action="store_true", help="of --layer, as it ends in one"
    )
    sub.add_argument(
        "-o", "--output", default="explanation.png", help="the PNG, or a folder"
    )
    _data_dir(sub)

    sub = command(
        _gallery,
        "gallery",
        "Write a page on which to leaf through all units of a network, and the runs.",
        epilog="One HTML file, for any browser; it needs no network and no server.",
    )
    sub.add_argument("--weights", help="a weight file; default: released All-CNN-C")
    sub.add_argument("--records", default="records", metavar="DIR")
    sub.add_argument("-o", "--output", default="gallery", metavar="DIR")
    _data_dir(sub)
    return parser


def _data_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-dir", help="folder of the data; default: ALLCONV_DATA")


def _import_tensorflow() -> None:
    """Import TensorFlow without the lines that it prints about itself."""
    sys.stderr.flush()
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        from allconv.core import backend  # noqa: F401  # which refuses others
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


def _list(arguments) -> None:
    from allconv.networks import all_cnn_rows, classics_rows, zfnet_rows
    from allconv.presets import catalogue

    print("networks")
    for name in all_cnn_rows.NAMES:
        architecture = all_cnn_rows.get(name)
        count = all_cnn_rows.count_parameters(name)
        print(f"  {name:20}{count:>12,} parameters  {architecture.source}")
    for module in (zfnet_rows, classics_rows):
        names = textwrap.fill(", ".join(module.NAMES), 86, break_on_hyphens=False)
        print(textwrap.indent(names, "  "))
    print("\npresets")
    width = max(map(len, catalogue.PRESETS)) + 2
    for preset in catalogue.PRESETS.values():
        print(
            f"  {preset.name:{width}}{preset.architecture} on {preset.dataset}, "
            f"{preset.train_size or 'all'} images x {preset.epochs}, "
            f"augmentation: {preset.augmentation}"
        )


def _data(arguments) -> None:
    from allconv.data import datasets

    (x_train, y_train), (x_test, y_test) = datasets.load(
        arguments.name, arguments.data_dir
    )
    where = datasets.data_folder(arguments.data_dir)
    print(f"{arguments.name}: {len(x_train)} training and {len(x_test)} test images")
    print(f"  in           {'code' if arguments.name == 'shapes' else where}")
    print(f"  training set {datasets.fingerprint(x_train, y_train)}")
    print(f"  test set     {datasets.fingerprint(x_test, y_test)}")


def _train(arguments) -> None:
    from allconv.core import runtime
    from allconv.core.files import write_bytes
    from allconv.presets import catalogue
    from allconv.presets.preset import shorten
    from allconv.training import run

    preset = catalogue.get(arguments.preset)
    if arguments.epochs is not None:
        preset = shorten(preset, arguments.epochs)
    for field in ("train_size", "learning_rate", "hold_out", "precision"):
        value = getattr(arguments, field)
        if value is not None and value != getattr(preset, field):
            name = f"{preset.name}-{field}={value}"
            preset = dataclasses.replace(preset, name=name, **{field: value})
    if arguments.xla:
        name = f"{preset.name}-xla"
        preset = dataclasses.replace(preset, name=name, jit_compile=True)
    runtime.set_threads(arguments.threads)
    folder = Path(arguments.folder or f"runs/{preset.name}-seed{arguments.seed}")
    callbacks = []
    if arguments.snapshots:
        from allconv.probes.evolution import Snapshots

        if max(arguments.snapshots) > preset.epochs:
            raise ValueError(
                f"--snapshots should be epochs up to {preset.epochs}, the last of "
                f"{preset.name}. Received: {max(arguments.snapshots)}"
            )
        callbacks.append(Snapshots(folder, arguments.snapshots))
    if arguments.tensorboard:
        if importlib.util.find_spec("tensorboard") is None:
            raise ValueError(
                "--tensorboard needs the package tensorboard, which is not installed: "
                "`pip install tensorboard`, or use --csv."
            )
        import keras

        callbacks.append(keras.callbacks.TensorBoard(arguments.tensorboard))
    record = run.train(
        preset,
        arguments.seed,
        folder,
        data_dir=arguments.data_dir,
        callbacks=callbacks,
        csv=arguments.csv,
    )
    if record["status"] == "diverged":
        print(f"{preset.name}, seed {arguments.seed}: diverged")
    else:
        print(
            f"{preset.name}, seed {arguments.seed}: error {record['error']:.2f} % "
            f"({record['wrong']} of {record['n']}, {record['split']}), "
            f"{record['minutes']:.1f} minutes"
        )
    print(f"  in {folder}")
    if arguments.records:
        target = Path(arguments.records) / f"{preset.name}-seed{arguments.seed}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(target, (folder / run.RECORD).read_bytes())
        print(f"  record copied to {target}")


def _evaluate(arguments) -> int:
    if arguments.all:
        return _evaluate_all(arguments)
    from allconv.data import datasets
    from allconv.networks import weights
    from allconv.networks.classifier import Classifier

    if arguments.weights:
        path = Path(arguments.weights)
    elif arguments.model:
        path = weights.released(arguments.model, arguments.dataset or "cifar10")
    else:
        raise ValueError("Name a network that `list` shows, or say --all.")
    classifier = Classifier.load(path)
    meta = classifier.meta
    if arguments.model not in (None, meta["architecture"]):
        raise ValueError(
            f"{path} holds {meta['architecture']}. Received: {arguments.model!r}"
        )
    dataset = arguments.dataset or meta["dataset"]
    fitting = [n for n, c in datasets.CLASS_NAMES.items() if len(c) == meta["classes"]]
    if dataset not in fitting:
        raise ValueError(
            f"{path} tells {meta['classes']} classes apart, as in "
            f"{' and '.join(fitting)}. Received: --dataset {dataset}"
        )
    result = _measured(classifier, dataset, arguments)
    for name, error in zip(
        datasets.CLASS_NAMES[dataset], result.per_class, strict=True
    ):
        print(f"  {name:16}{error:6.1f} %")
    return 0


# Other processors round otherwise, which may turn an image that lies on the border.
TURNED = 5


def _evaluate_all(arguments) -> int:
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


def _measured(classifier, dataset: str, arguments):
    """The `Evaluation` of one look at each test image; its error is printed."""
    from allconv.data import datasets
    from allconv.results.evaluation import score

    _, (images, labels) = datasets.load(dataset, arguments.data_dir)
    result = score(classifier.predict(images), labels)
    meta = classifier.meta
    known = f"; recorded: {meta['error']:.2f} %" if "error" in meta else ""
    print(
        f"{meta['architecture']} on {dataset}: error {result.error:.2f} % "
        f"({result.wrong} of {result.n}{known})"
    )
    if arguments.mirrored:
        two_looks = score(classifier.predict(images, mirrored=True), labels)
        print(f"  with a second, mirrored look: error {two_looks.error:.2f} %")
    return result


def _table(arguments) -> None:
    from allconv.core.files import write_bytes
    from allconv.results import tables

    title = tables.title(arguments.name)
    table = tables.rows(arguments.name, tables.read(arguments.records))
    text = tables.render(table, arguments.style)
    if arguments.style == "text":
        print(f"{title}\n")
    print(text)
    if arguments.output:
        path = Path(arguments.output)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, (text + "\n").encode())


def _explain(arguments) -> None:
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
        layer=arguments.layer,
        channel=arguments.channel,
        position=tuple(arguments.position) if arguments.position else None,
        target=arguments.target,
    )
    if way is None and arguments.model.endswith((".keras", ".h5")):
        notes = [f"Pixels are taken as {said}.", *notes]
    for note in [*(str(warning.message) for warning in told), *notes]:
        print(f"allconv: {note}", file=sys.stderr)
    print("\n".join(str(path) for path in written))


def _gallery(arguments) -> None:
    from allconv.networks import weights
    from allconv.networks.classifier import Classifier
    from allconv.reports import gallery
    from allconv.results import tables

    path = arguments.weights or weights.released("all_cnn_c", "cifar10")
    page = gallery.write(
        Path(arguments.output) / "index.html",
        Classifier.load(path),
        tables.read(arguments.records),
        arguments.data_dir,
    )
    print(f"{page}: {page.stat().st_size / 1e6:.1f} MB; open it in a browser")


if __name__ == "__main__":
    sys.exit(main())
