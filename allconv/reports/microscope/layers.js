/* The other steps of a network, each with its way up and its way down: `up` takes the
   address of the map below and notes what `down` will need; `down` carries a signal
   within a box of the step's output to `to`, and says which box of the input it reaches. */
"use strict";

class MaxPool extends Windowed {
  constructor(engine, data, input) {
    super();
    Object.assign(this, { engine, data, input, shape: null });
    this.shape = this.output();
    this.at = engine.memory.take(size(this.shape));
    this.switches = engine.memory.take(size(this.shape));
    const { pads: [top, left, bottom, right] } = data;
    this.row = (input[1] + left + right) * input[2];
    this.area = (input[0] + top + bottom) * this.row;
    engine.needs("framed", this.area);
  }
  up(x) {
    const { kernel: [tall, wide], strides: [down, across], pads } = this.data;
    const [height, width, channels] = this.input, { framed } = this.engine;
    const row = this.frame(x, this.input, [0, 0, height, width], pads, -Infinity, framed);
    this.engine.kernels.max_pool(framed, row, channels, tall, wide, down * row, across * channels,
      this.at, this.switches, this.shape[0], this.shape[1]);
  }
  down(signal, box, to) {
    const { floats: F, kernels, framed } = this.engine, [top, left] = this.data.pads;
    const [, width, channels] = this.input, wide = this.shape[1], seen = this.seen(box);
    F.fill(0, framed >> 2, (framed >> 2) + this.area);
    for (let y = box[0]; y < box[2]; y++) {
      const at = 4 * (y * wide + box[1]) * channels;
      kernels.max_pool_down(signal + at, this.switches + at, framed, (box[3] - box[1]) * channels);
    }
    for (let y = seen[0]; y < seen[2]; y++) {
      const from = (framed >> 2) + (y + top) * this.row + (seen[1] + left) * channels;
      F.copyWithin((to >> 2) + (y * width + seen[1]) * channels, from, from + (seen[3] - seen[1]) * channels);
    }
    return seen;
  }
}

/* The mean of each window, its padding left out. */
class AveragePool extends Windowed {
  constructor(engine, data, input) {
    super();
    Object.assign(this, { engine, data, input });
    this.shape = this.output();
    this.at = engine.memory.take(size(this.shape));
  }
  up(x) {
    const F = this.engine.floats, [height, width, channels] = this.shape;
    for (let y = 0; y < height; y++)
      for (let q = 0; q < width; q++) {
        const [y0, x0, y1, x1] = this.seen([y, q, y + 1, q + 1]), cells = (y1 - y0) * (x1 - x0);
        for (let c = 0; c < channels; c++) {
          let sum = 0;
          for (let i = y0; i < y1; i++)
            for (let j = x0; j < x1; j++) sum += F[(x >> 2) + (i * this.input[1] + j) * channels + c];
          F[(this.at >> 2) + (y * width + q) * channels + c] = sum / cells;
        }
      }
  }
  down(signal, box, to) {
    const F = this.engine.floats, [, width, channels] = this.shape, seen = this.seen(box);
    this.engine.clear(to, this.input, seen);
    for (let y = box[0]; y < box[2]; y++)
      for (let q = box[1]; q < box[3]; q++) {
        const [y0, x0, y1, x1] = this.seen([y, q, y + 1, q + 1]), cells = (y1 - y0) * (x1 - x0);
        for (let i = y0; i < y1; i++)
          for (let j = x0; j < x1; j++)
            for (let c = 0; c < channels; c++)
              F[(to >> 2) + (i * this.input[1] + j) * channels + c] += F[(signal >> 2) + (y * width + q) * channels + c] / cells;
      }
    return seen;
  }
}

class GlobalAverage {
  constructor(engine, data, input) {
    Object.assign(this, { engine, data, input, shape: [1, 1, input[2]] });
    this.at = engine.memory.take(input[2]);
  }
  up(x) {
    const F = this.engine.floats, channels = this.input[2], cells = this.input[0] * this.input[1];
    for (let c = 0; c < channels; c++) {
      let sum = 0;
      for (let i = 0; i < cells; i++) sum += F[(x >> 2) + i * channels + c];
      F[(this.at >> 2) + c] = sum / cells;
    }
  }
  down(signal, box, to) {
    const F = this.engine.floats, [height, width, channels] = this.input;
    for (let i = 0; i < height * width; i++)
      for (let c = 0; c < channels; c++) F[(to >> 2) + i * channels + c] = F[(signal >> 2) + c] / (height * width);
    return [0, 0, height, width];
  }
}

/* In place; `slope` below zero. The neuron's own rectifier comes first on the way down. */
class Rectifier {
  constructor(engine, data, input, weights, at) {
    Object.assign(this, { engine, data, input, shape: input, at });
  }
  up() { this.engine.kernels.rectify(this.at, this.data.slope, size(this.shape)); }
  downInPlace(signal, [y0, x0, y1, x1], { forward, gradient }) {
    const [, width, channels] = this.shape;
    for (let y = y0; y < y1; y++) {
      const at = 4 * (y * width + x0) * channels;
      this.engine.kernels.rectify_down(signal + at, this.at + at, this.data.slope, forward, gradient, (x1 - x0) * channels);
    }
  }
}

/* A map is a vector already, in reading order. */
class Flatten {
  constructor(engine, data, input, weights, at) {
    Object.assign(this, { engine, data, input, shape: [1, 1, size(input)], at });
  }
  up() {}
  down(signal, box, to) {
    const F = this.engine.floats;
    F.copyWithin(to >> 2, signal >> 2, (signal >> 2) + size(this.shape));
    return [0, 0, this.input[0], this.input[1]];
  }
}

/* y = x / scale ** beta, scale = bias + alpha * sum of x ** 2 over neighbouring maps. */
class ResponseNorm {
  constructor(engine, data, input) {
    Object.assign(this, { engine, data, input, shape: input });
    this.at = engine.memory.take(size(input));
    this.scales = new Float32Array(size(input));
  }
  near(c, sum) {
    const { radius } = this.data, channels = this.input[2];
    let total = 0;
    for (let k = Math.max(0, c - radius); k <= Math.min(channels - 1, c + radius); k++) total += sum(k);
    return total;
  }
  up(x) {
    const F = this.engine.floats, { alpha, beta, bias } = this.data, channels = this.input[2];
    this.below = x >> 2;
    for (let i = 0; i < size(this.input); i += channels)
      for (let c = 0; c < channels; c++) {
        this.scales[i + c] = bias + alpha * this.near(c, (k) => F[this.below + i + k] ** 2);
        F[(this.at >> 2) + i + c] = F[this.below + i + c] * this.scales[i + c] ** -beta;
      }
  }
  down(signal, box, to) {
    const F = this.engine.floats, { alpha, beta } = this.data, [, width, channels] = this.input;
    const s = signal >> 2, y = this.at >> 2, scales = this.scales;
    for (let r = box[0]; r < box[2]; r++)
      for (let q = box[1]; q < box[3]; q++) {
        const i = (r * width + q) * channels;
        for (let c = 0; c < channels; c++) {
          const met = this.near(c, (k) => (F[s + i + k] * F[y + i + k]) / scales[i + k]);
          F[(to >> 2) + i + c] = F[s + i + c] * scales[i + c] ** -beta - 2 * alpha * beta * F[this.below + i + c] * met;
        }
      }
    return box;
  }
}

const STEPS = {
  conv: Convolution, relu: Rectifier, max_pool: MaxPool, average_pool: AveragePool,
  global_average: GlobalAverage, flatten: Flatten, response_norm: ResponseNorm,
};
