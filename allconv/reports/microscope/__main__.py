"""Write the microscope: `python -m allconv.reports.microscope -o microscope.html`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from allconv.core.files import DamagedFileError
from allconv.networks import weights
from allconv.networks.classifier import Classifier
from allconv.reports.microscope import page

RELEASED = ("all_cnn_c", "model_c")  # without and with pooling


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse a command line, write the page, say where it is."""
    parser = argparse.ArgumentParser(prog="allconv.reports.microscope")
    parser.add_argument("-o", "--output", type=Path, required=True, help="HTML file")
    parser.add_argument(
        "--weights",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="weight files of this project; the released All-CNN-C and Model C",
    )
    parser.add_argument("--data-dir", help="folder of the data set")
    parser.add_argument("--patches", help="address of a page with each unit's patches")
    given = parser.parse_args(arguments)
    try:
        files = given.weights or [weights.released(n, "cifar10") for n in RELEASED]
        classifiers = [Classifier.load(file) for file in files]
        path = page.write(
            given.output, classifiers, given.data_dir, patches=given.patches
        )
    except (ValueError, OSError, DamagedFileError) as error:
        parser.error(str(error))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
