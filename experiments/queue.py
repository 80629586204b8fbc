"""Train what the tables need, one run after the other or several at a time.

    python -m experiments.queue cifar10                 # hours to weeks: see QUEUES
    python -m experiments.queue fidelity --processes 1

Runs that are finished are passed over and runs that were stopped go on, so the same
command can be given again at any time; several at once take different runs. Each
finished run's record is copied to `experiments/records`.
"""

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from allconv import architectures, presets

RECORDS = Path(__file__).parent / "records"

# name -> (preset, seed) in the order of the runs
QUEUES: dict[str, list[tuple[str, int]]] = {
    "fidelity": [("caffe_start", 0)],
    "quick": [("quick", 0)],
    "cifar10": [(name, 0) for name in architectures.NAMES[:12]],
    "cifar10_augmented": [("all_cnn_c_augmented", 0)],
    "cifar100": [("all_cnn_c_cifar100", 0)],
}


def train(job: tuple[str, int], extra: list[str]) -> int:
    """Run one job in a process of its own; returns its exit status."""
    preset, seed = job
    command = [sys.executable, "-m", "allconv", "train", preset, "--seed", str(seed)]
    return subprocess.run(
        [*command, "--records", str(RECORDS), *extra], check=False
    ).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("queue", choices=QUEUES)
    parser.add_argument("--processes", type=int, default=1, help="default: 1")
    parser.add_argument("--data-dir", help="folder of the data; default: ALLCONV_DATA")
    arguments = parser.parse_args()
    extra = ["--data-dir", arguments.data_dir] if arguments.data_dir else []
    jobs = QUEUES[arguments.queue]
    for name, _ in jobs:
        presets.get(name)
    with ThreadPoolExecutor(arguments.processes) as pool:
        statuses = list(pool.map(lambda job: train(job, extra), jobs))
    failed = [job for job, status in zip(jobs, statuses, strict=True) if status]
    print(f"{len(jobs) - len(failed)} of {len(jobs)} runs are finished")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
