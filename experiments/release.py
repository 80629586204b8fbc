"""Release the weights of a finished run: small, measured again, listed with a digest.

    python -m experiments.release runs/caffe_start-seed0 runs/zfnet_32-seed0

Weights are kept in half precision; networks that share a whitening share one file of
it. What is listed as a file's error is what that very file makes of the test set; what
it makes of it with test-time augmentation (each image and its mirror image) is listed
apart.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import numpy as np

from allconv.core import files
from allconv.data import datasets
from allconv.data.preprocessing import GCNZCA
from allconv.networks import weights
from allconv.networks.classifier import Classifier
from allconv.presets import catalogue
from allconv.presets.preset import complete, recipe_of
from allconv.results import records
from allconv.results.evaluation import score
from allconv.training import run
from experiments import RECORDS


def place(entry: dict) -> tuple:
    """Where an entry stands in the manifest.

    The first of a network and data set is what a name loads: the recipe with the most
    epochs, of equals one with shifts and flips, its first seed. The errors are those of
    the test set and choose nothing.
    """
    preset = catalogue.get(entry["preset"])
    network = entry["dataset"], entry["architecture"]
    plain = preset.augmentation == "none"
    return (*network, -preset.epochs, plain, preset.name, entry["seed"])


def release(folder: Path, data_dir: str | None = None) -> dict:
    """Write the weight file of one run folder; returns its entry in the manifest.

    Raises:
        ValueError: If the run is not finished, was not measured on the test set, did
            not follow the preset it names, has the weights of another run, or was
            whitened otherwise than what is released already.
    """
    record = records.read(folder / run.RECORD)
    if record["status"] != "finished" or record["split"] != "test":
        raise ValueError(
            f"{folder} holds a run that is {record['status']} and was measured on "
            f"{record.get('split', 'nothing')}; only test results are released."
        )
    recipe = complete(record["preset"])
    if recipe_of(recipe) != recipe_of(catalogue.get(recipe["name"]).as_dict()):
        raise ValueError(
            f"{folder} holds a run that has the name of the preset {recipe['name']} "
            "and other settings; what is released can be trained again by its name."
        )
    if record.get("altered"):
        raise ValueError(
            f"{folder} holds a run in which a callback has set other weights; what is "
            "released can be trained again by its preset alone."
        )
    classifier = Classifier.load(folder / run.WEIGHTS)
    for key, own in (
        *(("preset", recipe["name"]), ("seed", record["seed"])),
        *((key, recipe[key]) for key in ("architecture", "dataset", "preprocessing")),
        ("error", record["error"]),
    ):
        if classifier.meta.get(key) != own:
            raise ValueError(
                f"{folder / run.WEIGHTS} should be the weights of the record beside "
                f"them: its `{key}` should be {own!r}. "
                f"Received: {classifier.meta.get(key)!r}"
            )
    meta, dataset = classifier.meta, classifier.meta["dataset"]
    preprocessing, shared = {"kind": meta["preprocessing"]}, None
    if isinstance(classifier.preprocessor, GCNZCA):  # large, and shared by many
        shared = weights.RELEASED / f"{meta['preprocessing']}-{dataset}.h5"
        if not shared.exists():
            weights.save_preprocessing(shared, classifier.preprocessor)
        elif not same_preprocessing(shared, classifier.preprocessor):
            raise ValueError(
                f"{shared} is another whitening than that of {folder}: what that "
                "network was trained on cannot be released with it."
            )
        preprocessing |= {"file": shared.name, "sha256": weights.sha256(shared)}
    name = f"{meta['preset']}-seed{meta['seed']}"
    path = weights.RELEASED / f"{name}.new.h5"
    _, (images, labels) = datasets.load(dataset, data_dir)
    kept = {k: meta[k] for k in ("preset", "seed")}
    found = {"error": record["error"], "wrong": record["wrong"]}
    for _ in range(2):  # the second time with the error that the small file has
        weights.save(
            path,
            classifier.model,
            meta["architecture"],
            classifier.preprocessor,
            dataset,
            kept | found,
            dtype="float16",
            shared=shared,
        )
        released = Classifier.load(path)
        result = score(released.predict(images), labels)
        found = {"error": round(result.error, 4), "wrong": result.wrong}
    augmented = score(released.predict(images, test_time_augmentation=True), labels)
    # Until the manifest lists it, what it lists stays: the new file has another name.
    digest = weights.sha256(path)
    listed = {e["file"]: e["sha256"] for e in weights.manifest()}
    if listed.get(f"{name}.h5", digest) != digest:
        name += f"-{digest[:8]}"
    path = path.replace(path.with_name(f"{name}.h5"))
    return {
        "architecture": meta["architecture"],
        "dataset": dataset,
        "file": path.name,
        "sha256": digest,
        "preset": meta["preset"],
        "seed": meta["seed"],
        **found,
        "error_in_float32": record["error"],
        "error_mirrored": round(augmented.error, 4),
        "commit": record["commit"],
        "preprocessing": preprocessing,
    }


def same_preprocessing(shared: Path, preprocessor: GCNZCA) -> bool:
    """Whether a file of `weights.save_preprocessing` holds the same numbers."""
    there, _ = files.read(shared)
    here = preprocessor.compact()
    return there.keys() == here.keys() and all(
        np.allclose(there[k], here[k], rtol=1e-3, atol=1e-3 * np.abs(here[k]).max())
        for k in here
    )


def sweep(preset: str, seed: int, listed: set[str]) -> None:
    """Delete what is no longer released of a run, or never was, after a kill."""
    for path in weights.RELEASED.glob(f"{preset}-seed{seed}*.h5"):
        rest = path.name.removeprefix(f"{preset}-seed{seed}")
        if re.fullmatch(r"(-\w+|\.new)?\.h5", rest) and path.name not in listed:
            path.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--data-dir", help="folder of the data; default: ALLCONV_DATA")
    arguments = parser.parse_args()
    for folder in arguments.folders:
        entry = release(folder, arguments.data_dir)
        run_of = entry["preset"], entry["seed"]
        before = weights.manifest()
        others = [e for e in before if (e["preset"], e["seed"]) != run_of]
        entries = sorted([*others, entry], key=place)
        name = f"{entry['preset']}-seed{entry['seed']}.json"
        files.write_bytes(RECORDS / name, files.read_bytes(folder / run.RECORD))
        text = "[\n" + ",\n".join(json.dumps(e, indent=1) for e in entries) + "\n]\n"
        files.write_bytes(weights.RELEASED / weights.MANIFEST, text.encode())
        sweep(*run_of, {e["file"] for e in entries})
        size = (weights.RELEASED / entry["file"]).stat().st_size / 2**20
        print(
            f"{entry['file']}: {size:.2f} MB, error {entry['error']:.2f} % "
            f"(in float32: {entry['error_in_float32']:.2f} %)"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
