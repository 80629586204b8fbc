"""What an answer of the page costs, beside TensorFlow.js in the same browser.

Claim: in headless Chromium the page's engine takes at most 35 ms of processor time for
the forward pass and the guided map of a class of All-CNN-C, an eighth of what the wasm
backend of TensorFlow.js takes; with a processor four times slower, a whole answer
(preprocessing, forward, three maps on the pixels) takes less than 0.5 s; and memory is
flat over 1,000 explanations.

    npm install --prefix FOLDER @tensorflow/tfjs @tensorflow/tfjs-backend-wasm
    python -m experiments.benchmarks.page --tfjs FOLDER        about 1 minute, 1 core

Both run on one thread of one page, in turns; processor time is that of all processes of
the browser, and the least over the rounds is given, since other load on a machine only
adds. Without `--tfjs` the page's engine is measured alone. The slower processor is
Chromium's own emulation, which slows the thread of the page down: there the laboratory
of the worker is asked. TensorFlow.js differentiates the network with a rectifier whose
gradient is that of guided backprop; 'agrees' is the largest difference of both maps, in
shares of the largest value.
"""

import argparse
import base64
import functools
import http.server
import json
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from allconv.networks import weights
from allconv.networks.classifier import Classifier
from allconv.reports.microscope import page
from allconv.reports.microscope.steps import describe
from experiments import written
from tests.reports.browser import Browser

ROUNDS, REPEATS = 12, 10
NETWORKS = ("all_cnn_c", "model_c")
TFJS = (
    "@tensorflow/tfjs/dist/tf.min.js",
    "@tensorflow/tfjs-backend-wasm/dist/tf-backend-wasm.min.js",
)
OURS = """
const array = (text, Kind = Float32Array) =>
  new Kind(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
const [network, values, image] = given;
const binary = new WebAssembly.Module(array($("kernels").textContent, Uint8Array));
const engine = new Engine(network, array(values), binary), input = array(image);
const guided = () => {
  engine.forward(input);
  return engine.explain(null, 3, "all", "guided").map;
};
window.ours = { forward: () => engine.forward(input), guided };
return [...guided()];
"""
THEIRS = """
const load = (path) => new Promise((resolve, reject) => {
  const script = document.createElement("script");
  Object.assign(script, { src: path, onload: resolve, onerror: reject });
  document.head.append(script);
});
const array = (text) => new Float32Array(
  Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
const [network, values, image, scripts] = given;
for (const script of scripts) await load(script);
tf.wasm.setWasmPaths(scripts[1].slice(0, scripts[1].lastIndexOf("/") + 1));
await tf.setBackend("wasm");
await tf.ready();
const rectify = tf.customGrad((x, save) => {
  const y = tf.relu(x);
  save([y]);
  return { value: y, gradFunc: (dy, [y]) => tf.mul(tf.relu(dy), tf.step(y)) };
});
let read = 0, [, , channels] = network.input;
const weights = array(values), take = (shape) => {
  const count = shape.reduce((a, b) => a * b);
  return tf.tensor(weights.slice(read, (read += count)), shape);
};
const steps = network.steps.map((step) => {
  const { op, kernel, strides, pads: [top, left, bottom, right] = [] } = step;
  const framed = (x, fill) => (top || left || bottom || right
    ? tf.pad(x, [[0, 0], [top, bottom], [left, right], [0, 0]], fill) : x);
  if (op === "relu") return rectify;
  if (op === "global_average") return (x) => tf.mean(x, [1, 2]);
  if (op === "max_pool")
    return (x) => tf.maxPool(framed(x, -1e30), kernel, strides, "valid");
  const filters = take([...kernel, channels, step.filters]);
  const bias = step.bias ? take([step.filters]) : null;
  channels = step.filters;
  return (x) => {
    const y = tf.conv2d(framed(x, 0), filters, strides, "valid");
    return bias ? tf.add(y, bias) : y;
  };
});
const input = tf.tensor(array(image), [1, ...network.input]);
const run = (x) => steps.reduce((y, step) => step(y), x);
const score = (x) => tf.sum(tf.slice(tf.reshape(run(x), [-1]), 3, 1));
const gradient = tf.grad(score);
window.theirs = {
  forward: () => tf.tidy(() => run(input).dataSync()),
  guided: () => tf.tidy(() => gradient(input).dataSync()),
};
return [...theirs.guided()];
"""
SLOW = """
(0, eval)($("worker").textContent + "; window.Laboratory = Laboratory");
const parts = await partsOf(facts.networks[0]);
const module = new WebAssembly.Module(parts.binary);
const lab = new Laboratory({ ...parts, module });
window.answered = () => {
  const view = { layer: lab.facts.classMap, unit: 3, cell: null, target: null };
  return lab.look(pixels, view).times.all;
};
answered();
"""


