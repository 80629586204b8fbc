"""`import`: a network that others have trained, as one file of raw pixels."""

import argparse
import hashlib
import json
import tempfile
from pathlib import Path

from allconv.commands.terminal import import_tensorflow


def import_(arguments: argparse.Namespace) -> None:
    """Write a network as `.keras`, and beside it what it is and its error."""
    path = Path(arguments.output or f"{arguments.network.lower()}.keras")
    if path.suffix != ".keras":
        raise ValueError(f"--output should end in .keras. Received: {path}")
    import_tensorflow()
    from allconv.core import files, runtime
    from allconv.data import photos
    from allconv.networks import imported
    from allconv.results.evaluation import evaluate_photos

    facts: dict = {"network": arguments.network}
    if arguments.network in imported.NETWORKS:
        if arguments.file is None:
            raise ValueError(f"Name the file of {arguments.network}'s weights too.")
        model = imported.from_file(arguments.network, arguments.file)
        content = files.read_bytes(arguments.file, largest=imported.LARGEST)
        facts["source"] = Path(arguments.file).name
        facts["source_sha256"] = hashlib.sha256(content).hexdigest()
    else:
        model = imported.from_keras(arguments.network, arguments.file or "imagenet")
        facts["source"] = f"keras.applications.{arguments.network}"
    weights = {f"{i:04d}": w for i, w in enumerate(model.get_weights())}
    facts["weights_sha256"] = files.digest(weights, None)
    facts["parameters"] = model.count_params()
    facts["takes"] = "pixels, red, green, blue, 0 to 255"
    if arguments.images:
        classes = photos.read_classes(arguments.classes) if arguments.classes else ()
        found = photos.Photos(arguments.images, model.input_shape[1], classes)
        facts["images"] = Path(arguments.images).name
        outcome = evaluate_photos(model, found)
        facts["n"] = outcome.n
        facts["top1_error"] = round(outcome.error, 4)
        facts["top5_error"] = round(outcome.top5_error, 4)
    facts["environment"] = runtime.environment()
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder, "draft.keras")
        model.save(draft)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(path, draft.read_bytes())
    record = path.with_suffix(".json")
    files.write_bytes(record, (json.dumps(facts, indent=1) + "\n").encode())
    print(f"{path}: {model.count_params():,} parameters, what it is in {record.name}")
    if arguments.images:
        print(
            f"  error of {facts['n']} images in {facts['images']}: top-1 "
            f"{facts['top1_error']:.2f} %, top-5 {facts['top5_error']:.2f} %"
        )
