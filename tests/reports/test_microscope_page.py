"""The page holds what was given, nothing from elsewhere, and answers a person."""

import io
import json
import re
import shutil
import subprocess
import zlib

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image, ImageOps

from allconv.data import datasets
from allconv.data.preprocessing import MeanPixel, MeanStd
from allconv.networks import weights
from allconv.networks.classifier import Classifier
from allconv.reports.microscope import page
from allconv.reports.microscope.__main__ import main
from allconv.reports.sources import of_network
from allconv.saliency.explainer import explain
from tests.reports import browser as browsers
from tests.reports.test_packed import unpacked


def small(values=None, dataset="shapes", architecture="small"):
    """A network of two convolutions; `values` fills its kernels."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(5, 3, padding="same", activation="relu", name="conv1"),
            layers.Conv2D(10, 1, activation="relu", name="conv2"),
            layers.GlobalAveragePooling2D(name="scores"),
            layers.Activation("softmax"),
        ]
    )
    if values is not None:
        model.set_weights([np.full(w.shape, values) for w in model.get_weights()])
    meta = {"dataset": dataset, "architecture": architecture, "error": 12.5}
    preprocessor = MeanStd(np.full(3, 120, "float32"), np.full(3, 60, "float32"))
    return Classifier(model, preprocessor, meta)


def facts_of(text):
    found = re.search(
        r'<script type="application/json" id="facts">(.*?)</script>', text
    )
    return json.loads(found[1])


def blob_of(text, name, dtype):
    found = re.search(rf'id="{name}">(.*?)</script>', text)
    planes = np.frombuffer(zlib.decompress(unpacked(found[1])), np.uint8)
    return planes.reshape(np.dtype(dtype).itemsize, -1).T.copy().view(dtype).ravel()


def test_the_mean_of_each_pixel_is_a_preprocessing_of_the_page(tmp_path):
    mine = small()
    mean = np.random.default_rng(0).uniform(90, 130, (32, 32, 3)).astype("float32")
    mine = Classifier(mine.model, MeanPixel(mean), mine.meta)
    text = page.write(tmp_path / "m.html", [mine]).read_text()
    told = facts_of(text)["networks"][0]["preprocessing"]
    assert told["kind"] == "mean_pixel"
    found = blob_of(text, told["arrays"]["mean"], "float32")
    np.testing.assert_array_equal(found, mean.ravel())


@pytest.mark.parametrize("value, dtype", [(0.25, "float16"), (0.1, "float32")])
def test_weights_are_halved_only_where_that_is_exact(tmp_path, value, dtype):
    path = page.write(tmp_path / "m.html", [small(value)])
    weights = facts_of(path.read_text())["networks"][0]["weights"]
    assert weights["half"] == (dtype == "float16")
    values = blob_of(path.read_text(), weights["blob"], dtype)
    assert len(values) == small().model.count_params()
    assert set(values) == {np.dtype(dtype).type(value)}


def test_images_are_of_all_classes_and_equal_arrays_travel_once(tmp_path):
    text = page.write(tmp_path / "m.html", [small(0.5), small(0.5)]).read_text()
    first, second = facts_of(text)["networks"]
    assert first == second
    assert len(re.findall('id="blob-', text)) == 4  # weights, mean, std, images
    _, (images, labels) = datasets.load("shapes")
    names = first["images"]["names"]
    numbers = [int(name.rpartition(" ")[2]) for name in names]
    sent = blob_of(text, first["images"]["blob"], "uint8")
    np.testing.assert_array_equal(sent.reshape(-1, 32, 32, 3), images[numbers])
    assert first["images"]["labels"] == labels[numbers].tolist()
    classes = datasets.CLASS_NAMES["shapes"]
    assert names[0] == f"{classes[labels[numbers[0]]]}, test image {numbers[0]}"
    assert np.bincount(labels[numbers]).tolist() == [6] * 10


def test_whole_numbers_arrive_as_they_were(browser, classifiers):
    mean, rows = classifiers["all_cnn_c"].preprocessor.compact().values()
    matrix = np.zeros((len(mean),) * 2, np.int16)
    matrix[np.triu_indices(len(mean))] = rows
    half = np.concatenate([np.diagonal(matrix, k) for k in range(len(mean))])
    assert half.min() < -1000 < 1000 < half.max()
    sums = browser.run(
        """
        const { half } = facts.networks[0].preprocessing.arrays;
        const found = await unpack(half, Int16Array);
        return [found.length, [...found.slice(0, 99)],
          found.reduce((sum, v, i) => (sum * 31 + v + 65536) % 1000003, 0)];"""
    )
    expected = 0
    for v in half.tolist():
        expected = (expected * 31 + v + 65536) % 1000003
    assert sums == [len(half), half[:99].tolist(), expected]


def test_without_the_data_it_says_so(tmp_path):
    path = page.write(tmp_path / "m.html", [small(0.5, "cifar10")], tmp_path)
    (network,) = facts_of(path.read_text())["networks"]
    assert "CIFAR-10 was not on the machine" in network["about"]
    assert network["images"]["labels"] is None  # a shape is of no class of CIFAR-10


def test_nothing_is_loaded_from_elsewhere_and_no_text_is_markup(tmp_path):
    evil = "</script><script>fail('ran')</script>"
    path = page.write(tmp_path / "m.html", [small(0.5, architecture=evil)])
    text = path.read_text()
    assert evil not in text
    assert facts_of(text)["networks"][0]["title"] == evil
    assert "default-src 'none'" in text
    sources = r"(arxiv\.org/abs/[\d.]+|doi\.org/10\.[\w./]+)"
    papers = rf'<a href="https://{sources}" rel="noreferrer">'
    text = re.sub(papers, "", text)  # links, which a person may follow
    addresses = re.findall(r"""(?:src|href)\s*=\s*["'](?!\$)([^"']*)""", text)
    assert set(addresses) == {"data:,"}
    assert "http:" not in text
    assert "https:" not in text


def test_a_page_of_nothing_or_of_another_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a network at least"):
        page.write(tmp_path / "m.html", [])
    model = keras.Sequential(
        [keras.Input((16, 16, 3)), layers.GlobalAveragePooling2D()]
    )
    other = Classifier(model, small().preprocessor, small().meta)
    large = small()
    large.meta["image_size"] = 224
    with pytest.raises(ValueError, match=r"too large to be kept: .* export"):
        page.write(tmp_path / "m.html", [large])
    with pytest.raises(ValueError, match=r"too large to be kept: .* export"):
        of_network(large, None)
    with pytest.raises(ValueError, match=r"\(32, 32, 3\)"):
        page.write(tmp_path / "m.html", [other])
    assert not list(tmp_path.iterdir())


def test_the_command_writes_a_page_and_refuses_in_a_line(tmp_path, capsys):
    path = tmp_path / "m.html"
    file = weights.released("model_a", "cifar10")
    main(["-o", str(path), "--weights", str(file), "--data-dir", str(tmp_path)])
    assert capsys.readouterr().out == f"{path}: {path.stat().st_size / 1e6:.1f} MB\n"
    assert facts_of(path.read_text())["networks"][0]["title"] == "model_a"
    with pytest.raises(SystemExit):
        main(["-o", str(path), "--weights", str(tmp_path / "none.h5")])
    assert capsys.readouterr().err.count("\n") <= 4  # the usage, and one line


def test_the_kernels_are_what_their_source_compiles_to(tmp_path):
    clang = shutil.which("clang")
    if not clang or not shutil.which("wasm-ld"):
        pytest.skip("there is no clang with wasm-ld to compile the kernels")
    said = subprocess.run([clang, "--version"], capture_output=True, text=True).stdout
    if "version 14." not in said:
        pytest.skip(f"the kernels were made with clang 14, not {said.splitlines()[0]}")
    made = tmp_path / "kernels.wasm"
    subprocess.run([page.FOLDER / "build.sh", made], check=True)
    assert made.read_bytes() == (page.FOLDER / "kernels.wasm").read_bytes()


def test_classes_have_colours_that_differ():
    assert len(set(page.COLOURS)) == 10
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in page.COLOURS)


