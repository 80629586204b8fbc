"""The engine, against the explicit pass, slow loops and numbers typed in."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, seed, settings, strategies as st
from keras import layers, ops

from allconv.saliency import reverse_pass
from allconv.saliency.explainer import Explainer, backprop, explain
from allconv.saliency.neurons import paths
from allconv.saliency.rules import RULES, Rule
from tests.nets import (
    MODELS,
    chain,
    functional,
    images,
    sequential,
    with_weights_of,
)
from tests.saliency.test_reverse_pass import GOLD, gold_network

pytestmark = pytest.mark.usefixtures("same_weights")

# --- the rules, one rectifier at a time -----------------------------------------------

UNITS = {
    "relu": (layers.ReLU(), lambda x: x > 0),
    "relu6": (layers.ReLU(max_value=6), lambda x: 0 < x < 6),
    "capped": (layers.ReLU(max_value=2.5), lambda x: 0 < x < 2.5),
    "leaky": (layers.LeakyReLU(0.25), lambda x: 1 if x > 0 else 0.25),
    "slope": (layers.ReLU(negative_slope=0.5), lambda x: 1 if x > 0 else 0.5),
    "threshold": (layers.ReLU(threshold=1.1), lambda x: x > 1.1),
    "both ends": (layers.ReLU(threshold=1.1, max_value=2.5), lambda x: 1.1 < x < 2.5),
    "maximum": (layers.Lambda(lambda x: tf.maximum(x, 0.1)), lambda x: x > 0.1),
    "minimum": (layers.Lambda(lambda x: ops.minimum(0.3, x)), lambda x: x < 0.3),
    "where": (
        layers.Lambda(lambda x: tf.where(x <= 0, tf.zeros_like(x), x)),
        lambda x: x > 0,
    ),
}


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("rule", [*RULES, Rule(forward=False, gradient=False)])
def test_rule_of_each_rectifier(unit, rule):
    """R * f'(x) ^ forward * [R > 0] ^ gradient, in a loop."""
    layer, slope = UNITS[unit]
    model = chain(layer, layers.Dense(2, use_bias=False), size=5, channels=3)
    x = 3 * images(size=5)
    rule = RULES.get(rule, rule)
    maps = explain(model, x, rule, channel=1, position="all")
    signal = model.layers[-1].kernel.numpy()[:, 1]
    expected = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        R = signal[index[-1]]
        if rule.gradient and R < 0:
            R = 0
        expected[index] = R * slope(x[index]) if rule.forward else R
    np.testing.assert_allclose(maps, expected, rtol=1e-6)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("route", ["switch", "centre", "spread"])
def test_pool_routes_against_the_explicit_pass(route, padding):
    model = chain(
        layers.ReLU(), layers.MaxPooling2D((3, 2), (2, 1), padding), layers.Dense(4)
    )
    for name, rule in RULES.items():
        rule = Rule(rule.forward, rule.gradient, route)
        engine = explain(model, images(), rule, channel=2, position="all")
        explicit = reverse_pass.reverse(
            model, images(), name, channel=2, position="all", pool=route
        )
        np.testing.assert_allclose(engine, explicit, atol=1e-6)


# --- two implementations --------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_gold(rule):
    model, image = gold_network()
    maps = explain(model, image, rule, target=0)
    np.testing.assert_array_equal(maps[0, ..., 0], GOLD[rule])


def built(rows):
    """The model; None where a map is empty: Keras up to 3.14 lets a pooling end so."""
    try:
        model = keras.Sequential(rows)
    except ValueError:
        return None
    sizes = [size for layer in model.layers for size in layer.output.shape[1:]]
    return model if min(sizes) > 0 else None


