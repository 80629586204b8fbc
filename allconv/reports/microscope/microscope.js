/* The page: what a person does, asked of the laboratory, and its answers drawn. */
"use strict";

const $ = (id) => document.getElementById(id);
const make = (tag, text, attributes = {}) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};
const facts = JSON.parse($("facts").textContent);
const RULE_NAMES = { backprop: "backprop", deconvnet: "deconvnet", guided: "guided backprop" };
const TOOLS = { look: "Look", draw: "Draw", erase: "Erase", restore: "Restore" };
const GREY = 127;
const number = (value, digits = 3) => Number(value.toPrecision(digits)).toString().replace("-", "−");

/* ---- What was packed ---- */

async function unpack(name, Kind) {
  const text = atob($(name).textContent), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer()), wide = Kind.BYTES_PER_ELEMENT;
  const out = new Kind(planes.length / wide), to = new Uint8Array(out.buffer);
  for (let plane = 0, at = 0; plane < wide; plane++) // low bytes first
    for (let i = plane; i < to.length; i += wide) to[i] = planes[at++];
  return Kind === Int16Array ? out.map((v) => ((v & 0xffff) >> 1) ^ -(v & 1)) : out; // the sign was the lowest bit
}

/* Everything a laboratory takes; the kernels are checked and compiled where it works. */
async function partsOf(entry) {
  const { weights, preprocessing: { arrays }, ...rest } = entry;
  const values = weights.half ? fromHalf(await unpack(weights.blob, Uint16Array)) : await unpack(weights.blob, Float32Array);
  const constants = {};
  for (const [name, blob] of Object.entries(arrays)) constants[name] = await unpack(blob, name === "half" ? Int16Array : Float32Array);
  const kernels = atob($("kernels").textContent);
  return {
    network: entry.network, facts: { classMap: rest.classMap, votes: rest.votes }, values, constants,
    preprocessing: entry.preprocessing, binary: Uint8Array.from(kernels, (c) => c.charCodeAt(0)),
  };
}

/* ---- The laboratory, which answers in order ---- */

const laboratory = {
  waiting: new Map(), last: 0,
  start() {
    const source = [$("engine"), $("worker")].map((script) => script.textContent).join("\n");
    this.worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
    this.worker.onmessage = ({ data: { id, result, progress, error } }) => {
      const waiting = this.waiting.get(id);
      if (!waiting) return;
      if (progress !== undefined) return waiting.progress?.(progress);
      this.waiting.delete(id);
      if (error) waiting.reject(new Error(error));
      else waiting.resolve(result);
    };
    this.worker.onerror = (event) => fail(event.message);
  },
  ask(kind, question, progress) {
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, progress });
      this.worker.postMessage({ id, kind, ...question });
    });
  },
};

function fail(message) {
  $("state").hidden = false;
  $("state").textContent = `This did not work: ${message}`;
}

/* ---- What is looked at ---- */

let entry = null; // of the network
const view = { image: 0, layer: 0, unit: null, cell: null, target: null };
let original = null, pixels = null; // uint8 RGB; `pixels` with what was painted
let answer = null, tool = "look", cursor = [16, 16];
let asking = false, again = false;
const side = () => entry.network.input[0];

/* Ask for the newest view; while an answer is on its way, once more when it is here. */
async function look() {
  if (asking) { again = true; return; }
  asking = true;
  try {
    do {
      again = false;
      const { layer, unit, cell, target } = view, asked = entry;
      const result = await laboratory.ask("look", { pixels: pixels.slice(), view: { layer, unit, cell, target } });
      if (asked !== entry || layer !== view.layer) { again = true; continue; }
      answer = { ...result, layer };
      draw();
    } while (again);
  } catch (error) {
    fail(error.message);
  } finally {
    asking = false;
  }
}

async function open(which) {
  entry = facts.networks[which];
  $("state").hidden = false;
  $("state").textContent = `Unpacking ${entry.title} …`;
  const opened = await laboratory.ask("open", await partsOf(entry));
  entry.compiled = opened.compiled;
  entry.images.pixels ??= await unpack(entry.images.blob, Uint8Array);
  $("about").textContent = entry.about;
  drawImages();
  drawTabs();
  drawClasses();
  $("state").hidden = true;
  $("main").hidden = false;
}

