"""The page holds what was found, nothing from elsewhere, and works in a browser."""

import io
import json
import re
import zlib
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
from allconv.reports import gallery, sheets
from allconv.reports.units import look
from allconv.results import tables
from tests.reports import browser as browsers
from tests.reports.test_packed import unpacked

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
        out |= {"per_class": [40.0] * 10}
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
        self.tags, self.sections, self.current = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        self.current = (tag, attributes.get("id"))
        self.addresses += [attributes[k] for k in ("src", "href") if k in attributes]
        if tag == "img":
            self.images.append(attributes)
        if tag == "section":
            self.sections.append(attributes)

    def handle_endtag(self, tag):
        self.current = None

    def handle_data(self, text):
        if self.current and self.current[0] == "script":
            self.scripts[self.current[1]] = text
        elif not self.current or self.current[0] != "style":
            self.text += text


def test_sheet_against_loops():
    tiles = np.random.default_rng(0).integers(0, 255, (19, 9, 2, 4, 3), np.uint8)
    picture = sheets.sheet(tiles)
    assert picture.shape == (2 * 3 * 2, 16 * 3 * 4, 3)
    expected = np.zeros_like(picture)
    for unit in range(19):
        for hit in range(9):
            top = (unit // 16 * 3 + hit // 3) * 2
            left = (unit % 16 * 3 + hit % 3) * 4
            expected[top : top + 2, left : left + 4] = tiles[unit, hit]
    np.testing.assert_array_equal(picture, expected)


def test_what_is_not_known_is_grey():
    tiles = np.array([[[0, 0.5, 1], [np.nan] * 3]])
    expected = [[[0, 128, 255], [128, 128, 128]]]
    np.testing.assert_array_equal(sheets.eight_bits(tiles), expected)


def test_fill_looks_for_names_in_the_template_only():
    text = gallery.fill("<{{a}}|{{b}}>", {"a": "{{b}}", "b": r"\1"})
    assert text == r"<{{b}}|\1>"
    with pytest.raises(KeyError):
        gallery.fill("{{c}}", {})


def picture(text):
    file = Image.open(io.BytesIO(unpacked(text)))
    assert file.format == "WEBP"
    return np.asarray(file.convert("RGB"))


def test_layers_hold_what_was_found(page):
    reader = Reader(page.read_text())
    net = network()
    _, (images, labels) = datasets.load("shapes")
    inputs = net.preprocessor(images)
    tops = patches.top_activations(net.model, inputs, list(SIZES), progress=False)
    shell = json.loads(reader.scripts["shell"])
    assert shell["classes"] == datasets.CLASS_NAMES["shapes"]
    assert [layer["name"] for layer in shell["layers"]] == list(SIZES)
    atlas = json.loads(reader.scripts["u-images"])
    numbers = np.array(atlas["number"])
    assert atlas["label"] == labels[numbers].tolist()
    whole = picture(atlas["sheet"])
    for slot in (0, 63, 64, len(numbers) - 1):
        at = np.ix_(*(np.arange(n * 32, n * 32 + 32) for n in divmod(slot, 64)))
        error = whole[at].astype(float) - images[numbers[slot]]
        luma = error @ [0.3, 0.59, 0.11]  # of colour half is kept
        assert np.sqrt((luma**2).mean()) < 6
    for name, (count, size) in SIZES.items():
        facts, top = json.loads(reader.scripts[f"data-{name}"]), tops[name]
        assert facts["size"] == [size, size]
        assert facts["channel"] == list(range(count))
        np.testing.assert_array_equal(numbers[np.array(facts["slot"])], top.index)
        assert (facts["y"], facts["x"]) == (top.y.tolist(), top.x.tolist())
        np.testing.assert_allclose(facts["value"], top.value, rtol=0.006)
        seen = np.array(facts["silent"]) + np.sum(facts["counts"], axis=1)
        assert seen.tolist() == [len(images)] * count
        assert list(facts["sheets"]) == ["guided", "deconvnet", "backprop"]
        for uri in facts["sheets"].values():
            assert picture(uri).shape == (-(-count // 16) * 3 * size, 48 * size, 3)
    assert facts["names"] == datasets.CLASS_NAMES["shapes"]  # of the last layer's units
    about = json.loads(reader.scripts["data-conv2"])["about"]
    assert about.startswith("conv2 is a 5 × 5 convolution with stride 2: 17 units, ")


def test_a_map_is_in_seven_steps_and_its_zero_exactly_grey(page):
    facts = json.loads(Reader(page.read_text()).scripts["data-conv1"])
    found = picture(facts["sheets"]["guided"])[:, : 5 * 9]  # five units
    grey, steps = round(255 * maps.ZERO), 2 * sheets.STEPS
    levels = np.round(255 * (np.arange(steps + 1) / steps))
    assert set(np.unique(found)) <= set(levels)
    assert (found == grey).any()
    (units,) = look(
        *(network(), datasets.load("shapes")[1][0], ["conv1"]), progress=False
    )
    limit = maps.shared_limits(units.maps["guided"], "row")[0, 0]
    first = units.maps["guided"][0, 0]
    expected = 255 * maps.signed_colours(first, limit)
    known = np.isfinite(first)
    error = np.abs(found[:3, :3] - expected)[known]
    assert error.max() <= 255 / steps / 2 + 1


def test_nothing_is_loaded_from_elsewhere_and_no_text_is_markup(page):
    text = page.read_text()
    reader = Reader(text)
    assert reader.addresses
    papers = {a for a in reader.addresses if not a.startswith(("data:", "#"))}
    sources = ("https://arxiv.org/abs/", "https://doi.org/10.")
    assert all(a.startswith(sources) for a in papers)
    assert papers == set(re.findall(r'<a href="(https:[^"]*)" rel="noreferrer"', text))
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
    packed = zlib.decompress(unpacked(reader.images[0]["data-packed"]))
    assert packed.startswith(b"<?xml")
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


def test_the_microscope_links_to_units_of_the_page_alone(tmp_path):
    if not (browsers.CHROMIUM and browsers.DRIVER):
        pytest.skip(browsers.MISSING)
    path, some = tmp_path / "index.html", {"layers": ["conv1"], "units": 2}
    gallery.write(path, network("cifar10"), [], tmp_path, **some, progress=False)
    shell = json.loads(Reader(path.read_text()).scripts["data-conv1"])
    linked = "return [...document.querySelectorAll('#strongest a')].map((a) => a.hash)"
    with browsers.Browser(tmp_path / "profile") as window:
        window.open(path.as_uri())
        for layer, expected in ("conv1", shell["channel"]), ("conv2", []):
            window.wait("answer && !asking")
            at = "entry.layers.findIndex((one) => one.name === given[0])"
            index = window.run(f"return {at}", layer)
            window.run("show({ layer: given[0], unit: null })", index)
            window.wait(f"answer.layer === {index} && !asking")
            found = window.run(linked)
            assert sorted(found) == [f"#{layer}/{unit}" for unit in expected]


@pytest.fixture(scope="module")
def window(page, tmp_path_factory):
    if not (browsers.CHROMIUM and browsers.DRIVER):
        pytest.skip(browsers.MISSING)
    with browsers.Browser(tmp_path_factory.mktemp("profile")) as window:
        yield window


@pytest.fixture
def at(window, page):
    """Opens the page at an address, as a visitor who has just come."""

    def opened(hash_):
        window.open("about:blank")
        window.console()
        window.open(page.as_uri() + hash_)
        window.wait(READY)
        return window

    yield opened
    assert window.console() == []


READY = "document.getElementById('u-layer')?.ariaBusy === 'false'"
TITLE = "return document.querySelector('#u-panels h2').textContent"
HASH = "return location.hash"
COLOURS = """
    const colours = (canvas) => { // read from a copy: reading slows the page's own
      const { width, height } = canvas;
      const copy = new OffscreenCanvas(width, height)
        .getContext("2d", { willReadFrequently: true });
      copy.drawImage(canvas, 0, 0);
      const pixels = copy.getImageData(0, 0, width, height).data;
      return new Set(new Uint32Array(pixels.buffer)).size;
    };"""


def press(window, key, shift=False):
    """A key where the focus is: on a fresh page nowhere."""
    script = """document.activeElement.dispatchEvent(new KeyboardEvent("keydown",
      { key: given[0], shiftKey: given[1], bubbles: true, cancelable: true }));"""
    window.run(script, key, shift)
    window.wait(READY)


def test_it_opens_at_the_microscope_whose_units_are_linked(at):
    window = at("")
    window.wait("answer")
    assert window.run("return place.part") == "microscope"
    assert window.run("return $('part-units').hidden && $('part-tables').hidden")
    window.click("#neuron-facts a")
    window.wait(READY)
    assert window.run("return place.part") == "units"
    name, unit = window.run("return [layerOf().name, answer.neuron.unit]")
    assert window.run(HASH) == f"#units/{name}/{unit}/pictures/1"
    assert window.run(TITLE).startswith(name)
    window.run("history.back()")
    window.wait("place.part === 'microscope'")
    window.click("#parts [data-part=units]")
    assert window.run("return $('part-microscope').hidden")
    window.click("#u-live")  # the image of a patch goes the other way
    window.wait("place.part === 'microscope' && view.image === null && !asking")
    assert window.run("return answer.neuron.unit") == unit
    assert "test image" in window.run("return $('image-title').textContent")


def test_each_layer_and_view_is_drawn(at):
    window = at("#units/conv1/0")
    for name, (count, _) in SIZES.items():
        window.click(f"[data-name={name}]")
        window.wait(f"{READY} && location.hash.startsWith('#units/{name}/')")
        assert window.run("return $('u-grid').children.length") == count
        for kind in ("guided", "deconvnet", "backprop", "pictures"):
            plain = window.run(
                COLOURS
                + f"""$("u-kind").value = "{kind}";
                $("u-kind").dispatchEvent(new Event("change"));
                const panel = document.querySelector(".panel");
                return [...panel.querySelectorAll("canvas"),
                  ...$("u-grid").querySelectorAll("canvas")]
                  .filter((canvas) => colours(canvas) < 3).length;"""
            )
            assert plain == 0, (name, kind)
    assert window.run("return document.querySelectorAll('.more rect').length") >= 33


def test_a_patch_is_that_part_of_its_image(at, page):
    window = at("#units/conv2/16/pictures/3")
    facts = json.loads(Reader(page.read_text()).scripts["data-conv2"])
    atlas = json.loads(Reader(page.read_text()).scripts["u-images"])
    slot, y, x = (facts[key][16][2] for key in ("slot", "y", "x"))
    row, column = divmod(slot, 64)
    whole = picture(atlas["sheet"])[row * 32 :, column * 32 :][:32, :32]
    start, stride = facts["field"]["start"], facts["field"]["stride"]
    top, left = (n * stride[i] + start[i] for i, n in enumerate((y, x)))
    found = window.run(
        """const canvas = document.querySelector(".one");
        const gap = (canvas.width - 7 * 36) / 2;
        const context = canvas.getContext("2d");
        return [...context.getImageData(gap, gap, 7 * 36, 7 * 36).data];"""
    )
    found = np.reshape(found, (7, 36, 7, 36, 4))[:, 18, :, 18]  # middles of its pixels
    for i in range(7):
        for j in range(7):
            if 0 <= top + i < 32 and 0 <= left + j < 32:
                near = found[i, j, :3] - whole[top + i, left + j].astype(int)
                assert np.abs(near).max() <= 3  # another decoder
            else:
                assert found[i, j, 3] < 255


def test_keys_work_from_a_fresh_page_and_after_a_click(at):
    window = at("#units/conv2/3")
    press(window, "ArrowRight")
    assert window.run(HASH) == "#units/conv2/4/pictures/1"
    press(window, "7")
    assert window.run(HASH) == "#units/conv2/4/pictures/7"
    press(window, "ArrowRight", shift=True)
    assert window.run(HASH) == "#units/conv3/0/pictures/1"
    window.click(".nine")  # a canvas takes no focus
    press(window, "ArrowRight")
    assert window.run(TITLE).startswith("conv3, ")
    assert window.run(HASH) == "#units/conv3/1/pictures/1"
    window.click("#u-grid > :nth-child(5)")
    press(window, "ArrowLeft")
    assert window.run(HASH) == "#units/conv3/3/pictures/1"
    press(window, "End")
    assert window.run(HASH) == "#units/conv3/9/pictures/1"
    window.run("await new Promise((go) => setTimeout(go, 450))")
    press(window, "Home")
    window.run("history.back()")  # quick steps were one
    window.wait("location.hash === '#units/conv3/9/pictures/1'")
    window.wait(READY)
    assert window.run("return $('u-number').value") == "9"
    press(window, "b")
    assert window.run("return getComputedStyle($('u-all')).display") == "none"
    press(window, "Escape")
    assert window.run("return getComputedStyle($('u-all')).display") != "none"


@pytest.mark.parametrize(
    "wrong, shown, words",
    [
        ("#conv2/3", "#units/conv2/3/pictures/1", ""),  # as it once was
        ("#units/conv1", "#units/conv1/0/pictures/1", ""),
        ("#conv33", "#units/conv3/0/pictures/1", "no layer conv33, this is conv3"),
        ("#conv99/5", "#units/conv1/4/pictures/1", "no layer conv99, this is conv1"),
        ("#units/conv1/99", "#units/conv1/4/pictures/1", "no unit 99 on this page"),
        ("#units/conv1/1/x/12", "#units/conv1/1/pictures/1", "no patch 12"),
        ("#%", "#units/conv1/0/pictures/1", "no layer %, this is conv1"),
    ],
)
def test_an_address_leads_to_the_nearest_view(at, wrong, shown, words):
    window = at(wrong)
    assert window.run(HASH) == shown
    said = window.run("return $('u-said').hidden ? '' : $('u-said').textContent")
    assert words in said
    assert bool(words) == bool(said)


def test_units_are_searched_sorted_and_compared(at, page):
    window = at("#units/conv2/3")
    facts = json.loads(Reader(page.read_text()).scripts["data-conv2"])
    labels = json.loads(Reader(page.read_text()).scripts["u-images"])["label"]
    of_unit = [[labels[slot] for slot in row] for row in facts["slot"]]
    dead = [u for u, row in enumerate(facts["value"]) if row[0] <= 0]
    set_ = """const [id, value] = given;
      $(id).value = value; $(id).dispatchEvent(new Event("change"));
      return [...$("u-grid").children].map((option) => Number(option.dataset.unit));"""
    shown = window.run(set_, "u-sort", "selectivity")
    found = [facts["selectivity"][u] for u in shown]
    assert found == sorted(found, reverse=True)
    assert len(found) == 17
    assert window.run(set_, "u-filter", "dead") == dead
    window.run(set_, "u-sort", "number")
    label = max(range(10), key=lambda c: sum(row.count(c) for row in of_unit))
    shown = window.run(set_, "u-filter", str(label))
    counts = [of_unit[u].count(label) for u in shown]
    assert counts == sorted(counts, reverse=True)
    assert set(shown) == {
        u for u in range(17) if of_unit[u].count(label) >= 3 and u not in dead
    }


def test_a_unit_stays_beside_another_and_in_the_address(at):
    window = at("#units/conv2/3")
    titles = (
        "return [...document.querySelectorAll('.panel:not([hidden]) h2')]"
        ".map((title) => title.textContent)"
    )
    window.click("#u-pin")
    window.click("#u-next")
    assert window.run(titles) == ["conv2, unit 4", "conv2, unit 3"]
    press(window, "ArrowRight", shift=True)
    address = window.run(HASH)
    assert address == "#units/conv3/0/pictures/1/conv2/3/1"
    window.run("await new Promise((go) => setTimeout(go, 450))")
    window.click("#u-unpin")
    assert window.run(HASH) == "#units/conv3/0/pictures/1"
    assert window.run("return document.querySelectorAll('.panel')[1].hidden")
    window.run("history.back()")
    window.wait(f"location.hash === '{address}' && {READY}")
    assert window.run(titles)[1:] == ["conv2, unit 3"]
    at("#units/conv1/2/guided/4/conv22/99/x")
    assert window.run(HASH) == "#units/conv1/2/guided/4/conv2/16/1"
    assert window.run(titles) == ["conv1, unit 2", "conv2, unit 16"]
    said = window.run("return $('u-said').textContent")
    assert "no layer conv22, this is conv2; there is no patch x" in said
    assert "no unit 99" in said


def test_runs_are_drawn_when_they_are_opened(at):
    window = at("#runs")
    window.wait("document.querySelector('#part-runs img').naturalWidth > 0")
    assert (
        len(window.run("return [...document.querySelectorAll('[data-packed]')]")) == 4
    )
    window.click(".run summary")
    window.wait("document.querySelectorAll('[data-packed]').length === 2")


@pytest.mark.parametrize("width, dark", [(1280, False), (390, True)])
def test_it_fits_the_window_and_the_finger(page, tmp_path, width, dark):
    if not (browsers.CHROMIUM and browsers.DRIVER):
        pytest.skip(browsers.MISSING)
    with browsers.Browser(tmp_path / "profile", width, 844, dark) as window:
        window.open(page.as_uri() + "#units/conv2/3")
        window.wait(READY)
        bottom = "return document.querySelector('.nine').getBoundingClientRect().bottom"
        assert window.run(bottom) < 844  # the patches, in the first screen
        assert window.run("return document.documentElement.scrollHeight") < 4000
        for part in ("units", "microscope", "tables", "runs", "reading"):
            window.click(f"#parts [data-part={part}]")
            assert window.run("return document.documentElement.scrollWidth") <= width
            narrow = window.run(
                """
                const some = "button, .button, select, [role=option], summary, nav a";
                return [...document.querySelectorAll(some)].filter((target) => {
                  const { width, height } = target.getBoundingClientRect();
                  return width && (width < 44 || height < 44);
                }).map((target) => target.outerHTML.slice(0, 80));"""
            )
            assert narrow == []
        assert window.console() == []


def test_any_model_and_a_folder_of_photographs(tmp_path):
    keras.utils.set_random_seed(1)
    layers = keras.layers
    inner = keras.Sequential(
        [
            keras.Input((48, 64, 3)),
            layers.Conv2D(6, 3, padding="same", name="conv1"),
            layers.BatchNormalization(),
            layers.ReLU(),
        ],
        name="stem",
    )
    image = keras.Input((48, 64, 3))
    x = inner(image)
    x = layers.Add()([x, layers.Conv2D(6, 3, padding="same", name="conv2")(x)])
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    model = keras.Model(image, layers.Dense(2)(x), name="mine")
    draw = np.random.default_rng(0)
    for i in range(14):
        folder = tmp_path / "photos" / ("cat", "dog")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 256, (60, 90, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    path = gallery.write_model(
        tmp_path / "page.html",
        *(model, tmp_path / "photos", "white:1"),
        units=4,
        progress=False,
    )
    reader = Reader(path.read_text())
    shell = json.loads(reader.scripts["shell"])
    assert shell["live"] == []
    assert shell["classes"] == ["cat", "dog"]
    assert "does not run in this page" in reader.text  # it branches
    assert "part-runs" not in [a.get("id") for a in reader.sections]
    assert [one["name"] for one in shell["layers"]] == ["stem/conv1", "conv2"]
    facts = json.loads(reader.scripts["data-stem/conv1"])
    assert facts["channel"] == [0, 2, 3, 5]
    atlas = json.loads(reader.scripts["u-images"])
    first = "0.png", "10.png", "12.png"  # of the cats, by name
    assert tuple(atlas["name"][:3]) == first
    if not (browsers.CHROMIUM and browsers.DRIVER):
        pytest.skip(browsers.MISSING)
    with browsers.Browser(tmp_path / "profile") as window:
        window.open(path.as_uri() + "#units/stem%2Fconv1/3")
        window.wait(READY)
        assert window.run(TITLE) == "stem/conv1, unit 3"
        window.open(path.as_uri())
        window.wait(READY)
        assert window.run("return place.part") == "units"
        assert window.console() == []


def test_a_chain_of_ones_own_runs_in_the_page(tmp_path):
    net = network().model
    (tmp_path / "photos").mkdir()
    for i in range(9):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 32, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    path = gallery.write_model(
        tmp_path / "page.html",
        *(net, tmp_path / "photos", "tf"),
        layers=["conv2"],
        progress=False,
    )
    if not (browsers.CHROMIUM and browsers.DRIVER):
        pytest.skip(browsers.MISSING)
    with browsers.Browser(tmp_path / "profile") as window:
        window.open(path.as_uri())
        window.wait("answer")
        found = window.run("return [...answer.probabilities]")
        middle = np.random.default_rng(0).integers(0, 256, (40, 32, 3), np.uint8)[4:36]
        expected = net.predict(middle[None] / 127.5 - 1, verbose=0)[0]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        assert window.console() == []


def test_a_model_of_which_a_rule_says_nothing_has_its_gradient_where_it_is_asked(
    tmp_path,
):
    (tmp_path / "photos").mkdir()
    for i in range(9):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    smooth = keras.layers.Conv2D(1, 3, activation="tanh")
    head = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    net = keras.Sequential([keras.Input((8, 8, 3)), smooth, *head])
    arguments = (tmp_path / "page.html", net, tmp_path / "photos", "tf")
    with pytest.raises(ValueError, match="--no-strict"):
        gallery.write_model(*arguments, progress=False)
    path = gallery.write_model(*arguments, strict=False, progress=False)
    assert path.stat().st_size > 50_000


def test_refusals_of_a_model(tmp_path):
    (tmp_path / "photos").mkdir()
    any_size = keras.Sequential(
        [keras.Input((None, None, 3)), keras.layers.Conv2D(1, 3)]
    )
    for model, words in [
        (any_size, "of known size"),
        (keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()]), "no conv"),
        (network().model, "holds neither"),
    ]:
        with pytest.raises(ValueError, match=words):
            gallery.write_model(tmp_path / "x.html", model, tmp_path / "photos", "tf")
    assert not (tmp_path / "x.html").exists()
