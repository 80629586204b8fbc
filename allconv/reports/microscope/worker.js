/* The laboratory behind the page, in a Worker: it owns the network, answers one question
   at a time and knows nothing of the page. */
"use strict";

class Laboratory {
  /* `parts`: {network, facts, values, preprocessing, constants, module}. */
  constructor({ network, facts, values, preprocessing, constants, module }) {
    this.engine = new Engine(network, values, module);
    this.facts = facts;
    const { mean, half, std } = constants;
    this.preprocessor = preprocessing.kind === "gcn_zca"
      ? new ContrastAndWhitening(preprocessing, mean, half, module) : new MeanAndDeviation(mean, std);
    if (facts.votes) { // the last weights but the biases
      const [, classes] = facts.votes.shape, end = values.length - (facts.votes.bias ? classes : 0);
      this.votes = values.slice(end - facts.votes.shape[0] * classes, end);
    }
  }
  /* All that the page shows of an image.

     `view`: {layer, unit, cell}: `unit` null is the strongest, `cell` [row, column] or
     null, which is where the unit is strongest; `pattern`: whether maps are inverted, and
     not pulled back. */
  look(pixels, { layer, unit, cell, target, pattern }) {
    const engine = this.engine, start = performance.now();
    engine.forward(this.preprocessor.inputs(pixels));
    const forward = performance.now() - start;
    const { shape, values } = engine.output(layer), [height, width, channels] = shape;
    const peaks = new Float32Array(channels).fill(-Infinity);
    for (let i = 0; i < values.length; i++) peaks[i % channels] = Math.max(peaks[i % channels], values[i]);
    if (unit === null) unit = peaks.indexOf(Math.max(...peaks));
    const neuron = { unit, pattern, maps: {}, audits: {} };
    const rules = Object.keys(RULES), found = rules.map((rule) => engine.explain(layer, unit, cell ?? "max", rule));
    const maps = this.preprocessor[pattern ? "invert" : "pullback"](pixels, found.map(({ map }) => map));
    rules.forEach((rule, i) => {
      neuron.maps[rule] = maps[i];
      neuron.audits[rule] = engine.audit(found[i].met, rule);
    });
    neuron.cell = found[0].position;
    neuron.activation = values[(neuron.cell[0] * width + neuron.cell[1]) * channels + unit];
    const probabilities = engine.probabilities();
    target ??= probabilities.indexOf(Math.max(...probabilities));
    return {
      probabilities, scores: engine.scores(), target, shape, values, peaks, neuron,
      classMap: this.facts.classMap === null ? null : this.slice(this.facts.classMap, target),
      votes: this.facts.votes?.layer === layer ? this.votesOf(unit) : null,
      times: { forward, all: performance.now() - start },
    };
  }
  slice(layer, channel) {
    const { shape: [height, width, channels], values } = this.engine.output(layer);
    return { shape: [height, width], values: values.filter((_, i) => i % channels === channel) };
  }
  votesOf(unit) {
    const classes = this.facts.votes.shape[1];
    return this.votes.slice(unit * classes, (unit + 1) * classes);
  }
  /* A grey square slides over the image, as in `allconv.occlusion`: of each pixel the
     probability of a class that is lost, a mean over the squares that cover it. Yields
     after each square the share that is done. */
  *occlude(pixels, target, square = 8, stride = 4, grey = 127.5) {
    const [height, width, channels] = this.engine.network.input;
    const starts = (length) => {
      const out = [];
      for (let at = stride - square; at < length; at += stride) out.push(at);
      return out;
    };
    const of = (image) => {
      this.engine.forward(this.preprocessor.inputs(image));
      return this.engine.probabilities()[target];
    };
    const whole = of(pixels), sums = new Float64Array(height * width), counts = new Float64Array(height * width);
    const tops = starts(height), lefts = starts(width);
    for (const [n, top] of tops.entries())
      for (const [m, left] of lefts.entries()) {
        const covered = Float32Array.from(pixels), cells = [];
        for (let y = Math.max(0, top); y < Math.min(height, top + square); y++)
          for (let x = Math.max(0, left); x < Math.min(width, left + square); x++) cells.push(y * width + x);
        for (const i of cells) covered.fill(grey, i * channels, (i + 1) * channels);
        const lost = whole - of(covered);
        for (const i of cells) { sums[i] += lost; counts[i] += 1; }
        yield (n * lefts.length + m + 1) / (tops.length * lefts.length);
      }
    return Float32Array.from(sums, (v, i) => v / counts[i]);
  }
}

if (typeof WorkerGlobalScope !== "undefined" && self instanceof WorkerGlobalScope) {
  let laboratory = null, task = 0; // the last occlusion that was asked for
  const answer = ({ id, kind, ...question }) => {
    if (kind === "open") {
      const start = performance.now(), { binary, ...parts } = question;
      const module = binary && WebAssembly.validate(binary) ? new WebAssembly.Module(binary) : null;
      laboratory = new Laboratory({ ...parts, module });
      return { compiled: Boolean(module), time: performance.now() - start };
    }
    return laboratory.look(question.pixels, question.view);
  };
  const occlude = ({ id, pixels, target }) => {
    const mine = (task = id), squares = laboratory.occlude(pixels, target);
    const go = () => {
      if (task !== mine) return postMessage({ id, result: null }); // another is wanted
      const until = performance.now() + 60;
      let next;
      do next = squares.next(); while (!next.done && performance.now() < until);
      if (next.done) postMessage({ id, result: next.value });
      else { postMessage({ id, progress: next.value }); setTimeout(go); }
    };
    go();
  };
  self.onmessage = ({ data }) => {
    try {
      if (data.kind === "occlude") occlude(data);
      else if (data.kind === "stop") task = 0;
      else postMessage({ id: data.id, result: answer(data) });
    } catch (error) {
      postMessage({ id: data.id, error: String(error.stack ?? error) });
    }
  };
}