function choose(image) {
  view.image = image;
  const size = side() ** 2 * 3;
  setImage(entry.images.pixels.slice(image * size, (image + 1) * size));
  address();
  for (const option of $("images").children) select(option, Number(option.dataset.number) === image);
  $("image-title").textContent = `Test image ${entry.images.numbers[image]}: ${entry.images.names[image]}`;
}

function setImage(rgb) {
  original = rgb;
  pixels = rgb.slice();
  painted(false);
  occlusionGone();
  look();
}

function painted(yes) {
  $("restore").disabled = !yes;
}

function select(option, yes) {
  option.setAttribute("aria-selected", yes);
  option.tabIndex = yes ? 0 : -1;
}

function show(changes) {
  Object.assign(view, changes);
  if ("layer" in changes) markTab();
  address();
  look();
}

/* ---- Drawn once a network ---- */

function drawImages() {
  const size = side() ** 2 * 3;
  $("images").replaceChildren(...entry.images.names.map((name, i) => {
    const option = make("div", undefined, { role: "option", "data-number": i, "aria-label": `${name}, test image ${entry.images.numbers[i]}`, title: name });
    const canvas = make("canvas", undefined, { "aria-hidden": true });
    paint(canvas, [side(), side()], pictureOf(entry.images.pixels.subarray(i * size, (i + 1) * size)));
    option.append(canvas);
    select(option, i === view.image);
    return option;
  }));
}

function drawTabs() {
  $("tabs").replaceChildren(...entry.layers.map(({ name, field }, i) => {
    const tab = make("button", name, { type: "button", role: "tab", id: `tab-${i}`, "aria-controls": "panel" });
    const whole = field.stride[0] === 0 || field.size[0] >= side();
    tab.append(make("small", whole ? "sees all" : `sees ${field.size[0]} px`));
    return tab;
  }));
  markTab();
}

function markTab() {
  [...$("tabs").children].forEach((tab, i) => {
    tab.setAttribute("aria-selected", i === view.layer);
    tab.tabIndex = i === view.layer ? 0 : -1;
    if (i === view.layer) $("tabs").scrollLeft = tab.offsetLeft - $("tabs").offsetLeft - ($("tabs").clientWidth - tab.clientWidth) / 2;
  });
  $("panel").setAttribute("aria-labelledby", `tab-${view.layer}`);
  $("units").replaceChildren(); // made anew by the next answer
}

const colourOf = (i) => facts.colours[i % facts.colours.length];

function drawClasses() {
  $("classes").replaceChildren(...entry.classes.map((name, i) => {
    const option = make("div", undefined, { role: "option", "data-number": i });
    const track = make("span"), bar = make("div", undefined, { class: "bar" });
    bar.style.background = colourOf(i);
    track.append(bar);
    option.append(make("span", name.replaceAll("_", " "), { class: "name" }), track, make("span", "", { class: "share" }));
    select(option, i === 0);
    return option;
  }));
}

/* ---- Drawn with each answer ---- */

function draw() {
  drawImage();
  drawAnswer();
  drawUnits();
  drawNeuron();
  drawClassMap();
  const { forward, all } = answer.times;
  $("times").textContent = `Last answer: ${forward.toFixed(0)} ms forward, ${all.toFixed(0)} ms with the three maps, ${entry.compiled ? "WebAssembly" : "JavaScript"}.`;
}

const layerOf = () => entry.layers[answer.layer];
const unitName = (unit) => {
  const [, , channels] = answer.shape;
  return channels === entry.classes.length && answer.layer >= entry.layers.length - 2
    ? entry.classes[unit].replaceAll("_", " ") : `unit ${unit}`;
};

function fieldOf([row, column]) {
  const { start, size, stride } = layerOf().field;
  const box = [row * stride[0] + start[0], column * stride[1] + start[1]];
  return [...box, box[0] + size[0], box[1] + size[1]];
}

function drawImage() {
  paint($("image"), [side(), side()], pictureOf(pixels));
  const label = entry.images.names[view.image], predicted = strongestClass();
  $("image").setAttribute("aria-label", `The image, ${view.image === null ? "your own" : label}; the network says ${entry.classes[predicted]}`);
  drawOver();
}

