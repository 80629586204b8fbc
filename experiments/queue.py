"""Train what the tables need, one run after the other or several at a time.

    python -m experiments.queue cifar10                 # hours to weeks: see QUEUES
    python -m experiments.queue budget --processes 2
    python -m experiments.queue budget --cluster auto   # on many machines, by Ray

Runs that are finished are passed over and runs that were stopped go on, so the same
command can be given again at any time. A run that another process is at, as one that
outlived its queue, is waited for. SIGTERM or Ctrl-C stops the queue and its runs, each
safely. `--processes` trains several at once, each with its share of the cores. Each
finished run's record is copied to `records`.
"""

import argparse
import contextlib
import importlib
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from allconv.commands.arguments import add_import
from allconv.core import locks, machine
from allconv.core.checks import nearest, one_line
from allconv.networks import all_cnn_rows
from allconv.networks.registry import NORMS
from allconv.presets import catalogue, imagenet, preset_file
from allconv.presets.limits import check
from allconv.presets.preset import Preset
from experiments import RECORDS

# Rows of Table 1 of Ye et al. (2020), the cheapest first. Of the largest net one data
# set only: two hours.
_NETS = (
    *("efficientnet_cifar", "mobilenet_v2_cifar", "vgg16_cifar", "pnasnet_a_cifar"),
    *("resnet18_cifar", "preact18_cifar", "senet18_cifar", "resnext29_cifar"),
    "densenet121_cifar",
)
WHITENED = (*_NETS, *(f"{net}_cifar100" for net in _NETS), "dpn92_cifar")

Job = tuple[str, int]  # preset, seed

# name -> (preset, seed) in the order of the runs
QUEUES: dict[str, list[Job]] = {
    "fidelity": [("caffe_start", 0)],
    "quick": [("quick", 0)],
    "cifar10": [(name, 0) for name in all_cnn_rows.TABLE_3],
    "budget": [
        *((f"{name}_budget", 0) for name in all_cnn_rows.TABLE_3),
        *((f"{n}_budget", seed) for n in ("model_c", "all_cnn_c") for seed in (1, 2)),
    ],
    "pictures": [("model_c_short", 0), ("all_cnn_c_short", 0), ("zfnet_32_long", 0)],
    "zfnet": [
        *((name, 0) for name in catalogue.ZFNET_32),
    ],
    "zfnet_long": [
        *(
            (f"{name}_long", seed)
            for seed in (0, 1)
            for name in catalogue.ZFNET_32_ABLATION
        ),
        ("zfnet_32_cifar100_long", 0),
    ],
    "fast": [
        *(("fast_augmented", 0), ("fast", 0), ("long_augmented", 0)),
        *(("fast_augmented_plain", 0), ("longest_augmented", 0)),
    ],
    "cifar10_augmented": [("all_cnn_c_augmented", 0)],
    "cifar100": [("fast_augmented_cifar100", 0), ("all_cnn_c_cifar100", 0)],
    "netdeconv": [
        *((f"{name}_{norm}", 0) for name in WHITENED for norm in ("batch", "deconv")),
        *((f"all_cnn_c_{norm}_10", 0) for norm in NORMS),
    ],
    "imagenet": [(row.name, 0) for row in imagenet.ROWS if row.dataset == "imagenet"],
    "netdeconv_20": [(f"vgg16_cifar_{norm}_20", 0) for norm in ("batch", "deconv")],
}
PAUSE = 2.0  # seconds between two looks at a run of another process
# Epochs after which a run's weights are kept, for pictures of how features form.
SNAPSHOTS = {"zfnet_32_long": (1, 2, 5, 10, 20)}


def recipe(word: str) -> Preset:
    """The preset of a job: by its name, or of a file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If there is no such preset, or no run can follow it.
    """
    preset = preset_file.read(word) if _is_file(word) else catalogue.get(word)
    check(preset)
    return preset


def _is_file(word: str) -> bool:
    return Path(word).suffix in (".json", ".toml")


