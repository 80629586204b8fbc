"""A queue's runs on many machines: each a task of Ray Core, which starts it again.

Ray is the extra `cluster`. A run is the same command line as without it, in a process
of its own, so that its bytes are the same too. `runs` and `records` are folders that
all machines share. If a machine dies, another one goes on with its run, from the last
epoch that was kept.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from allconv.core import locks
from experiments.queue import PAUSE, Job, command_of, folder_of

ROOT = Path(__file__).resolve().parents[1]
# As many deaths of machines as one run may see. Ray's own default is 3.
DEATHS = 100
# Set by Ray for its own work; a run without Ray has none of them.
FOREIGN = ("OMP_NUM_THREADS", "RAY_")


def run(command: list[str], folder: Path, place: Path) -> int:
    """Run a command to its end, on the machine that Ray has chosen.

    Args:
        command: Of `command_of`.
        folder: Of the run.
        place: Where the command is given: a folder that all machines share.

    Returns:
        Its exit status.

    Raises:
        FileNotFoundError: If this machine does not see `place`.
    """
    if not place.is_dir():
        raise FileNotFoundError(
            f"{os.uname().nodename} sees no folder {place}. All machines of a cluster "
            "should share the folder that the queue is started in."
        )
    attached = [sys.executable, "-m", "experiments.attached", str(os.getpid())]
    attached += [sys.executable, *command[1:]]  # this machine's own Python
    own = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
    while True:
        while locks.is_held(folder):  # by what a dead machine has left alive
            time.sleep(PAUSE)
        process = subprocess.Popen(attached, cwd=place, env=own)
        try:
            status = process.wait()
        except BaseException:  # the task is cancelled
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
        if not status or not locks.is_held(folder):
            return status


def work_off(
    jobs: list[Job], extra: list[str], address: str, cpus: int, gpus: float
) -> list[Job]:
    """Run all jobs on a Ray cluster.

    Args:
        jobs: `(preset, seed)`, in the order of the runs.
        extra: Further arguments of `allconv train`.
        address: Of the cluster, as `ray.init` takes it; `"auto"`: the one that this
            machine is part of.
        cpus: Cores of one run; the number of its threads.
        gpus: GPUs of one run.

    Returns:
        The jobs that failed.

    Raises:
        ValueError: If Ray is not installed, or there is no such cluster.
    """
    os.environ["RAY_DEDUP_LOGS"] = "0"  # else epochs that differ in digits are folded
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ValueError(
            "--cluster needs Ray, which is missing: `pip install allconv[cluster]`"
        ) from error
    place = Path.cwd()
    workers = {"env_vars": {"PYTHONPATH": str(ROOT)}}
    if not ray.is_initialized():
        try:
            ray.init(address=address, runtime_env=workers)
        except ConnectionError as error:
            raise ValueError(
                f"--cluster should be the address of a Ray cluster that runs, or auto. "
                f"Received: {address}. {error}"
            ) from error
    options: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus}
    options["runtime_env"] = workers
    task = ray.remote(run).options(max_retries=DEATHS, **options)
    extra = [*extra, "--threads", str(cpus)]
    waiting = {
        task.remote(command_of(job, extra), place / folder_of(job), place): job
        for job in jobs
    }
    failed = []
    try:
        while waiting:
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            job = waiting.pop(done)
            try:
                status = ray.get(done)
            except (ray.exceptions.RayError, OSError) as error:
                status = 1
                print(f"{job[0]}, seed {job[1]}: {error}", file=sys.stderr)
            print(f"{job[0]}, seed {job[1]}: {'failed' if status else 'finished'}")
            failed += [job] if status else []
    finally:  # Ctrl-C: those at work keep what they have and end
        for task_left in waiting:
            ray.cancel(task_left)
    return failed