function drawOver() {
  const canvas = $("over"), zoom = 12;
  canvas.width = canvas.height = side() * zoom;
  const context = canvas.getContext("2d");
  if (answer && layerOf().field.stride[0]) {
    const [y0, x0, y1, x1] = fieldOf(answer.neuron.cell);
    const inside = [Math.max(0, y0), Math.max(0, x0), Math.min(side(), y1), Math.min(side(), x1)];
    if (inside[2] - inside[0] < side() || inside[3] - inside[1] < side()) outline(context, inside, zoom);
  }
  if (document.activeElement === $("image")) {
    const half = tool === "look" ? 0.5 : $("brush").value / 2;
    outline(context, [cursor[0] + 0.5 - half, cursor[1] + 0.5 - half, cursor[0] + 0.5 + half, cursor[1] + 0.5 + half], zoom);
  }
}

const strongestClass = () => answer.probabilities.indexOf(Math.max(...answer.probabilities));

function drawAnswer() {
  const first = strongestClass(), label = view.image === null ? undefined : entry.images.labels?.[view.image];
  for (const option of $("classes").children) {
    const i = Number(option.dataset.number), p = answer.probabilities[i], text = `${(100 * p).toFixed(p < 0.0995 ? 1 : 0)} %`;
    option.querySelector(".bar").style.width = `${100 * p}%`;
    option.querySelector(".share").textContent = text;
    option.querySelector(".name").style.fontWeight = i === first ? 700 : 400;
    option.querySelector(".name").classList.toggle("true", i === label);
    option.setAttribute("aria-label", `${entry.classes[i]}: ${text}${i === label ? ", the true class" : ""}`);
    if ((option.getAttribute("aria-selected") === "true") !== (i === answer.target)) select(option, i === answer.target);
  }
  $("classes-help").textContent = view.target === null
    ? "Choose a class to see where it is; now it is the likeliest one, whichever that is."
    : `${entry.classes[view.target]} is watched. Choose it again to watch the likeliest class.`;
  if (label !== undefined) $("classes-help").textContent += " ✓ is the true class.";
}

function drawUnits() {
  const { shape: [height, width, channels], values, peaks, neuron } = answer, grid = $("units");
  const named = unitName(0) !== "unit 0";
  if (grid.children.length !== channels) {
    grid.classList.toggle("named", named);
    grid.replaceChildren(...Array.from({ length: channels }, (_, unit) => {
      const option = make("div", undefined, { role: "option", "data-number": unit });
      option.append(make("canvas", undefined, { "aria-hidden": true }), make("span", named ? unitName(unit) : unit));
      select(option, false);
      return option;
    }));
    const { kind, window: cells, strides } = layerOf();
    const size = cells ? `${cells.join(" × ")} ${kind === "conv" ? "convolution" : kind}${strides && strides[0] > 1 ? `, stride ${strides[0]}` : ""}` : kind;
    $("layer-about").textContent = `${layerOf().name}: ${size}; ${channels} units${height * width > 1 ? `, each at ${height} × ${width} places` : ""}. Dark is 0; the lightest is the layer's strongest answer.`;
  }
  const limit = Math.max(...peaks), plane = new Float32Array(height * width);
  let chosen = null;
  for (const option of grid.children) {
    const unit = Number(option.dataset.number);
    for (let i = 0; i < plane.length; i++) plane[i] = values[i * channels + unit];
    const rgba = heatOf(plane, limit);
    paint(option.firstChild, [height, width], rgba);
    option.setAttribute("aria-label", `${unitName(unit)}, at most ${number(peaks[unit])}`);
    const here = unit === neuron.unit;
    if ((option.getAttribute("aria-selected") === "true") !== here) {
      select(option, here);
      if (here) reveal(option, grid);
    }
    if (here) chosen = rgba;
  }
  $("unit-title").textContent = `${layerOf().name}, ${unitName(neuron.unit)}`;
  $("map").hidden = $("map-help").hidden = height * width === 1;
  drawMap(chosen, [height, width], neuron.cell);
  const order = [...peaks.keys()].sort((a, b) => peaks[b] - peaks[a]).slice(0, 8);
  $("strongest").replaceChildren(...order.map((unit) => {
    const button = make("button", unitName(unit).replace("unit ", ""), { type: "button", "data-number": unit });
    button.append(make("small", number(peaks[unit])));
    button.setAttribute("aria-label", `${unitName(unit)}, ${number(peaks[unit])}`);
    button.setAttribute("aria-pressed", unit === neuron.unit);
    return button;
  }));
}

