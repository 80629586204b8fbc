"""What happens around training: state kept, NaN noticed, signals heard, time shown."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator

import keras
import numpy as np
import tqdm

from allconv.core import files, locks
from allconv.training import checkpoints


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop; what it had finished is safe."""

    def __init__(self, message: str, signum: int):
        super().__init__(message)
        self.signum = signum


class DivergedError(Exception):
    """The loss or a weight is no longer finite."""


def state(model: keras.Model) -> dict[str, np.ndarray]:
    """All that a compiled model's next step depends on, by name.

    Weights, dropout's random state, the optimiser's momentum and its step count. Keras'
    own names of random states count layers of the whole process; these do not.
    """
    return {name: np.asarray(v.numpy()) for name, v in _variables(model).items()}


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    named = {
        f"model/{layer.name}/{i}-{variable.name}": variable
        for layer in model.layers
        for i, variable in enumerate(layer.variables)
    }
    for i, variable in enumerate(model.optimizer.variables):
        named[f"optimizer/{i:03d}-{variable.name}"] = variable
    return named


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
    then, now = (
        {k: (a.shape, a.dtype) for k, a in of.items()} for of in (arrays, state(model))
    )
    differing = sorted(k for k in then | now if then.get(k) != now.get(k))
    if differing:
        raise RuntimeError(
            "The checkpoint is of another model or of another Keras: it differs in "
            f"{', '.join(differing[:3])}. Train in another folder."
        )
    for name, variable in _variables(model).items():
        variable.assign(arrays[name])


class Keeper(keras.callbacks.Callback):
    """Keeps the state at each epoch's end, watches for NaN and for signals, shows time.

    Args:
        folder: Where checkpoints go.
        identity: Preset, seed and data, stored with them.
        made_with: Of `runtime`, stored with them.
        preset: The recipe.
        steps: Steps per epoch.
        history: One dict an epoch, of the epochs done; appended to.
        seconds: Training and validation time of each; appended to.
        csv: Whether to rewrite `history.csv` from the history.
        owner: Of the folder, asked before each write; None: nobody is asked.

    Attributes:
        saved: The digest of the last state that was kept.
        altered: Whether a callback before this one changed weights at an epoch's end.
        changed: Names of the entries of `made_with` that were others in earlier epochs.
    """

    def __init__(
        self,
        folder,
        identity,
        made_with,
        preset,
        steps,
        history,
        seconds,
        csv,
        owner: locks.Owner | None = None,
    ):
        super().__init__()
        self.folder, self.identity, self.made_with = folder, identity, made_with
        self.owner = owner
        self.saved: str | None = None
        self.altered = False
        self.changed: list[str] = []
        self.before: str | None = None
        self.preset = preset
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
        scale = getattr(self.model.optimizer, "dynamic_scale", None)  # of float16
        if scale is not None and float(scale.numpy()) < 1:
            raise DivergedError(
                f"no loss scale is small enough at step {batch + 1} of epoch "
                f"{len(self.history) + 1}"
            )
        if self.shown is not None:
            self.shown.update()

    def on_epoch_end(self, epoch, logs=None):
        arrays = state(self.model)
        self.saved = files.digest(arrays, None)
        self.altered |= self.before not in (None, self.saved)
        if not all(np.isfinite(a).all() for a in arrays.values()):
            raise DivergedError(f"a weight is not finite after epoch {epoch + 1}")
        row = {k: float(v) for k, v in logs.items()}
        self.history.append({"epoch": epoch + 1, **row})
        self.seconds.append(round(time.perf_counter() - self.began, 2))
        meta = {
            "identity": self.identity,
            "environment": self.made_with,
            "history": self.history,
            "seconds": self.seconds,
            **({"altered": True} if self.altered else {}),
            **({"changed": self.changed} if self.changed else {}),
        }
        if self.owner is not None:
            self.owner.check()
        if self.csv:  # before the state: an epoch that is lost is written again
            files.write_bytes(self.folder / "history.csv", _csv(self.history))
        checkpoints.save(self.folder, epoch + 1, arrays, meta)
        if self.shown is not None:
            line = f"epoch {epoch + 1}/{self.preset.epochs}: loss {row['loss']:.3f}"
            line += f", training error {100 * (1 - row['accuracy']):.2f} %"
            if "val_accuracy" in row:
                line += f", error {100 * (1 - row['val_accuracy']):.2f} %"
            with contextlib.suppress(OSError):  # nobody reads: no reason to stop
                tqdm.tqdm.write(f"{line}, {self.seconds[-1]:.0f} s", file=sys.stderr)


class Before(keras.callbacks.Callback):
    """Stands before a run's further callbacks and notes the state that they find.

    Args:
        keeper: Stands behind them and compares.
    """

    def __init__(self, keeper: Keeper):
        super().__init__()
        self.keeper = keeper

    def on_epoch_end(self, epoch, logs=None):
        self.keeper.before = files.digest(state(self.model), None)


def _csv(history: list[dict]) -> bytes:
    columns = list(dict.fromkeys(k for row in history for k in row))
    lines = [",".join(columns)]
    lines += [",".join(str(row.get(k, "")) for k in columns) for row in history]
    return ("\n".join(lines) + "\n").encode()