def middle(image):
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def photo(size):
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (9, 7, 3)).astype("uint8"))
    return picture.resize(size, Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    "name, size, turned, tolerance",
    [
        ("wide.png", (67, 50), 1, 0),
        (
            "tall.png",
            (160, 171),
            1,
            0,
        ),  # five to one: means of blocks, and nothing else
        ("large.png", (1131, 903), 1, 0),
        ("tiny.png", (20, 19), 1, 0),  # enlarged
        ("turned.jpg", (120, 90), 6, 3),  # decoders differ by some levels
    ],
)
def test_a_photo_is_turned_cropped_and_shrunk_as_pillow_does(
    browser, microscope, tmp_path, name, size, turned, tolerance
):
    exif = Image.Exif()
    exif[0x0112] = turned
    photo(size).save(tmp_path / name, quality=98, subsampling=0, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(tmp_path / name)).convert("RGB")
    browser.open(microscope.as_uri())
    browser.wait("answer")
    browser.type("#file", str(tmp_path / name))
    browser.wait(f"$('image-title').textContent === '{name}'")
    found = np.reshape(browser.run("return [...pixels]"), (32, 32, 3))
    expected = middle(upright).resize(
        (32, 32), Image.Resampling.LANCZOS, reducing_gap=1.0
    )
    assert np.abs(found - np.asarray(expected, int)).max() <= tolerance
    assert browser.run("return location.hash").endswith("/own")


