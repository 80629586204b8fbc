/* The kernels of kernels.c in JavaScript: for browsers without WebAssembly's SIMD, and
   to test the compiled ones against. Same names, same arguments, addresses in bytes. */
"use strict";

function javascriptKernels(buffer) {
  const F = new Float32Array(buffer), I = new Int32Array(buffer), S = new Int16Array(buffer);
  return {
    conv(x, row, down, across, tapsDown, count, w, bias, y, yrow, ystep, height, width, filters) {
      x >>= 2; w >>= 2; bias >>= 2; y >>= 2;
      const panels = (filters + 7) >> 3, sums = new Float64Array(8 * panels);
      const panel = 8 * tapsDown * count;
      for (let r = 0; r < height; r++)
        for (let q = 0; q < width; q++) {
          for (let f = 0; f < filters; f++) sums[f] = bias ? F[bias + f] : 0;
          for (let i = 0; i < tapsDown; i++) {
            const from = x + r * down + q * across + i * row;
            for (let k = 0; k < count; k++) {
              const value = F[from + k];
              if (value === 0) continue; // a rectifier leaves many zeros
              let at = w + 8 * (i * count + k);
              for (let f = 0; f < sums.length; f += 8, at += panel)
                for (let j = 0; j < 8; j++) sums[f + j] += value * F[at + j];
            }
          }
          const to = y + r * yrow + q * ystep;
          for (let f = 0; f < filters; f++) F[to + f] = sums[f];
        }
    },
    rectify(x, slope, count) {
      x >>= 2;
      for (let i = x; i < x + count; i++) if (!(F[i] > 0)) F[i] *= slope;
    },
    rectify_down(signal, y, slope, forward, gradient, count) {
      signal >>= 2; y >>= 2;
      for (let i = 0; i < count; i++) {
        if (gradient && !(F[signal + i] > 0)) F[signal + i] = 0;
        if (forward && !(F[y + i] > 0)) F[signal + i] *= slope;
      }
    },
    max_pool(x, row, channels, tall, wide, down, across, y, switches, height, width) {
      x >>= 2; y >>= 2; switches >>= 2;
      for (let r = 0; r < height; r++)
        for (let q = 0; q < width; q++)
          for (let c = 0; c < channels; c++) {
            let best = r * down + q * across + c, most = -Infinity;
            for (let i = 0; i < tall; i++)
              for (let j = 0; j < wide; j++) {
                const at = r * down + q * across + c + i * row + j * channels;
                if (F[x + at] > most) { best = at; most = F[x + at]; }
              }
            F[y++] = most;
            I[switches++] = best;
          }
    },
    max_pool_down(signal, switches, frame, count) {
      signal >>= 2; switches >>= 2; frame >>= 2;
      for (let i = 0; i < count; i++) F[frame + I[switches + i]] += F[signal + i];
    },
    multiply_matrix(matrix, x, scale, y, size, count) {
      matrix >>= 1; x >>= 2; y >>= 2;
      for (let v = 0; v < count; v++, x += size, y += size)
        for (let r = 0; r < size; r++) {
          let sum = 0;
          for (let c = 0; c < size; c++) sum += S[matrix + r * size + c] * F[x + c];
          F[y + r] = scale * sum;
        }
    },
  };
}
