/* The page: what is looked at, its address, and what a person does. */
"use strict";

/* ---- What is looked at ---- */

let entry = null, ready = null; // the network that is shown; that the laboratory has
const view = { image: 0, layer: 0, unit: null, cell: null, target: null };
let original = null, pixels = null; // uint8 RGB; `pixels` with what was painted
let answer = null, tool = "look", cursor = [16, 16];
let kept = null; // an image beside: {image, title, pixels, answer}
let asking = false, again = false;
const side = () => entry.network.input[0];
const whitened = () => entry.preprocessing.kind === "gcn_zca";

/* Ask for the newest view; while an answer is on its way, once more when it is here. */
async function look() {
  if (asking) { again = true; return; }
  asking = true;
  try {
    do {
      again = false;
      if (ready !== entry) return; // `go` looks when it is
      const { layer, unit, cell, target } = view, asked = entry, pattern = whitened() && $("pattern").checked;
      const result = await laboratory.ask("look", { pixels: pixels.slice(), view: { layer, unit, cell, target, pattern } });
      const { unit: chosen } = result.neuron, beside = kept; // of both images the same unit
      const other = beside && await laboratory.ask("look", { pixels: beside.pixels.slice(), view: { layer, unit: chosen, cell, target, pattern } });
      if (asked !== entry || layer !== view.layer) { again = true; continue; }
      answer = { ...result, layer };
      if (beside) beside.answer = other;
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
  const opening = entry, opened = await laboratory.ask("open", await partsOf(opening));
  ready = opening;
  entry.compiled = opened.compiled;
  entry.images.pixels ??= await unpack(entry.images.blob, Uint8Array);
  $("about").textContent = entry.about;
  $("pattern-part").hidden = !whitened();
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
  $("image-title").textContent = entry.images.names[image];
}

function setImage(rgb) {
  original = rgb;
  pixels = rgb.slice();
  painted(false);
  occlusionGone();
  look();
}

/* Of the test images, or null: none stays beside the other. */
function keepImage(image) {
  const size = side() ** 2 * 3;
  kept = image === null ? null
    : { image, title: entry.images.names[image], pixels: entry.images.pixels.slice(image * size, (image + 1) * size), answer: null };
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

/* ---- The address: #network/layer/unit/row,column/image/image beside ---- */

let going = false; // to an address, which is no new place in the history

function address() {
  const { layer, unit, cell, image } = view;
  const parts = [entry.title, entry.layers[layer].name, unit ?? "strongest", cell ? cell.join(",") : "strongest", image ?? "own"];
  if (kept) parts.push(kept.image ?? "own");
  remember("microscope", parts, { push: !going });
  if (!going) say([]);
}

function say(wrong) {
  $("said").hidden = !wrong.length;
  $("said").textContent = wrong.length ? `The address was not quite right: ${wrong.join("; ")}.` : "";
}

/* The nearest view to an address, and what was wrong in it. What is missing in it is the
   usual one. */
function fromAddress(hash) {
  const parts = partsOfAddress(hash), wrong = [];
  if (parts[0] === "microscope") parts.shift();
  const [title, name, unit, cell, image, beside] = parts;
  const named = (text, names, what, fallback) => {
    if (text === undefined || text === "") return fallback;
    const at = nearest(text, names);
    if (names[at] !== text) wrong.push(`there is no ${what} ${text}, this is ${names[at]}`);
    return at;
  };
  const which = named(title, facts.networks.map((one) => one.title), "network", 0);
  const { layers, images } = facts.networks[which];
  const layer = named(name, layers.map((one) => one.name), "layer", Math.min(layers.length - 1, Math.floor(layers.length * 0.6)));
  const [height, width, channels] = layers[layer].shape;
  const whole = (text, count, what, strongest) => {
    if (text === undefined || text === strongest) return null;
    const at = /^\d+$/.test(text) ? Math.min(Number(text), count - 1) : null;
    if (String(at) !== text) wrong.push(`there is no ${what} ${text}, this is ${at ?? "the usual one"}`);
    return at;
  };
  const rowColumn = cell === undefined || cell === "strongest" ? null
    : [whole(cell.split(",")[0], height, "row"), whole(cell.split(",")[1] ?? "", width, "column")];
  return {
    which, layer, wrong,
    unit: whole(unit, channels, "unit", "strongest"),
    cell: rowColumn?.includes(null) ? null : rowColumn,
    image: whole(image, images.names.length, "image", "own") ?? (image === "own" && original && entry === facts.networks[which] ? null : 0),
    beside: beside === "own" ? "own" : whole(beside, images.names.length, "image"),
  };
}

/* ---- Events ---- */

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
  $("keep").addEventListener("click", () => {
    kept = { image: $("restore").disabled ? view.image : null, title: $("image-title").textContent + ($("restore").disabled ? "" : ", painted"), pixels: pixels.slice(), answer: null };
    show({});
  });
  $("let-go").addEventListener("click", () => { keepImage(null); show({}); });
  $("occlude").addEventListener("click", () => occlude().catch((error) => fail(error.message)));
  $("whole").addEventListener("change", drawNeuron);
  $("pattern").addEventListener("change", look);
  $("file").addEventListener("change", () => take($("file").files[0]).then(() => { $("file").value = ""; }));
  $("camera").hidden = !navigator.mediaDevices?.getUserMedia;
  $("camera").addEventListener("click", () => (camera ? stopCamera() : startCamera()));
  addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
  for (const end of ["dragleave", "drop"]) addEventListener(end, () => document.body.classList.remove("dropping"));
  addEventListener("drop", (event) => { event.preventDefault(); take(event.dataTransfer.files[0]); });
  $("network").addEventListener("change", () => go({ ...fromAddress(`#${encodeURIComponent(facts.networks[$("network").value].title)}`), image: view.image, beside: "own" }));
  addEventListener("hashchange", () => {
    if (place.partOf(location.hash) === "microscope" && location.hash !== place.last.microscope) go(fromAddress(location.hash));
  });
  document.addEventListener("keydown", (event) => { // where no element has the keys
    if (event.target !== document.body || place.part !== "microscope" || !answer) return;
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const to = event.shiftKey ? follow(event, entry.layers.length, view.layer) : follow(event, answer.shape[2], answer.neuron.unit);
    if (to !== null) show(event.shiftKey ? { layer: to, unit: null, cell: null } : { unit: to, cell: null });
  });
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
  makeFour($("four"), figures);
  makeFour($("kept-four"), keptFigures);
  facts.networks.forEach(({ title }, i) => $("network").append(make("option", title, { value: i })));
  $("networks").hidden = facts.networks.length < 2;
}

/* `beside`: the image to keep beside; "own": as it is. */
async function go({ which, beside, wrong = [], ...wanted }) {
  going = true;
  try {
    const other = entry !== facts.networks[which];
    Object.assign(view, wanted, other ? { target: null } : {});
    answer = other ? null : answer;
    if (other) await open(which);
    if (beside !== "own") keepImage(beside);
    else if (kept?.pixels.length !== side() ** 2 * 3) keepImage(null);
    $("network").value = which;
    markTab();
    if (view.image === null) {
      address();
      setImage(pixels); // with what was painted
    } else choose(view.image);
    say(wrong);
  } catch (error) {
    fail(error.message);
  } finally {
    going = false;
  }
}

/* An image and a neuron from another part of the page, for the first network. */
async function bring(rgb, title, name, unit, cell) {
  const layer = facts.networks[0].layers.findIndex((one) => one.name === name);
  await go({ which: 0, layer, unit, cell, image: view.image ?? 0, beside: "own" });
  stopCamera();
  ownImage(title);
  setImage(Uint8Array.from(rgb));
}

drawTools();
wire();
laboratory.start();
go(fromAddress(place.partOf(location.hash) === "microscope" ? location.hash : ""));
