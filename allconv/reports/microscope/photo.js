/* A photograph to a small square: turned as its camera says, the largest square of its
   middle, and of each small pixel the mean of what it covers. */
"use strict";

/* Pixels of the middle square of anything that can be drawn: {data, side}, RGBA. */
function middleSquare(source, width, height) {
  const side = Math.min(width, height), canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = false;
  context.drawImage(source, -Math.floor((width - side) / 2), -Math.floor((height - side) / 2));
  return { data: context.getImageData(0, 0, side, side).data, side };
}

/* RGBA of side x side pixels to RGB of out x out, area-averaged, rounded half up. */
function areaAverage(data, side, out) {
  const shares = (i) => { // [pixel, share of it] of what small pixel i covers
    const from = (i * side) / out, to = ((i + 1) * side) / out, list = [];
    for (let p = Math.floor(from); p < to; p++) {
      const share = Math.min(to, p + 1) - Math.max(from, p);
      if (share > 1e-9) list.push([p, share]);
    }
    return list;
  };
  const axis = Array.from({ length: out }, (_, i) => shares(i));
  const pixels = new Uint8Array(out * out * 3), area = (side / out) ** 2;
  for (let y = 0; y < out; y++)
    for (let x = 0; x < out; x++) {
      const sum = [0, 0, 0];
      for (const [row, tall] of axis[y])
        for (const [column, wide] of axis[x]) {
          const at = 4 * (row * side + column), share = tall * wide;
          for (let c = 0; c < 3; c++) sum[c] += share * data[at + c];
        }
      for (let c = 0; c < 3; c++) pixels[3 * (y * out + x) + c] = Math.floor(sum[c] / area + 0.5 + 1e-9);
    }
  return pixels;
}

/* A file of a photograph to uint8 RGB pixels of out x out. */
async function readPhoto(file, out) {
  const options = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(file, options);
  const { data, side } = middleSquare(bitmap, bitmap.width, bitmap.height);
  bitmap.close();
  return areaAverage(data, side, out);
}
