/* A network from its layers as data: forward, and one neuron back to the image under the
   three rules. */
"use strict";

const RULES = { // where the unit was active; what of the signal is positive
  backprop: { forward: 1, gradient: 0 },
  deconvnet: { forward: 0, gradient: 1 },
  guided: { forward: 1, gradient: 1 },
};
const DONE = { backprop: "backpropagated", deconvnet: "deconvolved", guided: "guided" };

/* A network that runs.

   `network`: {input: [height, width, channels], steps: [{op, ...}], layers: [{name,
   step}]}; `values`: its weights, in the order of the steps; `module`: the compiled
   kernels, null for JavaScript's. */
class Engine {
  constructor(network, values, module = null) {
    this.network = network;
    this.winograd = Boolean(module);
    this.memory = new Memory();
    this.needed = {};
    let read = 0, shape = network.input;
    const weights = (count) => values.subarray(read, (read += count));
    this.image = this.memory.take(size(shape));
    let at = this.image;
    this.steps = network.steps.map((data) => {
      const step = new STEPS[data.op](this, data, shape, weights, at);
      ({ shape, at } = step);
      return step;
    });
    if (read !== values.length) throw new Error(`${values.length - read} weights are left over`);
    const largest = Math.max(size(network.input), ...this.steps.map((step) => size(step.shape)));
    this.signals = [this.memory.take(largest), this.memory.take(largest)];
    for (const [name, floats] of Object.entries(this.needed)) this[name] = this.memory.take(floats);
    this.memory.take(this.needed.framed ?? 0); // Winograd's tiles reach a row beyond odd frames
    const { kernels, base, floats } = this.memory.open(module);
    Object.assign(this, { kernels, floats });
    this.move(base);
    for (const step of this.steps) if (step.load) step.load();
  }
  needs(name, floats) { this.needed[name] = Math.max(this.needed[name] ?? 0, floats); }
  /* What was planned from address 0 lies from `base` on. */
  move(base) {
    this.image += base;
    this.signals = this.signals.map((at) => at + base);
    for (const name of Object.keys(this.needed)) this[name] += base;
    for (const step of this.steps) {
      for (const name of ["at", "biasAt", "switches"]) if (step[name]) step[name] += base;
      for (const filter of [step.up_, ...(step.phases ?? []).map((phase) => phase.filter)])
        if (filter) {
          filter.packed += base;
          if (filter.fast) filter.transformed += base;
        }
    }
  }
  clear(at, [, width, channels], [y0, x0, y1, x1]) {
    for (let y = y0; y < y1; y++) {
      const from = (at >> 2) + (y * width + x0) * channels;
      this.floats.fill(0, from, from + (x1 - x0) * channels);
    }
  }
  read(at, shape) { return this.floats.slice(at >> 2, (at >> 2) + size(shape)); }

  forward(inputs) {
    this.floats.set(inputs, this.image >> 2);
    let at = this.image;
    for (const step of this.steps) {
      step.up(at);
      at = step.at;
    }
  }
  /* Which steps stand between a neuron and the image, as `saliency.Audit` says it. */
  audit(met, rule) {
    const named = (op) => met.filter((step) => step.op === op).map((step) => step.layer);
    const count = named("relu").length, lines = [`${count} of ${count} rectifiers ${DONE[rule]}`];
    if (named("max_pool").length) lines.push(`max-pooling (switch): ${named("max_pool").join(", ")}`);
    if (named("response_norm").length) lines.push(`local response normalisation, differentiated as it is: ${named("response_norm").join(", ")}`);
    return lines.join("; ");
  }
  /* The output of a layer, of its number in `network.layers`. */
  output(layer) {
    const step = this.steps[this.network.layers[layer].step];
    return { shape: step.shape, values: this.read(step.at, step.shape) };
  }
  /* The scores before the softmax. */
  scores() {
    const { at, shape } = this.steps.at(-1);
    return this.read(at, shape);
  }
  probabilities() {
    const scores = this.scores();
    if (!this.network.softmax) return scores;
    const most = Math.max(...scores), powers = Array.from(scores, (x) => Math.exp(x - most));
    const sum = powers.reduce((a, b) => a + b);
    return Float32Array.from(powers, (x) => x / sum);
  }
  /* What one neuron of a layer says of the last image that went forward.

     `position`: [row, column], "max" or "all"; `layer`: null for the class scores. The
     map is at the network's inputs. */
  explain(layer, channel, position, rule) {
    const last = layer === null ? this.steps.length - 1 : this.network.layers[layer].step;
    const { shape, at } = this.steps[last], [height, width, channels] = shape;
    if (position === "max") position = this.strongest(at, shape, channel);
    const box = position === "all" ? [0, 0, height, width] : [...position, position[0] + 1, position[1] + 1];
    const [signal] = this.signals;
    this.clear(signal, shape, box);
    for (let y = box[0]; y < box[2]; y++)
      for (let x = box[1]; x < box[3]; x++) this.floats[(signal >> 2) + (y * width + x) * channels + channel] = 1;
    return { position, ...this.reverse(last, box, rule) };
  }
  /* Carries the signal in `signals[0]`, within a box of a step's output, to the inputs. */
  reverse(last, box, rule) {
    let [signal, other] = this.signals;
    const met = []; // the steps that it passed, for the audit
    for (; last >= 0; last--) {
      const step = this.steps[last];
      met.unshift(step.data);
      if (step.downInPlace) step.downInPlace(signal, box, RULES[rule]);
      else {
        box = step.down(signal, box, other);
        [signal, other] = [other, signal];
      }
    }
    const [, across, colours] = this.network.input, map = new Float32Array(size(this.network.input));
    for (let y = box[0]; y < box[2]; y++) {
      const from = (y * across + box[1]) * colours, to = (y * across + box[3]) * colours;
      map.set(this.floats.subarray((signal >> 2) + from, (signal >> 2) + to), from);
    }
    return { map, box, met };
  }
  strongest(at, [height, width, channels], channel) {
    let best = 0;
    for (let i = 1; i < height * width; i++)
      if (this.floats[(at >> 2) + i * channels + channel] > this.floats[(at >> 2) + best * channels + channel]) best = i;
    return [Math.floor(best / width), best % width];
  }
}