def test_a_whole_number_of_pixels_is_averaged(fresh):
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 4))
    script = "return [...shrink(given[0].flat(2), 96, 32)]"
    found = np.reshape(fresh.run(script, pixels.tolist()), (32, 32, 3))
    blocks = pixels[..., :3].reshape(32, 3, 32, 3, 3).mean((1, 3))
    assert np.abs(found - blocks).max() < 0.56  # 5 / 9 is rounded down by Pillow, too


def test_a_photo_is_dropped_and_what_is_none_is_refused(fresh):
    drop = """
        const files = new DataTransfer();
        files.items.add(new File([new Uint8Array(given[0])], given[1]));
        dispatchEvent(new DragEvent("drop", { dataTransfer: files, cancelable: true }));
    """
    file = io.BytesIO()
    photo((40, 50)).save(file, "PNG")
    fresh.run(drop, list(file.getvalue()), "mine.png")
    fresh.wait("$('image-title').textContent === 'mine.png'")
    fresh.run(drop, [1, 2, 3], "text.txt")
    fresh.wait("$('state').textContent.includes('text.txt is no picture')")
    assert fresh.run("return $('image-title').textContent") == "mine.png"


@pytest.fixture
def fresh(browser, microscope):
    """The page as a visitor finds it."""
    browser.open("about:blank")
    browser.console()
    browser.open(microscope.as_uri() + "#all_cnn_c/conv6/12/2,5/4")
    browser.wait("answer")
    yield browser
    assert browser.console() == []


SETTLE = "await new Promise((go) => setTimeout(go, 30)); while (asking) " + (
    "await new Promise((go) => setTimeout(go, 10));"
)


def test_an_address_is_followed_and_kept(fresh):
    assert fresh.run("return $('unit-title').textContent") == "conv6, unit 12"
    assert fresh.run("return [view.image, answer.neuron.cell]") == [4, [2, 5]]
    fresh.click("#tabs button:nth-child(3)")
    fresh.run(SETTLE)
    assert fresh.run("return location.hash").startswith("#all_cnn_c/conv3/strongest/")
    fresh.run("history.back()")
    fresh.wait("layerOf().name === 'conv6' && !asking")
    assert fresh.run("return [view.unit, view.cell, view.image]") == [12, [2, 5], 4]


