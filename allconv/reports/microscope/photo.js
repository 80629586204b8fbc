/* A photograph to a small square: turned as its camera says, the largest square of its
   middle, and shrunk as Pillow does it with LANCZOS and reducing_gap=1, to the same bytes:
   first the means of whole blocks of pixels, then Lanczos' filter for the rest. */
"use strict";

/* Pixels of the middle square of anything that can be drawn: {data, side}, RGBA. */
function middleSquare(source, width, height) {
  const side = Math.min(width, height), canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = false;
  context.fillStyle = "#fff"; // under what is transparent
  context.fillRect(0, 0, side, side);
  context.drawImage(source, -Math.floor((width - side) / 2), -Math.floor((height - side) / 2));
  return { data: context.getImageData(0, 0, side, side).data, side };
}

/* Means of blocks of `factor` pixels, divided as Pillow does it, by a multiplication of 24
   bits; the last block may be smaller. */
function blockMeans(data, side, step, factor) {
  const small = Math.ceil(side / factor), out = new Uint8Array(small * small * 3);
  for (let y = 0; y < small; y++)
    for (let x = 0; x < small; x++) {
      const bottom = Math.min(side, (y + 1) * factor), right = Math.min(side, (x + 1) * factor);
      const count = (bottom - y * factor) * (right - x * factor);
      for (let c = 0; c < 3; c++) {
        let sum = Math.floor(count / 2);
        for (let i = y * factor; i < bottom; i++)
          for (let j = x * factor; j < right; j++) sum += data[step * (i * side + j) + c];
        out[3 * (y * small + x) + c] = Math.floor((sum * Math.floor(Math.fround(2 ** 24 / count))) / 2 ** 24);
      }
    }
  return { data: out, side: small };
}

/* For each of `out` pixels its first pixel of `side` and the weights of those from there
   on, in units of 2 ** -22; `length` of the pixels are to be filled with. */
function lanczos(side, length, out) {
  const sinc = (x) => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));
  const scale = length / out, wide = Math.max(scale, 1), support = 3 * wide;
  return Array.from({ length: out }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(side, Math.trunc(centre + support + 0.5));
    const weights = Array.from({ length: end - first }, (_, k) => {
      const x = (k + first - centre + 0.5) / wide;
      return Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0;
    });
    const sum = weights.reduce((a, b) => a + b);
    const fixed = weights.map((w) => Math.trunc((w / sum) * 2 ** 22 + (w < 0 ? -0.5 : 0.5)));
    return { first, fixed };
  });
}

/* RGBA of side x side pixels to RGB of out x out. */
function shrink(data, side, out) {
  const factor = Math.max(1, Math.floor(side / out));
  const blocks = blockMeans(data, side, 4, factor), length = side / factor;
  if (blocks.side === out && length === out) return blocks.data;
  const axis = lanczos(blocks.side, length, out), large = blocks.side;
  const filter = (from, rows, at) => { // along one axis; at(row, pixel) is its address
    const to = new Uint8ClampedArray(rows * out * 3);
    for (let r = 0; r < rows; r++)
      axis.forEach(({ first, fixed }, i) => {
        for (let c = 0; c < 3; c++) {
          let sum = 2 ** 21;
          fixed.forEach((weight, k) => { sum += weight * from[3 * at(r, first + k) + c]; });
          to[3 * (r * out + i) + c] = Math.floor(sum / 2 ** 22);
        }
      });
    return to;
  };
  const narrow = filter(blocks.data, large, (row, x) => row * large + x);
  const turned = filter(narrow, out, (column, y) => y * out + column); // [column][row]
  return Uint8Array.from(turned, (_, i) => {
    const c = i % 3, at = (i - c) / 3;
    return turned[3 * ((at % out) * out + Math.floor(at / out)) + c];
  });
}

/* A file of a photograph to uint8 RGB pixels of out x out. */
async function readPhoto(file, out) {
  const options = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(file, options);
  const { data, side } = middleSquare(bitmap, bitmap.width, bitmap.height);
  bitmap.close();
  return shrink(data, side, out);
}
