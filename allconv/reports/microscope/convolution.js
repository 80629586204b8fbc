/* Memory that the kernels work in, and convolution on it: windows, frames with padding,
   and the way back from a signal at the outputs to one at the inputs. Maps are height x
   width x channels; an address is in bytes, a row or a step in floats. */
"use strict";

const WINOGRAD_TILES = 32; // as TILES in kernels.c
const size = ([height, width, channels]) => height * width * channels;
const panels = (filters) => Math.ceil(filters / 8) * 8;

/* Memory that is planned first and had at once: it never grows later. */
class Memory {
  constructor() { this.bytes = 16; } // address 0 stands for 'none'
  take(floats) {
    const at = this.bytes;
    this.bytes += Math.ceil(floats / 4) * 16;
    return at;
  }
  /* `module`: the compiled kernels; null: those of JavaScript. */
  open(module) {
    let buffer, exports, base = 0;
    if (module) {
      ({ exports } = new WebAssembly.Instance(module, {}));
      base = Math.ceil(exports.__heap_base.value / 16) * 16;
      const missing = base + this.bytes - exports.memory.buffer.byteLength;
      if (missing > 0) exports.memory.grow(Math.ceil(missing / 65536));
      buffer = exports.memory.buffer;
    } else {
      buffer = new ArrayBuffer(this.bytes);
      exports = javascriptKernels(buffer);
    }
    return { kernels: exports, base, floats: new Float32Array(buffer), shorts: new Int16Array(buffer) };
  }
}

/* [taps][channels][filters] to [panel][taps][channels][8], zeros where filters end. */
function pack(weights, inputs, filters) {
  const out = new Float32Array(inputs * panels(filters));
  for (let k = 0; k < inputs; k++)
    for (let f = 0; f < filters; f++)
      out[((f >> 3) * inputs + k) * 8 + (f & 7)] = weights[k * filters + f];
  return out;
}

/* One stride-1 correlation, by Winograd's algorithm where that is faster. */
class Filter {
  constructor(engine, tall, wide, inputs, filters, weights) {
    Object.assign(this, { engine, tall, wide, inputs, filters, weights });
    this.fast = engine.winograd && tall === 3 && wide === 3 && inputs % 4 === 0 && filters >= 8;
    const count = tall * wide * inputs;
    this.packed = engine.memory.take(count * panels(filters));
    if (this.fast) {
      this.transformed = engine.memory.take(16 * inputs * panels(filters));
      engine.needs("scratch", 16 * WINOGRAD_TILES * (inputs + panels(filters)));
    }
  }
  load() {
    const { floats, kernels } = this.engine;
    if (this.fast) { // plain filters lie where the packed ones will be
      floats.set(this.weights, this.packed >> 2);
      kernels.winograd_filters(this.packed, this.transformed, this.inputs, this.filters);
    }
    floats.set(pack(this.weights, this.tall * this.wide * this.inputs, this.filters), this.packed >> 2);
    this.weights = null;
  }
  /* `steps`: windows' distance down and across, in cells of the frame of `row` floats. */
  run(x, row, steps, bias, y, yrow, ystep, height, width) {
    const { kernels, scratch } = this.engine;
    const [down, across] = steps;
    if (this.fast && down === 1 && across === 1 && height > 1 && width > 1)
      kernels.winograd(x, row, this.inputs, this.transformed, bias, y, yrow, ystep, height, width, this.filters, scratch);
    else
      kernels.conv(x, row, down * row, across * this.inputs, this.tall, this.wide * this.inputs,
        this.packed, bias, y, yrow, ystep, height, width, this.filters);
  }
}

/* A step whose windows slide over a map. Boxes are [top, left, bottom, right]. */
class Windowed {
  /* Lays rows and columns of a map into a frame with `fill` around them. */
  frame(at, [, width, channels], box, [above, left, below, right], fill, frame) {
    const F = this.engine.floats, [y0, x0, y1, x1] = box;
    const row = (x1 - x0 + left + right) * channels, long = (x1 - x0) * channels;
    const start = frame >> 2;
    F.fill(fill, start, start + (y1 - y0 + above + below) * row);
    for (let y = y0; y < y1; y++) {
      const from = (at >> 2) + (y * width + x0) * channels;
      F.copyWithin(start + (y - y0 + above) * row + left * channels, from, from + long);
    }
    return row;
  }
  /* The cells that the windows of a box see. */
  seen([y0, x0, y1, x1]) {
    const { kernel: [tall, wide], strides: [down, across], pads: [top, left] } = this.data;
    const [height, width] = this.input;
    return [
      Math.max(0, y0 * down - top), Math.max(0, x0 * across - left),
      Math.min(height, (y1 - 1) * down - top + tall), Math.min(width, (x1 - 1) * across - left + wide),
    ];
  }
  output() {
    const { kernel: [tall, wide], strides: [down, across], pads: [top, left, bottom, right] } = this.data;
    const [height, width, channels] = this.input;
    return [
      Math.floor((height + top + bottom - tall) / down) + 1,
      Math.floor((width + left + right - wide) / across) + 1, channels,
    ];
  }
}

