"""Released files: of a wheel or a checkout, fetched where an address is named."""

import json
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from allconv.networks import places, weights
from allconv.networks.classifier import Classifier


@pytest.fixture
def without(tmp_path, monkeypatch):
    """An installation with the manifest and the whitening alone, and no network."""
    place = tmp_path / "installed"
    place.mkdir()
    for name in (places.MANIFEST, "gcn_zca-cifar10.h5"):
        (place / name).write_bytes((weights.RELEASED / name).read_bytes())
    source = weights.RELEASED
    monkeypatch.setattr(weights, "RELEASED", place)
    monkeypatch.setenv("ALLCONV_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv(places.URL, raising=False)
    return source


@pytest.fixture
def server(without):
    handler = partial(SimpleHTTPRequestHandler, directory=without)
    one = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=one.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{one.server_port}/"
    one.shutdown()
    one.server_close()


def test_what_is_not_there_is_refused_with_the_way_to_get_it(without):
    with pytest.raises(FileNotFoundError) as caught:
        weights.released("model_a", "cifar10")
    assert "set ALLCONV_WEIGHTS_URL to the address of a folder" in str(caught.value)


def test_it_is_fetched_verified_and_kept(server, monkeypatch, capfd):
    monkeypatch.setenv(places.URL, server)
    path = weights.released("model_a", "cifar10")
    assert path.parent == places.cache()
    assert f"Fetching {path.name} from {server}" in capfd.readouterr().err
    # Its whitening is not beside it but with what was installed.
    assert Classifier.load(path).meta["preset"] == "model_a_budget"
    good = path.read_bytes()
    path.write_bytes(b"not what was released")
    assert weights.released("model_a", "cifar10").read_bytes() == good
    monkeypatch.setenv(places.URL, "http://127.0.0.1:9")
    assert weights.released("model_a", "cifar10") == path


def test_what_comes_is_compared_with_the_manifest(server, monkeypatch, without):
    monkeypatch.setenv(places.URL, server)
    entry = next(e for e in weights.manifest() if e["architecture"] == "model_a")
    with pytest.raises(FileNotFoundError, match="could not be fetched from"):
        weights.file_of(entry | {"sha256": "0" * 64})
    assert not (places.cache() / entry["file"]).exists()


def test_a_folder_beside_the_package_is_looked_at_in_a_checkout_only(
    tmp_path, monkeypatch
):
    package = tmp_path / "allconv"
    entry = {"architecture": "a", "dataset": "b", "file": "c.h5", "sha256": "0"}
    monkeypatch.setattr(places, "PACKAGE", package)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / places.MANIFEST).write_text(json.dumps([entry]))
    assert places.manifest() == []
    (tmp_path / "pyproject.toml").touch()
    assert places.manifest() == [entry]
    (package / "released" / "weights").mkdir(parents=True)
    assert places.manifest() == []


def test_a_copy_without_weights_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "RELEASED", tmp_path)
    with pytest.raises(ValueError, match=r"came without .*manifest\.json\. Install"):
        weights.released("all_cnn_c", "cifar10")
