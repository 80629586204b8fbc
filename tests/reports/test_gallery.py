"""The page holds what was found, nothing from elsewhere, and works in a browser."""

import base64
import io
import json
import os
import shutil
import signal
import subprocess
import time
from html.parser import HTMLParser

import keras
import numpy as np
import pytest
from PIL import Image

from allconv.data import datasets
from allconv.data.preprocessing import MeanStd
from allconv.figures import maps
from allconv.networks.classifier import Classifier
from allconv.probes import patches
from allconv.reports import gallery
from allconv.results import tables

SIZES = {"conv1": (5, 3), "conv2": (17, 7), "conv3": (10, 7)}  # units, pixels they see
EVIL = "</script><script>console.error('ran')</script><b>"


def network(dataset="shapes"):
    keras.utils.set_random_seed(7)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(5, 3, padding="same", activation="relu", name="conv1"),
            layers.Conv2D(
                17, 5, strides=2, padding="same", activation="relu", name="conv2"
            ),
            layers.Conv2D(10, 1, activation="relu", name="conv3"),
            layers.GlobalAveragePooling2D(),
            layers.Activation("softmax"),
        ]
    )
    meta = {"dataset": dataset, "preset": "tiny", "seed": 0, "error": 12.5}
    preprocessor = MeanStd(np.full(3, 120, "float32"), np.full(3, 60, "float32"))
    return Classifier(model, preprocessor, {"architecture": EVIL, **meta})


def record(seed=0, epochs=3, status="finished"):
    preset = {"architecture": "all_cnn_c", "dataset": "cifar10"}
    preset |= {"name": "quick", "augmentation": "none", "epochs": epochs}
    history = [
        {"epoch": e, "accuracy": 0.1 * e, "val_accuracy": 0.2 * e}
        for e in range(1, epochs + 1)
    ]
    out = {"preset": preset, "seed": seed, "status": status, "history": history}
    if status == "finished":
        out |= {"split": "test", "error": 40.0, "wrong": 4000, "n": 10_000}
        out |= {"minutes": 3.0, "confusion": np.eye(10, dtype=int).tolist()}
    return out


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "new" / "index.html"
    records = [record(0), record(1), record(2, status="diverged")]
    assert gallery.write(path, network(), records, progress=False) == path
    return path


