"""One training run: start, resume and 'already done' are the same call.

The promise: the same preset, seed, device kind, threads and versions give the same
bytes, and a run that is killed at any instant and called again ends with the same
bytes as one that was not. State is kept at the end of every epoch.
"""

import contextlib
import datetime
import json
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import filelock
import keras
import numpy as np
import tensorflow as tf
import tqdm

from allconv import checkpoint, data, models, pipeline, runtime
from allconv.evaluate import Evaluation, evaluate
from allconv.preprocessing import KINDS
from allconv.presets import AUGMENTATIONS, Preset, check

RECORD = "record.json"
WEIGHTS = "weights.h5"


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop; what it had finished is safe."""

    def __init__(self, message: str, signum: int):
        super().__init__(message)
        self.signum = signum


class DivergedError(Exception):
    """The loss or a weight is no longer finite."""


def run(
    preset: Preset,
    seed: int = 0,
    folder: str | Path | None = None,
    *,
    data_dir: str | Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    csv: bool = False,
    progress: bool = True,
) -> dict:
    """Train a preset to its end, from wherever an earlier call left off.

    Args:
        preset: The recipe.
        seed: Of initial weights, order, augmentation and dropout; 0 to 2**31 - 1.
        folder: Of this run; None: `runs/<preset>-seed<seed>`. Holds the last two
            checkpoints, then the finished weights and `record.json`.
        data_dir: As in `data.load`.
        callbacks: Further Keras callbacks, passed to `fit`.
        csv: Whether to keep the history as `history.csv` too.
        progress: Whether to show a progress bar (a line an epoch where the output is
            no terminal).

    Returns:
        The run's record; see `record`. Of a finished run, the one it left.

    Raises:
        ValueError: If the preset or the seed cannot be followed.
        RuntimeError: If the folder holds another run, or another process works in it.
        DamagedFileError: If every checkpoint there is damaged.
        Interrupted: On SIGINT or SIGTERM; the same call goes on later.
    """
    check(preset)
    if not 0 <= seed < 2**31:
        raise ValueError(f"`seed` should be from 0 to 2**31 - 1. Received: {seed!r}")
    folder = Path(folder or Path("runs") / f"{preset.name}-seed{seed}")
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        done = _finished(folder, preset, seed)
        if done is not None:
            return done
        runtime.set_seed(seed)
        inputs = Inputs(preset, data_dir)
        model = compiled(preset, inputs)
        identity = {"preset": preset.as_dict(), "seed": seed, "data": inputs.prints}
        history, seconds = resume(model, folder, identity, inputs.steps)
        keeper = Keeper(folder, identity, preset, inputs.steps, history, seconds, csv)
        status = "finished"
        try:
            with keeper.listening(), keeper.bar(progress):
                fit(model, inputs, preset, seed, len(history), [*callbacks, keeper])
        except DivergedError as error:
            status = "diverged"
            warnings.warn(f"The run diverged: {error}", stacklevel=2)
            restore(model, checkpoint.load_latest(folder))
        result = None
        if status == "finished":
            result = evaluate(model, inputs.x_test, inputs.y_test)
            _save_weights(folder / WEIGHTS, model, inputs, preset, seed, result)
        outcome = record(status, identity, keeper, result, inputs.split, model)
        checkpoint.write_bytes(folder / RECORD, (_json(outcome) + "\n").encode())
        return outcome


class Inputs:
    """The arrays of one preset: loaded, split, preprocessed.

    Attributes:
        x_train, y_train, x_test, y_test: float32 images and int64 labels. The test
            arrays are the held-out training images where the preset asks for it.
        split: `"test"` or `"hold_out"`: what `x_test` is.
        preprocessor: The fitted preprocessing.
        prints: Fingerprints of the raw training and test images.
        steps: Steps per epoch.
    """

    def __init__(self, preset: Preset, data_dir: str | Path | None = None):
        (x, y), (x_test, y_test) = data.load(preset.dataset, data_dir)
        self.split = "test"
        if preset.hold_out:
            (x, y), (x_test, y_test) = data.hold_out(x, y, preset.hold_out)
            self.split = "hold_out"
        if preset.train_size is not None:
            if not 1 <= preset.train_size <= len(x):
                raise ValueError(
                    f"`train_size` should be from 1 to {len(x)}. "
                    f"Received: {preset.train_size!r}"
                )
            x, y = x[: preset.train_size], y[: preset.train_size]
        self.prints = {
            "train": data.fingerprint(x, y),
            self.split: data.fingerprint(x_test, y_test),
        }
        self.steps = pipeline.steps_per_epoch(len(x), preset.batch_size)
        self.preprocessor = fitted(
            preset.preprocessing, x, self.prints["train"], data_dir
        )
        self.x_train, self.y_train = self.preprocessor(x), y
        self.x_test, self.y_test = self.preprocessor(x_test), y_test
        self.classes = len(data.CLASS_NAMES[preset.dataset])


def fitted(kind: str, images: np.ndarray, print_: str, data_dir: str | Path | None):
    """The preprocessing fitted to training images, from the cache where it lies there.

    Args:
        kind: A key of `preprocessing.KINDS`.
        images: uint8 training images.
        print_: Their fingerprint, which names the cached file.
        data_dir: As in `data.load`.
    """
    if kind != "gcn_zca":
        return KINDS[kind]().fit(images)
    cached = data.data_folder(data_dir) / f"{kind}-{print_[:16]}.h5"
    with contextlib.suppress(FileNotFoundError, checkpoint.DamagedFileError):
        arrays, meta = checkpoint.read(cached)
        if meta == {"kind": kind, "data": print_}:
            return KINDS[kind].from_arrays(arrays)
    preprocessor = KINDS[kind]().fit(images)
    with contextlib.suppress(OSError):  # a read-only folder costs time, nothing else
        cached.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.write(cached, preprocessor.arrays(), {"kind": kind, "data": print_})
    return preprocessor


def compiled(preset: Preset, inputs: Inputs) -> keras.Model:
    """The preset's network, with logits for outputs, ready for `fit`."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(preset.precision)
    try:
        model = models.build(
            preset.architecture,
            input_shape=inputs.x_train.shape[1:],
            classes=inputs.classes,
            classifier_activation=None,
            dropout=preset.dropout,
            kernel_initializer=preset.initializer,
        )
    finally:
        keras.config.set_dtype_policy(before)
    for variable in model.trainable_variables:
        if preset.weight_decay and variable.name in ("kernel", "bias"):
            # Caffe adds decay * w to the gradient: the gradient of decay / 2 * w ** 2.
            variable.regularizer = keras.regularizers.L2(preset.weight_decay / 2)
    model.compile(
        optimizer=keras.optimizers.SGD(
            schedule(preset, inputs.steps), preset.momentum, nesterov=preset.nesterov
        ),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=preset.label_smoothing
        ),
        metrics=["accuracy"],
        jit_compile=preset.jit_compile,
    )
    model.optimizer.build(model.trainable_variables)
    return model


