/* What all parts of a page share: elements, keys in lists, the address. */
"use strict";

const $ = (id) => document.getElementById(id);
const make = (tag, text, attributes = {}) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

/* Bytes that `packed.text` of Python wrote: two characters are 13 bits, a single last one 6. */
const PACKED = new Map([...Array(95).keys()].map((i) => String.fromCharCode(32 + i)).filter((c) => !'"&<\\'.includes(c)).map((c, i) => [c.charCodeAt(0), i]));
function bytesOf(text) {
  const value = Uint8Array.from({ length: 128 }, (_, code) => PACKED.get(code)), length = text.length;
  const out = new Uint8Array(Math.floor(((length >> 1) * 13 + (length % 2) * 6) / 8));
  let held = 0, bits = 0, to = 0;
  for (let i = 0; i < length; i += 2) {
    const first = value[text.charCodeAt(i)], single = i + 1 === length;
    held = single ? (held << 6) | first : (held << 13) | (91 * first + value[text.charCodeAt(i + 1)]);
    bits += single ? 6 : 13;
    while (bits >= 8 && to < out.length) out[to++] = held >> (bits -= 8); // its low byte
  }
  return out;
}

/* Where a key leads in a list of `count`, of which `across` stand in a row. */
function follow(event, count, current, across = 1) {
  if (event.ctrlKey || event.metaKey || event.altKey) return null; // the browser's
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across }[event.key];
  const to = { Home: 0, End: count - 1 }[event.key] ?? (step ? current + step : null);
  if (to === null) return null;
  event.preventDefault();
  return to >= 0 && to < count ? to : null;
}

/* As scrollIntoView, but without moving the page. */
function reveal(part, box) {
  const inner = part.getBoundingClientRect(), outer = box.getBoundingClientRect();
  box.scrollTop += Math.min(0, inner.top - outer.top) + Math.max(0, inner.bottom - outer.bottom);
  box.scrollLeft += Math.min(0, inner.left - outer.left) + Math.max(0, inner.right - outer.right);
}

/* ---- The address: each part of a page has its own, that of the part in sight shows ---- */

const place = { part: "microscope", last: {}, pushed: -Infinity, partOf: () => "microscope" };

/* A new place in the history, so that Back works; steps in quick succession are one. */
function remember(part, names, { push = true } = {}) {
  const hash = `#${names.map((name) => encodeURIComponent(name).replaceAll("%2C", ",")).join("/")}`;
  place.last[part] = hash;
  if (place.part !== part || hash === location.hash) return;
  const quick = performance.now() - place.pushed < 400;
  history[push && !quick ? "pushState" : "replaceState"](null, "", hash);
  if (push) place.pushed = performance.now();
}

/* Names in an address; one that cannot be read is taken as it stands. */
function partsOfAddress(hash) {
  return hash.slice(1).split("/").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
}

/* Which of some names is the likest to another: the fewest letters to change. */
function nearest(name, names) {
  const changes = (a, b) => {
    let row = Array.from({ length: b.length + 1 }, (_, j) => j);
    for (let i = 1; i <= a.length; i++)
      row = row.reduce((next, up, j) => {
        next.push(j ? Math.min(up + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] !== b[j - 1])) : i);
        return next;
      }, []);
    return row[b.length];
  };
  const costs = names.map((other) => changes(name.toLowerCase().slice(0, 99), other.toLowerCase()));
  return names.includes(name) ? names.indexOf(name) : costs.indexOf(Math.min(...costs));
}
