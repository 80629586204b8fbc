/* The arithmetic of the page: convolution, pooling, rectifiers and their reverse.

   Compiled to WebAssembly with SIMD by build.sh; kernels.js has the same in
   JavaScript, under the same names and arguments, as a fallback and as a test. Maps are
   float32, height x width x channels, channels last. A kernel tells neither padding nor
   borders: engine.js copies maps into frames with their padding around them first.
   Weights are packed in panels of 8 filters: [panel][tap][channel][8]. */

typedef float f4 __attribute__((vector_size(16), aligned(4)));
typedef short s4 __attribute__((vector_size(8), aligned(2)));
#define EXPORT(name) __attribute__((export_name(#name)))
#define AT(p) (*(f4 *)(p))
#define SPLAT(v) ((f4){v, v, v, v})
enum { TILES = 32 }; /* tiles of a map that `winograd` treats at a time */

/* acc[2 * pixel + half of the panel] += products of 4 pixels with one panel.
   `x` are the pixels' first taps; `count` taps lie side by side, in x and in w. */
static inline void multiply(const float *x[4], const float *w, int count, f4 acc[8]) {
  const float *a = x[0], *b = x[1], *c = x[2], *d = x[3];
  f4 a0 = acc[0], a1 = acc[1], b0 = acc[2], b1 = acc[3];
  f4 c0 = acc[4], c1 = acc[5], d0 = acc[6], d1 = acc[7];
  for (int k = 0; k < count; k++, w += 8) {
    f4 low = AT(w), high = AT(w + 4);
    f4 v = SPLAT(a[k]);
    a0 += v * low, a1 += v * high;
    v = SPLAT(b[k]);
    b0 += v * low, b1 += v * high;
    v = SPLAT(c[k]);
    c0 += v * low, c1 += v * high;
    v = SPLAT(d[k]);
    d0 += v * low, d1 += v * high;
  }
  acc[0] = a0, acc[1] = a1, acc[2] = b0, acc[3] = b1;
  acc[4] = c0, acc[5] = c1, acc[6] = d0, acc[7] = d1;
}

/* y = bias + x * w. `row` floats lie between rows of taps, `down` and `across` between
   the windows of neighbouring outputs; outputs are `yrow` and `ystep` floats apart. */
EXPORT(conv)
void conv(const float *x, int row, int down, int across, int taps_down, int count,
          const float *w, const float *bias, float *y, int yrow, int ystep, int height,
          int width, int filters) {
  for (int first = 0; first < filters; first += 8, w += 8 * taps_down * count) {
    int wide = filters - first < 8 ? filters - first : 8;
    float b[8];
    for (int j = 0; j < 8; j++) b[j] = bias && j < wide ? bias[first + j] : 0;
    for (int r = 0; r < height; r++)
      for (int q = 0; q < width; q += 4) {
        int here = width - q < 4 ? width - q : 4;
        const float *at[4];
        for (int p = 0; p < 4; p++)
          at[p] = x + r * down + (q + (p < here ? p : here - 1)) * across;
        f4 acc[8];
        for (int p = 0; p < 8; p++) acc[p] = AT(b + p % 2 * 4);
        for (int i = 0; i < taps_down; i++) {
          multiply(at, w + 8 * i * count, count, acc);
          for (int p = 0; p < 4; p++) at[p] += row;
        }
        float *to = y + r * yrow + q * ystep + first;
        for (int p = 0; p < here; p++, to += ystep)
          if (wide == 8)
            AT(to) = acc[2 * p], AT(to + 4) = acc[2 * p + 1];
          else
            for (int j = 0; j < wide; j++) to[j] = ((float *)acc)[8 * p + j];
      }
  }
}

/* Winograd's F(2x2, 3x3): 2 x 2 outputs of a 3 x 3 filter by 16 products in place of
   36 (Lavin & Gray 2016). First the filters, once: w is [3][3][channels][filters],
   u becomes [16][panel][channels][8]. */
EXPORT(winograd_filters)
void winograd_filters(const float *w, float *u, int channels, int filters) {
  int plane = (filters + 7) / 8 * 8 * channels;
  for (int c = 0; c < channels; c++)
    for (int f = 0; f < filters; f++) {
      float half[4][3];
      for (int j = 0; j < 3; j++) {
        float g[3];
        for (int i = 0; i < 3; i++) g[i] = w[((i * 3 + j) * channels + c) * filters + f];
        half[0][j] = g[0];
        half[1][j] = (g[0] + g[1] + g[2]) / 2;
        half[2][j] = (g[0] - g[1] + g[2]) / 2;
        half[3][j] = g[2];
      }
      float *to = u + (f / 8 * channels + c) * 8 + f % 8;
      for (int i = 0; i < 4; i++) {
        float *h = half[i];
        to[(4 * i) * plane] = h[0];
        to[(4 * i + 1) * plane] = (h[0] + h[1] + h[2]) / 2;
        to[(4 * i + 2) * plane] = (h[0] - h[1] + h[2]) / 2;
        to[(4 * i + 3) * plane] = h[2];
      }
    }
}

/* As `conv` with 3 x 3 taps and stride 1, where 4 divides `channels`. Where the output is
   odd, tiles reach one row and one column beyond x; what they read there is not used.
   `scratch` holds 16 * TILES * (channels + panels * 8) floats. */
