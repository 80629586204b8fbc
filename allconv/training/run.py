"""One training run: start, resume and 'already done' are the same call.

The promise: the same preset, seed, device kind, threads and versions give the same
bytes, and a run that is killed at any instant and called again ends with the same
bytes as one that was not. State is kept at the end of every epoch.
"""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from allconv.core import files, locks, runtime
from allconv.layers.folding import fold
from allconv.networks import weights
from allconv.presets.limits import check
from allconv.presets.preset import Preset, complete
from allconv.results import records
from allconv.training import checkpoints, devices as several, precision
from allconv.training.callbacks import (
    Before,
    DivergedError,
    Interrupted,
    Keeper,
    restore,
    state,
)
from allconv.training.inputs import Batches
from allconv.training.outcome import record
from allconv.training.setup import average, compiled
from allconv.training.streamed import supply

RECORD = "record.json"
WEIGHTS = "weights.h5"


def train(
    preset: Preset,
    seed: int = 0,
    folder: str | Path | None = None,
    *,
    data_dir: str | Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    csv: bool = False,
    progress: bool = True,
    devices: int = 1,
) -> dict:
    """Train a preset to its end, from wherever an earlier call left off.

    Args:
        preset: The recipe.
        seed: Of initial weights, order, augmentation and dropout; 0 to 2**31 - 1.
        folder: Of this run; None: `runs/<preset>-seed<seed>`. Holds the last two
            checkpoints, then the finished weights and `record.json`.
        data_dir: As in `data.load`.
        callbacks: Further Keras callbacks, passed to `fit`. None may end the training.
            Where one sets weights after an epoch, the record says `altered` and counts
            for no recipe; those set after the last epoch are not kept.
        csv: Whether to keep the history as `history.csv` too.
        progress: Whether to show a progress bar (a line an epoch where the output is
            no terminal).
        devices: How many GPUs share each batch; without any, so many parts of the
            processor. The same losses to 1e-5; see `devices.check`.

    Returns:
        The run's record; see `record`. Of a finished run, the one it left.

    Raises:
        ValueError: If the preset or the seed cannot be followed, or not on `devices`.
        RuntimeError: If the folder holds another run, another process works in it, a
            callback ended the training, which the next call goes on with, or a finished
            run has lost both its weights and its last checkpoint.
        DamagedFileError: If every checkpoint there is damaged.
        Interrupted: On SIGINT or SIGTERM; the same call goes on later, or gives the
            record.
    """
    check(preset)
    precision.check(preset.precision)
    if tf.distribute.has_strategy():
        raise RuntimeError(
            "`train` should be called outside any `tf.distribute` strategy's scope: it "
            "builds its network and optimiser itself. Leave the `with`, and name how "
            "many `devices` it should have."
        )
    check_seed(seed)
    several.check(devices, preset)
    folder = Path(folder or f"runs/{preset.name}-seed{seed}")
    done = _finished(folder, preset, seed)
    if done is not None and _has_weights(folder, done):
        return done  # before a lock is made, which a read-only disk does not take
    folder.mkdir(parents=True, exist_ok=True)
    with locks.alone(folder) as owner:
        done = _finished(folder, preset, seed)
        if done is not None and _has_weights(folder, done):
            return done
        made_with = runtime.made_with()
        if devices > 1:
            made_with["devices"] = devices
        files.sweep(folder)
        runtime.set_seed(seed)
        inputs = supply(preset, data_dir)
        model = compiled(preset, inputs)
        identity = {
            "preset": preset.as_dict(),
            "seed": seed,
            "data": inputs.fingerprints,
        }
        history, seconds, altered, changed = resume(
            model, folder, identity, inputs.steps, made_with
        )
        if done is not None:
            _save_again(folder, done, model, inputs, preset, seed, history)
            return done
        checkpoints.prune(folder, len(history))
        keeper = Keeper(
            *(folder, identity, made_with, preset, inputs.steps, history, seconds, csv),
            owner,
        )
        keeper.altered, keeper.changed = altered, changed
        status = "finished"
        try:
            watching = [Before(keeper), *callbacks, keeper] if callbacks else [keeper]
            with (
                several.spread(model, devices, lambda: compiled(preset, inputs)) as net,
                keeper.listening(),
                keeper.bar(progress),
            ):
                fit(net, inputs, preset, seed, len(history), watching, model)
        except DivergedError as error:
            status = "diverged"
            warnings.warn(f"The run diverged: {error}", stacklevel=2)
            restore(model, checkpoints.load_latest(folder))
        result, further = None, dict[str, float]()
        if status == "finished":
            if len(keeper.history) < preset.epochs:
                raise RuntimeError(
                    f"A callback ended the run in {folder} after epoch "
                    f"{len(keeper.history)} of {preset.epochs}. For fewer epochs use "
                    "`preset.shorten`."
                )
            ended = files.digest(state(model), None)
            if preset.averaging or keeper.saved not in (None, ended):
                restore(model, checkpoints.load_latest(folder))
                average(model, preset)
                if files.digest(state(model), None) != ended:
                    warnings.warn(
                        "A callback has set other weights at the end of the training. "
                        "Those of the last epoch are measured and kept.",
                        stacklevel=2,
                    )
            result, further = inputs.measure(model)
            owner.check()
            percent = round(result.error, 4)
            _save_weights(folder / WEIGHTS, model, inputs, preset, seed, percent)
        parameters = sum(math.prod(v.shape) for v in model.trainable_variables)
        outcome = record(
            *(status, identity, keeper, result, inputs.split, parameters),
            files.digest(state(model), keeper.history),
        )
        outcome |= further
        if keeper.altered:
            outcome["altered"] = True
        if keeper.changed:
            outcome["changed"] = keeper.changed
        if preset.precision == "mixed_float16":
            steps = len(keeper.history) * inputs.steps
            outcome["skipped"] = steps - _applied(model)
        owner.check()
        files.write_bytes(folder / RECORD, (records.to_json(outcome) + "\n").encode())
    if keeper.signum is not None:  # it came after the last step
        raise Interrupted(f"The run in {folder} was finished first.", keeper.signum)
    return outcome