def schedule(
    preset: Preset, steps: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate as a function of the step, for `steps` steps an epoch."""
    if preset.schedule == "linear":
        return Linear(preset.learning_rate, preset.warmup, preset.epochs * steps)
    return Steps(preset.learning_rate, [round(m * steps) for m in preset.milestones])


@keras.saving.register_keras_serializable(package="allconv")
class Steps(keras.optimizers.schedules.LearningRateSchedule):
    """`rate`, times 0.1 from each of the `boundaries` (in steps) on."""

    def __init__(self, rate: float, boundaries: Sequence[int]):
        self.rate, self.boundaries = rate, list(boundaries)

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        passed = sum(keras.ops.cast(step >= b, "float32") for b in self.boundaries)
        return self.rate * 0.1 ** keras.ops.convert_to_tensor(passed, "float32")

    def get_config(self) -> dict:
        return {"rate": self.rate, "boundaries": self.boundaries}


@keras.saving.register_keras_serializable(package="allconv")
class Linear(keras.optimizers.schedules.LearningRateSchedule):
    """Straight up to `peak` over the fraction `warmup` of all steps, then down to 0."""

    def __init__(self, peak: float, warmup: float, total: int):
        self.peak, self.warmup, self.total = peak, warmup, total

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        rise = max(1.0, self.warmup * self.total)
        up = (step + 1) / rise
        down = (self.total - step) / (self.total - rise + 1)
        return self.peak * keras.ops.maximum(0.0, keras.ops.minimum(up, down))

    def get_config(self) -> dict:
        return {"peak": self.peak, "warmup": self.warmup, "total": self.total}


def fit(
    model: keras.Model,
    inputs: Inputs,
    preset: Preset,
    seed: int,
    epoch: int,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    """Train from the end of `epoch` epochs to the last."""
    if epoch == preset.epochs:
        return

    def one_hot(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return images, tf.one_hot(labels, inputs.classes)

    batches = pipeline.batches(
        inputs.x_train,
        inputs.y_train,
        seed=seed,
        batch_size=preset.batch_size,
        augmentation=AUGMENTATIONS[preset.augmentation],
        start=epoch * inputs.steps,
        stop=preset.epochs * inputs.steps,
    ).map(one_hot)
    validation = {}
    if preset.validate_every:
        held = tf.data.Dataset.from_tensor_slices((inputs.x_test, inputs.y_test))
        validation["validation_data"] = held.batch(250).map(one_hot)
        validation["validation_freq"] = preset.validate_every
    model.fit(
        batches,
        initial_epoch=epoch,
        epochs=preset.epochs,
        steps_per_epoch=inputs.steps,
        callbacks=list(callbacks),
        shuffle=False,  # the order is the pipeline's
        verbose=0,
        **validation,
    )


def state(model: keras.Model) -> dict[str, np.ndarray]:
    """All that a compiled model's next step depends on, by name.

    Weights, dropout's random state, the optimiser's momentum and its step count. Keras'
    own names of random states count layers of the whole process; these do not.
    """
    variables = {
        f"model/{layer.name}/{i}-{variable.name}": variable
        for layer in model.layers
        for i, variable in enumerate(layer.variables)
    }
    for i, variable in enumerate(model.optimizer.variables):
        variables[f"optimizer/{i:03d}-{variable.name}"] = variable
    return {name: np.asarray(v.value) for name, v in variables.items()}


def restore(
    model: keras.Model, saved: tuple[dict[str, np.ndarray], dict] | None
) -> None:
    """Set what `state` gave. Names, shapes and types must be the same.

    Raises:
        RuntimeError: If they are not.
    """
    if saved is None:
        return
    arrays, _ = saved
    now = state(model)
    fits = arrays.keys() == now.keys() and all(
        arrays[k].shape == now[k].shape and arrays[k].dtype == now[k].dtype for k in now
    )
    if not fits:
        differing = sorted(arrays.keys() ^ now.keys()) or sorted(now)
        raise RuntimeError(
            "The checkpoint is of another model or of another Keras: it differs in "
            f"{', '.join(differing[:3])}. Train in another folder."
        )
    for layer in model.layers:
        for i, variable in enumerate(layer.variables):
            variable.assign(arrays[f"model/{layer.name}/{i}-{variable.name}"])
    for i, variable in enumerate(model.optimizer.variables):
        variable.assign(arrays[f"optimizer/{i:03d}-{variable.name}"])


def resume(
    model: keras.Model, folder: Path, identity: dict, steps: int
) -> tuple[list[dict], list[float]]:
    """Restore the newest checkpoint of the folder, if it is of this very run.

    Returns:
        `(history, seconds)` of the epochs that are done; empty for a fresh start.
    """
    saved = checkpoint.load_latest(folder)
    if saved is None:
        return [], []
    _, meta = saved
    _same_run(folder, identity, meta["identity"])
    now, then = runtime.environment(), meta["environment"]
    changed = sorted(k for k in now if now[k] != then.get(k))
    if changed:
        warnings.warn(
            f"This run was begun with another {', '.join(changed)}. It goes on, but "
            "its bytes will differ from those of an uninterrupted run.",
            stacklevel=3,
        )
    restore(model, saved)
    done = int(np.asarray(model.optimizer.iterations.value))
    if done != meta["epoch"] * steps:
        raise RuntimeError(
            f"The checkpoint in {folder} is of {done} steps; {meta['epoch']} epochs of "
            f"{steps} were expected. Train in another folder."
        )
    return meta["history"], meta["seconds"]


class Keeper(keras.callbacks.Callback):
    """Keeps the state at each epoch's end, watches for NaN and for signals, shows time.

    Args:
        folder: Where checkpoints go.
        identity: Preset, seed and data, stored with them.
        preset: The recipe.
        steps: Steps per epoch.
        history: One dict an epoch, of the epochs done; appended to.
        seconds: Training and validation time of each; appended to.
        csv: Whether to rewrite `history.csv` from the history.
    """

    def __init__(self, folder, identity, preset, steps, history, seconds, csv):
        super().__init__()
        self.folder, self.identity, self.preset = folder, identity, preset
        self.steps, self.history, self.seconds = steps, history, seconds
        self.csv = csv
        self.signum: int | None = None
        self.shown: tqdm.tqdm | None = None
        self.began = 0.0

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Turn SIGINT and SIGTERM into an end after the step that runs."""

        def stop(signum, frame):
            self.signum = signum

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(s, stop) for s in signals]
        try:
            yield
        finally:
            for s, handler in zip(signals, before, strict=True):
                signal.signal(s, handler)

    @contextlib.contextmanager
    def bar(self, progress: bool) -> Iterator[None]:
        if progress:
            done = len(self.history) * self.steps
            self.shown = tqdm.tqdm(
                total=self.preset.epochs * self.steps,
                initial=done,
                desc=self.preset.name,
                unit="step",
                disable=not sys.stderr.isatty(),
            )
        try:
            yield
        finally:
            if self.shown is not None:
                self.shown.close()

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        if self.signum is not None:
            raise Interrupted(
                f"Stopped in epoch {len(self.history) + 1} of {self.preset.epochs}. "
                f"The {len(self.history)} finished ones are safe in {self.folder}; the "
                "same command goes on from there.",
                self.signum,
            )
        if not np.isfinite(logs["loss"]):
            raise DivergedError(
                f"the loss is {logs['loss']} at step {batch + 1} of epoch "
                f"{len(self.history) + 1}"
            )
        if self.shown is not None:
            self.shown.update()

    def on_epoch_end(self, epoch, logs=None):
        arrays = state(self.model)
        if not all(np.isfinite(a).all() for a in arrays.values()):
            raise DivergedError(f"a weight is not finite after epoch {epoch + 1}")
        row = {k: float(v) for k, v in logs.items()}
        self.history.append({"epoch": epoch + 1, **row})
        self.seconds.append(round(time.perf_counter() - self.began, 2))
        meta = {
            "identity": self.identity,
            "environment": runtime.environment(),
            "history": self.history,
            "seconds": self.seconds,
        }
        checkpoint.save(self.folder, epoch + 1, arrays, meta)
        if self.csv:
            checkpoint.write_bytes(self.folder / "history.csv", _csv(self.history))
        if self.shown is not None:
            line = f"epoch {epoch + 1}/{self.preset.epochs}: loss {row['loss']:.3f}"
            line += f", training error {100 * (1 - row['accuracy']):.2f} %"
            if "val_accuracy" in row:
                line += f", error {100 * (1 - row['val_accuracy']):.2f} %"
            tqdm.tqdm.write(f"{line}, {self.seconds[-1]:.0f} s", file=sys.stderr)


