/* From pixels to what a network takes, and back. */
"use strict";

/* Pixels to inputs and gradients back, as `allconv.preprocessing` does it. */
class ContrastAndWhitening {
  /* `half`: the upper half of the symmetric matrix by diagonals, int16 in units of `unit`. */
  constructor({ norm, unit }, mean, half, module = null) {
    const count = mean.length, memory = new Memory();
    Object.assign(this, { norm, unit, mean, count });
    const places = [(count * count) / 2, 3 * count, 3 * count].map((floats) => memory.take(floats));
    const { kernels, base, floats, shorts } = memory.open(module);
    const [matrix, x, y] = places.map((at) => at + base);
    Object.assign(this, { kernels, floats, matrix, x, y });
    for (let d = 0, at = 0, start = matrix >> 1; d < count; d++)
      for (let i = 0; i + d < count; i++, at++)
        shorts[start + i * count + i + d] = shorts[start + (i + d) * count + i] = half[at];
  }
  /* The matrix times one or three vectors, for which it is read once. */
  multiply(vectors) {
    const { floats, count, x, y } = this;
    vectors.forEach((values, v) => floats.set(values, (x >> 2) + v * count));
    this.kernels.multiply_matrix(this.matrix, x, this.unit, y, count, vectors.length);
    return vectors.map((_, v) => floats.slice((y >> 2) + v * count, (y >> 2) + (v + 1) * count));
  }
  contrast(pixels) {
    const centre = mean(pixels), centred = Float64Array.from(pixels, (v) => v - centre);
    const length = Math.sqrt(centred.reduce((sum, v) => sum + v * v, 0));
    return { centred, length, divisor: length / this.norm < 1e-6 ? 1 : length / this.norm };
  }
  inputs(pixels) {
    const { centred, divisor } = this.contrast(pixels);
    return this.multiply([Float32Array.from(centred, (v, i) => v / divisor - this.mean[i])])[0];
  }
  /* Gradients at the inputs, three at most, to gradients at the pixels. */
  pullback(pixels, maps) {
    const { centred, length, divisor } = this.contrast(pixels);
    const unit = centred.map((v) => v / Math.max(length, 1e-8));
    return this.multiply(maps).map((back) => {
      const along = back.reduce((sum, v, i) => sum + v * unit[i], 0);
      const turned = Float64Array.from(back, (v, i) => (v - unit[i] * along) / divisor), centre = mean(turned);
      return Float32Array.from(turned, (v) => v - centre);
    });
  }
  /* What looks like inputs, three maps at most, as differences of pixels. */
  invert(pixels, maps) {
    const { divisor } = this.contrast(pixels);
    return this.solve(maps).map((x) => Float32Array.from(x, (v) => v * divisor));
  }
  /* Undo `multiply` by conjugate gradients: the matrix is symmetric, its eigenvalues positive. */
  solve(vectors) {
    const systems = vectors.map((b) => {
      const left = dot(b, b);
      return { x: new Float64Array(b.length), rest: Float64Array.from(b), way: Float64Array.from(b), left, enough: 1e-10 * left };
    });
    for (let step = 0; step < 200 && systems.some(({ left, enough }) => left > enough); step++) {
      const products = this.multiply(systems.map(({ way }) => way));
      systems.forEach((system, v) => {
        const { x, rest, way, left, enough } = system, product = products[v];
        if (left <= enough) return;
        const far = left / dot(way, product);
        for (let i = 0; i < x.length; i++) { x[i] += far * way[i]; rest[i] -= far * product[i]; }
        system.left = dot(rest, rest);
        for (let i = 0; i < x.length; i++) way[i] = rest[i] + (system.left / left) * way[i];
      });
    }
    return systems.map(({ x }) => x);
  }
}

const dot = (a, b) => a.reduce((sum, v, i) => sum + v * b[i], 0);
const mean = (values) => values.reduce((sum, v) => sum + v, 0) / values.length;

/* Of each colour, or the mean of each pixel alone. */
class MeanAndDeviation {
  constructor(means, deviations = [1]) { Object.assign(this, { means, deviations }); }
  inputs(pixels) {
    const { means, deviations } = this;
    return Float32Array.from(pixels, (v, i) => (v - means[i % means.length]) / deviations[i % deviations.length]);
  }
  pullback(pixels, maps) { return maps.map((map) => map.map((v, i) => v / this.deviations[i % this.deviations.length])); }
  invert(pixels, maps) { return maps.map((map) => map.map((v, i) => v * this.deviations[i % this.deviations.length])); }
}

/* IEEE half precision to float32. */
function fromHalf(halves) {
  const out = new Float32Array(halves.length), table = new Float32Array(65536);
  for (let h = 0; h < 65536; h++) {
    const exponent = (h >> 10) & 31, fraction = h & 1023, sign = h & 0x8000 ? -1 : 1;
    table[h] = sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
  }
  for (let i = 0; i < halves.length; i++) out[i] = table[halves[i]];
  return out;
}