function drawMap(rgba, [height, width], [row, column]) {
  const canvas = $("map"), zoom = Math.ceil(256 / width), small = make("canvas");
  paint(small, [height, width], rgba);
  canvas.width = width * zoom;
  canvas.height = height * zoom;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, width * zoom, height * zoom);
  outline(context, [row, column, row + 1, column + 1], zoom);
  canvas.setAttribute("aria-label", `Map of ${unitName(answer.neuron.unit)}; the neuron at row ${row}, column ${column} answers ${number(answer.neuron.activation)}`);
}

/* As scrollIntoView, but without moving the page. */
function reveal(part, box) {
  const inner = part.getBoundingClientRect(), outer = box.getBoundingClientRect();
  box.scrollTop += Math.min(0, inner.top - outer.top) + Math.max(0, inner.bottom - outer.bottom);
  box.scrollLeft += Math.min(0, inner.left - outer.left) + Math.max(0, inner.right - outer.right);
}

const figures = {};

function drawNeuron() {
  const { neuron } = answer, image = [side(), side()], field = layerOf().field;
  const sees = field.stride[0] ? fieldOf(neuron.cell) : [0, 0, ...image];
  const large = sees[2] - sees[0] >= side() && sees[3] - sees[1] >= side();
  const box = $("whole").checked || large ? [0, 0, ...image] : sees;
  const pictures = { patch: [pictureOf(pixels), "what it can see"] };
  for (const [rule, map] of Object.entries(neuron.maps)) {
    const limit = signedLimit(map);
    pictures[rule] = [signedOf(map, limit), limit ? `scale ±${number(limit, 2)}` : "empty"];
  }
  for (const [key, [rgba, note]] of Object.entries(pictures)) {
    const { canvas, small, audit } = figures[key], size = [box[2] - box[0], box[3] - box[1]];
    paint(canvas, size, crop(rgba, image, box));
    if ($("whole").checked && !large) {
      const zoom = 8, copy = make("canvas");
      paint(copy, size, crop(rgba, image, box));
      canvas.width = canvas.height = side() * zoom;
      const context = canvas.getContext("2d");
      context.imageSmoothingEnabled = false;
      context.drawImage(copy, 0, 0, canvas.width, canvas.height);
      outline(context, sees, zoom);
    }
    small.textContent = note;
    audit.textContent = neuron.audits[key] ? `Audit: ${neuron.audits[key]}.` : "";
    canvas.setAttribute("aria-label", `${key === "patch" ? "Patch of the image" : RULE_NAMES[key]}: ${note}`);
  }
  const [row, column] = neuron.cell;
  $("neuron-title").textContent = `What drives ${layerOf().name}, ${unitName(neuron.unit)}`;
  const place = answer.shape[0] * answer.shape[1] === 1 ? "It" : `The neuron at row ${row}, column ${column}`;
  $("neuron-facts").textContent = `${place} answers ${number(neuron.activation)}`
    + (neuron.activation > 0 ? "." : ": it is silent, so backprop and guided backprop are empty.")
    + " Maps are per grey level of a pixel, before preprocessing.";
  if (facts.patches && layerOf().patches) $("neuron-facts").append(" ", make("a", "Its patches of the test set", { href: `${facts.patches}#${layerOf().name}/${neuron.unit}` }));
  drawVotes();
}

function drawVotes() {
  const { votes, neuron } = answer;
  $("votes-part").hidden = !votes;
  if (!votes) return;
  $("votes-title").textContent = `Classes that ${unitName(neuron.unit)} votes for`;
  const order = [...votes.keys()].sort((a, b) => votes[b] - votes[a]);
  const kept = order.length > 12 ? [...order.slice(0, 6), ...order.slice(-4)] : order;
  const limit = Math.max(...votes.map(Math.abs));
  $("votes").replaceChildren(...kept.map((i) => {
    const row = make("div", undefined, { class: "votes-row" }), track = make("div");
    const bar = make("div", undefined, { class: `bar ${votes[i] < 0 ? "against" : "for"}` });
    bar.style.width = `${(100 * Math.abs(votes[i])) / limit}%`;
    bar.style.background = colourOf(i);
    track.append(bar);
    row.append(make("span", entry.classes[i].replaceAll("_", " "), { class: "name" }), track, make("span", number(votes[i], 2), { class: "share" }));
    return row;
  }));
}