EXPORT(winograd)
void winograd(const float *x, int row, int channels, const float *u, const float *bias,
              float *y, int yrow, int ystep, int height, int width, int filters,
              float *scratch) {
  int across = (width + 1) / 2, total = (height + 1) / 2 * across;
  int wide = (filters + 7) / 8 * 8;
  float *v = scratch, *m = scratch + 16 * TILES * channels;
  for (int start = 0; start < total; start += TILES) {
    int tiles = total - start < TILES ? total - start : TILES;
    for (int t = 0; t < tiles; t++) {
      const float *at = x + (start + t) / across * 2 * row + (start + t) % across * 2 * channels;
      for (int c = 0; c < channels; c += 4) {
        f4 d[4][4];
        for (int j = 0; j < 4; j++) {
          const float *p = at + j * channels + c;
          f4 p0 = AT(p), p1 = AT(p + row), p2 = AT(p + 2 * row), p3 = AT(p + 3 * row);
          d[0][j] = p0 - p2, d[1][j] = p1 + p2, d[2][j] = p2 - p1, d[3][j] = p1 - p3;
        }
        for (int i = 0; i < 4; i++) {
          float *to = v + (4 * i * TILES + t) * channels + c;
          int next = TILES * channels;
          AT(to) = d[i][0] - d[i][2];
          AT(to + next) = d[i][1] + d[i][2];
          AT(to + 2 * next) = d[i][2] - d[i][1];
          AT(to + 3 * next) = d[i][1] - d[i][3];
        }
      }
    }
    for (int i = 0; i < 16; i++)
      conv(v + i * TILES * channels, 0, 0, channels, 1, channels, u + i * wide * channels,
           0, m + i * TILES * wide, 0, wide, 1, tiles, wide);
    for (int t = 0; t < tiles; t++) {
      int top = (start + t) / across * 2, left = (start + t) % across * 2;
      for (int f = 0; f < filters; f += 4) {
        const float *from = m + t * wide + f;
        f4 s[2][4], out[2][2];
        for (int j = 0; j < 4; j++) {
          const float *p = from + j * TILES * wide;
          int next = 4 * TILES * wide;
          f4 p0 = AT(p), p1 = AT(p + next), p2 = AT(p + 2 * next), p3 = AT(p + 3 * next);
          s[0][j] = p0 + p1 + p2, s[1][j] = p1 - p2 - p3;
        }
        for (int i = 0; i < 2; i++) {
          out[i][0] = s[i][0] + s[i][1] + s[i][2];
          out[i][1] = s[i][1] - s[i][2] - s[i][3];
        }
        for (int i = 0; i < 2 && top + i < height; i++)
          for (int j = 0; j < 2 && left + j < width; j++) {
            float *to = y + (top + i) * yrow + (left + j) * ystep + f;
            for (int k = 0; k < 4 && f + k < filters; k++)
              to[k] = out[i][j][k] + (bias ? bias[f + k] : 0);
          }
      }
    }
  }
}

/* In place: x, or slope * x where x is not above 0. */
EXPORT(rectify)
void rectify(float *x, float slope, int count) {
  for (int i = 0; i < count; i++) x[i] = x[i] > 0 ? x[i] : slope * x[i];
}

/* In place: a signal passes a rectifier whose output was y. `forward`: times its slope,
   where the unit was active; `gradient`: the positive part of the signal alone. */
EXPORT(rectify_down)
void rectify_down(float *signal, const float *y, float slope, int forward, int gradient,
                  int count) {
  for (int i = 0; i < count; i++) {
    float s = signal[i];
    if (gradient && !(s > 0)) s = 0;
    if (forward && !(y[i] > 0)) s *= slope;
    signal[i] = s;
  }
}

/* Max-pooling of a frame. `switches` notes the place of each maximum in the frame, the
   first of equal ones; cells of padding hold -infinity. */
EXPORT(max_pool)
void max_pool(const float *x, int row, int channels, int tall, int wide, int down,
              int across, float *y, int *switches, int height, int width) {
  for (int r = 0; r < height; r++)
    for (int q = 0; q < width; q++)
      for (int c = 0; c < channels; c++) {
        int best = r * down + q * across + c;
        float most = -__builtin_inff();
        for (int i = 0; i < tall; i++)
          for (int j = 0; j < wide; j++) {
            int at = r * down + q * across + c + i * row + j * channels;
            if (x[at] > most) best = at, most = x[at];
          }
        *y++ = most, *switches++ = best;
      }
}

/* Each signal goes to the cell of the frame that its switch names. */
EXPORT(max_pool_down)
void max_pool_down(const float *signal, const int *switches, float *frame, int count) {
  for (int i = 0; i < count; i++) frame[switches[i]] += signal[i];
}

/* y = scale * (matrix @ x) of `count` vectors, which lie one after the other: the rows of
   a matrix in fixed point, each read once; 8 divides `size`. */
static inline __attribute__((always_inline)) void
multiply_rows(const short *matrix, const float *x, float scale, float *y, int size,
              const int count) {
  for (int r = 0; r < size; r++, matrix += size) {
    f4 low[3] = {0}, high[3] = {0};
    for (int c = 0; c < size; c += 8) {
      f4 first = __builtin_convertvector(*(s4 *)(matrix + c), f4);
      f4 second = __builtin_convertvector(*(s4 *)(matrix + c + 4), f4);
      for (int v = 0; v < count; v++) {
        low[v] += first * AT(x + v * size + c);
        high[v] += second * AT(x + v * size + c + 4);
      }
    }
    for (int v = 0; v < count; v++) {
      f4 sum = low[v] + high[v];
      y[v * size + r] = scale * (sum[0] + sum[1] + sum[2] + sum[3]);
    }
  }
}

EXPORT(multiply_matrix)
void multiply_matrix(const short *matrix, const float *x, float scale, float *y, int size,
                     int count) {
  for (; count >= 3; count -= 3, x += 3 * size, y += 3 * size)
    multiply_rows(matrix, x, scale, y, size, 3);
  for (; count > 0; count--, x += size, y += size)
    multiply_rows(matrix, x, scale, y, size, 1);
}