def check_seed(seed: int) -> None:
    """Refuse what is no seed.

    Raises:
        ValueError: Naming it.
    """
    if type(seed) is not int or not 0 <= seed < 2**31:
        raise ValueError(
            f"`seed` should be an integer from 0 to 2**31 - 1. Received: {seed!r}"
        )


def fit(
    model: keras.Model,
    inputs: Batches,
    preset: Preset,
    seed: int,
    epoch: int,
    callbacks: Sequence[keras.callbacks.Callback],
    single: keras.Model | None = None,
) -> None:
    """Train from the end of `epoch` epochs to the last.

    `single` is the same model of one device, to measure by where `model` is of several.
    """
    if epoch == preset.epochs:
        average(model, preset)
        return

    def one_hot(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return images, tf.one_hot(labels, inputs.classes)

    stream = inputs.stream(preset, seed, epoch * inputs.steps).map(one_hot)
    validation = {}
    if preset.validate_every:
        held = inputs.held().map(one_hot)
        if single in (None, model):
            validation["validation_data"] = held
            validation["validation_freq"] = preset.validate_every
        else:
            measure = several.Validation(single, held, preset.validate_every)
            callbacks = [measure, *callbacks]
    model.fit(
        stream,
        initial_epoch=epoch,
        epochs=preset.epochs,
        steps_per_epoch=inputs.steps,
        callbacks=list(callbacks),
        shuffle=False,  # the order is the pipeline's
        verbose=0,
        **validation,
    )


def resume(
    model: keras.Model, folder: Path, identity: dict, steps: int, made_with: dict
) -> tuple[list[dict], list[float], bool, list[str]]:
    """Restore the newest checkpoint of the folder, if it is of this very run.

    Returns:
        `(history, seconds, altered, changed)` of the epochs that are done; empty for a
        fresh start. `changed` names what was another environment in some of them.
    """
    saved = checkpoints.load_latest(folder)
    if saved is None:
        return [], [], False, []
    _, meta = saved
    if "identity" not in meta:
        raise RuntimeError(
            f"The newest checkpoint in {folder} is of no run. Train in another folder."
        )
    _same_run(folder, identity, meta["identity"])
    then = meta["environment"]
    changed = sorted(k for k in made_with | then if made_with.get(k) != then.get(k))
    if changed:
        warnings.warn(
            f"This run was begun with another {', '.join(changed)}. It goes on, but "
            "its bytes may differ from those of an uninterrupted run.",
            stacklevel=3,
        )
    restore(model, saved)
    done, expected = _applied(model), meta["epoch"] * steps
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    if done > expected or (done < expected and not scaled):  # which skips steps
        raise RuntimeError(
            f"The checkpoint in {folder} is of {done} steps; {meta['epoch']} epochs of "
            f"{steps} were expected. Train in another folder."
        )
    # Earlier versions sorted the fields of an epoch.
    history = [{"epoch": row["epoch"], **row} for row in meta["history"]]
    changed = sorted({*changed, *meta.get("changed", ())})
    return history, meta["seconds"], meta.get("altered", False), changed


def _applied(model: keras.Model) -> int:
    """Steps that the optimiser took."""
    return int(np.asarray(model.optimizer.iterations.value))


def begun_in(folder: str | Path) -> str | None:
    """The precision of the run that a folder holds; None: there is none to go on with.

    A folder that `train` will refuse has none either.
    """
    folder = Path(folder)
    try:
        if (folder / RECORD).exists():
            return complete(records.read(folder / RECORD)["preset"])["precision"]
        saved = checkpoints.load_latest(folder)
        return saved and complete(saved[1]["identity"]["preset"])["precision"]
    except (OSError, ValueError, KeyError, files.DamagedFileError):
        return None


def _has_weights(folder: Path, done: dict) -> bool:
    """Whether the weights that a finished run left are there, whole and its own."""
    if done["status"] != "finished":
        return True
    try:
        _, meta = weights.read(folder / WEIGHTS)
    except (FileNotFoundError, files.DamagedFileError):
        return False
    own = done["preset"]["name"], done["seed"]
    return (meta.get("preset"), meta.get("seed")) == own


def _save_again(folder, done, model, inputs, preset, seed, history) -> None:
    """Write the weights of a finished run from its last checkpoint."""
    path = folder / WEIGHTS
    average(model, preset)
    if files.digest(state(model), history) != done["state_sha256"]:
        raise RuntimeError(
            f"The run in {folder} is finished, but {path.name} is gone or damaged, and "
            "so is the checkpoint of its last epoch. Restore one of them, or train in "
            "another folder."
        )
    warnings.warn(
        f"{path} was gone or damaged: it is made again from the last checkpoint.",
        stacklevel=3,
    )
    _save_weights(path, model, inputs, preset, seed, done["error"])


def _save_weights(path, model, inputs, preset, seed, error) -> None:
    meta = {"preset": preset.name, "seed": seed}
    if inputs.split == "test":  # what `evaluate` will measure again
        meta["error"] = error
    plain = fold(model)  # the same function, without normalising layers
    weights.save(
        path,
        plain,
        preset.architecture,
        inputs.preprocessor,
        preset.dataset,
        meta | inputs.facts | {"input_shape": list(inputs.input_shape)},
    )


def _finished(folder: Path, preset: Preset, seed: int) -> dict | None:
    try:
        outcome = records.read(folder / RECORD)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise RuntimeError(f"{error} Move it away, or name another folder.") from error
    then = {"preset": outcome["preset"], "seed": outcome["seed"]}
    _same_run(folder, {"preset": preset.as_dict(), "seed": seed}, then)
    return outcome


def _same_run(folder: Path, now: dict, then: dict) -> None:
    old = complete(then["preset"])
    if now == {**then, "preset": old}:
        return
    differing = [k for k in now if k != "preset" and now[k] != then.get(k)]
    asked = now["preset"]
    differing += [
        f"{k} ({old.get(k)!r} there, {asked.get(k)!r} asked for)"
        for k in asked | old
        if old.get(k) != asked.get(k)
    ]
    raise RuntimeError(
        f"{folder} holds another run: it differs in {', '.join(differing)}. Name "
        "another folder, or ask for the run that is there."
    )
