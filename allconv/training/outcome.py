"""What a finished run leaves behind, as a record."""

import time

import numpy as np

from allconv.results.evaluation import Evaluation
from allconv.results.records import MOST
from allconv.training.callbacks import Keeper


def record(
    status: str,
    identity: dict,
    keeper: Keeper,
    result: Evaluation | None,
    split: str,
    parameters: int,
    state_sha256: str,
) -> dict:
    """What a finished run leaves behind: the evidence for a number in a table.

    Returns:
        A `Record`: status (`"finished"` or `"diverged"`), preset, seed, data
        fingerprints, error in % with its count and split, per class, confusion of 100
        classes at most, parameters, minutes, history, versions, machine and commit as
        they were when it was (last) begun, and the SHA-256 of weights, optimiser,
        random state and history.
    """
    out = {"status": status, **identity, "parameters": parameters}
    out["epochs"] = len(keeper.history)
    if result is not None:
        out |= {
            "split": split,
            "error": round(result.error, 4),
            "wrong": result.wrong,
            "n": result.n,
            "loss": round(result.loss, 5),
            "calibration_error": round(result.calibration_error, 5),
            # None of a class without images.
            "per_class": [
                None if np.isnan(e) else round(e, 2) for e in result.per_class
            ],
        }
        if len(result.confusion) <= MOST:
            out["confusion"] = result.confusion.tolist()
    return out | {
        "minutes": round(sum(keeper.seconds) / 60, 2),
        "history": keeper.history,
        "environment": {k: v for k, v in keeper.made_with.items() if k != "commit"},
        "commit": keeper.made_with["commit"],
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "state_sha256": state_sha256,
    }
