"""The page's numbers are Python's: answers, feature maps, three rules, preprocessing.

JavaScript below runs in the page and sees the page's names.
"""

import base64

import keras
import numpy as np
import pytest
from keras import layers

from allconv.data.preprocessing import MeanPixel, MeanStd
from allconv.layers.zfnet_norms import LocalResponseNormalization
from allconv.probes.occlusion import occlude
from allconv.reports.microscope.steps import describe
from allconv.saliency.explainer import Explainer
from tests.reports.browser import Browser

RULES = ("backprop", "deconvnet", "guided")
RELATIVE = 1e-4  # of the largest magnitude of a map
HELP = """
const array = (text, Kind = Float32Array) =>
  new Kind(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
const text = (array) => {
  let out = "";
  for (const byte of new Uint8Array(array.buffer)) out += String.fromCharCode(byte);
  return btoa(out);
};
const module = () =>
  new WebAssembly.Module(array($("kernels").textContent, Uint8Array));
"""


def text(array, dtype="float32"):
    return base64.b64encode(np.ascontiguousarray(array, dtype).tobytes()).decode()


def array(text, shape):
    return np.frombuffer(base64.b64decode(text), np.float32).reshape(shape)


def ask(browser: Browser, model, inputs, neurons, compiled=True):
    """Outputs of all layers, and the three maps of each neuron, from the page."""
    network, values = describe(model)
    answers = browser.run(
        HELP
        + """
        const [network, values, inputs, neurons, compiled] = given;
        const engine = new Engine(network, array(values), compiled ? module() : null);
        return inputs.map((image) => {
          engine.forward(array(image));
          return {
            outputs: network.layers.map((_, i) => text(engine.output(i).values)),
            probabilities: text(engine.probabilities()),
            maps: neurons.map(([layer, channel, position]) =>
              Object.keys(RULES).map((rule) =>
                text(engine.explain(layer, channel, position, rule).map))),
          };
        });""",
        *(network, text(values), [text(x) for x in inputs], neurons, compiled),
    )
    names = [layer["name"] for layer in network["layers"]]
    return names, answers


def assert_close(found, expected):
    limit = RELATIVE * np.abs(expected).max()
    assert np.abs(found.reshape(expected.shape) - expected).max() <= limit


def compare(browser, model, inputs, neurons, compiled=True):
    """Everything the page says of some images against Keras and `saliency`."""
    names, answers = ask(browser, model, inputs, neurons, compiled)
    ends = dict(enumerate(names))
    after = {name: _end(model, name) for name in names}
    outputs = keras.Model(model.inputs[0], [after[name] for name in names])(inputs)
    probabilities = model(inputs)
    # A last layer with a softmax inside: the page has what goes into it.
    fused = names[-1] == model.layers[-1].name and describe(model)[0]["softmax"]
    if fused:
        outputs = outputs[:-1]
    for i, answer in enumerate(answers):
        for found, expected in zip(answer["outputs"], outputs, strict=not fused):
            assert_close(array(found, expected.shape[1:]), np.asarray(expected)[i])
        found = array(answer["probabilities"], probabilities.shape[1:])
        assert_close(found, np.asarray(probabilities)[i])
    explainers: dict = {}
    lit = 0
    for n, (layer, channel, position) in enumerate(neurons):
        if fused and layer == len(names) - 1:
            layer = None
        for r, rule in enumerate(RULES):
            name = None if layer is None else after[ends[layer]]._keras_history[0].name
            if (name, rule) not in explainers:
                explainers[name, rule] = Explainer(model, rule, layer=name)
            where = {} if layer is None else {"position": _python(position)}
            of = "target" if layer is None else "channel"
            maps = explainers[name, rule](inputs, **{of: channel}, **where)
            for i, answer in enumerate(answers):
                found = array(answer["maps"][n][r], maps.shape[1:])
                assert_close(found, maps[i])
                lit += maps[i].any()
    assert lit > len(neurons) * len(inputs)  # most maps show something