def record(
    status: str,
    identity: dict,
    keeper: Keeper,
    result: Evaluation | None,
    split: str,
    model: keras.Model,
) -> dict:
    """What a finished run leaves behind: the evidence for a number in a table.

    Returns:
        A dict that JSON can hold: status (`"finished"` or `"diverged"`), preset, seed,
        data fingerprints, error in % with its count and split, per class, confusion,
        parameters, minutes, history, versions and machine, commit, and the SHA-256 of
        weights, optimiser, random state and history.
    """
    out = {"status": status, **identity, "parameters": model.count_params()}
    out["epochs"] = len(keeper.history)
    if result is not None:
        out |= {
            "split": split,
            "error": round(result.error, 4),
            "wrong": result.wrong,
            "n": result.n,
            "loss": round(result.loss, 5),
            "calibration_error": round(result.calibration_error, 5),
            "per_class": [round(e, 2) for e in result.per_class],
            "confusion": result.confusion.tolist(),
        }
    return out | {
        "minutes": round(sum(keeper.seconds) / 60, 2),
        "history": keeper.history,
        "environment": runtime.environment(),
        "commit": runtime.commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "state_sha256": checkpoint.digest(state(model), keeper.history),
    }


def _save_weights(path, model, inputs, preset, seed, result) -> None:
    from allconv import weights

    meta = {"preset": preset.name, "seed": seed, "error": round(result.error, 4)}
    weights.save(
        path, model, preset.architecture, inputs.preprocessor, preset.dataset, meta
    )


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise RuntimeError(
            f"Another process is training in {folder}. Wait for it, or name another "
            "folder."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _finished(folder: Path, preset: Preset, seed: int) -> dict | None:
    path = folder / RECORD
    if not path.exists():
        return None
    try:
        outcome = json.loads(path.read_text())
        then = {"preset": outcome["preset"], "seed": outcome["seed"]}
    except (ValueError, KeyError, TypeError) as error:
        raise RuntimeError(
            f"{path} is no record of a run ({error}). Move it away, or name another "
            "folder."
        ) from error
    _same_run(folder, {"preset": preset.as_dict(), "seed": seed}, then)
    return outcome


def _same_run(folder: Path, now: dict, then: dict) -> None:
    if now == then:
        return
    differing = [k for k in now if k != "preset" and now[k] != then.get(k)]
    old = then.get("preset", {})
    differing += [
        f"{k} ({old.get(k)!r} there, {v!r} asked for)"
        for k, v in now["preset"].items()
        if old.get(k) != v
    ]
    raise RuntimeError(
        f"{folder} holds another run: it differs in {', '.join(differing)}. Name "
        "another folder, or ask for the run that is there."
    )


def _json(outcome: dict) -> str:
    """JSON with one line an entry, and one line an epoch or a row of a matrix."""
    lines = []
    for key, value in outcome.items():
        if isinstance(value, list) and value and isinstance(value[0], dict | list):
            rows = ",\n  ".join(json.dumps(row) for row in value)
            lines.append(f' "{key}": [\n  {rows}\n ]')
        else:
            lines.append(f' "{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(lines) + "\n}"


def _csv(history: list[dict]) -> bytes:
    columns = list(dict.fromkeys(k for row in history for k in row))
    lines = [",".join(columns)]
    lines += [",".join(str(row.get(k, "")) for k in columns) for row in history]
    return ("\n".join(lines) + "\n").encode()