function drawClassMap() {
  const name = entry.classes[answer.target].replaceAll("_", " "), { classMap } = answer;
  $("class-title").textContent = `Where it sees: ${name}`;
  $("class-map-part").hidden = !classMap;
  if (!classMap) return;
  const limit = Math.max(...classMap.values);
  drawOnImage($("class-map"), heatOf(classMap.values, limit), classMap.shape, entry.layers[entry.classMap].field);
  const mean = classMap.values.reduce((a, b) => a + b) / classMap.values.length;
  $("class-map-about").textContent = `Class map: the score of ${name} at ${classMap.shape.join(" × ")} places, of which the mean, ${number(mean)}, is its score. Dark is 0; the lightest is ${number(limit)}.`;
  $("class-map").setAttribute("aria-label", `Class map of ${name}, at most ${number(limit)}`);
}

/* The cells of a map over the grey image, each where the neuron there looks at. */
function drawOnImage(canvas, rgba, [height, width], { start, size, stride }) {
  const zoom = 10, grey = pictureOf(pixels), small = make("canvas"), context = canvas.getContext("2d");
  for (let i = 0; i < grey.length; i += 4) grey.fill(0.3 * grey[i] + 0.59 * grey[i + 1] + 0.11 * grey[i + 2], i, i + 3);
  canvas.width = canvas.height = side() * zoom;
  context.imageSmoothingEnabled = false;
  paint(small, [side(), side()], grey);
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
  paint(small, [height, width], rgba);
  context.globalAlpha = 0.7;
  const [top, left] = [0, 1].map((axis) => (start[axis] + (size[axis] - stride[axis]) / 2) * zoom);
  context.drawImage(small, left, top, width * stride[1] * zoom, height * stride[0] * zoom);
}

/* ---- Occlusion, on demand ---- */

const OCCLUSION_ABOUT = $("occlusion-about").textContent;

function occlusionGone() {
  if (laboratory.worker) laboratory.worker.postMessage({ kind: "stop" });
  $("occlusion").hidden = true;
  $("occlusion-about").textContent = OCCLUSION_ABOUT;
}

async function occlude() {
  const { target } = answer, name = entry.classes[target].replaceAll("_", " "), bar = $("occlude-progress");
  bar.hidden = false;
  bar.value = 0;
  const lost = await laboratory.ask("occlude", { pixels: pixels.slice(), target }, (share) => { bar.value = share; });
  bar.hidden = true;
  if (!lost) return;
  const limit = Math.max(...lost.map(Math.abs));
  paint($("occlusion"), [side(), side()], lostOf(lost, limit));
  $("occlusion").hidden = false;
  $("occlusion").setAttribute("aria-label", `Occlusion map of ${name}`);
  $("occlusion-about").textContent = `Occlusion: probability of ${name} lost where a grey square of 8 pixels covers the image. Orange is lost, blue gained; the ends are ±${number(100 * limit, 2)} %.`;
}

/* ---- Painting ---- */

function use([row, column]) {
  if (tool === "look") {
    const { start, size, stride } = layerOf().field, [height, width] = answer.shape;
    const near = (at, axis, count) => stride[axis] ? Math.min(count - 1, Math.max(0, Math.round((at - start[axis] - (size[axis] - 1) / 2) / stride[axis]))) : 0;
    return show({ cell: [near(row, 0, height), near(column, 1, width)], unit: answer.neuron.unit });
  }
  const radius = $("brush").value / 2, hex = $("colour").value;
  const colour = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  for (let y = 0; y < side(); y++)
    for (let x = 0; x < side(); x++) {
      if ((y - row) ** 2 + (x - column) ** 2 > radius ** 2) continue;
      const at = 3 * (y * side() + x);
      for (let c = 0; c < 3; c++) pixels[at + c] = tool === "draw" ? colour[c] : tool === "erase" ? GREY : original[at + c];
    }
  painted(true);
  occlusionGone();
  drawImage();
  look();
}

function pixelAt(event, canvas, [height, width]) {
  const box = canvas.getBoundingClientRect();
  const at = (length, full, count) => Math.min(count - 1, Math.max(0, Math.floor((length / full) * count)));
  return [at(event.clientY - box.top, box.height, height), at(event.clientX - box.left, box.width, width)];
}

/* ---- Photographs ---- */

