"""`doctor`: what is there, and a warning for what will not work."""

import re

import allconv
from allconv.commands import doctor
from tests.test_cli import call


def test_doctor_says_what_is_there(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("ALLCONV_DATA", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))  # without npm
    status, out, _ = call(capsys, "doctor")
    assert f"allconv {allconv.__version__}" in out
    assert re.search(r"packages: tensorflow \d.*, keras \d", out)
    assert re.search(r"\n  cifar10 +not found", out)
    assert re.search(r"weights: (\d+) of the \1 released files", out)
    assert re.search(
        r"precision: \w+ is the one to train in \(float32 \d+ images/s, ", out
    )
    assert (status, "warning: npm is missing" in out) == (1, True)


def test_doctor_warns_of_each_thing_that_will_not_work(capsys, monkeypatch):
    def refuse():
        raise ImportError("set KERAS_BACKEND=tensorflow")

    monkeypatch.setattr(doctor, "PACKAGES", ("numpy", "nonsense-package"))
    monkeypatch.setattr(doctor.places, "manifest", list)
    monkeypatch.setattr(doctor, "import_tensorflow", refuse)
    status, out, _ = call(capsys, "doctor")
    assert status == 1
    for warning in (
        "nonsense-package is not installed: `pip install nonsense-package`",
        "this copy has no released weights",
        "TensorFlow cannot be used: set KERAS_BACKEND=tensorflow",
    ):
        assert f"\nwarning: {warning}" in out


def test_doctor_warns_of_a_gpu_that_tensorflow_does_not_see(monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: [])
    (warning,) = doctor._devices()
    assert "TensorFlow does not see it" in warning
