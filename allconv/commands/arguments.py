"""What the command line understands; imports nothing that takes time."""

import argparse
from typing import Any

from allconv import __version__

EPILOG = """\
examples:
  python -m allconv data cifar10               fetch and verify CIFAR-10
  python -m allconv train quick                train All-CNN-C for some minutes
  python -m allconv evaluate all_cnn_c --weights runs/quick-seed0/weights.h5
  python -m allconv table cifar10              the paper's errors beside ours

Ctrl-C stops a training run safely; the same command goes on with it.
Data are looked for in --data-dir, then in the folder that ALLCONV_DATA names.
"""
_OWN = "or the path of an .npz or of a folder of class folders"


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m allconv",
        description="What convolutional networks learn: All-CNN, ZFNet, deconvolution.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    _traceback(parser, False)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(function: str, name: str, help_: str, **kwargs: Any):
        """A command, done by a function of a module of `allconv.commands`."""
        sub = commands.add_parser(name, help=help_, description=help_, **kwargs)
        sub.set_defaults(command=function)
        _traceback(sub, argparse.SUPPRESS)
        add_import(sub)
        return sub

    command(
        "show.show_list",
        "list",
        "Show the networks and the training recipes (presets).",
    )

    command("doctor.doctor", "doctor", "Show what is installed, found and missing.")

    sub = command(
        "show.data", "data", "Fetch and verify a data set, and say where it is."
    )
    sub.add_argument(
        "name",
        nargs="?",
        help="cifar10, cifar100, shapes (drawn, no download), fashion_mnist, mnist, "
        f"imagenet; {_OWN}",
    )
    sub.add_argument(
        "--on-disk",
        action="store_true",
        help="look at each file of a folder, as a recipe with an image_size does once",
    )
    sub.add_argument(
        "--clean",
        action="store_true",
        help="delete the whitenings kept for training, which are fitted anew",
    )
    _data_dir(sub)

    sub = command(
        "train.train",
        "train",
        "Train a preset, or go on with a run that was stopped.",
        epilog="A finished run leaves record.json and weights.h5 in its folder.",
    )
    sub.add_argument("preset", nargs="?", help="a name that `list` shows, e.g. quick")
    sub.add_argument(
        "--preset-file",
        metavar="FILE",
        help="a recipe of your own: JSON or TOML, fields over those of its `base`",
    )
    sub.add_argument("--data", metavar="NAME", help=f"in place of the preset's; {_OWN}")
    sub.add_argument("--seed", type=int, default=0, help="default: 0")
    sub.add_argument("--folder", help="default: runs/<preset>-seed<seed>")
    sub.add_argument("--epochs", type=int, help="shorten; milestones are scaled alike")
    sub.add_argument("--train-size", type=int, help="use the first N training images")
    sub.add_argument("--batch-size", type=int, help="in place of the preset's")
    sub.add_argument("--learning-rate", type=float, help="in place of the preset's")
    sub.add_argument(
        "--preprocessing",
        help="in place of the preset's; mean_std for images of more than 48 x 48",
    )
    sub.add_argument(
        "--hold-out",
        type=int,
        help="measure on N training images held back, not on the test set",
    )
    sub.add_argument(
        "--precision",
        default="auto",
        help="float32, mixed_bfloat16, mixed_float16, or auto, the default: that of a "
        "run that goes on, else the fastest here, measured once in some seconds",
    )
    sub.add_argument("--xla", action="store_true", help="compile the step with XLA")
    sub.add_argument("--threads", type=int, help="of one operation; default: all cores")
    sub.add_argument(
        "--devices",
        type=int,
        default=1,
        help="GPUs that share each batch; without any, a rehearsal on so many parts of "
        "the processor. Default: 1",
    )
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

    sub = command(
        "evaluate.evaluate", "evaluate", "Measure a network's error on the test set."
    )
    sub.add_argument("model", nargs="?", help="a network that `list` shows")
    sub.add_argument("--weights", help="a weight file; default: the released one")
    sub.add_argument("--dataset", help="default: the one it was trained on")
    sub.add_argument(
        "--all",
        action="store_true",
        help="every released file; status 1 if one differs or cannot be measured",
    )
    sub.add_argument(
        "--test-time-augmentation",
        action="store_true",
        help="say also the error of the mean over each image and its mirror image",
    )
    sub.add_argument(
        "--ten-crops",
        action="store_true",
        help="of images on the disk, say also the error of the mean over ten crops",
    )
    _data_dir(sub)

    sub = command(
        "export.export",
        "export",
        "Write a network with its preprocessing for Keras, ONNX or LiteRT.",
        epilog="Raw uint8 images in, probabilities out. Needs the extra: "
        "`pip install 'allconv[export]'`.",
    )
    sub.add_argument("model", nargs="?", help="a network that `list` shows")
    sub.add_argument("--weights", help="a weight file; default: the released one")
    sub.add_argument("--dataset", help="of the released one; default: cifar10")
    sub.add_argument("--format", required=True, help="keras, onnx or litert")
    sub.add_argument(
        "-o", "--output", metavar="FILE", help="ends in .keras, .onnx or .tflite"
    )
    _data_dir(sub)

    sub = command(
        "imports.import_",
        "import",
        "Write a network that others trained on ImageNet as a .keras file.",
        epilog="Beside it a .json says where it is from, its digest and its error.",
    )
    sub.add_argument(
        "network", help="squeezenet, zfnet, alexnet; or of keras.applications: ResNet50"
    )
    sub.add_argument(
        "file", nargs="?", help="its weights, .npz or .h5; of Keras: fetched without"
    )
    sub.add_argument("-o", "--output", metavar="FILE", help="ends in .keras")
    sub.add_argument(
        "--images",
        metavar="FOLDER",
        help="measure the error on photographs: class folders, or named by synset",
    )
    sub.add_argument(
        "--classes",
        metavar="FILE",
        help="names of the classes, one a line, in the network's order",
    )

    sub = command(
        "show.table", "table", "Print a table of the paper with our errors beside."
    )
    sub.add_argument(
        "name", help="cifar10, cifar10_augmented, cifar100, imagenet, or your own set"
    )
    sub.add_argument("--records", metavar="DIR", help="default: the released ones")
    sub.add_argument("--style", default="text", help="text, markdown, latex or csv")
    sub.add_argument(
        "--columns", nargs="+", metavar="COLUMN", help="these alone, in this order"
    )
    sub.add_argument(
        "--done", action="store_true", help="leave out what is not run, as latex does"
    )
    sub.add_argument("-o", "--output", help="write it to a file too")

    sub = command(
        "draw.explain",
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
    sub.add_argument("--head", help="of a model's several outputs: a name or a number")
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
        "--no-strict",
        dest="strict",
        action="store_false",
        help="take the plain gradient where the rule says nothing",
    )
    sub.add_argument(
        "-o", "--output", default="explanation.png", help="the PNG, or a folder"
    )
    _data_dir(sub)

    sub = command(
        "draw.gallery",
        "gallery",
        "Write a page on which a network runs and all its units can be leafed through.",
        epilog="One HTML file, for any browser; it needs no network and no server.",
    )
    sub.add_argument("--weights", help="a weight file; default: released All-CNN-C")
    sub.add_argument("--model", metavar="X.keras", help="a model of your own, instead")
    sub.add_argument(
        "--images", metavar="FOLDER", help="for --model: photos, or folders of classes"
    )
    sub.add_argument(
        "--preprocess",
        help="how X.keras takes pixels, as for explain; default: as its layers say",
    )
    sub.add_argument("--white", help="N, for --preprocess white:N")
    sub.add_argument(
        "--layers", nargs="+", metavar="LAYER", help="convolutions; default: all"
    )
    sub.add_argument("--units", type=int, help="of each layer, evenly; default: all")
    sub.add_argument(
        "--no-strict",
        dest="strict",
        action="store_false",
        help="of --model: take the plain gradient where a rule says nothing",
    )
    sub.add_argument(
        "--still", action="store_true", help="leave out the network that runs"
    )
    sub.add_argument("--records", metavar="DIR", help="default: the released ones")
    sub.add_argument("-o", "--output", default="gallery", metavar="DIR")
    _data_dir(sub)
    return parser


def add_import(parser: argparse.ArgumentParser) -> None:
    """Add `--import`, whose modules are `modules`."""
    parser.add_argument(
        "--import",
        dest="modules",
        type=_module,
        action="append",
        default=[],
        metavar="MODULE",
        help="import a module of yours first, which registers networks or presets",
    )


def _module(name: str) -> str:
    if name.startswith("."):
        raise argparse.ArgumentTypeError(
            f"should be a module's name, as `import` takes it. Received: {name!r}"
        )
    return name


def _traceback(parser: argparse.ArgumentParser, default: bool | str) -> None:
    parser.add_argument(
        "--traceback",
        action="store_true",
        default=default,
        help="show where an error comes from",
    )


def _data_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-dir", help="folder of the data; default: ALLCONV_DATA")
