/* What a person gives the page: paint, photographs, a webcam; and occlusion, on demand. */
"use strict";

const TOOLS = { look: "Look", draw: "Draw", erase: "Erase", restore: "Restore" };
const GREY = 127;

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