def test_a_wrong_address_goes_to_the_nearest_right_one_and_says_so(fresh):
    said = "return $('said').hidden ? '' : $('said').textContent"
    assert fresh.run(said) == ""
    for wrong, shown, words in [
        ("#model_d/conv5", "#model_c/conv5/strongest/strongest/0", "network model_d"),
        ("#all_cnn_c/conv66/12", "#all_cnn_c/conv6/12/strongest/0", "layer conv66"),
        ("#all_cnn_c/conv6/999", "#all_cnn_c/conv6/191/strongest/0", "unit 999"),
        ("#all_cnn_c/conv6/1/9,2", "#all_cnn_c/conv6/1/7,2/0", "row 9"),
        ("#all_cnn_c/conv6/1/x/70", "#all_cnn_c/conv6/1/strongest/59", "image 70"),
        ("#all_cnn_c/%/1", "#all_cnn_c/conv1/1/strongest/0", "layer %"),
    ]:
        fresh.run(f"location.hash = '{wrong}'")
        fresh.run("await new Promise((go) => setTimeout(go, 100))")
        fresh.wait("!going && !asking")
        assert fresh.run("return location.hash") == shown
        assert f"there is no {words}, this is" in fresh.run(said)
    fresh.click("#tabs button:nth-child(3)")
    assert fresh.run(said) == ""


def test_a_neuron_is_chosen_by_pointer_and_by_keys(fresh):
    fresh.click("#units > :nth-child(31)")
    fresh.run(SETTLE)
    assert fresh.run("return answer.neuron.unit") == 30
    fresh.click("#map")  # its middle
    fresh.run(SETTLE)
    row, column = fresh.run("return answer.neuron.cell")
    assert {row, column} <= {3, 4}
    fresh.type("#map", "\ue014\ue013")  # arrows right and up
    fresh.run(SETTLE)
    assert fresh.run("return answer.neuron.cell") == [row - 1, column + 1]
    fresh.type("#units > :nth-child(31)", "\ue014")
    fresh.run(SETTLE)
    assert fresh.run("return answer.neuron.unit") == 31
    fresh.type("#tabs [aria-selected=true]", "\ue014")
    fresh.run(SETTLE)
    assert fresh.run("return layerOf().name") == "conv7"
    audits = fresh.run(
        "return [...document.querySelectorAll('#four .audit')]"
        ".map((audit) => audit.textContent)"
    )
    assert audits == [
        "",
        "Audit: 7 of 7 rectifiers backpropagated.",
        "Audit: 7 of 7 rectifiers deconvolved.",
        "Audit: 7 of 7 rectifiers guided.",
    ]
    link = fresh.run("return document.querySelector('#neuron-facts a').href")
    assert link.endswith(
        "/index.html#conv7/" + str(fresh.run("return answer.neuron.unit"))
    )


def test_the_network_answers_while_one_paints(fresh):
    before = fresh.run("return [...answer.probabilities]")
    fresh.click("#tools label:has([value=erase])")
    fresh.click("#image")
    fresh.run(SETTLE)
    changed = fresh.run("return pixels.filter((v, i) => v !== original[i]).length")
    assert 20 < changed <= 48  # a disc of 4 pixels' width
    assert fresh.run("return [...answer.probabilities]") != before
    fresh.click("#tools label:has([value=draw])")
    fresh.run("$('colour').value = '#0102fe'; cursor = [3, 4]")
    fresh.type("#image", "\ue014 ")  # by keys: right, then paint
    fresh.run(SETTLE)
    at = 3 * (3 * 32 + 5)
    assert fresh.run(f"return [...pixels.slice({at}, {at + 3})]") == [1, 2, 254]
    fresh.click("#restore")
    fresh.run(SETTLE)
    assert fresh.run("return [...answer.probabilities]") == before
    assert fresh.run("return $('restore').disabled")


