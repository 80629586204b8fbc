"""Copies the headline weights, the manifest and the records into the wheel."""

import json
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
# (network, data set): of each the first file in the manifest, which is its best.
HEADLINES = (
    *(("all_cnn_c", "cifar10"), ("all_cnn_c", "cifar100")),
    *(("model_c", "cifar10"), ("zfnet_32", "cifar10")),
)


def released() -> list[Path]:
    """The files that travel in the wheel, below the checkout."""
    entries = json.loads((ROOT / "weights" / "manifest.json").read_text("utf-8"))
    names = {"manifest.json": None}
    for headline in HEADLINES:
        entry = next(
            e for e in entries if (e["architecture"], e["dataset"]) == headline
        )
        names |= {entry["file"]: None}
        if "file" in entry["preprocessing"]:
            names |= {entry["preprocessing"]["file"]: None}
    records = sorted((ROOT / "records").glob("*.json"))
    return [ROOT / "weights" / name for name in names] + records


class BuildWithReleased(build_py):
    """`build_py`, and the released files beside the modules, in `allconv/released`."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # which finds them in the checkout
            return
        for source in released():
            target = Path(self.build_lib, "allconv/released", source.relative_to(ROOT))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


setup(cmdclass={"build_py": BuildWithReleased})