class Reader(HTMLParser):
    """Scripts with data, addresses of all kinds, and visible text."""

    def __init__(self, text):
        super().__init__()
        self.scripts, self.addresses, self.images, self.text = {}, [], [], ""
        self.tags, self.current = [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        self.current = (tag, attributes.get("id"))
        self.addresses += [attributes[k] for k in ("src", "href") if k in attributes]
        if tag == "img":
            self.images.append(attributes)

    def handle_endtag(self, tag):
        self.current = None

    def handle_data(self, text):
        if self.current and self.current[0] == "script":
            self.scripts[self.current[1]] = text
        elif not self.current or self.current[0] != "style":
            self.text += text


def test_sheet_against_loops():
    tiles = np.random.default_rng(0).integers(0, 255, (19, 9, 2, 4, 3), np.uint8)
    picture = gallery.sheet(tiles)
    assert picture.shape == (2 * 3 * 2, 16 * 3 * 4, 3)
    expected = np.zeros_like(picture)
    for unit in range(19):
        for hit in range(9):
            top = (unit // 16 * 3 + hit // 3) * 2
            left = (unit % 16 * 3 + hit % 3) * 4
            expected[top : top + 2, left : left + 4] = tiles[unit, hit]
    np.testing.assert_array_equal(picture, expected)


def test_rgba_is_transparent_where_nothing_is_known():
    tiles = np.array([[[0, 0.5, 1], [np.nan, 0.2, 0.2]]])
    expected = [[[0, 128, 255, 255], [0, 0, 0, 0]]]
    np.testing.assert_array_equal(gallery.rgba(tiles), expected)


def test_fill_looks_for_names_in_the_template_only():
    text = gallery.fill("<{{a}}|{{b}}>", {"a": "{{b}}", "b": r"\1"})
    assert text == r"<{{b}}|\1>"
    with pytest.raises(KeyError):
        gallery.fill("{{c}}", {})


def test_layers_hold_what_was_found(page):
    reader = Reader(page.read_text())
    net = network()
    _, (images, labels) = datasets.load("shapes")
    inputs = net.preprocessor(images)
    tops = patches.top_activations(net.model, inputs, list(SIZES), progress=False)
    assert json.loads(reader.scripts["classes-data"]) == datasets.CLASS_NAMES["shapes"]
    for name, (count, size) in SIZES.items():
        facts, top = json.loads(reader.scripts[f"data-{name}"]), tops[name]
        assert facts["size"] == [size, size]
        assert facts["index"] == top.index.tolist()
        assert facts["label"] == labels[top.index].tolist()
        assert (facts["y"], facts["x"]) == (top.y.tolist(), top.x.tolist())
        np.testing.assert_allclose(facts["value"], top.value, rtol=0.006)
        pictures = patches.crop(
            patches.gather(images, top.index) / 255, top.box, np.nan
        )
        for kind, uri in facts["sheets"].items():
            head, _, body = uri.partition(",")
            assert head == "data:image/webp;base64"
            found = np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))
            assert found.shape == (-(-count // 16) * 3 * size, 48 * size, 4)
            if kind == "pictures":
                tile = found[-3 * size : -2 * size, :size]  # first of the last row
                first = pictures[16 if count == 17 else 0, 0]
                known = ~np.isnan(first)
                np.testing.assert_array_equal(tile[..., 3] > 0, known[..., 0])
                step = 255 / gallery.COLOURS / 2 + 1
                near = tile[..., :3][known] - 255.0 * first[known]
                assert np.abs(near).max() <= step
    assert facts["names"] == datasets.CLASS_NAMES["shapes"]  # of the last layer's units
    about = json.loads(reader.scripts["data-conv2"])["about"]
    assert about.startswith("conv2 is a 5 × 5 convolution with stride 2: 17 units, ")


def test_zero_of_a_map_is_exactly_grey(page):
    facts = json.loads(Reader(page.read_text()).scripts["data-conv1"])
    body = facts["sheets"]["guided"].partition(",")[2]
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))
    known = sheet[..., 3] > 0
    grey = round(255 * maps.ZERO)
    steps = 2 * gallery.GREYS
    levels = np.round(255 * (np.arange(steps + 1) / steps))
    assert set(np.unique(sheet[known][:, :3])) <= set(levels)
    assert (sheet[known][:, :3] == grey).any()


def test_nothing_is_loaded_from_elsewhere_and_no_text_is_markup(page):
    text = page.read_text()
    reader = Reader(text)
    assert reader.addresses
    assert all(a.startswith(("data:", "#")) for a in reader.addresses)
    assert "default-src 'none'" in text
    assert "b" not in reader.tags
    assert EVIL in reader.text  # as text, not as markup
    assert all(image["alt"] for image in reader.images)


def test_tables_and_runs(page):
    reader = Reader(page.read_text())
    for title, *_ in tables.TABLES.values():
        assert title in reader.text
    assert "not run" in reader.text
    said = "quick, seed 1: error 40.00 % (4,000 of 10,000), 3 epochs, 3 minutes"
    assert said in reader.text
    assert "seed 2: error" not in reader.text
    alts = [image["alt"] for image in reader.images]
    assert len(alts) == 1 + 2 * 2  # curves of both; a curve and a matrix of each
    assert "quick, seed 0, quick, seed 1" in alts[0]
    assert "12.50 % of the test images wrong" in reader.text


def test_only_convolutions_have_pages(tmp_path):
    with pytest.raises(ValueError, match=r"be convolutions: conv1.*: \['pool'\]"):
        gallery.write(tmp_path / "x.html", network(), layers=["conv1", "pool"])
    assert not list(tmp_path.iterdir())


def test_without_records_and_without_the_data_it_says_so(tmp_path):
    path = tmp_path / "index.html"
    net = network("cifar10")
    gallery.write(path, net, [], tmp_path, layers=["conv1"], progress=False)
    reader = Reader(path.read_text())
    assert "CIFAR-10 was not on the machine" in reader.text
    assert "No run is finished yet" in reader.text
    assert "data-conv2" not in reader.scripts
    with pytest.raises(ValueError, match="conv9"):
        gallery.write(path, net, [], tmp_path, layers=["conv9"], progress=False)


