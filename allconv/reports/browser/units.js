/* Leafing through the units: which are shown, in which order, by pointer, keys, address. */
"use strict";

{
const LAYERS = shell.layers.map(({ name }) => name);
const NINES = Object.keys(KINDS);
const wide = matchMedia("(min-width: 66rem)"); // as in the style: all units stand beside one
const opened = new Map(); // layer name -> its data, with decoded sheets
const now = { unit: 0, hit: 0, kind: "pictures", filter: "all", sort: "number" };
let layer = null, wanted = "", order = [], pinned = null;

/* ---- Data, which arrive while the page is being read ---- */

async function arrival(id) {
  const here = () => { // whole, once something stands behind it
    const script = $(id);
    return script && (script.nextSibling || document.readyState !== "loading") ? script : null;
  };
  while (!here()) await new Promise((go) => setTimeout(go, 40));
  return JSON.parse(here().textContent);
}

async function decoded(packed) {
  const image = new Image(), address = URL.createObjectURL(new Blob([bytesOf(packed)], { type: "image/webp" }));
  image.src = address;
  await image.decode();
  URL.revokeObjectURL(address);
  return image;
}

async function open(name) {
  if (!atlas.picture) {
    const { sheet, ...facts } = await arrival("u-images");
    Object.assign(atlas, facts, { picture: await decoded(sheet) });
  }
  if (!opened.has(name)) {
    const data = await arrival(`data-${name}`);
    data.images = {};
    await Promise.all(Object.entries(data.sheets).map(async ([key, packed]) => { data.images[key] = await decoded(packed); }));
    delete data.sheets; // the pictures have them
    opened.set(name, data);
  }
  return opened.get(name);
}

/* ---- What is shown ---- */

/* `beside`: the unit to keep beside, {name, channel, hit}; null: none; without it: as it is. */
async function showLayer(name, { channel = 0, hit = 0, kind = now.kind, beside, wrong = [], push = true } = {}) {
  wanted = name;
  $("u-layer").setAttribute("aria-busy", "true");
  $("u-state").hidden = false;
  $("u-state").textContent = `Loading ${name} …`;
  for (const tab of $("u-tabs").children) {
    const here = tab.dataset.name === name;
    tab.setAttribute("aria-selected", here);
    tab.tabIndex = here ? 0 : -1;
    if (here) centre(tab);
  }
  const data = await open(name), second = beside && await open(beside.name);
  if (wanted !== name) return; // another layer was chosen while this one was decoded
  layer = data;
  now.kind = kind;
  $("u-kind").value = kind;
  drawAbout();
  drawFilter();
  const found = (here, number) => {
    const gaps = here.channel.map((one) => Math.abs(one - number)), unit = gaps.indexOf(Math.min(...gaps));
    if (gaps[unit]) wrong = [...wrong, `there is no unit ${number} on this page, this is ${here.channel[unit]}`];
    return unit;
  };
  const unit = now.unit = found(data, channel);
  if (beside !== undefined) pinned = second && { layer: second, unit: found(second, beside.channel), hit: beside.hit };
  drawGrid();
  if (!order.includes(unit)) {
    now.filter = $("u-filter").value = "all";
    drawGrid();
  }
  showUnit(unit, { hit, push });
  say(wrong);
  $("u-layer").setAttribute("aria-labelledby", `u-tab-${name}`);
  $("u-state").hidden = true;
  $("u-layer").setAttribute("aria-busy", "false");
}

function centre(tab) {
  $("u-tabs").scrollLeft = tab.offsetLeft - $("u-tabs").offsetLeft - ($("u-tabs").clientWidth - tab.clientWidth) / 2;
}

function say(wrong) {
  $("u-said").hidden = !wrong.length;
  $("u-said").textContent = wrong.length ? `The address was not quite right: ${wrong.join("; ")}.` : "";
}

function drawAbout() {
  $("u-about").textContent = layer.about.replace(/ × /g, "\u00a0×\u00a0");
  const field = $("u-field"), [height, width] = IMAGE, [y0, x0, y1, x1] = layer.middle;
  const pad = Math.max(2, -y0, -x0, y1 - height, x1 - width);
  field.setAttribute("viewBox", `${-pad} ${-pad} ${width + 2 * pad} ${height + 2 * pad}`);
  field.setAttribute("aria-label", `The part of the image that the unit in the middle sees: ${y1 - y0} by ${x1 - x0} pixels of ${height} by ${width}`);
  field.replaceChildren(
    svg("rect", { x: 0, y: 0, width, height, style: "fill: none; stroke: var(--soft)" }),
    svg("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0, style: "fill: var(--accent); fill-opacity: .35; stroke: var(--accent)" }),
  );
}

/* Classes that are among the nine of a unit of this layer, and the dead. */
function drawFilter() {
  const there = new Set(layer.slot.flatMap((_, unit) => labelsOf(layer, unit)));
  const choices = [["all", "all units"], ["dead", "dead units"],
    ...[...there].sort((a, b) => a - b).map((label) => [String(label), `for ${className(label)}`])];
  $("u-filter").replaceChildren(...choices.map(([value, text]) => make("option", text, { value })));
  if (!choices.some(([value]) => value === now.filter)) now.filter = "all";
  $("u-filter").value = now.filter;
  const sorts = { number: "number", strength: "strongest activation", silent: "how often silent" };
  if (layer.selectivity) sorts.selectivity = "selectivity";
  $("u-sort").replaceChildren(...Object.entries(sorts).map(([value, text]) => make("option", text, { value })));
  if (!sorts[now.sort]) now.sort = "number";
  $("u-sort").value = now.sort;
}

const ofClass = (unit, label) => labelsOf(layer, unit).filter((other) => other === label).length;

/* Units of the filter; for a class those with a third of their nine of it, most first. */
function ordered() {
  const all = [...layer.channel.keys()], least = SIDE;
  const keys = { strength: (u) => -layer.value[u][0], silent: (u) => -layer.silent[u], selectivity: (u) => -layer.selectivity[u], number: (u) => u };
  const key = keys[now.sort], sorted = (units) => units.sort((a, b) => key(a) - key(b) || a - b);
  if (now.filter === "all") return sorted(all);
  if (now.filter === "dead") return sorted(all.filter((u) => isDead(layer, u)));
  const label = Number(now.filter), found = sorted(all.filter((u) => !isDead(layer, u) && ofClass(u, label) >= least));
  return now.sort === "number" ? found.sort((a, b) => ofClass(b, label) - ofClass(a, label) || a - b) : found;
}

function drawGrid() {
  order = ordered();
  const zoom = Math.ceil(24 / layer.size[1]);
  $("u-count").textContent = order.length === layer.channel.length ? `${order.length} units` : `${order.length} of ${layer.channel.length} units`;
  $("u-grid").replaceChildren(...order.map((unit) => {
    const option = make("div", undefined, { role: "option", "data-unit": unit, "aria-selected": unit === now.unit, tabindex: unit === now.unit ? 0 : -1 });
    const canvas = make("canvas", undefined, { "aria-hidden": true }), [most] = tally(layer, unit);
    drawPatches(canvas, layer, now.kind, unit, ALL, zoom, SIDE);
    canvas.style.width = `${Math.min(canvas.width, 144)}px`; // photographs' are larger
    if (canvas.width > 144) canvas.style.imageRendering = "auto";
    option.setAttribute("aria-label", unitTitle(layer, unit) + (isDead(layer, unit) ? ": never active" : most ? `: ${most[1]} of 9 of class ${className(most[0])}` : ""));
    option.classList.toggle("dead", isDead(layer, unit));
    option.append(canvas, make("span", layer.names ? layer.names[layer.channel[unit]].replaceAll("_", " ") : layer.channel[unit]));
    return option;
  }));
  if (order.length && !order.includes(now.unit)) $("u-grid").firstChild.tabIndex = 0;
}

function showUnit(unit, { hit = 0, focus = false, push = true } = {}) {
  now.unit = unit;
  now.hit = hit;
  for (const option of $("u-grid").children) {
    const here = Number(option.dataset.unit) === unit;
    option.setAttribute("aria-selected", here);
    option.tabIndex = here ? 0 : -1;
    if (here && focus) option.focus({ preventScroll: true });
    if (here) reveal(option, $("u-grid"));
  }
  $("u-number").value = layer.channel[unit];
  $("u-number").max = layer.channel.at(-1);
  $("u-previous").disabled = order.indexOf(unit) <= 0;
  $("u-next").disabled = order.indexOf(unit) === order.length - 1;
  draw();
  address({ push });
  say([]);
}

function address({ push = true } = {}) {
  const names = ["units", layer.name, layer.channel[now.unit], now.kind, now.hit + 1];
  if (pinned) names.push(pinned.layer.name, pinned.layer.channel[pinned.unit], pinned.hit + 1);
  remember("units", names, { push });
}

function draw() {
  main.show(layer, now.unit, now.hit, now.kind);
  other.root.hidden = !pinned;
  document.body.classList.toggle("pinned", Boolean(pinned));
  $("u-pin").textContent = pinned ? "Keep this one" : "Keep beside";
  if (pinned) other.show(pinned.layer, pinned.unit, pinned.hit, now.kind);
}

function pin(yes) {
  pinned = yes ? { layer, unit: now.unit, hit: now.hit } : null;
  draw();
  address();
}

function project(yes) {
  document.documentElement.classList.toggle("projector", yes);
  $("u-project").setAttribute("aria-pressed", yes);
  centre($("u-tabs").querySelector("[aria-selected=true]")); // tabs have another width now
}

/* ---- The address: #units/layer/unit/view/patch, and layer/unit/patch of the unit beside;
   older ones are #layer/unit ---- */

function fromAddress(hash) {
  const parts = partsOfAddress(hash), wrong = [];
  if (parts[0] === "units") parts.shift();
  let [name, unit, kind, patch, ...beside] = parts;
  if (name && !LAYERS.includes(name)) { // a slash may be part of a layer's name, unescaped
    const longer = LAYERS.find((other) => other.includes("/") && parts.join("/").startsWith(`${other}/`));
    if (longer) [name, unit, kind, patch, ...beside] = [longer, ...parts.slice(longer.split("/").length)];
  }
  if (kind !== undefined && !NINES.includes(kind)) wrong.push(`there is no view ${kind}, these are patches`);
  const one = (name, unit = "0", patch = "1") => {
    const at = name ? nearest(name, LAYERS) : Math.min(LAYERS.length - 1, shell.first);
    if (name && LAYERS[at] !== name) wrong.push(`there is no layer ${name}, this is ${LAYERS[at]}`);
    const channel = /^\d+$/.test(unit) ? Number(unit) : 0, hit = /^[1-9]$/.test(patch) ? Number(patch) : 1;
    if (!/^\d+$/.test(unit)) wrong.push(`there is no unit ${unit}, this is the first`);
    if (String(hit) !== patch) wrong.push(`there is no patch ${patch}, this is the first`);
    return { name: LAYERS[at], channel, hit: hit - 1 };
  };
  const first = one(name, unit, patch), second = beside.length ? one(...beside) : null;
  return [first.name, { ...first, kind: NINES.includes(kind) ? kind : "pictures", beside: second, wrong, push: false }];
}

/* ---- By pointer and keys ---- */

const button = (id, text, label, action) => {
  const made = make("button", text, { type: "button", id, ...(label ? { "aria-label": label } : {}) });
  made.addEventListener("click", action);
  return made;
};
const step = (by) => {
  const at = order.indexOf(now.unit) + by;
  if (at >= 0 && at < order.length) showUnit(order[at]);
};
const showHit = (hit) => showUnit(now.unit, { hit });
const number = make("input", undefined, { type: "number", id: "u-number", min: 0, inputmode: "numeric", "aria-label": "Number of the unit" });
const main = new Panel($("u-panels").appendChild(make("div")), {
  onHit: showHit,
  buttons: [
    button("u-previous", "\u2190", "Previous unit", () => step(-1)), number,
    button("u-next", "\u2192", "Next unit", () => step(1)),
    Object.assign(button("u-pin", "Keep beside", null, () => pin(true)), { className: "many" }),
    Object.assign(button("u-project", "Projector", null, () => project(!document.documentElement.classList.contains("projector"))), { className: "wide" }),
    ...(shell.live.length ? [Object.assign(button("u-live", "In the microscope", null, toMicroscope), { className: "many" })] : []),
  ],
});
const other = new Panel($("u-panels").appendChild(make("div", undefined, { hidden: "" })), {
  onHit: (hit) => { pinned.hit = hit; draw(); address(); },
  buttons: [button("u-unpin", "Let go", null, () => pin(false))],
});

/* The image of this patch, with this unit, where the network runs. */
function toMicroscope() {
  const slot = layer.slot[now.unit][now.hit], { pixels } = wholeImage(slot);
  const cell = layer.whole ? null : [layer.y[now.unit][now.hit], layer.x[now.unit][now.hit]];
  if (typeof bring !== "function") return; // it is still on its way
  $("parts").querySelector("[data-part=microscope]").click();
  bring(pixels.filter((_, i) => i % 4 < 3), imageName(slot), layer.name, layer.channel[now.unit], cell);
}

for (const { name, note } of shell.layers) {
  const tab = make("button", name, { type: "button", role: "tab", id: `u-tab-${name}`, "data-name": name, "aria-controls": "u-layer" });
  tab.append(make("small", note));
  tab.addEventListener("click", () => showLayer(name));
  $("u-tabs").append(tab);
}
$("u-tabs").addEventListener("keydown", (event) => {
  const to = follow(event, LAYERS.length, LAYERS.indexOf(wanted), 0);
  if (to === null) return;
  showLayer(LAYERS[to]);
  $("u-tabs").children[to].focus({ preventScroll: true });
});
for (const [value, text] of Object.entries(KINDS)) $("u-kind").append(make("option", text, { value }));
for (const [id, key] of [["u-filter", "filter"], ["u-sort", "sort"], ["u-kind", "kind"]])
  $(id).addEventListener("change", () => {
    now[key] = $(id).value;
    drawGrid();
    if (order.length) showUnit(order.includes(now.unit) && key === "kind" ? now.unit : order[0], { hit: key === "kind" ? now.hit : 0 });
  });
$("u-grid").addEventListener("click", (event) => {
  const option = event.target.closest("[role=option]");
  if (!option) return;
  showUnit(Number(option.dataset.unit), { focus: true });
  if (!wide.matches) $("u-panels").scrollIntoView({ behavior: "smooth" });
});
$("u-grid").addEventListener("keydown", (event) => {
  if (event.shiftKey) return;
  const top = $("u-grid").firstChild.offsetTop;
  const across = [...$("u-grid").children].filter((option) => option.offsetTop === top).length;
  const to = follow(event, order.length, order.indexOf(Number(event.target.dataset.unit)), across);
  if (to !== null) showUnit(order[to], { focus: true });
  if (event.key.startsWith("Arrow")) event.stopPropagation();
});
number.addEventListener("change", () => {
  const gaps = order.map((unit) => Math.abs(layer.channel[unit] - Number(number.value)));
  if (order.length) showUnit(order[gaps.indexOf(Math.min(...gaps))]);
});
document.addEventListener("keydown", (event) => { // where no element needs the keys itself
  if (place.part !== "units" || !layer || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, select, [role=tab]")) return;
  if (/^[1-9]$/.test(event.key)) return showHit(Number(event.key) - 1);
  if (event.key === "p") return pin(!pinned);
  if (event.key === "b") return project(!document.documentElement.classList.contains("projector"));
  if (event.key === "Escape") return project(false);
  if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
  event.preventDefault();
  const by = event.key === "ArrowRight" ? 1 : -1, to = LAYERS.indexOf(wanted) + by;
  if (!event.shiftKey) step(by);
  else if (LAYERS[to]) showLayer(LAYERS[to]);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => layer && draw());
addEventListener("hashchange", () => {
  if (place.partOf(location.hash) === "units" && location.hash !== place.last.units) showLayer(...fromAddress(location.hash));
});
showLayer(...fromAddress(place.part === "units" ? location.hash : ""));
}