def listed(words: list[str], seeds: list[int]) -> list[Job]:
    """The jobs of queues, with their own seeds, and of recipes; each once.

    Raises:
        FileNotFoundError, ValueError: As `recipe`, or if a word is none of these.
    """
    jobs: dict[Job, None] = {}
    for word in words:
        if word not in {**QUEUES, **catalogue.PRESETS} and not _is_file(word):
            known = [*QUEUES, *catalogue.PRESETS]
            raise ValueError(
                "What to train should be a queue, a preset or a .json or .toml file. "
                f"Received: {word!r}{nearest(word, known)}"
            )
        found = QUEUES.get(word) or [(word, seed) for seed in seeds]
        for name, _ in found:
            recipe(name)
        jobs |= dict.fromkeys(found)
    return list(jobs)


def command_of(job: Job, extra: list[str]) -> list[str]:
    """The command line of one job."""
    word, seed = job
    what = ["--preset-file", word] if _is_file(word) else [word]
    command = [sys.executable, "-m", "allconv", "train", *what, "--seed", str(seed)]
    command += ["--records", str(RECORDS), *extra]
    if word in SNAPSHOTS:
        command += ["--snapshots", *map(str, SNAPSHOTS[word])]
    return command


def folder_of(job: Job) -> Path:
    """Where its run is kept."""
    return Path(f"runs/{recipe(job[0]).name}-seed{job[1]}")


def train(job: Job, extra: list[str], running: list, stopped: threading.Event) -> int:
    """Run one job in a process of its own; returns its exit status."""
    command, folder = command_of(job, extra), folder_of(job)
    while True:
        if locks.is_held(folder):
            print(f"Another process is training in {folder}: it is waited for.")
        while locks.is_held(folder):
            if stopped.wait(PAUSE):
                return 1
        with subprocess.Popen(command) as process:
            running.append(process)
            status = process.wait()
        if not status or stopped.is_set() or not locks.is_held(folder):
            return status  # else another one was faster


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "what", nargs="+", help=f"{', '.join(QUEUES)}; a preset; a recipe's file"
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0], help="of recipes; 0"
    )
    add_import(parser)
    parser.add_argument("--records", metavar="DIR", help="default: records")
    parser.add_argument("--processes", type=int, default=1, help="default: 1")
    parser.add_argument("--data-dir", help="folder of the data; default: ALLCONV_DATA")
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="of a Ray cluster that runs, or auto: the one this machine is part of",
    )
    parser.add_argument(
        "--cpus", type=int, default=machine.cores(), help="cores of a run there"
    )
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of a run there")
    arguments = parser.parse_args()
    for name in ("processes", "cpus"):
        if (value := getattr(arguments, name)) < 1:
            parser.error(f"--{name} should be 1 or more, not {value}")
    extra = ["--records", arguments.records] if arguments.records else []
    for name in arguments.modules:
        extra += ["--import", name]
    if arguments.data_dir:
        extra += ["--data-dir", arguments.data_dir]
    if arguments.processes > 1:  # each its share of the cores
        share = machine.cores() // arguments.processes
        extra += ["--threads", str(max(1, share))]
    try:
        for name in arguments.modules:
            importlib.import_module(name)
        jobs = listed(arguments.what, arguments.seeds)
    except (ValueError, OSError, ImportError) as error:
        parser.error(one_line(error))
    if arguments.cluster:
        from experiments import cluster

        where = (arguments.cluster, arguments.cpus, arguments.gpus)
        try:
            return report(jobs, cluster.work_off(jobs, extra, *where))
        except ValueError as error:
            parser.error(one_line(error))
    running: list[subprocess.Popen] = []
    stopped = threading.Event()
    with ThreadPoolExecutor(arguments.processes) as pool:
        waiting = [pool.submit(train, job, extra, running, stopped) for job in jobs]

        def stop(signum, frame):
            """No further runs; those at work keep what they have and end."""
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for process in running:
                # Windows cannot; there Ctrl-C reaches them by itself.
                with contextlib.suppress(ValueError):
                    process.send_signal(signum)

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
    statuses = [1 if run.cancelled() else run.result() for run in waiting]
    failed = [job for job, status in zip(jobs, statuses, strict=True) if status]
    return report(jobs, failed)


def report(jobs: list[Job], failed: list[Job]) -> int:
    """Say how many runs are finished; returns the queue's exit status."""
    print(f"{len(jobs) - len(failed)} of {len(jobs)} runs are finished")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