class Convolution extends Windowed {
  constructor(engine, data, input, weights) {
    super();
    Object.assign(this, { engine, data, input });
    const { kernel: [tall, wide], strides: [down, across], pads: [top, left, bottom, right], filters } = data;
    const [height, width, channels] = input;
    this.shape = [...this.output().slice(0, 2), filters];
    const kernel = weights(tall * wide * channels * filters);
    this.bias = data.bias ? weights(filters) : null;
    this.up_ = new Filter(engine, tall, wide, channels, filters, kernel);
    engine.needs("framed", (height + top + bottom) * (width + left + right) * channels);
    this.biasAt = data.bias ? engine.memory.take(filters) : 0;
    this.at = engine.memory.take(size(this.shape));

    // Back down: the taps that meet a cell depend on its place between the strides; of
    // each such phase the transposed, turned taps are a filter of stride 1.
    this.phases = [];
    for (let i = 0; i < Math.min(down, tall); i++)
      for (let j = 0; j < Math.min(across, wide); j++) {
        const rows = Math.ceil((tall - i) / down), columns = Math.ceil((wide - j) / across);
        const turned = new Float32Array(rows * columns * channels * filters);
        let to = 0;
        for (let a = rows - 1; a >= 0; a--)
          for (let b = columns - 1; b >= 0; b--) {
            const tap = ((i + a * down) * wide + j + b * across) * channels * filters;
            for (let f = 0; f < filters; f++)
              for (let c = 0; c < channels; c++) turned[to++] = kernel[tap + c * filters + f];
          }
        this.phases.push({ i, j, rows, columns, filter: new Filter(engine, rows, columns, filters, channels, turned) });
      }
    this.margin = [Math.ceil(tall / down) - 1, Math.ceil(wide / across) - 1];
    engine.needs("framed", (this.shape[0] + 2 * this.margin[0]) * (this.shape[1] + 2 * this.margin[1]) * filters);
  }
  load() {
    if (this.bias) this.engine.floats.set(this.bias, this.biasAt >> 2);
    this.up_.load();
    for (const phase of this.phases) phase.filter.load();
  }
  up(x) {
    const [height, width, channels] = this.input, [tall, wide, filters] = this.shape;
    if (height === tall && width === wide && this.up_.tall === 1 && this.up_.wide === 1)
      this.up_.run(x, 0, [1, 1], this.biasAt, this.at, 0, filters, 1, tall * wide); // one long row
    else {
      let row = width * channels;
      if (this.data.pads.some((n) => n)) {
        row = this.frame(x, this.input, [0, 0, height, width], this.data.pads, 0, this.engine.framed);
        x = this.engine.framed;
      }
      this.up_.run(x, row, this.data.strides, this.biasAt, this.at, wide * filters, filters, tall, wide);
    }
  }
  down(signal, box, to) {
    const { strides: [down, across], pads: [top, left] } = this.data;
    const [, width, channels] = this.input, filters = this.shape[2], [above, before] = this.margin;
    const seen = this.seen(box), framed = this.engine.framed;
    const row = this.frame(signal, this.shape, box, [above, before, above, before], 0, framed);
    if (down > 1 || across > 1) this.engine.clear(to, this.input, seen);
    const first = (from, pad, phase, step) => from + ((((phase - from - pad) % step) + step) % step);
    for (const { i, j, rows, columns, filter } of this.phases) {
      const y = first(seen[0], top, i, down), x = first(seen[1], left, j, across);
      const height = Math.ceil((seen[2] - y) / down), wide = Math.ceil((seen[3] - x) / across);
      if (height < 1 || wide < 1) continue;
      const at = (y + top - i) / down - (rows - 1) - box[0] + above;
      const on = (x + left - j) / across - (columns - 1) - box[1] + before;
      filter.run(framed + 4 * (at * row + on * filters), row, [1, 1], 0,
        to + 4 * (y * width + x) * channels, down * width * channels, across * channels, height, wide);
    }
    return seen;
  }
}
