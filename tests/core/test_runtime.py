import json
import subprocess

import keras
import numpy as np
import pytest

from allconv.core import runtime


@pytest.mark.parametrize("variable, threads", [("3", 3), ("", 0), ("all", 0)])
def test_threads_are_those_of_the_variable_where_nothing_else_was_asked(
    monkeypatch, variable, threads
):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", variable)
    assert runtime.environment()["threads"] == threads


def test_environment_is_what_a_record_can_hold():
    environment = runtime.environment()
    assert json.loads(json.dumps(environment)) == environment
    assert environment["keras"] == keras.__version__
    assert environment["cores"] >= 1


def test_variables_are_those_that_change_numbers_and_no_others(monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    monkeypatch.setenv("TF_DETERMINISTIC_OPS", "1")
    for other in ("TF_TOKEN_example_org", "TF_VAR_password", "TF_CLI_CONFIG_FILE"):
        monkeypatch.setenv(other, "a secret of Terraform")
    monkeypatch.setenv("TF_CONFIG", "hosts of a cluster")
    found = runtime.environment()["variables"].split()
    assert {"ONEDNN_MAX_CPU_ISA=AVX2", "TF_DETERMINISTIC_OPS=1"} <= {*found}
    names = {one.partition("=")[0] for one in found}
    mine = {"ONEDNN_MAX_CPU_ISA", "TF_DETERMINISTIC_OPS"}
    # The tests themselves say how many threads there are.
    assert names <= mine | {"OMP_NUM_THREADS", "TF_NUM_INTEROP_THREADS"}


def test_no_thread_at_all_is_refused():
    with pytest.raises(ValueError, match=r"1 or more. Received: 0"):
        runtime.set_threads(0)


def test_commit_is_gits_and_says_where_files_differ(tmp_path, monkeypatch):
    def git(*words):
        author = ["-c", "user.name=a", "-c", "user.email=b"]
        command = ["git", "-C", str(tmp_path), *author, *words]
        subprocess.run(command, check=True, capture_output=True)

    package = tmp_path / "allconv" / "core"
    package.mkdir(parents=True)
    (package / "runtime.py").write_text("")
    monkeypatch.setattr(runtime, "__file__", str(package / "runtime.py"))
    assert runtime.commit() is None  # no checkout
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    clean = runtime.commit()
    assert len(clean) == 40
    (package / "runtime.py").write_text("changed")
    assert runtime.commit() == clean + "+"


def test_a_seed_gives_the_same_numbers_and_an_open_one_new_numbers():
    seeded = keras.initializers.HeNormal(seed=1).get_config()
    opened = runtime.unseeded({"kernel": [seeded], "units": 3})["kernel"][0]
    assert seeded["seed"] == 1
    assert opened["seed"] is None
    draws = []
    for seed in (0, 0, 1):
        runtime.set_seed(seed)
        draws.append(np.asarray(keras.initializers.HeNormal(**opened)((3, 3))))
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