def _end(model, name):
    """The output of a layer, or of the rectifier of its own that follows it."""
    following = model.layers[model.layers.index(model.get_layer(name)) + 1 :]
    if following and isinstance(following[0], layers.ReLU | layers.LeakyReLU):
        return following[0].output
    return model.get_layer(name).output


def _python(position):
    return tuple(position) if isinstance(position, list) else position


def neurons_of(model, count, seed):
    """Neurons anywhere: channels and positions at random, some where they are loud."""
    rng = np.random.default_rng(seed)
    network, _ = describe(model)
    out = []
    for n in range(count):
        layer = int(rng.integers(len(network["layers"])))
        shape = model.get_layer(network["layers"][layer]["name"]).output.shape
        position = "max"
        if len(shape) == 4:
            cell = [int(rng.integers(size)) for size in shape[1:3]]
            position = (cell, "max", "all")[n % 3]
        out.append([layer, int(rng.integers(shape[-1])), position])
    return out


@pytest.mark.parametrize("name", ["all_cnn_c", "model_c"])
def test_released_networks_against_python(browser, classifiers, name):
    classifier = classifiers[name]
    pixels = pixels_of(browser, 5)
    neurons = [*neurons_of(classifier.model, 18, seed=3), [None, 3, "all"]]
    neurons.append([None, 8, "all"])
    compare(browser, classifier.model, classifier.inputs(pixels), neurons)


def pixels_of(browser, count):
    """The first images of the page, uint8."""
    sent = browser.run(
        f"{HELP} return text(entry.images.pixels.slice(0, {count} * 3072));"
    )
    return np.frombuffer(base64.b64decode(sent), np.uint8).reshape(-1, 32, 32, 3)


def chain(*stack, shape=(13, 11, 3)):
    keras.utils.set_random_seed(5)
    model = keras.Sequential([keras.Input(shape), *stack])
    rng = np.random.default_rng(5)
    for layer in model.layers:  # biases are 0 otherwise, and nothing would miss them
        if isinstance(layer, layers.Conv2D | layers.Dense) and layer.use_bias:
            layer.bias.assign(rng.normal(0, 0.3, layer.bias.shape))
    return model


def stacks():
    conv, relu = layers.Conv2D, {"activation": "relu"}
    return {
        "strides above the kernel": [
            conv(5, 2, strides=3, **relu),
            conv(9, 3, padding="same", **relu),
        ],
        "uneven kernels and strides": [
            conv(8, (3, 5), strides=(2, 1), padding="same", **relu),
            conv(12, (2, 3), strides=(1, 2), **relu),
        ],
        "winograd on odd maps": [
            conv(8, 3, padding="same", **relu),
            conv(20, 3, **relu),
            conv(8, 3, padding="same", use_bias=False, **relu),
        ],
        "padding of its own": [
            layers.ZeroPadding2D(((2, 1), (0, 3))),
            conv(8, 4, strides=2),
            layers.LeakyReLU(negative_slope=0.2),
            conv(6, 1, **relu),
        ],
        "overlapping pools": [
            conv(8, 3, padding="same", **relu),
            layers.MaxPooling2D(3, 2, padding="same"),
            conv(8, 3, padding="same", **relu),
            layers.MaxPooling2D(2, 1),
        ],
        "average pools": [
            conv(8, 3, padding="same", **relu),
            layers.AveragePooling2D(3, 2, padding="same"),
            conv(8, 3, **relu),
            layers.GlobalAveragePooling2D(),
            layers.Softmax(),
        ],
        "dense layers": [
            conv(8, 3, strides=2, **relu),
            LocalResponseNormalization(bias=1.0, alpha=0.1),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(17, **relu),
            layers.Dropout(0.5),
            layers.Dense(4, activation="softmax"),
        ],
    }


