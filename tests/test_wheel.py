"""The built wheel works from an empty folder, without the checkout it is of."""

import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
FIVE_LINES = f"""\
{EXAMPLE.replace('load("cifar10")', 'load("shapes")')}  # which needs no download
assert maps.shape == (5, 32, 32, 3), maps.shape
assert abs(maps).max() > 0
for network in ("model_c", "zfnet_32"):
    allconv.Classifier.released(network, "cifar10")
allconv.Classifier.released("all_cnn_c", "cifar100")
"""


def run(command, **kwargs):
    return subprocess.run(command, capture_output=True, text=True, **kwargs)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of what git lists, so that nothing built earlier is in it."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others"]
    names = run([*listed, "--exclude-standard"], check=True).stdout.split("\0")
    wanted = ("allconv/", "weights/", "records/")
    for name in filter(None, names):
        if name.startswith(wanted) or "/" not in name:
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    done = run([*pip, "-w", folder, folder / "source"], check=False)
    if done.returncode and "setuptools" in done.stderr:
        pytest.skip("pip cannot fetch setuptools here")
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(
    scope="module",
    params=["borrowed", pytest.param("installed", marks=pytest.mark.slow)],
)
def python(request, wheel, tmp_path_factory):
    """A Python that has the wheel; what it needs is this one's, or installed."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=request.param == "installed", symlinks=os.name != "nt")
    inside = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if request.param == "installed":
        pip = [inside, "-m", "pip", "install", "--quiet"]
        run([*pip, wheel], check=True)
    else:
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        site = Path(run([inside, "-c", code], check=True).stdout.strip())
        (site / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
        with zipfile.ZipFile(wheel) as file:
            file.extractall(site)
    return inside


@pytest.fixture
def away(python, tmp_path):
    """Runs that Python in an empty folder with an empty home."""
    home = tmp_path / "home"
    home.mkdir()
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    clean |= {"HOME": str(home), "TF_CPP_MIN_LOG_LEVEL": "3"}
    clean.pop("ALLCONV_DATA", None)

    def call(*arguments, **variables):
        environment = clean | variables
        return run([python, *arguments], cwd=home, env=environment, check=False)

    return call


def test_the_wheel_is_small_and_holds_no_more_than_the_package(wheel):
    assert wheel.stat().st_size < 30 * 2**20
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"allconv"}
    assert "allconv/py.typed" in names
    for file in ("browser/gallery.html", "browser/units.js", "microscope/kernels.wasm"):
        assert f"allconv/reports/{file}" in names
    assert sum(n.startswith("allconv/released/records/") for n in names) == len(
        list((ROOT / "records").glob("*.json"))
    )


def test_the_readmes_five_lines(away):
    assert 'load("shapes")' in FIVE_LINES
    done = away("-c", FIVE_LINES)
    assert done.returncode == 0, done.stderr


def test_a_table_has_the_records(away):
    done = away("-m", "allconv", "table", "cifar10")
    assert done.returncode == 0, done.stderr
    assert "18.70 ± 0.37" in done.stdout