def test_an_image_stays_beside_another_and_in_the_address(fresh):
    kept = "return [kept?.image, $('kept').hidden, $('kept-title').textContent]"
    title = fresh.run("return $('image-title').textContent")
    first = fresh.run("return [...answer.probabilities]")
    fresh.click("#keep")
    fresh.click("#images > :nth-child(8)")
    fresh.run(SETTLE)
    assert fresh.run(kept) == [4, False, f"Beside it: {title}"]
    assert fresh.run("return location.hash") == "#all_cnn_c/conv6/12/2,5/7/4"
    assert fresh.run("return [...kept.answer.probabilities]") == first
    assert fresh.run("return kept.answer.neuron.cell") == [2, 5]
    share = fresh.run("return percent(Math.max(...kept.answer.probabilities))")
    assert share in fresh.run("return $('kept-facts').textContent")
    fresh.click("#strongest button")
    fresh.run(SETTLE)
    units = fresh.run("return [answer.neuron.unit, kept.answer.neuron.unit]")
    assert units[0] == units[1]
    for place, image in (("return [...pixels]", 7), ("return [...kept.pixels]", 4)):
        whole = f"return [...entry.images.pixels.slice({image} * 3072).slice(0, 3072)]"
        assert fresh.run(place) == fresh.run(whole)
    fresh.run("await new Promise((go) => setTimeout(go, 450))")
    fresh.click("#let-go")
    fresh.run(SETTLE)
    assert fresh.run(kept)[:2] == [None, True]
    fresh.run("history.back()")
    fresh.wait("kept?.answer && !asking")
    assert fresh.run(kept)[:2] == [4, False]
    links = "return [...document.querySelectorAll('#strongest a')].map((a) => a.href)"
    for link, unit in zip(
        fresh.run(links),
        fresh.run(
            "return [...document.querySelectorAll('#strongest button')]"
            ".map((button) => button.dataset.number)"
        ),
        strict=True,
    ):
        assert link.endswith(f"index.html#conv6/{unit}")


def test_maps_are_patterns_where_that_is_chosen(fresh, classifiers, tmp_path):
    classifier = classifiers["all_cnn_c"]
    fresh.run("show({ unit: null, cell: null })" + ";" + SETTLE)
    unit, cell, image = fresh.run(
        "return [answer.neuron.unit, answer.neuron.cell, [...pixels]]"
    )
    image = np.uint8(image).reshape(1, 32, 32, 3)
    at_inputs = explain(
        *(classifier.model, classifier.preprocessor(image), "guided"),
        **{"layer": "conv6", "channel": unit, "position": cell},
    )
    text = "per grey level"
    for back in (classifier.preprocessor.pullback, classifier.preprocessor.invert):
        assert text in fresh.run("return $('neuron-facts').textContent")
        found = np.float32(fresh.run("return [...answer.neuron.maps.guided]"))
        expected = back(image, at_inputs).ravel()
        assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()
        fresh.click("#pattern-part")
        fresh.run(SETTLE)
        text = "The whitening of the maps is undone"
    path = page.write(tmp_path / "plain.html", [small()])
    fresh.open(path.as_uri())
    fresh.wait("answer")
    assert fresh.run("return $('pattern-part').hidden")  # nothing was whitened


def test_looking_at_the_image_chooses_the_neuron_there(fresh):
    fresh.run("tool = 'look'; use([31, 0])")
    fresh.run(SETTLE)
    row, column = fresh.run("return answer.neuron.cell")
    assert (row, column) == (7, 0)
    y0, x0, y1, x1 = fresh.run("return fieldOf(answer.neuron.cell)")
    assert y0 <= 31 < y1
    assert x0 <= 0 < x1


def test_classes_votes_and_occlusion(fresh):
    fresh.click("#classes > :nth-child(9)")
    fresh.run(SETTLE)
    assert fresh.run("return $('class-title').textContent") == "Where it sees: ship"
    shape = fresh.run("return answer.classMap.shape")
    mean = fresh.run("return answer.classMap.values.reduce((a, b) => a + b)") / 36
    assert shape == [6, 6]
    assert fresh.run("return answer.scores[8]") == pytest.approx(mean, rel=1e-5)
    assert fresh.run("return $('votes-part').hidden")
    fresh.click("#tabs button:nth-child(8)")
    fresh.run(SETTLE)
    assert fresh.run("return $('votes').children.length") == 10
    fresh.click("#occlude")
    fresh.wait("!$('occlusion').hidden")
    assert "ship lost" in fresh.run("return $('occlusion-about').textContent")
    fresh.click("#images > :nth-child(2)")
    fresh.run(SETTLE)
    assert fresh.run("return $('occlusion').hidden")


