/* One unit of one layer: its nine patches, what drives them, and how often it answers. */
"use strict";

const KINDS = { pictures: "patches", guided: "guided backprop", deconvnet: "deconvnet", backprop: "backprop" };
const { side: SIDE, columns: COLUMNS, atlas: ATLAS, image: IMAGE } = shell; // of a unit's patches; of units in a sheet; of images
const ALL = [...Array(SIDE * SIDE).keys()];
const atlas = {}; // once it is here: {picture, size, full, number, label, name}
const svg = (tag, attributes) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

/* The box [top, left, bottom, right] of the image that a patch shows. */
function boxOf(data, unit, hit) {
  if (data.whole) return [0, 0, ...IMAGE];
  const { start, size, stride } = data.field;
  const at = [data.y[unit][hit] * stride[0] + start[0], data.x[unit][hit] * stride[1] + start[1]];
  return [...at, at[0] + size[0], at[1] + size[1]];
}

/* Draw one patch at (x, y), `zoom` screen pixels a pixel. */
function drawPatch(context, data, key, unit, hit, x, y, zoom) {
  const [height, width] = data.size, [y0, x0, y1, x1] = boxOf(data, unit, hit);
  const down = height / (y1 - y0), across = width / (x1 - x0); // less than 1 where patches were shrunk
  const top = Math.max(0, y0), left = Math.max(0, x0), tall = Math.min(IMAGE[0], y1) - top, wide = Math.min(IMAGE[1], x1) - left;
  context.fillStyle = "rgb(128 128 128 / .18)"; // shows where a patch leaves the image
  context.fillRect(x, y, width * zoom, height * zoom);
  const to = [x + (left - x0) * across * zoom, y + (top - y0) * down * zoom, wide * across * zoom, tall * down * zoom];
  const sheet = data.images[key];
  if (sheet) {
    const from = [((unit % COLUMNS) * SIDE + (hit % SIDE)) * width, (Math.floor(unit / COLUMNS) * SIDE + Math.floor(hit / SIDE)) * height];
    context.drawImage(sheet, from[0] + (left - x0) * across, from[1] + (top - y0) * down, wide * across, tall * down, ...to);
  } else { // no picture was shrunk: patches are cut from the images
    const slot = data.slot[unit][hit];
    context.drawImage(atlas.picture, (slot % ATLAS) * IMAGE[1] + left, Math.floor(slot / ATLAS) * IMAGE[0] + top, wide, tall, ...to);
  }
}

/* Draw patches `hits` of a unit in rows of `across`. */
function drawPatches(canvas, data, key, unit, hits, zoom, across, chosen = -1) {
  const [height, width] = data.size, gap = Math.max(1, Math.round(width * zoom * 0.06));
  canvas.width = across * width * zoom + (across + 1) * gap;
  canvas.height = Math.ceil(hits.length / across) * (height * zoom + gap) + gap;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  hits.forEach((hit, i) => {
    const x = gap + (i % across) * (width * zoom + gap), y = gap + Math.floor(i / across) * (height * zoom + gap);
    if (hit === chosen) {
      context.fillStyle = getComputedStyle(document.body).getPropertyValue("--accent");
      context.fillRect(x - gap, y - gap, width * zoom + 2 * gap, height * zoom + 2 * gap);
      context.clearRect(x, y, width * zoom, height * zoom);
    }
    drawPatch(context, data, key, unit, hit, x, y, zoom);
  });
}

/* Pixels of a whole image, RGBA, and the canvas that holds it. */
function wholeImage(slot) {
  const canvas = make("canvas"), [height, width] = atlas.size;
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(atlas.picture, (slot % ATLAS) * width, Math.floor(slot / ATLAS) * height, width, height, 0, 0, width, height);
  return { canvas, pixels: context.getImageData(0, 0, width, height).data };
}

const className = (label) => shell.classes[label].replaceAll("_", " ");
const colourOfClass = (label) => shell.colours[label % shell.colours.length];
const unitTitle = (data, unit) => `${data.name}, ${data.names ? data.names[data.channel[unit]].replaceAll("_", " ") : `unit ${data.channel[unit]}`}`;
const isDead = (data, unit) => data.value[unit][0] <= 0;
const labelsOf = (data, unit) => (atlas.label ? data.slot[unit].map((slot) => atlas.label[slot]) : []);
const imageName = (slot) => (atlas.name ? atlas.name[slot] : `${shell.called} ${atlas.number[slot]}`)
  + (atlas.label ? ` (${className(atlas.label[slot])})` : "");

/* Classes of the nine images: [label, how many], the most frequent first. */
function tally(data, unit) {
  const counts = new Map();
  for (const label of labelsOf(data, unit)) counts.set(label, (counts.get(label) || 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]);
}