async function take(file) {
  if (!file) return;
  stopCamera();
  try {
    const rgb = await readPhoto(file, side());
    ownImage(file.name);
    setImage(rgb);
  } catch {
    fail(`${file.name} is no picture that this browser can read.`);
  }
}

function ownImage(title) {
  view.image = null;
  address();
  for (const option of $("images").children) select(option, false);
  $("images").firstChild.tabIndex = 0;
  $("image-title").textContent = title;
  $("state").hidden = true;
}

let camera = null;

async function startCamera() {
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 320 }, facingMode: "environment" } });
    const video = Object.assign(make("video"), { muted: true, playsInline: true });
    video.srcObject = stream;
    await video.play();
    camera = { stream, video };
    $("camera").setAttribute("aria-pressed", true);
    ownImage("Webcam");
    frameOfCamera();
  } catch (error) {
    fail(`the webcam: ${error.message}`);
  }
}

function frameOfCamera() {
  if (!camera) return;
  const { video } = camera;
  if (!asking && video.videoWidth) {
    const { data, side: large } = middleSquare(video, video.videoWidth, video.videoHeight);
    setImage(shrink(data, large, side()));
  }
  requestAnimationFrame(frameOfCamera);
}

function stopCamera() {
  camera?.stream.getTracks().forEach((track) => track.stop());
  camera = null;
  $("camera").setAttribute("aria-pressed", false);
}

/* ---- The address: #network/layer/unit/row,column/image ---- */

function address() {
  const { layer, unit, cell, image } = view;
  const parts = [entry.title, entry.layers[layer].name, unit ?? "strongest", cell ? cell.join(",") : "strongest", image ?? "own"];
  history.replaceState(null, "", `#${parts.map(encodeURIComponent).join("/")}`);
}

/* The nearest view to an address: what is missing or wrong in it is the usual one. */
function fromAddress(hash) {
  let parts = [];
  try {
    parts = decodeURIComponent(hash.slice(1)).split("/");
  } catch { /* no address of ours */ }
  const [title, name, unit, cell, image] = parts;
  const which = Math.max(0, facts.networks.findIndex((one) => one.title === title));
  const layers = facts.networks[which].layers, found = layers.findIndex((one) => one.name === name);
  const whole = (text, fallback) => (/^\d+$/.test(text ?? "") ? Number(text) : fallback);
  const pair = (cell ?? "").split(",").map((text) => whole(text, null));
  return {
    which,
    layer: found < 0 ? Math.min(layers.length - 1, Math.floor(layers.length * 0.6)) : found,
    unit: found < 0 ? null : whole(unit, null),
    cell: found < 0 || pair.length !== 2 || pair.includes(null) ? null : pair,
    image: Math.min(whole(image, 0), facts.networks[which].images.names.length - 1),
  };
}

/* ---- Events ---- */

/* Where a key leads in a list of `count`, of which `across` stand in a row. */
function follow(event, count, current, across = 1) {
  if (event.ctrlKey || event.metaKey || event.altKey) return null; // the browser's
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across }[event.key];
  const to = { Home: 0, End: count - 1 }[event.key] ?? (step ? current + step : null);
  if (to === null) return null;
  event.preventDefault();
  return to >= 0 && to < count ? to : null;
}

function listbox(list, chosen, { inRows = false } = {}) {
  const options = () => [...list.children];
  list.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) chosen(Number(option.dataset.number));
  });
  list.addEventListener("keydown", (event) => {
    const current = options().indexOf(event.target);
    if (current < 0) return;
    if (event.key === " " || event.key === "Enter") {
      event.preventDefault();
      return chosen(Number(event.target.dataset.number));
    }
    const top = options()[0].offsetTop, across = inRows ? options().filter((o) => o.offsetTop === top).length : 1;
    const to = follow(event, options().length, current, across);
    if (to === null) return;
    options()[to].focus({ preventScroll: true });
    reveal(options()[to], list);
    chosen(Number(options()[to].dataset.number));
  });
}