def test_votes_are_the_weights_of_the_last_convolution(fresh, classifiers):
    fresh.click("#tabs button:nth-child(8)")
    fresh.run(SETTLE)
    unit, votes = fresh.run("return [answer.neuron.unit, [...answer.votes]]")
    kernel = np.asarray(classifiers["all_cnn_c"].model.get_layer("conv9").kernel)
    np.testing.assert_allclose(votes, kernel[0, 0, unit])


def test_the_webcam_is_answered_live_and_let_go(fresh):
    fresh.click("#camera")
    fresh.wait("camera && $('image-title').textContent === 'Webcam'")
    fresh.run("window.seen = pixels")
    fresh.wait("pixels.some((v, i) => v !== seen[i])")
    assert fresh.run("return $('camera').ariaPressed") == "true"
    fresh.run("window.track = camera.stream.getTracks()[0]")
    fresh.click("#images > :nth-child(3)")
    fresh.run(SETTLE)
    assert fresh.run("return [track.readyState, camera, view.image]") == [
        *("ended", None, 2)
    ]


def test_without_simd_the_kernels_in_javascript_answer_the_same(
    browser, microscope, tmp_path
):
    browser.open(microscope.as_uri())
    browser.wait("answer")
    expected = browser.run("return [...answer.probabilities]")
    text = microscope.read_text()
    path = tmp_path / "plain.html"
    path.write_text(re.sub(r'(id="kernels">)[^<]*', r"\1AAAA", text))
    browser.open(path.as_uri())
    browser.wait("answer")
    assert not browser.run("return entry.compiled")
    found = browser.run("return [...answer.probabilities]")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_a_network_with_pooling_names_its_switches(fresh):
    mixed = fresh.run(
        """
        const drawn = draw, mixed = [];
        draw = () => {
          if (answer.scores.length && ready !== entry) mixed.push(entry.title);
          drawn();
        };
        show({}); // an answer of the first network is on its way meanwhile
        $("network").value = 1;
        $("network").dispatchEvent(new Event("change"));
        while (ready !== facts.networks[1] || !answer || asking)
          await new Promise((go) => setTimeout(go, 5));
        return mixed;"""
    )
    assert mixed == []
    assert fresh.run("return entry.title") == "model_c"
    audit = fresh.run("return answer.neuron.audits.guided")
    assert audit == "5 of 5 rectifiers guided; max-pooling (switch): pool1, pool2"


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_the_window_and_the_finger(microscope, tmp_path, width, dark):
    if not (browsers.CHROMIUM and browsers.DRIVER):
        pytest.skip(browsers.MISSING)
    with browsers.Browser(tmp_path / "profile", width, 844, dark) as window:
        window.open(microscope.as_uri())
        window.wait("answer")
        assert window.run("return document.documentElement.scrollWidth") <= width
        narrow = window.run(
            """
            const some = "button, .button, select, [role=option], fieldset label";
            return [...document.querySelectorAll(some)].filter((target) => {
              const { width, height } = target.getBoundingClientRect();
              return width && (width < 44 || height < 44);
            }).map((target) => target.outerHTML.slice(0, 80));"""
        )
        assert narrow == []
        page_colour = window.run(
            "return getComputedStyle(document.body).backgroundColor"
        )
        assert page_colour == ("rgb(20, 21, 23)" if dark else "rgb(250, 249, 246)")
        unnamed = window.run(
            """
            return [...document.querySelectorAll("[role=img]")]
              .filter((part) => !part.closest("[hidden]") && !part.hidden)
              .filter((part) => !part.getAttribute("aria-label"))
              .map((part) => part.id);"""
        )
        assert unnamed == []
        assert window.console() == []
