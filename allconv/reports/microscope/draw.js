/* Numbers to pictures, RGBA: pixels, feature maps, signed maps. A canvas has one pixel a
   cell and the style enlarges it. */
"use strict";

const VIRIDIS = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141],
  [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];
// Orange: something is lost; blue: gained; both seen by colour-blind people.
const DIVERGING = [[5, 72, 135], [92, 160, 206], [247, 247, 247], [241, 150, 70], [150, 60, 5]];

function ramp(colours, share) {
  const at = Math.min(Math.max(share, 0), 1) * (colours.length - 1), low = Math.min(Math.floor(at), colours.length - 2);
  return colours[low].map((v, i) => v + (at - low) * (colours[low + 1][i] - v));
}

function paint(canvas, [height, width], rgba) {
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  canvas.getContext("2d").putImageData(new ImageData(rgba, width, height), 0, 0);
}

function fromColours(count, colour) { // colour(i): [red, green, blue]
  const out = new Uint8ClampedArray(4 * count);
  for (let i = 0; i < count; i++) {
    [out[4 * i], out[4 * i + 1], out[4 * i + 2]] = colour(i);
    out[4 * i + 3] = 255;
  }
  return out;
}

const pictureOf = (pixels) => fromColours(pixels.length / 3, (i) => pixels.subarray(3 * i, 3 * i + 3));

/* 256 colours of a ramp, since maps have many cells. */
const lookUp = (colours) => Array.from({ length: 256 }, (_, i) => ramp(colours, i / 255));
const HEAT = lookUp(VIRIDIS), LOST = lookUp(DIVERGING);
const heatOf = (values, limit) => fromColours(values.length, (i) => HEAT[limit > 0 ? Math.round(255 * Math.min(Math.max(values[i] / limit, 0), 1)) : 0]);
const lostOf = (values, limit) => fromColours(values.length, (i) => LOST[Math.round(127.5 + 127.5 * (limit > 0 ? Math.min(Math.max(values[i] / limit, -1), 1) : 0))]);

/* As `maps.signed_limit`: a share of the magnitudes above 0 is not clipped. */
function signedLimit(map, percentile = 99.5) {
  const sorted = map.map(Math.abs).filter((v) => v > 0).sort();
  if (!sorted.length) return 0;
  const at = (percentile / 100) * (sorted.length - 1), low = Math.floor(at);
  return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}

/* As `maps.signed_colours`: zero is mid-grey, each colour by itself. */
function signedOf(map, limit) {
  const level = (v) => 127.5 + 127.5 * (limit > 0 ? Math.min(Math.max(v / limit, -1), 1) : 0);
  return fromColours(map.length / 3, (i) => [level(map[3 * i]), level(map[3 * i + 1]), level(map[3 * i + 2])]);
}

/* A box [top, left, bottom, right] of a picture; what lies beyond it is transparent. */
function crop(rgba, [height, width], [y0, x0, y1, x1]) {
  const out = new Uint8ClampedArray(4 * (y1 - y0) * (x1 - x0));
  for (let y = Math.max(0, y0); y < Math.min(height, y1); y++) {
    const left = Math.max(0, x0), right = Math.min(width, x1);
    out.set(rgba.subarray(4 * (y * width + left), 4 * (y * width + right)), 4 * ((y - y0) * (x1 - x0) + left - x0));
  }
  return out;
}

/* A frame in two colours, to be seen on any picture, on a canvas of `zoom` a pixel. */
function outline(context, [y0, x0, y1, x1], zoom) {
  for (const [colour, width] of [["#000", 4], ["#fff", 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.strokeRect(x0 * zoom, y0 * zoom, (x1 - x0) * zoom, (y1 - y0) * zoom);
  }
}
