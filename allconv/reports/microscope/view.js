/* What the page draws: once a network, and with each answer of the laboratory. */
"use strict";

const RULE_NAMES = { backprop: "backprop", deconvnet: "deconvnet", guided: "guided backprop" };
const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
const number = (value, digits = 3) => Number(value.toPrecision(digits)).toString().replace("-", "−");

/* ---- Drawn once a network ---- */

function drawImages() {
  const size = side() ** 2 * 3;
  $("images").replaceChildren(...entry.images.names.map((name, i) => {
    const option = make("div", undefined, { role: "option", "data-number": i, "aria-label": name, title: name });
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

/* The address of a unit's patches; null where no page has them. */
function patchesOf(unit) {
  const { name, patches } = layerOf();
  if (facts.patches === null || !patches) return null;
  if (facts.shown && !facts.shown[name]?.includes(unit)) return null;
  return `${facts.patches}#${name}/${unit}`;
}

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
    const i = Number(option.dataset.number), p = answer.probabilities[i];
    option.querySelector(".bar").style.width = `${100 * p}%`;
    option.querySelector(".share").textContent = percent(p);
    option.querySelector(".name").style.fontWeight = i === first ? 700 : 400;
    option.querySelector(".name").classList.toggle("true", i === label);
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
    const button = make("button", `${unitName(unit).replace("unit ", "")} `, { type: "button", "data-number": unit });
    button.append(make("small", number(peaks[unit])));
    button.setAttribute("aria-pressed", unit === neuron.unit);
    if (patchesOf(unit) === null) return button;
    const pair = make("span", undefined, { class: "pair" });
    pair.append(button, make("a", "patches", { href: patchesOf(unit), "aria-label": `Patches of ${unitName(unit)}` }));
    return pair;
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

const figures = {}, keptFigures = {};

function makeFour(box, made) {
  for (const [key, title] of Object.entries({ patch: "image", ...RULE_NAMES })) {
    const figure = make("figure"), canvas = make("canvas", undefined, { role: "img" });
    const caption = make("figcaption", title), small = make("small"), audit = make("small", "", { class: "audit" });
    caption.append(small, audit);
    figure.append(canvas, caption);
    box.append(figure);
    made[key] = { canvas, small, audit };
  }
}

/* What a neuron sees of an image, and its three maps. */
function drawFour(made, pixels, neuron) {
  const image = [side(), side()], { field } = layerOf();
  const sees = field.stride[0] ? fieldOf(neuron.cell) : [0, 0, ...image];
  const large = sees[2] - sees[0] >= side() && sees[3] - sees[1] >= side();
  const box = $("whole").checked || large ? [0, 0, ...image] : sees;
  const pictures = { patch: [pictureOf(pixels), "what it can see"] };
  for (const [rule, map] of Object.entries(neuron.maps)) {
    const limit = signedLimit(map);
    pictures[rule] = [signedOf(map, limit), limit ? `scale ±${number(limit, 2)}` : "empty"];
  }
  for (const [key, [rgba, note]] of Object.entries(pictures)) {
    const { canvas, small, audit } = made[key], size = [box[2] - box[0], box[3] - box[1]];
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
}

function saidOf({ cell: [row, column], activation }) {
  const where = answer.shape[0] * answer.shape[1] === 1 ? "It" : `The neuron at row ${row}, column ${column}`;
  return `${where} answers ${number(activation)}` + (activation > 0 ? "." : ": it is silent, so backprop and guided backprop are empty.");
}

function drawNeuron() {
  const { neuron } = answer;
  drawFour(figures, pixels, neuron);
  $("neuron-title").textContent = `What drives ${layerOf().name}, ${unitName(neuron.unit)}`;
  $("neuron-facts").textContent = `${saidOf(neuron)} ${neuron.pattern ? "The whitening of the maps is undone: patterns, in proportion to grey levels." : "Maps are per grey level of a pixel, before preprocessing."}`;
  if (patchesOf(neuron.unit) !== null) $("neuron-facts").append(" ", make("a", "Its patches of the test set", { href: patchesOf(neuron.unit) }));
  drawKept();
  drawVotes();
}

/* The image beside: what the network says, and the same unit where it is strongest, or at
   the same place where one was chosen. */
function drawKept() {
  $("kept").hidden = !kept?.answer;
  if ($("kept").hidden) return;
  const { probabilities, neuron } = kept.answer;
  const best = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]).slice(0, 3);
  drawFour(keptFigures, kept.pixels, neuron);
  $("kept-title").textContent = `Beside it: ${kept.title}`;
  $("kept-facts").textContent = `The network says ${best.map((i) => `${entry.classes[i].replaceAll("_", " ")} ${percent(probabilities[i])}`).join(", ")}. ${saidOf(neuron)}`;
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
