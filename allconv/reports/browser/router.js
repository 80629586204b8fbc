/* Which part of the page is in sight. Each part keeps an address of its own. */
"use strict";

const shell = JSON.parse($("shell").textContent);
const PART_LINKS = [...document.querySelectorAll("#parts a")];

place.partOf = (hash) => {
  const [first] = partsOfAddress(hash);
  if (!first) return PART_LINKS[0].dataset.part;
  if (PART_LINKS.some((link) => link.dataset.part === first)) return first;
  return shell.live.includes(first) ? "microscope" : "units"; // an old address, or a wrong one
};

function showPart(part) {
  place.part = part;
  for (const link of PART_LINKS) {
    const here = link.dataset.part === part, section = $(`part-${link.dataset.part}`);
    if (section) section.hidden = !here; // runs come last in the file
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (part === "runs") showFigures($("part-runs"));
  if (part !== "units") document.documentElement.classList.remove("projector");
}

/* Figures of runs are unpacked when they come in sight; most stay closed. */
function showFigures(box) {
  for (const image of box?.querySelectorAll("img[data-packed]") ?? []) {
    if (image.closest("details:not([open])")) continue;
    const bytes = bytesOf(image.dataset.packed);
    delete image.dataset.packed;
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    new Response(stream).text().then((text) => { image.src = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" })); });
  }
}
document.addEventListener("toggle", (event) => { if (event.target.matches?.(".run")) showFigures(event.target); }, true);

$("parts").addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link) return;
  event.preventDefault();
  const { part } = link.dataset, hash = place.last[part] ?? `#${part}`;
  if (part === place.part) return;
  if (hash !== location.hash) history.pushState(null, "", hash);
  dispatchEvent(new HashChangeEvent("hashchange"));
  scrollTo(0, 0);
});
addEventListener("hashchange", () => showPart(place.partOf(location.hash)));
addEventListener("DOMContentLoaded", () => showPart(place.part));
showPart(place.partOf(location.hash));
if (shell.live.length) $("state").append(" The ", make("a", "units", { href: "#units" }), " are here sooner."); // until it runs