def random_network(draw):
    """A random chain of at most four convolutions, and images for it.

    Images, weights and biases are multiples of 1/8, so that sums are exact in float32
    whatever their order: a rectifier cannot differ by a rounding, and exact ties and
    zeros, where the two passes must agree on more than a number, do occur.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.integers(7, 11))
    rows, channels = [keras.Input((size, size, 2))], 2
    for depth in range(draw(st.integers(1, 4))):
        dilation = draw(st.sampled_from([1, 1, 1, 2]))
        groups = draw(st.sampled_from([1, 1, channels])) if channels < 7 else 1
        fused = draw(st.booleans())
        options = {
            "kernel_size": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
            "strides": 1 if dilation > 1 else draw(st.sampled_from([1, 1, 2])),
            "padding": draw(st.sampled_from(["same", "same", "valid"])),
            "dilation_rate": dilation,
            "activation": "relu" if fused else None,
            "name": f"conv{depth}",
        }
        if draw(st.integers(0, 5)) == 0 and dilation == 1:
            rows.append(layers.DepthwiseConv2D(**options))
        else:
            channels = groups * draw(st.integers(1, 3))
            rows.append(layers.Conv2D(channels, groups=groups, **options))
        if not fused:
            rows.append(layers.ReLU(name=f"relu{depth}"))
        extra = draw(st.sampled_from(["none", "none", "max", "max", "average", "pad"]))
        if extra == "pad":
            rows.append(layers.ZeroPadding2D(((1, 0), (0, 2))))
        elif extra != "none":
            pool = layers.MaxPooling2D if extra == "max" else layers.AveragePooling2D
            window = draw(st.sampled_from([(2, 2), (3, 2), (3, 1), (2, 1)]))
            rows.append(pool(*window, padding=draw(st.sampled_from(["same", "valid"]))))
    head = draw(st.sampled_from(["map", "average", "dense"]))
    if head == "average":
        rows += [layers.Conv2D(3, 1), layers.GlobalAveragePooling2D()]
    elif head == "dense":
        rows += [layers.Flatten(), layers.Dense(3, activation="softmax")]
    rows = list(rows)
    while (model := built(rows)) is None:  # a small map has no room for the last layers
        rows.pop()

    def eighths(shape):
        return (np.round(8 * rng.normal(size=shape)) / 8).astype("float32")

    model.set_weights([eighths(w.shape) for w in model.get_weights()])
    return model, eighths((2, size, size, 2))


@pytest.mark.parametrize("piece", range(4))
def test_engine_agrees_with_explicit_pass(piece):
    """All three rules on 4 times 30 random networks, to 1e-5 of the largest value."""

    @seed(piece)
    @settings(deadline=None, max_examples=30, database=None)
    @given(st.data())
    def agree(data):
        model, x = random_network(data.draw)
        rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
        if len(model.output_shape) == 2:
            neuron = {"channel": int(rng.integers(model.output_shape[-1]))}
        else:
            position = ["max", "all", tuple(rng.integers(model.output_shape[1:3]))]
            neuron = {"channel": None, "position": position[rng.integers(3)]}
        for rule in RULES:
            engine = explain(model, x, rule, **neuron)
            explicit = reverse_pass.reverse(model, x, rule, **neuron)
            scale = np.abs(explicit).max() or 1
            np.testing.assert_allclose(engine / scale, explicit / scale, atol=1e-5)

    agree()


# --- every way to write a model -------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", MODELS)
def test_every_way_to_write_a_model_gives_one_map(kind, rule, reference):
    model = with_weights_of(MODELS[kind], reference)
    before = state_of(model)
    explainer = Explainer(model, rule, image_shape=(8, 8, 3))
    maps = explainer(images(), target=[0, 2])
    expected = [
        reverse_pass.reverse(reference, images()[i : i + 1], rule, channel=target)[0]
        for i, target in enumerate([0, 2])
    ]
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-5)
    assert len(explainer.audit.rectifiers) == len(explainer.audit.treated) == 2
    assert state_of(model) == before


def state_of(model):
    """What an explanation must leave alone, to the bit."""
    return (
        [w.tobytes() for w in model.get_weights()],
        [
            sorted(vars(layer))
            for layer in (model, *(layer for _, layer in paths(model)))
        ],
        list(model.losses),
        np.asarray(model(images())).tobytes(),
        tf.config.functions_run_eagerly(),
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy, reference):
    keras.config.set_dtype_policy(policy)
    try:
        model = with_weights_of(functional, reference)
    finally:
        keras.config.set_dtype_policy("float32")
    for rule in RULES:
        maps = explain(model, images(), rule, target=1)
        exact = explain(reference, images(), rule, target=1)
        assert maps.dtype == np.float32
        correlation = np.corrcoef(maps.ravel(), exact.ravel())[0, 1]
        assert correlation > 0.99


@pytest.mark.parametrize(
    "name, rectifiers", [("VGG16", 15), ("ResNet50", 49), ("MobileNetV2", 35)]
)
def test_keras_applications(name, rectifiers):
    build = getattr(keras.applications, name)
    model = build(weights=None, input_shape=(32, 32, 3), classes=5)
    explainer = Explainer(model, "guided")
    assert str(explainer.audit).startswith(
        f"{rectifiers} of {rectifiers} rectifiers guided"
    )
    assert explainer(images(1, 32)).any()


def test_backprop_is_the_gradient(reference):
    logits = keras.Model(reference.inputs[0], reference.layers[-2].output)
    dense = reference.layers[-1]
    x = tf.constant(images())
    with tf.GradientTape() as tape:
        tape.watch(x)
        score = (logits(x) @ dense.kernel + dense.bias)[:, 1]
    maps = backprop(reference, images(), target=1)
    np.testing.assert_allclose(maps, tape.gradient(score, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pack", [list, tuple, lambda x: {"images": x[0]}])
def test_structured_inputs(pack, reference):
    inputs = keras.Input((8, 8, 3), name="images")
    model = keras.Model(pack([inputs]), reference(inputs))
    np.testing.assert_array_equal(
        explain(model, images(), target=1), explain(reference, images(), target=1)
    )


# --- tracing, training, memory --------------------------------------------------------


class Counting(keras.Model):
    """Counts how often it is run in Python, which is how often it is traced."""

    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(4, 3, activation="relu")
        self.dense = layers.Dense(10, activation="softmax")
        self.traced = 0

    def call(self, x):
        self.traced += 1
        return self.dense(layers.Flatten()(self.conv(x)))


def test_one_trace_for_any_call_class_and_batch():
    model = Counting()
    model(images())
    model.traced = 0
    explainer = Explainer(model, image_shape=(8, 8, 3), batch_size=4)
    for n in (1, 4, 6, 11):
        for target in (None, 0, 9, list(range(n)) if n < 10 else None):
            assert explainer(images(n), target=target).shape == (n, 8, 8, 3)
    assert model.traced == 2  # one trace, and one look at the output of every layer
    assert explainer(images(0)).shape == (0, 8, 8, 3)


def test_batches_do_not_matter(reference):
    x = images(7)
    whole = explain(reference, x, target=1, batch_size=7)
    parts = explain(reference, x, target=1, batch_size=3)
    np.testing.assert_allclose(whole, parts, rtol=1e-4, atol=1e-6)


def test_explanations_follow_training():
    model = sequential()
    explainer = Explainer(model, "guided")
    before = explainer(images(), target=0)
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    model.fit(images(), np.array([0, 1]), epochs=2, verbose=0)
    after = explainer(images(), target=0)
    assert np.abs(after - before).max() > 1e-4
    np.testing.assert_array_equal(after, explain(model, images(), target=0))


def test_nothing_stays_behind():
    model = chain(
        layers.Conv2D(2, 3, activation="relu", activity_regularizer="l2"),
        layers.Dropout(0.5),
        layers.Flatten(),
        layers.Dense(2),
    )
    explain(model, images())
    model(images())
    assert all(not tf.is_symbolic_tensor(loss) for loss in model.losses)
    alive = weakref.ref(model)
    del model
    keras.backend.clear_session()
    gc.collect()
    assert alive() is None


# --- bad input ------------------------------------------------------------------------


def test_bad_images(reference):
    x = images()
    for bad, message in [
        (x.astype("uint8"), "floating point, preprocessed .* Received: dtype=uint8"),
        (x[0], r"One image is images\[None\]. Received: \(8, 8, 3\)"),
        (x[0, 0], r"shape \(n, height, width, channels\). Received: \(8, 3\)"),
        (x[..., :1], r"takes images of shape \(8, 8, 3\). Received: \(8, 8, 1\)"),
        (np.where(x == x.max(), np.nan, x), "NaN or infinity in image"),
        (np.full_like(x, np.inf), r"image 0 \(2 of 2 images\)"),
        (None, "floating point"),
    ]:
        with pytest.raises(ValueError, match=message):
            explain(reference, bad)
    with pytest.raises(ValueError, match=r"of shape \(n, 8, 8, 3\). Received: \(2, 9"):
        Explainer(reference)(images(size=9))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"rule": "grad"}, "one of backprop, deconvnet, guided or a Rule"),
        ({"layer": "conv9"}, "no layer 'conv9'. Its layers: .*conv1"),
        ({"layer": "conv1", "channel": 4}, "integer from 0 to 3"),
        ({"layer": "conv1", "channel": -1}, "integer from 0 to 3"),
        ({"layer": "conv1", "channel": 1.0}, "integer from 0 to 3"),
        ({"layer": "conv1", "channel": [1, 2, 3]}, "one for each of 2 images"),
        ({"layer": "conv1", "target": 1}, "in a layer, use `channel`"),
        ({"channel": 0, "target": 1}, "stands alone"),
        ({"target": 3}, "`target` should be an integer from 0 to 2"),
        ({"layer": "conv1", "position": (8, 0)}, r"in a map \(8, 8\)"),
        ({"layer": "conv1", "position": "centre"}, "should be 'max', 'all' or"),
        ({"position": (0, 0)}, r"they have no \(row, column\)"),
        ({"seed": 2}, "`seed` should be one of one, activation"),
        ({"batch_size": 0}, "`batch_size` should be an integer from 1"),
        ({"rule": ["guided"]}, "`rule` should be a text or a Rule"),
        ({"of": [0]}, "`of` should be"),
        ({"output": [0]}, "`output` should be"),
        ({"layer": "conv1", "output": 0}, "`output` is for .* give one of the two"),
    ],
)
def test_bad_arguments(arguments, message, reference):
    with pytest.raises(ValueError, match=message) as error:
        explain(reference, images(), **arguments)
    assert "\n" not in str(error.value)


def test_bad_models():
    with pytest.raises(ValueError, match=r"should be a Keras model. .*'vgg16'"):
        explain("vgg16", images())
    with pytest.raises(ValueError, match="has no weights yet"):
        explain(Counting(), images())
    two = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))]
    with pytest.raises(ValueError, match=r"`of` should be one of .* 2 inputs"):
        explain(keras.Model(two, layers.add(two)), images())
    with pytest.raises(ValueError, match="should take images"):
        explain(keras.Sequential([keras.Input((4,)), layers.Dense(2)]), images())
    one = keras.Input((8, 8, 3))
    conv, pool = layers.Conv2D(1, 1, activation="relu"), layers.Flatten()
    with pytest.raises(ValueError, match=r"`output` should be one of .* 2 outputs"):
        explain(keras.Model(one, [conv(one), pool(one)]), images())
    anywhere = keras.Input((None, None, 3))
    model = keras.Model(anywhere, layers.Conv2D(2, 3, activation="relu")(anywhere))
    with pytest.raises(ValueError, match="any size: give `image_shape`"):
        Explainer(model)
    assert explain(model, images(size=9)).any()
    whole = keras.Input((8, 8, 3), dtype="uint8")
    counted = keras.Model(whole, layers.ReLU()(layers.Rescaling(1.0)(whole)))
    with pytest.raises(ValueError, match="of dtype uint8, through which no gradient"):
        explain(counted, images())
    with pytest.raises(ValueError, match="`pool` should be one of switch, centre"):
        Rule(True, True, "max")