def processor_seconds(pid: int) -> float:
    """Of a process and all that it has started, so far."""
    total = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0]) / 1e9
        for child in (task / "children").read_text().split():
            total += processor_seconds(int(child))
    return total


def text(array: np.ndarray) -> str:
    return base64.b64encode(array.astype(np.float32).tobytes()).decode()


def served(folders: dict[str, Path]) -> Iterator[str]:
    """The address of a server of some folders, by name; it ends with the generator."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            name, _, rest = path.lstrip("/").partition("/")
            return str(folders.get(name, Path("/nowhere")) / rest)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def measure(window: Browser, calls: list[str], rounds: int) -> dict[str, float]:
    """The least processor time of each call, in milliseconds."""
    least = dict.fromkeys(calls, float("inf"))
    for turn in range(rounds + 1):
        for call in calls:
            before = processor_seconds(window.process.pid)
            window.run(f"for (let i = 0; i < {REPEATS}; i++) {call}();")
            spent = (processor_seconds(window.process.pid) - before) / REPEATS
            if turn:
                least[call] = min(least[call], 1000 * spent)
    return least


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tfjs", type=Path, help="folder with its node_modules")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    nets = {n: Classifier.load(weights.released(n, "cifar10")) for n in NETWORKS}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        page.write(folder / "page.html", list(nets.values()))
        # The page's own policy loads nothing; the peer is loaded beside it.
        html = (folder / "page.html").read_text()
        policy = html.index('<meta http-equiv="Content-Security-Policy"')
        without = html[:policy] + html[html.index(">", policy) + 1 :]
        written.write_text(folder / "page.html", without)
        folders = {"page": folder}
        if given.tfjs:
            folders["tfjs"] = given.tfjs / "node_modules"
        server = served(folders)
        address = next(server)
        with Browser(folder / "profile") as window:
            for name, classifier in nets.items():
                window.open(f"{address}/page/page.html")
                window.wait("answer")
                print(
                    json.dumps({"network": name} | compare(window, classifier, given))
                )
            print(json.dumps(alone(window)))


def compare(window: Browser, classifier: Classifier, given: argparse.Namespace) -> dict:
    """Both engines on one image of the page."""
    network, values = describe(classifier.model)
    pixels = np.reshape(window.run("return [...pixels]"), (1, 32, 32, 3))
    image = text(classifier.inputs(pixels.astype(np.uint8))[0])
    ours = np.array(window.run(OURS, network, text(values), image))
    calls = ["ours.forward", "ours.guided"]
    found: dict = {}
    if given.tfjs:
        scripts = [f"/tfjs/{path}" for path in TFJS]
        theirs = np.array(window.run(THEIRS, network, text(values), image, scripts))
        calls += ["theirs.forward", "theirs.guided"]
        found["agrees"] = float(np.abs(ours - theirs).max() / np.abs(ours).max())
        found["tfjs"] = window.run("return tf.version_core")
    found |= measure(window, calls, given.rounds)
    if given.tfjs:
        found["times faster"] = found["theirs.guided"] / found["ours.guided"]
    return found


def alone(window: Browser) -> dict:
    """A slower processor, and memory."""
    window.run(SLOW)
    plain = min(window.run("return answered()") for _ in range(20))
    window.devtools("Emulation.setCPUThrottlingRate", rate=4)
    slow = [window.run("return answered()") for _ in range(20)]
    window.devtools("Emulation.setCPUThrottlingRate", rate=1)
    heap = functools.partial(window.devtools, "Runtime.getHeapUsage")
    sizes = []
    for count in (100, 1000):
        window.run(f"for (let i = 0; i < {count}; i++) ours.guided();")
        window.devtools("HeapProfiler.collectGarbage")
        sizes.append(heap()["usedSize"])
    return {
        "answer, ms": plain,
        "answer at a quarter of the speed, ms": [min(slow), float(np.median(slow))],
        "bytes more after 1,000 explanations": sizes[1] - sizes[0],
    }


if __name__ == "__main__":
    main()
