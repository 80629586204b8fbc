"""`train`: a preset, or a recipe of your own, to its end."""

import argparse
import dataclasses
import importlib.util
import re
from pathlib import Path

from allconv.commands.terminal import import_tensorflow
from allconv.data import datasets
from allconv.presets import catalogue, preset_file
from allconv.presets.limits import check
from allconv.presets.preset import Preset, shorten


def train(arguments: argparse.Namespace) -> None:
    """Train a preset, or go on with a run that was stopped."""
    preset = recipe(arguments)
    check(preset)  # before TensorFlow is waited for
    import_tensorflow()
    from allconv.core import runtime
    from allconv.core.files import read_bytes, write_bytes
    from allconv.training import devices, precision, run

    run.check_seed(arguments.seed)
    runtime.set_threads(arguments.threads)
    devices.check(arguments.devices, preset)  # before TensorFlow begins to compute
    folder = Path(arguments.folder or f"runs/{preset.name}-seed{arguments.seed}")
    callbacks = []
    if arguments.snapshots:
        from allconv.probes.evolution import Snapshots

        if max(arguments.snapshots) > preset.epochs:
            raise ValueError(
                f"--snapshots should be epochs up to {preset.epochs}, the last of "
                f"{preset.name}. Received: {max(arguments.snapshots)}"
            )
        callbacks.append(Snapshots(folder, arguments.snapshots, folded=True))
    if arguments.tensorboard:
        if importlib.util.find_spec("tensorboard") is None:
            raise ValueError(
                "--tensorboard needs the package tensorboard, which is not installed: "
                "`pip install tensorboard`, or use --csv."
            )
        import keras

        callbacks.append(keras.callbacks.TensorBoard(arguments.tensorboard))
    if arguments.precision == "auto" and preset.precision == "float32":
        chosen = run.begun_in(folder) or precision.fastest(arguments.data_dir)
        preset = dataclasses.replace(preset, precision=chosen)
    record = run.train(
        preset,
        arguments.seed,
        folder,
        data_dir=arguments.data_dir,
        callbacks=callbacks,
        csv=arguments.csv,
        devices=arguments.devices,
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
        write_bytes(target, read_bytes(folder / run.RECORD))
        print(f"  record copied to {target}")


# Fields of a preset that an option of the same name replaces.
IN_PLACE = ("train_size", "batch_size", "learning_rate", "preprocessing", "hold_out")


def recipe(arguments: argparse.Namespace) -> Preset:
    """The preset, or the file's recipe, with what the arguments change in it.

    Raises:
        ValueError: If there is none, or an argument cannot be followed.
    """
    if (arguments.preset is None) == (arguments.preset_file is None):
        raise ValueError("Name a preset that `list` shows, or a --preset-file.")
    if arguments.preset_file is not None:
        preset = preset_file.read(arguments.preset_file)
    else:
        preset = catalogue.get(arguments.preset)
    if arguments.data is not None:
        word = re.sub(r"[^\w.-]", "_", Path(arguments.data).stem)
        preset = dataclasses.replace(
            preset,
            name=f"{preset.name}-{word}",
            dataset=datasets.spelling(arguments.data),
            train_size=None,
        )
    if arguments.epochs is not None:
        preset = shorten(preset, arguments.epochs)
    if arguments.precision != "auto":  # no recipe of its own: see `Preset`
        preset = dataclasses.replace(preset, precision=arguments.precision)
    for field in IN_PLACE:
        value = getattr(arguments, field)
        if value is not None and value != getattr(preset, field):
            name = f"{preset.name}-{field}={value}"
            preset = dataclasses.replace(preset, name=name, **{field: value})
    if arguments.xla:
        name = f"{preset.name}-xla"
        preset = dataclasses.replace(preset, name=name, jit_compile=True)
    return preset