@pytest.mark.parametrize("compiled", [True, False], ids=["wasm", "javascript"])
@pytest.mark.parametrize("name", stacks())
def test_geometries_against_python(browser, name, compiled):
    model = chain(*stacks()[name])
    inputs = np.random.default_rng(1).normal(size=(2, 13, 11, 3)).astype("float32")
    compare(browser, model, inputs, neurons_of(model, 12, seed=0), compiled)


def test_compiled_kernels_equal_those_in_javascript(browser, classifiers):
    model = classifiers["model_c"].model
    inputs = classifiers["model_c"].inputs(pixels_of(browser, 1))
    neurons = neurons_of(model, 6, seed=9)
    (_, [compiled]), (_, [plain]) = (
        ask(browser, model, inputs, neurons, kind) for kind in (True, False)
    )
    pairs = [*zip(compiled["outputs"], plain["outputs"], strict=True)]
    for ours, others in zip(compiled["maps"], plain["maps"], strict=True):
        pairs += zip(ours, others, strict=True)
    for ours, other in pairs:
        a, b = array(ours, -1), array(other, -1)
        assert np.abs(a - b).max() <= 1e-5 * np.abs(b).max()


@pytest.mark.parametrize("compiled", [True, False], ids=["wasm", "javascript"])
@pytest.mark.parametrize(
    "rule, expected",
    [
        ("backprop", {(1, 0): 1, (2, 2): -1, (3, 1): 3}),
        ("deconvnet", {(1, 0): 1, (0, 2): 2, (3, 1): 3}),
        ("guided", {(1, 0): 1, (3, 1): 3}),
    ],
)
def test_each_rule_by_hand(browser, rule, expected, compiled):
    """A rectifier, then 2 x 2 max-pooling; of zeros the first cell is it."""
    image = [[1, -2, -1, -3], [4, 2, -5, -2], [-3, 1, 2, -2], [0, 6, -4, 1]]
    found = browser.run(
        HELP
        + """
        const [image, top, rule, compiled] = given;
        const window = { kernel: [2, 2], strides: [2, 2], pads: [0, 0, 0, 0] };
        const steps = [{ op: "relu", slope: 0 }, { op: "max_pool", ...window }];
        const network = { input: [4, 4, 1], layers: [], steps };
        const none = new Float32Array(0);
        const engine = new Engine(network, none, compiled ? module() : null);
        engine.forward(image.flat());
        engine.floats.set(top.flat(), engine.signals[0] >> 2);
        return [...engine.reverse(1, [0, 0, 2, 2], rule).map];""",
        *(image, [[1, 2], [3, -1]], rule, compiled),
    )
    drawn = np.zeros((4, 4))
    for cell, value in expected.items():
        drawn[cell] = value
    np.testing.assert_array_equal(np.reshape(found, (4, 4)), drawn)


def test_contrast_and_whitening_against_python(browser, classifiers):
    preprocessor = classifiers["all_cnn_c"].preprocessor
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, 32, 32, 3)).astype("uint8")
    pixels[1] = 77  # no contrast at all
    pixels[2, :, :, 1:] //= 20
    maps = rng.normal(size=pixels.shape).astype("float32")
    for compiled in (True, False):
        found = browser.run(
            HELP
            + """
            const [images, maps, compiled] = given;
            const { preprocessing } = facts.networks[0];
            const mean = await unpack(preprocessing.arrays.mean, Float32Array);
            const half = await unpack(preprocessing.arrays.half, Int16Array);
            const whitening = new ContrastAndWhitening(
              preprocessing, mean, half, compiled ? module() : null);
            return images.map((image) => {
              const pixels = array(image, Uint8Array);
              const back = whitening.pullback(pixels, maps.map((map) => array(map)));
              const [one] = whitening.pullback(pixels, [array(maps[0])]);
              const nothing = new Float32Array(3072);
              const plain = whitening.invert(
                pixels, [nothing, ...maps.slice(1).map((map) => array(map))]);
              return [whitening.inputs(pixels), ...back, one, ...plain].map(text);
            });""",
            *([text(x, "uint8") for x in pixels], [text(m) for m in maps], compiled),
        )
        for image, answers in zip(pixels, found, strict=True):
            back = preprocessor.pullback(np.stack([image] * 3), maps)
            plain = preprocessor.invert(np.stack([image] * 3), maps)
            expected = [*preprocessor(image[None]), *back, back[0]]
            expected += [np.zeros_like(plain[0]), *plain[1:]]
            for ours, theirs in zip(answers, expected, strict=True):
                assert_close(array(ours, (32, 32, 3)), theirs)