class Panel {
  constructor(root, { onHit, buttons }) {
    this.root = root;
    root.classList.add("panel");
    this.title = make("h2");
    this.head = make("div", undefined, { class: "head" });
    this.head.append(this.title, ...buttons);
    this.tally = make("p", undefined, { class: "tally" });
    this.facts = make("p", undefined, { "aria-live": "polite" });
    this.quad = make("div", undefined, { class: "quad" });
    this.figures = {};
    for (const [key, name] of Object.entries(KINDS)) {
      const figure = make("figure"), caption = make("figcaption", name), scale = make("small");
      const nine = make("canvas", undefined, { role: "img", class: "nine" }), one = make("canvas", undefined, { role: "img", class: "one" });
      caption.append(scale);
      figure.append(caption, nine, one);
      nine.addEventListener("click", (event) => {
        const at = (length, size) => Math.min(SIDE - 1, Math.floor((SIDE * length) / size));
        onHit(at(event.offsetY, nine.clientHeight) * SIDE + at(event.offsetX, nine.clientWidth));
      });
      this.quad.append(figure);
      this.figures[key] = { figure, nine, one, scale };
    }
    this.whole = make("canvas", undefined, { role: "img" });
    this.bars = svg("svg", { viewBox: "0 0 320 90", role: "img" });
    this.often = make("p", "", { class: "soft" });
    const more = make("div", undefined, { class: "more" }), right = make("div");
    right.append(this.bars, this.often);
    more.append(this.whole, right);
    const table = make("details"), scroll = make("div", undefined, { class: "scroll", tabindex: 0, role: "group", "aria-label": "The nine patches" });
    scroll.innerHTML = `<table><thead><tr><th class="right">rank</th><th>image</th><th class="right">row</th>
      <th class="right">column</th><th class="right">activation</th></tr></thead><tbody></tbody></table>`;
    table.append(make("summary", "The nine patches as a table"), scroll);
    this.rows = scroll.querySelector("tbody");
    root.replaceChildren(this.head, this.tally, this.quad, this.facts, more, table);
  }
  show(data, unit, hit, kind) {
    Object.assign(this, { data, unit, hit });
    this.title.textContent = unitTitle(data, unit);
    const counts = tally(data, unit);
    this.tally.replaceChildren(...(isDead(data, unit) ? [make("span", "This unit is not active on any image; the first nine stand for all.")]
      : counts.map(([label, n]) => {
        const part = make("span"), chip = make("span", undefined, { class: "chip" });
        chip.style.background = colourOfClass(label);
        part.append(chip, `${n} ${className(label)}`);
        return part;
      })));
    this.rows.replaceChildren(...ALL.map((h) => {
      const row = make("tr");
      row.append(make("td", h + 1, { class: "right" }), make("td", imageName(data.slot[unit][h])),
        ...["y", "x", "value"].map((key) => make("td", data[key][unit][h], { class: "right" })));
      return row;
    }));
    const zoom = Math.ceil(81 / data.size[1]), name = unitTitle(data, unit);
    for (const [key, { figure, nine, one, scale }] of Object.entries(this.figures)) {
      figure.classList.toggle("shown", key === "pictures" || key === (kind === "pictures" ? "guided" : kind));
      drawPatches(nine, data, key, unit, ALL, zoom, SIDE, hit);
      drawPatches(one, data, key, unit, [hit], 3 * zoom, 1);
      nine.setAttribute("aria-label", `${KINDS[key]} of the nine strongest activations of ${name}`);
      one.setAttribute("aria-label", `${KINDS[key]} of activation ${hit + 1}, enlarged`);
      scale.textContent = key === "pictures" ? `of ${shell.total.toLocaleString("en")} images` : `scale ±${data.limits[key][unit]}`;
    }
    const slot = data.slot[unit][hit];
    this.facts.textContent = `Patch ${hit + 1} of 9: ${imageName(slot)}, row ${data.y[unit][hit]}, column ${data.x[unit][hit]} of the map, activation ${data.value[unit][hit]}.`;
    this.drawWhole(slot);
    this.drawBars();
  }
  drawWhole(slot) {
    const { canvas } = wholeImage(slot), [height, width] = atlas.size, zoom = Math.ceil(160 / width);
    this.whole.width = width * zoom;
    this.whole.height = height * zoom;
    const context = this.whole.getContext("2d"), [y0, x0, y1, x1] = boxOf(this.data, this.unit, this.hit);
    context.imageSmoothingEnabled = false;
    context.drawImage(canvas, 0, 0, width * zoom, height * zoom);
    const at = (value, axis) => Math.min(Math.max(value, 0), IMAGE[axis]) * (atlas.size[axis] / IMAGE[axis]) * zoom;
    for (const [colour, line] of [["#000", 5], ["#fff", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = line;
      context.strokeRect(at(x0, 1), at(y0, 0), at(x1, 1) - at(x0, 1), at(y1, 0) - at(y0, 0));
    }
    this.whole.setAttribute("aria-label", `The whole image, ${imageName(slot)}, with a frame around what the neuron sees`);
  }
  /* In how many images the unit's largest activation was how large. */
  drawBars() {
    const { data, unit } = this, counts = data.counts[unit], silent = data.silent[unit], end = data.end[unit];
    const limit = Math.log1p(Math.max(silent, ...counts)) || 1, ninth = data.value[unit][SIDE * SIDE - 1];
    const step = 300 / (counts.length + 1), tall = (n) => (70 * Math.log1p(n)) / limit;
    const bar = (i, n, top) => svg("rect", {
      x: 10 + i * step, y: 74 - tall(n), width: step - 1, height: tall(n), style: `fill: var(${top ? "--accent" : "--soft"})`,
    });
    const text = (x, words, anchor) => Object.assign(svg("text", { x, y: 88, "font-size": 11, "text-anchor": anchor, style: "fill: var(--soft)" }), { textContent: words });
    const label = end ? Number(end.toPrecision(3)) : 0;
    this.bars.replaceChildren(bar(0, silent, false), ...counts.map((n, i) => bar(i + 1, n, ((i + 1) * end) / counts.length > ninth)), text(10, "0", "start"), text(310, label, "end"));
    const share = (100 * silent) / shell.total, chosen = data.selectivity?.[unit];
    const words = `Silent in ${share.toFixed(share < 9.95 ? 1 : 0)} % of the images`
      + (chosen === undefined || chosen === null ? "" : `; selectivity ${chosen.toFixed(2)}`);
    this.bars.setAttribute("aria-label", `In how many of ${shell.total} images the unit's largest activation was how large, from 0 to ${label}. ${words}.`);
    this.often.textContent = `How strongly it answers to an image, from 0 to ${label}; bars count images (logarithmic). ${words}.`;
  }
}
