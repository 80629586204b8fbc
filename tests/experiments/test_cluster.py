"""Runs on a cluster: a machine dies, all finish, with the bytes of undisturbed runs."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from experiments import attached, queue

ROOT = Path(attached.__file__).parents[1]
SLEEP = "import time, pathlib; pathlib.Path('began').touch(); time.sleep(60)"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux is asked")
def test_a_command_ends_when_what_asked_for_it_is_killed(tmp_path):
    asking = (
        "import os, subprocess, sys; subprocess.Popen([sys.executable, '-m', "
        f"'experiments.attached', str(os.getpid()), sys.executable, '-c', {SLEEP!r}])"
        ".wait()"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(
        [sys.executable, "-c", asking], cwd=tmp_path, env=environment
    )
    while not (tmp_path / "began").exists():
        time.sleep(0.05)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text()
    (child,) = map(int, children.split())
    parent.kill()
    parent.wait()
    for _ in range(100):
        status = Path(f"/proc/{child}/stat")
        if not status.exists() or ") Z " in status.read_text():
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the command runs on")


def test_the_command_of_a_run_is_the_same_with_a_cluster_and_without():
    command = queue.command_of(("quick", 3), ["--threads", "2"])
    assert command[1:6] == ["-m", "allconv", "train", "quick", "--seed"]
    assert command[6] == "3"
    assert command[-2:] == ["--threads", "2"]
    assert queue.folder_of(("quick", 3)) == Path("runs/quick-seed3")


def _finished(folder: Path) -> dict:
    return json.loads((folder / "record.json").read_text())


def test_a_killed_machine_changes_no_byte(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0123456789abcdef" * 4)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # Ray reads those when it is imported.
    ray = pytest.importorskip("ray", reason="the extra `cluster` is not installed")
    from ray.cluster_utils import Cluster

    from experiments import cluster as tasks

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(queue, "RECORDS", tmp_path / "records")
    extra = ["--precision", "float32", "--data-dir", str(tmp_path / "data")]
    jobs = [("tiny", 0), ("tiny", 1)]
    (tmp_path / "alone").mkdir()
    for job in jobs:
        command = queue.command_of(job, [*extra, "--threads", "1"])
        subprocess.run(command, cwd=tmp_path / "alone", check=True)
    (tmp_path / "shared").mkdir()
    monkeypatch.chdir(tmp_path / "shared")
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        nodes = [machines.add_node(num_cpus=1) for _ in range(2)]
        ray.init(address=machines.address)
        victim = queue.folder_of(jobs[0])

        def kill() -> None:
            """Kill a machine, its workers with it, once its run has kept an epoch."""
            while not list(victim.glob("epoch-*.h5")):
                time.sleep(0.05)
            machines.remove_node(nodes[0], allow_graceful=False)

        killer = threading.Thread(target=kill)
        killer.start()
        failed = tasks.work_off(jobs, extra, "auto", 1, 0)
        killer.join()
        assert failed == []
    finally:
        ray.shutdown()
        machines.shutdown()
    for job in jobs:
        folder = queue.folder_of(job)
        undisturbed = _finished(tmp_path / "alone" / folder)
        assert _finished(folder)["state_sha256"] == undisturbed["state_sha256"]