@pytest.mark.parametrize("of_each_pixel", [False, True])
def test_mean_and_deviation_against_python(browser, of_each_pixel):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (1, 4, 5, 3)).astype("uint8")
    mean, std = np.float32([120, 100, 90]), np.float32([60, 50, 70])
    preprocessor = MeanStd(mean, std)
    if of_each_pixel:
        mean = rng.uniform(90, 130, (4, 5, 3)).astype("float32")
        preprocessor = MeanPixel(mean)
    found = browser.run(
        HELP
        + """
        const [mean, std, image] = given, pixels = array(image, Uint8Array);
        const plain = new MeanAndDeviation(mean, std ?? undefined);
        const [back] = plain.pullback(pixels, [Float32Array.from(pixels)]);
        const [image_like] = plain.invert(pixels, [Float32Array.from(pixels)]);
        return [plain.inputs(pixels), back, image_like].map(text);""",
        *(mean.ravel().tolist(), None if of_each_pixel else std.tolist()),
        text(pixels, "uint8"),
    )
    maps = pixels.astype("float32")
    expected = preprocessor(pixels), preprocessor.pullback(pixels, maps)
    expected += (preprocessor.invert(pixels, maps),)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(array(ours, theirs.shape), theirs, rtol=1e-6)


def test_occlusion_against_python(browser, classifiers):
    pixels = pixels_of(browser, 1)
    found = browser.run(
        HELP
        + """
        (0, eval)($("worker").textContent + "; window.Laboratory = Laboratory");
        const parts = await partsOf(facts.networks[0]);
        const lab = new Laboratory({ ...parts, module: module() });
        const squares = lab.occlude(array(given[0], Uint8Array), given[1]);
        let shares = [], next;
        while (!(next = squares.next()).done) shares.push(next.value);
        return [text(next.value), shares];""",
        *(text(pixels, "uint8"), 3),
    )
    classifier = classifiers["all_cnn_c"]
    expected = occlude(
        *(classifier.model, pixels, 8, 4, 127.5),
        labels=np.array([3]),
        preprocess=classifier.preprocessor,
    ).drop[0]
    assert_close(array(found[0], (32, 32)), expected)
    assert found[1] == pytest.approx(np.arange(1, 82) / 81)


def test_memory_is_flat_over_a_thousand_explanations(browser, classifiers):
    sizes = browser.run(
        HELP
        + """
        const { network, values } = await partsOf(facts.networks[0]);
        const engine = new Engine(network, values, module());
        window.explained = (count) => {
          engine.forward(new Float32Array(3072).fill(1));
          for (let i = 0; i < count; i++)
            engine.explain(i % 9, i % 10, [i % 6, i % 5], Object.keys(RULES)[i % 3]);
          return engine.floats.buffer.byteLength;
        };
        return window.explained(100);"""
    )
    used = [_heap(browser)]
    assert browser.run("return window.explained(1000)") == sizes
    used.append(_heap(browser))
    assert used[1] - used[0] < 1_000_000


def _heap(browser):
    browser.devtools("HeapProfiler.collectGarbage")
    return browser.devtools("Runtime.getHeapUsage")["usedSize"]