# Opens every layer and kind, moves by keys, then says what it found.
DRIVER = """<script>(async () => {
  const wait = async (done) => {
    while (!done()) await new Promise((go) => setTimeout(go, 20));
  };
  const ready = () => $("layer").getAttribute("aria-busy") === "false";
  const colours = (canvas) => { // read from a copy: reading slows the page's own
    const { width, height } = canvas;
    const copy = new OffscreenCanvas(width, height)
      .getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    const pixels = copy.getImageData(0, 0, width, height).data;
    return new Set(new Uint32Array(pixels.buffer)).size;
  };
  const press = (element, key) => element.dispatchEvent(
    new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  const report = { layers: {}, images: 0, missing: 0 };
  await wait(ready);
  report.first = location.hash;
  for (const tab of document.querySelectorAll("[role=tab]")) {
    tab.click();
    await wait(ready);
    const seen = report.layers[tab.dataset.name] = { units: $("grid").children.length };
    seen.title = $("title").textContent;
    seen.painted = Object.fromEntries(Object.entries(figures).map(
      ([key, figure]) => [key, Math.min(colours(figure.nine), colours(figure.one))]));
    seen.plain = [];
    for (const radio of document.querySelectorAll("[name=kind]")) {
      radio.click();
      seen.plain.push([...$("grid").querySelectorAll("canvas")]
        .filter((canvas) => colours(canvas) < 3).length);
    }
  }
  press($("grid").children[0], "ArrowRight");
  report.right = location.hash;
  press(document.activeElement, "End");
  report.end = location.hash;
  press(document.body, "9"); // of the page: not for the unit
  press($("grid").children[0], "4");
  report.facts = $("facts").textContent;
  $("number").value = "1.4";
  $("number").dispatchEvent(new Event("change"));
  report.rounded = [location.hash, $("title").textContent];
  location.hash = "#%"; // no address of a unit, and no error
  location.hash = "#conv2/16";
  await wait(() => ready() && $("title").textContent === "conv2, unit 16");
  press($("tabs").children[1], "ArrowLeft");
  await wait(() => ready() && location.hash.startsWith("#conv1"));
  report.focus = document.activeElement.textContent;
  for (const part of document.querySelectorAll("details")) part.open = true;
  for (const image of document.images) {
    image.loading = "eager";
    await image.decode().catch(() => {});
    report.images += 1;
    report.missing += image.naturalWidth === 0;
  }
  report.width = [document.documentElement.scrollWidth, innerWidth];
  console.log("REPORT " + JSON.stringify(report));
})().catch((error) => console.error(error.stack));</script>"""

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium to open the page in")
@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser(page, tmp_path, width):
    driven = tmp_path / "driven.html"
    driven.write_text(page.read_text().replace("</body>", DRIVER + "</body>"))
    frame = tmp_path / "frame.html"  # no window is as narrow as a phone
    frame.write_text(f'<iframe src="driven.html" width="{width}" height="800">')
    options = "--headless --no-sandbox --disable-gpu --enable-logging=stderr"
    options += " --window-size=1400,900 --remote-debugging-port=0"
    log = tmp_path / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [
                *(BROWSER, *options.split(), f"--user-data-dir={tmp_path / 'profile'}"),
                frame.as_uri(),
            ],
            stdout=stderr,
            stderr=stderr,
            start_new_session=True,
        )
    end = time.monotonic() + 120
    try:
        while "CONSOLE" not in log.read_text():
            assert time.monotonic() < end, f"no report from {BROWSER}"
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        time.sleep(0.5)  # the end of the line, and what else there may be
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    console = [line for line in log.read_text().splitlines() if "CONSOLE" in line]
    assert len(console) == 1, console  # the report, and not one error or warning
    text = console[0].partition("REPORT ")[2].rpartition('", source:')[0]
    report = json.loads(text)
    assert report["first"] == "#conv2/0"
    assert {name: layer["units"] for name, layer in report["layers"].items()} == {
        name: count for name, (count, _) in SIZES.items()
    }
    for name, layer in report["layers"].items():
        assert layer["title"].startswith(name)
        assert min(layer["painted"].values()) > 2, layer
        assert layer["plain"] == [0, 0, 0]
    assert (report["right"], report["end"]) == ("#conv3/1", "#conv3/9")
    assert report["facts"].startswith("Patch 4 of 9")
    assert report["rounded"] == ["#conv3/1", "conv3, square"]
    assert report["focus"].startswith("conv1")
    assert (report["images"], report["missing"]) == (5, 0)
    assert report["width"][1] == width
    assert report["width"][0] <= width, "the page is wider than the window"