function wire() {
  listbox($("images"), (i) => { stopCamera(); choose(i); });
  listbox($("classes"), (i) => show({ target: view.target === i ? null : i }));
  listbox($("units"), (unit) => show({ unit, cell: null }), { inRows: true });
  const moveTo = (layer) => show({ layer, unit: null, cell: null });
  $("tabs").addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) moveTo([...$("tabs").children].indexOf(tab));
  });
  $("tabs").addEventListener("keydown", (event) => {
    const to = follow(event, entry.layers.length, view.layer, 0);
    if (to === null) return;
    moveTo(to);
    $("tabs").children[to].focus({ preventScroll: true });
  });
  $("strongest").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) show({ unit: Number(button.dataset.number), cell: null });
  });
  const map = $("map");
  map.addEventListener("click", (event) => show({ unit: answer.neuron.unit, cell: pixelAt(event, map, answer.shape) }));
  map.addEventListener("keydown", (event) => {
    if (event.key === "Home") { event.preventDefault(); return show({ unit: answer.neuron.unit, cell: null }); }
    const move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const from = view.cell ?? answer.neuron.cell;
    const cell = from.map((at, axis) => Math.min(answer.shape[axis] - 1, Math.max(0, at + move[axis])));
    show({ unit: answer.neuron.unit, cell });
  });

  const image = $("image"), paintOrLook = (event) => use((cursor = pixelAt(event, image, [side(), side()])));
  image.addEventListener("pointerdown", (event) => {
    image.setPointerCapture(event.pointerId);
    paintOrLook(event);
  });
  image.addEventListener("pointermove", (event) => { if (image.hasPointerCapture(event.pointerId)) paintOrLook(event); });
  image.addEventListener("keydown", (event) => {
    if (event.key === " " || event.key === "Enter") { event.preventDefault(); return use(cursor); }
    const move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    cursor = cursor.map((at, axis) => Math.min(side() - 1, Math.max(0, at + move[axis])));
    drawOver();
  });
  for (const event of ["focus", "blur"]) image.addEventListener(event, drawOver);
  $("restore").addEventListener("click", () => setImage(original));
  $("occlude").addEventListener("click", () => occlude().catch((error) => fail(error.message)));
  $("whole").addEventListener("change", drawNeuron);
  $("file").addEventListener("change", () => take($("file").files[0]).then(() => { $("file").value = ""; }));
  $("camera").hidden = !navigator.mediaDevices?.getUserMedia;
  $("camera").addEventListener("click", () => (camera ? stopCamera() : startCamera()));
  addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
  for (const end of ["dragleave", "drop"]) addEventListener(end, () => document.body.classList.remove("dropping"));
  addEventListener("drop", (event) => { event.preventDefault(); take(event.dataTransfer.files[0]); });
  $("network").addEventListener("change", () => go({ ...fromAddress(`#${facts.networks[$("network").value].title}`), image: view.image }));
  addEventListener("hashchange", () => go(fromAddress(location.hash)));
}

function drawTools() {
  for (const [value, title] of Object.entries(TOOLS)) {
    const label = make("label"), input = make("input", undefined, { type: "radio", name: "tool", value });
    input.checked = value === tool;
    input.addEventListener("change", () => {
      tool = value;
      $("image").classList.toggle("painting", tool !== "look");
      drawOver();
    });
    label.append(input, title);
    $("tools").append(label);
  }
  for (const [key, title] of Object.entries({ patch: "image", ...RULE_NAMES })) {
    const figure = make("figure"), canvas = make("canvas", undefined, { role: "img" });
    const caption = make("figcaption", title), small = make("small"), audit = make("small", "", { class: "audit" });
    caption.append(small, audit);
    figure.append(canvas, caption);
    $("four").append(figure);
    figures[key] = { canvas, small, audit };
  }
  facts.networks.forEach(({ title }, i) => $("network").append(make("option", title, { value: i })));
  $("networks").hidden = facts.networks.length < 2;
}

async function go({ which, ...wanted }) {
  try {
    const other = entry !== facts.networks[which];
    Object.assign(view, wanted, other ? { target: null } : {});
    answer = other ? null : answer;
    if (other) await open(which);
    $("network").value = which;
    const { channels, height, width } = sizeOf(view.layer);
    if (view.unit !== null && view.unit >= channels) view.unit = null;
    if (view.cell && (view.cell[0] >= height || view.cell[1] >= width)) view.cell = null;
    markTab();
    if (view.image === null) setImage(original);
    else choose(view.image);
  } catch (error) {
    fail(error.message);
  }
}

function sizeOf(layer) {
  const [height, width, channels] = entry.layers[layer].shape;
  return { height, width, channels };
}

drawTools();
wire();
laboratory.start();
go(fromAddress(location.hash));
